"""Reconcile: what a backend has against what the catalog says it has. Nothing is read, nothing is changed.

Both sides are gone through once in the order of their keys, so memory does not grow with the store. Others are at work
meanwhile: what differs is looked at once more on both sides before it is said. What is so young that a live writer may
still be about to record it is said to be young, and is no difference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from heapq import merge
from typing import TYPE_CHECKING

from artifactstore.catalog import backends, stored
from artifactstore.errors import (
    ArtifactStoreError,
    BackendUnknownError,
    ConfigurationError,
    ObjectNotFoundError,
    StorageError,
    StorageUnavailableError,
)
from artifactstore.registry.damage import recorded_now
from artifactstore.registry.progress import SILENT
from artifactstore.registry.read_back import key_of
from artifactstore.storage.port import ObjectKind, StrayKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.catalog.records import ObjectRecord
    from artifactstore.registry.progress import Progress
    from artifactstore.registry.registry import Registry
    from artifactstore.storage.port import ObjectInfo, ObjectStore, Stray

YOUNG_S = 10 * 60.0
"""How long a writer that is gone may be taken for alive, with something for clocks that differ: what is younger may be
about to be recorded. Where a live lease is older, what came since then may be, too."""
_PAGE = 500
_NAMED_USERS = 20
_MICROSECONDS = 1_000_000


class Kind(StrEnum):
    """What is different."""

    UNREFERENCED = "unreferenced"
    """An object that nothing in the catalog refers to."""
    MISSING = "missing"
    """The catalog refers to an object that is not there."""
    WRONG_SIZE = "wrong size"
    """It is there with another size than was recorded."""
    LEFTOVER = "leftover"
    """What a write that was broken off has left."""
    FOREIGN = "foreign"
    """Nothing of ours, where our objects are."""
    QUARANTINED = "quarantined"
    """A bad object that was set aside; counted, and no difference."""


_OF_STRAYS = {
    StrayKind.LEFTOVER: Kind.LEFTOVER,
    StrayKind.FOREIGN: Kind.FOREIGN,
    StrayKind.QUARANTINED: Kind.QUARANTINED,
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same on both sides, and what it concerns."""

    kind: Kind
    backend: str
    path: str
    """Its name in the backend."""
    size_bytes: int | None
    """What is there; None if nothing is."""
    recorded_bytes: int | None = None
    """What the catalog says; None if it says nothing."""
    recorded_status: str | None = None
    age_s: float | None = None
    is_young: bool = False
    concerns: tuple[tuple[str, str | None], ...] = ()
    """Packages and paths, some of them if there are many."""
    concerns_more: bool = False


@dataclass(slots=True)
class Tally:
    """How many, and how many bytes."""

    count: int = 0
    size_bytes: int = 0

    def add(self, size_bytes: int) -> None:
        """One more."""
        self.count += 1
        self.size_bytes += size_bytes


@dataclass(slots=True)
class ReconcileReport:
    """What is the same, and what is not."""

    backends: list[str] = field(default_factory=list)
    """Those that were compared."""
    agreeing: Tally = field(default_factory=Tally)
    """Objects that both sides have."""
    held_by_pushes: Tally = field(default_factory=Tally)
    """Objects that have bytes sent for packages that are still open."""
    totals: dict[Kind, Tally] = field(default_factory=lambda: {kind: Tally() for kind in Kind})
    young: Tally = field(default_factory=Tally)
    """What is so young that it may be about to be recorded; in no total."""
    differences: list[Difference] = field(default_factory=list)
    """A page of them: backend by backend, objects in the order of their keys before what is no object."""
    next_after: int | None = None
    """Where the next page begins; None if this is the last."""
    unreachable: dict[str, ArtifactStoreError] = field(default_factory=dict)

    @property
    def is_clean(self) -> bool:
        """Whether every backend was compared and is what the catalog says."""
        counted = (tally for kind, tally in self.totals.items() if kind is not Kind.QUARANTINED)
        return not self.unreachable and not any(tally.count for tally in counted)


def reconcile(
    registry: Registry, *, backend: str | None = None, after: int = 0, limit: int, progress: Progress = SILENT
) -> ReconcileReport:
    """Compare every backend, or one, with the catalog; name up to ``limit`` differences after the first ``after``.

    A backend that gives no answer is named, and the others are compared. Raises ``BackendUnknownError``, and why if no
    backend answers.
    """
    comparing = _Comparing(registry, after, limit, progress)
    for name in _wanted(registry, backend):
        try:
            comparing.backend(name)
        except (StorageError, ConfigurationError) as error:
            comparing.report.unreachable[name] = error
    report = comparing.report
    if report.unreachable and not report.backends:
        raise next(iter(report.unreachable.values()))
    return report


def _wanted(registry: Registry, backend: str | None) -> list[str]:
    if backend is None:
        with registry.catalog.snapshot() as queries:
            return sorted({*registry.backends, *backends.recorded(queries.connection)})
    if backend not in registry.backends:
        raise BackendUnknownError(f"there is no backend named {backend[:80]!r}")
    return [backend]


class _Comparing:
    def __init__(self, registry: Registry, after: int, limit: int, progress: Progress) -> None:
        self.report = ReconcileReport()
        self._registry = registry
        self._after, self._limit = after, limit
        self._progress = progress
        self._seen = 0

    def backend(self, name: str) -> None:
        """Compare one."""
        side = _Side(self._registry, name)
        side.require_content()
        self._progress.begin(f"comparing {name}", None)
        for listed, recorded in _side_by_side(side.listed(), side.recorded()):
            self._pair(side, listed, recorded)
        for stray in side.store.strays():
            self._stray(side, stray)
        self.report.backends.append(name)

    def _pair(self, side: _Side, listed: ObjectInfo | None, recorded: ObjectRecord | None) -> None:
        self._progress.advance(0 if listed is None else listed.size_bytes)
        if listed is not None and recorded is None:
            self._unrecorded(side, listed)
        elif recorded is not None and listed is not None and listed.size_bytes == recorded.size_bytes:
            self.report.agreeing.add(listed.size_bytes)
        elif recorded is not None:
            self._not_as_recorded(side, recorded)

    def _unrecorded(self, side: _Side, listed: ObjectInfo) -> None:
        if side.is_held_by_pushes(listed):
            self.report.held_by_pushes.add(listed.size_bytes)
        elif side.is_unrecorded_still(listed):
            kind, path = Kind.UNREFERENCED, listed.key.path
            young = side.is_young(listed.age_s)
            self._add(Difference(kind, side.name, path, listed.size_bytes, age_s=listed.age_s, is_young=young))

    def _not_as_recorded(self, side: _Side, recorded: ObjectRecord) -> None:
        now = side.recorded_now(recorded)
        if now is None:
            return  # it is being removed, or has been
        size_bytes = side.size(now)
        if size_bytes == now.size_bytes:
            self.report.agreeing.add(size_bytes)
            return
        kind = Kind.MISSING if size_bytes is None else Kind.WRONG_SIZE
        users = side.users(now)
        self._add(
            Difference(
                kind, side.name, key_of(now).path, size_bytes,
                recorded_bytes=now.size_bytes, recorded_status=now.status,
                concerns=tuple(users[:_NAMED_USERS]), concerns_more=len(users) > _NAMED_USERS,
            )
        )  # fmt: skip

    def _stray(self, side: _Side, stray: Stray) -> None:
        kind = _OF_STRAYS[stray.kind]
        young = kind is Kind.LEFTOVER and side.is_young(stray.age_s)
        difference = Difference(kind, side.name, stray.path, stray.size_bytes, age_s=stray.age_s, is_young=young)
        if kind is Kind.QUARANTINED:
            self.report.totals[kind].add(stray.size_bytes)
        else:
            self._add(difference)

    def _add(self, difference: Difference) -> None:
        report = self.report
        tally = report.young if difference.is_young else report.totals[difference.kind]
        tally.add(difference.size_bytes or 0)
        self._seen += 1
        if self._after < self._seen <= self._after + self._limit:
            report.differences.append(difference)
        elif self._seen > self._after + self._limit:
            report.next_after = self._after + self._limit


class _Side:
    """One backend, as it is and as the catalog has it."""

    def __init__(self, registry: Registry, name: str) -> None:
        self.name = name
        self.store: ObjectStore = registry.backend(name)
        self._registry = registry
        now = registry.clock()
        alive_after = now - int(YOUNG_S * _MICROSECONDS)
        with registry.catalog.snapshot() as queries:
            oldest = stored.oldest_live_lease(queries.connection, alive_after)
            self._held = set(stored.held_by_pushes(queries.connection, name))
        self._young_s = YOUNG_S + (0.0 if oldest is None else max(0, now - oldest) / _MICROSECONDS)

    def require_content(self) -> None:
        """Raises ``StorageUnavailableError`` if there is nothing where the catalog has something."""
        with self._registry.catalog.snapshot() as queries:
            expects_content = stored.has_live_objects(queries.connection, self.name)
        if expects_content and next(self.listed(), None) is None:
            raise StorageUnavailableError(
                f"backend {self.name!r} holds no object at all, so it is not judged object by object",
                hint="Is it mounted, and is its URL right?",
            )

    def listed(self) -> Iterator[ObjectInfo]:
        """What is there, in the order of keys."""
        return merge(*map(self.store.list, ObjectKind), key=lambda info: (info.key.digest, info.key.kind))

    def recorded(self) -> Iterator[ObjectRecord]:
        """What the catalog has there, in the same order."""
        after = stored.Place()
        while True:
            with self._registry.catalog.snapshot() as queries:
                page = stored.in_key_order(queries.connection, after, limit=_PAGE)
            yield from (found for found in page if found.backend == self.name)
            if len(page) < _PAGE:
                return
            after = stored.Place(page[-1].blake3, page[-1].kind, page[-1].backend)

    def is_held_by_pushes(self, listed: ObjectInfo) -> bool:
        """Whether it has bytes that were sent for an open package."""
        return (str(listed.key.kind), listed.key.digest) in self._held

    def is_unrecorded_still(self, listed: ObjectInfo) -> bool:
        """Whether it is there and the catalog has not come to know of it since it was listed."""
        with self._registry.catalog.snapshot() as queries:
            places = queries.objects_of_digest(listed.key.kind, listed.key.digest)
        if any(place.backend == self.name for place in places):
            return False
        try:
            self.store.size(listed.key)
        except ObjectNotFoundError:
            return False
        return True

    def recorded_now(self, recorded: ObjectRecord) -> ObjectRecord | None:
        """As the catalog has it now; None if it is condemned or gone."""
        with self._registry.catalog.snapshot() as queries:
            return recorded_now(queries, recorded)

    def size(self, recorded: ObjectRecord) -> int | None:
        """How large it is there; None if it is not."""
        try:
            return self.store.size(key_of(recorded))
        except ObjectNotFoundError:
            return None

    def users(self, recorded: ObjectRecord) -> list[tuple[str, str | None]]:
        """Who needs it, and one more than is told."""
        with self._registry.catalog.snapshot() as queries:
            return stored.users_of_object(queries.connection, recorded, limit=_NAMED_USERS + 1)

    def is_young(self, age_s: float | None) -> bool:
        """Whether a live writer may be about to record it."""
        return age_s is not None and age_s < self._young_s


def _side_by_side(
    listed: Iterator[ObjectInfo], recorded: Iterator[ObjectRecord]
) -> Iterator[tuple[ObjectInfo | None, ObjectRecord | None]]:
    """Both, in the order of keys that they have in common; None where one side has nothing."""
    here, there = next(listed, None), next(recorded, None)
    while here is not None or there is not None:
        place = None if here is None else (here.key.digest, str(here.key.kind))
        other = None if there is None else (there.blake3, there.kind)
        first = min(key for key in (place, other) if key is not None)
        yield here if place == first else None, there if other == first else None
        if place == first:
            here = next(listed, None)
        if other == first:
            there = next(recorded, None)
