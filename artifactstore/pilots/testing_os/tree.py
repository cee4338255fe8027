"""The original's tree on disk: records by repository and day, and the three indexes, read and written.

::

    with locked_tree(root, wait_s=30) as tree:
        tree.write_record("records/org/repo/2026/03/19/run-1.json", data)
        tree.write_indexes(documents, started_at=now)

A record is written beside its name, synced and linked to it, which fails if the name is taken: there is the whole
record or none, and none is ever replaced. Directories are synced once for all that was written to them. The one
exception is an empty file, which is what the original leaves when it is killed between claiming a name and writing to
it: no record, so it gives way to one.

Each index is replaced as a whole, one after the other, under a journal in the original's own format; either software
cleans up after the other. Writing what is there already does nothing, so who writes the indexes on every run, also one
that brought nothing new, repairs whatever a killed one has left.

Writers of ours exclude each other by a lock on the root directory that ends with the process; the original takes none.
No link is followed when writing.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.domain.canonical import parse_json
from artifactstore.errors import (
    ArtifactStoreError,
    ConflictError,
    DestinationInvalidError,
    FileUnreadableError,
    PathInvalidError,
    StorageDeniedError,
    StorageError,
    StorageFullError,
)
from artifactstore.failpoints import failpoint
from artifactstore.pilots.testing_os.record import instant_text_ms
from artifactstore.pilots.testing_os.tree_folders import OPEN_DIRECTORY, Folders

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.instant import Instant

RECORDS = "records"
INDEXES = "indexes"
INDEX_NAMES = ("latest-by-repo.json", "failing.json", "stale.json")
"""In the order in which they are replaced."""

OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPEN_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS})
_NAME = re.compile(r"(?!\.{1,2}$)[^/\\\0\n]+", re.ASCII)
_LONGEST_NAME_BYTES = 255 - len(".12345678.tmp")
_JOURNAL = re.compile(r"\.in-progress\.([0-9]{1,9})\.[0-9a-f]{8}\.json", re.ASCII)
_TEMPORARY = re.compile(rf"(?:{'|'.join(map(re.escape, INDEX_NAMES))})\.[0-9a-f]{{8}}\.tmp", re.ASCII)
_MAX_JOURNAL_BYTES = 64 * 1024
_POLL_S = 0.05
MOST_RECORDS = 64
"""That are written at once."""
_WRITERS = 8


class TreeBusyError(ConflictError):
    """Another process writes to this tree."""

    code = "TREE_BUSY"
    retryable = True
    default_hint = "Try again when the other one is done."


class Written(StrEnum):
    """What became of a record that was to be written."""

    NEW = "new"
    PRESENT = "present"
    """The same bytes were there."""
    OTHER = "other"
    """Something else has the name, and keeps it."""


@contextmanager
def locked_tree(root: Path, *, wait_s: float) -> Iterator[RecordTree]:
    """The tree below a directory, for the one who holds its lock; what a killed writer has left is cleaned up first.

    Raises ``TreeBusyError`` if another holds it for longer than ``wait_s``, ``FileUnreadableError`` if there is no such
    directory.
    """
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise FileUnreadableError(
            f"{root} cannot be opened: {error.strerror}", hint="Name an existing directory."
        ) from error
    try:
        _lock(descriptor, root, wait_s)
        tree = RecordTree(descriptor, root)
        with closing(tree):
            tree.repair()
            yield tree
            tree.sync()
    finally:
        os.close(descriptor)


class RecordTree:
    """A tree whose lock is held."""

    def __init__(self, root: int, name: Path) -> None:
        self._root = root
        self._name = name
        self._folders = Folders(root)

    def write_record(self, path: str, data: bytes) -> Written:
        """Write a record's file to its path below the root: durable before the indexes are, or once the tree is left.

        Raises ``PathInvalidError`` for a path that is no record's, ``DestinationInvalidError`` if a link stands in the
        way, ``StorageError`` if it cannot be written.
        """
        place = _record_place(path)
        with self._errors(path):
            return self._write(place, self._folders.opened(place.folder), path, data)

    def write_records(self, records: Mapping[str, bytes]) -> dict[str, Written]:
        """The same for ``MOST_RECORDS`` or fewer by path, which a disk makes durable in little more than one's time."""
        assert len(records) <= MOST_RECORDS, "their directories are open all the time"
        if len(records) == 1:
            return {path: self.write_record(path, data) for path, data in records.items()}
        places = {path: _record_place(path) for path in records}
        self._folders.make_room(len(places))
        with ThreadPoolExecutor(_WRITERS) as pool:
            writing = {}
            for path, place in places.items():
                with self._errors(path):
                    folder = self._folders.opened(place.folder)
                writing[path] = pool.submit(self._write, place, folder, path, records[path])
        found = {}
        for path, written in writing.items():
            with self._errors(path):
                found[path] = written.result()
        return found

    def _write(self, place: _Place, folder: int, path: str, data: bytes) -> Written:
        assert data, "an empty file is no record"
        temporary = f"{place.name}.{hashlib.sha256(path.encode()).hexdigest()[:8]}.tmp"
        if (known := _known(folder, place.name, data)) is None:
            _write_new(folder, temporary, data)
            failpoint("tree.before-record-name")
            known = Written.NEW if _take_name(folder, temporary, place.name) else _known(folder, place.name, data)
            failpoint("tree.after-record-name")
            self._folders.written(place.folder)
        _remove(folder, temporary)
        failpoint("tree.before-record-end")
        return known or Written.OTHER

    def has_record(self, path: str) -> bool:
        """Whether something has a record's name that keeps it."""
        try:
            found = os.stat(path, dir_fd=self._root, follow_symlinks=False)
        except OSError:
            return False
        return not (stat.S_ISREG(found.st_mode) and found.st_size == 0)

    def write_indexes(self, documents: Mapping[str, bytes], *, started_at: Instant) -> bool:
        """Replace the indexes that differ; whether any did. Raises as ``write_record`` does."""
        with self._errors(INDEXES):
            self._folders.sync()
            folder = self._folders.opened(INDEXES)
            changed = [name for name in INDEX_NAMES if not _has(folder, name, documents[name])]
            if not changed:
                return False
            temporaries = {name: f"{name}.{secrets.token_hex(4)}.tmp" for name in changed}
            journal = f".in-progress.{os.getpid()}.{secrets.token_hex(4)}.json"
            _write_new(folder, journal, self._journal(temporaries, started_at))
            try:
                _replace(folder, temporaries, documents)
            except OSError:
                for temporary in temporaries.values():
                    _remove(folder, temporary)
                _remove(folder, journal)
                raise
            failpoint("tree.before-journal-end")
            _remove(folder, journal)
        return True

    def repair(self) -> int:
        """Remove what killed writers of the indexes have left, ours and the original's; how many there were.

        A journal of a process that lives is left alone: it may be the original's, which takes no lock.
        """
        with self._errors(INDEXES):
            try:
                folder = os.open(INDEXES, OPEN_DIRECTORY, dir_fd=self._root)
            except FileNotFoundError:
                return 0
            try:
                left = [name for name in os.listdir(folder) if _is_left_over(name)]  # noqa: PTH208 - a descriptor
                for name in left:
                    for each in (*_temporaries(folder, name), name):
                        failpoint("tree.before-repair")
                        _remove(folder, each)
            finally:
                os.close(folder)
        return len(left)

    def _journal(self, temporaries: Mapping[str, str], started_at: Instant) -> bytes:
        folder = self._name.absolute() / INDEXES
        entries = [
            {"tmpPath": str(folder / temporary), "finalPath": str(folder / name)}
            for name, temporary in temporaries.items()
        ]
        journal = {"pid": os.getpid(), "started_at": instant_text_ms(started_at), "entries": entries}
        return (json.dumps(journal, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "surrogateescape")

    def sync(self) -> None:
        """Every record that was written is durable from here on."""
        with self._errors(RECORDS):
            self._folders.sync()

    def close(self) -> None:
        """Let go of the directories; what is not synced may be gone after a crash."""
        self._folders.close()

    @contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        """The file system's errors as ours, naming what was to be written."""
        try:
            yield
        except OSError as error:
            where = self._name / path
            if error.errno in {errno.ENOTDIR, errno.ELOOP, errno.EISDIR}:
                raise DestinationInvalidError(
                    f"{where}: a link or something that is no directory stands in the way", hint="Remove it."
                ) from error
            raise _KINDS.get(error.errno or 0, StorageError)(
                f"{where} cannot be written: {error.strerror}",
                hint="What was recorded stays. Mend it, then run it again, or `artifactstore testing-os export`.",
            ) from error


_KINDS: dict[int, type[StorageError]] = {
    errno.ENOSPC: StorageFullError,
    errno.EDQUOT: StorageFullError,
    errno.EACCES: StorageDeniedError,
    errno.EPERM: StorageDeniedError,
    errno.EROFS: StorageDeniedError,
}


def _lock(descriptor: int, root: Path, wait_s: float) -> None:
    ends_at = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= ends_at:
                raise TreeBusyError(f"{root} is being written to by another process") from error
            time.sleep(_POLL_S)
        except OSError as error:
            raise StorageError(
                f"{root} cannot be locked: {error.strerror}", hint="Use a file system that knows flock on directories."
            ) from error
        else:
            return


class _Place(NamedTuple):
    """Where a record's file is."""

    folder: str
    name: str


def _record_place(path: str) -> _Place:
    """Directory and name of a record's path."""
    folder, _, name = path.rpartition("/")
    segments = folder.split("/")
    is_record = segments[0] == RECORDS and name.startswith("run-") and name.endswith(".json")
    if not is_record or not all(_NAME.fullmatch(segment) for segment in (*segments, name)):
        raise PathInvalidError(f"{path[:200]!r} is no record's path")
    if any(len(segment.encode("utf-8", "surrogatepass")) > _LONGEST_NAME_BYTES for segment in (*segments, name)):
        raise PathInvalidError(f"{path[:200]!r} has a name that no file system can hold")
    return _Place(folder, name)


def _known(folder: int, name: str, data: bytes) -> Written | None:
    """What has a record's name; None if nothing has it, or an empty file."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISREG(found.st_mode) and found.st_size == 0:
        return None
    return Written.PRESENT if _has(folder, name, data) else Written.OTHER


def _has(folder: int, name: str, data: bytes) -> bool:
    """Whether a regular file of this name holds exactly these bytes."""
    try:
        descriptor = os.open(name, OPEN_FILE, dir_fd=folder)
    except (FileNotFoundError, IsADirectoryError):
        return False
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            return False
        raise
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_size != len(data):
        os.close(descriptor)
        return False
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
        return file.read(len(data) + 1) == data


def _write_new(folder: int, name: str, data: bytes) -> None:
    """A new file with these bytes, synced; what a killed writer has left under its name goes."""
    _remove(folder, name)
    descriptor = os.open(name, _OPEN_NEW, 0o666, dir_fd=folder)
    try:
        failpoint("tree.before-bytes")
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        failpoint("tree.before-sync")
        os.fsync(descriptor)
    except OSError:
        _remove(folder, name)
        raise
    finally:
        os.close(descriptor)


def _replace(folder: int, temporaries: Mapping[str, str], documents: Mapping[str, bytes]) -> None:
    """Write all that is to be, then give it its names, so that the indexes differ from each other but briefly."""
    for name, temporary in temporaries.items():
        failpoint("tree.before-index-written")
        _write_new(folder, temporary, documents[name])
    for name, temporary in temporaries.items():
        failpoint("tree.before-index-name")
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    failpoint("tree.after-index-names")
    os.fsync(folder)


def _take_name(folder: int, temporary: str, name: str) -> bool:
    """Whether the record has its name now: not if another was first. An empty file is nobody's."""
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in {errno.EEXIST, *_NO_LINKS}:
            raise
        if not _is_free(folder, name):
            return False
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    return True


def _is_free(folder: int, name: str) -> bool:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return True
    return stat.S_ISREG(found.st_mode) and found.st_size == 0


def _remove(folder: int, name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _is_left_over(name: str) -> bool:
    """Whether this is the journal of a writer that is no more."""
    found = _JOURNAL.fullmatch(name)
    return found is not None and (int(found[1]) == os.getpid() or not _lives(int(found[1])))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _temporaries(folder: int, journal: str) -> list[str]:
    """The temporary indexes that a journal names, by their names alone: it may lie, and the tree may have moved."""
    try:
        descriptor = os.open(journal, OPEN_FILE, dir_fd=folder)
    except OSError:
        return []
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
        data = file.read(_MAX_JOURNAL_BYTES) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    try:
        found = parse_json(data, what="a journal")
    except ArtifactStoreError:
        return []  # killed while it was written: nothing else was yet
    entries = found.get("entries") if isinstance(found, dict) else None
    names = [_base_name(entry) for entry in entries] if isinstance(entries, list) else []
    return [name for name in names if _TEMPORARY.fullmatch(name)]


def _base_name(entry: JsonValue) -> str:
    path = entry.get("tmpPath") if isinstance(entry, dict) else None
    return re.split(r"[/\\]", path)[-1] if isinstance(path, str) else ""
