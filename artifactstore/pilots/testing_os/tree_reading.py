"""Every record of a tree on disk, in the order in which the original scans it, whatever state the tree is in.

That order is: what is accepted, then what is below ``records/_rejected``; within a directory the names in the order of
their bytes, each directory read through where its name comes. A file that cannot be used is told and passed over. Links
to directories are not followed, those to files within the root are, and a link that leaves the root is refused.

Reading is stricter than the original's in three places: a repeated key, text that is not UTF-8, and more than 16 MiB or
64 levels are corruption here.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.domain.canonical import MAX_DOCUMENT_BYTES, parse_json
from artifactstore.errors import ArtifactStoreError, FileUnreadableError, LinkInvalidError
from artifactstore.pilots.testing_os.ecmascript import is_truthy
from artifactstore.pilots.testing_os.tree import INDEX_NAMES, INDEXES, OPEN_FILE, RECORDS
from artifactstore.pilots.testing_os.tree_folders import OPEN_DIRECTORY
from artifactstore.plugins import DirectoryTree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from artifactstore.domain.canonical import JsonValue

REJECTED = "_rejected"
MAX_DEPTH = 32
"""Directories within each other; a record's are at most eight."""

_PIECE_BYTES = 256 * 1024
_MAX_INDEX_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class TreeRecord:
    """A file that holds a record, by its path below the root. Whether the record is valid nobody has looked at."""

    path: str
    data: bytes
    value: dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Corruption:
    """A file or directory that cannot be read, and why."""

    path: str
    error: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """JSON that is no record."""

    path: str
    reason: str = "missing run_id"


def read_tree(root: Path) -> Iterator[TreeRecord | Corruption | Skipped]:
    """Each record below ``root``, one at a time. Raises ``FileUnreadableError`` if there is no such directory."""
    yield from read_accepted(root)
    yield from read_rejected(root)


def read_accepted(root: Path) -> Iterator[TreeRecord | Corruption | Skipped]:
    """The same of what does not lie below ``records/_rejected``."""
    with DirectoryTree(root) as tree, _opened_root(root) as above:
        yield from _Scan(tree).children(above, "", {RECORDS}, without={f"{RECORDS}/{REJECTED}"})


def read_rejected(root: Path) -> Iterator[TreeRecord | Corruption | Skipped]:
    """The same of what lies there."""
    with DirectoryTree(root) as tree, _opened_root(root) as above:
        try:
            records = os.open(RECORDS, OPEN_DIRECTORY, dir_fd=above)
        except OSError:
            return  # none, or it was told
        try:
            yield from _Scan(tree).children(records, f"{RECORDS}/", {REJECTED}, without=set())
        finally:
            os.close(records)


class Indexed(NamedTuple):
    """What ``indexes/latest-by-repo.json`` names: the record's path, by repository and surface."""

    paths: Mapping[tuple[str, str], JsonValue]
    file: tuple[int, ...] = ()
    """Which file said so; nothing if there is none. It is replaced, never written to."""


def read_indexed(root: Path, known: Indexed | None = None) -> Indexed:
    """What a tree's index names; nothing if there is none. Not read again if it is the file that is known.

    Raises ``FileUnreadableError`` if there is no such directory.
    """
    with DirectoryTree(root) as tree, suppress(LinkInvalidError, FileUnreadableError, OSError, ValueError):
        file = tree.file(f"{INDEXES}/{INDEX_NAMES[0]}")
        if file is not None:
            with open(tree.open_file(file.real_path), "rb") as opened:  # noqa: PTH123 - a descriptor, not a path
                found = os.fstat(opened.fileno())
                which = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
                if known is not None and known.file == which:
                    return known
                text = opened.read(_MAX_INDEX_BYTES) if stat.S_ISREG(found.st_mode) else b""
            return Indexed(dict(_paths(json.loads(text))), which)
    return Indexed({})


def _paths(index: JsonValue) -> Iterator[tuple[tuple[str, str], JsonValue]]:
    for repo, surfaces in _members(index):
        for surface, entry in _members(surfaces):
            yield (repo, surface), entry.get("path") if isinstance(entry, dict) else None


def _members(value: JsonValue) -> Iterable[tuple[str, JsonValue]]:
    return value.items() if isinstance(value, dict) else ()


class _Scan:
    """One walk; ``tree`` resolves links."""

    def __init__(self, tree: DirectoryTree) -> None:
        self._tree = tree

    def children(
        self, folder: int, prefix: str, names: set[str] | None, *, without: set[str], depth: int = 0
    ) -> Iterator[TreeRecord | Corruption | Skipped]:
        """What is in a directory, all of it or what has one of these names."""
        with os.scandir(folder) as entries:
            found = sorted((os.fsencode(entry.name), entry.name) for entry in entries)
        for encoded, name in found:
            path = prefix + name
            if (names is not None and name not in names) or path in without:
                continue
            try:
                encoded.decode()
                yield from self._entry(folder, name, path, without, depth)
            except UnicodeDecodeError:
                yield Corruption(prefix + encoded.decode(errors="backslashreplace"), "its name is not UTF-8")
            except OSError as error:
                yield Corruption(path, f"cannot be read: {error.strerror}")

    def _entry(
        self, folder: int, name: str, path: str, without: set[str], depth: int
    ) -> Iterator[TreeRecord | Corruption | Skipped]:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode) and depth >= MAX_DEPTH:
            yield Corruption(path, f"more than {MAX_DEPTH} directories are within each other")
        elif stat.S_ISDIR(mode):
            below = os.open(name, OPEN_DIRECTORY, dir_fd=folder)
            try:
                yield from self.children(below, f"{path}/", None, without=without, depth=depth + 1)
            finally:
                os.close(below)
        elif path == RECORDS:
            yield Corruption(path, "is no directory; a link is not followed")
        elif name.endswith(".json") and stat.S_ISLNK(mode):
            yield from self._link(path)
        elif name.endswith(".json"):
            yield _record(path, os.open(name, OPEN_FILE, dir_fd=folder))

    def _link(self, path: str) -> Iterator[TreeRecord | Corruption | Skipped]:
        """What a link leads to; nothing if that is a directory."""
        try:
            file = self._tree.file(path)
            if file is None:
                yield Corruption(path, "is a link to nothing")
            elif not stat.S_ISDIR(self._tree.mode(file.real_path)):
                yield _record(path, self._tree.open_file(file.real_path))
        except LinkInvalidError as error:
            yield Corruption(path, f"is a link that is not followed: {error.message}")


def _record(path: str, descriptor: int) -> TreeRecord | Corruption | Skipped:
    """What is in a file. Closes it."""
    with open(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return Corruption(path, "is not a regular file")
        parts, size = [], 0
        while size <= MAX_DOCUMENT_BYTES and (piece := file.read(_PIECE_BYTES)):
            parts.append(piece)
            size += len(piece)
    if size > MAX_DOCUMENT_BYTES:
        return Corruption(path, f"has more than {MAX_DOCUMENT_BYTES} bytes")
    data = b"".join(parts)
    try:
        value = parse_json(data, what="the record")
    except ArtifactStoreError as error:
        return Corruption(path, error.message)
    return (
        TreeRecord(path, data, value) if isinstance(value, dict) and is_truthy(value.get("run_id")) else Skipped(path)
    )


@contextmanager
def _opened_root(root: Path) -> Iterator[int]:
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise FileUnreadableError(f"{root} cannot be read: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)
