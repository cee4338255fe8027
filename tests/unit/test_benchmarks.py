"""The benchmark runs, and its document has the shape that the report and readers rely on. No times are asserted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.__main__ import main
from benchmarks.data import WORKLOADS, dataset
from benchmarks.report import as_markdown
from benchmarks.targets import TARGETS

if TYPE_CHECKING:
    from pathlib import Path

IN_PROCESS = "ours ingest,ours re-ingest,floor ingest,floor hash"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("benchmarks")


@pytest.fixture(scope="module")
def results(work: Path) -> dict[str, Any]:
    output = work / "results.json"
    choice = ["--only", "W3,W6", "--cases", IN_PROCESS, "--quick", "--no-peers"]
    assert main([*choice, "--work", str(work / "place"), "--output", str(output)]) == 0
    found: dict[str, Any] = json.loads(output.read_text())
    return found


def test_every_case_has_the_spread_of_its_measures(results: dict[str, Any]) -> None:
    cases = results["workloads"]["W3"]["cases"]

    assert {"floor ingest", "floor hash", "ours ingest", "ours re-ingest"} <= cases.keys()
    for case in cases.values():
        assert case.keys() == {"what", "floors", "repeats", "measures"}
        assert {"wall_s", "cpu_s"} <= case["measures"].keys()
        for spread in case["measures"].values():
            assert spread["min"] <= spread["median"] <= spread["max"]


def test_nothing_failed(results: dict[str, Any]) -> None:
    assert [workload["missing"] for workload in results["workloads"].values()] == [{}, {}]


def test_only_changed_files_are_stored_again(results: dict[str, Any]) -> None:
    workload = results["workloads"]["W6"]

    stored = workload["cases"]["ours ingest"]["measures"]["content_bytes"]["max"]

    assert workload["changed_bytes"] == 2 * 4096
    assert workload["changed_bytes"] <= stored <= 1.1 * workload["changed_bytes"]


def test_every_target_of_what_was_run_has_a_verdict(results: dict[str, Any]) -> None:
    verdicts = results["targets"]

    assert sum(target.workload in {"W3", "W6"} for target in TARGETS) == len(verdicts)
    for verdict in verdicts:
        assert (verdict["value"] is None) == (verdict["met"] is None)
    assert any(verdict["met"] is not None for verdict in verdicts)


def test_results_name_the_machine_but_no_place_on_it(results: dict[str, Any], work: Path) -> None:
    assert results["machine"]["cores"] > 0
    assert results["machine"]["libraries"]["blake3"] != "not installed"
    assert str(work) not in json.dumps(results)


def test_the_report_has_every_case_and_target(results: dict[str, Any]) -> None:
    markdown = as_markdown(results)  # type: ignore[arg-type]

    for workload in results["workloads"].values():
        assert all(f"| {case} |" in markdown for case in workload["cases"])
    assert all(verdict["what"] in markdown for verdict in results["targets"])


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    first = dataset(WORKLOADS["W3"], tmp_path / "one", seed=7, quick=True)
    second = dataset(WORKLOADS["W3"], tmp_path / "two", seed=7, quick=True)

    assert _contents(first.folder) == _contents(second.folder)


def test_the_sixth_workload_is_the_third_with_one_file_in_a_hundred_changed(tmp_path: Path) -> None:
    before = _contents(dataset(WORKLOADS["W3"], tmp_path, seed=7, quick=True).folder)
    after = _contents(dataset(WORKLOADS["W6"], tmp_path, seed=7, quick=True).folder)

    assert before.keys() == after.keys()
    assert len(before) // 100 == sum(before[path] != after[path] for path in before)


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
