"""Where and when a run was observed, and who took part, as its documents say it.

What is said of that is read tolerantly: a time without an offset, or a name that cannot be recorded, does not count,
and never keeps a run from being recorded. The same directory is read the same on any host on any day.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from artifactstore.domain.canonical import canonical_json
from artifactstore.domain.instant import moment_of, parse_instant
from artifactstore.domain.package import MAX_TEXT_CHARACTERS, text_problem
from artifactstore.errors import UsageError
from artifactstore.pilots.guide_board import layout
from artifactstore.pilots.guide_board.documents import as_list, as_text, member
from artifactstore.plugins import EnvelopeInput, PartyInput, Retrieval, RunDirectoryError, SourceInput
from artifactstore.plugins.core import email_problem, normalise_email

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.pilots.guide_board.documents import Documents
    from artifactstore.pilots.guide_board.facts import RunFacts

LOCATION_KIND = "guide-board.run"
TRANSPORT = "filesystem"
SCOPE = "guide-board"
"""Within which a name that is no e-mail address names somebody."""
CLAIMED = "claimed"
"""The run says so itself."""


@dataclass(frozen=True, slots=True)
class RunObservation:
    """When the run ended, and who took part."""

    completed_at: datetime | None
    """None if the run says no time of its own."""
    parties: tuple[PartyInput, ...]


def read_observation(documents: Documents) -> RunObservation:
    """What a run's documents say."""
    people = [_parties(documents, places, partial(_person, role)) for role, places in layout.PARTICIPANTS.items()]
    runners = _parties(documents, layout.EXTENSIONS, _runner)
    completed_at = documents.first(layout.COMPLETED_AT, _time) or _latest_evidence(documents)
    return RunObservation(completed_at, tuple(chain(*people, runners)))


def source_of(facts: RunFacts) -> SourceInput:
    """The run, as a place where something was observed."""
    name = f"guide-board run {facts.run_id}"[:MAX_TEXT_CHARACTERS].rstrip()
    return SourceInput(
        LOCATION_KIND,
        facts.run_id,
        retrieval=Retrieval(content_type="application/json", display_name=name),
        metadata={"target_profile_ref": facts.target_profile_ref},
    )


def envelope_of(facts: RunFacts, seen: RunObservation) -> EnvelopeInput:
    """The run's end. Only a run that says no time of its own was observed now."""
    statement: dict[str, JsonValue] = {
        "run_id": facts.run_id,
        "result_status": facts.result_status,
        "target_profile_ref": facts.target_profile_ref,
        "assessment_profile_ref": facts.assessment_profile_ref,
    }
    payload = canonical_json(statement).encode(errors="backslashreplace")  # as JSON escapes an unpaired surrogate
    return EnvelopeInput(TRANSPORT, payload, seen.completed_at or datetime.now(UTC))


# times


def _time(value: JsonValue) -> datetime | None:
    try:
        return moment_of(parse_instant((as_text(value) or "").strip()))
    except UsageError:
        return None


def _latest_evidence(documents: Documents) -> datetime | None:
    """When the last check ended. Evidence is read for nothing else, so one that cannot be read is in nobody's way."""
    try:
        items = documents.first(layout.EVIDENCE_ITEMS, as_list) or []
    except RunDirectoryError:
        return None
    times = (_time(member(item, pointer)) for item in items for pointer in layout.EVIDENCE_TIME_POINTERS)
    return max((time for time in times if time is not None), default=None)


# who took part


def _parties(
    documents: Documents, places: Sequence[str], party_of: Callable[[JsonValue], PartyInput | None]
) -> list[PartyInput]:
    """Whom the first place names that names anybody; a place may have a list of them."""

    def named(value: JsonValue) -> list[PartyInput] | None:
        entries = value if isinstance(value, list) else [value]
        parties = dict.fromkeys(party for entry in entries if (party := party_of(entry)) is not None)
        return [*parties][: layout.MAX_OF_A_ROLE] or None

    return documents.first(places, named) or []


def _person(role: str, value: JsonValue) -> PartyInput | None:
    """By an e-mail address, if one of the names is one."""
    names = _names(value, layout.NAME_POINTERS)
    if address := next(filter(_is_address, names), None):
        return PartyInput("email", address, role, CLAIMED)
    return PartyInput("person", names[0], role, CLAIMED, identifier_scope=SCOPE) if names else None


def _is_address(name: str) -> bool:
    address = normalise_email(name)
    return not (email_problem(address) or text_problem(address))


def _runner(extension: JsonValue) -> PartyInput | None:
    """An extension that ran checks."""
    names = _names(extension, layout.EXTENSION_POINTERS)
    return PartyInput("service", names[0], "runner", CLAIMED, identifier_scope=SCOPE) if names else None


def _names(value: JsonValue, pointers: Sequence[str]) -> list[str]:
    """What can be recorded of what stands at the pointers, in Unicode normalisation form C."""
    texts = [unicodedata.normalize("NFC", (as_text(member(value, pointer)) or "").strip()) for pointer in pointers]
    return [text for text in texts if not text_problem(text)]
