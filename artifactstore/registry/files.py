"""Handing files back: every byte is checked against its digest before it counts."""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, BinaryIO

from blake3 import blake3

from artifactstore.domain.digest import Digest
from artifactstore.domain.hashing import BUFFER_BYTES
from artifactstore.errors import (
    BlobCorruptError,
    BlobMissingError,
    FileUnknownError,
    RangeInvalidError,
    StorageError,
)
from artifactstore.registry.destination import appearing_directory, appearing_file
from artifactstore.registry.packages import require_content
from artifactstore.registry.paging import every
from artifactstore.registry.progress import SILENT
from artifactstore.storage.port import ObjectKey, ObjectKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from artifactstore.catalog.records import LocatedFile
    from artifactstore.registry.progress import Progress
    from artifactstore.registry.registry import Registry

IN_MEMORY_BYTES = 8 * 1024 * 1024
_PAGE = 1_000
_NEAR_BYTES = 64 * 1024
"""Blobs of one object that lie closer than this are read as one range."""


def list_files(registry: Registry, package_id: str, *, after_index: int = -1) -> Iterator[LocatedFile]:
    """Every file after an index, in path order, with where its bytes are; read a page at a time."""
    with registry.catalog.snapshot() as queries:
        package = require_content(queries, package_id)

    def page(after: int) -> list[LocatedFile]:
        with registry.catalog.snapshot() as queries:
            return queries.located_files(package.row_id, after_index=after, limit=_PAGE)

    return every(page, first=after_index, size=_PAGE, key=attrgetter("file_index"))


def page_of_files(registry: Registry, package_id: str, *, after_index: int, limit: int) -> list[LocatedFile]:
    """A page of files in path order, after an index."""
    with registry.catalog.snapshot() as queries:
        package = require_content(queries, package_id)
        return queries.located_files(package.row_id, after_index=after_index, limit=limit)


def find_file_by_index(registry: Registry, package_id: str, index: int) -> LocatedFile:
    """One file by its place in the package. Raises ``FileUnknownError``."""
    found = page_of_files(registry, package_id, after_index=index - 1, limit=1)
    if not found:
        raise FileUnknownError(f"package {package_id} has no file number {index}")
    return found[0]


def get_package(registry: Registry, package_id: str, destination: Path, *, progress: Progress = SILENT) -> int:
    """Write every file below ``destination``, which must not exist; returns their number."""
    with registry.catalog.snapshot() as queries:
        package = require_content(queries, package_id)
    progress.begin("fetching", package.total_bytes)
    with appearing_directory(destination) as tree:
        for file, data in contents(registry, list_files(registry, package_id)):
            if data is None:
                with tree.create(file.path) as write:
                    _deliver(registry, file, write)
            else:
                tree.write(file.path, data)
            progress.advance(file.size_bytes)
    return package.file_count


def get_file(registry: Registry, package_id: str, path: str, destination: Path) -> int:
    """Write one file to ``destination``, which must not exist; returns its size in bytes."""
    file = find_file(registry, package_id, path)
    with appearing_file(destination) as write:
        _deliver(registry, file, write)
    return file.size_bytes


def send_file(registry: Registry, package_id: str, path: str, sink: BinaryIO) -> int:
    """Write one file to a stream that cannot take bytes back: a large one is checked before its first byte is sent."""
    file = find_file(registry, package_id, path)
    if file.size_bytes > IN_MEMORY_BYTES:
        _check(registry, file)
    _deliver(registry, file, sink.write)
    return file.size_bytes


def find_file(registry: Registry, package_id: str, path: str) -> LocatedFile:
    """One file by its logical path. Raises ``FileUnknownError``."""
    with registry.catalog.snapshot() as queries:
        found = queries.located_file(require_content(queries, package_id).row_id, path)
    if found is None:
        raise FileUnknownError(f"package {package_id} has no file {path[:200]!r}")
    return found


# from objects


def contents(registry: Registry, files: Iterator[LocatedFile]) -> Iterator[tuple[LocatedFile, bytes | None]]:
    """Each file with its checked bytes if it is small and where it was expected; else None, for ``_deliver``."""
    reader = _SequentialReader(registry)
    try:
        for file in files:
            yield file, reader.read(file) if file.size_bytes <= IN_MEMORY_BYTES else None
    finally:
        reader.close()


def _check(registry: Registry, file: LocatedFile) -> None:
    """Read a file's bytes and raise if they are not what they should be."""
    _deliver(registry, file, lambda _: None)


def _deliver(registry: Registry, file: LocatedFile, write: Callable[[bytes], object]) -> None:
    """A file's bytes from the first location that has them, checked. A small one is checked before it is written."""
    if not file.locations:
        raise BlobMissingError(f"{file.path!r}: no live copy of blob {Digest.blake3(file.blake3)} is left")
    if file.size_bytes > IN_MEMORY_BYTES:
        return _stream(registry, file, write)
    write(read_checked(registry, file))
    return None


def read_checked(registry: Registry, file: LocatedFile) -> bytes:
    """A small file's bytes from the first location where they are right. Raises what ``lost`` says."""
    found = b""
    for backend, kind, digest, start in file.locations:
        try:
            data = registry.backend(backend).read(ObjectKey(ObjectKind(kind), digest), start, file.size_bytes)
        except (StorageError, RangeInvalidError):
            continue
        if (found := blake3(data).digest()) == file.blake3:
            return data
    raise lost(file, found)


def _stream(registry: Registry, file: LocatedFile, write: Callable[[bytes], object]) -> None:
    """A large file: the first location that can be opened; its bytes are checked as they pass."""
    for backend, kind, digest, start in file.locations:
        hasher = blake3()
        try:
            opened = registry.backend(backend).open(ObjectKey(ObjectKind(kind), digest), start, file.size_bytes)
            stream = opened.__enter__()
        except (StorageError, RangeInvalidError):
            continue
        try:
            while data := stream.read(BUFFER_BYTES):
                hasher.update(data)
                write(data)
        finally:
            opened.__exit__(None, None, None)
        if hasher.digest() != file.blake3:
            raise lost(file, hasher.digest())
        return
    raise lost(file, b"")


def lost(file: LocatedFile, found: bytes) -> BlobCorruptError | BlobMissingError:
    """What to raise for a file of which no location has the right bytes; ``found`` is the digest of others, if any."""
    expected = Digest.blake3(file.blake3)
    if found:
        return BlobCorruptError(f"{file.path!r}: stored bytes are {Digest.blake3(found)}, not {expected}")
    return BlobMissingError(f"{file.path!r}: no backend has blob {expected}")


class _SequentialReader:
    """Reads small blobs that follow one another in one object from one open stream."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._object: tuple[str, str, bytes] | None = None
        self._position = 0
        self._stream: BinaryIO | None = None
        self._closing: Callable[[], object] = lambda: None

    def read(self, file: LocatedFile) -> bytes | None:
        """A blob's checked bytes; None if they are to be looked for elsewhere."""
        if not file.locations:
            return None
        backend, kind, digest, start = file.locations[0]
        try:
            stream = self._stream_at((backend, kind, digest), start)
            data = stream.read(file.size_bytes)
        except (StorageError, RangeInvalidError):
            self.close()
            return None
        self._position += len(data)
        return data if blake3(data).digest() == file.blake3 else None

    def _stream_at(self, place: tuple[str, str, bytes], start: int) -> BinaryIO:
        gap = start - self._position
        if self._stream is None or place != self._object or not 0 <= gap <= _NEAR_BYTES:
            self.close()
            backend, kind, digest = place
            context = self._registry.backend(backend).open(ObjectKey(ObjectKind(kind), digest), start)
            self._stream = context.__enter__()
            self._closing = partial(context.__exit__, None, None, None)
            self._object, self._position = place, start
        elif gap:
            self._position += len(self._stream.read(gap))
        return self._stream

    def close(self) -> None:
        """Leave the open object, if any."""
        self._stream = None
        self._closing()
        self._closing = lambda: None
