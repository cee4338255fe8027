"""Handing files back: every byte is checked against its digest before it counts."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, BinaryIO

from artifactstore.errors import FileUnknownError
from artifactstore.registry.destination import appearing_directory, appearing_file
from artifactstore.registry.locations import SmallFiles, read_small, stream_large
from artifactstore.registry.packages import require_content
from artifactstore.registry.paging import every
from artifactstore.registry.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from artifactstore.catalog.records import LocatedFile
    from artifactstore.registry.progress import Progress
    from artifactstore.registry.registry import Registry

IN_MEMORY_BYTES = 8 * 1024 * 1024
_PAGE = 1_000


def list_files(registry: Registry, package_id: str, *, after_index: int = -1) -> Iterator[LocatedFile]:
    """Every file after an index, in path order, with where its bytes are; read a page at a time.

    Raises ``PackageDeletedError``, also between two pages: what is listed without an error is all of it.
    """
    with registry.catalog.snapshot() as queries:
        require_content(queries, package_id)

    def page(after: int) -> list[LocatedFile]:
        return page_of_files(registry, package_id, after_index=after, limit=_PAGE)

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


# their bytes


def contents(registry: Registry, files: Iterator[LocatedFile]) -> Iterator[tuple[LocatedFile, bytes | None]]:
    """Each file with its checked bytes if it is small; else None, for ``stream_large``."""
    with SmallFiles(registry) as small:
        for file in files:
            yield file, small.read(file) if file.size_bytes <= IN_MEMORY_BYTES else None


def _check(registry: Registry, file: LocatedFile) -> None:
    """Read a file's bytes and raise if they are not what they should be."""
    _deliver(registry, file, lambda _: None)


def _deliver(registry: Registry, file: LocatedFile, write: Callable[[bytes], object]) -> None:
    """A file's bytes, checked. A small one is checked before it is written."""
    if file.size_bytes <= IN_MEMORY_BYTES:
        write(read_small(registry, file))
        return
    for data in stream_large(registry, file):
        write(data)
