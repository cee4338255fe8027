"""A backup or a restore that is killed at any step: no half of either counts, and the same again is whole.

Killed at each step's first and last time; with LONG=1 at every time.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from artifactstore.errors import StoreNotEmptyError
from artifactstore.registry.backing_up import backup
from artifactstore.registry.packages import list_packages
from artifactstore.registry.restoring import restore
from artifactstore.registry.snapshots import list_snapshots
from tests.backups import another, directory, is_sound, log_of, rows_of
from tests.killed_commands import failpoints_of, killed_at, push
from tests.support import run_cli, write_tree

if TYPE_CHECKING:
    from pathlib import Path

FILES = {"run.json": b"{}", "logs/a.txt": b"a" * 5000, "large.bin": b"L" * (2 * 2**20)}


def hits_in(names: list[str]) -> list[int]:
    """Which failpoints to be killed at, counted from 1."""
    if os.environ.get("LONG"):
        return list(range(1, len(names) + 1))
    return sorted({names.index(name) + 1 for name in names} | {len(names) - names[::-1].index(name) for name in names})


@pytest.fixture
def store(tmp_path: Path) -> Path:
    home = tmp_path / "store"
    assert run_cli(home, *push(write_tree(tmp_path / "run", FILES))).code == 0
    return home


def test_killed_at_every_failpoint_of_a_backup(store: Path, tmp_path: Path) -> None:
    with another(store) as registry:
        rows, log = rows_of(registry), log_of(registry)

    names = failpoints_of(store, tmp_path / "dry-run", ("backup", str(tmp_path / "dry")))
    for hit in hits_in(names):
        home = killed_at(hit, store, tmp_path / f"home-{hit}", ("backup", str(tmp_path / f"target-{hit}")))
        target = directory(tmp_path / f"target-{hit}")
        whole = list_snapshots(target)

        with another(home) as registry:
            assert [] == backup(registry, target).missed
        listed = list_snapshots(target)
        assert (len(whole.snapshots) + 1, {}) == (len(listed.snapshots), listed.damaged), names[hit - 1]
        for snapshot_id, _ in listed.snapshots:  # a document that is there is whole, also that of a killed run
            with another(tmp_path / f"new-{hit}-{snapshot_id[:8]}") as restored:
                assert restore(restored, target, snapshot_id=snapshot_id).is_whole
                assert (rows, log) == (rows_of(restored), log_of(restored))
                is_sound(restored)

    steps = ("after-snapshot", "after-object", "before-log", "after-part", "before-document", "after-document")
    assert {f"backup.{step}" for step in steps} <= set(names)


def test_killed_at_every_failpoint_of_a_restore(store: Path, tmp_path: Path) -> None:
    target, empty = directory(tmp_path / "target"), tmp_path / "empty"
    with another(store) as registry:
        backup(registry, target)
        rows, log = rows_of(registry), log_of(registry)
    with another(empty) as registry:
        assert [] == list_packages(registry, limit=1)

    names = failpoints_of(empty, tmp_path / "dry-run", ("restore", str(tmp_path / "target")))
    committed = len(names) - names[::-1].index("catalog.after-commit")
    for hit in hits_in(names):
        home = killed_at(hit, empty, tmp_path / f"home-{hit}", ("restore", str(tmp_path / "target")))

        with another(home) as restored:
            if hit >= committed:
                with pytest.raises(StoreNotEmptyError):
                    restore(restored, target)
            else:
                assert restore(restored, target).is_whole, names[hit - 1]
            assert (rows, log) == (rows_of(restored), log_of(restored)), names[hit - 1]
            is_sound(restored)

    assert {f"restore.{step}" for step in ("after-object", "before-log", "after-log")} <= set(names)
