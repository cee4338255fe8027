"""Duties: background work of the whole store, done by whichever process has claimed it, and by no other meanwhile.

A claim is a row that names the run. Its heartbeat keeps it; without one for ``runs_out_s`` anybody may take the duty
over. A run that was paused for so long finds out by itself: every transaction of its registry first renews the claim,
in that transaction, and fails if it is lost. So two runs never write at once, whatever their hosts' clocks say.

::

    SWEEP = Duty("sweep", every_s=3600, act=lambda registry, claim: {"expired": len(sweep(registry))})

    run_due(registry, [SWEEP])      # what is due; from cron, or every few seconds by a server
    run_now(registry, SWEEP)        # due or not; the answer of ``act``
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.catalog import duties as rows
from artifactstore.errors import ArtifactStoreError, ClaimLostError, DutyRunningError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from artifactstore.catalog.catalog import Transaction
    from artifactstore.catalog.duties import DutyRecord
    from artifactstore.catalog.queries import Queries
    from artifactstore.domain.instant import Instant
    from artifactstore.registry.registry import Registry

    Detail = dict[str, object]

DONE, FAILED, INTERRUPTED = "done", "failed", "interrupted"
DEFECT = "INTERNAL"
"""The code of a failure that is no error of ours."""
MAX_SKEW_S = 300.0
"""An instant so much later than it can be was written by a clock that was wrong, and counts for nothing."""
_FIRST_RETRY_S = 60.0
_DOUBLINGS = 10
_ASK_AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Duty:
    """A name, how often, and what is done: ``act`` answers what it did, as a JSON document.

    It acts through the registry that it is handed, not through another: that one writes only while the claim is held.
    """

    name: str
    every_s: float
    act: Callable[[Registry, Claim], Detail]
    first_after_s: float = 0.0
    """How long after the store was first served it runs first."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a run says that it lives, and after what silence it counts as dead."""

    heartbeat_s: float = 10.0
    runs_out_s: float = 60.0


PATIENCE = Patience()


class Run(NamedTuple):
    """What became of one run: an outcome and, if it failed, what stopped it."""

    duty: str
    outcome: str
    detail: Detail | None
    error: Exception | None


class DutyStoppedError(Exception):
    """The process is asked to end; what is done so far stays done."""


class Claim:
    """The right of one run to do a duty, until it ends or is lost."""

    def __init__(
        self,
        registry: Registry,
        record: DutyRecord,
        *,
        patience: Patience,
        stop: threading.Event | None,
        heeds_pause: bool = True,
    ) -> None:
        self.name = record.name
        self.position = record.position
        """Where the run before this one ended, for a duty that takes the store in parts."""
        self.before: Detail = {} if record.detail is None else json.loads(record.detail)
        """What the last run that did anything said that it did."""
        self.so_far: Detail | None = None
        """What ``act`` has done so far, for a run that does not come to its end."""
        self.failures = record.failures
        self.started_at = record.started_at or 0
        self.succeeded_at = record.succeeded_at
        """When a run was last done; None if none ever was."""
        self.registry = replace(registry, catalog=registry.catalog.doing_first(self.hold_in))
        """The store, where every transaction that writes first makes sure of the claim."""
        self.holder = record.holder or ""
        self._unguarded = registry
        self._patience = patience
        self._stop = stop or threading.Event()
        self._lost = threading.Event()
        self._paused = threading.Event()
        self._heeds_pause = heeds_pause
        """What is begun by hand goes on, paused or not."""

    def check(self) -> None:
        """Between two pages of work: raises ``ClaimLostError``, or ``DutyStoppedError`` if the process is to end.

        The latter also if somebody has paused the duty.
        """
        self.go_on()
        with self._unguarded.catalog.snapshot() as queries:
            self._require(held=rows.is_held(queries.connection, self.name, self.holder))
            self._look_whether_paused(queries)
        self.go_on()

    def go_on(self) -> None:
        """The same without asking the database: as often as one likes."""
        if self._stop.is_set() or self._paused.is_set():
            raise DutyStoppedError
        self._require(held=not self._lost.is_set())

    def wait(self, seconds: float) -> None:
        """Do nothing for so long. Raises what ``go_on`` does."""
        self._stop.wait(seconds)
        self.go_on()

    def hold_in(self, tx: Transaction, *, position: int | None = None) -> None:
        """Keep everybody else from the duty until ``tx`` ends; ``position`` is where a later run would go on.

        Raises ``ClaimLostError``, or ``DutyStoppedError`` if the process is to end or somebody has paused the duty.
        """
        if self._stop.is_set() or self._paused.is_set():
            raise DutyStoppedError
        self._renew_in(tx, position)

    def reach(self, position: int) -> None:
        """Note where a later run would go on, durably."""
        with self._unguarded.transaction() as tx:
            self._renew_in(tx, position)
        self.position = position

    def end(self, run: Run, duty: Duty) -> bool:
        """Give the duty free; whether the claim was held until then."""
        ending = _ending_of(run, duty, self, self._unguarded.clock())
        with self._unguarded.transaction() as tx:
            return rows.end(tx.connection, self.name, self.holder, ending)

    @contextmanager
    def kept_alive(self) -> Iterator[None]:
        """Renew the claim beside the work."""
        ended = threading.Event()
        heart = threading.Thread(target=self._beat, args=(ended,), name=f"heart of {self.name}", daemon=True)
        heart.start()
        try:
            yield
        finally:
            ended.set()
            heart.join()

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(self._patience.heartbeat_s):
            try:
                with self._unguarded.transaction() as tx:
                    self._renew_in(tx, None)
                    self._look_whether_paused(tx)
            except ClaimLostError:
                return
            except ArtifactStoreError:
                continue  # the next beat may get through

    def _renew_in(self, tx: Transaction, position: int | None) -> None:
        now = self._unguarded.clock()
        self._require(held=rows.renew(tx.connection, self.name, self.holder, now, position=position))

    def _look_whether_paused(self, queries: Queries) -> None:
        if self._heeds_pause and rows.is_paused(queries.connection, self.name):
            self._paused.set()

    def _require(self, *, held: bool) -> None:
        if not held:
            self._lost.set()
            raise ClaimLostError(f"the duty {self.name!r} was taken over by another process")


def due_duties(registry: Registry, duties: Sequence[Duty], *, patience: Patience = PATIENCE) -> list[Duty]:
    """Those that wait for somebody to run them. One look at a small table; duties it does not have yet are noted."""
    now = registry.clock()
    with registry.catalog.snapshot() as queries:
        known = {record.name: record for record in rows.all_duties(queries.connection)}
    if unknown := [duty for duty in duties if duty.name not in known]:
        with registry.transaction() as tx:
            for duty in unknown:
                rows.note_duty(tx.connection, duty.name, now + microseconds(duty.first_after_s))
    first_looked_at = [duty for duty in unknown if not duty.first_after_s]
    return [
        duty
        for duty in duties
        if duty in first_looked_at or (duty.name in known and _waits(known[duty.name], duty, now, patience))
    ]


def run_due(
    registry: Registry,
    duties: Sequence[Duty],
    *,
    patience: Patience = PATIENCE,
    stop: threading.Event | None = None,
) -> list[Run]:
    """Run what is due and what nobody else runs, one after the other; what became of each. A failure stops no other."""
    runs: list[Run] = []
    for duty in due_duties(registry, duties, patience=patience):
        try:
            run = run_if_due(registry, duty, patience=patience, stop=stop)
        except ArtifactStoreError as error:  # it could not be claimed
            run = Run(duty.name, FAILED, None, error)
        if run is not None:
            runs.append(run)
    return runs


def run_if_due(
    registry: Registry, duty: Duty, *, patience: Patience = PATIENCE, stop: threading.Event | None = None
) -> Run | None:
    """Run one, unless another process has it or has just done it: then None."""
    now = registry.clock()
    waiting = rows.Span(now + 1, now + microseconds(duty.every_s + MAX_SKEW_S))
    claim = _claim(registry, duty, now, waiting, patience, stop)
    return None if claim is None else _run(duty, claim)


def run_if_free(
    registry: Registry, duty: Duty, *, patience: Patience = PATIENCE, stop: threading.Event | None = None
) -> Run | None:
    """Run one whether it is due or not, unless another process has it: then None."""
    claim = _claim(registry, duty, registry.clock(), None, patience, stop)
    return None if claim is None else _run(duty, claim)


def run_now(registry: Registry, duty: Duty, *, wait_s: float = 3.0, patience: Patience = PATIENCE) -> Detail:
    """Run one whether it is due or not; what it did. Its next run is due an interval from now.

    Waits for a run that is under way, then raises ``DutyRunningError``. What stops the run is recorded, and raised.
    """
    with registry.transaction() as tx:
        rows.note_duty(tx.connection, duty.name, registry.clock())
    give_up_at = time.monotonic() + wait_s
    while (claim := _claim(registry, duty, registry.clock(), None, patience, None)) is None:
        if time.monotonic() >= give_up_at:
            raise DutyRunningError(f"the duty {duty.name!r} is running already{_by_whom(registry, duty)}")
        time.sleep(_ASK_AGAIN_S)
    run = _run(duty, claim)
    if run.error is not None:
        raise run.error
    return run.detail or {}


def is_alive(record: DutyRecord, now: Instant, *, patience: Patience = PATIENCE) -> bool:
    """Whether somebody is running it, by the last heartbeat."""
    alive = _alive(now, patience)
    return record.holder is not None and alive.first <= (record.heartbeat_at or 0) <= alive.last


def host_and_process(holder: str) -> str:
    """Who holds a claim, for people: ``host:process id``."""
    return holder.rpartition("#")[0]


# one run


def _claim(
    registry: Registry,
    duty: Duty,
    now: Instant,
    waiting: rows.Span | None,
    patience: Patience,
    stop: threading.Event | None,
) -> Claim | None:
    holder = f"{socket.gethostname()[:200]}:{os.getpid()}#{registry.new_id()}"
    alive = _alive(now, patience)
    with registry.transaction() as tx:
        record = rows.claim(tx.connection, duty.name, holder, now, alive=alive, waiting=waiting)
    if record is None:
        return None
    return Claim(registry, record, patience=patience, stop=stop, heeds_pause=waiting is not None)


def _run(duty: Duty, claim: Claim) -> Run:
    """Act under the claim and record what became of it. A run that has lost its claim has nothing to record."""
    try:
        with claim.kept_alive():
            run = Run(duty.name, DONE, duty.act(claim.registry, claim), None)
    except DutyStoppedError:
        run = Run(duty.name, INTERRUPTED, claim.so_far, None)
    except ClaimLostError as error:
        return Run(duty.name, FAILED, claim.so_far, error)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is to be seen in the row
        run = Run(duty.name, FAILED, claim.so_far, error)
    except BaseException:
        with suppress(ArtifactStoreError):  # else the claim runs out by itself
            claim.end(Run(duty.name, INTERRUPTED, claim.so_far, None), duty)
        raise
    try:
        held = claim.end(run, duty)
    except ArtifactStoreError as error:
        return Run(duty.name, FAILED, run.detail, run.error or error)
    return run if held else Run(duty.name, FAILED, run.detail, ClaimLostError(f"{duty.name!r} was taken over"))


def _ending_of(run: Run, duty: Duty, claim: Claim, now: Instant) -> rows.Ending:
    failures = {DONE: 0, INTERRUPTED: claim.failures}.get(run.outcome, claim.failures + 1)
    wait_us = {
        DONE: max(0, claim.started_at + microseconds(duty.every_s) - now),
        INTERRUPTED: 0,
    }.get(run.outcome, microseconds(min(duty.every_s, _FIRST_RETRY_S * 2 ** min(failures - 1, _DOUBLINGS))))
    return rows.Ending(
        finished_at=now,
        next_run_at=now + wait_us,
        outcome=run.outcome,
        failures=failures,
        detail=None if run.detail is None else json.dumps(run.detail),
        error=None if run.error is None else json.dumps(told(run.error)),
    )


def told(error: BaseException) -> dict[str, str]:
    """What is kept of an error: code, message, and the hint if there is one. Whatever it is, this raises nothing."""
    try:
        if not isinstance(error, ArtifactStoreError):
            return {"code": DEFECT, "message": f"{type(error).__name__}: {error}"}
        kept = {"code": str(error.code), "message": str(error.message)}
        return {**kept, "hint": str(error.hint)} if error.hint else kept
    except BaseException as defect:  # noqa: BLE001 - the class may be anybody's, and so is what its text is
        return {"code": DEFECT, "message": f"{type(error).__name__}, without a text: {type(defect).__name__}"}


# instants


def _waits(record: DutyRecord, duty: Duty, now: Instant, patience: Patience) -> bool:
    """Whether it is due and nobody is at it, as ``rows.claim`` decides it."""
    is_due = not now < record.next_run_at <= now + microseconds(duty.every_s + MAX_SKEW_S)
    return is_due and record.paused_at is None and not is_alive(record, now, patience=patience)


def _alive(now: Instant, patience: Patience) -> rows.Span:
    return rows.Span(now - microseconds(patience.runs_out_s), now + microseconds(MAX_SKEW_S))


def microseconds(seconds: float) -> int:
    """As instants are counted."""
    return int(seconds * 1_000_000)


def _by_whom(registry: Registry, duty: Duty) -> str:
    with registry.catalog.snapshot() as queries:
        found = [record for record in rows.all_duties(queries.connection) if record.name == duty.name]
    return "".join(f", by {host_and_process(record.holder)}" for record in found if record.holder)
