"""Ours, by the library, in a process that has imported everything. Run as a child; the environment names the store.

Every operation checks what it did before it answers: a benchmark of something that does not work is worth nothing.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from artifactstore.bootstrap import open_registry
from artifactstore.catalog import duties as rows
from artifactstore.catalog import stored
from artifactstore.config import Settings
from artifactstore.domain.instant import MICROSECONDS_PER_DAY, Instant
from artifactstore.registry.applying import apply_plan
from artifactstore.registry.collecting import collect
from artifactstore.registry.duties import run_now
from artifactstore.registry.files import get_package
from artifactstore.registry.healing import heal_all, heal_package
from artifactstore.registry.planning import make_plan
from artifactstore.registry.read_back import key_of
from artifactstore.registry.reconciling import reconcile
from artifactstore.registry.retention import pin_package, unpin_package
from artifactstore.registry.store_duties import VERIFY
from benchmarks.on_servers.growing import environment_of_other
from benchmarks.processes import FailedError, answer, peak_resident_bytes, resident_bytes, stopwatch

if TYPE_CHECKING:
    from artifactstore.registry.registry import Registry
    from artifactstore.storage.port import ObjectStore
    from benchmarks.processes import Measures, Request

_SCRUB_AGO_DAYS = 60
_READING = ("open", "read", "list", "strays")
_ASKING = ("size",)


# collection


def collecting(request: Request) -> Measures:
    """All of it: look, condemn, delete, record. Nobody is waited for, and readers have no grace."""
    with closing(_open()) as registry:
        at_once = replace(registry, collection=replace(registry.collection, grace_s=0))
        with stopwatch() as measures:
            report = collect(at_once, wait_s=0)
        here = report.backends[registry.default_backend]
        with registry.catalog.snapshot() as queries:
            left = next(queries.connection.execute("SELECT count(*) FROM removal"))
        if not report.is_done or left[0] or here.bytes_after != _bytes_there(registry):
            raise FailedError(f"not all was collected: {report}")
    _expect("objects", here.deleted, int(request["objects"]) + int(request["repacked"]))
    _expect("packs made smaller", here.repacked, int(request["repacked"]))
    return {**measures, "objects": float(here.deleted), "repacked": float(here.repacked)}


def _bytes_there(registry: Registry) -> int:
    with registry.catalog.snapshot() as queries:
        ((found,),) = queries.connection.execute("SELECT coalesce(sum(size_bytes), 0) FROM stored_object")
    return int(found)


# plans


class CountingStore:
    """A backend that counts what it is asked for."""

    def __init__(self, store: ObjectStore) -> None:
        self.counts = Counter[str]()
        self._store = store

    def __getattr__(self, name: str) -> Any:
        if name in (*_READING, *_ASKING):
            self.counts[name] += 1
        return getattr(self._store, name)


def planning(request: Request) -> Measures:
    """A plan of everything that is due, what it reads of storage, and how much memory it takes."""
    with closing(_open()) as registry:
        counting = CountingStore(registry.store)
        counted = replace(registry, backends={registry.default_backend: cast("ObjectStore", counting)})
        before = resident_bytes()
        with stopwatch() as measures:
            made = make_plan(counted)
        measures["memory_above_imports_bytes"] = peak_resident_bytes() - before
    _expect("packages", made.totals.delete, int(request["due"]))
    if made.totals.frees_bytes <= 0:
        raise FailedError("nothing comes free")
    asked = {f"{kind}_requests": float(counting.counts[kind]) for kind in (*_READING, *_ASKING)}
    return {**measures, **asked, "storage_reads": float(sum(counting.counts[kind] for kind in _READING))}


def planning_nothing(request: Request) -> Measures:
    """The plan of a store where nothing is due, in turn with that of a small one. No two plans are the same."""
    small = Settings.from_environment(environment_of_other(request))
    with closing(_open()) as many, closing(open_registry(small)) as few:
        sides = [(registry, _any_package(registry), list[float]()) for registry in (many, few)]
        for number in range(int(request["timed"]) + 2):
            for registry, package_id, times_s in sides:
                _disturb(registry, package_id)
                began = time.perf_counter()
                made = make_plan(registry)
                if number >= 2:  # both are warm
                    times_s.append(time.perf_counter() - began)
                _expect("packages", made.totals.delete, 0)
    many_s, few_s = (statistics.median(times_s) for _, _, times_s in sides)
    return {"wall_s": many_s, "few_s": few_s}


def _disturb(registry: Registry, package_id: str) -> None:
    """Something a plan may follow from happens: the same state would be answered with the plan that is there."""
    pin_package(registry, package_id, reason="a benchmark")
    unpin_package(registry, package_id, reason="a benchmark")


def _any_package(registry: Registry) -> str:
    with registry.catalog.snapshot() as queries:
        return queries.packages(after=0, limit=1)[0].package_id


def applying(request: Request) -> Measures:
    """A plan carried out."""
    with closing(_open()) as registry:
        digest = make_plan(registry).digest
        with stopwatch() as measures:
            report = apply_plan(registry, digest)
    _expect("packages", report.deleted, int(request["due"]))
    return {**measures, "packages_per_s": report.deleted / measures["wall_s"]}


# the scrub


def scrubbing(request: Request) -> Measures:
    """The duty, without a limit to its rate, over all that a first small slice has left."""
    with closing(_open()) as registry:
        fast = replace(registry, scrub_bytes_per_s=0, verify_every_days=1)
        run_now(fast, VERIFY)
        later = _shifted(fast, 2)
        with stopwatch() as measures:
            read = run_now(later, VERIFY)
    if read["damage"] or read["last_round_ended_at"] is None:
        raise FailedError(f"the scrub has not read everything, or found damage: {read}")
    if (bytes_read := int(str(read["bytes_read"]))) < int(request["least_bytes"]):
        raise FailedError(f"the scrub has read {bytes_read} bytes only")
    return {**measures, "read_bytes": float(bytes_read), "read_bytes_per_s": bytes_read / measures["wall_s"]}


def scrub_overdue(_: Request) -> Measures:
    """Have the duty overdue: it ran long ago, so its next slice is everything."""
    with closing(_open()) as registry:
        run_now(_shifted(replace(registry, scrub_bytes_per_s=0), -_SCRUB_AGO_DAYS), VERIFY)
    return {}


def scrub_on(_: Request) -> Measures:
    """Run the duty once, as the configuration has it; whoever started this ends it."""
    with closing(_open()) as registry:
        run_now(registry, VERIFY)
    return {}


def is_scrubbing(registry: Registry) -> bool:
    """Whether somebody is at it now."""
    with registry.catalog.snapshot() as queries:
        return any(each.name == VERIFY.name and each.holder for each in rows.all_duties(queries.connection))


# what has no target


def reconciling(request: Request) -> Measures:
    """Both sides compared."""
    with closing(_open()) as registry, stopwatch() as measures:
        report = reconcile(registry, limit=100)
    if not report.is_clean:
        raise FailedError(f"the backends are not what the catalog says: {report.totals}")
    _expect("objects", report.agreeing.count, int(request["objects"]))
    return {**measures, "objects_per_s": report.agreeing.count / measures["wall_s"]}


def healing(request: Request) -> Measures:
    """A package all of whose files are gone, from a directory that has them; then nothing, where all is well."""
    folder = Path(str(request["folder"]))
    with closing(_open()) as registry:
        package_id = _any_package(registry)
        get_package(registry, package_id, folder)
        lost = _lose(registry, package_id)
        with stopwatch() as measures:
            report = heal_package(registry, package_id, folder=folder)
        if not report.is_whole:
            raise FailedError(f"not everything was healed: {report.not_healed[:1]}")
        _expect("objects", report.objects, lost)
        began = time.perf_counter()
        nothing = heal_all(registry)
        measures["nothing_to_heal_s"] = time.perf_counter() - began
        _expect("objects", nothing.objects, 0)
    return {**measures, "objects_per_s": lost / measures["wall_s"]}


def _lose(registry: Registry, package_id: str) -> int:
    with registry.catalog.snapshot() as queries:
        package = queries.package(package_id)
        assert package is not None, "it was just listed"
        objects = stored.of_package(queries.connection, package.row_id, package.manifest_digest or b"")
    lost = [found for found in objects if found.kind == "blob"]
    registry.store.delete_many([key_of(found) for found in lost])
    return len(lost)


def _shifted(registry: Registry, days: int) -> Registry:
    by = days * MICROSECONDS_PER_DAY
    return replace(registry, clock=lambda: Instant(registry.clock() + by))


def _expect(what: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise FailedError(f"{found} {what}, not {wanted}")


def _open() -> Registry:
    return open_registry(Settings.from_environment())


if __name__ == "__main__":
    answer(
        {
            "collect": collecting,
            "plan": planning,
            "plan_nothing": planning_nothing,
            "apply": applying,
            "scrub": scrubbing,
            "scrub_overdue": scrub_overdue,
            "scrub_on": scrub_on,
            "reconcile": reconciling,
            "heal": healing,
        }
    )
