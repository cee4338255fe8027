"""The state of a store at a glance. No statement reads a table whole: counts stop at ``COUNT_TO``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from artifactstore.catalog.records import PackageRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.catalog.database import Connection

COUNT_TO = 1_000
_PACKAGE = ", ".join(("id", *PackageRecord._fields[1:]))
_COUNTED = {
    "damaged_objects": "stored_object WHERE status <> 'live' AND status = 'damaged'",
    "open_packages": "open_package WHERE receipt IS NULL",
    "leases": "lease",
    "condemned_objects": "removal",
    "packages_expired": "package WHERE status = 'expired'",
    "packages_due": (
        "package WHERE status = 'finalized' AND expires_at IS NOT NULL AND expires_at <= ? AND NOT EXISTS"
        " (SELECT 1 FROM hold WHERE hold.package = package.id AND hold.released_at IS NULL)"
    ),
}


class Finding(NamedTuple):
    """An event that says that something is damaged, without what it says."""

    seq: int
    at: int
    type: str
    subject: str
    actor: str


class BackendStateRecord(NamedTuple):
    """A row of ``backend_state``."""

    name: str
    successor: str | None
    succeeded_at: int | None
    fell_back_at: int | None


def highest_object(connection: Connection) -> int:
    """The row id of the object that was recorded last, 0 if there is none."""
    ((highest,),) = connection.execute("SELECT coalesce(max(id), 0) FROM stored_object")
    return int(highest)


def latest_event(connection: Connection) -> tuple[int, int] | None:
    """Sequence number and instant of the newest event."""
    return next(
        ((seq, at) for seq, at in connection.execute("SELECT seq, at FROM event ORDER BY seq DESC LIMIT 1")), None
    )


def backend_states(connection: Connection) -> list[BackendStateRecord]:
    """What servers share about backends, by name."""
    rows = connection.execute("SELECT name, successor, succeeded_at, fell_back_at FROM backend_state ORDER BY name")
    return list(map(BackendStateRecord._make, rows))


def counts(connection: Connection, now: int) -> dict[str, int]:
    """How much there is of what an operator looks at; ``COUNT_TO`` is so many or more."""
    return {name: _count(connection, rows, now) for name, rows in _COUNTED.items()}


def damaged_objects(connection: Connection) -> int:
    """How many objects are recorded as damaged; ``COUNT_TO`` is so many or more."""
    return _count(connection, _COUNTED["damaged_objects"], 0)


def damaged_by_kind(connection: Connection) -> dict[str, int]:
    """The same, by kind; ``COUNT_TO`` together."""
    rows = connection.execute(
        f"SELECT kind, count(*) FROM (SELECT kind FROM stored_object WHERE status <> 'live' AND status = 'damaged'"
        f" LIMIT {COUNT_TO}) AS found GROUP BY kind ORDER BY kind"
    )
    return {str(kind): int(count) for kind, count in rows}


def damaged_blobs(connection: Connection) -> int:
    """How many locations of blobs are recorded as damaged; ``COUNT_TO`` is so many or more."""
    return _count(connection, "blob_location WHERE status <> 'live' AND status = 'damaged'", 0)


def newest_findings(connection: Connection, types: Sequence[str], *, limit: int) -> list[Finding]:
    """The newest events of these types, the last one first."""
    found: list[Finding] = []
    for name in types:
        rows = connection.execute(
            "SELECT seq, at, type, subject, actor FROM event WHERE type = ? ORDER BY type DESC, seq DESC LIMIT ?",
            (name, limit),
        )
        found += map(Finding._make, rows)
    return sorted(found, reverse=True)[:limit]


def newest_of_schema(connection: Connection, slug: str) -> PackageRecord | None:
    """The package with this metadata schema that was opened last."""
    rows = connection.execute(
        f"SELECT {_PACKAGE} FROM package WHERE schema_slug = ? ORDER BY schema_slug DESC, id DESC LIMIT 1", (slug,)
    )
    return next(map(PackageRecord._make, list(rows)), None)


def expired_since(connection: Connection, event_type: str, after: int) -> int:
    """How many packages expired after an event and still are; of ``COUNT_TO`` that did."""
    ((count,),) = connection.execute(
        "SELECT count(*) FROM (SELECT subject FROM event WHERE type = ? AND seq > ? ORDER BY type, seq"
        f" LIMIT {COUNT_TO}) AS late WHERE EXISTS (SELECT 1 FROM package WHERE package.package_id = late.subject"
        " AND package.status = 'expired' LIMIT 1 OFFSET 0)",
        (event_type, after),
    )
    return int(count)


def _count(connection: Connection, rows: str, now: int) -> int:
    sql = f"SELECT count(*) FROM (SELECT 1 FROM {rows} LIMIT {COUNT_TO}) AS found"
    ((found,),) = connection.execute(sql, (now,) * rows.count("?"))
    return int(found)
