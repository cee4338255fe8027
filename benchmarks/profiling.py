"""Where the time of one operation goes: by module, by function, and in fsync. Run as a child, so that imports are paid.

Time inside C (reading, hashing, SQLite) counts for the module that called it. The profiler slows Python code down by
half or more, so read the shares; the time without a profiler is printed above them. Threads are not followed: time
spent waiting for them stands under the functions that wait. What ``get`` writes goes to memory, if it can.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import shutil
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifactstore.registry.files import get_package
from artifactstore.registry.verify import verify_package
from benchmarks.ours import ingest_directory, open_home
from benchmarks.processes import answer, ask, memory_folder, stopwatch, touch_memory, warm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.processes import Measures, Request

    Function = tuple[str, int, str]

OPERATIONS = ("ingest", "reingest", "verify", "get")
_LINES = 25
_C = "~"


def profile(operation: str, source: Path, scratch: Path) -> str:
    """The report in words: the operation plain, then profiled, each in a new store that was made ready for it."""
    with tempfile.TemporaryDirectory(prefix="artifactstore-bench-", dir=memory_folder()) as place:
        plainly, _ = _ask("plain", operation, source, scratch, Path(place))
        shown, words = _ask("profiled", operation, source, scratch, Path(place))
    head = (
        f"{operation}: without a profiler {plainly['wall_s']:.3f} s, of it {plainly['fsync_s']:.3f} s in"
        f" {plainly['fsyncs']:.0f} fsyncs (SQLite's own not counted); with one {shown['wall_s']:.3f} s"
    )
    return f"{head}\n\n{words['by_module']}\n\n{words['by_function']}\n"


def _ask(do: str, operation: str, source: Path, scratch: Path, place: Path) -> tuple[Measures, dict[str, str]]:
    return ask("benchmarks.profiling", do, operation=operation, source=source, scratch=scratch / do, target=place / do)


def plain(request: Request) -> Measures:
    """The operation once, with its fsyncs counted and timed."""
    operation = _prepared(request)
    spent: list[float] = []
    _time_fsync(spent)
    with stopwatch() as measures:
        operation()
    return measures | {"fsync_s": sum(spent), "fsyncs": len(spent)}


def profiled(request: Request) -> tuple[Measures, dict[str, str]]:
    """The operation once, under cProfile."""
    operation = _prepared(request)
    profiler = cProfile.Profile()
    with stopwatch() as measures:
        profiler.runcall(operation)
    own_times = list(_own_times(pstats.Stats(profiler)))
    by_module, by_function = Counter[str](), Counter[str]()
    for function, caller, seconds in own_times:
        module = _module(caller if function[0] == _C else function)
        by_module[module] += seconds  # type: ignore[assignment]
        by_function[f"{module}  {function[2]}"] += seconds  # type: ignore[assignment]
    return measures, {"by_module": _shares(by_module), "by_function": _shares(by_function)}


def _prepared(request: Request) -> Callable[[], object]:
    """The operation, ready to be called, on a new home."""
    scratch, source = Path(str(request["scratch"])), Path(str(request["source"]))
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    home = str(scratch / "home")
    ask("benchmarks.ours", "prepare", home=home)
    warm((source,))
    touch_memory(scratch, sum(path.stat().st_size for path in source.rglob("*") if path.is_file()))
    registry = open_home(home)
    ingesting = partial(ingest_directory, registry, source, "profiled")
    if request["operation"] == "ingest":
        return ingesting
    package_id = ingesting().package_id
    registry.close()
    others: dict[str, Callable[[], object]] = {
        "reingest": ingesting,
        "verify": partial(verify_package, registry, package_id),
        "get": partial(get_package, registry, package_id, Path(str(request["target"]))),
    }
    return others[str(request["operation"])]


def _time_fsync(spent: list[float]) -> None:
    fsync = os.fsync

    def timed(descriptor: int) -> None:
        with stopwatch() as measures:
            fsync(descriptor)
        spent.append(measures["wall_s"])

    os.fsync = timed  # type: ignore[assignment]


def _own_times(stats: pstats.Stats) -> Iterator[tuple[Function, Function, float]]:
    """Each function with each of its callers, and the own time spent on that caller's behalf."""
    collected: dict[Function, Any] = stats.stats  # type: ignore[attr-defined]
    for function, (_, _, own_s, _, callers) in collected.items():
        if not callers:
            yield function, function, own_s
        for caller, (_, _, for_caller_s, _) in callers.items():
            yield function, caller, for_caller_s


def _module(function: Function) -> str:
    path = Path(function[0])
    for package in ("artifactstore", "benchmarks"):
        if package in path.parts:
            at = len(path.parts) - 1 - path.parts[::-1].index(package)
            return ".".join((*path.parts[at:-1], path.stem))
    return "(other)" if function[0] == _C else path.stem


def _shares(spent: Counter[str]) -> str:
    total = sum(spent.values())
    lines = (f"{seconds:8.3f} s {seconds / total:6.1%}  {name}" for name, seconds in spent.most_common(_LINES))
    return "\n".join(lines)


if __name__ == "__main__":
    answer({"plain": plain, "profiled": profiled})
