"""Holds and extensions that come while others sweep, apply and collect: each order is forced, and who keeps wins."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.domain.instant import MICROSECONDS_PER_DAY, Instant
from artifactstore.errors import PackageStateError
from artifactstore.failpoints import arm
from artifactstore.registry import applying
from artifactstore.registry.applying import apply_plan
from artifactstore.registry.collecting import collect
from artifactstore.registry.packages import find_package
from artifactstore.registry.planning import make_plan
from artifactstore.registry.retention import extend_retention, place_hold, sweep
from tests.retention import FILES, push, without_grace
from tests.support import fetch, replay_is_exact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry

    Keep = Callable[[Registry, str], object]


@pytest.fixture
def other(home: Path, database: dict[str, str], registry: Registry) -> Iterator[Registry]:
    """The same store as another process has it open, with connections of its own."""
    settings = Settings.from_environment({"ARTIFACTSTORE_HOME": str(home), **database})
    with closing(open_registry(settings, actor="local:keeper", upgrade=False)) as opened:
        yield opened
    arm(None)
    replay_is_exact(registry)


def hold(store: Registry, package_id: str) -> None:
    place_hold(store, package_id, reason="audit")


def extend(store: Registry, package_id: str) -> None:
    in_a_week = Instant(store.clock() + 7 * MICROSECONDS_PER_DAY)
    extend_retention(store, package_id, in_a_week, reason="still needed")


KEEP: dict[str, Keep] = {"hold": hold, "extension": extend}


class Elsewhere(threading.Thread):
    """Does something in another thread, when this one passes a failpoint for the first time."""

    def __init__(self, failpoint: str, action: Callable[[], object], *, waits: bool) -> None:
        super().__init__(name="keeper")
        self._failpoint, self._action, self._waits = failpoint, action, waits
        self.begun = threading.Event()
        self.error: Exception | None = None
        self._watched = threading.get_ident()
        arm(self._pass_by)

    def _pass_by(self, name: str) -> None:
        if name != self._failpoint or threading.get_ident() != self._watched or self.begun.is_set():
            return
        self.begun.set()
        self.start()
        if self._waits:
            self.join()

    def run(self) -> None:
        try:
            self._action()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def end(self) -> None:
        arm(None)
        assert self.begun.is_set()
        self.join(60)


def expired_packages(registry: Registry) -> list[str]:
    ids = sorted(push(registry, {**FILES, "n": b"%d" % number}, f"run-{number}") for number in range(3))
    assert ids == sorted(sweep(registry))
    return ids


def status_of(registry: Registry, package_id: str) -> str:
    return find_package(registry, package_id)[0].status


def collect_all(registry: Registry) -> None:
    hasty = without_grace(registry)
    assert collect(hasty, wait_s=0, pause=lambda _: None).is_done


@pytest.mark.parametrize("keep", KEEP)
def test_what_is_kept_between_plan_and_apply_stays(
    registry: Registry, other: Registry, tmp_path: Path, keep: str
) -> None:
    first, *rest = expired_packages(registry)
    made = make_plan(registry)

    KEEP[keep](other, first)
    report = apply_plan(registry, made.digest)
    collect_all(registry)

    assert (len(rest), [first]) == (report.deleted, [skipped.package_id for skipped in report.skipped_first])
    assert len(FILES) + 1 == len(fetch(registry, first, tmp_path / "out"))


@pytest.mark.parametrize("keep", KEEP)
def test_what_is_kept_while_a_plan_is_applied_stays(
    registry: Registry, other: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: str
) -> None:
    monkeypatch.setattr(applying, "_BATCH", 1)
    *rest, last = expired_packages(registry)
    made = make_plan(registry)
    keeper = Elsewhere("apply.after-batch", lambda: KEEP[keep](other, last), waits=True)

    report = apply_plan(registry, made.digest)
    keeper.end()
    collect_all(registry)

    assert (None, len(rest), [last]) == (
        keeper.error,
        report.deleted,
        [each.package_id for each in report.skipped_first],
    )
    assert len(FILES) + 1 == len(fetch(registry, last, tmp_path / "out"))


@pytest.mark.parametrize("keep", KEEP)
def test_who_comes_when_the_package_is_being_deleted_is_told(registry: Registry, other: Registry, keep: str) -> None:
    """Never both: a hold or an extension that was answered with success, and a package that is deleted."""
    first, *_ = expired_packages(registry)
    made = make_plan(registry)
    keeper = Elsewhere("catalog.after-v1.package.deleted", lambda: KEEP[keep](other, first), waits=False)

    apply_plan(registry, made.digest)
    keeper.end()

    assert isinstance(keeper.error, PackageStateError)
    assert "deleted" == status_of(registry, first)


def test_an_extension_between_the_mark_and_the_deletion_brings_a_package_back(
    registry: Registry, other: Registry, tmp_path: Path
) -> None:
    package_id = push(registry)
    keeper = Elsewhere("catalog.after-v1.package.expired", lambda: extend(other, package_id), waits=False)

    swept = sweep(registry)
    keeper.end()
    if keeper.error is not None:  # it came first: there was nothing to bring back, but it counts
        raise keeper.error
    report = apply_plan(registry, make_plan(registry).digest)
    collect_all(registry)

    assert [package_id] == swept
    assert (0, "finalized", None) == (
        report.deleted, status_of(registry, package_id), find_package(registry, package_id)[0].expired_at,
    )  # fmt: skip
    assert FILES == fetch(registry, package_id, tmp_path / "out")
    assert [] == sweep(registry)


def test_a_hold_while_a_sweep_marks_keeps_from_deletion(registry: Registry, other: Registry, tmp_path: Path) -> None:
    package_id = push(registry)
    keeper = Elsewhere("catalog.after-v1.package.expired", lambda: hold(other, package_id), waits=False)

    sweep(registry)
    keeper.end()
    report = apply_plan(registry, make_plan(registry).digest)
    collect_all(registry)

    assert (None, 0, "expired") == (keeper.error, report.deleted, status_of(registry, package_id))
    assert FILES == fetch(registry, package_id, tmp_path / "out")


@pytest.mark.parametrize("keep", KEEP)
def test_between_condemning_and_deleting_nothing_is_kept_any_more_and_that_is_said(
    registry: Registry, other: Registry, keep: str
) -> None:
    first, *_ = expired_packages(registry)
    apply_plan(registry, make_plan(registry).digest)
    keeper = Elsewhere("collect.after-condemned", lambda: KEEP[keep](other, first), waits=True)

    collect_all(registry)
    keeper.end()

    assert isinstance(keeper.error, PackageStateError)
