"""Which policies are adopted: one event for each time some are, and the one row that says which the last were.

The row is written by every such event, so a second writer waits for the first one's commit: the row is always that of
the newest event in the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.domain.event import Event
from artifactstore.errors import EventLogCorruptError

if TYPE_CHECKING:
    from artifactstore.catalog.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class PoliciesAdopted(Event):
    """From now on submissions are judged by the policies that are this package."""

    type = "v1.testing_os.policies_adopted"
    package_id: str
    digest: str
    adopted_at: int

    @property
    def subject(self) -> str:
        """The package id."""
        return self.package_id


class Adopted(NamedTuple):
    """The policies that are adopted."""

    package_id: str
    digest: str
    adopted_at: int
    adopted_by: str


def project_adopted(connection: Connection, event: PoliciesAdopted, actor: str) -> None:
    """The last ones take the place of those before."""
    rows = connection.execute(
        "INSERT INTO testing_os_policies (id, package, digest, adopted_at, adopted_by)"
        " SELECT 1, id, ?, ?, ? FROM package WHERE package_id = ? ON CONFLICT (id) DO UPDATE SET"
        " package = excluded.package, digest = excluded.digest, adopted_at = excluded.adopted_at,"
        " adopted_by = excluded.adopted_by RETURNING id",
        (event.digest, event.adopted_at, actor, event.package_id),
    )
    if not list(rows):
        raise EventLogCorruptError(f"an event names package {event.package_id}, which was never opened")


def adopted(connection: Connection) -> Adopted | None:
    """What submissions are judged by that name no other policies; None if nothing was ever adopted."""
    rows = connection.execute(
        "SELECT package.package_id, digest, adopted_at, adopted_by FROM testing_os_policies"
        " JOIN package ON package.id = testing_os_policies.package WHERE testing_os_policies.id = 1"
    )
    return next(map(Adopted._make, rows), None)
