"""Reads that had to be served from a second location: who is told, what is recorded, and which backend is spared.

A read that fell back has its bytes, so nothing here may make it fail or wait. Whoever listens is called at once. What
goes into the event log is written by one thread, which runs while there is something to write:

- an object that was missing or altered is read back, and its damage is recorded as ``verify`` records it;
- a backend that gave no answer is no damage: one ``v1.read.fell_back`` says so, every 15 minutes at most.

A backend that gave no answer is tried last for a while, so that an outage does not cost every read a time-out.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from artifactstore.domain.event import ObjectRef
from artifactstore.domain.object_events import ReadFellBack
from artifactstore.errors import (
    ConfigurationError,
    ObjectNotFoundError,
    StorageDeniedError,
    StorageError,
    StorageFullError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from artifactstore.catalog.records import ObjectRecord
    from artifactstore.registry.registry import Registry
    from artifactstore.storage.port import ObjectKey

EVENT_EVERY_S = 15 * 60
"""How far apart events are that say that reads fall back from one backend."""
TRIED_LAST_S = 30.0
"""How long a backend that gave no answer is tried last."""
_NOTED_AGAIN_AFTER_S = 60.0
_MAX_WAITING = 1_000
_CLOSING_S = 10.0
"""How long closing waits for what is still to be recorded."""
_MICROSECONDS = 1_000_000


class Reason(StrEnum):
    """Why a location could not serve a read."""

    MISSING = "missing"
    ALTERED = "altered"
    """Other bytes than were stored, fewer, or none that can be read."""
    UNAVAILABLE = "unavailable"
    DENIED = "denied"
    NOT_CONFIGURED = "not configured"

    @property
    def is_damage(self) -> bool:
        """Whether it says something of the object, and not of its backend."""
        return self in {Reason.MISSING, Reason.ALTERED}


def reason_of(error: Exception) -> Reason:
    """What a failed read says."""
    match error:
        case ObjectNotFoundError():
            return Reason.MISSING
        case ConfigurationError():
            return Reason.NOT_CONFIGURED
        case StorageDeniedError():
            return Reason.DENIED
        case StorageError(retryable=True) | StorageFullError():
            return Reason.UNAVAILABLE
        case _:
            return Reason.ALTERED


@dataclass(frozen=True, slots=True)
class FallBack:
    """A read that found an object failing in its backend, and was served by another."""

    backend: str
    key: ObjectKey
    reason: Reason
    served_by: str


class FallBacks:
    """One process's; shared by everyone who uses its registry. Safe for several threads."""

    def __init__(self) -> None:
        self._told: Callable[[FallBack], object] = lambda _: None
        self._not_recorded: Callable[[FallBack, Exception], object] = lambda _, __: None
        self._actor: str | None = None
        self._failing: dict[str, float] = {}
        self._lock = threading.Lock()
        self._noted: dict[tuple[str, ObjectKey | None], float] = {}
        self._waiting: deque[tuple[Registry, FallBack]] = deque()
        self._thread: threading.Thread | None = None
        self._closing_at: float | None = None

    def attend(
        self,
        *,
        actor: str,
        told: Callable[[FallBack], object],
        not_recorded: Callable[[FallBack, Exception], object],
    ) -> None:
        """Call ``told`` for each, and ``not_recorded`` for one that could not be recorded; record in ``actor``'s name.

        Without this it is recorded in the name of whose read it was.
        """
        self._actor, self._told, self._not_recorded = actor, told, not_recorded

    # which backend is spared

    def is_failing(self, backend: str) -> bool:
        """Whether a backend is to be tried last. When its time is over the first who asks tries it, the others wait."""
        if backend not in self._failing:
            return False
        with self._lock:
            now = time.monotonic()
            if now < self._failing.get(backend, now):
                return True
            self._failing[backend] = now + TRIED_LAST_S
            return False

    def failed(self, backend: str) -> None:
        """It gave no answer."""
        with self._lock:
            self._failing[backend] = time.monotonic() + TRIED_LAST_S

    def answered(self, backend: str) -> None:
        """It gave the bytes that it was asked for."""
        if backend in self._failing:
            with self._lock:
                self._failing.pop(backend, None)

    # who is told

    def note(self, registry: Registry, fell_back: FallBack) -> None:
        """Tell whoever listens, and have it recorded soon. Never raises."""
        with suppress(Exception):  # whoever listens must not spoil a read
            self._told(fell_back)
        with self._lock:
            if self._closing_at is None and len(self._waiting) < _MAX_WAITING and self._is_news(fell_back):
                self._waiting.append((registry, fell_back))
                if self._thread is None:
                    self._thread = threading.Thread(target=self._work, name="fall-backs", daemon=True)
                    self._thread.start()

    def wait(self, timeout_s: float) -> None:
        """Until what has been noted is recorded."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    def close(self) -> None:
        """Finish what is to be recorded, within ten seconds; what is left the next read or verify finds again."""
        with self._lock:
            self._closing_at = time.monotonic() + _CLOSING_S
        self.wait(_CLOSING_S)

    def _is_news(self, fell_back: FallBack) -> bool:
        """Whether the same was not noted a moment ago."""
        now = time.monotonic()
        about = (fell_back.backend, fell_back.key if fell_back.reason.is_damage else None)
        if now < self._noted.get(about, now):
            return False
        if len(self._noted) >= _MAX_WAITING:
            self._noted = {each: until for each, until in self._noted.items() if now < until}
        self._noted[about] = now + _NOTED_AGAIN_AFTER_S
        return True

    # what is recorded

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting or self._is_over():
                    self._thread = None
                    return
                registry, fell_back = self._waiting.popleft()
            try:
                self._record(registry if self._actor is None else registry.acting_as(self._actor), fell_back)
            except Exception as error:  # noqa: BLE001 - the read was served: this is nobody's error but ours
                with suppress(Exception):
                    self._not_recorded(fell_back, error)

    def _is_over(self) -> bool:
        return self._closing_at is not None and time.monotonic() > self._closing_at

    def _record(self, registry: Registry, fell_back: FallBack) -> None:
        with registry.catalog.snapshot() as queries:
            places = queries.objects_of_digest(fell_back.key.kind, fell_back.key.digest)
        found = next((place for place in places if place.backend == fell_back.backend), None)
        if found is None:
            return  # it has been removed meanwhile
        if not fell_back.reason.is_damage:
            _record_outage(registry, found, fell_back, fell_back.reason)
            return
        try:
            self._record_damage(registry, found)
        except StorageError as error:  # a storage that is not mounted looks as if the object were missing
            if reason_of(error).is_damage:
                raise
            self.failed(found.backend)
            _record_outage(registry, found, fell_back, reason_of(error))

    def _record_damage(self, registry: Registry, found: ObjectRecord) -> None:
        from artifactstore.registry.damage import record_findings
        from artifactstore.registry.read_back import read_back_surely

        def go_on(_: int) -> None:
            if self._is_over():
                raise _StoppedError("the process ends")

        with registry.catalog.snapshot() as queries:
            blobs = list(queries.blobs_in_object(found.row_id))
        findings = read_back_surely(registry.backend(found.backend), found, blobs, go_on)
        record_findings(registry, found, findings)


class _StoppedError(Exception):
    """Reading back was given up because the process ends."""


def _record_outage(registry: Registry, found: ObjectRecord, fell_back: FallBack, reason: Reason) -> None:
    from artifactstore.catalog import backends

    now = registry.clock()
    before = now - EVENT_EVERY_S * _MICROSECONDS
    with registry.catalog.snapshot() as queries:
        if not backends.fell_back_before(queries.connection, found.backend, before):
            return
    with registry.transaction() as tx:
        if backends.note_fall_back(tx.connection, found.backend, now=now, before=before):
            reference = ObjectRef(found.backend, found.kind, found.blake3, found.size_bytes)
            tx.record(ReadFellBack(object=reference, served_by=fell_back.served_by, finding=reason.value))
