"""The delivery log of webhooks: every SQL statement about it. An operational table, one row for each attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from artifactstore.catalog.database import Connection

FORGET_AT_A_TIME = 100
"""More than is noted at a time, so that old rows run out."""
_LAST_ID = 2**63 - 1


class DeliveryRow(NamedTuple):
    """A row of ``webhook_delivery``, without its key."""

    webhook: str
    seq: int
    attempted_at: int
    took_us: int
    status: int | None
    error: str | None


_COLUMNS = ", ".join(DeliveryRow._fields)


def note_delivery(connection: Connection, row: DeliveryRow) -> None:
    """Add an attempt."""
    connection.execute(f"INSERT INTO webhook_delivery ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", row)


def forget_deliveries(connection: Connection, before: int) -> int:
    """Remove the oldest of the attempts that were made before an instant; how many."""
    sql = f"SELECT id FROM webhook_delivery WHERE attempted_at < ? ORDER BY attempted_at LIMIT {FORGET_AT_A_TIME}"
    old = list(connection.execute(sql, (before,)))
    if old:
        connection.lock("delivery log")  # two that remove the same rows in another order would wait for each other
        connection.executemany("DELETE FROM webhook_delivery WHERE id = ?", old)
    return len(old)


def deliveries(connection: Connection, webhook: str, *, limit: int) -> list[DeliveryRow]:
    """The last attempts of a webhook, the newest first."""
    # pairs, so that only the index by webhook can serve
    sql = (
        f"SELECT {_COLUMNS} FROM webhook_delivery WHERE (webhook, id) > (?, 0) AND (webhook, id) <= (?, {_LAST_ID})"
        f" ORDER BY webhook DESC, id DESC LIMIT {int(limit)}"
    )
    return list(map(DeliveryRow._make, connection.execute(sql, (webhook, webhook))))
