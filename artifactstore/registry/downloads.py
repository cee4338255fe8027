"""Stored bytes on their way out, as pieces: each is given only once it is known to be right.

A small blob is checked whole before its first byte is given. A large one is checked as it passes, and its last piece is
held back until its digest is known to match; a range of one is checked by the whole 4 MiB chunks that it touches. Where
bytes are not what was stored, ``BlobCorruptError`` is raised before the answer is complete.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from blake3 import blake3

from artifactstore.domain.digest import CHUNK_BYTES, DIGEST_BYTES
from artifactstore.domain.hashing import BUFFER_BYTES, AddressHasher
from artifactstore.domain.zip_format import ZipDirectory, ZipEntry, archive_size
from artifactstore.errors import ObjectNotFoundError, RangeInvalidError, StorageError
from artifactstore.registry.files import contents, list_files, lost, read_checked
from artifactstore.registry.packages import require_content
from artifactstore.registry.paging import every
from artifactstore.storage.port import ObjectKey, ObjectKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from artifactstore.catalog.records import FileSum, LocatedFile
    from artifactstore.registry.registry import Registry

_PAGE = 10_000
EVERY_SIZE = 2**62


class Archive(NamedTuple):
    """A package's files as one ZIP of stored entries, its size known before its first byte."""

    size_bytes: int
    pieces: Iterator[bytes]


def download(registry: Registry, file: LocatedFile, start: int = 0, length: int | None = None) -> Iterator[bytes]:
    """The bytes ``[start, start + length)`` of a file, in pieces. Raises ``BlobMissingError``, ``BlobCorruptError``."""
    end = file.size_bytes if length is None else start + length
    if file.size_bytes <= CHUNK_BYTES:
        data = read_checked(registry, file)
        yield from (data[at : min(at + BUFFER_BYTES, end)] for at in range(start, end, BUFFER_BYTES))
    elif (start, end) == (0, file.size_bytes):
        yield from _whole(registry, file)
    else:
        yield from _by_chunks(registry, file, start, end)


def archive(registry: Registry, package_id: str, *, after_index: int = -1, below_bytes: int = EVERY_SIZE) -> Archive:
    """The files after an index that are smaller than a size, in path order."""
    with registry.catalog.snapshot() as queries:
        package = require_content(queries, package_id)

    def page(after: int) -> list[FileSum]:
        with registry.catalog.snapshot() as queries:
            return queries.file_sums(package.row_id, after_index=after, below_bytes=below_bytes, limit=_PAGE)

    def sums() -> Iterator[FileSum]:
        return every(page, first=after_index, size=_PAGE, key=attrgetter("file_index"))

    size_bytes = archive_size(ZipEntry(*file[1:]) for file in sums())
    files = list_files(registry, package_id, after_index=after_index)
    wanted = (file for file in files if file.size_bytes < below_bytes)
    return Archive(size_bytes, _joined(_archive_pieces(registry, sums(), wanted)))


def _archive_pieces(registry: Registry, sums: Iterator[FileSum], files: Iterator[LocatedFile]) -> Iterator[bytes]:
    directory = ZipDirectory()
    for (_, path, size_bytes, crc32), (file, data) in zip(sums, contents(registry, files), strict=True):
        yield directory.add(path, size_bytes, crc32)
        if data is None:
            yield from download(registry, file)
        else:
            yield data
    yield directory.end()


def _joined(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in even pieces: many small files make many small ones, and some files are held whole."""
    held: list[bytes] = []
    held_bytes = 0
    for piece in pieces:
        held.append(piece)
        held_bytes += len(piece)
        if held_bytes >= BUFFER_BYTES:
            whole = b"".join(held)
            yield from (whole[at : at + BUFFER_BYTES] for at in range(0, len(whole), BUFFER_BYTES))
            held, held_bytes = [], 0
    if held:
        yield b"".join(held)


def _whole(registry: Registry, file: LocatedFile) -> Iterator[bytes]:
    held = b""
    with _first_open(registry, file) as stream, AddressHasher() as hasher:
        while data := stream.read(BUFFER_BYTES):
            hasher.update(data)
            if held:
                yield held
            held = data
        found = hasher.digest()
    if found != file.blake3:
        raise lost(file, found)
    yield held


def _by_chunks(registry: Registry, file: LocatedFile, start: int, end: int) -> Iterator[bytes]:
    with registry.catalog.snapshot() as queries:
        digests = queries.chunk_digests(file.blake3)
    first, last = start // CHUNK_BYTES, (end - 1) // CHUNK_BYTES
    for index in range(first, last + 1):
        expected = digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]
        chunk_at = index * CHUNK_BYTES
        chunk = _checked_chunk(registry, file, chunk_at, expected)
        wanted = memoryview(chunk)[max(start - chunk_at, 0) : end - chunk_at]
        yield from (bytes(wanted[at : at + BUFFER_BYTES]) for at in range(0, len(wanted), BUFFER_BYTES))


def _checked_chunk(registry: Registry, file: LocatedFile, chunk_at: int, expected: bytes) -> bytes:
    """One chunk from the first location where it is right."""
    length = min(CHUNK_BYTES, file.size_bytes - chunk_at)
    found = b""
    for backend, kind, digest, start in file.locations:
        try:
            data = registry.backend(backend).read(ObjectKey(ObjectKind(kind), digest), start + chunk_at, length)
        except (StorageError, RangeInvalidError):
            continue
        if (found := blake3(data).digest()) == expected:
            return data
    raise lost(file, found)


def _first_open(registry: Registry, file: LocatedFile) -> AbstractContextManager[BinaryIO]:
    """The file's bytes from the first location that answers and has them all."""
    for backend, kind, digest, start in file.locations:
        key = ObjectKey(ObjectKind(kind), digest)
        try:
            if registry.backend(backend).size(key) < start + file.size_bytes:
                continue
        except StorageError as error:
            if len(file.locations) == 1 and not isinstance(error, ObjectNotFoundError):
                raise
            continue
        return registry.backend(backend).open(key, start, file.size_bytes)
    raise lost(file, b"")
