"""Objects as files under one directory.

A put writes ``staging/<name>``, syncs it, links it to its key (which fails if the key exists), and syncs the directory,
with every directory above it that this process has not synced yet. A crash at any point leaves the whole object, or a
file in ``staging`` that nothing refers to. Objects are read-only; quarantined ones move to ``quarantine/``.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from contextlib import contextmanager, suppress
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
from artifactstore.storage.port import (
    ObjectInfo,
    ObjectKey,
    ObjectKind,
    ObjectStore,
    PutOutcome,
    Stage,
    Stray,
    StrayKind,
    checked_range,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import timedelta

    from artifactstore.domain.hashing import ObjectHasher
    from artifactstore.storage.probing.probe import Probing

_READ_BUFFER_BYTES = 256 * 1024
_STAGING = "staging"
_QUARANTINE = "quarantine"
_DIRECTORIES = {
    **{f"{kind}s": StrayKind.FOREIGN for kind in ObjectKind},
    _STAGING: StrayKind.LEFTOVER,
    "probe": StrayKind.LEFTOVER,
    _QUARANTINE: StrayKind.QUARANTINED,
}
"""The directories below the root, and what something in each is that is no object."""
_OPEN_OBJECT = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LINK_ATTEMPTS = 8
_REMEMBERED_DIRECTORIES = 10_000
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS})
_ERRORS: dict[int, type[StorageError]] = {
    errno.ENOENT: ObjectNotFoundError,
    errno.ELOOP: ObjectNotFoundError,  # a symbolic link has the object's name
    errno.ENXIO: ObjectNotFoundError,  # a socket has it
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

    must_be_probed = False

    def __init__(self, root: Path) -> None:
        self._root = root
        self._directories = _Directories(root)

    @classmethod
    def from_url(cls, url: str, options: Mapping[str, str]) -> LocalStore:  # noqa: ARG003 - there are none
        """``file:///absolute/path``. The directory is made at the first put."""
        parts = urlsplit(url)
        path = unquote(parts.path)
        if parts.netloc or not path.startswith("/") or parts.query or parts.fragment or "\0" in path:
            raise ConfigurationError(f"not a local storage URL: {url}", hint="Write it as file:///absolute/path.")
        return cls(Path(path))

    @property
    def identity(self) -> str:
        """``file:///absolute/path``."""
        return self._root.as_uri()

    def probing(self) -> Probing:
        """In a directory of its own below ``probe``."""
        from artifactstore.storage.probing.local import LocalProbing

        return LocalProbing(self._root)

    def stage(self, hasher: ObjectHasher) -> Stage:
        """A new file in ``staging``."""
        with _storage_errors(f"{self._root}: cannot stage an object"):
            folder = self._root / _STAGING
            self._directories.make(folder)
            return _LocalStage(self._directories, folder / f"{os.getpid()}-{secrets.token_hex(8)}", hasher)

    def size(self, key: ObjectKey) -> int:
        """By ``lstat``."""
        with _storage_errors(f"{key} cannot be read"):
            found = (self._root / key.path).lstat()
        _check_regular(found, key)
        return found.st_size

    @contextmanager
    def open(self, key: ObjectKey, start: int = 0, length: int | None = None) -> Iterator[BinaryIO]:
        """The file, never through a symbolic link, bounded to the range."""
        with _storage_errors(f"{key} cannot be read"):
            descriptor = _open_file(self._root / key.path, key)
            file = os.fdopen(descriptor, "rb", buffering=_READ_BUFFER_BYTES)
        with file:
            start, length = checked_range(key, os.fstat(descriptor).st_size, start, length)
            file.seek(start)
            yield _BoundedReader(file, length, key)  # type: ignore[misc]

    def list(self, kind: ObjectKind) -> Iterator[ObjectInfo]:
        """A walk in order; files that are not objects are passed over (reconciliation reports them)."""
        now = time.time()
        for path in _sorted_files(self._root / f"{kind}s" / "blake3"):
            try:
                key = ObjectKey.parse(path.relative_to(self._root).as_posix())
                found = path.lstat()
                yield ObjectInfo(key, found.st_size, now - found.st_mtime)
            except (DigestInvalidError, FileNotFoundError):
                continue

    def delete(self, key: ObjectKey) -> None:
        """Unlink and sync the directory."""
        with _storage_errors(f"{key} cannot be deleted"):
            path = self._root / key.path
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                sync_directory(path.parent)

    def delete_many(self, keys: Sequence[ObjectKey]) -> None:
        """Unlink all, then sync each directory once."""
        folders = dict.fromkeys((self._root / key.path).parent for key in keys)
        for key in keys:
            with _storage_errors(f"{key} cannot be deleted"):
                (self._root / key.path).unlink(missing_ok=True)
        for folder in folders:
            with _storage_errors(f"what was in {folder} cannot be deleted"), suppress(FileNotFoundError):
                sync_directory(folder)

    def quarantine(self, key: ObjectKey) -> None:
        """Rename into ``quarantine``, under a name that keeps earlier ones."""
        with _storage_errors(f"{key} cannot be quarantined"):
            self._directories.set_aside(self._root / key.path)

    def presigned_url(self, key: ObjectKey, *, expires_in_s: int) -> str | None:  # noqa: ARG002
        """Files have no URL that others could use."""
        return None

    def strays(self) -> Iterator[Stray]:
        """What lies in the directories that this adapter makes. What else is below the root is nobody's business."""
        now = time.time()
        for name, kind in _DIRECTORIES.items():
            for path in _entries(self._root, self._root / name):
                with suppress(FileNotFoundError):
                    found = path.lstat()
                    where = path.relative_to(self._root).as_posix()
                    yield Stray(kind, where, found.st_size, now - found.st_mtime)

    def remove_leftovers(self, older_than: timedelta) -> int:
        """Files in ``staging`` that nobody has written to for so long, by this host's clock."""
        removed, written_before = 0, time.time() - older_than.total_seconds()
        for path in _sorted_files(self._root / _STAGING):
            with _storage_errors(f"{path} cannot be removed"), suppress(FileNotFoundError):
                if path.lstat().st_mtime < written_before:
                    path.unlink()
                    removed += 1
        return removed


class _LocalStage(Stage):
    def __init__(self, directories: _Directories, path: Path, hasher: ObjectHasher) -> None:
        super().__init__(hasher)
        self._directories = directories
        self._path = path
        self._file: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)

    def discard(self) -> None:
        if self._file is None:
            return
        descriptor, self._file = self._file, None
        with suppress(OSError):  # what cannot be removed stays in staging, where nothing refers to it
            self._path.unlink(missing_ok=True)
        with suppress(OSError):
            os.close(descriptor)

    def _append(self, data: bytes) -> None:
        assert self._file is not None, "the stage is closed"
        with _storage_errors("cannot write to storage"):
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]

    def _publish(self, key: ObjectKey) -> PutOutcome:
        return self._name_durably(key, self._link)

    def _publish_over(self, key: ObjectKey) -> PutOutcome:
        return self._name_durably(key, self._take_over)

    def _name_durably(self, key: ObjectKey, give_name: Callable[[Path], PutOutcome]) -> PutOutcome:
        """Sync the file, give it its name, sync the name."""
        assert self._file is not None, "the stage is closed"
        target = self._directories.root / key.path
        with _storage_errors(f"{key} cannot be stored"):
            failpoint("storage.before-sync")
            os.fsync(self._file)
            failpoint("storage.before-link")
            self._directories.make(target.parent)
            outcome = give_name(target)
            failpoint("storage.before-directory-sync")
            self._sync_name(target, outcome)
        self.discard()
        return outcome

    def _link(self, target: Path) -> PutOutcome:
        """Give the file its name. What has it and cannot be the object is replaced, as others may do meanwhile."""
        for _ in range(_LINK_ATTEMPTS):
            try:
                self._take_name(target)
            except FileExistsError:
                return PutOutcome.PRESENT if self._is_object(target) else self._take_over(target)
            except FileNotFoundError:
                continue  # deleted by another between two looks
            else:
                return PutOutcome.CREATED
        raise StorageUnavailableError(f"{target} was changed by others all the time")

    def _take_over(self, target: Path) -> PutOutcome:
        """Take the name from whatever has it, which stays in quarantine under a second name. Never is there nothing."""
        self._directories.keep_aside(target)
        self._path.replace(target)
        return PutOutcome.CREATED

    def _take_name(self, target: Path) -> None:
        """Raises ``FileExistsError`` if taken. Without hard links two may both rename; their bytes are the same."""
        try:
            os.link(self._path, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
            self._path.replace(target)

    def _is_object(self, target: Path) -> bool:
        """Whether what has the name can be the object: a file of its size. Whoever reads it verifies its bytes."""
        try:
            found = target.lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_size == self.size_bytes

    def _sync_name(self, target: Path, outcome: PutOutcome) -> None:
        """Make the name durable. A failed sync must not be repeated: the name goes, and the next put begins anew."""
        try:
            sync_directory(target.parent)
        except OSError:
            if outcome is PutOutcome.CREATED:
                with suppress(OSError):
                    target.unlink(missing_ok=True)
            raise


class _Directories:
    """The store's directories. Each is synced into its parent once by every process, whoever made it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._durable: set[Path] = set()

    def make(self, folder: Path) -> None:
        """Make a directory with those above it, durably."""
        if folder in self._durable and folder.is_dir():
            return
        inside = self.root in folder.parents
        if inside or not folder.parent.is_dir():
            self.make(folder.parent)
        if _make_directory(folder) or inside or folder == self.root:
            _sync_new_directory(folder)
        if len(self._durable) >= _REMEMBERED_DIRECTORIES:
            self._durable.clear()
        self._durable.add(folder)

    def keep_aside(self, path: Path) -> None:
        """Give what has this name a second one in ``quarantine``; what cannot have one (a directory) is moved there."""
        folder = self.root / _QUARANTINE
        self.make(folder)
        with suppress(FileNotFoundError):
            try:
                os.link(path, folder / f"{path.name}.{secrets.token_hex(4)}", follow_symlinks=False)
            except FileNotFoundError:
                return
            except OSError:
                self.set_aside(path)
        sync_directory(folder)

    def set_aside(self, path: Path) -> None:
        """Move what has this name into ``quarantine``, under a name that keeps earlier ones; nothing is harmless."""
        folder = self.root / _QUARANTINE
        self.make(folder)
        try:
            path.rename(folder / f"{path.name}.{secrets.token_hex(4)}")
        except FileNotFoundError:
            return
        sync_directory(folder)
        sync_directory(path.parent)


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


def _open_file(path: Path, key: ObjectKey) -> int:
    """A descriptor of an object's file: no link is followed, nothing is waited for."""
    descriptor = os.open(path, _OPEN_OBJECT)
    try:
        _check_regular(os.fstat(descriptor), key)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(found: os.stat_result, key: ObjectKey) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ObjectNotFoundError(f"there is no object {key}: something that is not a file has its name")


def _make_directory(folder: Path) -> bool:
    """Whether it had to be made."""
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir():
            raise
        return False
    return True


def _sync_new_directory(folder: Path) -> None:
    """Sync its parent. If that fails the directory goes, so that the next put makes and syncs it anew."""
    try:
        sync_directory(folder.parent)
    except OSError:
        with suppress(OSError):
            folder.rmdir()
        raise


def sync_directory(folder: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a directory, by name; nothing if there is none."""
    with _storage_errors(f"{folder} cannot be listed"):
        try:
            return sorted(os.scandir(folder), key=lambda entry: entry.name)
        except FileNotFoundError:
            return []


def _sorted_files(folder: Path) -> Iterator[Path]:
    for entry in _listed(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _sorted_files(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path)


def _entries(root: Path, folder: Path) -> Iterator[Path]:
    """Whatever is below a directory and is neither an object nor a directory; one with an object's name, too."""
    for entry in _listed(folder):
        path = Path(entry.path)
        has_a_key = _is_key(path.relative_to(root))
        if entry.is_dir(follow_symlinks=False) and not has_a_key:
            yield from _entries(root, path)
        elif not (has_a_key and entry.is_file(follow_symlinks=False)):
            yield path


def _is_key(path: Path) -> bool:
    try:
        ObjectKey.parse(path.as_posix())
    except DigestInvalidError:
        return False
    return True


@contextmanager
def _storage_errors(what: str) -> Iterator[None]:
    """The operating system's errors as ours."""
    try:
        yield
    except OSError as error:
        kind = _ERRORS.get(error.errno or 0, StorageError)
        raise kind(f"{what}: {error.strerror}") from error
