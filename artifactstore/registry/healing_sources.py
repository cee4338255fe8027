"""Where bytes that are damaged or missing may come from: another location, or a directory that somebody still has.

Whatever the source, both digests of what it gives are compared before anything is made of it.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple, Self

from artifactstore.catalog.blobs import live_locations
from artifactstore.catalog.records import LocatedFile
from artifactstore.domain.digest import Digest
from artifactstore.domain.hashing import BUFFER_BYTES, measure
from artifactstore.errors import BlobCorruptError, BlobMissingError, InvalidRequestError
from artifactstore.registry.directory import DirectoryTree
from artifactstore.registry.locations import SmallFiles, stream_large
from artifactstore.registry.reading import measure_stream, read_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from artifactstore.catalog.records import PlacedBlob
    from artifactstore.registry.directory import TreeFile
    from artifactstore.registry.registry import Registry

    Way = Callable[[], Iterator[bytes]]

NOT_GIVEN = (BlobMissingError, BlobCorruptError, InvalidRequestError)
"""What a source raises that does not have the bytes. An error that says nothing of them is another."""


class Refusal(NamedTuple):
    """A file of the directory that is not what the package has at its path."""

    path: str
    why: str


class Sources:
    """All sources of a healing. Use it as a context manager. ``refused`` grows as files are looked at."""

    def __init__(
        self,
        registry: Registry,
        folder: Path | None = None,
        paths: Mapping[bytes, Sequence[str]] | None = None,
    ) -> None:
        """``paths`` has for the BLAKE3 of each blob where in ``folder`` it may be."""
        self.refused: dict[str, Refusal] = {}
        self._registry = registry
        self._paths = paths or {}
        self._open = ExitStack()
        self._tree = None if folder is None else self._open.enter_context(DirectoryTree(folder))
        self._small = self._open.enter_context(SmallFiles(registry))

    def small(self, blob: PlacedBlob) -> bytes | None:
        """A small blob's bytes; None if no source has them. Raises what a backend does that gives no answer."""
        try:
            data = self._small.read(self._located(blob))
        except (BlobMissingError, BlobCorruptError):
            data = b""
        if _is_right(blob, data):
            return data
        given = (_read_all(file) for file in self._files(blob))
        return next((data for data in given if _is_right(blob, data)), None)

    def ways(self, blob: PlacedBlob) -> Iterator[Way]:
        """One after the other the ways to a large blob's bytes, each of which may turn out to be none (``NOT_GIVEN``).

        A file of the directory was compared before it is a way. What comes is to be compared nevertheless.
        """
        yield lambda: stream_large(self._registry, self._located(blob))
        for file in self._files(blob):
            yield lambda file=file: _pieces(file)  # type: ignore[misc]

    def _located(self, blob: PlacedBlob) -> LocatedFile:
        with self._registry.catalog.snapshot() as queries:
            locations = live_locations(queries.connection, blob.blake3)
        name = str(Digest.blake3(blob.blake3))
        return LocatedFile(0, name, "", "", blob.size_bytes, blob.blake3, blob.sha256, tuple(locations))

    def _files(self, blob: PlacedBlob) -> Iterator[TreeFile]:
        """Those files of the directory that are this blob by both digests; the others are refused."""
        for path in self._paths.get(blob.blake3, ()):
            if self._tree is None:
                return
            try:
                file = self._tree.file(path)
                why = "there is none" if file is None else _difference(blob, file)
            except InvalidRequestError as error:
                file, why = None, error.message
            if file is not None and not why:
                yield file
            else:
                self.refused[path] = Refusal(path, why)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


def _is_right(blob: PlacedBlob, data: bytes) -> bool:
    found = measure(data)
    return (found.blake3, found.sha256, found.size_bytes) == (blob.blake3, blob.sha256, blob.size_bytes)


def _difference(blob: PlacedBlob, file: TreeFile) -> str:
    """How a file differs from a blob; empty if it does not."""
    opened = file.open()
    try:
        if opened.size_bytes != blob.size_bytes:
            return f"it has {opened.size_bytes} bytes, not {blob.size_bytes}"
        found = measure_stream(opened)
    finally:
        opened.close()
    if found.blake3 != blob.blake3:
        return f"it is {Digest.blake3(found.blake3)}, not {Digest.blake3(blob.blake3)}"
    if found.sha256 != blob.sha256:
        return f"it is {Digest.sha256(found.sha256)}, not {Digest.sha256(blob.sha256)}"
    return ""


def _read_all(file: TreeFile) -> bytes:
    """A small file that was compared a moment ago, and may be another by now."""
    opened = file.open()
    try:
        return read_whole(opened)
    finally:
        opened.close()


def _pieces(file: TreeFile) -> Iterator[bytes]:
    opened = file.open()
    try:
        while data := opened.read(BUFFER_BYTES):
            yield data
        opened.finish()
    finally:
        opened.close()
