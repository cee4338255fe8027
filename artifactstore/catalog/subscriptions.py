"""Subscriptions: every SQL statement about them. An operational table; no event says anything of subscriptions.

A position is moved by whoever claims the subscription's duty, and by a replay. Each statement of a delivery names the
row that it began at, so a replay that came meanwhile stays: every one leaves its mark in ``next_attempt_at``, which is
then below zero and not what it was before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from artifactstore.catalog.database import Connection
    from artifactstore.domain.instant import Instant


class SubscriptionRecord(NamedTuple):
    """A row of ``subscription``."""

    name: str
    position: int
    created_at: int
    delivered_at: int | None
    failures: int
    next_attempt_at: int
    """No earlier than this; 0 or less is at once."""
    error: str | None


class Refusal(NamedTuple):
    """What is noted of an event that was not taken."""

    failures: int
    next_attempt_at: int
    error: str


_COLUMNS = ", ".join(SubscriptionRecord._fields)


def all_subscriptions(connection: Connection) -> list[SubscriptionRecord]:
    """Every subscription that is known here, by name."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM subscription ORDER BY name")
    return list(map(SubscriptionRecord._make, rows))


def subscription(connection: Connection, name: str) -> SubscriptionRecord | None:
    """One of them."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM subscription WHERE name = ?", (name,))
    return next(map(SubscriptionRecord._make, list(rows)), None)


def note(connection: Connection, name: str, position: int, now: Instant) -> None:
    """Let there be a subscription of this name; nothing if there is one."""
    connection.execute(
        "INSERT INTO subscription (name, position, created_at, failures, next_attempt_at) VALUES (?, ?, ?, 0, 0)"
        " ON CONFLICT (name) DO NOTHING",
        (name, position, now),
    )


def advance(connection: Connection, before: SubscriptionRecord, position: int, now: Instant) -> bool:
    """An event was taken; False, and nothing, if the subscription does not stand as ``before`` any more."""
    rows = connection.execute(
        "UPDATE subscription SET position = ?, delivered_at = ?, failures = 0, next_attempt_at = 0, error = NULL"
        " WHERE name = ? AND position = ? AND next_attempt_at = ? RETURNING 1",
        (position, now, before.name, before.position, before.next_attempt_at),
    )
    return bool(list(rows))


def refuse(connection: Connection, before: SubscriptionRecord, refusal: Refusal) -> bool:
    """An event was not taken; False, and nothing, if the subscription does not stand as ``before`` any more."""
    rows = connection.execute(
        "UPDATE subscription SET failures = ?, next_attempt_at = ?, error = ?"
        " WHERE name = ? AND position = ? AND next_attempt_at = ? RETURNING 1",
        (*refusal, before.name, before.position, before.next_attempt_at),
    )
    return bool(list(rows))


def move(connection: Connection, name: str, position: int) -> bool:
    """Have it go on from elsewhere, at once and as if nothing had failed; whether there is one of this name."""
    rows = connection.execute(
        "UPDATE subscription SET position = ?, failures = 0, error = NULL,"
        " next_attempt_at = CASE WHEN next_attempt_at > 0 THEN -1 ELSE next_attempt_at - 1 END"
        " WHERE name = ? RETURNING 1",
        (position, name),
    )
    return bool(list(rows))
