"""Objects as files under one directory.

A put writes ``staging/<name>``, syncs it, links it to its key (which fails if the key exists), and syncs the directory,
with every directory it had to make. A crash at any point leaves the whole object, or a file in ``staging`` that nothing
refers to. Objects are read-only; quarantined ones move to ``quarantine/``.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

from artifactstore.errors import (
    ConfigurationError,
    DigestInvalidError,
    ObjectNotFoundError,
    StorageDeniedError,
    StorageError,
    StorageFullError,
    StorageUnavailableError,
)
from artifactstore.failpoints import failpoint
from artifactstore.storage.port import ObjectInfo, ObjectKey, ObjectStore, PutOutcome, Stage, checked_range

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.domain.hashing import ObjectHasher
    from artifactstore.storage.port import ObjectKind

_READ_BUFFER_BYTES = 256 * 1024
_STAGING = "staging"
_QUARANTINE = "quarantine"
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS})
_ERRORS: dict[int, type[StorageError]] = {
    errno.ENOENT: ObjectNotFoundError,
    errno.EACCES: StorageDeniedError,
    errno.EPERM: StorageDeniedError,
    errno.EROFS: StorageDeniedError,
    errno.ENOSPC: StorageFullError,
    errno.EDQUOT: StorageFullError,
    errno.EMFILE: StorageUnavailableError,
    errno.ENFILE: StorageUnavailableError,
    errno.ETIMEDOUT: StorageUnavailableError,
    errno.ESTALE: StorageUnavailableError,
}


class LocalStore(ObjectStore):
    """One directory on a POSIX file system, shared safely by threads and processes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @classmethod
    def from_url(cls, url: str) -> LocalStore:
        """``file:///absolute/path``. The directory is made at the first put."""
        parts = urlsplit(url)
        path = unquote(parts.path)
        if parts.netloc or not path.startswith("/") or parts.query or parts.fragment:
            raise ConfigurationError(f"not a local storage URL: {url}", hint="Write it as file:///absolute/path.")
        return cls(Path(path))

    def stage(self, hasher: ObjectHasher) -> Stage:
        """A new file in ``staging``."""
        with _storage_errors(f"{self._root}: cannot stage an object"):
            folder = self._root / _STAGING
            _make_durable_directory(folder)
            return _LocalStage(self._root, folder / f"{os.getpid()}-{secrets.token_hex(8)}", hasher)

    def size(self, key: ObjectKey) -> int:
        """By ``stat``."""
        with _storage_errors(f"there is no object {key}"):
            return (self._root / key.path).stat().st_size

    @contextmanager
    def open(self, key: ObjectKey, start: int = 0, length: int | None = None) -> Iterator[BinaryIO]:
        """The file, never through a symbolic link, bounded to the range."""
        with _storage_errors(f"there is no object {key}"):
            descriptor = os.open(self._root / key.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=_READ_BUFFER_BYTES) as file:
            start, length = checked_range(key, os.fstat(descriptor).st_size, start, length)
            file.seek(start)
            yield _BoundedReader(file, length, key)  # type: ignore[misc]

    def list(self, kind: ObjectKind) -> Iterator[ObjectInfo]:
        """A walk in order; files that are not objects are passed over (reconciliation reports them)."""
        for path in _sorted_files(self._root / f"{kind}s" / "blake3"):
            try:
                key = ObjectKey.parse(path.relative_to(self._root).as_posix())
                yield ObjectInfo(key, path.lstat().st_size)
            except (DigestInvalidError, FileNotFoundError):
                continue

    def delete(self, key: ObjectKey) -> None:
        """Unlink and sync the directory."""
        with _storage_errors(f"{key} cannot be deleted"):
            path = self._root / key.path
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                _sync_directory(path.parent)

    def quarantine(self, key: ObjectKey) -> None:
        """Rename into ``quarantine``, under a name that keeps earlier ones."""
        with _storage_errors(f"{key} cannot be quarantined"):
            _set_aside(self._root, self._root / key.path)

    def presigned_url(self, key: ObjectKey, *, expires_in_s: int) -> str | None:  # noqa: ARG002
        """Files have no URL that others could use."""
        return None


class _LocalStage(Stage):
    def __init__(self, root: Path, path: Path, hasher: ObjectHasher) -> None:
        super().__init__(hasher)
        self._root = root
        self._path = path
        self._file: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)

    def discard(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self._path.unlink(missing_ok=True)

    def _append(self, data: bytes) -> None:
        assert self._file is not None, "the stage is closed"
        with _storage_errors("cannot write to storage"):
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]

    def _publish(self, key: ObjectKey) -> PutOutcome:
        assert self._file is not None, "the stage is closed"
        target = self._root / key.path
        with _storage_errors(f"{key} cannot be stored"):
            failpoint("storage.before-sync")
            os.fsync(self._file)
            failpoint("storage.before-link")
            _make_durable_directory(target.parent)
            outcome = self._link(target)
            failpoint("storage.before-directory-sync")
            _sync_directory(target.parent)
        self.discard()
        return outcome

    def _link(self, target: Path) -> PutOutcome:
        try:
            os.link(self._path, target)
        except FileExistsError:
            return self._accept_or_replace(target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return self._rename(target)
        return PutOutcome.CREATED

    def _accept_or_replace(self, target: Path) -> PutOutcome:
        """Something has the name. If it cannot be the object (not a file, or of another size), it is set aside."""
        found = target.lstat()
        if stat.S_ISREG(found.st_mode) and found.st_size == self.size_bytes:
            return PutOutcome.PRESENT
        _set_aside(self._root, target)
        os.link(self._path, target)
        return PutOutcome.CREATED

    def _rename(self, target: Path) -> PutOutcome:
        """For file systems without hard links. Two at once may both rename; their bytes are the same."""
        if target.exists():
            return PutOutcome.PRESENT
        self._path.replace(target)
        return PutOutcome.CREATED


class _BoundedReader:
    """The next ``length`` bytes of a file. An end before that means the object is shorter than a moment ago."""

    def __init__(self, file: BinaryIO, length: int, key: ObjectKey) -> None:
        self._file = file
        self._left = length
        self._key = key

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        with _storage_errors(f"{self._key} cannot be read"):
            data = self._file.read(wanted)
            while len(data) < wanted and (more := self._file.read(wanted - len(data))):
                data += more
        self._left -= len(data)
        return data


def _set_aside(root: Path, path: Path) -> None:
    folder = root / _QUARANTINE
    _make_durable_directory(folder)
    try:
        path.rename(folder / f"{path.name}.{secrets.token_hex(4)}")
    except FileNotFoundError:
        return
    _sync_directory(folder)
    _sync_directory(path.parent)


def _make_durable_directory(folder: Path) -> None:
    """Make a directory with its parents; sync the parent of each one made."""
    if folder.is_dir():
        return
    _make_durable_directory(folder.parent)
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir():
            raise
    _sync_directory(folder.parent)


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sorted_files(folder: Path) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _sorted_files(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path)


@contextmanager
def _storage_errors(what: str) -> Iterator[None]:
    """The operating system's errors as ours."""
    try:
        yield
    except OSError as error:
        kind = _ERRORS.get(error.errno or 0, StorageError)
        raise kind(f"{what}: {error.strerror}") from error
