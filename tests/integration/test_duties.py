"""Duties in one process: claims, what becomes of a run, and what each duty of a store does."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.catalog import duties as rows
from artifactstore.domain.instant import MICROSECONDS_PER_DAY, Instant
from artifactstore.domain.retention import RetentionClass
from artifactstore.errors import (
    CatalogUnavailableError,
    ClaimLostError,
    DutyRunningError,
    PackageUnknownError,
    StorageUnavailableError,
)
from artifactstore.registry.duties import Claim, Duty, Patience, due_duties, run_due, run_if_due, run_now
from artifactstore.registry.ingest import ingest
from artifactstore.registry.packages import find_package
from artifactstore.registry.retention import place_hold
from artifactstore.registry.status import duty_statuses, store_status
from artifactstore.registry.store_duties import CLEAN_BACKENDS, LEFT_FOR, SWEEP, VERIFY, duties_of, sweep_now
from artifactstore.storage.memory import MemoryStore
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import package_draft, put_bytes, some_bytes
from artifactstore.testing.faults import FaultyStore, Operation
from tests.at_once import at_once
from tests.support import event_types, flip_byte, objects_of_kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from pathlib import Path

    from artifactstore.catalog.catalog import Transaction
    from artifactstore.registry import duties
    from artifactstore.registry.duties import Detail
    from artifactstore.registry.registry import Registry
    from artifactstore.registry.status import DutyStatus

SECOND, HOUR = 1_000_000, 3_600_000_000


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000_000

    def __call__(self) -> Instant:
        return Instant(self.now)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(registry: Registry, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A store where time is what the test says; what is made of clocks that disagree is in ``test_clocks``."""
    monkeypatch.setattr("artifactstore.registry.clocks.other_clocks", lambda _: {})
    return replace(registry, clock=clock, sweep_max_leap_hours=0)


def noted(act: Callable[[], object] = lambda: None, *, every_s: float = 3600) -> tuple[Duty, list[Claim]]:
    """A duty, and the claims of its runs."""
    claims: list[Claim] = []

    def run(_: Registry, claim: Claim) -> Detail:
        claims.append(claim)
        act()
        return {"runs": len(claims)}

    return Duty("test", every_s, run), claims


def row(registry: Registry, name: str = "test") -> rows.DutyRecord:
    with registry.catalog.snapshot() as queries:
        (found,) = [record for record in rows.all_duties(queries.connection) if record.name == name]
    return found


def outcomes(runs: list[duties.Run]) -> list[tuple[str, str]]:
    return [(run.duty, run.outcome) for run in runs]


# when a duty runs


def test_a_duty_is_due_at_once_and_then_once_an_interval(store: Registry, clock: Clock) -> None:
    duty, claims = noted()

    at_first, again = run_due(store, [duty]), run_due(store, [duty])
    clock.now += HOUR - 1
    shortly_before = run_due(store, [duty])
    clock.now += 1
    then = run_due(store, [duty])

    assert ([("test", "done")], [], []) == (outcomes(at_first), again, shortly_before)
    assert ([("test", "done")], 2) == (outcomes(then), len(claims))


def test_the_row_says_when_it_ran_what_it_did_and_when_it_runs_next(store: Registry, clock: Clock) -> None:
    began = clock.now
    duty, _ = noted(lambda: setattr(clock, "now", clock.now + 7 * SECOND))

    run_due(store, [duty])

    found = row(store)
    assert (None, None, began, began + 7 * SECOND) == found[2:6]
    assert (began + 7 * SECOND, "done", 0, '{"runs": 1}', None) == found[6:11]
    assert began + HOUR == found.next_run_at


def test_a_run_that_takes_longer_than_its_interval_is_followed_by_one_and_not_by_all_that_were_missed(
    store: Registry, clock: Clock
) -> None:
    duty, claims = noted(lambda: setattr(clock, "now", clock.now + 5 * HOUR))

    run_due(store, [duty])

    assert clock.now == row(store).next_run_at
    assert (1, 1) == (len(run_due(store, [duty])), len(claims) - 1)


def test_a_duty_that_is_to_wait_at_first_does(store: Registry, clock: Clock) -> None:
    duty, _ = noted()
    later = replace(duty, first_after_s=3600.0)

    at_first = run_due(store, [later])
    clock.now += HOUR

    assert ([], 1) == (at_first, len(run_due(store, [later])))


@pytest.mark.parametrize("ahead_days", [1, 400])
def test_a_next_run_that_a_wrong_clock_wrote_does_not_stop_the_duty(
    store: Registry, clock: Clock, ahead_days: int
) -> None:
    duty, _ = noted()
    clock.now += ahead_days * MICROSECONDS_PER_DAY
    run_due(store, [duty])

    clock.now -= ahead_days * MICROSECONDS_PER_DAY

    assert [("test", "done")] == outcomes(run_due(store, [duty]))


def test_clocks_that_differ_by_minutes_do_not_make_it_run_more_often(store: Registry, clock: Clock) -> None:
    duty, _ = noted()
    run_due(store, [duty])

    clock.now -= 4 * 60 * SECOND

    assert [] == run_due(store, [duty])


def test_nothing_is_written_while_nothing_is_due(store: Registry) -> None:
    duty, _ = noted()
    run_due(store, [duty])

    def refuse(_: Transaction) -> None:
        raise AssertionError("a look must not write")

    looking = replace(store, catalog=store.catalog.doing_first(refuse))

    assert [] == run_due(looking, [duty])


# what becomes of a run


def test_a_failed_run_says_why_and_is_tried_again_ever_later_until_it_succeeds(store: Registry, clock: Clock) -> None:
    storage_is_away = [True]

    def act() -> None:
        if storage_is_away[0]:
            raise StorageUnavailableError("no answer")

    duty, _ = noted(act)
    waits = []
    for _ in range(9):
        assert [("test", "failed")] == outcomes(run_due(store, [duty]))
        waits.append((row(store).next_run_at - clock.now) // SECOND)
        clock.now = row(store).next_run_at
    failed = row(store)
    storage_is_away[0] = False
    run_due(store, [duty])

    assert [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600] == waits
    assert ("failed", 9, None) == (failed.outcome, failed.failures, failed.succeeded_at)
    error = {"code": "STORAGE_UNAVAILABLE", "message": "no answer", "hint": StorageUnavailableError.default_hint}
    assert error == json.loads(failed.error or "")
    assert ("done", 0, None) == (row(store).outcome, row(store).failures, row(store).error)


def test_a_failure_leaves_what_the_run_before_did_to_be_seen(store: Registry, clock: Clock) -> None:
    fails = [False]

    def act() -> None:
        if fails[0]:
            raise RuntimeError("a defect")

    duty, _ = noted(act)
    run_due(store, [duty])
    succeeded_at, fails[0] = clock.now, True
    clock.now += HOUR

    (run,) = run_due(store, [duty])

    found = row(store)
    assert "failed" == run.outcome
    assert ('{"runs": 1}', succeeded_at) == (found.detail, found.succeeded_at)
    assert '{"code": "INTERNAL", "message": "RuntimeError: a defect"}' == found.error


def test_one_that_fails_stops_no_other(store: Registry) -> None:
    good, _ = noted()

    def fail() -> None:
        raise StorageUnavailableError("no answer")

    bad = replace(noted(fail)[0], name="bad")

    assert [("bad", "failed"), ("test", "done")] == outcomes(run_due(store, [bad, good]))


def test_a_run_that_is_stopped_is_due_at_once_and_goes_on_where_it_was(store: Registry, clock: Clock) -> None:
    stop = threading.Event()
    positions = []

    def act(_: Registry, claim: Claim) -> Detail:
        positions.append(claim.position)
        claim.reach(claim.position + 10)
        claim.so_far = {"reached": claim.position}
        stop.set()
        claim.check()
        raise AssertionError("it went on")

    duty = Duty("test", 3600, act)

    (run,) = run_due(store, [duty], stop=stop)
    stopped = row(store)
    stop = threading.Event()
    run_due(store, [duty], stop=stop)

    assert ("interrupted", None, clock.now, None) == (run.outcome, stopped.holder, stopped.next_run_at, stopped.error)
    assert ('{"reached": 10}', [0, 10], 20) == (stopped.detail, positions, row(store).position)


def test_an_interruption_from_the_keyboard_gives_the_duty_free(store: Registry) -> None:
    def act() -> None:
        raise KeyboardInterrupt

    duty, _ = noted(act)

    with suppress(KeyboardInterrupt):
        run_due(store, [duty])

    assert (None, "interrupted") == (row(store).holder, row(store).outcome)


# claims


def test_of_many_that_look_at_once_one_runs_it(registry: Registry) -> None:
    duty, claims = noted()

    runs = at_once(8, lambda _: run_due(registry, [duty]))

    assert [0] * 7 + [1] == sorted(len(run) for run in runs if isinstance(run, list))
    assert 1 == len(claims)


def test_what_another_has_done_since_the_look_is_not_done_again(store: Registry) -> None:
    duty, claims = noted()
    assert [duty] == due_duties(store, [duty])
    run_due(store, [duty])

    assert run_if_due(store, duty) is None

    assert 1 == len(claims)


def taken_over(store: Registry, clock: Clock, act: Callable[[Registry, Claim], Any]) -> tuple[duties.Run, list[Claim]]:
    """A run that is paused until another has taken it over and is done, and then goes on with ``act``."""
    other, claims = noted()

    def paused(registry: Registry, claim: Claim) -> Detail:
        clock.now += 61 * SECOND
        run_due(store, [other])
        act(registry, claim)
        return {"went on": True}

    (run,) = run_due(store, [Duty("test", 1, paused)])
    return run, claims


def test_a_run_that_was_taken_over_cannot_write(store: Registry, clock: Clock) -> None:
    ingest(store, package_draft())
    before = event_types(store)
    (package,) = [find_package(store, package_id)[0] for package_id in package_ids(store)]

    run, claims = taken_over(
        store, clock, lambda registry, _: place_hold(registry, package.package_id, reason="too late")
    )

    assert 1 == len(claims)
    assert ("failed", True) == (run.outcome, isinstance(run.error, ClaimLostError))
    assert before == event_types(store)


def package_ids(registry: Registry) -> list[str]:
    with registry.catalog.snapshot() as queries:
        return [package.package_id for package in queries.packages(after=0, limit=10)]


def test_nobody_takes_a_duty_over_while_its_run_is_writing(registry: Registry) -> None:
    """Not even one whose clock says that the run is dead."""
    other, claims = noted()
    ahead = replace(registry, clock=lambda: Instant(registry.clock() + 100 * SECOND))
    during: list[int] = []

    def act(registry: Registry, _: Claim) -> Detail:
        thief = threading.Thread(target=run_if_due, args=(ahead, other))
        with registry.transaction():
            thief.start()
            thief.join(0.5)
            during.append(len(claims))
        thief.join(30)
        during.append(len(claims))
        return {}

    (run,) = run_due(registry, [Duty("test", 1, act)])

    assert ([0, 1], True) == (during, isinstance(run.error, ClaimLostError))


def test_one_that_cannot_be_claimed_stops_no_other(store: Registry) -> None:
    good, _ = noted()
    locked = replace(good, name="locked")
    due_duties(store, [locked, good])

    def refuse(_: Transaction) -> None:
        if not refused:
            refused.append(True)
            raise CatalogUnavailableError("locked by others")

    refused: list[bool] = []
    runs = run_due(replace(store, catalog=store.catalog.doing_first(refuse)), [locked, good])

    assert [("locked", "failed"), ("test", "done")] == outcomes(runs)


@pytest.mark.parametrize("step", ["check", "reach", "end"])
def test_a_run_that_was_taken_over_notices_and_leaves_the_others_row_alone(
    store: Registry, clock: Clock, step: str
) -> None:
    steps: dict[str, Callable[[Registry, Claim], object]] = {
        "check": lambda _, claim: claim.check(),
        "reach": lambda _, claim: claim.reach(99),
        "end": lambda _, __: None,
    }

    run, _ = taken_over(store, clock, steps[step])

    assert ("failed", True) == (run.outcome, isinstance(run.error, ClaimLostError))
    assert ("done", '{"runs": 1}', 0) == (row(store).outcome, row(store).detail, row(store).position)


def test_a_claim_is_kept_by_its_heartbeat(registry: Registry) -> None:
    patience = Patience(heartbeat_s=0.02)
    beats: set[int | None] = set()

    def act(_: Registry, __: Claim) -> Detail:
        deadline = time.monotonic() + 30
        while len(beats) < 4 and time.monotonic() < deadline:
            beats.add(row(registry).heartbeat_at)
        return {}

    run_due(registry, [Duty("test", 1, act)], patience=patience)

    assert 4 == len(beats)


@pytest.mark.parametrize(("silent_s", "taken"), [(60, 0), (61, 1), (-290, 0), (-310, 1)])
def test_a_claim_without_a_heartbeat_is_nobodys_after_a_minute(
    store: Registry, clock: Clock, silent_s: int, taken: int
) -> None:
    """Nor is one from so far ahead that the clock was wrong which wrote it."""
    duty, claims = noted(every_s=0)
    run_due(store, [duty])
    with store.transaction() as tx:
        tx.connection.execute("UPDATE duty SET holder = 'gone:1#x', heartbeat_at = ?", (clock.now,))

    clock.now += silent_s * SECOND
    run_due(store, [duty])

    assert taken == len(claims) - 1


# by hand


def test_by_hand_it_runs_whether_it_is_due_or_not_and_the_next_run_is_an_interval_later(
    store: Registry, clock: Clock
) -> None:
    duty, _ = noted()
    run_due(store, [duty])
    clock.now += HOUR // 2

    assert {"runs": 2} == run_now(store, duty)

    assert clock.now + HOUR == row(store).next_run_at


def test_by_hand_it_is_refused_while_another_is_at_it_who_is_named(registry: Registry) -> None:
    refused = []

    def act() -> None:
        with pytest.raises(DutyRunningError) as raised:
            run_now(registry, replace(duty, act=lambda _, __: {}), wait_s=0.2)
        refused.append(raised.value.message)

    duty, _ = noted(act)

    run_now(registry, duty)

    assert f":{os.getpid()}" in refused[0]
    assert "done" == row(registry).outcome


def test_by_hand_it_waits_for_a_run_that_ends_soon(registry: Registry) -> None:
    running, ended = threading.Event(), threading.Event()

    def act(_: Registry, __: Claim) -> Detail:
        running.set()
        ended.wait(30)
        return {}

    first = threading.Thread(target=run_due, args=(registry, [Duty("test", 60, act)]))
    first.start()
    assert running.wait(30)
    threading.Timer(0.2, ended.set).start()

    detail = run_now(registry, noted()[0], wait_s=30)

    first.join()
    assert {"runs": 1} == detail


def test_by_hand_what_stops_it_is_recorded_and_raised(store: Registry) -> None:
    def fail() -> None:
        raise PackageUnknownError("there is none")

    with pytest.raises(PackageUnknownError):
        run_now(store, noted(fail)[0])

    assert ("failed", 1) == (row(store).outcome, row(store).failures)


# what the duties of a store do


def of_store(registry: Registry, name: str) -> Duty:
    (found,) = [duty for duty in duties_of(registry) if duty.name == name]
    return found


def status_of(registry: Registry, name: str) -> DutyStatus:
    (found,) = [duty for duty in duty_statuses(registry) if duty.name == name]
    return found


def test_the_sweep_marks_what_is_past_its_retention(store: Registry, clock: Clock) -> None:
    package_id = ingest(store, package_draft()).package_id
    run_due(store, [SWEEP])
    clock.now += 31 * MICROSECONDS_PER_DAY

    (run,) = run_due(store, [SWEEP])

    assert ({"expired": 1}, "expired") == (run.detail, find_package(store, package_id)[0].status)


def test_a_sweep_by_hand_is_the_duty_s_run(store: Registry, clock: Clock) -> None:
    package_id = ingest(store, package_draft()).package_id
    clock.now += 31 * MICROSECONDS_PER_DAY

    swept = sweep_now(store)

    assert ([package_id], {"expired": 1}) == (swept, status_of(store, "sweep").detail)
    assert [] == run_due(store, [SWEEP])


def test_a_sweep_that_is_taken_over_between_two_pages_marks_no_more(
    store: Registry, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artifactstore.registry.retention._SWEEP_PAGE", 1)
    for number in range(3):
        ingest(store, package_draft({"x": b"%d" % number}, external_id=f"run-{number}"))
    clock.now += 31 * MICROSECONDS_PER_DAY

    def losing(registry: Registry, claim: Claim) -> Detail:
        begin = registry.catalog.transaction

        def after_one(actor: str) -> Any:
            if "v1.package.expired" in event_types(store):
                with store.transaction() as tx:
                    tx.connection.execute("UPDATE duty SET holder = 'another:1#x'")
            return begin(actor)

        monkeypatch.setattr(registry.catalog, "transaction", after_one)
        return SWEEP.act(registry, claim)

    (run,) = run_due(store, [replace(SWEEP, act=losing)])

    assert isinstance(run.error, ClaimLostError)
    assert 1 == event_types(store).count("v1.package.expired")


def three_objects(store: Registry) -> Registry:
    """A store with three packages of a large blob each: with their manifests, six objects."""
    small = replace(store, pack_threshold_bytes=0)
    for number in range(3):
        ingest(small, package_draft({"x": some_bytes(2_000, seed=number)}, external_id=f"run-{number}"))
    return small


def test_verify_reads_a_slice_an_hour_and_begins_anew_at_the_end(store: Registry, clock: Clock) -> None:
    store = replace(three_objects(store), verify_every_days=1)
    run_due(store, [VERIFY])

    rounds = []
    for _ in range(7):
        clock.now += HOUR
        (run,) = run_due(store, [VERIFY])
        assert run.detail is not None
        rounds.append((run.detail["position"], run.detail["objects"], run.detail["last_round_ended_at"] is not None))

    assert [(1, 1, False), (2, 1, False), (3, 1, False), (4, 1, False), (5, 1, False), (0, 1, True), (1, 1, True)] == (
        rounds
    )


def test_hours_in_which_nobody_ran_it_are_made_up_for(store: Registry, clock: Clock) -> None:
    store = replace(three_objects(store), verify_every_days=1)
    run_due(store, [VERIFY])
    clock.now += HOUR
    run_due(store, [VERIFY])

    clock.now += 12 * HOUR
    (run,) = run_due(store, [VERIFY])

    assert run.detail is not None
    assert (4, 5) == (run.detail["objects"], run.detail["position"])


def test_verify_records_and_counts_damage(store: Registry, clock: Clock, home: Path) -> None:
    store = replace(three_objects(store), verify_every_days=1)
    flip_byte(objects_of_kind(home, ObjectKind.BLOB)[0], 100)
    run_due(store, [VERIFY])

    found = 0
    for _ in range(6):
        clock.now += HOUR
        (run,) = run_due(store, [VERIFY])
        assert run.detail is not None
        found += int(str(run.detail["damage"]))

    assert (1, 1) == (found, store_status(store).counts["damaged_objects"])
    assert "v1.object.damaged" in event_types(store)


def test_verify_judges_nothing_while_the_storage_is_another_one_and_goes_on_afterwards(
    store: Registry, clock: Clock, home: Path
) -> None:
    store = replace(three_objects(store), verify_every_days=1)
    run_due(store, [VERIFY])
    clock.now += HOUR
    (home / "objects").rename(home / "aside")
    put_bytes(store.store, b"in another storage")
    before = event_types(store)

    (failed,) = run_due(store, [VERIFY])
    shutil.rmtree(home / "objects")
    (home / "aside").rename(home / "objects")
    clock.now += 60 * SECOND
    (done,) = run_due(store, [VERIFY])

    assert ("failed", before) == (failed.outcome, event_types(store))
    assert ("done", 1) == (done.outcome, row(store, "verify").position)


def run_every_hour(store: Registry, clock: Clock, hours: int) -> list[duties.Run]:
    runs = []
    for _ in range(hours):
        clock.now += HOUR
        runs += run_due(store, [VERIFY])
    return runs


def test_verify_passes_a_backend_over_that_gives_no_answer_and_reads_the_others(
    store: Registry, clock: Clock, home: Path
) -> None:
    broken = FaultyStore(MemoryStore())
    store = replace(three_objects(store), verify_every_days=1)
    store = replace(store, backends={"default": store.store, "second": broken})
    elsewhere = replace(store, default_backend="second", pack_threshold_bytes=0)
    ingest(elsewhere, package_draft({"y": b"y"}, external_id="in the second"))
    flip_byte(objects_of_kind(home, ObjectKind.BLOB)[0], 100)
    run_due(store, [VERIFY])
    broken.fail(Operation.SIZE, StorageUnavailableError("no answer"), times=1_000)

    runs = run_every_hour(store, clock, 8)

    outcomes_ = [run.outcome for run in runs]
    assert ["done"] * 6 + ["failed"] * 2 == outcomes_
    assert "'second': STORAGE_UNAVAILABLE: no answer" in str(runs[-1].error)
    assert 1 == store_status(store).counts["damaged_objects"]
    detail = status_of(store, "verify").detail or {}
    assert (0, ["second"], None) == tuple(detail[name] for name in ("position", "passed_over", "last_round_ended_at"))
    broken.mend()
    later = run_every_hour(store, clock, 8)[-1].detail or {}
    assert (0, [], True) == (later["position"], later["passed_over"], later["last_round_ended_at"] is not None)


def test_the_slices_of_verify_do_not_grow_while_a_backend_gives_no_answer(store: Registry, clock: Clock) -> None:
    store = three_objects(store)
    with_another = replace(store, backends={"default": store.store, "second": MemoryStore()}, verify_every_days=1)
    elsewhere = replace(with_another, default_backend="second", pack_threshold_bytes=0)
    for number in range(60):
        ingest(elsewhere, package_draft({"y": b"y%d" % number}, external_id=f"elsewhere-{number}"))
    run_due(store, [VERIFY])
    not_configured = replace(store, verify_every_days=1)

    runs = run_every_hour(not_configured, clock, 10)

    positions = [int(str((run.detail or {})["position"])) for run in runs]
    assert "failed" == runs[-1].outcome
    assert [6] * 9 == [after - before for before, after in itertools.pairwise(positions)]


def test_verify_stops_in_the_middle_of_an_object(store: Registry, clock: Clock) -> None:
    stop = threading.Event()
    faulty = FaultyStore(MemoryStore())
    store = replace(store, backends={"default": faulty}, pack_threshold_bytes=0)
    ingest(store, package_draft({"x": some_bytes(8 * 1024 * 1024)}))
    run_due(store, [VERIFY])
    clock.now += HOUR
    faulty.pause(Operation.READ, stop.set)
    reads_before = faulty.calls[Operation.READ]

    (run,) = run_due(store, [VERIFY], stop=stop)

    assert ("interrupted", 1) == (run.outcome, faulty.calls[Operation.READ] - reads_before)


def test_verify_that_is_off_is_no_duty(store: Registry) -> None:
    off = replace(store, verify_every_days=0)

    assert "verify" not in [duty.name for duty in duties_of(off)]
    assert ("off", False, None) == (
        (found := status_of(off, "verify")).state, found.is_overdue, found.every_s,
    )  # fmt: skip


def test_what_writers_left_is_removed_and_what_may_be_under_way_is_not(
    store: Registry, clock: Clock, home: Path
) -> None:
    ingest(store, package_draft())
    staging = home / "objects" / "staging"
    long_ago = time.time() - LEFT_FOR.total_seconds() - 60
    (staging / "1-left").write_bytes(b"half")
    os.utime(staging / "1-left", (long_ago, long_ago))
    (staging / "2-under-way").write_bytes(b"half")
    run_due(store, [CLEAN_BACKENDS])
    clock.now += HOUR

    (run,) = run_due(store, [CLEAN_BACKENDS])

    assert {"removed": {"default": 1}} == run.detail
    assert ["2-under-way"] == sorted(path.name for path in staging.iterdir())


class Unclean(MemoryStore):
    """A backend that cannot be cleaned."""

    def remove_leftovers(self, older_than: timedelta) -> int:
        raise StorageUnavailableError("no answer")


def test_a_backend_that_cannot_be_cleaned_keeps_no_other_from_it_and_is_told(store: Registry, clock: Clock) -> None:
    several = replace(store, backends={"default": Unclean(), "second": MemoryStore()})
    run_due(several, [CLEAN_BACKENDS])
    clock.now += HOUR

    (run,) = run_due(several, [CLEAN_BACKENDS])

    assert ("failed", {"removed": {"second": 0}}) == (run.outcome, run.detail)
    assert run.detail == status_of(several, "clean-backends").detail


# status


def test_a_duty_that_nobody_runs_is_overdue(store: Registry, clock: Clock) -> None:
    never = status_of(store, "sweep")
    run_due(store, [SWEEP])
    done = status_of(store, "sweep")
    clock.now += HOUR + 4 * 60 * SECOND
    nearly = status_of(store, "sweep")
    clock.now += 2 * 60 * SECOND
    late = status_of(store, "sweep")

    assert [True, False, False, True] == [each.is_overdue for each in (never, done, nearly, late)]


def test_a_duty_is_shown_as_running_and_as_lost_when_its_process_is_gone(store: Registry, clock: Clock) -> None:
    seen = []

    def look(_: Registry, __: Claim) -> Detail:
        seen.append(status_of(store, "sweep"))
        clock.now += 61 * SECOND
        seen.append(status_of(store, "sweep"))
        return {}

    run_due(store, [replace(SWEEP, act=look)])

    assert ["running", "lost"] == [each.state for each in seen]
    assert [True, True] == [str(each.running_by).endswith(f":{os.getpid()}") for each in seen]
    assert ("waiting", None) == ((after := status_of(store, "sweep")).state, after.running_by)


def test_the_state_of_a_store_counts_what_an_operator_looks_for(store: Registry, clock: Clock) -> None:
    ingest(store, replace(package_draft(), retention_class=RetentionClass.TRANSIENT))
    clock.now += 8 * MICROSECONDS_PER_DAY

    status = store_status(store)

    assert {"packages_due": 1} == {name: count for name, count in status.counts.items() if count}
    assert {"damaged_objects", "open_packages", "leases", "condemned_objects"} < status.counts.keys()
    assert status.is_at_head
    assert (4, "file", True) == ((status.log or (0, 0))[0], status.backends[0].scheme, status.backends[0].is_default)
