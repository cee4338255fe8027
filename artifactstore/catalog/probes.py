"""Reports of probes: every SQL statement about them. An operational table, one row for each backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from artifactstore.catalog.database import Connection

_COLUMNS = "target, probed_at, verdict, report"


class ProbeRow(NamedTuple):
    """A row of ``probe_report``."""

    target: str
    """The backend's identity."""
    probed_at: int
    verdict: str
    report: str
    """JSON."""


def save_report(connection: Connection, row: ProbeRow) -> None:
    """Keep the report, in place of an earlier one of the same backend."""
    connection.execute(
        f"INSERT INTO probe_report ({_COLUMNS}) VALUES (?, ?, ?, ?) ON CONFLICT (target) DO UPDATE"
        " SET probed_at = excluded.probed_at, verdict = excluded.verdict, report = excluded.report",
        row,
    )


def verdict_of(connection: Connection, target: str) -> str | None:
    """What was last found of a backend; None if nobody has probed it."""
    rows = connection.execute("SELECT verdict FROM probe_report WHERE target = ?", (target,))
    return next((verdict for (verdict,) in rows), None)


def all_reports(connection: Connection) -> list[ProbeRow]:
    """The last report of every backend, by identity."""
    return [ProbeRow(*row) for row in connection.execute(f"SELECT {_COLUMNS} FROM probe_report ORDER BY target")]
