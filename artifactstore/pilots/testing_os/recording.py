"""Writing: what is filed becomes a package, with its event and where it was observed, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.errors import (
    ConcurrentUpdateError,
    ConflictError,
    PackageDeletedError,
    PackageExpiredError,
    RunChangedError,
)
from artifactstore.pilots.testing_os.package import envelope_of, event_of, package_of, parties_of, source_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.domain.event import Event
    from artifactstore.domain.package import PackageReceipt
    from artifactstore.pilots.testing_os.package import Filed
    from artifactstore.pilots.testing_os.records import StoredRecord
    from artifactstore.plugins import RetentionClass
    from artifactstore.plugins.contributed import Contributed


class LostRaceError(ConflictError):
    """Somebody else has recorded a package under this external id meanwhile; said only if it is no record of ours."""

    code = "RUN_CHANGED"
    default_hint = "A package of this producer has the external id and is no record; it was not recorded by this pilot."


LOST_RACES = (LostRaceError, RunChangedError, PackageExpiredError, PackageDeletedError, ConcurrentUpdateError)


def record_filed(
    contributed: Contributed, filed: Filed, known: StoredRecord | None, retention_class: RetentionClass
) -> PackageReceipt:
    """Record a record as a package, or as the next revision of the one that is known.

    Raises one of ``LOST_RACES`` if what is known is not the newest any more; nothing is recorded then.
    """
    revision = 1 if known is None else known.revision + 1

    def events_of(receipt: PackageReceipt) -> Sequence[Event]:
        if receipt.reused_existing or receipt.revision != revision:
            raise LostRaceError(f"{filed.external_id} was recorded by another writer meanwhile")
        return [event_of(filed, receipt)]

    result = contributed.ingest(
        source=source_of(filed),
        envelope=envelope_of(filed),
        parties=parties_of(filed),
        package=package_of(filed, retention_class),
        as_revision=known is not None,
        events_of=events_of,
    )
    assert result.package is not None, "a record was handed in as a package"
    return result.package.receipt
