"""Transactions: the one way to change what exists.

``tx.record(*events)`` updates the tables and, just before the commit, appends to the log under the append lock. Both
are in one transaction, so the tables never say more or less than the log.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from artifactstore.catalog import accounting, event_log, usage
from artifactstore.catalog.projections import project
from artifactstore.catalog.queries import Queries
from artifactstore.domain.canonical import decode_own
from artifactstore.domain.events import TAKES_AWAY, PackageFinalized, PackageOpened
from artifactstore.domain.object_events import ObjectCondemned, ObjectDeleted, ObjectReprieved, ObjectRestored
from artifactstore.domain.quotas import QuotaState
from artifactstore.errors import ConcurrentUpdateError
from artifactstore.failpoints import failpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from artifactstore.catalog.accounting import Change
    from artifactstore.catalog.database import Connection, Database
    from artifactstore.domain.event import Event, ObjectRef
    from artifactstore.domain.instant import Instant


SAYS_OF_REMOVAL = {ObjectCondemned.type, ObjectDeleted.type, ObjectReprieved.type, ObjectRestored.type}


@dataclass(slots=True)
class _Reliance:
    """What has to be present still when a transaction commits, as it was when the log ended at ``since``."""

    since: int
    blobs: list[bytes] = field(default_factory=list)
    manifests: list[bytes] = field(default_factory=list)
    puts: list[ObjectRef] = field(default_factory=list)


class Transaction(Queries):
    """One intention: read, record events, committed once by whoever opened it."""

    def __init__(self, connection: Connection, actor: str) -> None:
        super().__init__(connection)
        self._actor = actor
        self._events: list[Event] = []
        self._changes: list[Change] = []
        self._relied: _Reliance | None = None
        self._quotas: dict[str, int] = {}

    def record(self, *events: Event) -> None:
        """Let these events have happened: the tables follow now, the log and what is counted at the commit.

        What takes files away is counted at once, under the lock of the log, for what is asked next must see it.
        """
        for event in events:
            change = project(self.connection, event, self._actor)
            if change is not None:
                self._changes.append(change)
                if change.released is not None:
                    self.lock_log()
                    self._settle()
            failpoint(f"catalog.after-{event.type}")
        self._events += events

    def lock(self, kind: str, name: str) -> None:
        """Until the transaction ends nobody else has the lock of this name; what they did is seen from here on.

        Taken before what is decided under it is read. In this order, so that no two wait for each other: idempotency
        key, open package, schema, run (several by name), contribution, rows; ``lock_log`` alone.
        """
        self.connection.lock(f"{kind} {name}")

    def lock_log(self) -> None:
        """From here on nobody else changes what events say. Short: every other writer of events waits at its end."""
        self.connection.lock_append()

    def lock_object(self, row_id: int) -> None:
        """From here on nobody else changes this object's state, nor that of what lies in it."""
        self.connection.execute("UPDATE stored_object SET status = status WHERE id = ?", (row_id,))

    def rely_on_presence(self, blobs: Iterable[bytes], *, manifest: bytes | None, since: int) -> None:
        """Commit only if these blobs, and the manifest if one is given, still are present as they were at ``since``.

        Else ``ConcurrentUpdateError``. Every change of presence is an event and events are appended under one lock. So
        under that lock a look at the log's tail says whether anything was taken away; only then all is looked up again.
        Said more than once, all of it counts.
        """
        relied = self._relied = self._relied or _Reliance(since)
        relied.since = min(since, relied.since)
        relied.blobs += blobs
        if manifest is not None:
            relied.manifests.append(manifest)

    def rely_on_puts(self, objects: Iterable[ObjectRef], *, since: int) -> None:
        """Commit only if none of these objects was condemned or removed after it was put, which began at ``since``.

        Else ``ConcurrentUpdateError``. For whoever puts without a lease, which collection would wait for. What is said
        here of ``since`` is as in ``rely_on_presence``.
        """
        relied = self._relied = self._relied or _Reliance(since)
        relied.since = min(since, relied.since)
        relied.puts += objects

    def keep_quota(self, producer: str, quota_bytes: int) -> None:
        """Commit only if a producer's packages come to no more than this with those that are recorded.

        Else ``QuotaExceededError``. Looked at under the lock of the log: of two that do not fit together one does.
        """
        self._quotas[producer] = quota_bytes

    # leases: operational, so not events

    def open_lease(self, lease_id: str, purpose: str, now: Instant) -> None:
        """Claim."""
        self.connection.execute(
            "INSERT INTO lease (lease_id, purpose, owner, opened_at, heartbeat_at) VALUES (?, ?, ?, ?, ?)",
            (lease_id, purpose, self._actor, now, now),
        )

    def renew_lease(self, lease_id: str, now: Instant) -> bool:
        """Still alive; whether it is there."""
        sql = "UPDATE lease SET heartbeat_at = ? WHERE lease_id = ? RETURNING 1"
        return bool(list(self.connection.execute(sql, (now, lease_id))))

    def end_lease(self, lease_id: str) -> bool:
        """Done; whether it was there."""
        return bool(list(self.connection.execute("DELETE FROM lease WHERE lease_id = ? RETURNING 1", (lease_id,))))

    def finish(self, at: Instant) -> None:
        """Append the recorded events. Called once, just before the commit."""
        if not self._events and self._relied is None:
            return
        self.connection.lock_append()
        self._check_reliance()
        self._settle()
        self._check_quotas()
        event_log.append(self.connection, self._events, actor=self._actor, at=at)

    def _settle(self) -> None:
        changes, self._changes = self._changes, []
        accounting.settle(self.connection, changes)

    def _check_quotas(self) -> None:
        for producer, quota_bytes in self._quotas.items():
            opened = {
                each.package_id
                for each in self._events
                if isinstance(each, PackageOpened) and each.producer == producer
            }
            wanted = sum(
                each.total_bytes
                for each in self._events
                if isinstance(each, PackageFinalized) and each.package_id in opened
            )
            if opened:
                used = usage.logical_bytes_of(self.connection, producer) - wanted
                QuotaState(quota_bytes, used).require(producer, wanted)

    def _check_reliance(self) -> None:
        if self._relied is None:
            return
        relied = self._relied
        taken_away = event_log.next_of_types(self.connection, TAKES_AWAY, after=relied.since, limit=1)
        if taken_away and not (self._are_present(relied.blobs) and all(map(self._is_present, relied.manifests))):
            raise ConcurrentUpdateError("something this package relies on was taken away while it was stored")
        if taken_away and any(self._was_removed(put, relied.since) for put in relied.puts):
            raise ConcurrentUpdateError("something was removed from storage while it was stored once more")

    def _was_removed(self, put: ObjectRef, since: int) -> bool:
        """Whether the last that was said of an object is that it is to go, or is gone."""
        subject = f"blake3:{put.blake3.hex()}"
        said = [
            event.type
            for event in event_log.read(self.connection, after=since, subject=subject)
            if event.type in SAYS_OF_REMOVAL and decode_own(event.payload)["object"][0] == put.backend
        ]
        return bool(said) and said[-1] in {ObjectCondemned.type, ObjectDeleted.type}

    def _are_present(self, blobs: list[bytes]) -> bool:
        presence = self.blob_presence(blobs)
        return all(presence.get(address, False) for address in blobs)

    def _is_present(self, manifest: bytes) -> bool:
        return any(found.status == "live" for found in self.objects_of_digest("manifest", manifest))


class Catalog:
    """Opens transactions and snapshots on a database that is at head."""

    def __init__(
        self, database: Database, clock: Callable[[], Instant], *, first: Callable[[Transaction], object] | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._first = first

    def doing_first(self, act: Callable[[Transaction], object]) -> Catalog:
        """The same, where every write transaction begins with ``act``: if that raises, nothing is written."""
        return Catalog(self._database, self._clock, first=act)

    @property
    def database_kind(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._database.kind

    @contextmanager
    def transaction(self, actor: str) -> Iterator[Transaction]:
        """A write transaction; ``actor`` is stamped on its events. Commits on leaving, rolls back on any error."""
        with self._database.write() as connection:
            transaction = Transaction(connection, actor)
            if self._first is not None:
                self._first(transaction)
            yield transaction
            transaction.finish(self._clock())

    @contextmanager
    def snapshot(self) -> Iterator[Queries]:
        """One consistent view."""
        with self._database.read() as connection:
            yield Queries(connection)

    def close(self) -> None:
        """Release every connection."""
        self._database.close()
