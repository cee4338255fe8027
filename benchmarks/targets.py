"""What must be reached, as data: a measure over a sum of others, and the most or the least it may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.runner import Spread, WorkloadResult

    Sense = Literal["at most", "at least"]

_MIB = 1024 * 1024


class Figure(NamedTuple):
    """The median of one measure of one case, in the target's workload."""

    case: str
    measure: str = "wall_s"


@dataclass(frozen=True, slots=True)
class Target:
    """``value`` over the sum of ``of`` is at most ``limit``, or at least; without ``of``, the largest ``value`` is."""

    workload: str
    what: str
    value: Figure
    of: tuple[Figure, ...]
    limit: float
    aim: float | None = None
    sense: Sense = "at most"


class Verdict(TypedDict):
    """How a target came out. ``value`` is None where a figure is missing, and ``met`` with it.

    ``measured`` and ``divided_by`` are what the value was made of, ``measure`` says of what.
    """

    workload: str
    what: str
    unit: str
    sense: Sense
    limit: float
    aim: float | None
    measure: str
    measured: float | None
    divided_by: float | None
    value: float | None
    met: bool | None


_INGEST, _PUSH, _MEMORY = Figure("ours ingest"), Figure("command push"), "memory_above_imports_bytes"
_IMPORTS = Figure("beside imports", "cpu_s")


def _large(workload: str) -> tuple[Target, Target]:
    return (
        Target(workload, "ingest, of the ingest floor", _INGEST, (Figure("floor ingest"),), 1.15),
        Target(workload, "ingest, peak memory above imports", Figure("ours ingest", _MEMORY), (), 150 * _MIB),
    )


def _start(command: str, limit: float, aim: float | None = None) -> Target:
    value = Figure(f"command {command}", "cpu_s")
    return Target("W1", f"{command} as a whole process, CPU, of the import line", value, (_IMPORTS,), limit, aim)


def _get(medium: str) -> Target:
    floor = (Figure(f"floor write {medium}"), Figure("floor verify"))
    return Target(
        "W3", f"get {medium}, of plain writing plus the verify floor", Figure(f"ours get {medium}"), floor, 1.15
    )


def _takes(way: str) -> tuple[Target, ...]:
    ours, memory = Figure(f"service {way}"), "server_peak_bytes"
    what = f"{way.upper()}, the floor's time of ours"
    return (
        Target("H-W4", what, Figure(f"floor {way}"), (ours,), _LARGE_FILE[way], sense="at least"),
        Target("H-W4", f"{way.upper()}, the server's peak memory", Figure(ours.case, memory), (), 200 * _MIB),
        Target(
            "H-W4",
            f"{way.upper()}, growth of that peak over the second half of the file",
            Figure(ours.case, "server_growth_bytes"),
            (),
            16 * _MIB,
        ),
    )


def _load(workers: str) -> tuple[Target, ...]:
    case = f"service push with {workers}"
    return (
        Target("H-load", f"with {workers}: errors", Figure(case, "errors"), (), 0),
        Target(
            "H-load",
            f"with {workers}: recorded but not acknowledged, or the reverse",
            Figure(case, "unaccounted"),
            (),
            0,
        ),
        Target(
            "H-load",
            f"with {workers}: slowest of a hundred (p99), of the median",
            Figure(case, "p99_s"),
            (Figure(case),),
            20,
        ),
    )


def _list(name: str) -> Target:
    case = f"service {name}"
    return Target("H-list", f"{name} with 100,000 packages, of with 100", Figure(case), (Figure(case, "few_s"),), 1.5)


def _on_servers() -> Iterator[Target]:
    """With the objects in S3, the catalog on PostgreSQL, or both."""
    ours = Figure("ours ingest to S3")
    for case, files in (
        ("ours ingest to S3, counted", ""),
        ("ours ingest of twice as much to S3, counted", ", 20,000 files"),
    ):
        counted = Figure(case, "writing_requests_per_64_mib")
        yield Target("S-W3", f"requests that write objects, for each 64 MiB begun{files}", counted, (), 3)
    yield Target(
        "S-W3",
        "ingest to S3, of boto3 putting the files one by one, 16 at once",
        ours,
        (Figure("boto3 put each"),),
        0.1,
    )
    local_and_put = Figure("ours ingest"), Figure("boto3 put one")
    yield Target("S-W3", "ingest to S3, of ingest on disk plus one put of as many bytes", ours, local_and_put, 2)
    yield Target("S-W5", "ingest to S3, of boto3's upload_file", ours, (Figure("boto3 upload_file"),), 1.15)
    for workload, limit in (("P-W1", 2.0), ("P-W3", 1.5)):
        command = Figure("command push on PostgreSQL")
        yield Target(workload, "push on PostgreSQL, of on SQLite", command, (Figure("command push on SQLite"),), limit)
    for kind in ("SQLite", "PostgreSQL"):
        last = Figure(f"ours ingest on {kind}")
        first = Figure(last.case, "first_s")
        yield Target("P-flat", f"the last 1,000 of 100,000 packages, of the first, on {kind}", last, (first,), 1.2)
    for servers in ("1 server", "2 servers"):
        for measure in ("errors", "unaccounted"):
            what = _SERVED_LOAD[measure]
            yield Target("M-2", f"with {servers}: {what}", Figure(f"service push with {servers}", measure), (), 0)
    two, one = (Figure(f"service push with {servers}", _PER_S) for servers in ("2 servers", "1 server"))
    yield Target("M-2", "pushes per second with two servers, of with one", two, (one,), 1.6, sense="at least")
    most = Figure(one.case, "most_pushes_per_s")
    yield Target("M-2", "the same, of what the cores left idle by one allow", two, (most,), 0.8, sense="at least")


def _observing() -> Iterator[Target]:
    """What plug-ins record, on either database."""
    for kind in ("SQLite", "PostgreSQL"):
        ours = Figure(f"ours observe on {kind}")
        floor, again = (Figure(ours.case, f"{way}_wall_s") for way in ("floor", "again"))
        yield Target("I-1000", f"observations, of bare transactions of the same rows, on {kind}", ours, (floor,), 1.5)
        yield Target("I-1000", f"the same observations again, of the first time, on {kind}", again, (ours,), 0.3)
        few = Figure(ours.case, "few_s")
        yield Target("I-flat", f"with 1,000,000 envelopes recorded, of with 1,000, on {kind}", ours, (few,), 1.3)


def _testing_os() -> Iterator[Target]:
    """Submissions of testing-os, beside the published ingest of that product."""
    original = Figure("original ingest")
    for case, what in (("ours run", "run()"), ("ours record", "recording alone")):
        began = Figure(case, "empty_s")
        yield Target(
            "T-flat", f"{what} with 20,000 recorded, of on a store that began empty", Figure(case), (began,), 1.3
        )
    for case, what in (("ours run", "run()"), ("ours record", "recording alone")):
        yield Target(
            "T-flat", f"{what} with 20,000 recorded, of the original's ingest", Figure(case), (original,), 0.05
        )
    yield Target("T-1000", "one run() of 1,000, of the original's 1,000 ingests", Figure("ours run"), (original,), 0.1)


def _life_cycle() -> Iterator[Target]:
    """What comes after storing."""
    for ending in ("", ", 10 times as much live"):
        ours, floor = Figure(f"ours collect{ending}"), Figure(f"floor delete{ending}")
        what = f"collection{ending}, of deleting the files and rows"
        yield Target("L-collect", what, ours, (floor,), 3)
    counted = "ours collect, counted"
    allowed = (Figure(counted, "allowed_requests"),)
    what = "requests, of one for each 1,000 dead and 3 for each pack made smaller"
    yield Target("L-collect-S3", what, Figure(counted, "all_requests"), allowed, 1)
    plan, nothing = "ours plan", Figure("ours plan, nothing due")
    yield Target("L-plan", "a plan, peak memory above imports", Figure(plan, _MEMORY), (), 150 * _MIB)
    yield Target("L-plan", "a plan, reads of storage", Figure(plan, "storage_reads"), (), 0)
    few = Figure(nothing.case, "few_s")
    yield Target("L-plan", "nothing due among 1,000,000 files, of among 10,000", nothing, (few,), 1.3)
    for name in ("4 KiB", "40 KiB", "large files", "many small packs"):
        ours, floor = (Figure(f"{case}, {name}", "read_bytes_per_s") for case in ("ours scrub", "floor read"))
        yield Target("L-scrub", f"{name}: bytes a second, of the floor's", ours, (floor,), 0.8, sense="at least")
    for case in ("service get", "ours ingest"):
        slow, alone = Figure(case, "p99_s"), Figure(f"{case}, no scrub", "p99_s")
        yield Target("L-foreground", f"{case} with the scrub, p99, of without", slow, (alone,), 2)
    for ending in ("sealed", "nothing sealed"):
        ours = Figure(f"ours rebuild, {ending}")
        what = f"rebuild, {ending}, of reading the same and writing the same rows"
        yield Target("L-rebuild", what, ours, (Figure(ours.case, "bare_s"),), 2)


_SERVED_LOAD = {"errors": "errors", "unaccounted": "recorded but not acknowledged, or the reverse"}
_LARGE_FILE = {"put": 0.8, "get": 0.9}
_HTTP_PUSH, _PER_S = Figure("command push"), "pushes_per_s"

TARGETS = (
    Target("W3", "ingest, of the ingest floor", _INGEST, (Figure("floor ingest"),), 2.5),
    Target("W3", "push as a whole process, of borg create", _PUSH, (Figure("borg store"),), 0.8, aim=0.6),
    Target(
        "W3",
        "ingest into a full store (1,000,000 blobs), of an empty one",
        Figure("ours ingest into a full store"),
        (_INGEST,),
        1.5,
    ),
    Target("W3", "re-ingest unchanged, of the hash floor", Figure("ours re-ingest"), (Figure("floor hash"),), 1.3),
    Target("W3", "verify, of the verify floor", Figure("ours verify"), (Figure("floor verify"),), 1.5),
    _get("on tmpfs"),
    _get("on disk"),
    Target("W3", "ingest, peak memory above imports", Figure("ours ingest", _MEMORY), (), 250 * _MIB),
    Target(
        "W6",
        "stored content, of the changed files' bytes",
        Figure("ours ingest", "content_bytes"),
        (Figure("ours ingest", "changed_bytes"),),
        1.1,
    ),
    Target("W6", "push as a whole process, of borg create", _PUSH, (Figure("borg store"),), 0.8),
    *_large("W4"),
    *_large("W5"),
    _start("guide-board ingest", 1.45, aim=1.0),
    _start("push", 1.45, aim=1.0),
    _start("help", 0.35),
    Target(
        "H-W1",
        "push from a warm process, of boto3 putting the files",
        Figure("client push"),
        (Figure("boto3 put"),),
        0.5,
    ),
    Target("H-W3", "push as a whole process, of skopeo copy", _HTTP_PUSH, (Figure("skopeo copy"),), 0.45),
    Target("H-W3", "push unchanged, of the first push", Figure("command push again"), (_HTTP_PUSH,), 0.6),
    *_takes("put"),
    *_takes("get"),
    *_load("1 worker"),
    *_load("2 workers"),
    Target(
        "H-load",
        "pushes per second with two workers, of with one",
        Figure("service push with 2 workers", _PER_S),
        (Figure("service push with 1 worker", _PER_S),),
        1.0,
        sense="at least",
    ),
    *map(_list, ("list", "find", "show")),
    *_on_servers(),
    *_observing(),
    *_testing_os(),
    *_life_cycle(),
)


def judge(workloads: Mapping[str, WorkloadResult]) -> list[Verdict]:
    """A verdict on every target of the workloads that were run."""
    return [judge_one(target, workloads[target.workload]) for target in TARGETS if target.workload in workloads]


def judge_one(target: Target, result: WorkloadResult) -> Verdict:
    """The verdict on one target by its workload's result."""
    measured, divided_by = _parts(target, result)
    value = measured if measured is None or divided_by is None else measured / divided_by
    return {
        "workload": target.workload,
        "what": target.what,
        "unit": "ratio" if target.of else unit_of(target.value.measure),
        "sense": target.sense,
        "limit": target.limit,
        "aim": target.aim,
        "measure": target.value.measure,
        "measured": measured,
        "divided_by": divided_by,
        "value": value,
        "met": None if value is None else _is_met(value, target),
    }


def unit_of(measure: str) -> str:
    """The unit a measure's name ends in."""
    endings = {"_per_s": "per second", "_bytes": "bytes", "_s": "seconds"}
    return next((unit for ending, unit in endings.items() if measure.endswith(ending)), "count")


def _is_met(value: float, target: Target) -> bool:
    return value <= target.limit if target.sense == "at most" else value >= target.limit


def _parts(target: Target, result: WorkloadResult) -> tuple[float | None, float | None]:
    """What is measured and what it is divided by; nothing where a figure is missing."""
    figures = (target.value, *target.of)
    if any(figure.measure not in _measures(result, figure) for figure in figures):
        return None, None
    if not target.of:
        return _measures(result, target.value)[target.value.measure]["max"], None
    measured, *others = (_measures(result, figure)[figure.measure]["median"] for figure in figures)
    return measured, sum(others)


def _measures(result: WorkloadResult, figure: Figure) -> Mapping[str, Spread]:
    found = result["cases"].get(figure.case)
    return found["measures"] if found else {}
