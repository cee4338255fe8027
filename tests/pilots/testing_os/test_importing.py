"""Trees of records taken in: what one holds is in the store, and comes out again to the byte, in whatever order."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing, contextmanager
from functools import cache
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore import failpoints
from artifactstore.bootstrap import open_registry
from artifactstore.pilots.testing_os import importing
from artifactstore.pilots.testing_os.exporting import export
from artifactstore.pilots.testing_os.importing import Imported, import_tree
from artifactstore.plugins import RetentionClass
from artifactstore.registry.packages import list_packages
from tests.pilots.testing_os.judging import AS_OF, REPO, judge, submission
from tests.pilots.testing_os.store import RecordStore, store_in_memory
from tests.service import clean_environment, settings_of
from tests.support import replay_is_exact, tree_contents, write_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER = f"{REPO}/2026/03/19"
RETRYABLE = {"/policy_version": "1.0.0"}
FINAL = {"/scenario_results/0/execution_mode": "human"}
"""A person without a name, which the global policy rejects."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RecordStore]:
    with store_in_memory(tmp_path) as found:
        yield found


@cache
def record_of(run_id: str, kind: str, notes: str) -> tuple[str, bytes]:
    """Path and text of a record: accepted, failed (which is accepted, too), mendable or final."""
    changes: dict[str, Any] = {"/run_id": run_id, "/notes": notes}
    if kind == "failed":
        changes |= {"/overall_verdict": "fail"}
    if kind == "mendable":
        changes |= RETRYABLE
    if kind == "final":
        changes |= FINAL
    found = judge(submission(changes))
    assert found.path is not None
    return found.path, found.record_text.encode()


def tree_at(root: Path, *records: tuple[str, bytes]) -> Path:
    (root / "records").mkdir(parents=True)
    write_tree(root, dict(records))
    return root


def imported(store: RecordStore, root: Path) -> Imported:
    return import_tree(store.context.contributed(), root, RetentionClass.PERMANENT_RECORD)


def exported(store: RecordStore, root: Path) -> dict[str, bytes]:
    root.mkdir()
    export(store.context.contributed(), root, as_of=AS_OF)
    return tree_contents(root)


def records_in(tree: dict[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in tree.items() if path.startswith("records")}


# both records of a run


@pytest.mark.parametrize("kind", ["mendable", "final"])
def test_a_runs_rejection_and_what_was_accepted_are_both_recorded(
    store: RecordStore, tmp_path: Path, kind: str
) -> None:
    records = (record_of("r", kind, ""), record_of("r", "accepted", ""))

    done = imported(store, tree_at(tmp_path / "tree", *records))

    assert [path for path, _ in records] == done.recorded
    assert dict(records) == records_in(exported(store, tmp_path / "out"))
    assert [(1, "rejected"), (2, "accepted")] == sorted((each.revision, each.status) for each in store.history(REPO))
    replay_is_exact(store.registry)


@pytest.mark.parametrize("kind", ["mendable", "final"])
def test_a_rejection_that_comes_later_is_recorded_and_counts_for_nothing(
    store: RecordStore, tmp_path: Path, kind: str
) -> None:
    accepted = store.ingest(submission({"/run_id": "r"}))
    before = store.indexes().files()

    done = imported(store, tree_at(tmp_path / "tree", record_of("r", kind, "")))
    again = store.ingest(submission({"/run_id": "r"}))

    assert [f"records/_rejected/{FOLDER}/run-r.json"] == done.recorded
    assert ("duplicate", accepted.package_id) == (again.answer, again.package_id)
    assert before == store.indexes().files()
    assert {f"records/{FOLDER}/run-r.json", f"records/_rejected/{FOLDER}/run-r.json"} == {
        *records_in(exported(store, tmp_path / "out"))
    }
    replay_is_exact(store.registry)


def test_what_was_accepted_elsewhere_counts_though_the_rejection_here_was_final(
    store: RecordStore, tmp_path: Path
) -> None:
    store.ingest(submission({"/run_id": "r", **FINAL}))

    done = imported(store, tree_at(tmp_path / "tree", record_of("r", "accepted", "")))

    assert [f"records/{FOLDER}/run-r.json"] == done.recorded
    assert [REPO] == [*store.indexes().latest_by_repo]


@pytest.mark.parametrize("status", ["accepted", "final"])
def test_another_record_under_the_same_path_is_left_out_and_named(
    store: RecordStore, tmp_path: Path, status: str
) -> None:
    imported(store, tree_at(tmp_path / "first", record_of("r", status, "first")))

    done = imported(store, tree_at(tmp_path / "second", record_of("r", status, "second")))

    (left,) = done.left_out
    assert record_of("r", status, "second")[0] == left.path
    assert "is another record of this run" in left.why
    assert 1 == len(list_packages(store.registry, limit=9))


def test_who_loses_the_race_against_an_ingest_records_its_own_beside_it(store: RecordStore, tmp_path: Path) -> None:
    done: list[Any] = []

    def pass_by(name: str) -> None:
        if name == "record.before-transaction" and not done:
            done.append(None)
            done.append(store.ingest(submission({"/run_id": "r", **FINAL})))

    failpoints.arm(pass_by)
    try:
        result = imported(
            store, tree_at(tmp_path / "tree", record_of("other", "accepted", ""), record_of("r", "accepted", ""))
        )
    finally:
        failpoints.arm(None)

    assert 2 == len(result.recorded)
    assert [] == result.left_out
    replay_is_exact(store.registry)


def test_a_tree_is_recorded_by_the_batch_and_in_its_order(
    store: RecordStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_MOST", 2)
    records = [record_of(f"r{number}", "accepted", "") for number in range(5)]

    done = imported(store, tree_at(tmp_path / "tree", *records))

    assert [path for path, _ in records] == done.recorded
    assert dict(records) == records_in(exported(store, tmp_path / "out"))


# what later versions of the original have written


GITLAB = {"provider": "gitlab", "workflow": "w", "provider_run_id": "1", "run_url": "https://gitlab.com/o/r/-/jobs/1"}


@pytest.mark.parametrize(
    "changes",
    [
        {"integrity": {"submission_digest": "0" * 64, "prev_digest": "1" * 64, "seq": 7}},
        {"source": GITLAB},
        {"verification": {"warnings": ["policy: [x] y"]}},
        {"verification": {"rejection_reasons": None}},
        {"overall_verdict": {"downgraded": None}},
        {
            "verification": {
                "provenance_remediation": {
                    "status": "stub_verified", "remediated_at": "2026-03-19T00:00:00Z",
                    "original_provenance_confirmed": None,
                }
            }
        },
    ],
    ids=["ledger", "gitlab", "warnings", "no reasons", "no downgrade", "remediation"],
)  # fmt: skip
def test_a_record_of_version_1_14_is_recorded_and_comes_out_as_it_was(
    store: RecordStore, tmp_path: Path, changes: dict[str, dict[str, Any]]
) -> None:
    path, text = record_of("r", "accepted", "")
    record = json.loads(text)
    for name, members in changes.items():
        changed = {**record.get(name, {}), **members}
        record[name] = {key: value for key, value in changed.items() if value is not None}
    record["scenario_results"][0]["tags"] = ["nightly"]
    data = json.dumps(record, indent=2).encode()

    done = imported(store, tree_at(tmp_path / "tree", (path, data)))

    assert ([path], []) == (done.recorded, done.left_out)
    assert {path: data} == records_in(exported(store, tmp_path / "out"))


def test_what_no_version_has_written_is_left_out_with_the_first_violation(store: RecordStore, tmp_path: Path) -> None:
    path, text = record_of("r", "accepted", "")
    record = {**json.loads(text), "surprise": 1}

    done = imported(store, tree_at(tmp_path / "tree", (path, json.dumps(record).encode())))

    assert [(path, "is no record: / must NOT have additional properties")] == done.left_out


@pytest.mark.parametrize("proposed", ["fail", "blocked", "partial"])
def test_a_record_whose_verdict_was_raised_is_left_out(store: RecordStore, tmp_path: Path, proposed: str) -> None:
    path, text = record_of("r", "accepted", "")
    record = json.loads(text)
    record["overall_verdict"]["proposed"] = proposed

    done = imported(store, tree_at(tmp_path / "tree", (path, json.dumps(record).encode())))

    assert [(path, "its verdict is better than the one that was proposed, which no verifier gives")] == done.left_out
    assert {} == store.indexes().latest_by_repo


# any trees in any order


_RECORDS = st.builds(
    record_of,
    st.sampled_from(["a", "b"]),
    st.sampled_from(["accepted", "failed", "mendable", "final"]),
    st.sampled_from(["", "other"]),
)


@settings(max_examples=25)
@given(trees=st.lists(st.lists(_RECORDS, max_size=4).map(dict), min_size=1, max_size=3))
def test_what_was_first_under_a_path_is_what_comes_out(trees: list[dict[str, bytes]]) -> None:
    expected: dict[str, bytes] = {}
    with TemporaryDirectory() as folder, store_in_memory(Path(folder) / "home") as store:
        for number, tree in enumerate(trees):
            root = tree_at(Path(folder) / f"tree-{number}", *tree.items())
            taken = [path for path, data in tree.items() if expected.get(path, data) != data]

            first, again = imported(store, root), imported(store, root)

            assert (
                sorted(taken) == sorted(each.path for each in first.left_out) == sorted(e.path for e in again.left_out)
            )
            assert sorted(tree.keys() - expected.keys()) == sorted(first.recorded)
            assert ([], len(tree) - len(taken)) == (again.recorded, again.present)
            expected = {**tree, **expected}
        out = exported(store, Path(folder) / "out")
        replay_is_exact(store.registry)

        assert expected == records_in(out)
        with store_in_memory(Path(folder) / "other") as other:
            imported(other, Path(folder) / "out")
            assert out == exported(other, Path(folder) / "out-again")


def test_the_order_of_trees_makes_no_difference_to_what_comes_out(tmp_path: Path) -> None:
    trees = [
        (record_of("a", "mendable", ""),),
        (record_of("a", "accepted", ""), record_of("b", "failed", "")),
        (record_of("b", "final", ""), record_of("a", "accepted", "")),
    ]
    roots = [tree_at(tmp_path / f"tree-{number}", *records) for number, records in enumerate(trees)]

    found = []
    for number, order in enumerate(permutations(roots)):
        with store_in_memory(tmp_path / f"home-{number}") as store:
            for root in order:
                imported(store, root)
            found.append(exported(store, tmp_path / f"out-{number}"))

    assert [found[0]] * 6 == found
    assert 4 == len(records_in(found[0]))


def test_killed_at_every_step_an_import_is_made_good_by_the_next(tmp_path: Path) -> None:
    records = (record_of("a", "final", ""), record_of("a", "accepted", ""))
    root, homes = tree_at(tmp_path / "tree", *records), tmp_path / "homes"
    with driver() as killed:
        passed = killed(0, root, homes / "0")[1]
        assert [-9] * len(passed) == [killed(hit, root, homes / f"{hit}")[0] for hit in range(1, len(passed) + 1)]

    left = []
    for hit, name in enumerate(passed, start=1):
        settings = settings_of(homes / f"{hit}")
        with closing(open_registry(settings)) as registry:
            store = RecordStore(registry, settings)
            left.append(len(store.history(REPO)))
            done = imported(store, root)
            assert (2 - left[-1], left[-1], []) == (len(done.recorded), done.present, done.left_out), name
            assert dict(records) == records_in(exported(store, tmp_path / f"out-{hit}"))

    assert "record.before-transaction" in passed
    assert [0, 1, 2] == sorted({*left})
    assert sorted(left) == left


@contextmanager
def driver() -> Iterator[Callable[[int, Path, Path], tuple[int, list[str]]]]:
    """Import in a child that dies at a failpoint: how it ended, and what it passed if it did not die."""
    command = [sys.executable, "-m", "tests.pilots.testing_os.importing_process"]
    with subprocess.Popen(
        command, env=clean_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def killed(hit: int, root: Path, home: Path) -> tuple[int, list[str]]:
            print(hit, root, home, file=process.stdin, flush=True)
            status, passed = json.loads(process.stdout.readline())
            return status, passed

        yield killed
        process.stdin.close()
