"""Pushes that are under way, as JSON documents."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from artifactstore.documents.values import optional_blake3, optional_instant
from artifactstore.domain.digest import Digest

if TYPE_CHECKING:
    from artifactstore.catalog.pushes import OpenPackageRecord, UploadRecord
    from artifactstore.documents import Document
    from artifactstore.domain.manifest import FileEntry
    from artifactstore.domain.package import PackageDraft
    from artifactstore.registry.open_packages import PushState


def push_document(state: PushState, *, pack_threshold_bytes: int) -> Document:
    """What is left to do for a package."""
    return {
        "package_id": state.package_id,
        "status": state.status,
        "expires_at": optional_instant(state.expires_at),
        "missing": [f"blake3:{address.hex()}" for address in state.missing],
        "uploads": [upload_document(upload) for upload in state.uploads],
        "pack_threshold_bytes": pack_threshold_bytes,
        "receipt": None if state.receipt is None else asdict(state.receipt),
    }


def open_package_document(opened: OpenPackageRecord, draft: PackageDraft) -> Document:
    """An open package as ``package_document`` has one that is recorded; what is not decided yet is null."""
    return {
        "package_id": opened.package_id,
        "manifest_digest": None,
        "status": "open",
        "producer": opened.producer,
        "external_id": draft.external_id,
        "revision": None,
        "supersedes": None,
        "subject": draft.subject,
        "schema": draft.schema,
        "file_count": 0,
        "total_bytes": 0,
        "stored_bytes": 0,
        "retention_class": draft.retention_class,
        "expires_at": optional_instant(opened.expires_at),
        "opened_at": optional_instant(opened.opened_at),
        "opened_by": opened.opened_by.partition("#")[0],
        "finalized_at": None,
    }


def upload_document(upload: UploadRecord) -> Document:
    """Where a resumable upload stands."""
    return {
        "upload_id": upload.upload_id,
        "path": upload.path,
        "offset": upload.received_bytes,
        "size": upload.size_bytes,
    }


def received_document(file: FileEntry) -> Document:
    """A file that has arrived for an open package."""
    return {
        "path": file.path,
        "size": file.size_bytes,
        "blake3": optional_blake3(file.blake3),
        "sha256": str(Digest.sha256(file.sha256)),
    }
