"""Writing: what is filed becomes a package, with its event and where it was observed, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from artifactstore.errors import (
    ConcurrentUpdateError,
    ConflictError,
    PackageDeletedError,
    PackageExpiredError,
    RunChangedError,
)
from artifactstore.pilots.testing_os.package import envelope_of, event_of, package_of, parties_of, source_of
from artifactstore.plugins.contributed import Recordable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.domain.event import Event
    from artifactstore.domain.package import PackageReceipt
    from artifactstore.domain.provenance import IngestResult
    from artifactstore.pilots.testing_os.package import Filed
    from artifactstore.pilots.testing_os.records import StoredRecord
    from artifactstore.plugins import RetentionClass
    from artifactstore.plugins.contributed import Contributed


class LostRaceError(ConflictError):
    """Somebody else has recorded a package under this external id meanwhile; said only if it is no record of ours."""

    code = "RUN_CHANGED"
    default_hint = "A package of this producer has the external id and is no record; it was not recorded by this pilot."


LOST_RACES = (LostRaceError, RunChangedError, PackageExpiredError, PackageDeletedError, ConcurrentUpdateError)


class Unrecorded(NamedTuple):
    """A record that is to be written, and what is known under its external id: a rejection that gives way to it."""

    filed: Filed
    known: StoredRecord | None
    retention_class: RetentionClass


def record_filed(contributed: Contributed, unrecorded: Unrecorded) -> PackageReceipt:
    """Record a record as a package, or as the next revision of the one that is known.

    Raises one of ``LOST_RACES`` if what is known is not the newest any more; nothing is recorded then.
    """
    return _receipt(contributed.ingest(_recordable(unrecorded)))


def record_together(contributed: Contributed, several: Sequence[Unrecorded]) -> list[PackageReceipt]:
    """The same for several, in one transaction."""
    return [_receipt(result) for result in contributed.ingest_together([_recordable(each) for each in several])]


def _recordable(unrecorded: Unrecorded) -> Recordable:
    filed, known, retention_class = unrecorded
    revision = 1 if known is None else known.revision + 1

    def events_of(receipt: PackageReceipt) -> Sequence[Event]:
        if receipt.reused_existing or receipt.revision != revision:
            raise LostRaceError(f"{filed.external_id} was recorded by another writer meanwhile")
        return [event_of(filed, receipt)]

    return Recordable(
        source=source_of(filed),
        envelope=envelope_of(filed),
        parties=parties_of(filed),
        package=package_of(filed, retention_class),
        as_revision=known is not None,
        events_of=events_of,
    )


def _receipt(result: IngestResult) -> PackageReceipt:
    assert result.package is not None, "a record was handed in as a package"
    return result.package.receipt
