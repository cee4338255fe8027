"""The owner of a duty is killed in the middle of its work: nobody has it until its claim runs out, then it is done."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from artifactstore.catalog import duties as rows
from artifactstore.domain.collection import CollectionPolicy
from artifactstore.domain.instant import Instant
from artifactstore.registry import sealing
from artifactstore.registry.duties import DONE, Run, run_if_due
from artifactstore.registry.status import duty_statuses
from artifactstore.registry.store_duties import require_duty
from artifactstore.registry.verify import verify_all
from tests.retention import delete_all_expired, push
from tests.service import clean_environment
from tests.support import event_types, replay_is_exact

if TYPE_CHECKING:
    from pathlib import Path

    from artifactstore.registry.registry import Registry

STEPS = [
    ("verify", "scrub.before-place-kept"),
    ("verify", "scrub.after-page"),
    ("collect", "collect.before-condemned"),
    ("collect", "collect.after-condemned"),
    ("collect", "collect.after-begun"),
    ("collect", "collect.after-delete"),
    ("seal-log", "seal.before-record"),
    ("seal-log", "seal.after-record"),
]
DID = {"verify": "objects", "collect": "deleted", "seal-log": "sealed_up_to"}


@pytest.fixture
def store(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Something to read, something to seal, and something that was deleted and is to be collected."""
    monkeypatch.setattr(sealing, "SEAL_EVENTS", 1)
    small = replace(registry, pack_threshold_bytes=0, collection=CollectionPolicy(grace_s=0))
    push(small)
    delete_all_expired(small)
    return small


def be_killed(home: Path, database: dict[str, str], duty: str, step: str) -> int:
    environment = {**clean_environment(), "ARTIFACTSTORE_HOME": str(home), **database}
    return subprocess.run(
        [sys.executable, "-m", "tests.duty_killed", duty, step], env=environment, check=False, timeout=60
    ).returncode


def let_it_be_due(store: Registry, duty: str) -> None:
    with store.transaction() as tx:
        rows.note_duty(tx.connection, duty, 1)
        tx.connection.execute("UPDATE duty SET next_run_at = 1 WHERE name = ?", (duty,))


def in_minutes(store: Registry, minutes: float) -> Registry:
    return replace(store, clock=lambda: Instant(store.clock() + int(minutes * 60_000_000)))


def state_of(store: Registry, duty: str) -> str:
    return next(each.state for each in duty_statuses(store) if each.name == duty)


@pytest.mark.parametrize(("duty", "step"), STEPS)
def test_a_duty_whose_owner_is_killed_is_taken_over_and_done(
    store: Registry, home: Path, database: dict[str, str], duty: str, step: str
) -> None:
    let_it_be_due(store, duty)

    code = be_killed(home, database, duty, step)
    at_once = run_if_due(store, require_duty(duty))
    seen = state_of(store, duty), state_of(in_minutes(store, 1.5), duty)
    runs = [run for _ in range(2) if (run := taken_over(store, duty)) is not None]

    assert (-signal.SIGKILL, None, ("running", "lost")) == (code, at_once, seen)
    assert {DONE} == {run.outcome for run in runs}
    assert runs[-1].detail is not None
    assert int(str(runs[-1].detail[DID[duty]])) > 0 or "v1.object.deleted" in event_types(store)
    assert not [each for each in verify_all(store).damage if each.package_id is not None]
    replay_is_exact(store)


def taken_over(store: Registry, duty: str) -> Run | None:
    """By another process, as far as the claim can tell; a run that condemns is followed by one that deletes."""
    run = run_if_due(in_minutes(store, 1.5), require_duty(duty))
    if duty == "collect":
        let_it_be_due(store, duty)
    return run
