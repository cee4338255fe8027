"""The stage log: one line of JSON for each stage that a submission comes through, in the published keys."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from artifactstore.domain.instant import system_clock
from artifactstore.pilots.testing_os.record import instant_text_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.instant import Instant

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def _nowhere(_line: str) -> None:
    """Nobody reads."""


@dataclass(frozen=True, slots=True)
class StageLog:
    """The log of one submission; every line has the correlation id."""

    correlation_id: str
    submission_id: str | None
    write: Callable[[str], object] = _nowhere
    clock: Callable[[], Instant] = system_clock

    def __call__(self, stage: str, **members: JsonValue) -> None:
        """One line. A reader that has gone must not undo what was done, so nothing is raised for that."""
        line: dict[str, JsonValue] = {
            "ts": instant_text_ms(self.clock()),
            "component": "ingest",
            "stage": stage,
            "correlation_id": self.correlation_id,
            "submission_id": self.submission_id,
            **members,
        }
        try:
            self.write(json.dumps(line, ensure_ascii=True))
        except OSError:
            return


def stage_log(
    value: JsonValue, write: Callable[[str], object] = _nowhere, **options: Callable[[], Instant]
) -> StageLog:
    """The log of a submission: known by its run id, or by an id of its own if it has none."""
    run_id = value.get("run_id") if isinstance(value, dict) else None
    named = run_id[:200] if isinstance(run_id, str) and run_id else None
    clock = options.get("clock", system_clock)
    return StageLog(named or f"ing-{_base36(clock() // 1000)}-{secrets.token_hex(2)}", named, write, clock)


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
