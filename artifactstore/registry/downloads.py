"""Stored bytes on their way out, as pieces: each is given only once it is known to be right.

``locations`` reads and checks them. Where bytes are nowhere what was stored, ``BlobCorruptError`` is raised before the
answer is complete.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.domain.digest import CHUNK_BYTES
from artifactstore.domain.hashing import BUFFER_BYTES
from artifactstore.domain.zip_format import ZipDirectory, ZipEntry, archive_size
from artifactstore.registry.files import contents, list_files
from artifactstore.registry.locations import read_small, stream_large, stream_range
from artifactstore.registry.packages import require_content
from artifactstore.registry.paging import every

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        data = read_small(registry, file)
        yield from (data[at : min(at + BUFFER_BYTES, end)] for at in range(start, end, BUFFER_BYTES))
    elif (start, end) == (0, file.size_bytes):
        yield from stream_large(registry, file)
    else:
        yield from stream_range(registry, file, start, end)


def archive(registry: Registry, package_id: str, *, after_index: int = -1, below_bytes: int = EVERY_SIZE) -> Archive:
    """The files after an index that are smaller than a size, in path order."""

    def page(after: int) -> list[FileSum]:
        with registry.catalog.snapshot() as queries:
            package = require_content(queries, package_id)
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
