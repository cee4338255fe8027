"""The state of a store at a glance. No statement reads a table whole: counts stop at ``COUNT_TO``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from artifactstore.catalog.database import Connection

COUNT_TO = 1_000
_COUNTED = {
    "damaged_objects": "stored_object WHERE status <> 'live' AND status = 'damaged'",
    "open_packages": "open_package WHERE receipt IS NULL",
    "leases": "lease",
    "packages_due": (
        "package WHERE status = 'finalized' AND expires_at IS NOT NULL AND expires_at <= ? AND NOT EXISTS"
        " (SELECT 1 FROM hold WHERE hold.package = package.id AND hold.released_at IS NULL)"
    ),
}


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


def _count(connection: Connection, rows: str, now: int) -> int:
    sql = f"SELECT count(*) FROM (SELECT 1 FROM {rows} LIMIT {COUNT_TO}) AS found"
    ((found,),) = connection.execute(sql, (now,) * rows.count("?"))
    return int(found)
