"""The scrub: how far reading the whole store back has come, when it is overdue, and pausing it.

The duty ``verify`` does the reading, a slice at a time. Within ``verify_every_days`` it has read everything once; if it
has not, the scrub is overdue, whatever the reason: nobody runs duties, a backend gives no answer, it is paused, or
there is more to read than its rate allows.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from artifactstore.catalog import duties as rows
from artifactstore.catalog import overview
from artifactstore.domain.instant import MICROSECONDS_PER_DAY, parse_instant
from artifactstore.registry.pausing import pause_duty, resume_duty

if TYPE_CHECKING:
    from collections.abc import Callable

    from artifactstore.catalog.duties import DutyRecord
    from artifactstore.catalog.queries import Queries
    from artifactstore.domain.instant import Instant
    from artifactstore.registry.duties import Detail
    from artifactstore.registry.registry import Registry

NAME = "verify"
"""The duty that reads."""
SHARE_OF_TIME = 0.9
"""What part of the time there is a round takes: the rest is for hours in which nobody reads."""
_MOST_AT_ONCE_S = 0.5
_CREDIT_S = 1.0


@dataclass(frozen=True, slots=True)
class ScrubStatus:
    """How far it is. Instants are None where there has been none."""

    every_days: int
    """0 if it is off."""
    bytes_per_s: int
    """The most that it reads; 0 for as much as there is."""
    paused_at: int | None
    paused_by: str | None
    began_at: int | None
    """When the round began that is under way."""
    progress: float
    """How much of its objects this round has read, from 0 to 1."""
    ended_at: int | None
    """When everything was last read."""
    days_since: float | None
    """How many days ago that was."""
    last_run_at: int | None
    next_run_at: int | None
    """None while it is paused or off."""
    overdue_at: int | None
    """When it is overdue unless everything has been read by then; None if it is off, or nobody has begun yet."""
    is_overdue: bool
    coverage: float
    """How much of the store was read within the days there are, from 0 to 1."""
    damage_found: int
    """What the last run has found."""
    damaged_objects: int
    """How many objects are recorded as damaged now, up to ``overview.COUNT_TO``."""


def scrub_status(registry: Registry) -> ScrubStatus:
    """One look at two small tables, and a count that stops early."""
    with registry.catalog.snapshot() as queries:
        return scrub_status_by(queries, registry)


def scrub_status_by(queries: Queries, registry: Registry) -> ScrubStatus:
    """The same, in a view that others look at, too."""
    now, days = registry.clock(), registry.verify_every_days
    record = next((each for each in rows.all_duties(queries.connection) if each.name == NAME), None)
    detail: Detail = json.loads(record.detail) if record and record.detail else {}
    ended_at = _instant(detail, "last_round_ended_at")
    overdue_at = _overdue_at(ended_at, _instant(detail, "since"), days)
    is_overdue = overdue_at is not None and now > overdue_at
    progress = _progress(record, detail)
    paused_at = record and record.paused_at
    return ScrubStatus(
        every_days=days,
        bytes_per_s=registry.scrub_bytes_per_s,
        paused_at=paused_at,
        paused_by=record and record.paused_by,
        began_at=_instant(detail, "round_began_at"),
        progress=progress,
        ended_at=ended_at,
        days_since=None if ended_at is None else (now - ended_at) / MICROSECONDS_PER_DAY,
        last_run_at=record and record.finished_at,
        next_run_at=None if record is None or paused_at or not days else record.next_run_at,
        overdue_at=overdue_at,
        is_overdue=is_overdue,
        coverage=progress if ended_at is None or is_overdue else 1.0,
        damage_found=int(str(detail.get("damage", 0))),
        damaged_objects=overview.damaged_objects(queries.connection),
    )


def pause_scrub(registry: Registry) -> ScrubStatus:
    """Let nobody read the store back by itself. A run that is under way ends within seconds, and keeps its place."""
    pause_duty(registry, NAME)
    return scrub_status(registry)


def resume_scrub(registry: Registry) -> ScrubStatus:
    """Go on where it stood."""
    resume_duty(registry, NAME)
    return scrub_status(registry)


class Throttle:
    """Keeps reading to so many bytes a second. Time that was not used counts for a second at most."""

    def __init__(
        self,
        bytes_per_s: int,
        *,
        wait: Callable[[float], object] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``bytes_per_s`` is 0 for no limit. ``wait`` is called for half a second at most, and may raise."""
        self._bytes_per_s = bytes_per_s
        self._wait, self._monotonic = wait, monotonic
        self._free_at = monotonic()

    def take(self, count_bytes: int) -> None:
        """These were read: wait for as long as that takes at this rate."""
        if not self._bytes_per_s:
            return
        self._free_at = max(self._free_at, self._monotonic() - _CREDIT_S) + count_bytes / self._bytes_per_s
        while (ahead_s := self._free_at - self._monotonic()) > 0:
            self._wait(min(ahead_s, _MOST_AT_ONCE_S))


def _overdue_at(ended_at: int | None, first_run_at: int | None, days: int) -> int | None:
    since = ended_at or first_run_at
    return since + days * MICROSECONDS_PER_DAY if since and days else None


def _progress(record: DutyRecord | None, detail: Detail) -> float:
    highest = int(str(detail.get("of", 0)))
    return min(1.0, record.position / highest) if record and highest else 0.0


def _instant(detail: Detail, name: str) -> Instant | None:
    text = detail.get(name)
    return parse_instant(str(text)) if text else None
