"""Reading a directory as files of a package, without leaving it.

Every name is opened below an open descriptor of its directory and never through a symbolic link, so nothing that
happens to the tree meanwhile can lead outside. Links are resolved here, one component at a time: one that stays inside
is read as its target (file or directory), one that leaves, loops or dangles is an error naming it. Modes, times and
empty directories are not kept.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import TYPE_CHECKING, NamedTuple, Self

from artifactstore.domain.paths import MAX_PATH_BYTES
from artifactstore.errors import (
    ConfigurationError,
    FileChangedError,
    FileUnreadableError,
    InvalidRequestError,
    LimitExceededError,
    LinkInvalidError,
    PathInvalidError,
    Problem,
)

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

MAX_LINKS = 40
"""Links followed for one name, as in Linux (path_resolution(7))."""

_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_OPEN_DIRECTORY = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_DIRECTORY


class DirectoryTree:
    """One directory, open. Use it as a context manager; its files can be read while it is open."""

    def __init__(self, root: Path) -> None:
        if sys.getfilesystemencoding() != "utf-8":
            raise ConfigurationError(
                f"this process reads file names as {sys.getfilesystemencoding()}, not UTF-8",
                hint="Start Python with PYTHONUTF8=1: the locale must not decide what a file is called.",
            )
        try:
            self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            what = "is not a directory" if error.errno == errno.ENOTDIR else f"cannot be read: {error.strerror}"
            raise FileUnreadableError(f"{root} {what}", hint="Name an existing, readable directory.") from error
        self._folder_path = ""
        self._folder = self._root

    def files(self, *, max_files: int) -> list[TreeFile]:
        """Every file, links resolved, in no particular order. All offending names are reported at once."""
        walk = _Walk(self, max_files)
        walk.run()
        walk.raise_problems()
        return walk.found

    def file(self, path: str) -> TreeFile | None:
        """The file at a path, links resolved; None if there is nothing.

        Raises ``LinkInvalidError`` or ``FileUnreadableError``. What is found may be no regular file; ``open`` tells.
        """
        try:
            real_path = self.resolve("", path)
        except (FileNotFoundError, NotADirectoryError, ValueError):  # no file has a NUL or half a character in its name
            return None
        except OSError as error:
            raise _unreadable(path, error) from error
        return TreeFile(self, path, real_path) if real_path else None

    def leads_nowhere(self, path: str) -> bool:
        """Whether a link has this name, or one on the way to it, that leads to nothing."""
        steps = path.split("/")
        prefixes = ["/".join(steps[:count]) for count in range(1, len(steps) + 1)]
        first_absent = next((each for each in prefixes if not self._is_there(each, follow_links=True)), None)
        return first_absent is not None and self._is_there(first_absent, follow_links=False)

    def _is_there(self, path: str, *, follow_links: bool) -> bool:
        try:
            os.stat(path, dir_fd=self._root, follow_symlinks=follow_links)
        except (OSError, ValueError):
            return False
        return True

    def resolve(self, folder: str, target: str, *, links: int = 0) -> str:
        """What ``target`` means from ``folder``: a path without links. ``links`` were followed to come to it.

        Raises ``LinkInvalidError`` or ``OSError``.
        """
        resolved = folder.split("/") if folder else []
        ahead = target.split("/")[::-1]
        if target.startswith("/"):
            raise LinkInvalidError(f"{target!r} is absolute")
        while ahead:
            name = ahead.pop()
            if name in {"", "."}:
                continue
            if name == "..":
                if not resolved:
                    raise LinkInvalidError(f"{target!r} leaves the directory")
                resolved.pop()
                continue
            step = "/".join((*resolved, name))
            if not stat.S_ISLNK(os.stat(step, dir_fd=self._root, follow_symlinks=False).st_mode):
                resolved.append(name)
                continue
            links += 1
            if links > MAX_LINKS:
                raise LinkInvalidError(f"{target!r} loops")
            onward = os.readlink(step, dir_fd=self._root)
            if onward.startswith("/"):
                raise LinkInvalidError(f"{onward!r} is absolute")
            ahead += onward.split("/")[::-1]
        return "/".join(resolved)

    def mode(self, real_path: str) -> int:
        """The mode of a path without links."""
        return os.stat(real_path or ".", dir_fd=self._root, follow_symlinks=False).st_mode

    def open_file(self, real_path: str) -> int:
        """A descriptor of a file at a path without links; ``OSError`` if a component has become one."""
        folder, _, name = real_path.rpartition("/")
        if folder != self._folder_path:
            self._enter(folder)
        return os.open(name, _OPEN_FILE, dir_fd=self._folder)

    def open_directory(self, real_path: str) -> int:
        """A descriptor of a directory at a path without links."""
        descriptor = os.dup(self._root)
        for name in real_path.split("/") if real_path else ():
            above, descriptor = descriptor, -1
            try:
                descriptor = os.open(name, _OPEN_DIRECTORY, dir_fd=above)
            finally:
                os.close(above)
        return descriptor

    def _enter(self, folder: str) -> None:
        """Keep the directory of the last file open: the next one is mostly its neighbour."""
        descriptor = self.open_directory(folder)
        self._leave()
        self._folder_path, self._folder = folder, descriptor

    def _leave(self) -> None:
        if self._folder != self._root:
            os.close(self._folder)
        self._folder_path, self._folder = "", self._root

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()
        os.close(self._root)


class TreeFile(NamedTuple):
    """A file of a tree: its logical path, and where it really is within the tree."""

    tree: DirectoryTree
    path: str
    real_path: str

    def open(self) -> OpenedTreeFile:
        """Open it for one pass. Raises ``FileUnreadableError`` naming it."""
        try:
            descriptor = self.tree.open_file(self.real_path)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        try:
            return OpenedTreeFile(self.path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    def size_bytes(self) -> int:
        """Its size now, for a progress bar; 0 if it cannot be told."""
        try:
            opened = self.open()
        except InvalidRequestError:
            return 0
        opened.close()
        return opened.size_bytes


class OpenedTreeFile:
    """A regular file open for its one pass; see ``domain.package.OpenedFile``."""

    __slots__ = ("_descriptor", "_modified_ns", "_path", "_taken", "size_bytes")

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._taken = 0
        found = os.fstat(descriptor)
        self.size_bytes = found.st_size
        self._modified_ns = found.st_mtime_ns
        if not stat.S_ISREG(found.st_mode):
            raise FileUnreadableError(f"{path!r} is not a regular file")

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; empty at the end. A file that grows is not followed."""
        try:
            data = os.read(self._descriptor, size)
        except OSError as error:
            raise _unreadable(self._path, error) from error
        self._taken += len(data)
        if self._taken > self.size_bytes:
            raise FileChangedError(f"{self._path!r} grew while it was read")
        return data

    def finish(self) -> None:
        """Raises ``FileChangedError`` unless all that was there at the start, and nothing else, has been read."""
        now = os.fstat(self._descriptor)
        if not self._taken == self.size_bytes == now.st_size or now.st_mtime_ns != self._modified_ns:
            raise FileChangedError(f"{self._path!r} changed while it was read")

    def close(self) -> None:
        """Release the descriptor."""
        os.close(self._descriptor)


class _Walk:
    """One pass over the names of a tree. Directories wait in a list, so depth costs neither stack nor descriptors."""

    def __init__(self, tree: DirectoryTree, max_files: int) -> None:
        self._tree = tree
        self._entries_left = 2 * max_files  # directories count too; links can repeat them without end
        self._ahead: list[tuple[str, str, tuple[str, ...]]] = [("", "", ())]
        self._problems: dict[type[InvalidRequestError], list[Problem]] = {}
        self.found: list[TreeFile] = []

    def run(self) -> None:
        """Take every directory, the root first."""
        while self._ahead:
            self._directory(*self._ahead.pop())

    def raise_problems(self) -> None:
        """All offenders of the worst kind at once."""
        for kind in (LinkInvalidError, PathInvalidError, FileUnreadableError):
            if problems := self._problems.get(kind):
                problems.sort()
                raise kind(f"{len(problems)} name(s) cannot be stored", problems=tuple(problems))

    def _directory(self, logical: str, real: str, above: tuple[str, ...]) -> None:
        """Take every entry. ``logical`` and ``real`` are "" or end in "/"; ``above``: the real paths it is in."""
        try:
            descriptor = self._tree.open_directory(real.rstrip("/"))
        except OSError as error:
            return self._problem(FileUnreadableError, logical.rstrip("/"), f"cannot be read: {error.strerror}")
        try:
            with os.scandir(descriptor) as entries:
                above = (*above, real)
                for entry in entries:
                    self._count()
                    self._entry(descriptor, entry, logical, real, above)
        except OSError as error:
            return self._problem(FileUnreadableError, logical.rstrip("/"), f"cannot be read: {error.strerror}")
        finally:
            os.close(descriptor)
        return None

    def _entry(self, descriptor: int, entry: os.DirEntry[str], logical: str, real: str, above: tuple[str, ...]) -> None:
        name, path = entry.name, logical + entry.name
        if entry.is_symlink():
            self._link(path, real, descriptor, name, above)
        elif entry.is_dir(follow_symlinks=False):
            self._below(path, real + name, above)
        elif entry.is_file(follow_symlinks=False):
            self.found.append(TreeFile(self._tree, path, real + name))
        else:
            self._problem(FileUnreadableError, path, "is not a regular file")

    def _link(self, path: str, folder: str, descriptor: int, name: str, above: tuple[str, ...]) -> None:
        target = ""
        try:
            target = os.readlink(name, dir_fd=descriptor)
            real = self._tree.resolve(folder.rstrip("/"), target, links=1)
            mode = self._tree.mode(real)
        except LinkInvalidError as error:
            return self._problem(LinkInvalidError, path, f"is a link that cannot be followed: {error.message}")
        except OSError as error:
            return self._problem(LinkInvalidError, path, f"is a link to {target!r}: {error.strerror}")
        if stat.S_ISDIR(mode):
            if f"{real}/" in above or not real:
                return self._problem(LinkInvalidError, path, f"is a link to {target!r}, which it is in: it loops")
            return self._below(path, real, above)
        if stat.S_ISREG(mode):
            return self.found.append(TreeFile(self._tree, path, real))
        return self._problem(FileUnreadableError, path, "is a link to something that is not a regular file")

    def _below(self, path: str, real: str, above: tuple[str, ...]) -> None:
        if len(os.fsencode(path)) > MAX_PATH_BYTES:
            return self._problem(PathInvalidError, path, f"is longer than {MAX_PATH_BYTES} bytes")
        return self._ahead.append((f"{path}/", f"{real}/", above))

    def _count(self) -> None:
        self._entries_left -= 1
        if self._entries_left < 0:
            raise LimitExceededError(
                "the directory has far more entries than a package may have files",
                hint="Raise ARTIFACTSTORE_MAX_FILES, or split the directory.",
            )

    def _problem(self, kind: type[InvalidRequestError], path: str, what: str) -> None:
        self._problems.setdefault(kind, []).append(Problem(repr(path), what))


def _unreadable(path: str, error: OSError) -> InvalidRequestError:
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return FileChangedError(f"{path!r} disappeared while the directory was read")
    if error.errno in {errno.ELOOP, errno.EMLINK}:
        return FileChangedError(f"{path!r} became a link while the directory was read")
    return FileUnreadableError(f"{path!r} cannot be read: {error.strerror}")
