"""Observations recorded one by one, in turn with what they are compared with: what else the machine does meets both.

Run as a child. Everything that is said and every row of the floor is in memory before the clock runs, and both have
written some that are not timed.
"""

from __future__ import annotations

import random
import statistics
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from benchmarks.on_servers.growing import environment_of_other, rest
from benchmarks.processes import FailedError, answer
from benchmarks.provenance.bare import TABLES, bare, transactions
from benchmarks.provenance.filled import fill
from benchmarks.provenance.observations import context_of, said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from artifactstore.catalog.database import Connection
    from artifactstore.plugins.context import EmbeddedContext
    from benchmarks.processes import Measures, Request
    from benchmarks.provenance.bare import Statement
    from benchmarks.provenance.observations import Said

_BATCH = 50
_NUMBERS = {"id", "source", "envelope", "ordinal", "seq", "at", "received_at", "indexed_at", "is_declared"}


def write(request: Request) -> Measures:
    """``timed`` calls into one database, bare transactions of the same rows into another, and the calls once more."""
    timed, warm = int(request["timed"]), int(request["warm"])
    settings, other = Settings.from_environment(), Settings.from_environment(environment_of_other(request))
    observations = said(warm + timed, random.Random(f"{request['seed']}/observations"))
    rows = transactions(observations)
    with closing(open_registry(settings)) as registry, ExitStack() as ending:
        context = context_of(registry, settings)
        open_registry(other).close()
        write_bare = ending.enter_context(bare(other.database_url))
        ways: dict[str, Callable[[slice], None]] = {
            "": lambda batch: _say(context, observations[batch], new=True),
            "floor_": lambda batch: _write(write_bare, rows[batch]),
            "again_": lambda batch: _say(context, observations[batch], new=False),
        }
        measures = _timed(ways, warm, timed)
    _expect_same_rows(settings, other)
    return measures


def grow(request: Request) -> Measures:
    """The calls that follow ``many`` observations in one database and ``few`` in another: medians of batches."""
    timed, warm = int(request["timed"]), int(request["warm"])
    settings, other = Settings.from_environment(), Settings.from_environment(environment_of_other(request))
    numbers = random.Random(f"{request['seed']}/observations")
    for each, count in ((settings, int(request["many"])), (other, int(request["few"]))):
        open_registry(each).close()
        fill(each.database_url, count)
        rest(each.database_url)
    with closing(open_registry(settings)) as many, closing(open_registry(other)) as few:
        contexts = context_of(many, settings), context_of(few, other)
        for context in contexts:
            _say(context, said(warm, numbers), new=True)
        times_s: tuple[list[float], list[float]] = ([], [])
        for batch in _batches(timed, 0):
            for context, spent in zip(contexts, times_s, strict=True):
                spent.append(_said_s(context, said(batch.stop - batch.start, numbers)))
    _expect_envelopes(settings, int(request["many"]) + warm + timed)
    return {"wall_s": statistics.median(times_s[0]), "few_s": statistics.median(times_s[1])}


def _said_s(context: EmbeddedContext, batch: Sequence[Said]) -> float:
    """The seconds of one call."""
    began = time.perf_counter()
    _say(context, batch, new=True)
    return (time.perf_counter() - began) / len(batch)


def _timed(ways: dict[str, Callable[[slice], None]], warm: int, timed: int) -> Measures:
    """The seconds of all that is timed, by the batch in turn."""
    measures = {f"{name}{kind}": 0.0 for name in ways for kind in ("wall_s", "cpu_s")}
    for batch in _batches(warm, 0):
        for way in ways.values():
            way(batch)
    for batch in _batches(timed, warm):
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            way(batch)
            measures[f"{name}wall_s"] += time.perf_counter() - wall
            measures[f"{name}cpu_s"] += time.process_time() - cpu
    return measures


def _batches(count: int, first: int) -> Iterator[slice]:
    for at in range(first, first + count, _BATCH):
        yield slice(at, min(at + _BATCH, first + count))


def _say(context: EmbeddedContext, batch: Sequence[Said], *, new: bool) -> None:
    for one in batch:
        if one.to(context).envelope.was_created != new:
            raise FailedError("an observation was recorded twice, or not at all")


def _write(write_bare: Callable[[Sequence[Statement]], None], batch: Sequence[Sequence[Statement]]) -> None:
    for statements in batch:
        write_bare(statements)


def _expect_same_rows(*both: Settings) -> None:
    """Raises ``FailedError`` unless both databases have as many rows and as many bytes in every table."""
    ours, floor = map(_sizes, both)
    if ours != floor:
        raise FailedError(f"the floor wrote other rows than ours: {floor} instead of {ours}")


def _expect_envelopes(settings: Settings, count: int) -> None:
    with closing(open_registry(settings)) as registry, registry.catalog.snapshot() as queries:
        ((found,),) = queries.connection.execute("SELECT count(*) FROM envelope")
    if found != count:
        raise FailedError(f"there are {found} envelopes, not {count}")


def _sizes(settings: Settings) -> dict[str, tuple[int, int]]:
    with closing(open_registry(settings)) as registry, registry.catalog.snapshot() as queries:
        return {table: _size(queries.connection, table) for table in TABLES}


def _size(connection: Connection, table: str) -> tuple[int, int]:
    """Rows, and the length of what is not a number: those are ids and instants."""
    columns = [name for name in TABLES[table].split(", ") if name not in _NUMBERS]
    lengths = " + ".join(f"coalesce(length({name}), 0)" for name in columns)
    ((rows, size_bytes),) = connection.execute(f"SELECT count(*), coalesce(sum({lengths}), 0) FROM {table}")
    return rows, int(size_bytes)


if __name__ == "__main__":
    answer({"write": write, "grow": grow})
