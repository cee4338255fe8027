"""Observing: a source, an envelope and its parties are recorded once, in one transaction, with one signal.

This is the only place that lets these events happen. ``record_observation`` writes them in a transaction the caller
owns, so that a package and where it was observed are recorded together or not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from artifactstore.catalog import provenance as rows
from artifactstore.domain.events import PackageObserved
from artifactstore.domain.package import PackageStatus
from artifactstore.domain.provenance import IngestedEnvelope, IngestedPackage, IngestedSource, IngestResult, envelope_id
from artifactstore.domain.provenance_events import EnvelopeIndexed, Ingested, SourceIndexed
from artifactstore.errors import ConcurrentUpdateError
from artifactstore.failpoints import failpoint
from artifactstore.registry.ingest import IngestRequest, gone, ingest, receipt_of
from artifactstore.registry.ingest_together import ingest_together
from artifactstore.registry.packages import require_content
from artifactstore.registry.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from artifactstore.catalog.catalog import Transaction
    from artifactstore.catalog.provenance import Known
    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.event import Event
    from artifactstore.domain.observation import Observation
    from artifactstore.domain.package import PackageDraft, PackageReceipt
    from artifactstore.domain.provenance import Provenance
    from artifactstore.registry.progress import Progress
    from artifactstore.registry.registry import Registry

    EventsOf = Callable[[Transaction, PackageReceipt], Sequence[Event]]

T = TypeVar("T")
_KEYS = 3
"""That another writer may take first: the source's, the envelope's, and their link to a package."""


class Observed(NamedTuple):
    """An observation and who made it: what its events say."""

    observation: Observation
    provenance: Provenance
    answer_for: str | None = None
    """The actor who is to be answered by its own observations alone; None if the answer may tell of everyone's."""

    @property
    def envelope_id(self) -> bytes:
        """The id that follows."""
        seen = self.observation
        return envelope_id(seen.source_id, seen.transport, seen.received_at, self.provenance)


def observe(registry: Registry, observed: Observed) -> IngestResult:
    """Record an observation without a package; what is known already changes nothing.

    One transaction for each attempt. Raises ``ConcurrentUpdateError`` when the last of them, too, finds that another
    writer was first.
    """
    return _again_after_a_race(registry, lambda: _observe(registry, observed))


def observe_package(
    registry: Registry,
    observed: Observed,
    draft: PackageDraft,
    *,
    as_revision: bool = False,
    schema: dict[str, JsonValue] | None = None,
    progress: Progress = SILENT,
    events_of: EventsOf | None = None,
) -> IngestResult:
    """Record an observation and the package that was observed, each by its own rules, in one transaction.

    ``events_of`` answers what else is to happen in it. Raises what ``ingest`` and ``events_of`` raise, with nothing
    recorded.
    """
    note = ObservationBeside(registry, observed, events_of)
    receipt = ingest(registry, draft, as_revision=as_revision, schema=schema, beside=note, progress=progress)
    return note.result(receipt)


class ObservedDraft(NamedTuple):
    """An observation and the draft that was observed, as ``observe_package`` takes them."""

    observed: Observed
    draft: PackageDraft
    as_revision: bool = False
    schema: dict[str, JsonValue] | None = None
    events_of: EventsOf | None = None


def observe_packages(
    registry: Registry, several: Sequence[ObservedDraft], *, progress: Progress = SILENT
) -> list[IngestResult]:
    """Record several new packages and where each was observed, in one transaction.

    Raises what ``ingest_together`` raises, with nothing recorded.
    """
    notes = [ObservationBeside(registry, each.observed, each.events_of) for each in several]
    requests = [
        IngestRequest(each.draft, each.as_revision, each.schema, note)
        for each, note in zip(several, notes, strict=True)
    ]
    receipts = ingest_together(registry, requests, progress=progress)
    return [note.result(receipt) for note, receipt in zip(notes, receipts, strict=True)]


def observe_finalized(registry: Registry, package_id: str, beside: ObservationBeside) -> PackageReceipt:
    """Record where a package was observed that is recorded already; the receipt of one that was there.

    Raises ``PackageUnknownError``, and as an ingest of the same content would ``PackageExpiredError`` or
    ``PackageDeletedError``; ``ConcurrentUpdateError`` as ``observe`` does.
    """
    return _again_after_a_race(registry, lambda: _observe_finalized(registry, package_id, beside))


class ObservationBeside:
    """Records an observation in the transaction of its package. An attempt made again replaces the one before."""

    def __init__(self, registry: Registry, observed: Observed, events_of: EventsOf | None = None) -> None:
        self._registry = registry
        self._observed = observed
        self._events_of = events_of
        self._before: Known | None = None

    def __call__(self, tx: Transaction, receipt: PackageReceipt) -> None:
        """In the package's transaction. What else happens comes before the signal."""
        if self._events_of is not None:
            tx.record(*self._events_of(tx, receipt))
        self._before = record_observation(tx, self._registry, self._observed, package_id=receipt.package_id)

    def result(self, receipt: PackageReceipt) -> IngestResult:
        """After the transaction."""
        return _result(self._observed, self._observed.envelope_id, self._known_before(), IngestedPackage.of(receipt))

    @property
    def is_new(self) -> bool:
        """After the transaction: whether it was not known before that this envelope observed this package."""
        return not self._known_before().link

    def _known_before(self) -> Known:
        assert self._before is not None, "a package is recorded with what stands beside it"
        return self._before


def record_observation(
    tx: Transaction, registry: Registry, observed: Observed, *, package_id: str | None = None
) -> Known:
    """Write what is new of an observation, in a transaction the caller owns; what was known before."""
    return _record(tx, registry, observed, observed.envelope_id, package_id)


def _record(tx: Transaction, registry: Registry, observed: Observed, identity: bytes, package_id: str | None) -> Known:
    source_id = observed.observation.source_id
    before = rows.known(tx.connection, source_id, identity, package_id, actor=observed.answer_for)
    if package_id is not None and not before.link:
        _require_finalized(tx, package_id)
    tx.record(*_events(registry, observed, identity, before, package_id))
    return before


def _require_finalized(tx: Transaction, package_id: str) -> None:
    """Also of a package that a look before this transaction found."""
    package = require_content(tx, package_id)
    if package.status != PackageStatus.FINALIZED:
        raise gone(package)


def _again_after_a_race(registry: Registry, attempt: Callable[[], T]) -> T:
    """Each key may be lost once, one after the other."""
    for _ in range(_KEYS * registry.race_retries):
        try:
            return attempt()
        except ConcurrentUpdateError:
            continue
    return attempt()


def _observe_finalized(registry: Registry, package_id: str, beside: ObservationBeside) -> PackageReceipt:
    failpoint("observe.before-transaction")
    with registry.transaction() as tx:
        receipt = receipt_of(require_content(tx, package_id), stored_bytes=0)
        beside(tx, receipt)
    failpoint("observe.before-answer")
    return receipt


def _observe(registry: Registry, observed: Observed) -> IngestResult:
    """Looked at in the transaction that would write: one look, and what is known costs no commit to wait for."""
    identity = observed.envelope_id
    failpoint("observe.before-transaction")
    with registry.transaction() as tx:
        before = _record(tx, registry, observed, identity, None)
    failpoint("observe.before-answer")
    return _result(observed, identity, before, None)


def _result(observed: Observed, identity: bytes, before: Known, package: IngestedPackage | None) -> IngestResult:
    return IngestResult(
        source=IngestedSource(observed.observation.source_id.hex(), not before.source_by_actor),
        envelope=IngestedEnvelope(identity.hex(), not before.envelope),
        package=package,
    )


def _events(
    registry: Registry, observed: Observed, identity: bytes, before: Known, package_id: str | None
) -> Iterator[Event]:
    """The signal is the last: who hears it finds everything."""
    now, seen, provenance = registry.clock(), observed.observation, observed.provenance
    if not before.source:
        yield SourceIndexed(
            source_id=seen.source_id,
            location_kind=seen.location_kind,
            path_id=seen.path_id,
            owner_host_id=seen.owner_host_id,
            content_type=seen.content_type,
            display_name=seen.display_name,
            metadata=seen.metadata,
            plugin_name=provenance.plugin_name,
            plugin_version=provenance.plugin_version,
            contract_version=provenance.contract_version,
            is_declared=provenance.is_declared,
            indexed_at=now,
        )
    if not before.envelope:
        yield EnvelopeIndexed(
            envelope_id=identity,
            source_id=seen.source_id,
            transport=seen.transport,
            received_at=seen.received_at,
            raw_payload=seen.raw_payload,
            parties=seen.parties,
            plugin_name=provenance.plugin_name,
            plugin_version=provenance.plugin_version,
            contract_version=provenance.contract_version,
            is_declared=provenance.is_declared,
            indexed_at=now,
        )
    if package_id is not None and not before.link:
        yield PackageObserved(package_id=package_id, envelope_id=identity, observed_at=now)
    if not before.envelope:
        yield Ingested(
            envelope_id=identity, source_id=seen.source_id, source_created=not before.source, package_id=package_id
        )
