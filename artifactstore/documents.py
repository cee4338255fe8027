"""Records as JSON documents: what the commands print and what the HTTP API answers are the same.

Instants are RFC 3339, digests ``algorithm:hex``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from artifactstore.domain.digest import Digest
from artifactstore.domain.instant import instant_text

if TYPE_CHECKING:
    from artifactstore.catalog.event_log import EventRecord
    from artifactstore.catalog.records import HoldRecord, LocatedFile, ObjectRecord, PackageRecord, SchemaRecord

Document = dict[str, object]


def package_document(package: PackageRecord) -> Document:
    """A package without its files."""
    return {
        "package_id": package.package_id,
        "manifest_digest": _blake3(package.manifest_digest),
        "status": package.status,
        "producer": package.producer,
        "external_id": package.external_id,
        "revision": package.revision,
        "supersedes": package.supersedes,
        "subject": package.subject,
        "schema": package.schema_slug,
        "file_count": package.file_count,
        "total_bytes": package.total_bytes,
        "stored_bytes": package.stored_bytes,
        "retention_class": package.retention_class,
        "expires_at": _instant(package.expires_at),
        "opened_at": _instant(package.opened_at),
        "opened_by": package.opened_by,
        "finalized_at": _instant(package.finalized_at),
    }


def package_details(package: PackageRecord, holds: list[HoldRecord]) -> Document:
    """A package with its metadata and holds."""
    metadata = None if package.metadata_json is None else json.loads(package.metadata_json)
    return {**package_document(package), "metadata": metadata, "holds": [hold_document(hold) for hold in holds]}


def retention_document(package: PackageRecord, holds: list[HoldRecord]) -> Document:
    """What decides how long a package stays."""
    return {
        "package_id": package.package_id,
        "status": package.status,
        "retention_class": package.retention_class,
        "duration_days": package.duration_days,
        "expires_at": _instant(package.expires_at),
        "expired_at": _instant(package.expired_at),
        "holds": [hold_document(hold) for hold in holds],
    }


def hold_document(hold: HoldRecord) -> Document:
    """One hold."""
    return {
        "hold_id": hold.hold_id,
        "in_force": hold.released_at is None,
        "reason": hold.reason,
        "placed_at": _instant(hold.placed_at),
        "placed_by": hold.placed_by,
        "released_at": _instant(hold.released_at),
        "released_by": hold.released_by,
        "release_reason": hold.release_reason,
    }


def file_document(package_id: str, file: LocatedFile) -> Document:
    """One file of a package."""
    return {
        "file_id": f"{package_id}:{file.file_index}",
        "path": file.path,
        "role": file.role,
        "media_type": file.media_type,
        "size": file.size_bytes,
        "blake3": _blake3(file.blake3),
        "sha256": str(Digest.sha256(file.sha256)),
    }


def schema_document(schema: SchemaRecord, *, with_schema: bool) -> Document:
    """A registered schema, with or without its text."""
    document: Document = {
        "slug": schema.slug,
        "registered_at": _instant(schema.registered_at),
        "registered_by": schema.registered_by,
    }
    return {**document, "json_schema": json.loads(schema.json_schema)} if with_schema else document


def object_document(found: ObjectRecord) -> Document:
    """One stored object."""
    return {
        "backend": found.backend,
        "kind": found.kind,
        "digest": _blake3(found.blake3),
        "size": found.size_bytes,
        "status": found.status,
    }


def event_document(event: EventRecord, *, with_payload: bool) -> Document:
    """One event; its payload's byte strings are written in hex."""
    from artifactstore.domain.canonical import decode

    document: Document = {
        "seq": event.seq,
        "at": _instant(event.at),
        "type": event.type,
        "subject": event.subject,
        "actor": event.actor,
        "payload_digest": _blake3(decode(event.header)["payload_digest"]),
        "chain": event.chain.hex(),
    }
    return {**document, "payload": _printable(decode(event.payload))} if with_payload else document


def _printable(value: object) -> object:
    match value:
        case bytes():
            return value.hex()
        case list():
            return [_printable(item) for item in value]
        case dict():
            return {key: _printable(item) for key, item in value.items()}
        case _:
            return value


def _blake3(raw: bytes | None) -> str | None:
    return None if raw is None else str(Digest.blake3(raw))


def _instant(value: int | None) -> str | None:
    return None if value is None else instant_text(value)
