"""A draft on this side of the wire: the rules that need no server, and the one pass in which every file is hashed.

Small files' bytes are kept up to a budget, so that most are read once; what is beyond it is read again when it is sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

from artifactstore.domain.canonical import canonical_json
from artifactstore.domain.hashing import measure
from artifactstore.domain.media_type import media_type_of
from artifactstore.domain.package import DEFAULT_ROLE
from artifactstore.errors import FileChangedError, LimitExceededError
from artifactstore.registry.reading import entry_of, measure_stream, read_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.digest import BlobMeasure
    from artifactstore.domain.manifest import FileEntry
    from artifactstore.domain.package import FileDraft, OpenedFile, PackageDraft
    from artifactstore.registry.progress import Progress

KEPT_BYTES = 64 * 1024 * 1024


class Limits(NamedTuple):
    """What a server takes."""

    max_files: int
    max_file_bytes: int
    pack_threshold_bytes: int
    """Files smaller than this travel together."""
    max_payload_bytes: int | None = None
    """Of an envelope; None if the server takes no observations."""


def check_limits(draft: PackageDraft, limits: Limits) -> None:
    """Raises ``LimitExceededError`` for more files than the server takes."""
    if len(draft.files) > limits.max_files:
        raise LimitExceededError(
            f"{len(draft.files)} files are more than {limits.max_files}",
            hint="Split the package, or have ARTIFACTSTORE_MAX_FILES raised on the server.",
        )


@dataclass(slots=True)
class HashedDraft:
    """A draft whose files have all been read once; each list has one item for each file, in path order."""

    draft: PackageDraft
    entries: list[FileEntry] = field(default_factory=list)
    crc32s: list[int] = field(default_factory=list)
    first: dict[bytes, int] = field(default_factory=dict)
    """Of each blob, by address: the first file that has it."""
    _kept: dict[bytes, bytes] = field(default_factory=dict)
    _room_bytes: int = KEPT_BYTES

    def add(self, file: FileDraft, limits: Limits) -> FileEntry:
        """Read the next file. Raises ``FileChangedError`` if it is not what it should be."""
        opened = file.source.open()
        try:
            if opened.size_bytes > limits.max_file_bytes:
                raise LimitExceededError(
                    f"{file.path!r} has {opened.size_bytes} bytes, more than {limits.max_file_bytes}"
                )
            small = opened.size_bytes < limits.pack_threshold_bytes
            blob = self._measure_small(opened) if small else measure_stream(opened)
        finally:
            opened.close()
        entry = entry_of(file, blob)
        self.first.setdefault(blob.blake3, len(self.entries))
        self.entries.append(entry)
        self.crc32s.append(blob.crc32)
        return entry

    def small_file(self, index: int) -> bytes:
        """A small file's bytes, from memory or read again. Raises ``FileChangedError`` if they are others now."""
        entry = self.entries[index]
        if (kept := self._kept.get(entry.blake3)) is not None:
            return kept
        opened = self.draft.files[index].source.open()
        try:
            data = read_whole(opened)
        finally:
            opened.close()
        if blake3(data).digest() != entry.blake3:
            raise changed(entry)
        return data

    def _measure_small(self, opened: OpenedFile) -> BlobMeasure:
        data = read_whole(opened)
        blob = measure(data)
        if len(data) <= self._room_bytes and blob.blake3 not in self._kept:
            self._room_bytes -= len(data)
            self._kept[blob.blake3] = data
        return blob


def hash_files(draft: PackageDraft, limits: Limits, progress: Progress) -> HashedDraft:
    """Read every file of a checked draft once."""
    progress.begin("hashing", None)
    hashed = HashedDraft(draft)
    for file in draft.files:
        progress.advance(hashed.add(file, limits).size_bytes)
    return hashed


def changed(entry: FileEntry) -> FileChangedError:
    """What is wrong with a file that is not what was hashed."""
    return FileChangedError(f"{entry.path!r} changed while it was sent")


def description(
    draft: PackageDraft, entries: Sequence[FileEntry] | None, *, as_revision: bool, backend: str | None = None
) -> bytes:
    """A checked draft as ``POST /packages`` takes it. Equal drafts give equal bytes."""
    members: dict[str, JsonValue] = {
        "producer": draft.producer,
        "external_id": draft.external_id,
        "subject": draft.subject,
        "schema": draft.schema,
        "metadata": draft.metadata,
        "retention_class": str(draft.retention_class),
        "revision": as_revision,
        "backend": backend,
    }
    head = canonical_json({name: value for name, value in members.items() if value is not None})
    if entries is None:
        return head.encode()
    return f'{head[:-1]},"files":[{",".join(map(_file, entries))}]}}'.encode()


def _file(entry: FileEntry) -> str:
    """One file, without what goes without saying: written directly, because there may be very many."""
    path, role, media_type, size_bytes, address, sha256 = entry
    text = encode_basestring_ascii
    more = "" if role == DEFAULT_ROLE else f',"role":{text(role)}'
    if media_type != media_type_of(path):
        more += f',"media_type":{text(media_type)}'
    return (
        f'{{"path":{text(path)},"size":{size_bytes},"blake3":"blake3:{address.hex()}",'
        f'"sha256":"sha256:{sha256.hex()}"{more}}}'
    )
