"""Probes of backends: measure, judge, keep the report; and refuse to rely on a backend that was refused.

What measures is imported when something is measured: every ingest asks whether its backend is usable.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from artifactstore.catalog import probes
from artifactstore.domain.instant import Instant
from artifactstore.errors import BackendRefusedError, ConfigurationError, StorageDeniedError, StorageUnavailableError

if TYPE_CHECKING:
    from artifactstore.catalog.catalog import Catalog
    from artifactstore.registry.registry import Registry
    from artifactstore.storage.port import ObjectStore
    from artifactstore.storage.probing.probe import Probed
    from artifactstore.storage.probing.verdict import Judgement


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What was measured of a backend at a time, and what it means."""

    target: str
    """The backend's identity."""
    probed_at: Instant
    judgement: Judgement
    probed: Probed


@dataclass(slots=True)
class _Asking:
    """One thread asks how usable a backend is, others wait for what it is told."""

    ended: threading.Event = field(default_factory=threading.Event)
    is_refused: bool = False
    error: Exception | None = None


@dataclass(slots=True)
class _Known:
    """What this process knows of one store's backends, by their identities."""

    usable: set[str] = field(default_factory=set)
    """Those that need not be asked about again."""
    asked: dict[str, _Asking] = field(default_factory=dict)
    """Those that somebody asks about now: a probe takes long."""


_known: WeakKeyDictionary[Catalog, _Known] = WeakKeyDictionary()
_knowing = threading.Lock()
"""Held to decide who asks, never while anything is asked."""


def probe_backend(registry: Registry, store: ObjectStore) -> ProbeReport:
    """Measure a backend, judge it, and keep the report. It need not be one of the registry's.

    Raises ``ConfigurationError`` if its URL or the credentials for it are wrong, ``StorageError`` if it is not reached.
    """
    try:
        return _probe(registry, store)
    except StorageDeniedError as error:
        hint = error.hint or "Are the URL and the credentials right?"
        raise ConfigurationError(f"{store.identity} cannot be probed: {error.message}", hint=hint) from error


def stored_reports(registry: Registry) -> list[ProbeReport]:
    """The last report of every backend that was ever probed."""
    with registry.catalog.snapshot() as queries:
        rows = probes.all_reports(queries.connection)
    return [_report_of(row) for row in rows]


def require_usable(registry: Registry, backend: str) -> None:
    """Raises ``BackendRefusedError`` if the last probe of a backend refused it; probes it now if nobody has.

    Asks the database once for each process and backend, and probes once, however many ask at the same time: all of them
    are given that answer, or that error. One that need not be probed is not asked about at all.
    """
    store = registry.backend(backend)
    if not store.must_be_probed:
        return
    known = _known.setdefault(registry.catalog, _Known())
    if store.identity not in known.usable and _is_refused(registry, store, known):
        raise BackendRefusedError(f"backend {backend!r} was probed, and would lose or alter data")


def _is_refused(registry: Registry, store: ObjectStore, known: _Known) -> bool:
    """As whoever asks already is told, or as the catalog and else a probe have it."""
    with _knowing:
        asking = known.asked.get(store.identity)
        is_first = asking is None
        if asking is None:
            asking = known.asked[store.identity] = _Asking()
    if is_first:
        _ask(registry, store, known, asking)
    asking.ended.wait()
    if asking.error is not None:
        raise asking.error
    return asking.is_refused


def _ask(registry: Registry, store: ObjectStore, known: _Known, asking: _Asking) -> None:
    """Find out for everybody who waits; what is usable is known from then on, what failed is asked again later."""
    asking.error = StorageUnavailableError(f"the probe of {store.identity} was broken off")
    try:
        asking.is_refused = _refuses(registry, store)
        if not asking.is_refused:
            known.usable.add(store.identity)
        asking.error = None
    except Exception as error:  # noqa: BLE001 - raised again by everybody who waits
        asking.error = error
    finally:
        with _knowing:
            del known.asked[store.identity]
        asking.ended.set()


def _refuses(registry: Registry, store: ObjectStore) -> bool:
    from artifactstore.storage.probing.verdict import Verdict

    with registry.catalog.snapshot() as queries:
        verdict = probes.verdict_of(queries.connection, store.identity)
    return (verdict or _probe(registry, store).judgement.verdict) == Verdict.REFUSED


def _probe(registry: Registry, store: ObjectStore) -> ProbeReport:
    probed, judgement = _measured(store)
    report = ProbeReport(store.identity, registry.clock(), judgement, probed)
    text = json.dumps({**asdict(report.judgement), **asdict(report.probed)})
    row = probes.ProbeRow(report.target, report.probed_at, report.judgement.verdict, text)
    with registry.transaction() as tx:
        probes.save_report(tx.connection, row)
    return report


def _measured(store: ObjectStore) -> tuple[Probed, Judgement]:
    """Refused only if a second probe comes to that for one of the same reasons: faults on the way come and go."""
    from artifactstore.storage.probing.probe import probe
    from artifactstore.storage.probing.verdict import Verdict, judge

    first = judge((probed := probe(store)).findings)
    if first.verdict != Verdict.REFUSED:
        return probed, first
    second = judge((probed := probe(store)).findings)
    if second.verdict == Verdict.REFUSED and not set(first.reasons) & set(second.reasons):
        raise StorageUnavailableError(f"{store.identity} fails, each time otherwise: {first.reasons[0]}")
    return probed, second


def _report_of(row: probes.ProbeRow) -> ProbeReport:
    """What was kept, as far as this version knows it: an older or newer one may have measured something else."""
    from artifactstore.storage.probing.probe import Capability, Finding, Probed
    from artifactstore.storage.probing.verdict import Judgement, Verdict

    kept = json.loads(row.report)
    known = set(Capability)
    findings = tuple(
        Finding(Capability(each["capability"]), each["value"], each["measured"], each["figures"])
        for each in kept["findings"]
        if each["capability"] in known
    )
    judgement = Judgement(Verdict(row.verdict), tuple(kept["reasons"]), tuple(kept["limits"]))
    return ProbeReport(row.target, Instant(row.probed_at), judgement, Probed(findings, kept["left_behind"]))
