"""Writing a ZIP of stored entries, piece by piece, when every name, size and CRC-32 is known beforehand.

An archive is, for each entry, ``directory.add(*entry)`` and then the entry's bytes; at last ``directory.end()``. It is
as plain as ZIP can be (APPNOTE 6.3.10): method 0, flag bit 11 for names that are not ASCII and no other flag, one fixed
time, no attributes, no comments, no data descriptors. There are extra fields only where ZIP64 needs them: on an entry
of 4 GiB or more, and in the central directory on one that begins at 4 GiB or beyond. The same entries in the same order
give the same bytes, and ``archive_size`` says how many before the first one is written.

The structures and limits here are also what ``zip_stream`` reads by. Nothing here touches an entry's bytes.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX16 = 0xFFFF
MAX32 = 0xFFFF_FFFF
"""A field that holds this says "see ZIP64", so a value must be smaller to be written plainly."""

UTF8_FLAG = 0x800
VERSION64 = 45
_VERSION = 10
_TIME, _DATE = 0, 0x21  # 1980-01-01T00:00:00, the earliest a ZIP can say

LOCAL_SIGNATURE, CENTRAL_SIGNATURE = b"PK\x03\x04", b"PK\x01\x02"
END64_SIGNATURE, LOCATOR64_SIGNATURE, END_SIGNATURE = b"PK\x06\x06", b"PK\x06\x07", b"PK\x05\x06"

DESCRIBED = struct.Struct("<5H3I2H")
"""What both headers of an entry say: version needed, flags, method, time, date, CRC-32, two sizes, two lengths."""
LOCAL_BYTES = len(LOCAL_SIGNATURE) + DESCRIBED.size
"""A local header without its name."""
CENTRAL = struct.Struct("<4sH26s3H2I")
"""Signature, made by, what the local header says, comment length, disk, two kinds of attributes, header's offset."""
END64 = struct.Struct("<4sQ2H2I4Q")
"""Signature, size of what follows, made by, needed, two disks, entries twice, directory's size and offset."""
END64_FOLLOWING_BYTES = END64.size - 12
LOCATOR64 = struct.Struct("<4sIQI")
"""Signature, disk, offset of the ZIP64 end record, number of disks."""
END = struct.Struct("<4s4H2IH")
"""Signature, two disks, entries twice, directory's size and offset, comment length."""

_CENTRAL_HEAD = CENTRAL_SIGNATURE + struct.pack("<H", _VERSION)
_CENTRAL_NOTHING = bytes(10)  # no comment, first disk, no attributes
_OFFSET = struct.Struct("<I")
_EXTRA64_HEAD = struct.Struct("<2H")
_EXTRA64_ID = 1


class ZipEntry(NamedTuple):
    """One entry, before its bytes: a name such as a logical path, its size, and the CRC-32 of its bytes."""

    name: str
    size_bytes: int
    crc32: int


class ZipDirectory:
    """The entries written so far, in order, each at its offset; it becomes the end of the archive."""

    def __init__(self) -> None:
        self._records = bytearray()
        self._entries = 0
        self.size_bytes = 0
        """How long the archive is up to here, the bytes of the last entry included."""

    def add(self, name: str, size_bytes: int, crc32: int) -> bytes:
        """The local header of the next entry. Exactly ``size_bytes`` bytes must follow it in the archive."""
        encoded, header_at = name.encode(), self.size_bytes
        name_bytes = len(encoded)
        flags = 0 if name_bytes == len(name) else UTF8_FLAG
        if size_bytes >= MAX32 or header_at >= MAX32:
            header = self._add64(encoded, flags, size_bytes, crc32)
        else:
            described = DESCRIBED.pack(_VERSION, flags, 0, _TIME, _DATE, crc32, size_bytes, size_bytes, name_bytes, 0)
            self._records += b"".join((_CENTRAL_HEAD, described, _CENTRAL_NOTHING, _OFFSET.pack(header_at), encoded))
            header = b"".join((LOCAL_SIGNATURE, described, encoded))
        self._entries += 1
        self.size_bytes = header_at + len(header) + size_bytes
        return header

    def end(self) -> bytes:
        """What follows the last entry: the central directory and the end record or records."""
        return b"".join((self._records, _end_records(self._entries, len(self._records), self.size_bytes)))

    def _add64(self, encoded: bytes, flags: int, size_bytes: int, crc32: int) -> bytes:
        """The same with what does not fit moved to a ZIP64 extra field. A local header has no offset to move."""
        sizes = [size_bytes] * 2 if size_bytes >= MAX32 else []
        offsets = [self.size_bytes] if self.size_bytes >= MAX32 else []
        local_extra, central_extra = _extra64(sizes), _extra64(sizes + offsets)

        def described(extra: bytes) -> bytes:
            size = min(size_bytes, MAX32)
            version = VERSION64 if extra else _VERSION
            lengths = (len(encoded), len(extra))
            return DESCRIBED.pack(version, flags, 0, _TIME, _DATE, crc32, size, size, *lengths)

        offset = min(self.size_bytes, MAX32)
        self._records += CENTRAL.pack(CENTRAL_SIGNATURE, VERSION64, described(central_extra), 0, 0, 0, 0, offset)
        self._records += encoded + central_extra
        return LOCAL_SIGNATURE + described(local_extra) + encoded + local_extra


def archive_size(entries: Iterable[ZipEntry]) -> int:
    """How many bytes the whole archive of these entries in this order has."""
    count = archive_bytes = directory_bytes = 0
    for name, size, _ in entries:
        name_bytes = len(name) if name.isascii() else len(name.encode())
        if size >= MAX32 or archive_bytes >= MAX32:
            sizes = 2 if size >= MAX32 else 0
            directory_bytes += _extra64_bytes(sizes + (archive_bytes >= MAX32))
            archive_bytes += _extra64_bytes(sizes)
        directory_bytes += CENTRAL.size + name_bytes
        archive_bytes += LOCAL_BYTES + name_bytes + size
        count += 1
    end64_bytes = END64.size + LOCATOR64.size if _needs64(count, directory_bytes, archive_bytes) else 0
    return archive_bytes + directory_bytes + end64_bytes + END.size


def stored_archive_size(count: int, data_bytes: int, *, name_bytes: int) -> int:
    """The same for so many entries with names of one length, of data that come to so much; below 4 GiB in all."""
    archive_bytes = count * (LOCAL_BYTES + name_bytes) + data_bytes
    directory_bytes = count * (CENTRAL.size + name_bytes)
    end64_bytes = END64.size + LOCATOR64.size if _needs64(count, directory_bytes, archive_bytes) else 0
    return archive_bytes + directory_bytes + end64_bytes + END.size


def _extra64(values: list[int]) -> bytes:
    if not values:
        return b""
    return _EXTRA64_HEAD.pack(_EXTRA64_ID, 8 * len(values)) + struct.pack(f"<{len(values)}Q", *values)


def _extra64_bytes(values: int) -> int:
    return _EXTRA64_HEAD.size + 8 * values if values else 0


def _needs64(entries: int, directory_bytes: int, directory_at: int) -> bool:
    return entries >= MAX16 or directory_bytes >= MAX32 or directory_at >= MAX32


def _end_records(entries: int, directory_bytes: int, directory_at: int) -> bytes:
    end64 = b""
    if _needs64(entries, directory_bytes, directory_at):
        versions, disks, counts = (VERSION64, VERSION64), (0, 0), (entries, entries)
        end64 = END64.pack(
            END64_SIGNATURE, END64_FOLLOWING_BYTES, *versions, *disks, *counts, directory_bytes, directory_at
        ) + LOCATOR64.pack(LOCATOR64_SIGNATURE, 0, directory_at + directory_bytes, 1)
    count, size, offset = min(entries, MAX16), min(directory_bytes, MAX32), min(directory_at, MAX32)
    return end64 + END.pack(END_SIGNATURE, 0, 0, count, count, size, offset, 0)
