"""Observations over the wire: recorded by themselves, or for a package that is there; what the server makes of them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from artifactstore.client.answers import member
from artifactstore.client.connection import Request, segment
from artifactstore.domain.instant import instant_of, instant_text
from artifactstore.domain.observation import check_input
from artifactstore.domain.provenance import IngestedEnvelope, IngestedPackage, IngestedSource, IngestResult
from artifactstore.errors import MethodNotAllowedError, NotFoundError, PayloadTooLargeError, ServiceError

if TYPE_CHECKING:
    from artifactstore.client.connection import Connection
    from artifactstore.client.draft import Limits
    from artifactstore.domain.package import PackageReceipt
    from artifactstore.domain.provenance import IngestInput, PartyInput, Provenance, SourceInput

MOST_PAYLOAD_BYTES = 1024 * 1024
"""What any server may be set to take; each has a limit of its own."""


def ingest(connection: Connection, given: IngestInput, provenance: Provenance) -> IngestResult:
    """See ``Client.ingest``."""
    answer = _called(connection, Request.json("POST", "/ingests", request_document(given, provenance)))
    return result_of(answer, None)


def observe(connection: Connection, document: dict[str, object], receipt: PackageReceipt) -> IngestResult:
    """Record an observation of a package that was there already."""
    path = f"/packages/{segment(receipt.package_id)}/observations"
    return result_of(_called(connection, Request.json("POST", path, document)), receipt)


def request_document(given: IngestInput, provenance: Provenance) -> dict[str, object]:
    """A checked observation as servers take it. Raises ``ObservationError`` for what breaks a rule without words."""
    given = check_input(given, max_payload_bytes=MOST_PAYLOAD_BYTES)
    plugin = {
        "name": provenance.plugin_name,
        "version": provenance.plugin_version,
        "contract_version": provenance.contract_version,
    }
    envelope = {
        "transport": given.envelope.transport,
        "raw_payload": base64.b64encode(given.envelope.raw_payload).decode(),
        "received_at": instant_text(instant_of(given.envelope.received_at)),
    }
    parties = [_party(party) for party in given.parties]
    return {"plugin": plugin, "source": _source(given.source), "envelope": envelope, "parties": parties}


def check_taken(given: IngestInput, limits: Limits) -> None:
    """Raises ``ServiceError`` for a server that takes no observations, ``PayloadTooLargeError`` by its limit."""
    if limits.max_payload_bytes is None:
        raise too_old()
    size_bytes = len(given.envelope.raw_payload)
    if size_bytes > limits.max_payload_bytes:
        raise PayloadTooLargeError(f"the payload has {size_bytes} bytes, more than {limits.max_payload_bytes}")


def result_of(answer: dict[str, Any], receipt: PackageReceipt | None) -> IngestResult:
    """What became of an observation. Raises ``ServiceError`` for an answer that does not say it."""
    return IngestResult(
        source=IngestedSource(*_recorded(answer, "source")),
        envelope=IngestedEnvelope(*_recorded(answer, "envelope")),
        package=None if receipt is None else IngestedPackage.of(receipt),
    )


def too_old() -> ServiceError:
    """What is said of a server that does not know what an observation is."""
    return ServiceError(
        "the server takes no observations: it is older than this client",
        hint="Have the server upgraded, or run the plug-in with a version as old as the server.",
    )


def _called(connection: Connection, request: Request) -> dict[str, Any]:
    try:
        return connection.call(request)
    except MethodNotAllowedError as error:
        raise too_old() from error
    except NotFoundError as error:
        if type(error) is NotFoundError:  # not one of its kinds: the resource itself is unknown
            raise too_old() from error
        raise


def _recorded(answer: dict[str, Any], name: str) -> tuple[str, bool]:
    found = member(answer, name, dict)
    return member(found, "id", str), member(found, "was_created", bool)


def _source(source: SourceInput) -> dict[str, object]:
    return {
        "location_kind": source.location_kind,
        "path_id": source.path_id,
        "owner_host_id": source.owner_host_id,
        "retrieval": {"content_type": source.retrieval.content_type, "display_name": source.retrieval.display_name},
        "metadata": source.metadata,
    }


def _party(party: PartyInput) -> dict[str, object]:
    return {
        "identifier_kind": party.identifier_kind,
        "identifier_value": party.identifier_value,
        "role": party.role,
        "trust": party.trust,
        "identifier_scope": party.identifier_scope,
    }
