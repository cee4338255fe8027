"""The events of an observation: a source, an envelope with its parties, and the signal that they are new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

from artifactstore.domain.canonical import decode
from artifactstore.domain.event import Event

if TYPE_CHECKING:
    from artifactstore.domain.canonical import JsonValue


class PartyRef(NamedTuple):
    """A party as an event names it, normalised."""

    identifier_kind: str
    identifier_scope: str | None
    identifier_value: str
    role: str
    trust: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceIndexed(Event):
    """A source was recorded; every column of it. ``is_declared``: the plug-in's name is what a caller said."""

    type = "v1.source.indexed"
    source_id: bytes
    location_kind: str
    path_id: str
    plugin_name: str
    contract_version: str
    is_declared: bool
    indexed_at: int
    plugin_version: str | None = None
    owner_host_id: str | None = None
    content_type: str | None = None
    display_name: str | None = None
    metadata: dict[str, JsonValue] | None = None

    @property
    def subject(self) -> str:
        """The source id, in hex."""
        return self.source_id.hex()

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """As in the base, but metadata stays JSON: its lists are lists."""
        return cls(**decode(payload))


@dataclass(frozen=True, slots=True, kw_only=True)
class _EnvelopeEvent(Event):
    envelope_id: bytes

    @property
    def subject(self) -> str:
        """The envelope id, in hex."""
        return self.envelope_id.hex()


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvelopeIndexed(_EnvelopeEvent):
    """An observation of a source was recorded, with its payload and who took part."""

    type = "v1.core.envelope_indexed"
    source_id: bytes
    transport: str
    received_at: int
    raw_payload: bytes
    parties: tuple[PartyRef, ...]
    plugin_name: str
    contract_version: str
    is_declared: bool
    indexed_at: int
    plugin_version: str | None = None

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """As in the base, with the parties as such."""
        members = decode(payload)
        return cls(**{**members, "parties": tuple(PartyRef(*party) for party in members["parties"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested(_EnvelopeEvent):
    """The one signal that an observation is new: a source, an envelope, or both, and the package it brought."""

    type = "v1.core.ingested"
    source_id: bytes
    source_created: bool
    package_id: str | None = None
