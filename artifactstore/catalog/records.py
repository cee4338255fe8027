"""Rows as values: what queries answer."""

from __future__ import annotations

from typing import NamedTuple


class PackageRecord(NamedTuple):
    """A row of ``package``; instants in microseconds UTC, digest raw."""

    row_id: int
    package_id: str
    producer: str
    external_id: str | None
    subject: str | None
    schema_slug: str | None
    metadata_json: str | None
    revision: int
    supersedes: str | None
    status: str
    opened_at: int
    opened_by: str
    finalized_at: int | None
    manifest_digest: bytes | None
    file_count: int
    total_bytes: int
    stored_bytes: int
    retention_class: str | None
    duration_days: int | None
    expires_at: int | None
    expired_at: int | None
    deleted_at: int | None
    deleted_by: str | None
    deletion_plan: bytes | None
    deletion_rule: str | None
    deletion_reason: str | None
    pinned_at: int | None
    pinned_by: str | None
    pin_reason: str | None


class LocatedFile(NamedTuple):
    """A file of a package with its blob and where the blob's bytes are."""

    file_index: int
    path: str
    role: str
    media_type: str
    size_bytes: int
    blake3: bytes
    sha256: bytes
    locations: tuple[tuple[str, str, bytes, int], ...]
    """(backend, kind of object, its digest, start) of each live location."""


class FileSum(NamedTuple):
    """What an archive says of a file."""

    file_index: int
    path: str
    size_bytes: int
    crc32: int


RecordedFile = tuple[str, str, str, int, bytes, bytes, int | None, int | None, str | None]
"""A file of a package with one location of its blob: path, role, media type, size, BLAKE3, SHA-256, then object id,
start and status of the location, or None for all three if it has none. A bare row, as there is one for every file."""


class HoldRecord(NamedTuple):
    """A row of ``hold``."""

    hold_id: str
    reason: str
    placed_at: int
    placed_by: str
    released_at: int | None
    released_by: str | None
    release_reason: str | None


class SchemaRecord(NamedTuple):
    """A row of ``metadata_schema``."""

    slug: str
    json_schema: str
    registered_at: int
    registered_by: str


class ObjectRecord(NamedTuple):
    """A row of ``stored_object``."""

    row_id: int
    backend: str
    kind: str
    blake3: bytes
    size_bytes: int
    status: str


class PlacedBlob(NamedTuple):
    """A blob as it lies in one object."""

    start: int
    size_bytes: int
    blake3: bytes
    sha256: bytes
    status: str
