"""Whole processes, timed from outside: our command line, the peers, and ``cp``.

Peers are given what we have by default: no compression, no encryption where they allow it, a repository made
beforehand, the directory's files by relative names.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.processes import FailedError, UnavailableError, run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.processes import Finished, Measures

SILENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
"""Keeps programs that would from telling their makers that they were used."""
IMPORT_LINE = "import sqlmodel, typer, blake3, cbor2"


def artifactstore(*arguments: str, home: Path) -> Finished:
    """Our command, as installed beside this interpreter. Raises ``UnavailableError`` where it is not there."""
    return run([script("artifactstore"), *arguments], environment={"ARTIFACTSTORE_HOME": str(home)})


def remote(*arguments: str, environment: Mapping[str, str]) -> Finished:
    """The same as a client of the server that the environment names."""
    return run([script("artifactstore"), *arguments], environment=environment)


def record(*arguments: str, home: Path) -> Measures:
    """A command of ours that records a package; its answer must name one."""
    done = artifactstore(*arguments, home=home)
    if not json.loads(done.stdout)["package_id"]:
        raise FailedError("the command named no package")
    return done.measures


def imports() -> Measures:
    """The interpreter with the libraries that the product is made of, and nothing else."""
    return run([sys.executable, "-c", IMPORT_LINE]).measures


@dataclass(frozen=True, slots=True)
class Peer:
    """Another program that stores a directory: how it makes a repository in a folder, and how it fills it."""

    name: str
    what: str
    debian_package: str
    init: tuple[str, ...]
    backup: tuple[str, ...]
    environment: Mapping[str, str]

    def at(self, folder: Path) -> Repository:
        """Its repository in a folder, made or not."""
        return Repository(self, folder)


@dataclass(frozen=True, slots=True)
class Repository:
    """A peer's repository, with its caches, below one folder."""

    peer: Peer
    folder: Path

    def create(self) -> Repository:
        """Make it."""
        self._run(self.peer.init, folder=self.folder)
        return self

    def store(self, source: Path, name: str) -> Measures:
        """Put a directory into it; what it keeps afterwards is told too."""
        before_bytes = tree_bytes(self.folder / "repository")
        measures = self._run(self.peer.backup, folder=source, name=name).measures
        return measures | {"repository_bytes": tree_bytes(self.folder / "repository") - before_bytes}

    def _run(self, arguments: tuple[str, ...], *, folder: Path, name: str = "") -> Finished:
        program = shutil.which(self.peer.name)
        if program is None:
            package = self.peer.debian_package
            raise UnavailableError(f"{self.peer.name} is not installed (Debian: apt-get install {package})")
        said = [argument.format(folder=self.folder, name=name) for argument in arguments]
        environment = {key: value.format(folder=self.folder) for key, value in self.peer.environment.items()}
        return run([program, *said], folder=folder, environment=environment)


PEERS = (
    Peer(
        name="borg",
        what="borg create, no compression, no encryption",
        debian_package="borgbackup",
        init=("init", "--encryption", "none", "{folder}/repository"),
        backup=("create", "--compression", "none", "{folder}/repository::{name}", "."),
        environment={"BORG_BASE_DIR": "{folder}/base", "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"},
    ),
    Peer(
        name="restic",
        what="restic backup, no compression (it always encrypts)",
        debian_package="restic",
        init=("--quiet", "init"),
        backup=("--quiet", "backup", "--compression", "off", "--tag", "{name}", "."),
        environment={
            "RESTIC_REPOSITORY": "{folder}/repository",
            "RESTIC_CACHE_DIR": "{folder}/cache",
            "RESTIC_PASSWORD": "benchmark",
        },
    ),
)


def copy_and_sync(source: Path, target: Path) -> Measures:
    """``cp -r`` and one sync of the file system: what people do without a store."""
    script = 'cp -r "$1" "$2" && sync -f "$2"'
    return run(["/bin/sh", "-c", script, "copy", str(source), str(target)]).measures


def version(program: str) -> str | None:
    """What a peer says of itself; None if it is not installed."""
    if shutil.which(program) is None:
        return None
    argument = "version" if program in {"restic", "rclone", "oras"} else "--version"
    try:
        said = run([program, argument], environment=SILENT).stdout.strip().splitlines()
    except FailedError:
        said = []
    return said[0] if said else "of an unknown version"


def tree_bytes(folder: Path) -> int:
    """The sizes of all files below a directory."""
    return sum((Path(parent) / name).lstat().st_size for parent, _, names in os.walk(folder) for name in names)


def script(name: str) -> str:
    """A command as installed beside this interpreter. Raises ``UnavailableError`` where it is not there."""
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        raise UnavailableError(f"the command {name} is not installed beside this interpreter")
    return str(path)
