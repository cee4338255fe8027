"""How long: the five retention classes and the arithmetic of expiry.

A class is applied when a package is finalized and is resolved to an instant then; changing a duration later touches
only packages finalized later. Holds are not classes: they say "not yet, whatever the class says".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from artifactstore.domain.instant import LATEST, MICROSECONDS_PER_DAY, Instant, instant_text
from artifactstore.errors import ConfigurationError, RetentionInvalidError

if TYPE_CHECKING:
    from collections.abc import Mapping


class RetentionClass(StrEnum):
    """What kind of record a package is."""

    TRANSIENT = "transient"
    RAW_EVIDENCE = "raw-evidence"
    SUMMARY_EVIDENCE = "summary-evidence"
    RELEASE_EVIDENCE = "release-evidence"
    PERMANENT_RECORD = "permanent-record"

    @classmethod
    def parse(cls, text: str) -> RetentionClass:
        """Raises ``RetentionInvalidError`` naming the five."""
        try:
            return cls(text)
        except ValueError:
            raise RetentionInvalidError(
                f"there is no retention class {text[:60]!r}", hint=f"The classes are: {', '.join(cls)}."
            ) from None


DEFAULT_DAYS: Mapping[RetentionClass, int | None] = MappingProxyType(
    {
        RetentionClass.TRANSIENT: 7,
        RetentionClass.RAW_EVIDENCE: 30,
        RetentionClass.SUMMARY_EVIDENCE: 365,
        RetentionClass.RELEASE_EVIDENCE: 3_650,
        RetentionClass.PERMANENT_RECORD: None,
    }
)
MAX_DAYS = 36_500
MAX_NEWEST = 10_000


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """Days for each class; None never expires."""

    days: Mapping[RetentionClass, int | None] = field(default_factory=lambda: DEFAULT_DAYS)
    keep_newest: Mapping[str, int] = field(default_factory=dict)
    """By producer: how many packages about one subject no plan frees, whatever their class; of others none."""

    @classmethod
    def with_overrides(
        cls, overrides: Mapping[str, object], keep_newest: Mapping[str, object] = MappingProxyType({})
    ) -> RetentionPolicy:
        """The defaults with some durations replaced. Raises ``ConfigurationError`` for what makes no sense."""
        days = dict(DEFAULT_DAYS)
        for name, value in overrides.items():
            days[_overridable(name)] = _checked_days(name, value)
        newest = {name: _checked_count(name, value) for name, value in keep_newest.items()}
        return cls(MappingProxyType(days), MappingProxyType(newest))

    def duration_days(self, retention_class: RetentionClass) -> int | None:
        """The duration of a class in days, None if it never expires."""
        return self.days[retention_class]


def _overridable(name: str) -> RetentionClass:
    if name not in list(RetentionClass):
        raise ConfigurationError(
            f"there is no retention class {name!r}", hint=f"The classes: {', '.join(RetentionClass)}."
        )
    if name == RetentionClass.PERMANENT_RECORD:
        raise ConfigurationError("permanent-record never expires; its duration cannot be configured")
    return RetentionClass(name)


def _checked_days(name: str, value: object) -> int:
    if type(value) is not int or not 0 < value <= MAX_DAYS:
        raise ConfigurationError(f"the duration of {name} must be whole days from 1 to {MAX_DAYS}, not {value!r}")
    return value


def _checked_count(producer: str, value: object) -> int:
    if type(value) is not int or not 0 < value <= MAX_NEWEST:
        raise ConfigurationError(f"keep_newest of {producer} must be from 1 to {MAX_NEWEST}, not {value!r}")
    return value


def expiry(finalized_at: Instant, duration_days: int | None) -> Instant | None:
    """The instant from which a package may be swept; None for never."""
    return None if duration_days is None else Instant(finalized_at + duration_days * MICROSECONDS_PER_DAY)


def check_extension(current: Instant | None, new: Instant, *, now: Instant | None = None) -> None:
    """An extension must be strictly later; than now too if that is given. Raises ``RetentionInvalidError``."""
    if current is None:
        raise RetentionInvalidError("the package never expires: there is nothing to extend")
    if new > LATEST:
        raise RetentionInvalidError("the new expiry is beyond the year 9999", hint="permanent-record never expires.")
    if new <= current:
        raise RetentionInvalidError(
            f"{instant_text(new)} is not later than the present expiry {instant_text(current)}",
            hint="Retention can only be extended; nothing shortens it.",
        )
    if now is not None and new <= now:
        raise RetentionInvalidError(
            f"{instant_text(new)} has passed, and the package is expired",
            hint="What is to be kept needs an expiry that is still to come.",
        )
