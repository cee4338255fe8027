"""The benchmark of the life of packages runs, and sees to it that what was measured was done. No times are asserted."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.registry.planning import make_plan
from benchmarks.__main__ import main
from benchmarks.life_cycle.ours import CountingStore
from benchmarks.life_cycle.shared import FLOORS, FULL, MAKING, OURS, QUICK, REBUILDING, ask_life, home_settings, linked
from benchmarks.processes import FailedError
from benchmarks.report import as_markdown
from benchmarks.targets import TARGETS

if TYPE_CHECKING:
    from pathlib import Path

CASES = {
    "L-collect": [
        "floor delete",
        "ours collect",
        "floor delete, 10 times as much live",
        "ours collect, 10 times as much live",
    ],
    "L-collect-S3": ["ours collect, counted"],
    "L-plan": ["ours plan", "ours plan, nothing due"],
    "L-scrub": [
        "floor read, 4 KiB",
        "ours scrub, 4 KiB",
        "floor read, 40 KiB",
        "ours scrub, 40 KiB",
        "floor read, large files",
        "ours scrub, large files",
        "floor read, many small packs",
        "ours scrub, many small packs",
    ],
    "L-foreground": ["service get, no scrub", "ours ingest, no scrub", "service get", "ours ingest"],
    "L-rebuild": ["ours rebuild, sealed", "ours rebuild, nothing sealed"],
    "L-rates": ["ours apply", "ours reconcile", "ours heal"],
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    work = tmp_path_factory.mktemp("life-cycle")
    output = work / "results.json"
    assert main(["--only", "life-cycle", "--quick", "--work", str(work), "--output", str(output)]) == 0
    found: dict[str, Any] = json.loads(output.read_text())
    return found


def test_every_case_is_measured(results: dict[str, Any]) -> None:
    workloads = results["workloads"]

    assert [{}] * len(CASES) == [workload["missing"] for workload in workloads.values()]
    assert {name: list(workload["cases"]) for name, workload in workloads.items()} == CASES


def test_every_target_has_its_figures(results: dict[str, Any]) -> None:
    assert len(results["targets"]) == sum(target.workload.startswith("L-") for target in TARGETS)
    assert all(target["value"] is not None for target in results["targets"])


def test_a_collection_in_s3_is_counted_by_kind(results: dict[str, Any]) -> None:
    measures = results["workloads"]["L-collect-S3"]["cases"]["ours collect, counted"]["measures"]

    counted = {name: measures[f"{name}_requests"]["max"] for name in ("put", "post", "delete")}

    assert counted == {"put": QUICK.s3_repacked, "post": 1, "delete": 0}
    assert measures["allowed_requests"]["max"] == 1 + 3 * QUICK.s3_repacked


def test_a_plan_reads_nothing_of_storage(results: dict[str, Any]) -> None:
    measures = results["workloads"]["L-plan"]["cases"]["ours plan"]["measures"]

    assert measures["storage_reads"]["max"] == 0
    assert measures["memory_above_imports_bytes"]["max"] > 0


def test_the_report_says_what_was_compared(results: dict[str, Any]) -> None:
    markdown = as_markdown(results)  # type: ignore[arg-type]

    assert "| Case | PUT | POST | HEAD | GET | DELETE | all | allowed |" in markdown
    assert "| Case | median ms | p99 ms | slowest ms |" in markdown
    assert "| Case | ours s | CPU s | floor s | CPU s | rows |" in markdown
    assert "Collection deletes at once" in markdown


def test_whole_sizes_are_those_that_the_targets_speak_of() -> None:
    assert (FULL.packs, FULL.packs * FULL.pack_files) == (100, 100_000)
    assert (FULL.due * FULL.package_files, FULL.few_due * FULL.package_files) == (1_000_000, 10_000)
    assert (FULL.rebuilt, FULL.package_files, FULL.applied) == (1_000, 100, 1_000)
    assert FULL.loose * FULL.loose_files == 100_000
    assert FULL.more_live == QUICK.more_live == 10


# what is refused


def test_a_collection_that_leaves_something_is_no_figure(tmp_path: Path) -> None:
    settings = made(tmp_path / "home", "dead", packages=2, files=3, live=2)

    with pytest.raises(FailedError, match="4 objects, not 5"):
        ask_life(OURS, "collect", settings, objects=5, repacked=0)


def test_the_floor_of_collection_deletes_what_collection_does(tmp_path: Path) -> None:
    floor = made(tmp_path / "floor", "dead", packages=2, files=3, live=2)
    ours = made(tmp_path / "ours", "dead", packages=2, files=3, live=2)

    ask_life(FLOORS, "delete", floor, packs=2, blobs=6)
    ask_life(OURS, "collect", ours, objects=4, repacked=0)

    packs = {name: sorted((tmp_path / name / "objects" / "packs").rglob("*.zip")) for name in ("floor", "ours")}
    assert [1, 1] == [len(left) for left in packs.values()], "the plan's own"


def test_a_scrub_that_finds_damage_is_no_figure(tmp_path: Path) -> None:
    settings = made(tmp_path / "home", "stored", packages=2, files=3)
    for pack in (tmp_path / "home" / "objects" / "packs").rglob("*.zip"):
        pack.chmod(0o644)
        pack.write_bytes(bytes(pack.stat().st_size))

    with pytest.raises(FailedError, match="found damage"):
        ask_life(OURS, "scrub", settings, least_bytes=1)


def test_a_rebuilding_that_lacks_a_package_is_no_figure(tmp_path: Path) -> None:
    made(tmp_path / "made", "stored", packages=3, files=4)
    for name in ("home", "other"):
        linked(tmp_path / "made", tmp_path / name, with_database=False)
    settings = home_settings(tmp_path / "home")
    other = {f"other_{name}": value for name, value in home_settings(tmp_path / "other").items()}

    with pytest.raises(FailedError, match="0 and 3 packages are back, not 4"):
        ask_life(REBUILDING, "rebuild", settings, packages=4, files=4, sealed=0, **other)


def test_packages_without_bytes_are_planned_over_as_others_are(tmp_path: Path) -> None:
    settings = made(tmp_path / "home", "recorded", packages=4, files=5, due=1)

    with closing(open_registry(Settings.from_environment(settings))) as registry:
        totals = make_plan(registry).totals

    assert (totals.delete, totals.keep, totals.objects) == (4, 0, 8)


def test_reads_of_storage_are_counted(tmp_path: Path) -> None:
    settings = made(tmp_path / "home", "stored", packages=1, files=2)

    with closing(open_registry(Settings.from_environment(settings))) as registry:
        counting: Any = CountingStore(registry.store)
        kinds = [info.key.kind for kind in ("pack", "manifest") for info in counting.list(kind)]
        first = next(iter(registry.store.list(kinds[0])))
        data = counting.read(first.key)

    assert (len(data), kinds) == (first.size_bytes, ["pack", "manifest"])
    assert counting.counts == {"list": 2, "read": 1}


def made(home: Path, do: str, **request: int) -> dict[str, str]:
    """A home with such a store; its settings."""
    settings = home_settings(home)
    ask_life(MAKING, do, settings, seed=1, file_bytes=100, **request)
    return settings
