"""Faults made from outside: strace on a process, small file systems, images of a disk.

A tool that is missing fails the test with a sentence that says what to install.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
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
SIGKILLED = -9
FILES = {
    "run.json": b"{}",
    "logs/a.txt": b"a" * 5000,
    "logs/b.txt": b"",
    "reports/report.md": b"# what was found\n" * 20,
    "raw/large.bin": some_bytes(1200 * 1024),
}
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
    """One system call of a traced process. ``path`` is what it acts on, of two paths the new one."""

    thread: str
    name: str
    path: str
    succeeded: bool
    injected: bool
    text: str


@dataclass(frozen=True)
class Trace:
    answer: CliResult
    calls: list[Call] = field(repr=False)

    def count(self, name: str) -> int:
        """How often the main thread made this call: strace counts by thread, too."""
        return sum(call.name == name and call.thread == self.calls[0].thread for call in self.calls)

    @property
    def injected(self) -> list[int]:
        """Where in ``calls`` the faults are."""
        return [index for index, call in enumerate(self.calls) if call.injected]


def traced(store: Store, log: Path, names: tuple[str, ...], *arguments: str, fault: str = "") -> Trace:
    """Run a command line with these system calls logged; ``fault`` is strace's ``inject`` expression.

    Never with ``--seccomp-bpf``: strace 6.1 then injects nothing and says nothing.
    """
    strace = tool("strace", "strace")
    expressions = ["-e", "trace=" + ",".join(f"?{name}" for name in names)]
    expressions += ["-e", f"inject={fault}"] if fault else []
    answer = store.run(*arguments, under=(strace, "-f", "-y", "-qq", "-s", "0", "-o", str(log), *expressions))
    return Trace(answer, list(_calls_of(log.read_text(errors="replace"))))


def _calls_of(log: str) -> Iterator[Call]:
    unfinished: dict[str, str] = {}
    for line in log.splitlines():
        if line.endswith("<unfinished ...>"):
            unfinished[line.split()[0]] = line.removesuffix("<unfinished ...>")
            continue
        if resumed := _RESUMED.match(line):
            line = unfinished.pop(resumed["thread"]) + resumed["rest"]
        if found := _CALL.match(line):
            yield _call(found, line)


def _call(found: re.Match[str], line: str) -> Call:
    arguments, _, result = found["rest"].rpartition(" = ")
    by_descriptor = _DESCRIPTOR_PATH.match(arguments)
    quoted = _QUOTED_PATH.findall(arguments)
    path = by_descriptor["path"] if by_descriptor else quoted[-1] if quoted else ""
    succeeded = not result.lstrip().startswith(("-1", "?"))
    return Call(found["thread"], found["name"], path, succeeded, "(INJECTED)" in result, line)


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


def make_room(folder: Path) -> None:
    """Give a tmpfs far more room than it had."""
    subprocess.run(
        [tool("mount", "mount"), "-o", "remount,size=256m,nr_inodes=10000", str(folder)],
        check=True,
        capture_output=True,
    )


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
