"""A file system that is full, at every fill level: the push says so, reads go on, and room is all it needs (R6)."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.faults.support import FILES, LONG, Store, push, reader_that_keeps_the_wal, reported_code, resize, tmpfs
from tests.support import write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEVELS = 48 if LONG else 12
PAGE_BYTES = 4096
AMPLE_BYTES = 64 * 2**20
AMPLE_INODES = 10_000
NO_ROOM = {"STORAGE_FULL", "CATALOG_FULL"}


@dataclass(frozen=True)
class Usage:
    size_bytes: int
    inodes: int


BESIDE_THE_DATABASE = Usage(32 * 1024, 2)
"""The WAL, which may be empty, and its index in shared memory."""


@dataclass(frozen=True)
class Scene:
    """A store with one package, a run to push, and how much a push of it needs of the file system that will be full."""

    folder: Path
    on_disk: str
    run: Path
    package_id: str
    digest: str
    at_rest: Usage
    needed: Usage

    @classmethod
    def of(cls, folder: Path, on_disk: str) -> Scene:
        run = write_tree(folder / "run", FILES)
        similar = write_tree(folder / "similar", {**FILES, "run.json": b"[]", "raw/large.bin": b"small"})
        with tmpfs(folder / "disk", size_bytes=AMPLE_BYTES, inodes=AMPLE_INODES):
            store = _store(folder, on_disk)
            package_id = store.run(*push(similar, "run-0")).document["package_id"]
            shutil.copytree(folder / "disk", folder / "disk-template")
            if (folder / "home").exists():
                shutil.copytree(folder / "home", folder / "home-template")
            at_rest = _usage(folder / "disk")
            with closing(reader_that_keeps_the_wal(store)):
                answer = store.run(*push(run))
                at_most = _usage(folder / "disk")
        needed = Usage(at_most.size_bytes - at_rest.size_bytes, at_most.inodes - at_rest.inodes)
        return cls(folder, on_disk, run, package_id, answer.document["manifest_digest"], at_rest, needed)

    def store(self) -> Store:
        """The store as it was, on whatever is mounted now."""
        shutil.copytree(self.folder / "disk-template", self.folder / "disk", dirs_exist_ok=True)
        shutil.rmtree(self.folder / "home", ignore_errors=True)
        if (self.folder / "home-template").exists():
            shutil.copytree(self.folder / "home-template", self.folder / "home")
        return _store(self.folder, self.on_disk)

    def refuses_and_recovers(self, store: Store) -> None:
        """On a file system that is almost full: refused, then given room."""
        refused = store.run(*push(self.run))
        assert (2, "") == (refused.code, refused.stdout), refused.stderr
        code = reported_code(refused)
        assert code in NO_ROOM, refused.stderr
        self.still_reads(store)

        resize(self.folder / "disk", size_bytes=AMPLE_BYTES, inodes=AMPLE_INODES)
        assert {self.package_id} == store.package_ids(), "something of the refused push was recorded"
        store.check(self.folder / "out")
        again = store.run(*push(self.run))
        assert again.code == 0, again.stderr
        assert self.digest == again.document["manifest_digest"]
        store.check(self.folder / "out")

    def still_reads(self, store: Store) -> None:
        """Reads go on, as long as there is room for the two files that SQLite needs beside a database to open it."""
        destination = self.folder / "read"
        for command in (("list",), ("show", self.package_id), ("get", self.package_id, "-o", str(destination))):
            answer = store.run(*command)
            if self.can_be_opened():
                assert answer.code == 0, (command, answer.stderr)
            else:
                assert (2, "CATALOG_FULL") == (answer.code, reported_code(answer)), command
        shutil.rmtree(destination, ignore_errors=True)

    def can_be_opened(self) -> bool:
        free = os.statvfs(self.folder / "disk")
        has_room = free.f_bavail * free.f_frsize >= BESIDE_THE_DATABASE.size_bytes
        return self.on_disk == "objects" or (has_room and free.f_favail >= BESIDE_THE_DATABASE.inodes)


@pytest.fixture(scope="module", params=["objects", "database", "both"])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The store with its objects, its database or both on the file system that will be full."""
    return Scene.of(tmp_path_factory.mktemp(request.param), request.param)


@pytest.mark.parametrize("level", range(LEVELS))
def test_a_full_file_system(scene: Scene, level: int) -> None:
    room = scene.needed.size_bytes * level // LEVELS // PAGE_BYTES * PAGE_BYTES
    size_bytes = scene.at_rest.size_bytes + room

    with tmpfs(scene.folder / "disk", size_bytes=AMPLE_BYTES, inodes=AMPLE_INODES) as disk:
        store = scene.store()
        resize(disk, size_bytes=size_bytes, inodes=AMPLE_INODES)
        scene.refuses_and_recovers(store)


@pytest.mark.parametrize("scene", ["both"], indirect=True)
@pytest.mark.parametrize("level", range(LEVELS))
def test_a_file_system_without_inodes(scene: Scene, level: int) -> None:
    inodes = scene.at_rest.inodes + scene.needed.inodes * level // LEVELS

    with tmpfs(scene.folder / "disk", size_bytes=AMPLE_BYTES, inodes=AMPLE_INODES) as disk:
        store = scene.store()
        resize(disk, size_bytes=AMPLE_BYTES, inodes=inodes)
        scene.refuses_and_recovers(store)


def _store(folder: Path, on_disk: str) -> Store:
    disk, home = folder / "disk", folder / "home"
    match on_disk:
        case "objects":
            return Store(home, objects=disk / "objects")
        case "database":
            return Store(home, database=disk / "artifactstore.db")
        case _:
            return Store(disk / "home")


def _usage(disk: Path) -> Usage:
    found = os.statvfs(disk)
    return Usage((found.f_blocks - found.f_bfree) * found.f_frsize, found.f_files - found.f_ffree)
