"""Packs: many small blobs as one object, in a form that any unzip can read.

A pack is a ZIP archive (APPNOTE 6.3.10) of stored entries with one fixed time and no extra fields; ZIP64 only at the
end and only from 65,535 entries on. A member is named by its blob's BLAKE3 in hex and stands once, so a pack is true of
any number of packages that share its blobs and tells nothing of one that is gone. The same blobs in the same order give
the same bytes. See docs/reference/storage-format.md.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from blake3 import blake3

from artifactstore.storage.port import ObjectInfo, ObjectKey, ObjectKind

if TYPE_CHECKING:
    from artifactstore.domain.digest import BlobMeasure
    from artifactstore.storage.port import ObjectStore, Stage

PACK_TARGET_BYTES = 64 * 1024 * 1024
"""A pack is closed when it has reached this size."""

_DESCRIBED = struct.Struct("<5H3I2H")
"""What both headers of a member say: version, flags, method, time, date, CRC-32, two sizes, two lengths."""
_OFFSET = struct.Struct("<I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")
_NAME_BYTES = 64
_TIME, _DATE = 0, 0x21  # 1980-01-01T00:00:00, the earliest a ZIP can say
_VERSION, _VERSION64 = 10, 45
_LOCAL_HEAD = b"PK\x03\x04"
_CENTRAL_HEAD = b"PK\x01\x02" + struct.pack("<H", _VERSION)
_CENTRAL_NOTHING = bytes(10)  # no comment, first disk, no attributes
_LOCAL_BYTES = len(_LOCAL_HEAD) + _DESCRIBED.size + _NAME_BYTES
_MAX_ENTRIES = 0xFFFF
_FLUSH_BYTES = 1024 * 1024


class PackWriter:
    """Writes one pack into a stage: ``add`` each blob, ``finish``, commit the ``stage``; or ``discard``."""

    def __init__(self, store: ObjectStore) -> None:
        self._hasher = blake3()
        self._stage = store.stage(self._hasher)
        self._pending = bytearray()
        self._directory = bytearray()
        self._entries = 0
        self.size_bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether it has reached the size at which a pack is closed."""
        return self.size_bytes >= PACK_TARGET_BYTES

    def add(self, blob: BlobMeasure, data: bytes) -> int:
        """Append a blob; returns the offset of its first byte within the pack."""
        name, size, header_at = blob.blake3.hex().encode(), len(data), self.size_bytes
        described = _DESCRIBED.pack(_VERSION, 0, 0, _TIME, _DATE, blob.crc32, size, size, _NAME_BYTES, 0)
        self._directory += b"".join((_CENTRAL_HEAD, described, _CENTRAL_NOTHING, _OFFSET.pack(header_at), name))
        self._pending += b"".join((_LOCAL_HEAD, described, name, data))
        self._entries += 1
        self.size_bytes = header_at + _LOCAL_BYTES + size
        if len(self._pending) >= _FLUSH_BYTES:
            self._flush()
        return header_at + _LOCAL_BYTES

    def finish(self) -> ObjectInfo:
        """Write the directory; the pack is complete and has its key, but is not published."""
        directory_at, directory_bytes = self.size_bytes, len(self._directory)
        self._write(self._directory)
        if self._entries >= _MAX_ENTRIES:
            self._write(_end64(self._entries, directory_bytes, directory_at))
        entries = min(self._entries, _MAX_ENTRIES)
        self._write(_END.pack(b"PK\x05\x06", 0, 0, entries, entries, directory_bytes, directory_at, 0))
        self._flush()
        return ObjectInfo(ObjectKey(ObjectKind.PACK, self._hasher.digest()), self.size_bytes)

    @property
    def stage(self) -> Stage:
        """What holds the pack's bytes: commit it when ``finish`` has given the key."""
        return self._stage

    def discard(self) -> None:
        """Drop it; harmless after a commit."""
        self._stage.discard()

    def _write(self, data: bytes | bytearray) -> None:
        self._pending += data
        self.size_bytes += len(data)

    def _flush(self) -> None:
        self._stage.write(bytes(self._pending))
        self._pending.clear()


def _end64(entries: int, directory_bytes: int, directory_at: int) -> bytes:
    record = _END64.pack(
        b"PK\x06\x06",
        _END64.size - 12,
        _VERSION64,
        _VERSION64,
        0,
        0,
        entries,
        entries,
        directory_bytes,
        directory_at,
    )
    return record + _LOCATOR64.pack(b"PK\x06\x07", 0, directory_at + directory_bytes, 1)
