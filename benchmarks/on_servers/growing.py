"""A catalog that grows: how long an ingest takes with few packages stored, and with many. Run as a child.

What is timed is the whole use-case on tiny files: every look-up, and one transaction for each package. Their bytes stay
in memory, so that the catalog is what is measured. The first packages of one catalog and the last of another are taken
in turn, because they take a few milliseconds: what else the machine does must not meet only one of them. Before that,
the other is filled with packages recorded many in one transaction, as the events of such an ingest: the same rows,
sooner. Then both databases are brought to rest, and a few hundred packages are recorded before the clock runs.
"""

from __future__ import annotations

import random
import statistics
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from artifactstore.bootstrap import is_postgresql, open_registry
from artifactstore.config import Settings
from artifactstore.domain.identifiers import new_uuid7
from artifactstore.domain.media_type import media_type_of
from artifactstore.domain.package import DEFAULT_ROLE, BytesSource, FileDraft, PackageDraft
from artifactstore.domain.retention import RetentionClass
from artifactstore.errors import ObjectNotFoundError
from artifactstore.registry.ingest import ingest
from artifactstore.storage.memory import MemoryStore
from benchmarks.catalogs import PACKAGES_IN_GROUP, package_events, register_schema
from benchmarks.processes import FailedError, answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.registry.registry import Registry
    from artifactstore.storage.port import ObjectKey
    from benchmarks.processes import Measures, Request

_FILES = tuple(f"file-{number}.json" for number in range(10))
_FILE_BYTES = 64
_BATCH = 50
_PACKAGES_AT_ONCE = 500
PRODUCER = "growing"


def grow(request: Request) -> Measures:
    """The first ``timed`` packages of one catalog, and the last of another that then has ``count``: medians of batches.

    The environment names the one that grows, the request the other.
    """
    count, timed, warm = int(request["count"]), int(request["timed"]), int(request["warm"])
    grown, new = Settings.from_environment(), Settings.from_environment(environment_of_other(request))
    numbers = random.Random(f"{request['seed']}/growing")
    with closing(open_registry(grown)) as many, closing(open_registry(new)) as few:
        _fill(many, numbers, count - timed - warm)
        for settings in (grown, new):
            rest(settings.database_url)
        last_s, first_s = _in_turn([_in_memory(many), _in_memory(few)], numbers, warm, timed)
        packages = _packages(many, count), _packages(few, count)
    if packages != (count, timed + warm):
        raise FailedError(f"{packages} packages were recorded, not {count} and {timed + warm}")
    return {"wall_s": statistics.median(last_s), "first_s": statistics.median(first_s), "packages": packages[0]}


def environment_of_other(request: Request) -> dict[str, str]:
    begin = "other_"
    return {name.removeprefix(begin): str(value) for name, value in request.items() if name.startswith(begin)}


def _in_memory(registry: Registry) -> Registry:
    """The same catalog with storage that is not measured."""
    return replace(registry, backends={registry.default_backend: _BelievingStore()})


class _BelievingStore(MemoryStore):
    """Believes that whatever the catalog recorded without it is there: an ingest asks for the object recorded last."""

    def size(self, key: ObjectKey) -> int:
        """Of what it has; 0 of what it only believes in."""
        try:
            return super().size(key)
        except ObjectNotFoundError:
            return 0


def _packages(registry: Registry, at_most: int) -> int:
    with registry.catalog.snapshot() as queries:
        return len(queries.packages(after=0, limit=at_most + 1))


def _in_turn(registries: Sequence[Registry], numbers: random.Random, warm: int, timed: int) -> list[list[float]]:
    """The seconds of one package in each registry, by the batch."""
    for registry in registries:
        _ingested_s(registry, [_draft(numbers) for _ in range(warm)])
    times_s: list[list[float]] = [[] for _ in registries]
    for _ in range(timed // _BATCH):
        for registry, spent in zip(registries, times_s, strict=True):
            spent.append(_ingested_s(registry, [_draft(numbers) for _ in range(_BATCH)]) / _BATCH)
    return times_s


def _ingested_s(registry: Registry, drafts: Sequence[PackageDraft]) -> float:
    began = time.perf_counter()
    for draft in drafts:
        ingest(registry, draft)
    return time.perf_counter() - began


def _draft(numbers: random.Random) -> PackageDraft:
    files = tuple(
        FileDraft(path, BytesSource(numbers.randbytes(_FILE_BYTES)), DEFAULT_ROLE, media_type_of(path))
        for path in _FILES
    )
    return PackageDraft(PRODUCER, files, RetentionClass.SUMMARY_EVIDENCE, external_id=numbers.randbytes(16).hex())


def _fill(registry: Registry, numbers: random.Random, count: int) -> None:
    register_schema(registry)
    groups = max(1, count // PACKAGES_IN_GROUP)
    for first in range(0, count, _PACKAGES_AT_ONCE):
        with registry.transaction() as tx:
            for number in range(first, min(count, first + _PACKAGES_AT_ONCE)):
                tx.record(*package_events(registry, new_uuid7(), number, groups, numbers, _FILES))


def rest(url: str) -> None:
    """Have the database done with what it puts off: nobody pays for the packages before."""
    if is_postgresql(url):
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")
        return
    import sqlite3

    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


if __name__ == "__main__":
    answer({"grow": grow})
