"""Faults made from outside: strace on a process, small file systems, images of a disk.

A tool that is missing fails the test with a sentence that says what to install.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.registry.packages import list_packages
from artifactstore.registry.verify import verify_all
from artifactstore.testing.builders import some_bytes
from tests.support import CliResult, fetch, replay_is_exact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry

LONG = bool(os.environ.get("LONG"))
FILES = {
    "run.json": b"{}",
    "logs/a.txt": b"a" * 5000,
    "logs/b.txt": b"",
    "reports/report.md": b"# what was found\n" * 20,
    "raw/large.bin": some_bytes(1200 * 1024),
}
_DRAWN_BY_LOT = ("objects/staging/", "objects/quarantine/")
_CALL = re.compile(r"^(?P<thread>\d+) +(?P<name>\w+)\((?P<rest>.*)$")
_RESUMED = re.compile(r"^(?P<thread>\d+) +<\.\.\. \w+ resumed>(?P<rest>.*)$")
_DESCRIPTOR_PATH = re.compile(r"^\d+<(?P<path>[^>]*)>")
_QUOTED_PATH = re.compile(r'"(/[^"]*)"')
_ERROR = re.compile(r"^error: (?P<code>[A-Z_]+): .")


# a store and what is asked of it


@dataclass(frozen=True)
class Store:
    """A store whose objects or database may lie on a file system of their own."""

    home: Path
    objects: Path | None = None
    database: Path | None = None

    def start(self, *arguments: str, under: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """The command line as a process; ``under`` is the program that starts it."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ARTIFACTSTORE_")}
        return subprocess.Popen(
            [*under, sys.executable, "-m", "artifactstore", *arguments],
            env={**inherited, "PYTHONDONTWRITEBYTECODE": "1", **self._settings()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, under: tuple[str, ...] = ()) -> CliResult:
        return CliResult(self.start(*arguments, under=under))

    @contextmanager
    def registry(self) -> Iterator[Registry]:
        registry = open_registry(Settings.from_environment(self._settings()))
        try:
            yield registry
        finally:
            registry.close()

    def package_ids(self) -> set[str]:
        with self.registry() as registry:
            return {package.package_id for package in list_packages(registry, limit=1000)}

    def check(self, folder: Path) -> None:
        """What ``verify --all`` and ``replay --check`` ask; and every package is whole and comes back."""
        folder.mkdir()
        with self.registry() as registry:
            assert [] == verify_all(registry).damage
            replay_is_exact(registry)
            for package in list_packages(registry, limit=1000):
                assert package.status == "finalized"
                fetch(registry, package.package_id, folder / package.package_id)
        shutil.rmtree(folder)

    def _settings(self) -> dict[str, str]:
        settings = {"ARTIFACTSTORE_HOME": str(self.home)}
        if self.objects:
            settings["ARTIFACTSTORE_STORAGE_URL"] = self.objects.as_uri()
        if self.database:
            settings["ARTIFACTSTORE_DATABASE_URL"] = f"sqlite:///{self.database}"
        return settings


def push(folder: Path, external_id: str = "run-1") -> tuple[str, ...]:
    return ("push", str(folder), "--producer", "tester", "--external-id", external_id)


def reader_that_keeps_the_wal(store: Store) -> sqlite3.Connection:
    """While it is open no other connection is the last one, and none folds the WAL into the database."""
    connection = sqlite3.connect(store.database or store.home / "artifactstore.db")
    connection.execute("SELECT count(*) FROM event").fetchone()
    return connection


def reported_code(answer: CliResult) -> str:
    """The code of the error that was reported as a sentence, and as nothing else."""
    found = _ERROR.match(answer.stderr)
    assert found, f"no error was reported: exit {answer.code}, {answer.stderr!r}"
    assert "Traceback" not in answer.stderr
    assert "Exception ignored" not in answer.stderr
    return found["code"]


# strace


@dataclass(frozen=True, slots=True)
class Call:
    """One system call of a traced process. ``path`` is what it acts on; of two paths it is the new one."""

    thread: str
    name: str
    path: str
    source: str
    succeeded: bool
    injected: bool
    text: str


@dataclass(frozen=True, slots=True)
class Point:
    """The Nth time that a thread makes this call, or makes it at this path below the home."""

    name: str
    hit: int
    path: str = ""

    def __str__(self) -> str:
        return f"{self.name} number {self.hit}" + (f" at {self.path}" if self.path else "")


@dataclass(frozen=True)
class Trace:
    answer: CliResult
    calls: list[Call] = field(repr=False)

    def points(self, name: str, home: Path) -> list[Point]:
        """Where a fault can meet this call of the store or of the answer; in order, each once.

        strace counts for each thread, so a call is found again by its path where that is the same in every run.
        """
        found: dict[Point, None] = {}
        made: Counter[tuple[str, str]] = Counter()
        for call in self.calls:
            if call.name == name:
                # strace -P looks at the old path of a rename only
                path = "" if name == "rename" else _same_in_every_run(call.path, home)
                made[call.thread, ""] += 1
                made[call.thread, path] += path != ""
                if call.path.startswith((str(home), "pipe:")):
                    found[Point(name, made[call.thread, path], path)] = None
        return list(found)

    @property
    def injected(self) -> list[int]:
        """Where in ``calls`` the faults are."""
        return [index for index, call in enumerate(self.calls) if call.injected]


def traced(store: Store, log: Path, names: tuple[str, ...], *arguments: str, fault: str = "", path: str = "") -> Trace:
    """Run a command line with these system calls logged; ``fault`` is strace's ``inject`` expression.

    With a ``path`` below the home, calls elsewhere are neither counted nor logged. Never with ``--seccomp-bpf``:
    strace 6.1 then injects nothing and says nothing.
    """
    options = ["-e", "trace=" + ",".join(f"?{name}" for name in names)]
    options += ["-e", f"inject={fault}"] if fault else []
    options += ["-P", str(store.home / path)] if path else []
    answer = store.run(
        *arguments, under=(tool("strace", "strace"), "-f", "-y", "-qq", "-s", "0", "-o", str(log), *options)
    )
    return Trace(answer, list(_calls_of(log.read_text(errors="replace"))))


def _same_in_every_run(path: str, home: Path) -> str:
    """The path below the home of an object or a directory of objects; names in ``staging`` are drawn by lot."""
    below = path.removeprefix(f"{home}/")
    return below if below.startswith("objects") and not below.startswith(_DRAWN_BY_LOT) else ""


def _calls_of(log: str) -> Iterator[Call]:
    unfinished: dict[str, str] = {}
    for line in log.splitlines():
        if line.endswith("<unfinished ...>"):
            unfinished[line.split()[0]] = line.removesuffix("<unfinished ...>")
            continue
        resumed = _RESUMED.match(line)
        whole = unfinished.pop(resumed["thread"]) + resumed["rest"] if resumed else line
        if found := _CALL.match(whole):
            yield _call(found, whole)


def _call(found: re.Match[str], line: str) -> Call:
    arguments, _, result = found["rest"].rpartition(" = ")
    by_descriptor = _DESCRIPTOR_PATH.match(arguments)
    quoted = _QUOTED_PATH.findall(arguments)
    source, path = (["", "", *quoted] if not by_descriptor else ["", by_descriptor["path"]])[-2:]
    succeeded = not result.lstrip().startswith(("-1", "?"))
    return Call(found["thread"], found["name"], path, source, succeeded, "(INJECTED)" in result, line)


# file systems


@contextmanager
def mounted(folder: Path, *arguments: str) -> Iterator[Path]:
    """A file system on this folder, unmounted whatever happens."""
    folder.mkdir(parents=True, exist_ok=True)
    answer = subprocess.run(
        [tool("mount", "mount"), *arguments, str(folder)], capture_output=True, text=True, check=False
    )
    if answer.returncode:
        pytest.fail(f"These tests need root and the right to mount: {answer.stderr.strip()}", pytrace=False)
    try:
        yield folder
    finally:
        _unmount(folder)


@contextmanager
def tmpfs(folder: Path, *, size_bytes: int, inodes: int) -> Iterator[Path]:
    with mounted(folder, "-t", "tmpfs", "-o", f"size={size_bytes},nr_inodes={inodes}", "tmpfs"):
        yield folder


def resize(folder: Path, *, size_bytes: int, inodes: int) -> None:
    """Give a tmpfs more or less room; not less than is used."""
    options = f"remount,size={size_bytes},nr_inodes={inodes}"
    subprocess.run([tool("mount", "mount"), "-o", options, str(folder)], check=True, capture_output=True)


def tool(name: str, package: str) -> str:
    """The path of a program. Where it is missing the test fails; it is not skipped."""
    found = shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    if found is None:
        pytest.fail(f"These tests need {name}: install the package {package}.", pytrace=False)
    return found


def _unmount(folder: Path) -> None:
    for _ in range(20):
        if subprocess.run(["umount", str(folder)], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.1)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
