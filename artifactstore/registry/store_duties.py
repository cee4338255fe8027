"""The duties that every store has: what each does, and how often.

``sweep`` marks what is past its retention, ``expire-pushes`` forgets pushes that nobody finished, ``verify`` reads the
stored objects back little by little, ``clean-backends`` removes what writers that are gone have left unfinished,
``collect`` removes what nothing refers to, ``seal-log`` stores what the log has grown by.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, cast

from artifactstore.catalog import collecting, event_log, overview
from artifactstore.domain.events import PackageDeleted
from artifactstore.domain.instant import MICROSECONDS_PER_DAY, instant_text, parse_instant
from artifactstore.domain.object_events import ObjectReprieved
from artifactstore.errors import ArtifactStoreError, DutyUnknownError, StorageUnavailableError
from artifactstore.failpoints import failpoint
from artifactstore.registry.clocks import believed_now
from artifactstore.registry.collecting import CollectionReport, collect
from artifactstore.registry.duties import Duty, run_now
from artifactstore.registry.ingest import check_storage
from artifactstore.registry.open_packages import expire_open_packages
from artifactstore.registry.retention import sweep
from artifactstore.registry.scrubbing import NAME as SCRUB
from artifactstore.registry.scrubbing import SHARE_OF_TIME, Throttle
from artifactstore.registry.sealing import seal_if_due
from artifactstore.registry.verify import NO_ANSWER, VerifyReport, verify_page

if TYPE_CHECKING:
    from artifactstore.domain.collection import DailyWindow
    from artifactstore.registry.duties import Claim, Detail
    from artifactstore.registry.progress import Progress
    from artifactstore.registry.registry import Registry

_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3_600.0, 86_400.0
LEFT_FOR = timedelta(days=3)
"""What has not grown for so long has no writer any more: no request and no command lasts that long."""
_OBJECTS_A_PAGE = 10
_MAKES_GARBAGE = (PackageDeleted.type, ObjectReprieved.type)
"""What may leave objects that nothing refers to."""


def duties_of(registry: Registry) -> tuple[Duty, ...]:
    """Those that are on."""
    always = (SWEEP, EXPIRE_PUSHES, CLEAN_BACKENDS, COLLECT, SEAL_LOG)
    return (*always, VERIFY) if registry.verify_every_days else always


def require_duty(name: str) -> Duty:
    """The duty of this name, whether it is on or not. Raises ``DutyUnknownError``."""
    for duty in ALL:
        if duty.name == name:
            return duty
    raise DutyUnknownError(f"there is no duty {name[:60]!r}")


def sweep_now(registry: Registry, *, clock_is_right: bool = False) -> list[str]:
    """The duty ``sweep``, by hand: the ids of the packages it marked.

    Raises ``DutyRunningError`` if it is running elsewhere and does not end soon, and ``ClocksDisagreeError``.
    """
    swept: list[str] = []

    def act(registry: Registry, claim: Claim) -> Detail:
        return _sweep_into(swept, registry, claim, clock_is_right=clock_is_right)

    run_now(registry, replace(SWEEP, act=act))
    return swept


def _sweep(registry: Registry, claim: Claim) -> Detail:
    return _sweep_into([], registry, claim, clock_is_right=False)


def _sweep_into(swept: list[str], registry: Registry, claim: Claim, *, clock_is_right: bool) -> Detail:
    """Nothing is marked by a clock that is not believed; when it last was is kept as the duty's position."""
    now, said = believed_now(registry, claim, clock_is_right=clock_is_right)
    swept.extend(sweep(registry, as_of=now))
    claim.reach(now)
    return {"expired": len(swept), **said}


def collect_now(registry: Registry, *, wait_s: float, unrecorded: bool, progress: Progress) -> CollectionReport:
    """The duty ``collect``, by hand: at any time of the day. Raises as ``collect`` does."""
    reports: list[CollectionReport] = []

    def act(registry: Registry, claim: Claim) -> Detail:
        report = collect(
            registry, wait_s=wait_s, unrecorded=unrecorded, may_go_on=_Going(claim, None).on, progress=progress
        )
        reports.append(report)
        return _collected(report, None)

    run_now(registry, replace(COLLECT, act=act))
    return reports[0]


def _collect(registry: Registry, claim: Claim) -> Detail:
    """Condemn in one run and delete in a later one. Without anything new to find, nothing is looked for."""
    with registry.catalog.snapshot() as queries:
        seq = queries.latest_seq()
        since = int(cast("int", claim.before.get("looked_at_seq") or 0))
        is_new = event_log.next_of_types(queries.connection, _MAKES_GARBAGE, after=since, limit=1)
        is_waiting = any(collecting.waiting(queries.connection, name)[0] for name in registry.backends)
    going = _Going(claim, registry.collection.window)
    if not (is_new or is_waiting) or going.on():
        return {**claim.before, "outside_its_hours": bool(is_new or is_waiting)}
    report = collect(registry, wait_s=0, may_go_on=going.on)
    return _collected(report, since if report.stopped else seq)


def _collected(report: CollectionReport, looked_at_seq: int | None) -> Detail:
    return {
        "deleted": sum(here.deleted for here in report.backends.values()),
        "deleted_bytes": sum(here.deleted_bytes for here in report.backends.values()),
        "left": report.left,
        "waiting_for": list(report.waiting_for),
        "stopped": report.stopped,
        "looked_at_seq": looked_at_seq,
    }


class _Going:
    """Whether a collection may go on: while its claim is held, within its hours."""

    def __init__(self, claim: Claim, window: DailyWindow | None) -> None:
        self._claim = claim
        self._window = window

    def on(self) -> str:
        """Why not; empty if it may. Raises what ``Claim.check`` does."""
        self._claim.check()
        now = self._claim.registry.clock()
        return "" if self._window is None or self._window.has(now) else "outside its hours"


def _expire_pushes(registry: Registry, _: Claim) -> Detail:
    return {"forgotten": expire_open_packages(registry)}


def _verify(registry: Registry, claim: Claim) -> Detail:
    """Read the next slice, and start anew after the last object. Every page's end is noted, and goes on from there.

    A backend that gives no answer keeps no other from being read: the run goes on, and then fails and names it.
    """
    with registry.catalog.snapshot() as queries:
        highest = overview.highest_object(queries.connection)
    slice_ = _Slice(claim, highest, registry.scrub_bytes_per_s)
    up_to = claim.position + _slice_size(highest, registry.verify_every_days, claim)
    claim.so_far = slice_.document(claim.position)
    slice_.check_backends(registry)
    while slice_.read_page(registry, up_to):
        claim.so_far = slice_.document(claim.position)
    slice_.end(registry, is_last=up_to >= highest)
    claim.so_far = slice_.document(claim.position)
    slice_.raise_if_incomplete()
    return claim.so_far


class _Slice:
    """What one run reads of the store, and in which round of reading all of it."""

    def __init__(self, claim: Claim, highest: int, rate: int) -> None:
        self._claim = claim
        self._highest = highest
        self._report = VerifyReport()
        self._damage = 0
        self._began_at = claim.before.get("round_began_at") if claim.position else instant_text(claim.started_at)
        self._since = claim.before.get("since") or instant_text(claim.started_at)
        self._round_ended_at = claim.before.get("last_round_ended_at")
        self._caught_up_at = claim.before.get("caught_up_at")
        self._going_on = _GoingOn(claim, rate)
        self._passed_over = set(cast("list[str]", claim.before.get("passed_over", []))) if claim.position else set()

    def check_backends(self, registry: Registry) -> None:
        """Pass over those that are not the storage they were: their objects are not judged one by one.

        Raises what the first of them does if no other is left.
        """
        for name in registry.backends:
            try:
                check_storage(replace(registry, default_backend=name))
            except NO_ANSWER as error:
                self._report.unreachable[name] = error
        self._require_one(registry)

    def read_page(self, registry: Registry, up_to: int) -> bool:
        """Read some objects more; False if there are none. Raises as ``check_backends`` does."""
        self._claim.check()
        here = self._claim.position
        last = verify_page(
            registry,
            after=here,
            up_to=up_to,
            limit=_OBJECTS_A_PAGE,
            report=self._report,
            progress=self._going_on,
        )
        self._damage += len(self._report.damage)
        self._report.damage.clear()
        self._require_one(registry)
        self._passed_over |= self._report.passed_over
        if last is not None:
            failpoint("scrub.before-place-kept")
            self._claim.reach(last)
            failpoint("scrub.after-page")
        return last is not None

    def end(self, registry: Registry, *, is_last: bool) -> None:
        """Everything up to the slice's end had its turn. A round in which backends were passed over has not ended."""
        self._caught_up_at = instant_text(self._claim.started_at)
        if is_last:
            self._claim.reach(0)
            if not self._passed_over:
                self._round_ended_at = instant_text(registry.clock())

    def raise_if_incomplete(self) -> None:
        """Raises ``StorageUnavailableError`` if something was passed over, with the backends and why."""
        errors = {name: self._report.unreachable[name] for name in sorted(self._report.passed_over)}
        if errors:
            each = "; ".join(f"{name!r}: {error.code}: {error.message}" for name, error in errors.items())
            hint = next(iter(errors.values())).hint
            raise StorageUnavailableError(f"not read, for want of an answer: backend {each}", hint=hint)

    def _require_one(self, registry: Registry) -> None:
        """One backend that may still answer: else the position stays where it is."""
        if registry.backends.keys() <= self._report.unreachable.keys():
            raise next(iter(self._report.unreachable.values()))

    def document(self, position: int) -> Detail:
        """What was read so far. ``position`` and ``of`` are row ids: how far the round has come."""
        return {
            "objects": self._report.objects,
            "bytes_read": self._report.bytes_read,
            "damage": self._damage,
            "position": position,
            "of": self._highest,
            "since": self._since,
            "round_began_at": self._began_at,
            "last_round_ended_at": self._round_ended_at,
            "passed_over": sorted(self._passed_over),
            "caught_up_at": self._caught_up_at,
        }


def _slice_size(highest: int, days: int, claim: Claim) -> int:
    """How many row ids have their turn: what the time since the last run is of a round, at least one.

    A round takes somewhat less than the days it may: ``SHARE_OF_TIME``. So a store whose duties run once a day takes as
    long for a round as one where they run every hour. A run that read all of its slice but for a backend that gave no
    answer counts: else the slices grow for as long as that lasts.
    """
    round_us, hour_us = int(days * MICROSECONDS_PER_DAY * SHARE_OF_TIME), int(_HOUR_S * 1_000_000)
    caught_up_at = claim.before.get("caught_up_at")
    before = max(claim.succeeded_at or 0, parse_instant(str(caught_up_at)) if caught_up_at else 0)
    since = claim.started_at - before if before else hour_us
    return max(1, -(-highest * min(max(since, hour_us), round_us) // round_us))


class _GoingOn:
    """Looks, at every buffer that is read, whether to go on: an object may be large. And keeps to the rate."""

    def __init__(self, claim: Claim, bytes_per_s: int) -> None:
        self._claim = claim
        self._throttle = Throttle(bytes_per_s, wait=claim.wait)

    def begin(self, what: str, total_bytes: int | None) -> None:
        """Nobody is watching."""

    def advance(self, count_bytes: int) -> None:
        """Raises what ``Claim.go_on`` does."""
        self._claim.go_on()
        self._throttle.take(count_bytes)


def _clean_backends(registry: Registry, claim: Claim) -> Detail:
    """Each backend, also after one that fails: then the first failure is this run's."""
    removed: dict[str, int] = {}
    failures: list[ArtifactStoreError] = []
    claim.so_far = {"removed": removed}
    for name in registry.backends:
        claim.check()
        try:
            removed[name] = registry.backend(name).remove_leftovers(LEFT_FOR)
        except ArtifactStoreError as error:
            failures.append(error)
    if failures:
        raise failures[0]
    return claim.so_far


def _seal_log(registry: Registry, _: Claim) -> Detail:
    report = seal_if_due(registry)
    return {"segments": report.segments, "events": report.events, "sealed_up_to": report.sealed_up_to}


SWEEP = Duty("sweep", _HOUR_S, _sweep)
EXPIRE_PUSHES = Duty("expire-pushes", _MINUTE_S, _expire_pushes)
VERIFY = Duty(SCRUB, _HOUR_S, _verify, first_after_s=_HOUR_S)
CLEAN_BACKENDS = Duty("clean-backends", _DAY_S, _clean_backends, first_after_s=_HOUR_S)
COLLECT = Duty("collect", _HOUR_S, _collect, first_after_s=_HOUR_S)
SEAL_LOG = Duty("seal-log", _MINUTE_S, _seal_log, first_after_s=_MINUTE_S)
ALL = (SWEEP, EXPIRE_PUSHES, VERIFY, CLEAN_BACKENDS, COLLECT, SEAL_LOG)
"""Whether they are on or not."""
