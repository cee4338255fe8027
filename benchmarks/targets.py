"""What must be reached, as data: a measure over a sum of others, and the most it may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.runner import Spread, WorkloadResult

_MIB = 1024 * 1024


class Figure(NamedTuple):
    """The median of one measure of one case, in the target's workload."""

    case: str
    measure: str = "wall_s"


@dataclass(frozen=True, slots=True)
class Target:
    """``value`` over the sum of ``of`` is at most ``limit``; without ``of``, the largest ``value`` seen is."""

    workload: str
    what: str
    value: Figure
    of: tuple[Figure, ...]
    limit: float
    aim: float | None = None


class Verdict(TypedDict):
    """How a target came out. ``value`` is None where a figure is missing, and ``met`` with it."""

    workload: str
    what: str
    unit: str
    limit: float
    aim: float | None
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
)


def judge(workloads: Mapping[str, WorkloadResult]) -> list[Verdict]:
    """A verdict on every target of the workloads that were run."""
    return [_verdict(target, workloads[target.workload]) for target in TARGETS if target.workload in workloads]


def _verdict(target: Target, result: WorkloadResult) -> Verdict:
    value = _value(target, result)
    return {
        "workload": target.workload,
        "what": target.what,
        "unit": "ratio" if target.of else "bytes",
        "limit": target.limit,
        "aim": target.aim,
        "value": value,
        "met": None if value is None else value <= target.limit,
    }


def _value(target: Target, result: WorkloadResult) -> float | None:
    figures = (target.value, *target.of)
    if any(figure.measure not in _measures(result, figure) for figure in figures):
        return None
    if not target.of:
        return _measures(result, target.value)[target.value.measure]["max"]
    medians = [_measures(result, figure)[figure.measure]["median"] for figure in figures]
    return medians[0] / sum(medians[1:])


def _measures(result: WorkloadResult, figure: Figure) -> Mapping[str, Spread]:
    found = result["cases"].get(figure.case)
    return found["measures"] if found else {}
