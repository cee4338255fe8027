"""The operational rows that a backup has: what cannot be made again, and matters in a store that was restored.

Not those of who is at work (leases, claims), of what is under way (open packages, uploads, removals, idempotency keys)
and of what is measured again (probes, deliveries).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.domain.backup import Rows
from artifactstore.errors import BackupDamagedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from artifactstore.catalog.database import Connection

BACKEND_STATE = "backend_state"
_SUBSCRIPTION = ("name", "position", "created_at", "delivered_at", "failures", "next_attempt_at", "error")
_KEPT: dict[str, tuple[tuple[str, ...], str, str]] = {
    "token": (
        (
            "token_id", "name", "secret_sha256", "scopes", "created_at", "created_by", "expires_at", "revoked_at",
            "last_used_at",
        ),
        "ORDER BY created_at, token_id",
        "ON CONFLICT DO NOTHING",
    ),
    "subscription": (
        _SUBSCRIPTION,
        "ORDER BY name",
        f"ON CONFLICT (name) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _SUBSCRIPTION[1:])}",
    ),
    BACKEND_STATE: (
        ("name", "successor", "succeeded_at"),
        "WHERE successor IS NOT NULL ORDER BY name",
        "ON CONFLICT (name) DO UPDATE SET successor = excluded.successor, succeeded_at = excluded.succeeded_at",
    ),
    "duty": (
        ("name", "next_run_at", "failures", "position", "paused_at", "paused_by"),
        "WHERE paused_at IS NOT NULL ORDER BY name",
        "ON CONFLICT (name) DO UPDATE SET paused_at = excluded.paused_at, paused_by = excluded.paused_by",
    ),
}  # fmt: skip
"""For each table its columns, which rows in which order, and what is done where there is such a row already."""


def operational_rows(connection: Connection) -> dict[str, Rows]:
    """What a backup has of each operational table."""
    return {
        table: Rows(columns, list(connection.execute(f"SELECT {', '.join(columns)} FROM {table} {which}")))
        for table, (columns, which, _) in _KEPT.items()
    }


def put_back(connection: Connection, tables: Mapping[str, Rows], *, with_backends: bool) -> None:
    """Put such rows into a store. Which backend takes whose writes matters where objects lie as they did."""
    for table, (columns, rows) in tables.items():
        known, _, on_conflict = _KEPT.get(table, ((), "", ""))
        if not columns or not set(columns) <= set(known) or any(len(row) != len(columns) for row in rows):
            raise BackupDamagedError(f"the operational rows of {table[:80]!r} are not what this version knows")
        if table != BACKEND_STATE or with_backends:
            connection.insert(f"{table} ({', '.join(columns)})", rows, on_conflict)
