"""A backup while others write, delete and collect: whatever was acknowledged before it is in it, byte for byte.

With LONG=1 there are 2,000 packages.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING

import pytest

from artifactstore.domain.retention import RetentionClass
from artifactstore.errors import ConcurrentUpdateError
from artifactstore.failpoints import arm
from artifactstore.registry.applying import apply_plan
from artifactstore.registry.backing_up import BackupReport, backup
from artifactstore.registry.collecting import collect
from artifactstore.registry.ingest import ingest
from artifactstore.registry.packages import list_packages
from artifactstore.registry.planning import make_plan
from artifactstore.registry.restoring import restore
from artifactstore.registry.retention import sweep
from artifactstore.testing.builders import package_draft, some_bytes
from tests.at_once import at_once
from tests.backups import another, directory, is_sound, log_of
from tests.retention import expire, later, push, without_grace
from tests.support import fetch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from artifactstore.domain.package import PackageDraft
    from artifactstore.registry.registry import Registry

WRITERS = 4
BACKUPS = 3
PACKAGES = 2_000 if os.environ.get("LONG") else 40
"""Acknowledged before the last backup."""
SHARED = {f"shared-{number}": some_bytes(900 + number, number) for number in range(10)}


@pytest.fixture
def registry(registry: Registry) -> Registry:
    return without_grace(registry)


@dataclass
class _Traffic:
    registry: Registry
    stored: dict[str, dict[str, bytes]] = field(default_factory=dict)
    passing: int = 0
    collections: int = 0
    deleted: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)

    def write(self, writer: int) -> None:
        """Every second package is one that is past its retention already."""
        long_ago = later(self.registry, -30)
        for number in count():
            if self.is_over.is_set():
                return
            name = f"{writer}-{number}"
            files = {**SHARED, "own": name.encode(), "large": some_bytes(2**20 + number % 3, number % 3)}
            draft = package_draft(files, external_id=name)
            if number % 2:
                self._ingest(long_ago, replace(draft, retention_class=RetentionClass.TRANSIENT))
                self.passing += 1
            else:
                kept = replace(draft, retention_class=RetentionClass.PERMANENT_RECORD)
                self.stored[self._ingest(self.registry, kept)] = files

    def _ingest(self, registry: Registry, draft: PackageDraft) -> str:
        while True:
            try:
                return ingest(registry, draft).package_id
            except ConcurrentUpdateError:
                continue

    def delete(self) -> None:
        while not self.is_over.is_set():
            sweep(self.registry)
            self.deleted += apply_plan(self.registry, make_plan(self.registry).digest).deleted
            collect(self.registry, wait_s=0.1, unrecorded=self.collections % 2 == 1)
            self.collections += 1


def test_what_was_acknowledged_before_a_backup_is_in_it(registry: Registry, tmp_path: Path) -> None:
    traffic, target = _Traffic(registry), directory(tmp_path / "backup")
    made: list[tuple[dict[str, dict[str, bytes]], BackupReport]] = []

    def back_up() -> None:
        try:
            for number in range(1, BACKUPS + 1):
                while len(traffic.stored) < PACKAGES * number // BACKUPS:
                    assert not traffic.is_over.wait(0.02)
                before = dict(traffic.stored)
                made.append((before, backup(registry, target)))
        finally:
            traffic.is_over.set()

    def guarded(worker: int) -> None:
        try:
            traffic.write(worker) if worker < WRITERS else traffic.delete() if worker == WRITERS else back_up()
        finally:
            traffic.is_over.set()

    answers = at_once(WRITERS + 2, guarded)

    assert [None] * (WRITERS + 2) == answers
    assert BACKUPS == len(made)
    assert min(traffic.collections, traffic.deleted) > 0
    log = log_of(registry)
    for number, (before, report) in enumerate(made):
        assert [] == report.missed
        with another(tmp_path / f"new-{number}") as restored:
            assert restore(restored, target, snapshot_id=report.found.snapshot_id).is_whole
            assert log[: report.found.snapshot.last_seq] == log_of(restored)
            is_sound(restored)
            there = {each.package_id for each in list_packages(restored, limit=100_000) if each.status == "finalized"}
            assert set(before) <= there
            for package_id in set(traffic.stored) & there:
                assert traffic.stored[package_id] == fetch(restored, package_id, tmp_path / f"{number}-{package_id}")


@pytest.mark.parametrize("step", ["backup.after-snapshot", "backup.before-log", "backup.before-document"])
def test_what_is_deleted_and_collected_within_a_backup_is_in_it(registry: Registry, tmp_path: Path, step: str) -> None:
    package_id, target = push(registry), directory(tmp_path / "backup")
    expire(registry)

    def delete() -> None:
        apply_plan(registry, make_plan(registry).digest)
        assert not collect(registry, wait_s=0, pause=lambda _: None).is_done, "it waits for the backup"

    passed = _at(step, delete)
    report = backup(registry, target)
    arm(None)

    assert [step] == passed
    assert [] == report.missed
    assert collect(registry, wait_s=0, pause=lambda _: None).is_done
    with another(tmp_path / "new") as restored:
        assert restore(restored, target).is_whole
        is_sound(restored)
        assert "expired" == next(each for each in list_packages(restored, limit=9)).status
        assert fetch(restored, package_id, tmp_path / "out")


def test_a_log_of_several_segments_is_backed_up_while_others_write(
    registry: Registry, home: Path, database: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By other processes, as it were, and by this one: no view of the backup's may be left open."""
    monkeypatch.setattr("artifactstore.registry.sealing._MOST_EVENTS", 3)
    target, names = directory(tmp_path / "backup"), [push(registry, name=f"run-{number}") for number in range(4)]
    log = log_of(registry)
    written = count()

    def write(step: str) -> None:
        if step == "backup.after-part":
            arm(None)  # what is pushed passes steps, too
            for writer in (other, registry):
                push(writer, {"new": b"new"}, f"later-{next(written)}")
            arm(write)

    with another(home, database) as other:
        arm(write)
        report = backup(registry, target)
        arm(None)

    assert len(report.found.snapshot.segments) == -(-len(log) // 3) > 3
    assert next(written) > len(names)
    with another(tmp_path / "new") as restored:
        assert restore(restored, target).is_whole
        assert log == log_of(restored)
        is_sound(restored)


def _at(step: str, action: Callable[[], object]) -> list[str]:
    """Do this once when the step is reached."""
    passed: list[str] = []

    def pass_by(name: str) -> None:
        if name == step and not passed:
            passed.append(name)
            action()

    arm(pass_by)
    return passed
