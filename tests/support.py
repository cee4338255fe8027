"""Questions that tests ask of a store, and ways to damage one."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from artifactstore.bootstrap import scratch_database
from artifactstore.domain.media_type import media_type_of
from artifactstore.domain.package import DEFAULT_ROLE, FileDraft, PackageDraft
from artifactstore.domain.retention import RetentionClass
from artifactstore.registry.directory import DirectoryTree
from artifactstore.registry.events import ReplayReport, check_replay, list_events
from artifactstore.registry.files import get_package
from artifactstore.storage.port import ObjectKey, ObjectKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from artifactstore.registry.registry import Registry

SIGKILLED = -signal.SIGKILL
"""What a process that was killed so exits with."""


def event_types(registry: Registry) -> list[str]:
    return [event.type for event in list_events(registry, limit=10_000)]


def stored_objects(home: Path) -> dict[str, bytes]:
    """Every file below the object store, by relative path."""
    root = home / "objects"
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def objects_of_kind(home: Path, kind: ObjectKind) -> list[Path]:
    return sorted(path for path in (home / "objects" / f"{kind}s").rglob("*") if path.is_file())


def flip_byte(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0xFF
    overwrite(path, bytes(data))


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def key_at(home: Path, path: Path) -> ObjectKey:
    return ObjectKey.parse(path.relative_to(home / "objects").as_posix())


def replay_is_exact(registry: Registry) -> ReplayReport:
    """Raises unless the tables are what the log says."""
    with scratch_database() as scratch:
        return check_replay(registry, scratch)


def say_revision(database: Path, *revisions: str) -> None:
    """Let a SQLite file say that it is elsewhere than it is."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM alembic_version")
        connection.executemany("INSERT INTO alembic_version VALUES (?)", [(revision,) for revision in revisions])


def fetch(registry: Registry, package_id: str, folder: Path) -> dict[str, bytes]:
    """A package's files as they come back."""
    get_package(registry, package_id, folder)
    return tree_contents(folder)


def write_tree(folder: Path, files: Mapping[str, bytes]) -> Path:
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return folder


def tree_contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def directory_draft(folder: Path, *, external_id: str | None = "run-1") -> Iterator[PackageDraft]:
    """A directory as a draft, open for as long as the context is."""
    with DirectoryTree(folder) as tree:
        files = tuple(
            FileDraft(file.path, file, DEFAULT_ROLE, media_type_of(file.path)) for file in tree.files(max_files=10**6)
        )
        yield PackageDraft("tester", files, RetentionClass.RAW_EVIDENCE, external_id=external_id)


def start_cli(
    home: Path,
    *arguments: str,
    program: tuple[str, ...] = ("-m", "artifactstore"),
    settings: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """The command line as a process of its own, on a store of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ARTIFACTSTORE_")}
    return subprocess.Popen(
        [sys.executable, *program, *arguments],
        env={**environment, "ARTIFACTSTORE_HOME": str(home), **(settings or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class CliResult:
    """What a command answered."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.stdout, self.stderr = process.communicate(timeout=120)
        self.code = process.returncode

    @property
    def document(self) -> Any:
        assert self.code in {0, 2, 3}, self.stderr
        return json.loads(self.stdout)


def run_cli(home: Path, *arguments: str, program: tuple[str, ...] = ("-m", "artifactstore")) -> CliResult:
    return CliResult(start_cli(home, *arguments, program=program))
