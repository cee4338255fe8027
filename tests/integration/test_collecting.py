"""Collection removes exactly what nothing refers to, and says beforehand and afterwards how much that is."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.domain.collection import CollectionPolicy
from artifactstore.errors import ClocksDisagreeError, DutyRunningError
from artifactstore.failpoints import arm
from artifactstore.registry.applying import apply_plan
from artifactstore.registry.collecting import CollectionReport, collect, space
from artifactstore.registry.emptying import MIGRATION
from artifactstore.registry.lease import Lease
from artifactstore.registry.planning import make_plan
from artifactstore.registry.registry import DEFAULT_BACKEND
from artifactstore.registry.turn import Turn
from artifactstore.registry.verify import verify_all
from artifactstore.testing.builders import put_bytes, some_bytes
from tests.retention import FILES, SMALL, expire, later, push
from tests.support import event_types, fetch, replay_is_exact, stored_objects

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry


@pytest.fixture
def registry(home: Path, database: dict[str, str]) -> Iterator[Registry]:
    """A store whose readers are given no time; its tables are what its log says when the test is over."""
    settings = Settings.from_environment({"ARTIFACTSTORE_HOME": str(home), **database})
    with closing(open_registry(settings, actor="local:tester")) as opened:
        yield replace(opened, collection=CollectionPolicy(grace_s=0))
        replay_is_exact(opened)


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    arm(None)


def collected(registry: Registry, *, wait_s: float = 0, unrecorded: bool = False) -> CollectionReport:
    return collect(registry, wait_s=wait_s, unrecorded=unrecorded, pause=lambda _: None)


def delete_all_expired(registry: Registry) -> int:
    """By a plan; the bytes that it says come free."""
    expire(registry)
    made = make_plan(registry)
    apply_plan(registry, made.digest)
    return made.totals.frees_bytes


def bytes_in(home: Path) -> int:
    return sum(map(len, stored_objects(home).values()))


class TestWhatIsRemoved:
    def test_nothing_where_everything_is_referred_to(self, registry: Registry, home: Path) -> None:
        push(registry)
        before = stored_objects(home)

        report = collected(registry)

        assert (True, 0) == (report.is_done, report.backends[DEFAULT_BACKEND].deleted)
        assert before == stored_objects(home)

    def test_what_is_expired_and_not_deleted_stays(self, registry: Registry, home: Path) -> None:
        push(registry)
        expire(registry)
        before = stored_objects(home)

        collected(registry)

        assert before == stored_objects(home)

    def test_the_bytes_of_a_deleted_package_go(self, registry: Registry, home: Path) -> None:
        push(registry)
        whole = bytes_in(home)
        frees = delete_all_expired(registry)
        before = bytes_in(home)

        report = collected(registry)

        assert report.is_done
        assert (whole, before - whole) == (frees, bytes_in(home))
        assert 3 == report.backends[DEFAULT_BACKEND].deleted

    def test_before_expected_and_after_agree_to_the_byte(self, registry: Registry, home: Path) -> None:
        push(registry)
        push(registry, {**SMALL, "other": some_bytes(2**20, 5)}, "run-2")
        frees = delete_all_expired(registry)
        push(registry, {"small-1": SMALL["small-1"], "kept": b"kept"}, "run-3")
        planned = space(registry).backends[DEFAULT_BACKEND]
        before = bytes_in(home)

        report = collected(registry)

        here = report.backends[DEFAULT_BACKEND]
        assert (before, planned.expected_bytes_after) == (planned.bytes_before, bytes_in(home))
        assert (here.bytes_after, here.bytes_before - here.deleted_bytes + here.grown_bytes) == (bytes_in(home),) * 2
        assert frees > planned.dead_bytes + planned.repack_frees_bytes, "run-3 came after the plan"

    @pytest.mark.parametrize("kept", [0, 1, 5, 15, 20])
    def test_a_plan_says_to_the_byte_what_collection_frees(self, registry: Registry, home: Path, kept: int) -> None:
        push(registry, SMALL, "run-1")
        expire(registry)
        push(registry, {**dict(list(SMALL.items())[:kept]), "own": b"own"}, "run-2")
        made = make_plan(registry)
        apply_plan(registry, made.digest)
        before = bytes_in(home)

        collected(registry)

        assert made.totals.frees_bytes == before - bytes_in(home)

    def test_a_blob_that_another_package_has_stays(self, registry: Registry, tmp_path: Path) -> None:
        push(registry)
        expire(registry)
        kept = push(registry, {**FILES, "own": b"own"}, "run-2")
        apply_plan(registry, make_plan(registry).digest)

        collected(registry)

        assert {**FILES, "own": b"own"} == fetch(registry, kept, tmp_path / "out")
        assert [] == verify_all(registry).damage

    def test_the_same_run_can_be_stored_again(self, registry: Registry, tmp_path: Path) -> None:
        push(registry)
        delete_all_expired(registry)
        collected(registry)

        again = push(registry, FILES, "run-2")

        assert FILES == fetch(registry, again, tmp_path / "out")
        assert [] == verify_all(registry).damage

    def test_the_same_again_does_nothing(self, registry: Registry) -> None:
        push(registry)
        delete_all_expired(registry)
        collected(registry)
        before = event_types(registry)

        report = collected(registry)

        assert (True, 0, before) == (report.is_done, report.backends[DEFAULT_BACKEND].deleted, event_types(registry))

    def test_what_writers_left_goes_if_it_is_looked_for(self, registry: Registry, home: Path) -> None:
        push(registry)
        before = stored_objects(home)
        put_bytes(registry.store, some_bytes(5_000, 7))

        unasked = collected(registry)
        with_it = stored_objects(home)
        asked = collected(registry, unrecorded=True)

        assert (0, 1) == tuple(each.backends[DEFAULT_BACKEND].unrecorded_objects for each in (unasked, asked))
        assert (len(before) + 1, before) == (len(with_it), stored_objects(home))


class TestRepacking:
    def test_a_pack_that_is_mostly_dead_becomes_smaller(self, registry: Registry, home: Path, tmp_path: Path) -> None:
        push(registry, SMALL, "run-1")
        expire(registry)
        kept = push(registry, {"small-1": SMALL["small-1"], "small-7": SMALL["small-7"]}, "run-2")
        apply_plan(registry, make_plan(registry).digest)

        report = collected(registry)

        assert report.is_done
        assert "v1.pack.repacked" in event_types(registry)
        assert {"small-1": SMALL["small-1"], "small-7": SMALL["small-7"]} == fetch(registry, kept, tmp_path / "out")
        assert [] == verify_all(registry).damage

    def test_a_pack_that_is_mostly_alive_stays(self, registry: Registry) -> None:
        push(registry, SMALL, "run-1")
        expire(registry)
        push(registry, dict(list(SMALL.items())[:15]), "run-2")
        apply_plan(registry, make_plan(registry).digest)

        collected(registry)

        assert "v1.pack.repacked" not in event_types(registry)

    def test_how_much_must_be_dead_is_a_setting(self, registry: Registry) -> None:
        push(registry, SMALL, "run-1")
        expire(registry)
        push(registry, dict(list(SMALL.items())[:15]), "run-2")
        eager = replace(registry, collection=CollectionPolicy(grace_s=0, repack_percent=10))
        apply_plan(eager, make_plan(eager).digest)

        collected(eager)

        assert "v1.pack.repacked" in event_types(registry)


class TestWaiting:
    def test_a_lease_of_before_is_waited_for(self, registry: Registry, home: Path) -> None:
        push(registry)
        delete_all_expired(registry)
        before = stored_objects(home)

        with Lease(registry, "ingest") as lease:
            lease.ensure_open()
            report = collected(registry)
            during = stored_objects(home)
            with registry.transaction() as tx:
                lease.end_in(tx)

        assert (3, 1, before) == (report.left, len(report.waiting_for), during)
        assert collected(registry).is_done

    def test_readers_have_their_time(self, registry: Registry, home: Path) -> None:
        push(registry)
        delete_all_expired(registry)
        before = stored_objects(home)
        patient = replace(registry, collection=CollectionPolicy(grace_s=60))

        report = collected(patient)

        assert (3, before) == (report.left, stored_objects(home))
        assert collected(registry).is_done

    def test_nothing_is_collected_by_a_clock_that_is_wrong(self, registry: Registry) -> None:
        push(registry)
        delete_all_expired(registry)

        for days in (-1, 1):
            with pytest.raises(ClocksDisagreeError):
                collected(later(registry, days))

        assert "v1.object.condemned" not in event_types(registry)

    def test_no_migration_is_under_way_meanwhile(self, registry: Registry) -> None:
        with Turn(registry, MIGRATION), pytest.raises(DutyRunningError):
            collected(registry)

    def test_it_stops_when_it_is_told_to(self, registry: Registry, home: Path) -> None:
        push(registry)
        delete_all_expired(registry)
        before = stored_objects(home)

        report = collect(registry, wait_s=0, may_go_on=lambda: "it is day")

        assert ("it is day", False, before) == (report.stopped, report.is_done, stored_objects(home))
