"""Directories of a tree that are written to: made durably, opened once, synced once for all that was written."""

from __future__ import annotations

import os
from contextlib import suppress

from artifactstore.failpoints import failpoint

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_OPEN = 128


class Folders:
    """Directories below the root, kept open while they are written to and synced once for all that was.

    Who holds one open writes into that directory, whatever has its name meanwhile.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._durable: set[str] = set()
        """Those whose names this process has synced."""
        self._open: dict[str, int] = {}
        self._written: set[str] = set()

    def opened(self, path: str) -> int:
        """A directory, made with those above it, durably; open until another is asked for."""
        if (known := self._open.get(path)) is not None:
            return known
        self.make_room(1)
        folder = self._open[path] = self._made(path)
        return folder

    def make_room(self, count: int) -> None:
        """So many can be opened, and none of them is closed for it."""
        if len(self._open) + count > _MOST_OPEN:
            self.sync()

    def written(self, path: str) -> None:
        """A name in an open directory is to be synced."""
        self._written.add(path)

    def sync(self) -> None:
        """Every name that was written is durable from here on; none is open."""
        for path in self._written:
            failpoint("tree.before-names-sync")
            os.fsync(self._open[path])
        self.close()

    def close(self) -> None:
        """Let go of all, synced or not."""
        self._written.clear()
        while self._open:
            os.close(self._open.popitem()[1])

    def _made(self, path: str) -> int:
        folder, made = os.dup(self._root), ""
        try:
            for name in path.split("/"):
                made = f"{made}/{name}"
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=folder)
                if made not in self._durable:
                    failpoint("tree.before-directory-sync")
                    os.fsync(folder)
                    self._durable.add(made)
                above, folder = folder, os.open(name, OPEN_DIRECTORY, dir_fd=folder)
                os.close(above)
        except BaseException:
            os.close(folder)
            raise
        return folder
