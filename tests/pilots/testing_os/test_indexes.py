"""The indexes in SQL: those of a scan of the original's tree, whatever order records come in, and replayed the same."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.bootstrap import scratch_database
from artifactstore.catalog.catalog import Catalog
from artifactstore.config import Settings
from artifactstore.domain.events import PackageOpened
from artifactstore.domain.instant import system_clock
from artifactstore.errors import ReplayMismatchError
from artifactstore.pilots.testing_os import records
from artifactstore.pilots.testing_os.formats import instant_ms
from artifactstore.pilots.testing_os.index_documents import NO_INSTANT, documents, surfaces_of
from artifactstore.pilots.testing_os.recorded import SubmissionRecorded
from artifactstore.registry.events import check_replay
from tests.at_once import at_once
from tests.pilots.testing_os.folding import folded, rows_of_tree
from tests.pilots.testing_os.judging import AS_OF, submission
from tests.pilots.testing_os.store import RecordStore
from tests.pilots.testing_os.test_index_documents import RECORDS, path_of, record
from tests.support import replay_is_exact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from artifactstore.registry.registry import Registry

Drawn = tuple[str, str, str, list[str], str, bool]


@pytest.fixture
def store(registry: Registry, home: Path) -> RecordStore:
    return RecordStore(registry, Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)}))


def events_of(files: Mapping[str, dict[str, Any]]) -> Iterator[tuple[PackageOpened, SubmissionRecorded]]:
    """Each record as it would be recorded."""
    for number, (path, each) in enumerate(files.items()):
        package = f"package-{number}"
        opened = PackageOpened(package_id=package, producer="testing-os", revision=1, opened_at=1, external_id=path)
        yield (
            opened,
            SubmissionRecorded(
                package_id=package,
                external_id=path,
                repo=each["repo"],
                run_id=each["run_id"],
                profile="default",
                status=each["verification"]["status"],
                verified=each["overall_verdict"]["verified"],
                may_be_replaced=False,
                finished_at=each["timing"]["finished_at"],
                path=path,
                surfaces=surfaces_of(each),
                recorded_at=1,
                finished_ms=instant_ms(each["timing"]["finished_at"]),
            ),
        )


def tree_of(drawn: list[Drawn]) -> dict[str, dict[str, Any]]:
    files = {}
    for repo, run_id, instant, surfaces, verdict, is_rejected in drawn:
        status = "rejected" if is_rejected and verdict == "fail" else "accepted"
        each = record(repo, run_id, instant, surfaces=surfaces, verified=verdict, status=status)
        files[path_of(repo, run_id, rejected=is_rejected)] = each
    return files


def failing_since(files: Mapping[str, dict[str, Any]]) -> dict[tuple[str, str], int | None]:
    """Read from the rule: the first that finished and has not passed since one did last."""
    rows = [row for row in rows_of_tree(files) if row.status == "accepted"]
    found: dict[tuple[str, str], int | None] = {}
    for latest in folded(rows):
        key = (latest.repo, latest.surface)
        here = [(row.finished_ms, row.verified) for row in rows if (row.repo, row.surface) == key]
        passed = max((ms for ms, verified in here if verified == "pass"), default=NO_INSTANT)
        since = min((ms for ms, verified in here if verified != "pass" and ms >= passed), default=None)
        found[key] = None if latest.verified == "pass" else since
    return found


def counts_of(files: Mapping[str, dict[str, Any]]) -> records.Counts:
    statuses = [each["verification"]["status"] for each in files.values()]
    return records.Counts(statuses.count("accepted"), statuses.count("rejected"))


def counts_in(store: RecordStore) -> records.Counts:
    with store.registry.catalog.snapshot() as queries:
        return records.counts(queries.connection)


@settings(max_examples=60)
@given(RECORDS, st.randoms(use_true_random=False))
def test_the_documents_from_sql_are_those_over_all_records_to_the_byte(drawn: Any, chance: random.Random) -> None:
    files = tree_of(drawn)
    wanted = documents(folded(rows_of_tree(files)), as_of=AS_OF)
    happened = list(events_of(files))
    chance.shuffle(happened)

    with scratch_database() as database:
        catalog = Catalog(database, system_clock)
        for events in happened:
            with catalog.transaction("local:x") as tx:
                tx.record(*events)
        with catalog.snapshot() as queries:
            found, counts = records.surfaces(queries.connection), records.counts(queries.connection)

    assert counts_of(files) == counts
    assert wanted.files() == documents(found, as_of=AS_OF).files()
    assert failing_since(files) == {(each.repo, each.surface): each.failing_since_ms for each in found}


def test_writers_at_once_leave_what_one_after_the_other_would(store: RecordStore) -> None:
    chance = random.Random(7)
    drawn: list[Drawn] = [
        (f"o/r{chance.randrange(3)}", str(number), f"2026-03-{chance.randrange(10, 19)}T00:00:00Z",
         chance.sample(["cli", "web", "api"], chance.randrange(1, 4)), chance.choice(["pass", "fail"]), False)
        for number in range(160)
    ]  # fmt: skip
    files = tree_of(drawn)
    happened = list(events_of(files))

    def work(number: int) -> None:
        for events in happened[number::8]:
            with store.registry.transaction() as tx:
                tx.record(*events)

    assert [None] * 8 == at_once(8, work)
    wanted = documents(folded(rows_of_tree(files)), as_of=AS_OF)
    assert wanted.files() == store.indexes().files()
    assert failing_since(files) == store.failing_since()
    assert counts_of(files) == counts_in(store)
    replay_is_exact(store.registry)


def test_a_surface_fails_since_the_first_that_has_not_passed(store: RecordStore) -> None:
    for day, verdict in ((10, "fail"), (13, "partial"), (11, "pass"), (12, "fail")):
        changes = {
            "/run_id": f"d{day}", "/timing/finished_at": f"2026-03-{day}T00:00:00Z", "/overall_verdict": verdict,
            "/scenario_results/0/product_surface": "cli",
        }  # fmt: skip
        store.ingest(submission(changes))

    (since,) = store.failing_since().values()
    assert since == instant_ms("2026-03-12T00:00:00Z")


def test_a_pass_that_comes_late_does_not_hide_what_fails_since(store: RecordStore) -> None:
    for day, verdict in ((10, "fail"), (12, "fail"), (11, "pass"), (13, "pass")):
        before = store.failing_since()
        changes = {
            "/run_id": f"d{day}", "/timing/finished_at": f"2026-03-{day}T00:00:00Z", "/overall_verdict": verdict,
        }  # fmt: skip
        store.ingest(submission(changes))

    assert {instant_ms("2026-03-12T00:00:00Z")} == {*before.values()}
    assert {None} == {*store.failing_since().values()}


def test_a_rejection_and_the_record_that_took_its_place_are_two(store: RecordStore) -> None:
    before = counts_in(store)
    store.ingest(submission({"/run_id": "r", "/policy_version": "1.0.0"}))
    rejected = counts_in(store)
    store.ingest(submission({"/run_id": "r"}))
    store.ingest(submission({"/run_id": "r"}))

    assert [(0, 0), (0, 1), (1, 1)] == [before, rejected, counts_in(store)]


def test_a_repositorys_history_is_in_pages_the_latest_first(store: RecordStore) -> None:
    for number in (2, 0, 3, 1, 4):
        store.ingest(submission({"/run_id": f"n{number}", "/timing/finished_at": f"2026-03-19T0{number // 2}:00:00Z"}))
    repo = str(submission()["repo"])

    first = store.history(repo, limit=2)
    second = store.history(repo, limit=2, before=(first[-1].finished_ms, first[-1].package_row))
    third = store.history(repo, limit=2, before=(second[-1].finished_ms, second[-1].package_row))

    assert ["n4", "n3", "n2", "n1", "n0"] == [each.run_id for each in (*first, *second, *third)]
    assert [] == store.history("o/r")


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("testing_os_record", "verified"),
        ("testing_os_surface", "surface"),
        ("testing_os_latest", "first_order"),
        ("testing_os_totals", "rejected"),
    ],
)
def test_replay_notices_who_alters_an_index(store: RecordStore, table: str, column: str) -> None:
    store.ingest(submission())
    replay_is_exact(store.registry)

    with store.registry.transaction() as tx:
        tx.connection.execute(f"UPDATE {table} SET {column} = '7'")

    with scratch_database() as scratch, pytest.raises(ReplayMismatchError) as caught:
        check_replay(store.registry, scratch)
    assert {table} == {problem.where for problem in caught.value.problems}
