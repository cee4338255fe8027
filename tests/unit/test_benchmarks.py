"""The benchmark runs, and its document has the shape that the report and readers rely on. No times are asserted."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest

from benchmarks.__main__ import main
from benchmarks.data import WORKLOADS, dataset
from benchmarks.life_cycle.cases import LIFE_CYCLE_WORKLOADS
from benchmarks.on_servers.cases import SERVER_WORKLOADS
from benchmarks.over_http import peers, servers
from benchmarks.over_http.cases import HTTP_WORKLOADS
from benchmarks.over_http.rounds import WARM_ROUNDS, timed_rounds
from benchmarks.over_http.trees import fresh_tree, make_image
from benchmarks.processes import FailedError, UnavailableError
from benchmarks.provenance.cases import PROVENANCE_WORKLOADS
from benchmarks.report import as_markdown
from benchmarks.targets import TARGETS, Figure, Target, judge_one
from benchmarks.testing_os.cases import TESTING_OS_WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IN_PROCESS = "ours ingest,ours re-ingest,floor ingest,floor hash"
OVER_HTTP = [
    "client push",
    "command push again",
    "service put",
    "floor get",
    "service push with 1 worker",
    "service find",
]


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


@pytest.fixture(scope="module")
def over_http(work: Path) -> dict[str, Any]:
    output = work / "over_http.json"
    choice = ["--only", ",".join(HTTP_WORKLOADS), "--quick", "--no-peers", "--work", str(work / "http")]
    wanted = "client push,push again,service put,floor get,1 worker,service find"
    assert main([*choice, "--cases", wanted, "--output", str(output)]) == 0
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


def test_every_case_over_http_was_measured(over_http: dict[str, Any], work: Path) -> None:
    workloads = over_http["workloads"]

    assert [{}] * len(HTTP_WORKLOADS) == [workload["missing"] for workload in workloads.values()]
    assert OVER_HTTP == [case for workload in workloads.values() for case in workload["cases"]]
    assert str(work) not in json.dumps(over_http)


def test_a_load_says_what_became_of_every_push(over_http: dict[str, Any]) -> None:
    measures = over_http["workloads"]["H-load"]["cases"]["service push with 1 worker"]["measures"]

    assert measures["pushes"]["min"] > 0
    assert [0, 0] == [measures[name]["max"] for name in ("errors", "unaccounted")]
    assert measures["wall_s"]["max"] <= measures["p99_s"]["max"] <= measures["slowest_s"]["max"]


def test_the_servers_memory_is_looked_at_twice(over_http: dict[str, Any]) -> None:
    measures = over_http["workloads"]["H-W4"]["cases"]["service put"]["measures"]

    after_half, peak = (measures[name]["max"] for name in ("server_peak_after_half_bytes", "server_peak_bytes"))

    assert 0 < after_half <= peak
    assert peak - after_half == measures["server_growth_bytes"]["max"]


def test_the_report_has_the_tables_of_servers_and_loads(over_http: dict[str, Any]) -> None:
    markdown = as_markdown(over_http)  # type: ignore[arg-type]

    assert "| Case | at half MiB | peak MiB | growth MiB |" in markdown
    assert "| Case | pushes | a second | p50 ms | p99 ms |" in markdown
    assert all(f"| {case} |" in markdown for case in OVER_HTTP)


@pytest.mark.parametrize(("limit", "met"), [(0.5, True), (0.500001, False)])
def test_some_targets_are_a_least(limit: float, met: bool) -> None:
    spread = {"min": 1.0, "median": 2.0, "max": 9.0}
    cases = {
        "floor": {"measures": {"wall_s": {**spread, "median": 1.0}}},
        "ours": {"measures": {"wall_s": spread}},
    }
    target = Target("H-W4", "floor of ours", Figure("floor"), (Figure("ours"),), limit, sense="at least")

    verdict = judge_one(target, {"cases": cases})  # type: ignore[typeddict-item]

    assert (0.5, met) == (verdict["value"], verdict["met"])


def test_every_target_is_of_a_workload_there_is() -> None:
    assert {target.workload for target in TARGETS} <= {
        *WORKLOADS,
        *HTTP_WORKLOADS,
        *SERVER_WORKLOADS,
        *PROVENANCE_WORKLOADS,
        *TESTING_OS_WORKLOADS,
        *LIFE_CYCLE_WORKLOADS,
    }


def test_a_server_ends_with_its_context(tmp_path: Path) -> None:
    with servers.floor(tmp_path) as server:
        assert urlopen(f"{server.url}/", timeout=60).status == 200

    with pytest.raises(ProcessLookupError):
        os.kill(server.process_id, 0)


def test_whoever_fails_over_a_server_tells_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match=r"no answer \(the floor server's last words: .*url"), servers.floor(tmp_path):
        raise FailedError("no answer")


@pytest.mark.parametrize(
    "store", [peers.skopeo_copy, peers.skopeo_pack_and_copy, peers.oras_push, peers.rclone_copy, peers.mlflow_log]
)
def test_a_peer_that_is_not_installed_is_said_to_be_absent(
    store: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(UnavailableError, match="is not installed"):
        store(tmp_path)


def test_an_image_is_one_layer_with_every_file_of_the_tree(tmp_path: Path) -> None:
    fresh_tree("W3", tmp_path / "tree", seed=7, quick=True)

    make_image(tmp_path / "tree", tmp_path / "image")

    blobs = {path.name: path for path in (tmp_path / "image" / "blobs" / "sha256").iterdir()}
    assert all(name == hashlib.sha256(path.read_bytes()).hexdigest() for name, path in blobs.items())
    index = json.loads((tmp_path / "image" / "index.json").read_text())
    (layer,) = json.loads(blobs[_digest(index["manifests"][0])].read_text())["layers"]
    with tarfile.open(blobs[_digest(layer)]) as archive:
        assert len(_contents(tmp_path / "tree")) == sum(member.isfile() for member in archive)


def test_no_two_trees_have_a_file_in_common(tmp_path: Path) -> None:
    for name in ("one", "two"):
        fresh_tree("W3", tmp_path / name, seed=7, quick=True)

    first, second = _contents(tmp_path / "one"), _contents(tmp_path / "two")

    assert first.keys() == second.keys()
    assert not set(first.values()) & set(second.values())


def test_every_round_changes_every_file(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.txt").write_bytes(b"alpha")
    seen: list[dict[str, bytes]] = []

    measures = timed_rounds(
        tmp_path / "source", tmp_path / "run", rounds=2, store=lambda *_: seen.append(_contents(tmp_path / "run"))
    )

    assert WARM_ROUNDS + 2 == len({contents["a.txt"] for contents in seen})
    assert measures["rounds"] == 2


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


def _digest(descriptor: dict[str, str]) -> str:
    return descriptor["digest"].removeprefix("sha256:")
