"""Reading a ZIP of stored entries from a stream that a stranger sends: strictly, forwards, one entry in memory.

Readers of ZIP differ in which of its several statements they believe. Here an archive must say one thing only: entries
stand one after another from the first byte on, the central directory repeats their headers in the same order, the end
record agrees with both, and nothing else is there. Entries are stored (method 0) with CRC-32 and sizes in the local
header; names are legal logical paths (``domain.paths``), ASCII or marked as UTF-8, and none stands twice. No extra
fields, no comments, no data descriptors, no encryption, no directories or links, no second disk. The entries end below
4 GiB. ZIP64 stands only at the end: required beyond 65,535 entries, allowed at 65,535, where writers differ.

Times, what wrote it, and attributes other than "this is no file" mean nothing here and are passed over. ``zip_format``
writes such archives, and so does Python's ``zipfile`` with ``ZIP_STORED`` into a file that can seek.
"""

from __future__ import annotations

import struct
from array import array
from stat import S_IFMT, S_IFREG
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from zlib_ng import zlib_ng

from artifactstore.domain.paths import path_problem
from artifactstore.domain.zip_format import (
    CENTRAL,
    CENTRAL_SIGNATURE,
    DESCRIBED,
    END,
    END64,
    END64_FOLLOWING_BYTES,
    END64_SIGNATURE,
    END_SIGNATURE,
    LOCAL_BYTES,
    LOCAL_SIGNATURE,
    LOCATOR64,
    LOCATOR64_SIGNATURE,
    MAX16,
    MAX32,
    UTF8_FLAG,
    VERSION64,
)
from artifactstore.errors import ArchiveInvalidError, LimitExceededError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUFFER_BYTES = 256 * 1024
"""How much is asked of ``read`` at a time."""

_SIGNATURE_BYTES = 4
_ENCRYPTED, _DATA_DESCRIPTOR = 0x1, 0x8
_REPEATED_FIELDS = (
    (slice(2, 4), "other flags"),
    (slice(4, 6), "another method"),
    (slice(10, 14), "another CRC-32"),
    (slice(14, 18), "another compressed size"),
    (slice(18, 22), "another size"),
    (slice(22, 24), "a name of another length"),
    (slice(24, 26), "an extra field"),
)
"""What the central directory must repeat of what a local header says; version and time mean nothing."""
_UNIX, _MACOS = 3, 19
_DOS_DIRECTORY = 0x10
_SHOWN_CHARACTERS = 200


class ArchiveEntry(NamedTuple):
    """One entry whose bytes have the CRC-32 that was declared for them."""

    path: str
    data: bytes
    crc32: int


def read_archive(read: Callable[[int], bytes], *, max_entries: int, max_entry_bytes: int) -> Iterator[ArchiveEntry]:
    """Each entry in order. An archive is taken or refused whole: what was yielded counts once the iterator has ended.

    ``read(size)`` blocks, gives at most ``size`` bytes, and ``b""`` at the end, which is asked for once; what it raises
    passes through. An entry is yielded as soon as its last byte is there. Raises ``ArchiveInvalidError`` at the first
    header, name, checksum or byte that is wrong; ``LimitExceededError`` for an entry too many, or one that declares
    more than ``max_entry_bytes``, before its bytes are read.
    """
    source, seen = _Source(read), _Seen()
    while (head := source.peek(LOCAL_BYTES)).startswith(LOCAL_SIGNATURE):
        if len(seen.names) >= max_entries:
            raise LimitExceededError(f"the archive has more than {max_entries} entries")
        yield _read_entry(source, head, seen, max_entry_bytes)
    directory_at = source.position
    _check_directory(source, seen)
    _check_end(source, len(seen.names), directory_at)


class _Source:
    """A stream whose bytes are counted, read a buffer at a time."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._ended = False
        self._buffer = b""
        self._at = 0
        self.position = 0
        """How many bytes were taken."""

    def peek(self, size: int) -> bytes:
        """The next ``size`` bytes, which stay; fewer at the end."""
        if self._at + size > len(self._buffer):
            gathered = self._gather(size)
            self._buffer, self._at = gathered + self._buffer[self._at :], 0
        return self._buffer[self._at : self._at + size]

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes; fewer at the end."""
        at, end = self._at, self._at + size
        if end <= len(self._buffer):
            self._at = end
            taken = self._buffer[at:end]
        else:
            taken = self._gather(size)
        self.position += len(taken)
        return taken

    def _gather(self, size: int) -> bytes:
        """What is left of the buffer and as much from the next ones; ``_at`` is then behind it in the last one."""
        gathered = bytearray(self._buffer[self._at :])
        while (missing := size - len(gathered)) > 0:
            self._buffer = b"" if self._ended else self._read(BUFFER_BYTES)
            self._at = min(missing, len(self._buffer))
            if not self._buffer:
                self._ended = True
                break
            gathered += self._buffer[: self._at]
        return bytes(gathered)


class _Seen:
    """What the central directory must repeat, in order: about 100 bytes an entry and its name."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.described = bytearray()
        self.offsets = array("I")


def _read_entry(source: _Source, head: bytes, seen: _Seen, max_entry_bytes: int) -> ArchiveEntry:
    """The entry whose header begins with ``head``, which is not taken yet."""
    header_at = source.position
    path, size, crc32 = _read_header(source, head)
    if path in seen.names:
        _refuse(f"{_entry(path)} stands twice")
    if size > max_entry_bytes:
        raise LimitExceededError(f"{_entry(path)} is {size} bytes long, more than {max_entry_bytes}")
    if source.position + size >= MAX32:
        _refuse(f"{_entry(path)} ends at 4 GiB or beyond: send it in another archive")
    data = source.take(size)
    if len(data) < size:
        _refuse(f"{_entry(path)} is cut off: {len(data)} of {size} bytes")
    if zlib_ng.crc32(data) != crc32:
        _refuse(f"{_entry(path)} does not have the CRC-32 it declares")
    seen.names[path] = None
    seen.described += head[_SIGNATURE_BYTES:]
    seen.offsets.append(header_at)
    return ArchiveEntry(path, data, crc32)


def _read_header(source: _Source, head: bytes) -> tuple[str, int, int]:
    """Path, size and CRC-32 as a local header declares them; the header is taken."""
    if len(head) < LOCAL_BYTES:
        _refuse_cut_off("a header")
    version, flags, method, _, _, crc32, compressed, size, name_bytes, extra_bytes = DESCRIBED.unpack_from(
        head, _SIGNATURE_BYTES
    )
    name = source.take(LOCAL_BYTES + name_bytes)[LOCAL_BYTES:]
    if len(name) < name_bytes:
        _refuse_cut_off("a name")
    problem = _header_problem(version, flags, method, (compressed, size), extra_bytes)
    if problem is not None:
        _refuse(f"{_entry(name)} {problem}")
    return _path(name, flags), size, crc32


def _header_problem(version: int, flags: int, method: int, sizes: tuple[int, int], extra_bytes: int) -> str | None:
    if flags & ~UTF8_FLAG:
        return _flags_problem(flags)
    if method:
        return f"is compressed (method {method}), not stored"
    if extra_bytes:
        return "has an extra field"
    if sizes[0] != sizes[1]:
        return f"declares two sizes, {sizes[0]} and {sizes[1]} bytes"
    return f"needs version {version} of ZIP, later than {VERSION64}" if version > VERSION64 else None


def _flags_problem(flags: int) -> str:
    if flags & _ENCRYPTED:
        return "is encrypted"
    if flags & _DATA_DESCRIPTOR:
        return "has its size and CRC-32 in a data descriptor, not in its header"
    return f"has flags {flags:#06x}; only {UTF8_FLAG:#06x}, names in UTF-8, can be set"


def _path(name: bytes, flags: int) -> str:
    """The name of an entry as a logical path."""
    try:
        path = name.decode("utf-8" if flags else "ascii")
    except UnicodeDecodeError:
        _refuse(f"{_entry(name)} has a name that is {'not' if flags else 'neither ASCII nor marked as'} UTF-8")
    if path.endswith("/"):
        _refuse(f"{_entry(path)} is a directory; only files are taken")
    problem = path_problem(path)
    if problem is not None:
        _refuse(f"{_entry(path)} {problem}")
    return path


def _check_directory(source: _Source, seen: _Seen) -> None:
    """Read the central directory up to its last record, and compare each with its local header."""
    start = source.peek(_SIGNATURE_BYTES)
    if start not in {CENTRAL_SIGNATURE, END64_SIGNATURE, END_SIGNATURE}:
        where = f"neither an entry nor the central directory begins at byte {source.position}"
        _refuse(where if len(start) == _SIGNATURE_BYTES else f"{where}: the archive is cut off")
    described = struct.iter_unpack(f"{DESCRIBED.size}s", seen.described)
    for name, (local,), header_at in zip(seen.names, described, seen.offsets, strict=True):
        record = source.take(CENTRAL.size)
        if len(record) < CENTRAL.size and CENTRAL_SIGNATURE.startswith(record[:_SIGNATURE_BYTES]):
            _refuse_cut_off("the central directory")
        if not record.startswith(CENTRAL_SIGNATURE):
            _refuse(f"{_entry(name)} is not in the central directory where it should be")
        problem = _record_problem(record, local, header_at)
        if problem is not None:
            _refuse(f"{_entry(name)} {problem} in the central directory")
        encoded = name.encode()
        found = source.take(len(encoded))
        if len(found) < len(encoded):
            _refuse_cut_off("the central directory")
        if found != encoded:
            _refuse(f"{_entry(name)} is called {_shown(found)} in the central directory")
    if source.peek(_SIGNATURE_BYTES) == CENTRAL_SIGNATURE:
        _refuse(f"the central directory has more than the {len(seen.names)} entries before it")


def _record_problem(record: bytes, local: bytes, header_at: int) -> str | None:
    """How a central header disagrees with its local one, or what it says besides."""
    _, made_by, described, comment_bytes, disk, _, attributes, offset = CENTRAL.unpack(record)
    if described != local and (problem := _repetition_problem(described, local)):
        return problem
    if offset != header_at:
        return f"begins at byte {offset}, not {header_at}"
    if comment_bytes:
        return "has a comment"
    if disk:
        return "is on another disk"
    return "is no regular file" if attributes and _is_no_file(made_by >> 8, attributes) else None


def _repetition_problem(described: bytes, local: bytes) -> str | None:
    for field, words in _REPEATED_FIELDS:
        if described[field] != local[field]:
            return f"has {words}"
    version = int.from_bytes(described[:2], "little")
    return f"needs version {version} of ZIP" if version > VERSION64 else None


def _is_no_file(system: int, attributes: int) -> bool:
    """Whether the attributes say directory, symbolic link or the like; most writers say nothing or a regular file."""
    file_type = S_IFMT(attributes >> 16) if system in {_UNIX, _MACOS} else 0
    return file_type not in {0, S_IFREG} or bool(attributes & _DOS_DIRECTORY)


def _check_end(source: _Source, entries: int, directory_at: int) -> None:
    """Compare the end record or records with what was read, and see that nothing follows."""
    directory_bytes = source.position - directory_at
    signature = source.peek(_SIGNATURE_BYTES)
    if len(signature) < _SIGNATURE_BYTES:
        _refuse_cut_off("its end")
    has64 = signature == END64_SIGNATURE
    if has64:
        _check_end64(source, entries, directory_bytes, directory_at)
    elif entries > MAX16:
        _refuse(f"{entries} entries need a ZIP64 end record")
    record = source.take(END.size)
    if len(record) < END.size:
        _refuse_cut_off("its end")
    *said, size, offset, comment_bytes = END.unpack(record)
    if comment_bytes:
        _refuse("the archive has a comment")
    count = min(entries, MAX16)
    if said != [END_SIGNATURE, 0, 0, count, count]:
        _refuse(f"the end record does not say {entries} entries on one disk")
    elsewhere = {MAX32} if has64 else set()
    if size not in {directory_bytes, *elsewhere} or offset not in {directory_at, *elsewhere}:
        _refuse(f"the end record does not say {directory_bytes} bytes of central directory at byte {directory_at}")
    if source.take(1):
        _refuse("something follows the end record")


def _check_end64(source: _Source, entries: int, directory_bytes: int, directory_at: int) -> None:
    if entries < MAX16:
        _refuse(f"a ZIP64 end record stands where {entries} entries need none")
    end_at = source.position
    record, locator = source.take(END64.size), source.take(LOCATOR64.size)
    if len(locator) < LOCATOR64.size:
        _refuse_cut_off("its end")
    _, following_bytes, _made_by, version, *said = END64.unpack(record)
    if following_bytes != END64_FOLLOWING_BYTES or version > VERSION64:
        _refuse("the ZIP64 end record is of another form than that of version 4.5")
    if said != [0, 0, entries, entries, directory_bytes, directory_at]:
        _refuse(f"the ZIP64 end record does not say {entries} entries and a central directory at byte {directory_at}")
    if LOCATOR64.unpack(locator) != (LOCATOR64_SIGNATURE, 0, end_at, 1):
        _refuse(f"the ZIP64 locator does not say byte {end_at} of one disk")


def _refuse_cut_off(where: str) -> NoReturn:
    _refuse(f"the archive is cut off in the middle of {where}")


def _refuse(what: str) -> NoReturn:
    raise ArchiveInvalidError(what)


def _entry(name: str | bytes) -> str:
    return f"entry {_shown(name)}"


def _shown(name: str | bytes) -> str:
    """A name as it can be put in a message, whatever a stranger made of it."""
    text = repr(name if isinstance(name, str) else name.decode(errors="backslashreplace"))
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
