"""``run``: submissions in, packages and a tree out; and a tree of the original's taken in."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.errors import BlobCorruptError, DestinationInvalidError, FileUnreadableError
from artifactstore.pilots.testing_os import run
from artifactstore.pilots.testing_os.exporting import TreeForeignError, export
from artifactstore.pilots.testing_os.faults import ProvenanceFaultError
from artifactstore.pilots.testing_os.importing import Imported, import_tree
from artifactstore.pilots.testing_os.provenance import stub_provenance
from artifactstore.pilots.testing_os.running import Failed, RunResult
from artifactstore.plugins import RetentionClass
from artifactstore.plugins.contributed import Contributed
from tests.killed_children import killing
from tests.pilots.testing_os.golden import write_policies
from tests.pilots.testing_os.judging import AS_OF, REPO, submission
from tests.pilots.testing_os.recording_process import PROGRAM, run_one
from tests.pilots.testing_os.store import RecordStore, store_in_memory
from tests.pilots.testing_os.test_recording import RETRYABLE
from tests.service import settings_of
from tests.support import SIGKILLED, replay_is_exact, tree_contents

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RECORDS = f"records/{REPO}/2026/03/19"
INDEXES = {"indexes/latest-by-repo.json", "indexes/failing.json", "indexes/stale.json"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_policies(tmp_path / "root" / "policies", "none")
    return tmp_path / "root"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RecordStore]:
    with store_in_memory(tmp_path) as found:
        yield found


def tree_of(root: Path) -> dict[str, bytes]:
    return {path: data for path, data in tree_contents(root).items() if not path.startswith("policies")}


def indexed_paths(root: Path) -> set[str]:
    """The records that a tree's index names."""
    latest = json.loads((root / "indexes" / "latest-by-repo.json").read_bytes())
    return {entry["path"] for surfaces in latest.values() for entry in surfaces.values()}


def run_all(store: RecordStore, root: Path, *changes: dict[str, Any], **options: Any) -> RunResult:
    documents = [submission(each) for each in changes]
    provenance = options.pop("provenance", stub_provenance)
    return run(store.context, documents, root, provenance, as_of=AS_OF, **options)


# run


def test_a_run_answers_what_it_has_persisted_rebuilt_and_rejected(store: RecordStore, root: Path) -> None:
    lines: list[str] = []

    result = run_all(store, root, {"/run_id": "a"}, {"/run_id": "b", **RETRYABLE}, write_log=lines.append)
    again = run_all(store, root, {"/run_id": "a"})

    rejected = f"records/_rejected/{REPO}/2026/03/19/run-b.json"
    assert [f"{RECORDS}/run-a.json", rejected] == result.persisted_records
    assert result.indexes_rebuilt
    assert [("b", rejected)] == [(each["run_id"], each["path"]) for each in result.rejected]
    assert {f"{RECORDS}/run-a.json", rejected, *INDEXES} == {*tree_of(root)}
    assert (([], False), "rebuild_indexes_complete") == (
        (again.persisted_records, again.indexes_rebuilt), json.loads(lines[-1])["stage"],
    )  # fmt: skip


def test_one_submissions_fault_is_its_own(store: RecordStore, root: Path) -> None:
    def fails_for_b(source: Any, ref: Any) -> Any:
        if source.provider_run_id == "2":
            raise ProvenanceFaultError("away")
        return stub_provenance(source, ref)

    two = {"/source/provider_run_id": "2"}
    result = run_all(store, root, {"/run_id": "a"}, {"/run_id": "b", **two}, {"/run_id": "c"}, provenance=fails_for_b)

    (failed,) = result.errors
    assert isinstance(failed, Failed)
    assert ("b", "PROVENANCE_FAULT") == (failed.run_id, failed.error.code)
    assert [f"{RECORDS}/run-a.json", f"{RECORDS}/run-c.json"] == result.persisted_records


def test_what_has_the_name_of_a_record_keeps_it(store: RecordStore, root: Path) -> None:
    (root / RECORDS).mkdir(parents=True)
    (root / RECORDS / "run-a.json").write_text("{}")

    result = run_all(store, root, {"/run_id": "a"})

    assert [f"{RECORDS}/run-a.json"] == result.exported.differing
    assert "{}" == (root / RECORDS / "run-a.json").read_text()


def test_definitions_in_the_repository_make_their_steps_required(store: RecordStore, root: Path) -> None:
    scenario = str(submission()["scenario_results"][0]["scenario_id"])
    (root / "dogfood" / "scenarios").mkdir(parents=True)
    definition = "success_criteria:\n  required_steps: [never-taken]\n"
    (root / "dogfood" / "scenarios" / f"{scenario}.yaml").write_text(definition)

    result = run_all(store, root, {})

    assert any("never-taken" in str(reason) for each in result.rejected for reason in [each["reasons"]])


def test_killed_at_every_step_also_of_the_tree_a_run_is_recorded_and_written_once(root: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    open_registry(settings_of(home)).close()

    with killing(home, {}, PROGRAM, "killed") as run_into:

        def run_once(tree: Path, hit: int, run_id: str) -> tuple[list[str] | None, int]:
            shutil.copytree(root / "policies", tree / "policies")
            return run_into(hit, run_id, tree)

        run_once(tmp_path / "warm", 0, "warm")
        passed, _ = run_once(tmp_path / "names", 0, "names")
        assert passed is not None
        for hit in range(1, len(passed) + 1):
            assert (None, SIGKILLED) == run_once(tmp_path / f"tree-{hit}", hit, f"run-{hit}")

    assert {"catalog.before-commit", "tree.before-record-name", "tree.before-index-name"} <= {*passed}
    with closing(open_registry(settings_of(home))) as registry:
        store = RecordStore(registry, settings_of(home))
        for hit in range(1, len(passed) + 1):
            tree = tmp_path / f"tree-{hit}"
            run_one(store, f"run-{hit}", tree)
            wanted = {f"{RECORDS}/run-run-{hit}.json", *indexed_paths(tree), *INDEXES}
            assert wanted <= {*tree_of(tree)}, passed[hit - 1]
            package = store.history(REPO, limit=1_000)
            (record,) = [each for each in package if each.run_id == f"run-{hit}"]
            assert store.file(record.package_id, "record.json") == (tree / record.path).read_bytes()
        assert len(passed) + 2 == len(store.history(REPO, limit=1_000))
        replay_is_exact(registry)


# one tree, and what others have done to it


def test_what_a_killed_writer_has_left_out_is_written_by_the_next_one(store: RecordStore, root: Path) -> None:
    store.ingest(submission({"/run_id": "a", "/scenario_results/0/product_surface": "web"}))

    run_all(store, root, {"/run_id": "b"})

    assert {f"{RECORDS}/run-a.json", f"{RECORDS}/run-b.json"} == indexed_paths(root)
    assert {f"{RECORDS}/run-a.json", f"{RECORDS}/run-b.json", *INDEXES} == {*tree_of(root)}


def test_a_tree_with_records_that_the_store_does_not_have_is_left_as_it_is(
    store: RecordStore, root: Path, tmp_path: Path
) -> None:
    run_all(store, root, {"/run_id": "a"})
    before = tree_of(root)

    with store_in_memory(tmp_path) as other:
        with pytest.raises(TreeForeignError, match=f"records of {REPO}"):
            run_all(other, root, {"/run_id": "b"})
        with pytest.raises(TreeForeignError):
            export(other.context.contributed(), root, as_of=AS_OF)
        packages, untouched = other.package_count(), tree_of(root)
        imported(other, root)
        after = run_all(other, root, {"/run_id": "b"})

    assert (0, before) == (packages, untouched)
    assert tree_of(root).items() >= {path: before[path] for path in before if path not in INDEXES}.items()
    assert [f"{RECORDS}/run-b.json"] == after.persisted_records


@pytest.mark.parametrize("index", [b"", b"{", b"[]", b'{"o/r": 1}', b"\xff", None])
def test_an_index_that_says_nothing_is_written_anew(store: RecordStore, root: Path, index: bytes | None) -> None:
    (root / "indexes").mkdir()
    if index is not None:
        (root / "indexes" / "latest-by-repo.json").write_bytes(index)

    run_all(store, root, {"/run_id": "a"})

    assert {f"{RECORDS}/run-a.json"} == indexed_paths(root)


def test_a_tree_that_cannot_be_written_is_told_and_what_was_recorded_stays(store: RecordStore, root: Path) -> None:
    lines: list[str] = []
    (root / "records").write_text("in the way")

    result = run_all(store, root, {"/run_id": "a"}, {"/run_id": "b", **RETRYABLE}, write_log=lines.append)

    assert isinstance(result.export_error, DestinationInvalidError)
    assert ["accepted", "rejected"] == [each.answer for each in result.outcomes if not isinstance(each, Failed)]
    assert not result.indexes_rebuilt
    said = json.loads(lines[-1])
    assert ("error", "rebuild_indexes") == (said["stage"], said["failed_stage"])
    (root / "records").unlink()
    assert run_all(store, root, {"/run_id": "a"}).export_error is None
    assert {f"{RECORDS}/run-a.json"} == indexed_paths(root)


def test_without_a_root_nothing_is_judged(store: RecordStore, root: Path, tmp_path: Path) -> None:
    with pytest.raises(FileUnreadableError):
        run_all(store, tmp_path / "nowhere", {"/run_id": "a"}, policies=root / "policies")

    assert 0 == store.package_count()


def test_what_has_a_records_name_keeps_it_and_is_told(store: RecordStore, root: Path) -> None:
    (root / RECORDS / "run-a.json").mkdir(parents=True)

    result = run_all(store, root, {"/run_id": "a"}, {"/run_id": "b"})

    assert [f"{RECORDS}/run-a.json"] == result.records_differing
    assert (root / RECORDS / "run-b.json").is_file()


def test_a_record_that_is_damaged_is_told_and_the_others_are_written(
    store: RecordStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    read = Contributed.read_file

    def damaged(self: Contributed, package_id: str, path: str) -> bytes:
        data = read(self, package_id, path)
        if b'"run_id": "b"' in data:
            raise BlobCorruptError("'record.json' is not what was stored")
        return data

    monkeypatch.setattr(Contributed, "read_file", damaged)

    result = run_all(store, root, {"/run_id": "a"}, {"/run_id": "b"}, {"/run_id": "c"}, write_log=lines.append)

    assert [f"{RECORDS}/run-b.json"] == [each.path for each in result.exported.corrupted]
    assert {f"{RECORDS}/run-a.json", f"{RECORDS}/run-c.json", *INDEXES} == {*tree_of(root)}
    assert 1 == json.loads(lines[-1])["corrupted_count"]


# export and import


def imported(store: RecordStore, root: Path) -> Imported:
    return import_tree(store.context.contributed(), root, RetentionClass.PERMANENT_RECORD)


def test_a_tree_that_is_imported_is_exported_the_same(store: RecordStore, root: Path, tmp_path: Path) -> None:
    run_all(store, root, {"/run_id": "a"}, {"/run_id": "b", "/overall_verdict": "fail"}, {"/run_id": "c", **RETRYABLE})
    run_all(store, root, {"/run_id": "c"})
    (tmp_path / "again").mkdir()

    with store_in_memory(tmp_path) as other:
        first, second = imported(other, root), imported(other, root)
        export(other.context.contributed(), tmp_path / "again", as_of=AS_OF)
        revisions = [each.revision for each in other.history(REPO) if each.run_id == "c"]
        profiles = {each.profile for each in other.history(REPO)}
        replay_is_exact(other.registry)

    assert (4, 0, []) == (len(first.recorded), first.present, first.left_out)
    assert (0, 4, []) == (len(second.recorded), second.present, second.left_out)
    assert [1, 2] == sorted(revisions)
    assert {"imported"} == profiles
    assert tree_of(root) == tree_of(tmp_path / "again")


def test_what_is_no_record_in_its_place_is_left_out_and_named(store: RecordStore, root: Path, tmp_path: Path) -> None:
    run_all(store, root, {"/run_id": "a"}, {"/run_id": "b"})
    folder = root / RECORDS
    (folder / "run-x.json").write_bytes((folder / "run-a.json").read_bytes())
    (folder / "run-y.json").write_text("{")
    (folder / "run-z.json").write_text('{"run_id": "z"}')
    (folder / "notes.json").write_text("{}")

    with store_in_memory(tmp_path) as other:
        done = imported(other, root)

    assert [f"{RECORDS}/run-a.json", f"{RECORDS}/run-b.json"] == done.recorded
    assert {f"{RECORDS}/{name}" for name in ("notes.json", "run-x.json", "run-y.json", "run-z.json")} == {
        each.path for each in done.left_out
    }
    assert all(each.why for each in done.left_out)


def test_another_record_of_a_run_that_is_there_is_left_out(store: RecordStore, root: Path, tmp_path: Path) -> None:
    run_all(store, root, {"/run_id": "a"})
    with store_in_memory(tmp_path) as other:
        other.ingest(submission({"/run_id": "a", "/notes": "other"}))
        before = other.package_count()

        done = imported(other, root)

        assert (before, [], 0) == (other.package_count(), done.recorded, done.present)
    assert [f"{RECORDS}/run-a.json"] == [each.path for each in done.left_out]


def test_an_imported_record_makes_a_resubmission_a_duplicate(store: RecordStore, root: Path, tmp_path: Path) -> None:
    run_all(store, root, {"/run_id": "a"})
    with store_in_memory(tmp_path) as other:
        imported(other, root)

        assert "duplicate" == other.ingest(submission({"/run_id": "a"})).answer
