"""Provenance: where something was observed, one observation of it, and who took part.

A plug-in says what it saw: a ``SourceInput``, an ``EnvelopeInput``, a ``PartyInput`` for each who took part,
perhaps a package. Who says it is not in these: the context stamps that, as a ``Provenance``. Ids follow from content,
so whoever says the same thing twice says it once::

    source id   = BLAKE3(CBOR [SOURCE_TAG, location kind, path id])
    envelope id = BLAKE3(CBOR [ENVELOPE_TAG, source id, transport, received at, witness, contract version])

The payload's bytes are not in the envelope's id: variants of one statement that differ in noise are one envelope.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from blake3 import blake3

from artifactstore.domain.canonical import encode
from artifactstore.domain.package import PackageDraft, PackageReceipt

SOURCE_TAG = "artifactstore source v1"
ENVELOPE_TAG = "artifactstore envelope v1"
MAX_PAYLOAD_BYTES = 64 * 1024
"""Of an envelope, unless the settings say otherwise."""
MAX_PARTIES = 1_000
_PYDANTIC = {"extra": "forbid", "revalidate_instances": "always"}
"""So that a host's ``TypeAdapter(IngestInput)`` looks into what it is given, which else counts as valid by its type."""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What is to be known to look at a source again."""

    __pydantic_config__ = _PYDANTIC
    content_type: str | None = None
    """A media type."""
    display_name: str | None = None


@dataclass(frozen=True, slots=True)
class SourceInput:
    """Where something was observed. Recorded the first time; later calls that name it change nothing of it."""

    __pydantic_config__ = _PYDANTIC
    location_kind: str
    """A registered kind, such as ``file``, ``url`` or ``guide-board.run``."""
    path_id: str
    """Which one of that kind, as the kind writes it; normalised before it is used."""
    owner_host_id: str | None = None
    """The host that has it, where the path alone does not say so."""
    retrieval: Retrieval = field(default_factory=Retrieval)
    metadata: dict[str, Any] | None = None
    """A JSON object."""


@dataclass(frozen=True, slots=True)
class EnvelopeInput:
    """One observation of a source."""

    __pydantic_config__ = _PYDANTIC
    transport: str
    """How it came, as a slug: ``filesystem``, ``imap``, ``webhook``."""
    raw_payload: bytes
    """What was observed, as it came, at most 64 KiB; larger things are files of a package."""
    received_at: datetime
    """When upstream says it happened, with an offset from UTC. Not the time of the call, if anything better is known:
    only then is the same observation the same envelope."""


@dataclass(frozen=True, slots=True)
class PartyInput:
    """Who took part."""

    __pydantic_config__ = _PYDANTIC
    identifier_kind: str
    """A registered kind, such as ``email``, ``service`` or ``person``."""
    identifier_value: str
    role: str
    """A registered role, such as ``author`` or ``operator``."""
    trust: str
    """A registered level of trust in this, such as ``verified`` or ``claimed``."""
    identifier_scope: str | None = None
    """Within what the value names somebody, for a kind whose values mean nothing by themselves."""


@dataclass(frozen=True, slots=True)
class IngestInput:
    """All that one call says: what a host's validator is given."""

    __pydantic_config__ = _PYDANTIC
    source: SourceInput
    envelope: EnvelopeInput
    parties: tuple[PartyInput, ...] = ()
    package: PackageDraft | None = None

    @classmethod
    def of_call(
        cls, source: SourceInput, envelope: EnvelopeInput, parties: Any, package: PackageDraft | None
    ) -> IngestInput:
        """What ``context.ingest`` was given. Of an endless series of parties enough is taken to refuse it."""
        is_series = isinstance(parties, Iterable)
        return cls(source, envelope, tuple(islice(parties, MAX_PARTIES + 1)) if is_series else parties, package)


class IngestedSource(NamedTuple):
    """The source's id (64 hex digits), and whether this call recorded it."""

    id: str
    was_created: bool


class IngestedEnvelope(NamedTuple):
    """The envelope's id (64 hex digits), and whether this call recorded it."""

    id: str
    was_created: bool


class IngestedPackage(NamedTuple):
    """The package, whether this call recorded it, and its whole receipt."""

    id: str
    manifest_digest: str
    was_created: bool
    receipt: PackageReceipt

    @classmethod
    def of(cls, receipt: PackageReceipt) -> IngestedPackage:
        """What a receipt says."""
        return cls(receipt.package_id, receipt.manifest_digest, not receipt.reused_existing, receipt)


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What became of a call. What was there already is answered with ``was_created`` false."""

    source: IngestedSource
    envelope: IngestedEnvelope
    package: IngestedPackage | None = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who says it: stamped by the context or the server, never given."""

    plugin_name: str
    plugin_version: str | None
    """Of the installed distribution, or as declared; None where a caller over HTTP did not say."""
    contract_version: str
    """Of what the plug-in says: a plug-in that means to record the same things anew raises it."""
    declared_by: str | None = None
    """The actor who declared the name and versions over HTTP; None for a plug-in that this process has loaded."""

    @property
    def witness(self) -> str:
        """Who counts as the same witness: a loaded plug-in whatever its version, or what one token declares."""
        return self.plugin_name if self.declared_by is None else f"{self.declared_by} {self.plugin_name}"

    @property
    def is_declared(self) -> bool:
        """Whether the plug-in's name is only what somebody said."""
        return self.declared_by is not None

    @property
    def actor(self) -> str:
        """As events have it."""
        return self.declared_by or f"plugin:{self.plugin_name}@{self.plugin_version}"


def source_id(location_kind: str, path_id: str) -> bytes:
    """The id of a source, 32 bytes; ``path_id`` is normalised."""
    return blake3(encode([SOURCE_TAG, location_kind, path_id])).digest()


def envelope_id(source: bytes, transport: str, received_at: int, provenance: Provenance) -> bytes:
    """The id of an envelope, 32 bytes; ``received_at`` in microseconds UTC."""
    members = [ENVELOPE_TAG, source, transport, received_at, provenance.witness, provenance.contract_version]
    return blake3(encode(members)).digest()
