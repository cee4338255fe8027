"""Writing into the caller's file system: what appears there is whole, and nothing that was there is touched.

A directory or file is written under a temporary name beside its destination and takes its place at the end. The
destination must not exist, and no link is followed.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from artifactstore.errors import DestinationExistsError, DestinationInvalidError, StorageFullError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Write = Callable[[bytes], object]

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS})


class NewTree:
    """Creates files, and the directories above them, in a directory that nobody else knows."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._made: set[str] = {""}

    @contextmanager
    def create(self, path: str) -> Iterator[Write]:
        """A function that appends to a new file."""
        with _new_file(self._place_for(path)) as write:
            yield write

    def write(self, path: str, data: bytes) -> None:
        """A new file with these bytes."""
        descriptor = os.open(self._place_for(path), _CREATE, 0o666)
        try:
            _write_all(descriptor, data)
        finally:
            os.close(descriptor)

    def _place_for(self, path: str) -> str:
        folder = path.rpartition("/")[0]
        if folder not in self._made:
            (self._root / folder).mkdir(parents=True, exist_ok=True)
            self._made.add(folder)
        return f"{self._root}/{path}"


@contextmanager
def appearing_directory(destination: Path) -> Iterator[NewTree]:
    """A new directory that takes its place when the context is left without an error, and vanishes otherwise."""
    with _destination_errors(destination):
        temporary = _temporary_beside(destination)
        temporary.mkdir()
        try:
            yield NewTree(temporary)
            _refuse_existing(destination)
            temporary.rename(destination.absolute())
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


@contextmanager
def appearing_file(destination: Path) -> Iterator[Write]:
    """A new file that takes its place when the context is left without an error, and vanishes otherwise."""
    with _destination_errors(destination):
        temporary = _temporary_beside(destination)
        try:
            with _new_file(str(temporary)) as write:
                yield write
            _take_place(temporary, destination.absolute())
        finally:
            temporary.unlink(missing_ok=True)


def _temporary_beside(destination: Path) -> Path:
    _refuse_existing(destination)
    return destination.absolute().parent / f".artifactstore-{secrets.token_hex(8)}"


def _refuse_existing(destination: Path) -> None:
    if os.path.lexists(destination):
        raise DestinationExistsError(f"{destination} exists already")


def _take_place(temporary: Path, destination: Path) -> None:
    """By a hard link, which never overwrites; by a rename where the file system has no links."""
    try:
        os.link(temporary, destination, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _refuse_existing(destination)
        temporary.rename(destination)


@contextmanager
def _new_file(path: str) -> Iterator[Write]:
    descriptor = os.open(path, _CREATE, 0o666)
    try:
        yield lambda data: _write_all(descriptor, data)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, memoryview(data)[written:])


@contextmanager
def _destination_errors(destination: Path) -> Iterator[None]:
    """The operating system's errors at the destination as ours."""
    try:
        yield
    except FileExistsError as error:
        raise DestinationExistsError(f"{error.filename2 or error.filename} exists already") from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageFullError(
                f"{destination} cannot be written: {error.strerror}", hint="Make room, or choose another destination."
            ) from error
        raise DestinationInvalidError(f"{destination} cannot be written: {error.strerror}") from error
