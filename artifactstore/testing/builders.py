"""The ordinary case of everything, so that a test shows only what matters to it."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING

from blake3 import blake3

from artifactstore.domain.hashing import measure
from artifactstore.domain.manifest import FileEntry, Manifest
from artifactstore.domain.media_type import media_type_of
from artifactstore.domain.package import DEFAULT_ROLE, BytesSource, FileDraft, PackageDraft
from artifactstore.domain.retention import RetentionClass
from artifactstore.storage.port import ObjectKey, ObjectKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.storage.port import ObjectStore


def some_bytes(size_bytes: int, seed: int = 0) -> bytes:
    """Bytes that do not repeat; the same for the same arguments, on every machine."""
    return random.Random(seed).randbytes(size_bytes)  # noqa: S311 - for tests


def key_of(data: bytes, kind: ObjectKind = ObjectKind.BLOB) -> ObjectKey:
    """The key these bytes have in every backend."""
    return ObjectKey(kind, blake3(data).digest())


def put_bytes(store: ObjectStore, data: bytes, kind: ObjectKind = ObjectKind.BLOB) -> ObjectKey:
    """Store bytes under the key that is theirs."""
    key = key_of(data, kind)
    store.put(key, io.BytesIO(data), len(data))
    return key


def file_entry(path: str = "report.txt", data: bytes = b"content", role: str = DEFAULT_ROLE) -> FileEntry:
    """What a manifest says of a file with this content."""
    blob = measure(data)
    return FileEntry(path, role, media_type_of(path), blob.size_bytes, blob.blake3, blob.sha256)


def manifest(*files: FileEntry, metadata: dict[str, JsonValue] | None = None) -> Manifest:
    """A manifest of these files, or of one; in path order."""
    ordered = tuple(sorted(files or (file_entry(),), key=lambda file: file.path))
    return Manifest(producer="builder", files=ordered, external_id="run-1", metadata=metadata)


def package_draft(
    files: Mapping[str, bytes] | None = None,
    *,
    external_id: str | None = "run-1",
    metadata: dict[str, JsonValue] | None = None,
) -> PackageDraft:
    """A draft of files in memory."""
    contents = {"report.txt": b"content"} if files is None else files
    drafts = (FileDraft(path, BytesSource(data), DEFAULT_ROLE, media_type_of(path)) for path, data in contents.items())
    return PackageDraft(
        "builder", tuple(drafts), RetentionClass.RAW_EVIDENCE, external_id=external_id, metadata=metadata
    )
