"""Ours, in a process that goes on: submissions judged, recorded and written to a tree. Run as a child.

``run`` is all that one does who has a submission: judged, recorded in one transaction, its record's file and the
indexes written under the tree's lock. ``record`` is the same without the tree. The stage log goes to standard error, as
the command writes it, and as the original does.
"""

from __future__ import annotations

import statistics
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from artifactstore.bootstrap import host_of, open_registry
from artifactstore.built_in import load_plugin
from artifactstore.config import Settings
from artifactstore.pilots.testing_os import run
from artifactstore.pilots.testing_os.ingesting import ingest_submission
from artifactstore.pilots.testing_os.provenance import stub_provenance
from artifactstore.pilots.testing_os.rules import rules_of
from artifactstore.pilots.testing_os.stage_log import stage_log
from artifactstore.pilots.testing_os.submission import parse_submission
from artifactstore.plugins.context import EmbeddedContext
from benchmarks.processes import FailedError, answer, stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from artifactstore.pilots.testing_os.running import Payload
    from benchmarks.processes import Measures, Request

    Ingest = Callable[[bytes], None]


@dataclass(slots=True)
class Side:
    """A store, what is still to be ingested into it, and how long each call took."""

    ingest: Ingest
    lines: list[bytes]
    times_s: list[float] = field(default_factory=list)

    def ingest_next(self, count: int) -> None:
        """The next few."""
        now, self.lines = self.lines[:count], self.lines[count:]
        for line in now:
            began = time.perf_counter()
            self.ingest(line)
            self.times_s.append(time.perf_counter() - began)


def feed(request: Request) -> Measures:
    """Every line of a file, in one call."""
    root, given = Path(str(request["root"])), Path(str(request["feed"]))
    with _open(str(request["home"])) as context, stopwatch() as measures:
        persisted = _run(context, given, root)
    _expect(persisted, len(_lines(given)))
    return measures


def feed_each(request: Request) -> Measures:
    """Every line of a file, each in a call of its own."""
    root, lines = Path(str(request["root"])), _lines(Path(str(request["feed"])))
    with _open(str(request["home"])) as context, stopwatch() as measures:
        persisted = sum(_run(context, line, root) for line in lines)
    _expect(persisted, len(lines))
    return measures


def run_one(request: Request) -> Measures:
    """The next submissions of a store that holds much and of one that holds little, each in a call of ``run``."""
    return _one(request, lambda context, root: lambda line: _expect(_run(context, line, root), 1))


def record_one(request: Request) -> Measures:
    """The same without a tree."""
    return _one(request, _recording)


def _one(request: Request, way: Callable[[EmbeddedContext, Path], Ingest]) -> Measures:
    """Calls in turn, by the batch; the median of each one's."""
    warm, batch = int(request["warm"]), int(request["batch"])
    with _open(str(request["home"])) as many, _open(str(request["empty_home"])) as empty:
        sides = [
            Side(way(context, Path(str(request[f"{name}root"]))), _lines(Path(str(request[f"{name}feed"]))))
            for context, name in ((many, ""), (empty, "empty_"))
        ]
        for side in sides:
            side.ingest_next(warm)
            side.times_s.clear()
        while any(side.lines for side in sides):
            for side in sides:
                side.ingest_next(batch)
    wall_s, empty_s = (statistics.median(side.times_s) for side in sides)
    return {"wall_s": wall_s, "empty_s": empty_s}


def _recording(context: EmbeddedContext, root: Path) -> Ingest:
    rules = rules_of(context, root, stub_provenance)

    def record(line: bytes) -> None:
        received = parse_submission(line)
        outcome = ingest_submission(context, received, rules, stage_log(received.value, _log))
        _expect(int(outcome.was_written), 1)

    return record


def _run(context: EmbeddedContext, payload: Payload, root: Path) -> int:
    """How many records were persisted, and are in the tree."""
    result = run(context, payload, root, stub_provenance, write_log=_log)
    if result.errors:
        raise FailedError(f"not all was recorded: {result.errors[0]}")
    in_tree = set(result.exported.written)  # and what was recorded without a tree before
    return sum(path in in_tree for path in result.persisted_records)


def _expect(persisted: int, count: int) -> None:
    if persisted != count:
        raise FailedError(f"{persisted} records were persisted, not {count}")


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def _log(line: str) -> None:
    sys.stderr.write(f"{line}\n")


@contextmanager
def _open(home: str) -> Iterator[EmbeddedContext]:
    settings = Settings.from_environment({"ARTIFACTSTORE_HOME": home})
    with closing(open_registry(settings)) as registry:
        yield EmbeddedContext(host_of(registry, settings), load_plugin("testing-os"))


if __name__ == "__main__":
    answer({"feed": feed, "feed_each": feed_each, "run": run_one, "record": record_one})
