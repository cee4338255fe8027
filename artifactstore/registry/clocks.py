"""Whether this host's clock may decide what is over: before packages expire, are deleted, or are collected.

Other clocks are asked where there are any: the database server's, and those of backends that tell the time. All of
them and the newest event must agree with ours to five minutes. A SQLite file and a directory have no clock but this
host's: if that runs ahead, nothing says so but how far it leapt since the last sweep. A leap longer than
``sweep_max_leap_hours`` is not believed until it has lasted as long again, or somebody says that the clock is right.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from artifactstore.catalog import collecting
from artifactstore.catalog import duties as duty_rows
from artifactstore.domain.instant import Instant, instant_text, parse_instant
from artifactstore.errors import ClocksDisagreeError
from artifactstore.registry.duties import MAX_SKEW_S, microseconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from artifactstore.registry.duties import Claim, Detail
    from artifactstore.registry.registry import Registry

SWEEP = "sweep"
"""The duty whose row remembers: its position is when the clock was last believed."""
_LIMIT_US = microseconds(MAX_SKEW_S)
_HOUR_US = 3_600_000_000
_TRUSTED = "trusted_log_at"
"""Member of what the duty did: up to here, events of the future are known to come from a clock that was wrong."""
_DOUBTED, _LEAPT_FROM = "clock_doubted_at", "clock_leapt_from"
_SAY_SO = "If this host's clock is right, say so: `artifactstore retention sweep --clock-is-right`."


def check_clocks(registry: Registry) -> None:
    """Before what only the right time allows. Raises ``ClocksDisagreeError`` as the module says.

    What was written since the last sweep is believed to be in time: whatever it says, no package is expired by it.
    """
    now, known = registry.clock(), _Known(registry)
    _check_others(registry, now)
    known.check_log(now)
    since = max(known.swept_at, known.latest_at)
    if _is_a_leap(registry, since, now):
        raise ClocksDisagreeError(_leapt(since, now), hint=f"Nothing was removed. {_SAY_SO}")


def other_clocks(registry: Registry) -> Mapping[str, int]:
    """What time it is elsewhere, by whose clock it is. A SQLite file's is none, and a directory has none."""
    clocks: dict[str, int] = {}
    if registry.catalog.database_kind != "sqlite":
        with registry.catalog.snapshot() as queries:
            clocks["the database"] = collecting.database_time(queries.connection)
    for name in registry.backends:
        if (its_time := registry.backend(name).server_time()) is not None:
            clocks[f"backend {name!r}"] = its_time
    return clocks


def believed_now(registry: Registry, claim: Claim, *, clock_is_right: bool) -> tuple[Instant, Detail]:
    """What time it is for a run of the duty ``sweep``, and what of that the run is to say.

    Raises ``ClocksDisagreeError``; with ``clock_is_right`` only if another clock disagrees. Why a leap is doubted is
    left in ``claim.so_far``, so that the next run knows since when.
    """
    now, known = registry.clock(), _Known(registry)
    _check_others(registry, now)
    if clock_is_right:
        known.trusted_at = max(known.trusted_at, known.latest_at)
    else:
        known.check_log(now)
        _require_no_leap(registry, claim, now, since=claim.position or known.latest_at)
    return now, {_TRUSTED: instant_text(known.trusted_at)} if known.trusted_at > now else {}


class _Known:
    """What the database knows of the time: of the newest event, and of the duty's last run that went well."""

    def __init__(self, registry: Registry) -> None:
        with registry.catalog.snapshot() as queries:
            records = duty_rows.all_duties(queries.connection)
            self.latest_at = queries.latest_at()
        swept = next((each for each in records if each.name == SWEEP), None)
        self.swept_at = swept.position if swept else 0
        self.trusted_at = _instant(json.loads(swept.detail) if swept and swept.detail else {}, _TRUSTED)

    def check_log(self, now: int) -> None:
        """Raises if there are events of the future, unless somebody has said that a wrong clock wrote them."""
        if self.latest_at - now > _LIMIT_US and self.latest_at > self.trusted_at:
            ahead_s = (self.latest_at - now) / 1e6
            raise ClocksDisagreeError(
                f"the newest event is {ahead_s:.0f} s in the future", hint=f"Nothing was removed. {_SAY_SO}"
            )


def _check_others(registry: Registry, now: int) -> None:
    for whose, said in other_clocks(registry).items():
        if abs(said - now) > _LIMIT_US:
            raise ClocksDisagreeError(f"the clock of {whose} is {(said - now) / 1e6:+.0f} s from this host's")


def _require_no_leap(registry: Registry, claim: Claim, now: Instant, *, since: int) -> None:
    if not _is_a_leap(registry, since, now):
        return
    doubted_at = _instant(claim.before, _DOUBTED)
    if not doubted_at or doubted_at > now:
        doubted_at = now
    believed_at = doubted_at + registry.sweep_max_leap_hours * _HOUR_US
    if now >= believed_at:
        return
    claim.so_far = {_DOUBTED: instant_text(doubted_at), _LEAPT_FROM: instant_text(since)}
    raise ClocksDisagreeError(
        f"{_leapt(since, now)}; unless it is put right, it is believed from {instant_text(believed_at)} on",
        hint=f"Nothing was marked as expired. {_SAY_SO}",
    )


def _is_a_leap(registry: Registry, since: int, now: int) -> bool:
    longest_us = registry.sweep_max_leap_hours * _HOUR_US
    return bool(longest_us and since) and now - since > longest_us


def _leapt(since: int, now: int) -> str:
    return (
        f"this host's clock is {(now - since) // _HOUR_US} hours later than {instant_text(since)}, when the store was"
        " last swept or written to"
    )


def _instant(detail: Mapping[str, object], name: str) -> int:
    text = detail.get(name)
    return parse_instant(str(text)) if text else 0
