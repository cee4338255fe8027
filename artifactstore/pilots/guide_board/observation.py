"""Where and when a run was observed, and who took part, as its documents say it.

What is said of that is read tolerantly: a time without an offset, or a name that cannot be recorded, does not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from artifactstore.domain.canonical import canonical_json
from artifactstore.domain.instant import parse_instant
from artifactstore.domain.package import text_problem
from artifactstore.errors import UsageError
from artifactstore.pilots.guide_board import layout
from artifactstore.pilots.guide_board.documents import as_list, as_text, first_text
from artifactstore.plugins import EnvelopeInput, PartyInput, Retrieval, SourceInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
    people = [_participant(documents, role, places) for role, places in layout.PARTICIPANTS.items()]
    parties = [party for party in people if party is not None]
    extensions = documents.first(layout.EXTENSIONS, as_list) or []
    return RunObservation(documents.first(layout.COMPLETED_AT, _time), (*parties, *_runners(extensions)))


def source_of(facts: RunFacts) -> SourceInput:
    """The run, as a place where something was observed."""
    return SourceInput(
        LOCATION_KIND,
        facts.run_id,
        retrieval=Retrieval(content_type="application/json", display_name=f"guide-board run {facts.run_id}"),
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
    return EnvelopeInput(TRANSPORT, canonical_json(statement).encode(), seen.completed_at or datetime.now(UTC))


def _time(value: JsonValue) -> datetime | None:
    text = as_text(value)
    try:
        return None if text is None or parse_instant(text) is None else datetime.fromisoformat(text)
    except UsageError:
        return None


def _participant(documents: Documents, role: str, places: Sequence[str]) -> PartyInput | None:
    return documents.first(places, lambda value: _person(value, role))


def _person(value: JsonValue, role: str) -> PartyInput | None:
    name = first_text(value, layout.NAME_POINTERS)
    if name is None or text_problem(name.strip()):
        return None
    if name.count("@") == 1 and not any(character.isspace() for character in name.strip()):
        return PartyInput("email", name, role, CLAIMED)
    return PartyInput("person", name, role, CLAIMED, identifier_scope=SCOPE)


def _runners(extensions: list[JsonValue]) -> Iterator[PartyInput]:
    """The extensions that ran the checks."""
    for extension in extensions[: layout.MAX_EXTENSIONS]:
        name = first_text(extension, layout.EXTENSION_POINTERS)
        if name is not None and not text_problem(name.strip()):
            yield PartyInput("service", name, "runner", CLAIMED, identifier_scope=SCOPE)
