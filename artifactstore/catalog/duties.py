"""Duties: every SQL statement about them. An operational table; no event says anything of duties.

A claim is the name of one run in ``holder``. Each statement that acts for a run names it, so a run that has lost its
claim changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from artifactstore.catalog.database import Connection
    from artifactstore.domain.instant import Instant


class DutyRecord(NamedTuple):
    """A row of ``duty``."""

    name: str
    next_run_at: int
    holder: str | None
    heartbeat_at: int | None
    started_at: int | None
    finished_at: int | None
    succeeded_at: int | None
    outcome: str | None
    failures: int
    detail: str | None
    error: str | None
    position: int
    paused_at: int | None
    paused_by: str | None


class Span(NamedTuple):
    """Instants from ``first`` to ``last``."""

    first: int
    last: int


class Ending(NamedTuple):
    """How a run ended."""

    finished_at: Instant
    next_run_at: int
    outcome: str
    failures: int
    detail: str | None
    error: str | None


_COLUMNS = ", ".join(DutyRecord._fields)


def all_duties(connection: Connection) -> list[DutyRecord]:
    """Every duty that is known here, by name."""
    return list(map(DutyRecord._make, connection.execute(f"SELECT {_COLUMNS} FROM duty ORDER BY name")))


def note_duty(connection: Connection, name: str, next_run_at: int) -> None:
    """Let there be a duty of this name; nothing if there is one."""
    connection.execute(
        "INSERT INTO duty (name, next_run_at, failures, position) VALUES (?, ?, 0, 0) ON CONFLICT (name) DO NOTHING",
        (name, next_run_at),
    )


def claim(
    connection: Connection, name: str, holder: str, now: Instant, *, alive: Span, waiting: Span | None
) -> DutyRecord | None:
    """Give a run the duty; None unless it is free, and due if ``waiting`` says which next runs are not.

    A claim whose heartbeat is not within ``alive`` is nobody's. A duty that is paused is not due.
    """
    due = "" if waiting is None else "AND (next_run_at < ? OR next_run_at > ?) AND paused_at IS NULL"
    rows = connection.execute(
        "UPDATE duty SET holder = ?, heartbeat_at = ?, started_at = ? WHERE name = ?"
        f" AND (holder IS NULL OR heartbeat_at < ? OR heartbeat_at > ?) {due} RETURNING {_COLUMNS}",
        (holder, now, now, name, *alive, *(waiting or ())),
    )
    return next(map(DutyRecord._make, list(rows)), None)


def renew(connection: Connection, name: str, holder: str, now: Instant, *, position: int | None = None) -> bool:
    """Say that the run lives, and where it stands if that is given; whether it still has the claim.

    Until the transaction ends nobody else can claim the duty.
    """
    rows = connection.execute(
        "UPDATE duty SET heartbeat_at = ?, position = coalesce(?, position) WHERE name = ? AND holder = ? RETURNING 1",
        (now, position, name, holder),
    )
    return bool(list(rows))


def is_held(connection: Connection, name: str, holder: str) -> bool:
    """Whether the run has the claim."""
    return bool(list(connection.execute("SELECT 1 FROM duty WHERE name = ? AND holder = ?", (name, holder))))


def is_paused(connection: Connection, name: str) -> bool:
    """Whether nobody is to run the duty by itself."""
    return bool(list(connection.execute("SELECT 1 FROM duty WHERE name = ? AND paused_at IS NOT NULL", (name,))))


def pause(connection: Connection, name: str, *, at: Instant, by: str) -> None:
    """Let nobody run the duty by itself from now on. Of several who say so it was the first."""
    connection.execute(
        "UPDATE duty SET paused_at = ?, paused_by = ? WHERE name = ? AND paused_at IS NULL", (at, by, name)
    )


def resume(connection: Connection, name: str) -> None:
    """Let it be run again when it is due."""
    connection.execute("UPDATE duty SET paused_at = NULL, paused_by = NULL WHERE name = ?", (name,))


def end(connection: Connection, name: str, holder: str, ending: Ending) -> bool:
    """Give the duty free again; whether the run still had the claim. Without a detail the one of before stays."""
    succeeded_at = ending.finished_at if ending.outcome == "done" else None
    rows = connection.execute(
        "UPDATE duty SET holder = NULL, heartbeat_at = NULL, finished_at = ?, next_run_at = ?, outcome = ?,"
        " failures = ?, detail = coalesce(?, detail), error = ?, succeeded_at = coalesce(?, succeeded_at)"
        " WHERE name = ? AND holder = ? RETURNING 1",
        (*ending, succeeded_at, name, holder),
    )
    return bool(list(rows))
