"""What is measured of recording observations: on SQLite and on PostgreSQL, each run with databases of its own."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.cases import Case
from benchmarks.on_servers.cases import ServerWorkload
from benchmarks.on_servers.shared import POSTGRESQL, SQLITE
from benchmarks.processes import ask_another
from benchmarks.provenance.observations import GRANT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.data import Dataset
    from benchmarks.on_servers.shared import OnServers
    from benchmarks.processes import Measures

_IN_TURN = "benchmarks.provenance.in_turn"
_WARM = 100


class Sizes(NamedTuple):
    """How much of everything."""

    timed: int
    many: int
    few: int


FULL = Sizes(timed=1_000, many=1_000_000, few=1_000)
QUICK = Sizes(timed=50, many=2_000, few=100)


def _written(shared: OnServers, _: Dataset | None) -> Iterator[Case]:
    timed = _sizes(shared).timed
    for kind in (SQLITE, POSTGRESQL):
        yield Case(
            f"ours observe on {kind}",
            f"{timed:,} calls of context.ingest without a package, one transaction each, in turn with as many bare"
            " transactions of the same rows, and with the same calls once more",
            partial(_asked, shared, kind, "write", timed=timed),
            shared.prepare,
        )


def _growing(shared: OnServers, _: Dataset | None) -> Iterator[Case]:
    sizes = _sizes(shared)
    for kind in (SQLITE, POSTGRESQL):
        yield Case(
            f"ours observe on {kind}",
            f"one call with {sizes.many:,} envelopes recorded: the median of the next {sizes.timed:,}, by the batch, in"
            f" turn with the next {sizes.timed:,} of a store that has {sizes.few:,}",
            partial(_asked, shared, kind, "grow", **sizes._asdict()),
            shared.prepare,
            most_repeats=1,
        )


def _sizes(shared: OnServers) -> Sizes:
    return QUICK if shared.quick else FULL


def _asked(shared: OnServers, kind: str, do: str, scratch: Path, **request: int) -> Measures:
    with shared.two_databases(kind, scratch) as (settings, other):
        given = {name: value for name, value in {**other, **GRANT}.items() if name.startswith("ARTIFACTSTORE_")}
        named = {f"other_{name}": value for name, value in given.items()}
        return ask_another(
            sys.executable, {**settings, **GRANT}, _IN_TURN, do, warm=_WARM, seed=shared.seed, **request, **named
        )[0]


PROVENANCE_WORKLOADS = {
    workload.name: workload
    for workload in (
        ServerWorkload(
            "I-1000", "observations without a package, one by one, beside bare transactions", None, _written
        ),
        ServerWorkload("I-flat", "observations with few and with many recorded", None, _growing, large=True),
    )
}
