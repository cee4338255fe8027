"""What a record leaves in the log and in the tables: one event, and the rows that every index is read from.

The projection costs the same however many records there are. What it keeps of each repository's surface (see
``index_documents``) is the least scan order of any accepted record and the latest of these records: a minimum and a
maximum, so the tables are the same in whatever order records come. Since when a surface fails is looked up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from artifactstore.catalog.contributions import Contribution
from artifactstore.catalog.migrations import Branch
from artifactstore.domain.event import Event
from artifactstore.errors import EventLogCorruptError
from artifactstore.pilots.testing_os.adopted import PoliciesAdopted, project_adopted
from artifactstore.pilots.testing_os.index_documents import ACCEPTED, NO_INSTANT, scan_order

if TYPE_CHECKING:
    from artifactstore.catalog.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionRecorded(Event):
    """A submission was judged, and its record is this package."""

    type = "v1.testing_os.recorded"
    package_id: str
    external_id: str
    repo: str
    run_id: str
    profile: str
    status: str
    verified: str
    may_be_replaced: bool
    finished_at: str
    path: str
    surfaces: tuple[str, ...]
    recorded_at: int
    finished_ms: int | None = None
    contract_major: int | None = None

    @property
    def subject(self) -> str:
        """The package id."""
        return self.package_id


def project_recorded(connection: Connection, event: SubmissionRecorded, actor: str) -> None:
    """Add the record, and bring its surfaces to where it counts; only accepted records do."""
    finished_ms = NO_INSTANT if event.finished_ms is None else event.finished_ms
    rows = connection.execute(
        "INSERT INTO testing_os_record (package, external_id, repo, run_id, profile, status, verified,"
        " may_be_replaced, contract_major, finished_at, finished_ms, path, recorded_at, recorded_by)"
        " SELECT id, ?, ?, ?, ?, ?, ?, ?, CAST(? AS BIGINT), ?, ?, ?, ?, ? FROM package WHERE package_id = ?"
        " RETURNING id",
        (
            event.external_id, event.repo, event.run_id, event.profile, event.status, event.verified,
            int(event.may_be_replaced), event.contract_major, event.finished_at, finished_ms, event.path,
            event.recorded_at, actor, event.package_id,
        ),
    )  # fmt: skip
    record = next((row_id for (row_id,) in rows), None)
    if record is None:
        raise EventLogCorruptError(f"an event names package {event.package_id}, which was never opened")
    is_accepted = event.status == ACCEPTED
    connection.execute(_ADD_TO_TOTALS, (int(is_accepted), int(not is_accepted)))
    if is_accepted:
        _count(connection, event, record, finished_ms)


def _count(connection: Connection, event: SubmissionRecorded, record: int, finished_ms: int) -> None:
    """Surfaces by name, so that two writers never wait for each other's rows."""
    is_passing = int(event.verified == "pass")
    connection.insert(
        "testing_os_surface (record, position, repo, surface, is_passing, finished_ms)",
        [
            (record, position, event.repo, surface, is_passing, finished_ms)
            for position, surface in enumerate(event.surfaces)
        ],
    )
    for surface, position in sorted((surface, position) for position, surface in enumerate(event.surfaces)):
        order = scan_order(event.path, position)
        connection.execute(_UPSERT, (event.repo, surface, order, finished_ms, order, record))
        since = _failing_since(connection, event.repo, surface)
        connection.execute(_SET_FAILING_SINCE, (since, event.repo, surface))


_ADD_TO_TOTALS = (
    "INSERT INTO testing_os_totals (id, accepted, rejected) VALUES (1, ?, ?) ON CONFLICT (id) DO UPDATE SET"
    " accepted = testing_os_totals.accepted + excluded.accepted,"
    " rejected = testing_os_totals.rejected + excluded.rejected"
)
"""Sums, so it does not matter in which order records come."""
_WINS = (
    "(excluded.latest_ms > testing_os_latest.latest_ms OR (excluded.latest_ms = testing_os_latest.latest_ms"
    " AND excluded.latest_order < testing_os_latest.latest_order))"
)
_UPSERT = (
    "INSERT INTO testing_os_latest (repo, surface, first_order, latest_ms, latest_order, record)"
    " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (repo, surface) DO UPDATE SET"
    " first_order = CASE WHEN excluded.first_order < testing_os_latest.first_order THEN excluded.first_order"
    " ELSE testing_os_latest.first_order END"
) + "".join(
    f", {column} = CASE WHEN {_WINS} THEN excluded.{column} ELSE testing_os_latest.{column} END"
    for column in ("latest_ms", "latest_order", "record")
)
"""From here on nobody else changes the row: what they have recorded is seen by what follows."""
_SET_FAILING_SINCE = (
    "UPDATE testing_os_latest SET failing_since_ms ="
    " CASE (SELECT verified FROM testing_os_record WHERE id = testing_os_latest.record)"
    " WHEN 'pass' THEN NULL ELSE CAST(? AS BIGINT) END WHERE repo = ? AND surface = ?"
)
_LATEST_GOOD = (
    "SELECT finished_ms FROM testing_os_surface WHERE repo = ? AND surface = ? AND is_passing = 1"
    " ORDER BY repo DESC, surface DESC, is_passing DESC, finished_ms DESC LIMIT 1"
)
_FIRST_BAD = (
    "SELECT finished_ms FROM testing_os_surface WHERE repo = ? AND surface = ? AND is_passing = 0"
    " AND finished_ms >= ? ORDER BY repo, surface, is_passing, finished_ms LIMIT 1"
)


def _failing_since(connection: Connection, repo: str, surface: str) -> int | None:
    """When the first of those finished that have not passed since one did last."""
    passed = next((ms for (ms,) in connection.execute(_LATEST_GOOD, (repo, surface))), NO_INSTANT)
    return next((ms for (ms,) in connection.execute(_FIRST_BAD, (repo, surface, passed))), None)


CONTRIBUTION = Contribution(
    name="testing-os",
    projections={SubmissionRecorded: project_recorded, PoliciesAdopted: project_adopted},
    natural_rows={
        "testing_os_record": (
            "SELECT package.package_id, record.external_id, repo, run_id, profile, record.status, verified,"
            " may_be_replaced, contract_major, finished_at, finished_ms, path, recorded_at, recorded_by FROM package"
            " JOIN testing_os_record AS record ON record.package = package.id ORDER BY package.package_id"
        ),
        "testing_os_surface": (
            "SELECT package.package_id, position, testing_os_surface.repo, surface, is_passing,"
            " testing_os_surface.finished_ms FROM package"
            " JOIN testing_os_record ON testing_os_record.package = package.id"
            " JOIN testing_os_surface ON testing_os_surface.record = testing_os_record.id"
            " ORDER BY package.package_id, position"
        ),
        "testing_os_latest": (
            "SELECT testing_os_latest.repo, surface, first_order, latest_ms, latest_order, package.package_id,"
            " failing_since_ms FROM testing_os_latest JOIN testing_os_record"
            " ON testing_os_record.id = testing_os_latest.record JOIN package ON package.id = testing_os_record.package"
            " ORDER BY testing_os_latest.repo, surface"
        ),
        "testing_os_totals": "SELECT accepted, rejected FROM testing_os_totals",
        "testing_os_policies": (
            "SELECT package.package_id, digest, adopted_at, adopted_by FROM testing_os_policies"
            " JOIN package ON package.id = testing_os_policies.package"
        ),
    },
    tables="artifactstore.pilots.testing_os.tables",
    branch=Branch("artifactstore.pilots.testing_os.migrations", ("testing_os_0001",)),
)
