"""Instants: integer microseconds since 1970-01-01T00:00:00Z, in tables, events and arithmetic; RFC 3339 for people."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import NewType

from artifactstore.errors import UsageError

Instant = NewType("Instant", int)

MICROSECONDS_PER_DAY = 86_400_000_000
_RFC_3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[Tt ](?:[01]\d|2[0-3]):\d{2}(?::\d{2}(?:\.\d+)?)?(?:[Zz]|[+-]\d{2}:?\d{2})?)?", re.ASCII
)
"""Section 5.6, and without what people leave out: seconds, the colon of the offset, and the offset, to be told of it.

What else ``fromisoformat`` reads is not the same in every version of Python.
"""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
LATEST = Instant((datetime.max.replace(tzinfo=UTC) - EPOCH) // _MICROSECOND)
"""The last instant that can be written as text."""


def system_clock() -> Instant:
    """The host's clock, now."""
    return Instant(time.time_ns() // 1000)


def moment_of(instant: int) -> datetime:
    """The instant as a ``datetime`` in UTC."""
    return EPOCH + timedelta(microseconds=instant)


def instant_of(moment: datetime) -> Instant:
    """The instant of a ``datetime`` that has an offset from UTC."""
    return Instant((moment - EPOCH) // _MICROSECOND)


def instant_text(instant: int) -> str:
    """RFC 3339 in UTC, with microseconds: ``2026-11-20T10:18:00.000000Z``."""
    return moment_of(instant).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """Read RFC 3339 as it stands there, with or without an offset from UTC. Raises ``UsageError``."""
    found = _RFC_3339.fullmatch(text)
    try:
        moment = None if found is None else datetime.fromisoformat(text.upper())
    except ValueError:
        moment = None
    if moment is None:
        raise UsageError(f"not a time: {text[:60]!r}", hint="Write it like 2027-01-31T00:00:00Z.")
    return moment


def parse_instant(text: str) -> Instant:
    """The same as an instant. A time without an offset is refused, because it could mean any of 26 hours."""
    moment = parse_time(text)
    if moment.tzinfo is None:
        raise UsageError(f"{text} has no offset from UTC", hint="Write it like 2027-01-31T00:00:00Z.")
    instant = instant_of(moment)
    if not 0 <= instant <= LATEST:
        raise UsageError(f"{text} is not between 1970 and the end of 9999 in UTC")
    return instant
