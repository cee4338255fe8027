"""Packs: many small blobs as one object, in a form that any unzip can read.

A pack is a ZIP archive (APPNOTE 6.3.10) of stored entries with one fixed time and no extra fields; ZIP64 only at the
end and only from 65,535 entries on. A member is named by its blob's BLAKE3 in hex and stands once, so a pack is true of
any number of packages that share its blobs and tells nothing of one that is gone. The same blobs in the same order give
the same bytes. See docs/reference/storage-format.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

from artifactstore.domain.digest import DIGEST_BYTES
from artifactstore.domain.zip_format import (
    CENTRAL,
    CENTRAL_SIGNATURE,
    DESCRIBED,
    END,
    END64,
    END64_SIGNATURE,
    END_SIGNATURE,
    LOCAL_BYTES,
    LOCATOR64,
    MAX16,
    MAX32,
    ZipDirectory,
)
from artifactstore.errors import ArchiveInvalidError
from artifactstore.storage.port import ObjectInfo, ObjectKey, ObjectKind

if TYPE_CHECKING:
    from artifactstore.domain.digest import BlobMeasure
    from artifactstore.storage.port import ObjectStore, Stage

PACK_TARGET_BYTES = 64 * 1024 * 1024
"""A pack is closed when it has reached this size."""

_FLUSH_BYTES = 1024 * 1024
_NAME_BYTES = 2 * DIGEST_BYTES
_RECORD_BYTES = CENTRAL.size + _NAME_BYTES


class PackWriter:
    """Writes one pack into a stage: ``add`` each blob, ``finish``, commit the ``stage``; or ``discard``."""

    def __init__(self, store: ObjectStore) -> None:
        self._hasher = blake3()
        self._stage = store.stage(self._hasher)
        self._directory = ZipDirectory()
        self._pending: list[bytes] = []
        self._flushed_bytes = 0
        self.size_bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether it has reached the size at which a pack is closed."""
        return self.size_bytes >= PACK_TARGET_BYTES

    def add(self, blob: BlobMeasure, data: bytes) -> int:
        """Append a blob; returns the offset of its first byte within the pack."""
        size = len(data)
        header = self._directory.add(blob.blake3.hex(), size, blob.crc32)
        self._pending += (header, data)
        self.size_bytes = end = self._directory.size_bytes
        if end - self._flushed_bytes >= _FLUSH_BYTES:
            self._flush()
        return end - size

    def finish(self) -> ObjectInfo:
        """Write the directory; the pack is complete and has its key, but is not published."""
        end = self._directory.end()
        self._pending.append(end)
        self.size_bytes += len(end)
        self._flush()
        return ObjectInfo(ObjectKey(ObjectKind.PACK, self._hasher.digest()), self.size_bytes)

    @property
    def stage(self) -> Stage:
        """What holds the pack's bytes: commit it when ``finish`` has given the key."""
        return self._stage

    def discard(self) -> None:
        """Drop it; harmless after a commit."""
        self._stage.discard()

    def _flush(self) -> None:
        self._stage.write(b"".join(self._pending))
        self._pending.clear()
        self._flushed_bytes = self.size_bytes


class PackMember(NamedTuple):
    """A blob in a pack, as the pack's directory has it."""

    blake3: bytes
    start: int
    size_bytes: int
    crc32: int


def members_of(store: ObjectStore, info: ObjectInfo) -> list[PackMember]:
    """What lies in a pack, by its directory at the end, which is all that is read.

    Raises ``ArchiveInvalidError`` for what is not a pack as ``PackWriter`` writes it, and ``StorageError``.
    """
    count, directory_bytes, directory_at = _end_of(store, info)
    if directory_bytes != count * _RECORD_BYTES:
        raise ArchiveInvalidError(f"{info.key}: its directory is not one of a pack")
    records = store.read(info.key, directory_at, directory_bytes)
    return [_member(info, records[at : at + _RECORD_BYTES]) for at in range(0, len(records), _RECORD_BYTES)]


def _end_of(store: ObjectStore, info: ObjectInfo) -> tuple[int, int, int]:
    """How many entries the directory has, how long it is, and where it begins."""
    tail_bytes = min(info.size_bytes, END64.size + LOCATOR64.size + END.size)
    tail = store.read(info.key, info.size_bytes - tail_bytes, tail_bytes)
    if len(tail) < END.size or not tail[-END.size :].startswith(END_SIGNATURE):
        raise ArchiveInvalidError(f"{info.key}: it does not end as a pack does")
    *_, count, directory_bytes, directory_at, comment_bytes = END.unpack(tail[-END.size :])
    end_bytes = END.size
    if (count == MAX16 or MAX32 in (directory_bytes, directory_at)) and tail.startswith(END64_SIGNATURE):
        *_, count, directory_bytes, directory_at = END64.unpack(tail[: END64.size])
        end_bytes = len(tail)
    if comment_bytes or directory_at + directory_bytes + end_bytes != info.size_bytes:
        raise ArchiveInvalidError(f"{info.key}: its end does not fit its size")
    return count, directory_bytes, directory_at


def _member(info: ObjectInfo, record: bytes) -> PackMember:
    signature, _, described, *_, header_at = CENTRAL.unpack(record[: CENTRAL.size])
    *_, crc32, size_bytes, _, name_bytes, extra_bytes = DESCRIBED.unpack(described)
    try:
        digest = bytes.fromhex(record[CENTRAL.size :].decode("ascii"))
    except ValueError:
        digest = b""
    if signature != CENTRAL_SIGNATURE or (name_bytes, extra_bytes, len(digest)) != (_NAME_BYTES, 0, DIGEST_BYTES):
        raise ArchiveInvalidError(f"{info.key}: its directory is not one of a pack")
    return PackMember(digest, header_at + LOCAL_BYTES + _NAME_BYTES, size_bytes, crc32)
