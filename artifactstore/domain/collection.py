"""How collection goes about: when, how fast, how long readers have, and which packs are made smaller."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from artifactstore.domain.instant import MICROSECONDS_PER_DAY, Instant
from artifactstore.errors import ConfigurationError

_WINDOW = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_MICROSECONDS_PER_MINUTE = 60_000_000


class DailyWindow(NamedTuple):
    """A time of the day in UTC, in minutes from midnight; one that ends before it begins goes over midnight."""

    begins: int
    ends: int

    @classmethod
    def parse(cls, text: str) -> DailyWindow:
        """Such as ``22:00-05:30``. Raises ``ConfigurationError``."""
        found = _WINDOW.fullmatch(text)
        if found is None or found[1] + found[2] == found[3] + found[4]:
            raise ConfigurationError(
                f"{text[:40]!r} is not a time of the day", hint="Write it like 22:00-05:30, in UTC."
            )
        hours_and_minutes = [int(part) for part in found.groups()]
        return cls(hours_and_minutes[0] * 60 + hours_and_minutes[1], hours_and_minutes[2] * 60 + hours_and_minutes[3])

    def has(self, now: Instant) -> bool:
        """Whether an instant is within it."""
        minute = now % MICROSECONDS_PER_DAY // _MICROSECONDS_PER_MINUTE
        if self.begins < self.ends:
            return self.begins <= minute < self.ends
        return minute >= self.begins or minute < self.ends


@dataclass(frozen=True, slots=True)
class CollectionPolicy:
    """The numbers of one store."""

    grace_s: int = 60
    """What readers have to finish between condemning and deleting."""
    repack_percent: int = 50
    """A pack is made smaller if that frees so much of it; more than 100 is never."""
    window: DailyWindow | None = None
    """When the duty may delete; None: always. What is asked for by hand is done at any time."""
    objects_per_s: int = 0
    """How many objects are deleted in a second at most; 0: as many as can be."""
