"""Clocks that are wrong: nothing expires, is deleted or is collected too early, and the log's times never go back.

On a SQLite file and a directory no clock but the host's can be asked: there a leap is told by the last sweep.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.catalog.catalog import Catalog
from artifactstore.config import Settings
from artifactstore.domain.collection import CollectionPolicy
from artifactstore.domain.instant import MICROSECONDS_PER_DAY, Instant, instant_of, instant_text
from artifactstore.domain.package import PackageStatus
from artifactstore.domain.retention import RetentionClass
from artifactstore.errors import ClocksDisagreeError
from artifactstore.registry import clocks
from artifactstore.registry.applying import apply_plan
from artifactstore.registry.collecting import collect
from artifactstore.registry.duties import DONE, FAILED, Duty, run_due
from artifactstore.registry.events import list_events
from artifactstore.registry.ingest import ingest
from artifactstore.registry.packages import find_package
from artifactstore.registry.planning import make_plan
from artifactstore.registry.retention import extend_retention, sweep
from artifactstore.registry.store_duties import SWEEP, sweep_now
from artifactstore.testing.builders import package_draft
from tests.retention import FILES
from tests.support import event_types, fetch, replay_is_exact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry

SECOND, HOUR, DAY = 1_000_000, 3_600_000_000, MICROSECONDS_PER_DAY
YEAR = 365 * DAY
NOON = instant_of(datetime.fromisoformat("2026-11-20T12:00:00Z"))
BEFORE_MIDNIGHT = instant_of(datetime.fromisoformat("2026-12-31T23:59:59.999999Z"))
BERLIN = ZoneInfo("Europe/Berlin")
BEFORE_SUMMER_TIME = instant_of(datetime(2026, 3, 29, 1, 59, 59, 999_999, tzinfo=BERLIN))
BEFORE_WINTER_TIME = instant_of(datetime(2026, 10, 25, 2, 59, 59, 999_999, tzinfo=BERLIN, fold=0))


@dataclass(slots=True)
class Host:
    """A store on one host, whose clock may be wrong, and the time that it really is."""

    registry: Registry
    time: int
    ahead: int = 0

    def clock(self) -> Instant:
        return Instant(self.time + self.ahead)

    def pass_by(self, how_long: int) -> None:
        """So much time passes, and a server sweeps every day of it."""
        end = self.time + how_long
        while self.time < end:
            self.time = min(self.time + DAY, end)
            self.sweep()

    def sweep(self) -> str:
        """What becomes of the duty, if it is due."""
        return next((run.outcome for run in run_due(self.registry, [SWEEP])), "not due")

    def status(self, package_id: str) -> str:
        return find_package(self.registry, package_id)[0].status


@pytest.fixture
def registry(home: Path, database: dict[str, str]) -> Iterator[Registry]:
    """What was recorded can be replayed when a test is over, and its times do not go back."""
    opened = open_registry(
        Settings.from_environment({"ARTIFACTSTORE_HOME": str(home), **database}), actor="local:tester"
    )
    yield opened
    assert all(one.at <= other.at for one, other in pairwise(list_events(opened, limit=10_000)))
    replay_is_exact(opened)
    opened.close()


@pytest.fixture
def host(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Host:
    """PostgreSQL has a clock of its own, which tells what time it is; a SQLite file has none."""
    host = Host(registry, NOON)
    catalog = Catalog(registry.catalog._database, host.clock)
    policy = CollectionPolicy(grace_s=0)
    host.registry = replace(registry, catalog=catalog, clock=host.clock, collection=policy)
    if registry.catalog.database_kind != "sqlite":
        monkeypatch.setattr(clocks.collecting, "database_time", lambda _: host.time)
    return host


def push(host: Host, name: str = "run-1") -> str:
    """A package that is kept for a week."""
    draft = replace(package_draft(dict(FILES), external_id=name), retention_class=RetentionClass.TRANSIENT)
    return ingest(host.registry, draft).package_id


def do_everything(host: Host) -> list[str]:
    """Sweep, plan, apply, collect, twice; the codes of what was refused."""
    refused: list[str] = []
    for _ in range(2):
        refused += [host.sweep()]
        try:
            apply_plan(host.registry, make_plan(host.registry).digest)
            collect(host.registry, wait_s=0, pause=lambda _: None)
        except ClocksDisagreeError as error:
            refused.append(error.code)
        host.time += 2 * SECOND
    return refused


WRONG = {
    "a year ahead": (NOON, YEAR),
    "a month ahead": (NOON, 30 * DAY),
    "nine days ahead": (NOON, 9 * DAY),
    "an hour ahead": (NOON, HOUR),
    "a second ahead": (NOON, SECOND),
    "a second behind": (NOON, -SECOND),
    "an hour behind": (NOON, -HOUR),
    "a year behind": (NOON, -YEAR),
    "over midnight and New Year": (BEFORE_MIDNIGHT, SECOND),
    "into summer time": (BEFORE_SUMMER_TIME, HOUR),
    "into winter time": (BEFORE_WINTER_TIME, -HOUR),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_nothing_ends_early_by_a_clock_that_is_wrong(host: Host, tmp_path: Path, wrong: str) -> None:
    begin, ahead = WRONG[wrong]
    host.time = begin - 5 * DAY
    package_id = push(host)
    host.pass_by(5 * DAY)

    host.ahead = ahead
    do_everything(host)
    push(host, "while it was wrong")
    do_everything(host)
    while_wrong = host.status(package_id)
    host.ahead = 0

    assert "finalized" == while_wrong
    assert FILES == fetch(host.registry, package_id, tmp_path / "out")
    assert "v1.object.condemned" not in event_types(host.registry)


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_due_ends_when_the_clock_is_right_again(host: Host, wrong: str) -> None:
    begin, ahead = WRONG[wrong]
    host.time = begin - 5 * DAY
    package_id = push(host)
    host.pass_by(5 * DAY)
    host.ahead = ahead
    do_everything(host)
    host.ahead = 0

    host.pass_by(2 * DAY + HOUR)
    host.time += 3 * HOUR
    host.sweep()
    report = apply_plan(host.registry, make_plan(host.registry).digest)

    assert (1, "deleted") == (report.deleted, host.status(package_id))


def test_a_clock_that_stands_still_ends_nothing(host: Host) -> None:
    package_id = push(host)
    frozen = replace(host.registry, clock=lambda: Instant(NOON))
    host.time += 3 * SECOND if host.registry.catalog.database_kind != "sqlite" else 30 * DAY

    for _ in range(3):
        assert [] == sweep_now(frozen)

    assert "finalized" == host.status(package_id)


def test_a_clock_that_stands_still_while_the_database_s_goes_on_is_noticed(host: Host) -> None:
    push(host)
    frozen = replace(host.registry, clock=lambda: Instant(NOON))
    host.time += HOUR
    if host.registry.catalog.database_kind == "sqlite":
        assert [] == sweep_now(frozen)
        return

    with pytest.raises(ClocksDisagreeError, match=r"the database is \+3600 s"):
        sweep_now(frozen)


def test_a_leap_is_refused_shown_and_believed_when_it_has_lasted_as_long_again(host: Host) -> None:
    package_id = push(host)
    host.pass_by(HOUR)
    host.time += 20 * DAY  # nobody ran a server meanwhile

    first = host.sweep()
    seen = host.status(package_id)
    host.pass_by(191 * HOUR)
    before = host.status(package_id)
    host.pass_by(4 * HOUR)

    assert (FAILED, "finalized", "finalized") == (first, seen, before)
    assert "expired" == host.status(package_id)


def test_a_leap_is_believed_at_once_if_somebody_says_so(host: Host) -> None:
    package_id = push(host)
    host.pass_by(HOUR)
    host.time += 20 * DAY

    with pytest.raises(ClocksDisagreeError, match="480 hours later than") as caught:
        sweep_now(host.registry)
    swept = sweep_now(host.registry, clock_is_right=True)

    assert "--clock-is-right" in caught.value.hint
    assert [package_id] == swept
    host.pass_by(HOUR)
    assert [] == sweep_now(host.registry)


def test_what_another_clock_says_stands_whatever_somebody_says(host: Host) -> None:
    if host.registry.catalog.database_kind == "sqlite":
        host.registry = replace(host.registry, backends={"default": _Timed(host.registry.store, host)})
    package_id = push(host)
    host.ahead = YEAR

    with pytest.raises(ClocksDisagreeError, match="-31536000 s from this host's"):
        sweep_now(host.registry, clock_is_right=True)

    assert "finalized" == host.status(package_id)


@pytest.mark.parametrize("ahead", [6 * 60 * SECOND, HOUR, -HOUR])
def test_where_another_clock_can_be_asked_nothing_ends_even_an_hour_too_early(host: Host, ahead: int) -> None:
    if host.registry.catalog.database_kind == "sqlite":
        host.registry = replace(host.registry, backends={"default": _Timed(host.registry.store, host)})
    package_id = push(host)
    host.pass_by(7 * DAY - 60 * SECOND)
    host.time += 2 * HOUR if ahead < 0 else 0
    host.ahead = ahead

    with pytest.raises(ClocksDisagreeError, match="s from this host's"):
        sweep_now(host.registry)
    for refused in (make_plan, lambda store: collect(store, wait_s=0)):
        with pytest.raises(ClocksDisagreeError):
            refused(host.registry)

    assert "finalized" == host.status(package_id)


class _Timed:
    """A backend that tells the time, as a bucket does."""

    def __init__(self, store: object, host: Host) -> None:
        self._store, self._host = store, host

    def server_time(self) -> int:
        return self._host.time

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


def test_any_leap_is_believed_where_the_setting_says_so(host: Host) -> None:
    package_id = push(host)
    host.time += 20 * DAY
    host.registry = replace(host.registry, sweep_max_leap_hours=0)

    assert [package_id] == sweep_now(host.registry)


def test_events_of_the_future_stop_everything_until_somebody_says_that_the_clock_is_right(host: Host) -> None:
    package_id = push(host)
    host.ahead = YEAR
    push(host, "of the future")
    host.ahead = 0
    host.time += 8 * DAY
    some = replace(host.registry, sweep_max_leap_hours=0)

    for refused in (sweep_now, make_plan):
        with pytest.raises(ClocksDisagreeError, match="in the future"):
            refused(some)
    swept = sweep_now(some, clock_is_right=True)

    assert [package_id] == swept
    assert 1 == apply_plan(some, make_plan(some).digest).deleted
    assert collect(some, wait_s=0, pause=lambda _: None).is_done
    host.time += HOUR
    assert DONE == host.sweep(), "it is remembered"


def test_what_a_wrong_clock_has_marked_is_not_deleted_by_a_right_one(host: Host) -> None:
    """Where nothing could tell: the leap was not long, or the store was believed to be so old."""
    package_id = push(host)
    host.time += 7 * DAY - HOUR
    sweep(replace(host.registry, clock=lambda: Instant(host.time + 2 * HOUR)))
    assert "expired" == host.status(package_id)

    made = make_plan(host.registry)
    early = apply_plan(host.registry, made.digest)
    host.time += HOUR
    in_time = apply_plan(host.registry, made.digest)

    assert (0, 1) == (early.deleted, in_time.deleted)
    assert "it was marked by a clock that was ahead" in early.skipped_first[0].reason


def test_what_was_marked_too_early_is_kept_by_an_extension(host: Host, tmp_path: Path) -> None:
    package_id = push(host)
    sweep(replace(host.registry, clock=lambda: Instant(host.time + YEAR)))

    extend_retention(host.registry, package_id, Instant(host.time + 8 * DAY), reason="a clock was wrong")

    assert PackageStatus.FINALIZED == host.status(package_id)
    assert FILES == fetch(host.registry, package_id, tmp_path / "out")


@pytest.mark.parametrize("ahead", [YEAR, HOUR, -HOUR, -SECOND])
def test_a_duty_runs_again_after_a_clock_was_wrong(host: Host, ahead: int) -> None:
    ran: list[int] = []
    duty = Duty("test", 3_600, lambda *_: {"ran": ran.append(host.time)})
    run_due(host.registry, [duty])
    host.ahead = ahead
    run_due(host.registry, [duty])
    host.ahead = 0

    host.time += 2 * HOUR + 1
    run_due(host.registry, [duty])

    assert host.time == ran[-1]


@pytest.mark.parametrize("ahead", [YEAR, -YEAR])
def test_a_lease_is_waited_for_whatever_the_clock_says(host: Host, ahead: int) -> None:
    """A writer at work while the clock leaps: either nothing is collected, or it stores anew what was."""
    package_id = push(host)
    host.time += 8 * DAY
    sweep_now(host.registry, clock_is_right=True)
    apply_plan(host.registry, make_plan(host.registry).digest)
    with host.registry.transaction() as tx:
        tx.open_lease("writer", "ingest", host.clock())

    host.ahead = ahead
    with suppress(ClocksDisagreeError):
        collect(host.registry, wait_s=0, pause=lambda _: None)
    host.ahead = 0

    assert "deleted" == host.status(package_id)
    assert "v1.object.deleted" not in event_types(host.registry)


def test_the_row_of_the_duty_tells_of_the_leap(host: Host) -> None:
    push(host)
    host.pass_by(HOUR)
    believed_at = host.time
    host.ahead = YEAR

    host.time += HOUR
    (run,) = run_due(host.registry, [SWEEP])

    assert isinstance(run.error, ClocksDisagreeError)
    if host.registry.catalog.database_kind == "sqlite":
        assert {
            "clock_doubted_at": instant_text(host.clock()),
            "clock_leapt_from": instant_text(believed_at),
        } == run.detail
        json.dumps(run.detail)
