"""Where a record belongs, and the gate that it must pass to be kept at all.

A record is filed under its repository, the UTC day its run finished, and its run id; that is also its external id, the
one thing that makes a submission new or the same. What cannot be filed is not recorded, and says why.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from artifactstore.pilots.testing_os.ecmascript import as_text, is_truthy
from artifactstore.pilots.testing_os.formats import instant_ms
from artifactstore.pilots.testing_os.schemas import RECORD_SCHEMA, Violation, violations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from artifactstore.domain.canonical import JsonValue

RECORD_SCHEMA_INVALID = "RECORD_SCHEMA_INVALID"
UNSAFE_RECORD_PATH = "UNSAFE_RECORD_PATH"
NOT_AN_OBJECT = "SUBMISSION_NOT_AN_OBJECT"
_RUN_ID = re.compile(r"[A-Za-z0-9_-]+")
_SHOWN = 500
"""Characters of a name that are read; a record's names are shorter."""
_UNREADABLE_INSTANT = "Invalid finished_at timestamp"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record is filed."""

    org: str
    repo: str
    day: str
    """YYYY-MM-DD, in UTC."""
    run_id: str

    @property
    def external_id(self) -> str:
        """``<org>/<repo>/<UTC date>/<run id>``."""
        return f"{self.org}/{self.repo}/{self.day}/{self.run_id}"

    def path(self, *, rejected: bool) -> str:
        """Below the root of a tree of records; a lone dot as a segment, which only profile 1.1 lets be, is none."""
        steps = ("records", "_rejected" if rejected else ".", self.org, self.repo, *self.day.split("-"))
        return "/".join((*(step for step in steps if step != "."), f"run-{self.run_id}.json"))


@dataclass(frozen=True, slots=True)
class Unfilable:
    """Why a record is not kept."""

    code: str
    message: str
    violations: tuple[Violation, ...] = ()


@dataclass(frozen=True, slots=True)
class Filing:
    """A place, or why there is none."""

    place: Place | None
    unfilable: Unfilable | None


class UnsafePlaceError(Exception):
    """A document whose place cannot be told; its text is the published one."""


def place_of(document: Mapping[str, JsonValue]) -> Place:
    """Where a submission or record belongs. Raises ``UnsafePlaceError``."""
    place = place_of_1_1(document)
    repo = as_text(document.get("repo"))[:_SHOWN]
    if repo != f"{place.org}/{place.repo}":
        raise UnsafePlaceError(f"invalid repo format: {repo}")
    if "." in {place.org, place.repo}:
        raise UnsafePlaceError(f"unsafe repo segment: {repo}")
    return place


def place_of_1_1(document: Mapping[str, JsonValue]) -> Place:
    """The same as 1.1.7 tells it: a third segment of ``repo`` is dropped, and a lone dot is one."""
    repo, run_id = as_text(document.get("repo"))[:_SHOWN], as_text(document.get("run_id"))[:_SHOWN]
    segments = repo.split("/")[:2]
    if len(segments) != 2 or not all(segments):  # noqa: PLR2004
        raise UnsafePlaceError(f"invalid repo format: {repo}")
    if any(".." in segment or "\\" in segment for segment in segments):
        raise UnsafePlaceError(f"unsafe repo segment: {repo}")
    if not _RUN_ID.fullmatch(run_id):
        raise UnsafePlaceError(f"unsafe run_id: {run_id}")
    timing = document.get("timing")
    finished_at = timing.get("finished_at") if isinstance(timing, dict) else None
    if not is_truthy(finished_at):
        raise UnsafePlaceError("record missing timing.finished_at")
    milliseconds = instant_ms(finished_at) if isinstance(finished_at, str) else None
    if milliseconds is None:
        raise UnsafePlaceError(_UNREADABLE_INSTANT)
    day = datetime.fromtimestamp(milliseconds // 1000, UTC).date().isoformat()
    return Place(segments[0], segments[1], day, run_id)


def file_record(record: dict[str, JsonValue]) -> Filing:
    """The gate first, then the place."""
    if found := violations(RECORD_SCHEMA, record):
        return Filing(None, _invalid(found))
    try:
        return Filing(place_of(record), None)
    except UnsafePlaceError as error:
        return Filing(None, Unfilable(UNSAFE_RECORD_PATH, str(error)))


def file_record_1_1(record: dict[str, JsonValue]) -> Filing:
    """As 1.1.7: the place first, then the gate. A date that is none is left to the gate, which names it."""
    found = violations(RECORD_SCHEMA, record)
    try:
        place = place_of_1_1(record)
    except UnsafePlaceError as error:
        is_no_date = str(error) == _UNREADABLE_INSTANT and "/timing/finished_at" in {item.pointer for item in found}
        if not is_no_date:
            return Filing(None, Unfilable(UNSAFE_RECORD_PATH, str(error)))
        return Filing(None, _invalid(found))
    return Filing(None, _invalid(found)) if found else Filing(place, None)


def _invalid(found: tuple[Violation, ...]) -> Unfilable:
    told = "; ".join(map(str, found))
    return Unfilable(RECORD_SCHEMA_INVALID, f"persisted record failed schema validation: {told}", found)
