"""Fetching files: nothing appears unless it is whole, and right by the manifest, which is right by its digest.

What the server says is not believed: the manifest must have the digest that identifies the package, its paths must be
legal, every file must have its BLAKE3. Small files come as one ZIP, read as it streams; it goes on after the last whole
file if the connection is cut. Large files go on after the last byte.
"""

from __future__ import annotations

from functools import partial
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from blake3 import blake3

from artifactstore.client.answers import MAX_DOCUMENT_BYTES, member
from artifactstore.client.connection import BUFFER_BYTES, FailedAttempt, Request, file_path, read_all, segment
from artifactstore.domain.digest import Digest
from artifactstore.domain.manifest import Manifest, manifest_digest
from artifactstore.domain.zip_stream import read_archive
from artifactstore.errors import (
    ArchiveInvalidError,
    BlobCorruptError,
    FileUnknownError,
    LimitExceededError,
    ManifestCorruptError,
    ManifestInvalidError,
    PackageUnknownError,
    ServiceError,
)
from artifactstore.registry.destination import appearing_directory, appearing_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from urllib3.response import BaseHTTPResponse

    from artifactstore.client.connection import Connection
    from artifactstore.domain.manifest import FileEntry
    from artifactstore.registry.destination import NewTree
    from artifactstore.registry.progress import Progress

_SMALL_BYTES = 1024 * 1024
"""Files smaller than this come together."""
_ARCHIVE_BYTES = 1024 * 1024 * 1024
"""What is taken of one archive: the reader takes none of 4 GiB, and a cut one is asked for anew."""
_PARTIAL_CONTENT = 206
_STALLS = 2
"""Cuts of the archive before the same file, after which it is asked for by itself: then it says what is wrong."""


class _Numbered(NamedTuple):
    number: int
    """Its place in the manifest."""
    entry: FileEntry


def package_path(package_id: str) -> str:
    """Where a package is. Raises ``PackageUnknownError`` for what cannot be an id: it is not made part of a path."""
    if not package_id.isascii() or not package_id.replace("-", "").isalnum():
        raise PackageUnknownError(f"there is no package {package_id[:80]!r}")
    return f"/packages/{segment(package_id)}"


def fetch_manifest(connection: Connection, package_id: str) -> bytes:
    """A package's manifest. Raises ``ManifestCorruptError`` unless it has the digest that the package is known by."""
    here = package_path(package_id)
    take = partial(read_all, limit=MAX_DOCUMENT_BYTES, server=connection.server)
    encoded = connection.run(Request("GET", f"{here}/manifest"), take)
    expected = member(connection.call(Request("GET", here)), "manifest_digest", str)
    if (found := str(Digest.blake3(manifest_digest(encoded)))) != expected:
        raise ManifestCorruptError(f"the manifest that {connection.server} sent is {found}, not {expected}")
    return encoded


def fetch_certificate(connection: Connection, package_id: str) -> bytes:
    """A deleted package's certificate, which is the server's word: the event log proves it."""
    take = partial(read_all, limit=MAX_DOCUMENT_BYTES, server=connection.server)
    return connection.run(Request("GET", f"{package_path(package_id)}/certificate"), take)


def read_manifest(connection: Connection, package_id: str) -> Manifest:
    """The same, decoded: its paths are legal and in order. Raises ``ManifestCorruptError``."""
    try:
        return Manifest.decode(fetch_manifest(connection, package_id))
    except ManifestInvalidError as error:
        raise ManifestCorruptError(f"{connection.server} sent a manifest that is none: {error.message}") from error


def fetch_package(connection: Connection, package_id: str, destination: Path, progress: Progress) -> int:
    """Write every file below ``destination``, which must not exist; returns their number."""
    files = read_manifest(connection, package_id).files
    progress.begin("fetching", sum(file.size_bytes for file in files))
    with appearing_directory(destination) as tree:
        fetching = _Fetching(connection, package_path(package_id), tree, progress)
        fetching.small([_Numbered(number, file) for number, file in enumerate(files) if file.size_bytes < _SMALL_BYTES])
        for file in files:
            if file.size_bytes >= _SMALL_BYTES:
                fetching.one(file)
    return len(files)


def fetch_file(connection: Connection, package_id: str, path: str, destination: Path) -> int:
    """Write one file to ``destination``, which must not exist; returns its size in bytes."""
    entry = _find_file(connection, package_id, path)
    with appearing_file(destination) as write:
        _download(connection, package_path(package_id), entry, write)
    return entry.size_bytes


def send_file(connection: Connection, package_id: str, path: str, sink: BinaryIO) -> int:
    """Write one file to a stream that cannot take bytes back: it is fetched and checked before its first byte is."""
    entry = _find_file(connection, package_id, path)
    with TemporaryFile() as whole:
        _download(connection, package_path(package_id), entry, whole.write)
        whole.seek(0)
        while data := whole.read(BUFFER_BYTES):
            sink.write(data)
    return entry.size_bytes


def _find_file(connection: Connection, package_id: str, path: str) -> FileEntry:
    for file in read_manifest(connection, package_id).files:
        if file.path == path:
            return file
    raise FileUnknownError(f"package {package_id} has no file {path[:200]!r}")


class _Fetching:
    """Files of one package on their way into a new directory."""

    def __init__(self, connection: Connection, package: str, tree: NewTree, progress: Progress) -> None:
        self._connection = connection
        self._package = package
        self._tree = tree
        self._progress = progress

    def one(self, entry: FileEntry) -> None:
        """One file by itself."""
        with self._tree.create(entry.path) as write:
            _download(self._connection, self._package, entry, write)
        self._progress.advance(entry.size_bytes)

    def small(self, files: Sequence[_Numbered]) -> None:
        """Many small files as one archive, which goes on where it was cut."""
        patience, done, stalls = self._connection.patience(), 0, 0
        while done < len(files):
            before = done
            try:
                for _ in self._archive(files, done):
                    done += 1
            except FailedAttempt as failure:
                if done == len(files):
                    return
                stalls = stalls + 1 if done == before else 0
                if stalls >= _STALLS:
                    self.one(files[done].entry)
                    done, stalls = done + 1, 0
                if done > before:
                    patience.renew()
                patience.after(failure)

    def _archive(self, files: Sequence[_Numbered], done: int) -> Iterator[None]:
        """Write the files after the first ``done``, and yield after each. A very long archive is left early."""
        after = files[done - 1].number if done else None
        request = Request("GET", f"{self._package}/archive.zip", query={"below": _SMALL_BYTES, "after": after})
        with self._connection.answer(request) as response:
            ahead = iter(files[done:])
            entries = read_archive(response.read, max_entries=len(files) - done, max_entry_bytes=_SMALL_BYTES)
            taken_bytes = 0
            try:
                for path, data, _ in entries:
                    wanted = next(ahead).entry  # there is one: more entries are refused
                    if wanted.path != path or blake3(data).digest() != wanted.blake3:
                        raise FailedAttempt(_lost(wanted, blake3(data).digest()), retryable=True)
                    self._tree.write(path, data)
                    self._progress.advance(len(data))
                    taken_bytes += len(data)
                    yield
                    if taken_bytes >= _ARCHIVE_BYTES:
                        return
            except (ArchiveInvalidError, LimitExceededError) as error:
                wrong = ServiceError(f"the archive that the server sent is none: {error.message}")
                raise FailedAttempt(wrong, retryable=True) from error
            if next(ahead, None) is not None:
                raise FailedAttempt(ServiceError("the server sent fewer files than there are"), retryable=True)


def _download(connection: Connection, package: str, entry: FileEntry, write: Callable[[bytes], object]) -> None:
    """A file's bytes, checked when the last one has been written: the caller lets nothing appear before that."""
    hasher, patience, position = blake3(), connection.patience(), 0
    while position < entry.size_bytes:
        before = position
        try:
            for data in _rest(connection, package, entry, position):
                hasher.update(data)
                write(data)
                position += len(data)
        except FailedAttempt as failure:
            if position > before:
                patience.renew()
            patience.after(failure)
    if hasher.digest() != entry.blake3:
        raise _lost(entry, hasher.digest())


def _rest(connection: Connection, package: str, entry: FileEntry, position: int) -> Iterator[bytes]:
    """A file's bytes from a position on."""
    headers = dict[str, str]()
    if position:
        headers = {"Range": f"bytes={position}-", "If-Range": f'"{Digest.blake3(entry.blake3)}"'}
    request = Request("GET", f"{package}/files/{file_path(entry.path)}", headers=headers)
    with connection.answer(request) as response:
        ahead = entry.size_bytes - position
        skipped = position - _begins_at(response)
        while data := response.read(BUFFER_BYTES):
            data, skipped = data[skipped:], max(0, skipped - len(data))
            ahead -= len(data)
            if ahead < 0:
                raise ServiceError(f"the server sent more than the {entry.size_bytes} bytes of {entry.path!r}")
            yield data
    if ahead:
        error = ServiceError(f"the server sent {ahead} bytes less than {entry.path!r} has")
        raise FailedAttempt(error, retryable=True)


def _begins_at(response: BaseHTTPResponse) -> int:
    """The file's byte that an answer begins with."""
    if response.status != _PARTIAL_CONTENT:
        return 0
    first = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    if not (first.isascii() and first.isdigit()):
        raise ServiceError("the server does not say which part of a file it sent")
    return int(first)


def _lost(entry: FileEntry, found: bytes) -> BlobCorruptError:
    return BlobCorruptError(
        f"{entry.path!r}: the bytes that came are {Digest.blake3(found)}, not {Digest.blake3(entry.blake3)}"
    )
