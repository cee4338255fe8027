"""Running cases in turn: caches warm, dirty pages written, order rotated, repeated; failures told, not hidden."""

from __future__ import annotations

import os
import shutil
import stat
import statistics
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from benchmarks.cases import FULL_CATALOG_BLOBS, QUICK_CATALOG_BLOBS, Stores, cases_of
from benchmarks.data import WORKLOADS, dataset
from benchmarks.life_cycle.cases import LIFE_CYCLE_WORKLOADS
from benchmarks.machine import describe
from benchmarks.on_servers.cases import SERVER_WORKLOADS
from benchmarks.on_servers.shared import OnServers
from benchmarks.over_http.cases import HTTP_WORKLOADS, Served
from benchmarks.processes import FailedError, UnavailableError, touch_memory, warm
from benchmarks.provenance.cases import PROVENANCE_WORKLOADS
from benchmarks.targets import judge
from benchmarks.testing_os.cases import TESTING_OS_WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.cases import Case
    from benchmarks.data import Dataset
    from benchmarks.machine import Machine
    from benchmarks.on_servers.cases import ServerWorkload
    from benchmarks.over_http.cases import HttpWorkload
    from benchmarks.processes import Measures
    from benchmarks.targets import Verdict

FORMAT = 2
_FEW_FILES = 100
_LARGE_FILE_BYTES = 64 * 1024
_SPARE_BYTES = 128 * 1024 * 1024
KEPT = "kept-until-the-end"
_LARGE = {"W4", "W5"}
_PEERS = ("borg ", "restic ", "boto3 ", "skopeo ", "oras ", "rclone ", "mlflow ", "original ")


class Spread(TypedDict):
    """One measure over all repetitions."""

    min: float
    median: float
    max: float


class CaseResult(TypedDict):
    """One case: what it is, how often it ran, what was measured."""

    what: str
    floors: list[str]
    repeats: int
    measures: dict[str, Spread]


class WorkloadResult(TypedDict):
    """One workload; ``missing`` says in words why a case has no figures."""

    what: str
    files: int
    bytes: int
    changed_bytes: int
    cases: dict[str, CaseResult]
    missing: dict[str, str]


class Results(TypedDict):
    """The JSON document."""

    format: int
    options: dict[str, object]
    machine: Machine
    workloads: dict[str, WorkloadResult]
    targets: list[Verdict]


@dataclass(frozen=True, slots=True)
class Options:
    """What to run, and how often."""

    workloads: Sequence[str]
    cases: Sequence[str] = ()
    """Only cases whose names contain one of these; all, if there are none."""
    repeats: int = 5
    large_repeats: int = 3
    """For W4, W5, H-W4, H-load, S-W5, P-flat, M-2, I-flat, T-flat, T-1000 and all whose names begin with L."""
    quick: bool = False
    peers: bool = True
    seed: int = 0

    def document(self) -> dict[str, object]:
        """What figures must have in common to stand in one document."""
        return {
            "repeats": self.repeats,
            "large_repeats": self.large_repeats,
            "quick": self.quick,
            "seed": self.seed,
            "only_cases": list(self.cases),
        }


def measure(options: Options, work: Path) -> Results:
    """Run everything that was asked for in ``work``, which is on the disk to be measured."""
    catalog_blobs = QUICK_CATALOG_BLOBS if options.quick else FULL_CATALOG_BLOBS
    stores = Stores(work, options.seed, catalog_blobs)
    served = Served(stores, options.seed, options.quick)
    with ExitStack() as ending:
        on_servers = OnServers(stores, options.seed, options.quick, ending)
        workloads = {name: _measure_workload(name, options, served, on_servers) for name in options.workloads}
    shutil.rmtree(work / KEPT, ignore_errors=True)
    return {
        "format": FORMAT,
        "options": options.document(),
        "machine": describe(work),
        "workloads": workloads,
        "targets": judge(workloads),
    }


def _measure_workload(name: str, options: Options, served: Served, on_servers: OnServers) -> WorkloadResult:
    if name in HTTP_WORKLOADS:
        http = HTTP_WORKLOADS[name]
        return _measure_by_servers(http, options, served.stores, partial(http.cases, served))
    others = SERVER_WORKLOADS | PROVENANCE_WORKLOADS | TESTING_OS_WORKLOADS | LIFE_CYCLE_WORKLOADS
    if servers := others.get(name):
        return _measure_by_servers(servers, options, served.stores, partial(servers.cases, on_servers))
    return _measure_embedded(name, options, served.stores)


def _measure_embedded(name: str, options: Options, stores: Stores) -> WorkloadResult:
    _say(f"{name}: {WORKLOADS[name].what}")
    data = _data(name, options, stores)
    before = _data(data.follows, options, stores) if data.follows else None
    cases = cases_of(data, stores, before)
    return _measure_cases(cases, options, stores.work, what=data.what, data=data, large=name in _LARGE)


def _measure_by_servers(
    workload: HttpWorkload | ServerWorkload,
    options: Options,
    stores: Stores,
    cases_of_data: Callable[[Dataset | None], Iterator[Case]],
) -> WorkloadResult:
    _say(f"{workload.name}: {workload.what}")
    data = _data(workload.data, options, stores) if workload.data else None
    cases = list(cases_of_data(data))
    return _measure_cases(cases, options, stores.work, what=workload.what, data=data, large=workload.large)


def _data(name: str, options: Options, stores: Stores) -> Dataset:
    return dataset(WORKLOADS[name], stores.work, seed=options.seed, quick=options.quick)


def _measure_cases(
    cases: Sequence[Case], options: Options, work: Path, *, what: str, data: Dataset | None, large: bool
) -> WorkloadResult:
    wanted = [case for case in cases if _is_wanted(case, options)]
    total_bytes = data.total_bytes if data else 0
    repeats = options.large_repeats if large else options.repeats
    found, missing = _run_in_turn(wanted, repeats, work, total_bytes + _SPARE_BYTES)
    return {
        "what": what,
        "files": data.file_count if data else 0,
        "bytes": total_bytes,
        "changed_bytes": data.changed_bytes if data else 0,
        "cases": {case.name: _result(case, found[case.name]) for case in wanted if found[case.name]},
        "missing": missing,
    }


def _is_wanted(case: Case, options: Options) -> bool:
    if not options.peers and case.name.startswith(_PEERS):
        return False
    return not options.cases or any(part in case.name for part in options.cases)


def _run_in_turn(
    cases: Sequence[Case], repeats: int, work: Path, memory_bytes: int
) -> tuple[dict[str, list[Measures]], dict[str, str]]:
    """Every case ``repeats`` times; a case that fails once is not tried again."""
    found: dict[str, list[Measures]] = defaultdict(list)
    missing: dict[str, str] = {}
    for turn in range(repeats):
        for case in _rotated(cases, turn):
            if case.name in missing or (case.most_repeats is not None and turn >= case.most_repeats):
                continue
            try:
                found[case.name].append(_run_once(case, work, memory_bytes))
            except UnavailableError as error:
                missing[case.name] = str(error)
            except FailedError as error:
                missing[case.name] = f"failed: {error}".replace(str(work), "WORK")
                found[case.name].clear()
        _say(f"  turn {turn + 1} of {repeats} done")
    for name, why in missing.items():
        _say(f"  {name}: {why}")
    return found, missing


def _rotated(cases: Sequence[Case], turn: int) -> list[Case]:
    """Another order at each turn: begun elsewhere, and backwards every other time, so that neighbours change too."""
    at = turn * max(1, len(cases) // 3) % max(1, len(cases))
    order = [*cases[at:], *cases[:at]]
    return order[::-1] if turn % 2 else order


def _run_once(case: Case, work: Path, memory_bytes: int) -> Measures:
    scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=work))
    try:
        case.prepare(scratch)
        os.sync()
        warm(case.warm)
        touch_memory(work, memory_bytes)
        return case.run(scratch)
    finally:
        _discard(scratch, work)


def _discard(scratch: Path, work: Path) -> None:
    """Delete it, now if it is few files, else at the end of the run.

    ext4 without a journal does not give out inodes for minutes after they were freed, but looks at each of them: after
    10,000 deletions, 10,000 creations took 3.9 s instead of 0.28.
    """
    if sum(len(names) for _, _, names in os.walk(scratch)) <= _FEW_FILES:
        shutil.rmtree(scratch, ignore_errors=True)
    else:
        _empty_large_files(scratch)
        (work / KEPT).mkdir(exist_ok=True)
        scratch.rename(work / KEPT / scratch.name)


def _empty_large_files(folder: Path) -> None:
    """Give their space back, but not their inodes. Files with another name elsewhere stay as they are."""
    for parent, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(f"{parent}/{name}")
            if status.st_size > _LARGE_FILE_BYTES and status.st_nlink == 1 and stat.S_ISREG(status.st_mode):
                os.truncate(f"{parent}/{name}", 0)


def _result(case: Case, runs: list[Measures]) -> CaseResult:
    measures = {name: _spread([run[name] for run in runs]) for name in runs[0]}
    return {"what": case.what, "floors": list(case.floors), "repeats": len(runs), "measures": measures}


def _spread(values: list[float]) -> Spread:
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
