"""A draft before anything is stored: the rules it must keep by itself, and the one pass that reads and hashes it."""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING

from artifactstore.domain.canonical import canonical_object
from artifactstore.domain.hashing import BUFFER_BYTES, BlobHasher, measure
from artifactstore.domain.manifest import FileEntry, Manifest
from artifactstore.domain.package import check_draft
from artifactstore.domain.paths import check_paths
from artifactstore.errors import FileChangedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.domain.digest import BlobMeasure
    from artifactstore.domain.package import FileDraft, OpenedFile, PackageDraft
    from artifactstore.registry.progress import Progress


def settled(draft: PackageDraft, *, max_files: int) -> PackageDraft:
    """The draft with its files in path order and its metadata canonical. Raises for every rule it breaks by itself."""
    check_draft(draft, max_files=max_files)
    files = tuple(sorted(draft.files, key=attrgetter("path")))
    check_paths([file.path for file in files])
    return replace(draft, files=files, metadata=None if draft.metadata is None else canonical_object(draft.metadata))


def describe(draft: PackageDraft, progress: Progress) -> Manifest:
    """Hash every file of a draft whose files stand in path order; nothing is stored."""
    progress.begin("hashing", None)
    entries = []
    for file in draft.files:
        opened = file.source.open()
        try:
            small = opened.size_bytes < BUFFER_BYTES
            blob = measure(read_whole(opened)) if small else measure_stream(opened)
        finally:
            opened.close()
        progress.advance(blob.size_bytes)
        entries.append(entry_of(file, blob))
    return manifest_of(draft, entries)


def read_whole(opened: OpenedFile) -> bytes:
    """A small file's bytes. Raises ``FileChangedError`` if they are not all there is."""
    data = opened.read(opened.size_bytes + 1)
    while len(data) < opened.size_bytes and (more := opened.read(opened.size_bytes + 1 - len(data))):
        data += more
    opened.finish()
    return data


def measure_stream(opened: OpenedFile) -> BlobMeasure:
    """A large file's measure."""
    with BlobHasher() as hasher:
        while data := opened.read(BUFFER_BYTES):
            hasher.update(data)
        opened.finish()
        return hasher.finish()


def entry_of(file: FileDraft, blob: BlobMeasure) -> FileEntry:
    """What the manifest says of a file. Raises ``FileChangedError`` if it is not the file that was checked before."""
    if file.expected_sha256 is not None and file.expected_sha256 != blob.sha256:
        raise FileChangedError(f"{file.path!r} changed since its checksum was compared")
    return FileEntry(file.path, file.role, file.media_type, blob.size_bytes, blob.blake3, blob.sha256)


def manifest_of(draft: PackageDraft, entries: Sequence[FileEntry]) -> Manifest:
    """The manifest of a draft whose files, in path order, are known."""
    return Manifest(
        producer=draft.producer,
        files=tuple(entries),
        external_id=draft.external_id,
        subject=draft.subject,
        schema=draft.schema,
        metadata=draft.metadata,
    )
