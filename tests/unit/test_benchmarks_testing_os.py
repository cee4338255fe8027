"""The benchmark of submissions runs, with the original and without it, and sees to it that all was recorded.

No times are asserted.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.pilots.testing_os.schemas import SUBMISSION_SCHEMA, violations
from benchmarks.__main__ import main
from benchmarks.processes import FailedError, UnavailableError
from benchmarks.report import as_markdown
from benchmarks.testing_os.cases import _expect_indexes
from benchmarks.testing_os.filled import AllFilled
from benchmarks.testing_os.original import ELSEWHERE, VERSION, ask_original, found
from benchmarks.testing_os.submissions import is_accepted, latest_run_ids, submission, write_feed, write_root
from tests.support import tree_contents

if TYPE_CHECKING:
    from pathlib import Path

NOW = "2026-11-20T00:00:00Z"
OURS = {
    "T-flat": ["ours run", "ours record", "ours run, many repositories"],
    "T-1000": ["ours run", "ours run, one by one"],
}


@pytest.fixture
def original() -> None:
    """Only where it is installed."""
    try:
        found()
    except UnavailableError as error:
        pytest.skip(str(error))


def measured(work: Path, *options: str) -> dict[str, Any]:
    output = work / "results.json"
    arguments = ["--only", "testing-os", "--quick", "--work", str(work), "--output", str(output), *options]
    assert main(arguments) == 0
    results: dict[str, Any] = json.loads(output.read_text())
    return results


def test_without_the_original_ours_is_measured_and_what_to_run_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ELSEWHERE, str(tmp_path / "nowhere"))

    results = measured(tmp_path)
    markdown = as_markdown(results)  # type: ignore[arg-type]

    workloads = results["workloads"]
    assert OURS == {name: list(workload["cases"]) for name, workload in workloads.items()}
    assert [["original ingest"]] * 2 == [list(workload["missing"]) for workload in workloads.values()]
    assert "run `make original`" in workloads["T-flat"]["missing"]["original ingest"]
    assert 2 == sum(target["value"] is not None for target in results["targets"])
    assert "| Case | with many ms | began empty ms |" in markdown
    assert "| not measured | T-1000 |" in markdown


def test_with_the_original_every_figure_of_it_is_there(original: None, tmp_path: Path) -> None:
    workloads = measured(tmp_path, "--cases", "original")["workloads"]

    assert [["original ingest"]] * 2 == [list(workload["cases"]) for workload in workloads.values()]
    assert [{}, {}] == [workload["missing"] for workload in workloads.values()]
    assert {"wall_s", "empty_s"} == workloads["T-flat"]["cases"]["original ingest"]["measures"].keys()


def test_another_version_of_the_original_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "node_modules" / "@dogfood-lab" / "ingest"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"version": "1.0.0"}')
    (tmp_path / "node").touch(mode=0o755)
    monkeypatch.setenv(ELSEWHERE, str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(UnavailableError, match=f"version 1.0.0 of testing-os's ingest, not {VERSION}"):
        found()


def test_a_filled_tree_is_what_the_originals_own_ingests_leave(original: None, tmp_path: Path) -> None:
    feed = write_feed(tmp_path / "feed.ndjson", range(60))
    filled, ingested = write_root(tmp_path / "filled"), write_root(tmp_path / "ingested")

    ask_original("fill", root=filled, feed=feed, now=NOW)
    ask_original("ingest", root=ingested, feed=feed, now=NOW)

    assert tree_contents(filled) == tree_contents(ingested)
    _expect_indexes(filled, 60)


def test_submissions_are_of_the_schema_and_no_two_are_alike() -> None:
    some = [submission(number) for number in range(120)]

    assert [] == [broken for each in some for broken in violations(SUBMISSION_SCHEMA, each)]
    assert 120 == len({each["run_id"] for each in some})
    assert 2 == sum(not is_accepted(number) for number in range(120))


def test_an_index_that_lacks_a_submission_is_refused(tmp_path: Path) -> None:
    document: dict[str, dict[str, Any]] = {}
    for (repo, surface), run_id in latest_run_ids(range(60)).items():
        document.setdefault(repo, {})[surface] = {"run_id": run_id}
    (tmp_path / "indexes").mkdir()
    (tmp_path / "indexes" / "latest-by-repo.json").write_text(json.dumps(document))

    _expect_indexes(tmp_path, 60)

    with pytest.raises(FailedError, match="not those of the submissions"):
        _expect_indexes(tmp_path, 61)


def test_what_is_filled_goes_on_with_submissions_that_are_new(tmp_path: Path) -> None:
    filled = AllFilled(tmp_path / "stores", 10).ours(3)

    feeds = [filled.next_feed(tmp_path / name, 4) for name in ("first.ndjson", "second.ndjson")]

    ids = [json.loads(line)["run_id"] for feed in feeds for line in feed.read_text().splitlines()]
    assert [f"run-{number:08}" for number in range(10, 18)] == ids
    assert 10 == len([path for path in tree_contents(filled.place / "root") if path.startswith("records/")])
