"""Collection removes exactly what nothing refers to, and says beforehand and afterwards how much that is."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.catalog.backends import content
from artifactstore.config import Settings
from artifactstore.domain.collection import CollectionPolicy, DailyWindow
from artifactstore.domain.instant import Instant
from artifactstore.errors import (
    ClaimLostError,
    ClocksDisagreeError,
    ConfigurationError,
    DutyRunningError,
    StorageFullError,
    StorageUnavailableError,
)
from artifactstore.failpoints import arm
from artifactstore.registry.applying import apply_plan
from artifactstore.registry.collecting import CollectionReport, collect, space
from artifactstore.registry.copying import copy_backend
from artifactstore.registry.duties import DONE, due_duties, run_if_free, run_now
from artifactstore.registry.emptying import MIGRATION, migrate
from artifactstore.registry.lease import Lease
from artifactstore.registry.planning import make_plan
from artifactstore.registry.progress import SILENT
from artifactstore.registry.registry import DEFAULT_BACKEND
from artifactstore.registry.sealing import seal_log
from artifactstore.registry.store_duties import COLLECT, collect_now
from artifactstore.registry.turn import Turn
from artifactstore.registry.verify import verify_all
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import put_bytes, some_bytes
from artifactstore.testing.faults import FaultyStore, Operation
from tests.retention import FILES, SMALL, delete_all_expired, expire, later, push, without_grace
from tests.support import event_types, fetch, objects_of_kind, overwrite, replay_is_exact, stored_objects
from tests.two_backends import ARCHIVE, DISK, keys_in, settings_from, two_directories

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry


@pytest.fixture
def registry(registry: Registry) -> Iterator[Registry]:
    """Its tables are what its log says when the test is over."""
    yield without_grace(registry)
    replay_is_exact(registry)


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    arm(None)


def collected(registry: Registry, *, wait_s: float = 0, unrecorded: bool = False) -> CollectionReport:
    return collect(registry, wait_s=wait_s, unrecorded=unrecorded, pause=lambda _: None)


def broken_off_at(step: str) -> Callable[[str], None]:
    def break_off(name: str) -> None:
        if name == step:
            raise StorageUnavailableError("broken off")

    return break_off


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
        frees = delete_all_expired(registry).totals.frees_bytes
        before = bytes_in(home)

        report = collected(registry)

        assert report.is_done
        assert (whole, before - whole) == (frees, bytes_in(home))
        assert 3 == report.backends[DEFAULT_BACKEND].deleted

    def test_before_expected_and_after_agree_to_the_byte(self, registry: Registry, home: Path) -> None:
        push(registry)
        push(registry, {**SMALL, "other": some_bytes(2**20, 5)}, "run-2")
        frees = delete_all_expired(registry).totals.frees_bytes
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

    @pytest.mark.parametrize("since", ["nothing", "a push"])
    def test_what_another_database_speaks_for_is_not_left_over(
        self, registry: Registry, tmp_path: Path, home: Path, since: str
    ) -> None:
        push(registry)
        emptied = {"ARTIFACTSTORE_HOME": str(tmp_path / "new"), "ARTIFACTSTORE_STORAGE_URL": f"file://{home}/objects"}

        with closing(open_registry(Settings.from_environment(emptied), actor="local:tester")) as other:
            if since == "a push":
                push(other, SMALL, "run-2")
            seal_log(registry)
            before = stored_objects(home)
            with pytest.raises(ConfigurationError, match="is not this database's"):
                space(other, unrecorded=True)
            with pytest.raises(ConfigurationError, match="is not this database's"):
                collected(other, unrecorded=True)

        assert before == stored_objects(home)
        assert verify_all(registry).damage == []

    def test_a_database_in_which_nothing_was_recorded_calls_nothing_left_over(
        self, registry: Registry, tmp_path: Path, home: Path
    ) -> None:
        push(registry)
        emptied = {"ARTIFACTSTORE_HOME": str(tmp_path / "new"), "ARTIFACTSTORE_STORAGE_URL": f"file://{home}/objects"}

        with (
            closing(open_registry(Settings.from_environment(emptied), actor="local:tester")) as other,
            pytest.raises(ConfigurationError, match="nothing was ever recorded"),
        ):
            collected(other, unrecorded=True)

        assert verify_all(registry).damage == []

    def test_a_segment_that_was_sealed_and_not_recorded_stays_and_is_not_announced(
        self, registry: Registry, home: Path
    ) -> None:
        push(registry)
        arm(broken_off_at("seal.before-record"))
        with pytest.raises(StorageUnavailableError):
            seal_log(registry)
        arm(None)
        before = stored_objects(home)

        asked = collected(registry, unrecorded=True).backends[DEFAULT_BACKEND]

        assert (0, 0, before) == (asked.unrecorded_objects, asked.deleted, stored_objects(home))
        assert asked.bytes_after == asked.expected_bytes_after


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

    def test_a_lease_that_another_clock_opened_just_after_is_waited_for(self, registry: Registry) -> None:
        """It may have been before, by the clock that condemned."""
        push(registry)
        delete_all_expired(registry)
        collected(replace(registry, collection=CollectionPolicy(grace_s=3_600)))
        a_little_ahead = later(registry, 30 / 86_400)

        with Lease(a_little_ahead, "ingest") as lease:
            lease.ensure_open()
            report = collected(registry)
            with registry.transaction() as tx:
                lease.end_in(tx)

        assert (False, 0) == (report.is_done, report.backends[DEFAULT_BACKEND].deleted)
        assert collected(registry).is_done

    def test_a_lease_of_a_process_that_is_gone_is_ended(self, registry: Registry) -> None:
        push(registry)
        delete_all_expired(registry)
        with registry.transaction() as tx:
            tx.open_lease("gone", "ingest", Instant(registry.clock() - 301 * 1_000_000))

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

        for days in (-1, 10):
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


class TestTheRate:
    def test_so_many_objects_a_second(self, registry: Registry) -> None:
        for number in range(4):
            push(registry, {"a": b"%d" % number}, f"run-{number}")
        delete_all_expired(registry)
        slow = replace(registry, collection=CollectionPolicy(grace_s=0, objects_per_s=3))
        pauses: list[float] = []

        report = collect(slow, wait_s=0, pause=pauses.append)

        assert (True, 8) == (report.is_done, report.backends[DEFAULT_BACKEND].deleted)
        assert [1.0, 1.0, 2 / 3] == pauses


class TestTheDuty:
    def run(self, registry: Registry) -> dict[str, object]:
        due_duties(registry, [COLLECT])  # notes it
        run = run_if_free(registry, COLLECT)
        assert run is not None
        assert (DONE, None) == (run.outcome, run.error)
        return run.detail or {}

    def test_one_run_condemns_and_the_next_deletes(self, registry: Registry, home: Path) -> None:
        push(registry)
        delete_all_expired(registry)
        there = len(stored_objects(home))
        patient = replace(registry, collection=CollectionPolicy(grace_s=3_600))

        first = self.run(patient)
        second = self.run(registry)

        assert ((0, 3), (3, 0)) == ((first["deleted"], first["left"]), (second["deleted"], second["left"]))
        assert there - 3 == len(stored_objects(home))

    def test_nothing_is_looked_for_where_nothing_was_deleted(
        self, registry: Registry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        push(registry)
        delete_all_expired(registry)
        self.run(registry)
        push(registry, {"b": b"b"}, "run-2")

        monkeypatch.setattr("artifactstore.registry.store_duties.collect", lambda *_, **__: pytest.fail("it looked"))

        self.run(registry)

    def test_outside_its_hours_it_does_nothing_and_within_them_all(self, registry: Registry, home: Path) -> None:
        push(registry)
        delete_all_expired(registry)
        before = stored_objects(home)
        minute = registry.clock() // 60_000_000 % 1_440
        closed = DailyWindow((minute + 60) % 1_440, (minute + 120) % 1_440)
        wide_open = DailyWindow((minute - 60) % 1_440, (minute + 60) % 1_440)

        outside = self.run(replace(registry, collection=CollectionPolicy(grace_s=0, window=closed)))
        untouched = stored_objects(home)
        within = self.run(replace(registry, collection=CollectionPolicy(grace_s=0, window=wide_open)))

        assert (True, before, 3) == (outside["outside_its_hours"], untouched, within["deleted"])

    def test_by_hand_it_is_done_at_any_time(self, registry: Registry) -> None:
        push(registry)
        delete_all_expired(registry)
        minute = registry.clock() // 60_000_000 % 1_440
        closed = DailyWindow((minute + 60) % 1_440, (minute + 120) % 1_440)

        store = replace(registry, collection=CollectionPolicy(grace_s=0, window=closed))
        report = collect_now(store, wait_s=0, unrecorded=False, progress=SILENT)

        assert (True, 3) == (report.is_done, report.backends[DEFAULT_BACKEND].deleted)

    def test_two_do_not_collect_at_once(self, registry: Registry) -> None:
        with pytest.raises(DutyRunningError):
            run_now(
                registry,
                replace(COLLECT, act=lambda inner, _: run_now(inner, COLLECT, wait_s=0)),
            )

    def test_one_that_was_taken_over_deletes_nothing_more(self, registry: Registry, home: Path) -> None:
        push(registry)
        delete_all_expired(registry)
        before = stored_objects(home)

        def taken_over(name: str) -> None:
            if name == "collect.before-begun":
                arm(None)
                with registry.transaction() as tx:
                    tx.connection.execute("UPDATE duty SET holder = 'another' WHERE name = 'collect'")

        due_duties(registry, [COLLECT])  # notes it
        arm(taken_over)
        run = run_if_free(registry, COLLECT)

        assert run is not None
        assert isinstance(run.error, ClaimLostError)
        assert before == stored_objects(home)


class TestSeveralBackends:
    @pytest.fixture
    def registry(self, home: Path, database: dict[str, str]) -> Iterator[Registry]:
        with closing(open_registry(settings_from({**two_directories(home), **database}), actor="local:x")) as opened:
            yield without_grace(opened)
            replay_is_exact(opened)

    def test_copies_go_too_and_are_counted_by_backend(self, registry: Registry) -> None:
        push(registry)
        copy_backend(registry, DISK, ARCHIVE)
        sizes = {name: bytes_recorded(registry, name) for name in (DISK, ARCHIVE)}
        made = delete_all_expired(registry)

        report = collected(registry)

        assert sizes == made.totals.frees_by_backend
        assert sizes == {name: here.deleted_bytes for name, here in report.backends.items()}
        assert set() == keys_in(registry, ARCHIVE)

    def test_what_is_emptied_is_left_to_where_it_goes(self, registry: Registry) -> None:
        push(registry)
        migrate(registry, DISK, ARCHIVE, wait_s=0, grace_s=0)
        delete_all_expired(registry)

        report = collected(registry)

        assert ([DISK], True) == (report.being_emptied, report.is_done)
        assert 3 == report.backends[ARCHIVE].deleted

    def test_a_migration_after_condemning_moves_what_is_alive(self, registry: Registry, tmp_path: Path) -> None:
        push(registry)
        kept = push(registry, {"kept": b"kept"}, "run-2") and push(registry, {"more": b"more"}, "run-3")
        with registry.transaction() as tx:
            tx.connection.execute("UPDATE package SET expires_at = NULL WHERE package_id = ?", (kept,))
        delete_all_expired(registry)
        collected(replace(registry, collection=CollectionPolicy(grace_s=3_600)))

        migrate(registry, DISK, ARCHIVE, wait_s=0, grace_s=0)
        report = collected(registry)

        assert report.is_done
        assert {"more": b"more"} == fetch(registry, kept, tmp_path / "out")
        assert [] == verify_all(registry).damage
        with registry.transaction() as tx:  # as the log says it
            tx.connection.execute("UPDATE package SET expires_at = finalized_at WHERE package_id = ?", (kept,))


class TestStorageThatFails:
    @pytest.fixture
    def faulty(self, registry: Registry) -> tuple[Registry, FaultyStore]:
        store = FaultyStore(registry.store)
        return replace(registry, backends={DEFAULT_BACKEND: store}), store

    def test_a_full_disk_while_a_pack_becomes_smaller_changes_nothing(
        self, faulty: tuple[Registry, FaultyStore], tmp_path: Path
    ) -> None:
        registry, store = faulty
        push(registry, SMALL, "run-1")
        expire(registry)
        kept = push(registry, {"small-1": SMALL["small-1"]}, "run-2")
        apply_plan(registry, make_plan(registry).digest)
        store.fail(Operation.COMMIT, StorageFullError("no room"))

        with pytest.raises(StorageFullError):
            collected(registry)
        assert "v1.pack.repacked" not in event_types(registry)
        store.mend()

        assert collected(registry).is_done
        assert {"small-1": SMALL["small-1"]} == fetch(registry, kept, tmp_path / "out")

    def test_a_full_disk_keeps_nothing_that_is_dead(self, faulty: tuple[Registry, FaultyStore]) -> None:
        """Else a disk that is full stays full."""
        registry, store = faulty
        push(registry)
        expire(registry)
        push(registry, {"small-1": SMALL["small-1"]}, "run-2")
        apply_plan(registry, make_plan(registry).digest)
        store.fail(Operation.COMMIT, StorageFullError("no room"))

        with pytest.raises(StorageFullError):
            collected(registry)

        assert 2 == event_types(registry).count("v1.object.deleted"), "the large blob and the manifest"
        store.mend()
        assert collected(registry).is_done
        assert "v1.pack.repacked" in event_types(registry)

    def test_what_cannot_be_deleted_is_deleted_by_the_next_run(self, faulty: tuple[Registry, FaultyStore]) -> None:
        registry, store = faulty
        push(registry)
        delete_all_expired(registry)
        store.fail(Operation.DELETE, StorageUnavailableError("timed out"), call=2)

        with pytest.raises(StorageUnavailableError):
            collected(registry)
        assert "v1.object.deleted" not in event_types(registry)

        assert collected(registry).is_done

    def test_a_damaged_pack_is_left_to_verify(self, registry: Registry, home: Path) -> None:
        push(registry, SMALL, "run-1")
        expire(registry)
        push(registry, {"small-1": SMALL["small-1"]}, "run-2")
        apply_plan(registry, make_plan(registry).digest)
        (pack,) = [path for path in objects_of_kind(home, ObjectKind.PACK) if path.stat().st_size > 10_000]
        overwrite(pack, bytes(pack.stat().st_size))

        report = collected(registry)

        assert report.is_done
        assert "v1.pack.repacked" not in event_types(registry)
        assert pack.exists()


def bytes_recorded(registry: Registry, backend: str) -> int:
    with registry.catalog.snapshot() as queries:
        return content(queries.connection, backend)[1]
