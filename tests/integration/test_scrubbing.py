"""The scrub reads everything in time, no faster than it may, stops when it is told to, and says when it is late."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from artifactstore.domain.instant import MICROSECONDS_PER_DAY
from artifactstore.errors import UsageError
from artifactstore.registry import duties
from artifactstore.registry.duties import DONE, INTERRUPTED, run_due
from artifactstore.registry.ingest import ingest
from artifactstore.registry.readiness import CHECKS
from artifactstore.registry.scrubbing import Throttle, pause_scrub, resume_scrub, scrub_status
from artifactstore.registry.status import store_status
from artifactstore.registry.store_duties import VERIFY
from artifactstore.registry.verify import Subset, verify_objects
from artifactstore.storage.memory import MemoryStore
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import package_draft, some_bytes
from artifactstore.testing.faults import FaultyStore, Operation
from tests.integration.test_duties import HOUR, Clock, row, run_every_hour, three_objects
from tests.support import flip_byte, objects_of_kind

if TYPE_CHECKING:
    from pathlib import Path

    from artifactstore.registry.registry import Registry


@pytest.fixture
def clock(registry: Registry) -> Clock:
    found = Clock()
    found.now = int(registry.clock())
    return found


@pytest.fixture
def store(registry: Registry, clock: Clock) -> Registry:
    return replace(registry, clock=clock, scrub_bytes_per_s=0, verify_every_days=30)


DAY = MICROSECONDS_PER_DAY


def many_objects(store: Registry) -> Registry:
    small = replace(store, pack_threshold_bytes=0)
    for number in range(30):
        ingest(small, package_draft({"x": some_bytes(2_000, seed=number)}, external_id=f"run-{number}"))
    return small


def read(store: Registry) -> int:
    counted = store.store
    assert isinstance(counted, FaultyStore)
    return counted.calls[Operation.OPEN]


# subsets


@pytest.mark.parametrize("of", [1, 2, 7, 30, 1_000])
def test_the_subsets_read_every_object_once_and_no_two_the_same(store: Registry, of: int) -> None:
    store = replace(many_objects(store), backends={"default": FaultyStore(store.store)})

    each = [verify_objects(store, subset=Subset(number, of)).objects for number in range(1, of + 1)]

    assert 60 == sum(each) == read(store)
    assert verify_objects(store, subset=Subset(1, of)).objects == each[0], "an object stays in its subset"


def test_bounds_of_neighbouring_subsets_meet() -> None:
    for of in (1, 2, 3, 7, 9_999):
        bounds = [Subset(number, of).bounds for number in range(1, of + 1)]
        assert bytes(8) == bounds[0][0]
        assert b"" == bounds[-1][1]
        assert all(one[1] == other[0] for one, other in pairwise(bounds))


def test_a_subset_finds_the_damage_in_it(store: Registry, home: Path) -> None:
    many_objects(store)
    for path in objects_of_kind(home, ObjectKind.BLOB):
        flip_byte(path, 100)

    found = [len(verify_objects(store, subset=Subset(number, 3)).damage) for number in (1, 2, 3)]

    assert 30 == sum(found)
    assert all(found)


@pytest.mark.parametrize("text", ["", "1", "0/7", "8/7", "1/0", "-1/7", "1/7/7", "a/b", "1.5/7", "1/9999999"])
def test_what_is_no_subset_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a subset"):
        Subset.parse(text)


# the rate


class Stopwatch:
    def __init__(self) -> None:
        self.now = 0.0
        self.longest_wait = 0.0

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.longest_wait = max(self.longest_wait, seconds)


def throttled(rate: int) -> tuple[Throttle, Stopwatch]:
    watch = Stopwatch()
    return Throttle(rate, wait=watch.wait, monotonic=lambda: watch.now), watch


def test_reading_takes_as_long_as_its_rate_says() -> None:
    throttle, watch = throttled(1_000)

    for _ in range(100):
        throttle.take(500)

    assert 50.0 == pytest.approx(watch.now, abs=0.01)
    assert watch.longest_wait <= 0.5


def test_time_in_which_nothing_was_read_is_not_caught_up_with_all_at_once() -> None:
    throttle, watch = throttled(1_000)
    throttle.take(500)
    watch.now += 3_600

    throttle.take(10_000)

    assert 3_600 + 0.5 + 9 == pytest.approx(watch.now, abs=0.01)


def test_without_a_rate_nothing_is_waited_for() -> None:
    throttle, watch = throttled(0)

    throttle.take(10**12)

    assert 0.0 == watch.now


def test_the_duty_keeps_to_its_rate(store: Registry, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    waited = list[float]()
    store = replace(store, scrub_bytes_per_s=1024 * 1024)
    ingest(store, package_draft({"x": some_bytes(8 * 1024 * 1024)}))
    run_due(store, [VERIFY])
    clock.now += HOUR
    watch = Stopwatch()
    monkeypatch.setattr("artifactstore.registry.scrubbing.time.monotonic", lambda: watch.now)
    monkeypatch.setattr(duties.Claim, "wait", lambda _, seconds: (waited.append(seconds), watch.wait(seconds)))
    monkeypatch.setattr(
        "artifactstore.registry.store_duties.Throttle",
        lambda rate, wait: Throttle(rate, wait=wait, monotonic=lambda: watch.now),
    )

    (run,) = run_due(store, [VERIFY])

    assert DONE == run.outcome
    assert run.detail is not None
    assert int(str(run.detail["bytes_read"])) / 1024**2 == pytest.approx(sum(waited), rel=0.01)


# pausing


def test_a_paused_scrub_reads_nothing_and_resumed_goes_on_where_it_stood(store: Registry, clock: Clock) -> None:
    store = replace(three_objects(store), verify_every_days=1)
    run_due(store, [VERIFY])
    run_every_hour(store, clock, 2)

    paused = pause_scrub(store)
    while_paused = run_every_hour(store, clock, 2)
    resumed = resume_scrub(store)
    (run,) = run_due(store, [VERIFY])

    assert [] == while_paused
    assert (store.actor, None) == (paused.paused_by, paused.next_run_at)
    assert paused.paused_at is not None
    assert (None, None) == (resumed.paused_at, resumed.paused_by)
    assert run.detail is not None
    assert 3 <= int(str(run.detail["position"])), "what was missed meanwhile is made up for"


def test_a_paused_scrub_is_neither_due_nor_to_be_claimed(store: Registry, clock: Clock) -> None:
    pause_scrub(store)
    clock.now += DAY

    assert [] == duties.due_duties(store, [VERIFY])
    assert None is duties.run_if_due(store, VERIFY)


def test_a_scrub_can_be_paused_before_it_ever_ran(store: Registry, clock: Clock) -> None:
    pause_scrub(store)

    assert [] == run_every_hour(store, clock, 3)


def test_a_run_that_is_under_way_ends_when_it_is_paused_and_keeps_its_place(store: Registry, clock: Clock) -> None:
    store = many_objects(store)
    counted = FaultyStore(store.store)
    store = replace(store, backends={"default": counted})
    run_due(store, [VERIFY])
    run_every_hour(store, clock, 1)
    clock.now += 40 * DAY
    counted.pause(Operation.OPEN, lambda: pause_scrub(store), call=15)  # on the second page of ten

    (run,) = run_due(store, [VERIFY])
    stands_at = row(store, "verify").position
    resume_scrub(store)
    (rest,) = run_due(store, [VERIFY])

    assert (INTERRUPTED, 21) == (run.outcome, stands_at)
    assert rest.detail is not None
    assert (DONE, 39) == (rest.outcome, rest.detail["objects"])


def test_the_heartbeat_of_a_run_sees_that_it_is_paused_within_one_object(store: Registry, clock: Clock) -> None:
    counted = FaultyStore(MemoryStore())
    store = replace(store, backends={"default": counted}, pack_threshold_bytes=0)
    ingest(store, package_draft({"x": some_bytes(8 * 1024 * 1024)}))
    run_due(store, [VERIFY])
    clock.now += 40 * DAY
    reads_before = counted.calls[Operation.READ]
    beaten = threading.Event()
    beat = duties.Claim._look_whether_paused

    def beating(claim: duties.Claim, queries: object) -> None:
        beat(claim, queries)  # type: ignore[arg-type]
        if scrub_status(store).paused_at is not None:
            beaten.set()

    def pause() -> None:
        pause_scrub(store)
        assert beaten.wait(30)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(duties.Claim, "_look_whether_paused", beating)
        counted.pause(Operation.READ, pause)
        (run,) = run_due(store, [VERIFY], patience=duties.Patience(heartbeat_s=0.05, runs_out_s=60))

    assert (INTERRUPTED, 1) == (run.outcome, counted.calls[Operation.READ] - reads_before)


# when it is late


def is_ready(store: Registry) -> tuple[bool, str]:
    check = CHECKS["scrub"](store)
    return check.ok, check.detail


def test_everything_is_read_within_the_days_there_are_and_the_scrub_is_never_late(
    store: Registry, clock: Clock
) -> None:
    store = replace(many_objects(store), verify_every_days=2)
    run_due(store, [VERIFY])

    seen = []
    for _ in range(5 * 24):
        run_every_hour(store, clock, 1)
        status = scrub_status(store)
        seen.append((status.is_overdue, status.coverage))

    assert not any(overdue for overdue, _ in seen)
    assert (1.0, True) == (seen[-1][1], is_ready(store)[0])
    assert status.ended_at is not None
    assert status.overdue_at == status.ended_at + 2 * DAY


def test_a_scrub_that_nobody_runs_is_late_and_the_server_is_not_ready(store: Registry, clock: Clock) -> None:
    store = many_objects(store)
    run_due(store, [VERIFY])
    run_every_hour(store, clock, 1)
    before = is_ready(store)
    clock.now += 30 * DAY + HOUR

    status = scrub_status(store)

    assert (True, "in time") == before
    assert status.is_overdue
    assert 0 < status.coverage < 0.1
    assert (False, "overdue") == is_ready(store)
    assert (True, "not asked") == is_ready(replace(store, ready_needs_scrub=False))
    assert (True, "off") == is_ready(replace(store, verify_every_days=0))


def test_a_paused_scrub_becomes_late_too(store: Registry, clock: Clock) -> None:
    run_due(store, [VERIFY])
    run_every_hour(store, clock, 1)
    pause_scrub(store)
    clock.now += 31 * DAY

    (duty,) = (each for each in store_status(store).duties if each.name == "verify")
    assert ("paused", False) == (duty.state, duty.is_overdue)
    assert scrub_status(store).is_overdue


def test_a_scrub_that_was_late_is_in_time_when_it_has_caught_up(store: Registry, clock: Clock) -> None:
    store = many_objects(store)
    run_due(store, [VERIFY])
    run_every_hour(store, clock, 1)
    clock.now += 40 * DAY
    assert scrub_status(store).is_overdue

    run_due(store, [VERIFY])

    assert (False, 1.0) == (scrub_status(store).is_overdue, scrub_status(store).coverage)


def test_what_it_has_found_is_shown(store: Registry, clock: Clock, home: Path) -> None:
    many_objects(store)
    run_due(store, [VERIFY])
    run_every_hour(store, clock, 1)
    flip_byte(objects_of_kind(home, ObjectKind.BLOB)[0], 100)
    clock.now += 40 * DAY

    run_due(store, [VERIFY])

    assert (1, 1) == (scrub_status(store).damage_found, scrub_status(store).damaged_objects)
