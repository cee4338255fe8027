"""Packs: many small blobs as one object, in a form that any unzip can read.

A pack is a ZIP archive (APPNOTE 6.3.10) of stored entries with one fixed time and no extra fields; ZIP64 only at the
end and only from 65,535 entries on. A member is named by its blob's BLAKE3 in hex and stands once, so a pack is true of
any number of packages that share its blobs and tells nothing of one that is gone. The same blobs in the same order give
the same bytes. See docs/reference/storage-format.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blake3 import blake3

from artifactstore.domain.zip_format import ZipDirectory
from artifactstore.storage.port import ObjectInfo, ObjectKey, ObjectKind

if TYPE_CHECKING:
    from artifactstore.domain.digest import BlobMeasure
    from artifactstore.storage.port import ObjectStore, Stage

PACK_TARGET_BYTES = 64 * 1024 * 1024
"""A pack is closed when it has reached this size."""

_FLUSH_BYTES = 1024 * 1024


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
