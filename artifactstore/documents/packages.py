"""Packages, their files, metadata schemas and events, as JSON documents."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from artifactstore.documents.retention import deletion_document, hold_document, pin_document
from artifactstore.documents.values import hex_for_bytes, optional_blake3, optional_instant
from artifactstore.domain.digest import Digest

if TYPE_CHECKING:
    from artifactstore.catalog.event_log import EventRecord
    from artifactstore.catalog.records import HoldRecord, LocatedFile, PackageRecord, SchemaRecord
    from artifactstore.documents import Document


def package_document(package: PackageRecord) -> Document:
    """A package without its files."""
    return {
        "package_id": package.package_id,
        "manifest_digest": optional_blake3(package.manifest_digest),
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
        "expires_at": optional_instant(package.expires_at),
        "opened_at": optional_instant(package.opened_at),
        "opened_by": package.opened_by,
        "finalized_at": optional_instant(package.finalized_at),
    }


def package_details(package: PackageRecord, holds: list[HoldRecord]) -> Document:
    """A package with its metadata and holds."""
    metadata = None if package.metadata_json is None else json.loads(package.metadata_json)
    return {
        **package_document(package),
        "metadata": metadata,
        "holds": [hold_document(hold) for hold in holds],
        "pin": pin_document(package),
        "deletion": deletion_document(package),
    }


def file_document(package_id: str, file: LocatedFile) -> Document:
    """One file of a package."""
    return {
        "file_id": f"{package_id}:{file.file_index}",
        "path": file.path,
        "role": file.role,
        "media_type": file.media_type,
        "size": file.size_bytes,
        "blake3": optional_blake3(file.blake3),
        "sha256": str(Digest.sha256(file.sha256)),
    }


def schema_document(schema: SchemaRecord, *, with_schema: bool) -> Document:
    """A registered schema, with or without its text."""
    document: Document = {
        "slug": schema.slug,
        "registered_at": optional_instant(schema.registered_at),
        "registered_by": schema.registered_by,
    }
    return {**document, "json_schema": json.loads(schema.json_schema)} if with_schema else document


def event_document(event: EventRecord, *, with_payload: bool) -> Document:
    """One event; its payload's byte strings are written in hex."""
    from artifactstore.domain.canonical import decode

    document: Document = {
        "seq": event.seq,
        "at": optional_instant(event.at),
        "type": event.type,
        "subject": event.subject,
        "actor": event.actor,
        "payload_digest": optional_blake3(decode(event.header)["payload_digest"]),
        "chain": event.chain.hex(),
    }
    return {**document, "payload": hex_for_bytes(decode(event.payload))} if with_payload else document
