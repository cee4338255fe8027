"""A power cut loses nothing that was acknowledged, and the store opens without repair (R4, R5).

The store is on ext4 in a file, mounted so that nothing is written back unless it is synced (``commit=300``). A copy of
that file is what the disk had at that moment. It is taken with the process stopped, and taken again until nothing was
written meanwhile, because a disk does not change while its power is off.
"""

from __future__ import annotations

import filecmp
import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.faults.support import FILES, LONG, Store, mounted, push, reader_that_keeps_the_wal, tool
from tests.support import write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CUTS = 60 if LONG else 5
"""At random times, and as many after an acknowledgement."""
LIES = 10 if LONG else 3
DISK_BYTES = 32 * 2**20
MOUNT = ("-o", "loop,commit=300,data=ordered,barrier=1")


class Disk:
    """ext4 in a file, with a store on it."""

    def __init__(self, folder: Path) -> None:
        self.image = folder / "disk.img"
        self.mounted_at = folder / "disk"
        self.store = Store(self.mounted_at / "home")
        self._folder = folder
        self._cuts = 0

    @classmethod
    @contextmanager
    def new(cls, folder: Path) -> Iterator[Disk]:
        disk = cls(folder)
        disk.image.parent.mkdir(parents=True, exist_ok=True)
        with disk.image.open("wb") as image:
            image.truncate(DISK_BYTES)
        format_it = (tool("mkfs.ext4", "e2fsprogs"), "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0")
        subprocess.run([*format_it, str(disk.image)], check=True, capture_output=True)
        with mounted(disk.mounted_at, *MOUNT, str(disk.image)):
            subprocess.run(["sync", "--file-system", str(disk.mounted_at)], check=True)
            yield disk

    @contextmanager
    def after_a_cut(self) -> Iterator[Store]:
        """The store as the disk has it now, on a disk of its own."""
        self._cuts += 1
        copy = Disk(self._folder / f"cut-{self._cuts}")
        copy.image.parent.mkdir()
        while True:
            shutil.copyfile(self.image, copy.image)
            if filecmp.cmp(self.image, copy.image, shallow=False):
                break
        with mounted(copy.mounted_at, *MOUNT, str(copy.image)):
            yield copy.store
        shutil.rmtree(copy.image.parent)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with Disk.new(tmp_path) as disk:
        yield disk


def a_run(folder: Path, number: int) -> Path:
    """A run of its own that shares most of its files with the others."""
    return write_tree(folder / f"run-{number}", {**FILES, "run.json": b'{"number": %d}' % number})


def acknowledged(store: Store, run: Path, *, under: tuple[str, ...] = ()) -> str:
    answer = store.run(*push(run, run.name), under=under)
    assert answer.code == 0, answer.stderr
    return answer.document["package_id"]


def has_all(store: Store, expected: set[str], out: Path) -> None:
    """Every acknowledged package is there, and everything that is there is whole."""
    assert store.run("verify", "--all").code == 0
    assert store.run("replay", "--check").code == 0
    assert expected <= store.package_ids()
    store.check(out)


def test_the_power_fails_after_an_acknowledgement(disk: Disk, tmp_path: Path) -> None:
    """The first of these cuts comes straight after the store was made."""
    promised = set()
    for number in range(CUTS):
        promised.add(acknowledged(disk.store, a_run(tmp_path, number)))

        with disk.after_a_cut() as store:
            has_all(store, promised, tmp_path / "out")


def test_the_power_fails_while_another_process_has_the_database_open(disk: Disk, tmp_path: Path) -> None:
    """Then nobody folds the WAL into the database at the end: the synced WAL alone has what was acknowledged."""
    promised = {acknowledged(disk.store, a_run(tmp_path, 0))}
    with closing(reader_that_keeps_the_wal(disk.store)):
        for number in range(1, CUTS + 1):
            promised.add(acknowledged(disk.store, a_run(tmp_path, number)))

            with disk.after_a_cut() as store:
                has_all(store, promised, tmp_path / "out")


def test_the_power_fails_at_a_random_time(disk: Disk, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    promised = {acknowledged(disk.store, a_run(tmp_path, 0))}
    started = time.monotonic()
    promised.add(acknowledged(disk.store, a_run(tmp_path, 1)))
    longest_s = time.monotonic() - started

    for number in range(2, CUTS + 2):
        run = a_run(tmp_path, number)
        process = disk.store.start(*push(run, run.name))
        time.sleep(moments.uniform(longest_s / 4, longest_s))
        os.kill(process.pid, signal.SIGSTOP)
        try:
            with disk.after_a_cut() as store:
                has_all(store, promised, tmp_path / "out")
                acknowledged(store, run)
                store.check(tmp_path / "out")
        except AssertionError as failure:
            failure.add_note(f"seed {seed}, cut {number}")
            raise
        finally:
            os.kill(process.pid, signal.SIGCONT)
            process.communicate()
        assert process.returncode == 0
        promised.add(acknowledged(disk.store, run))


@pytest.mark.parametrize("lie", ["fsync,fdatasync", "fsync", "fdatasync"])
def test_these_tests_see_what_is_lost_when_syncs_are_lies(disk: Disk, tmp_path: Path, lie: str) -> None:
    """The test of the tests: a sync that does nothing and says it was done loses what was acknowledged."""
    strace = (
        tool("strace", "strace"),
        "-f",
        "-qq",
        "-o",
        os.devnull,
        "-e",
        f"trace={lie}",
        "-e",
        f"inject={lie}:retval=0",
    )
    losses = 0
    promised = set()
    for number in range(LIES):
        promised.add(acknowledged(disk.store, a_run(tmp_path, number), under=strace))

        with disk.after_a_cut() as store:
            losses += not is_whole(store, promised)

    assert losses > 0


def is_whole(store: Store, promised: set[str]) -> bool:
    """What ``has_all`` asks, answered by processes: a store in this state may do anything but lie."""
    if not store.home.is_dir() or store.run("verify", "--all").code != 0 or store.run("replay", "--check").code != 0:
        return False
    return promised <= store.package_ids()
