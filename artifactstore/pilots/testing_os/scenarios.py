"""Definitions of scenarios: which steps one must report. They come from the repository that was tested.

So they come from a stranger: bounded, read by the same strict YAML reader as policies, and one that cannot be read
rejects what depends on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from artifactstore.errors import LimitExceededError
from artifactstore.pilots.testing_os.faults import YamlInvalidError
from artifactstore.pilots.testing_os.reasons import Reason
from artifactstore.pilots.testing_os.yaml_core import load_yaml

if TYPE_CHECKING:
    from artifactstore.domain.canonical import JsonValue

MAX_TOLD = 20
"""Definitions told of one by one; what goes beyond is counted."""
MAX_REQUIRED_STEPS = 500
"""As many as a scenario may report."""
_LONGEST_STEP_ID = 200
"""As long as a submission may have them; a longer one is reported by nobody, and would be in every reason."""
_PARSING = Lock()
_SAFE_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")


@dataclass(frozen=True, slots=True)
class ScenarioDefinition:
    """What is read of a definition."""

    required_steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnreadableScenario:
    """A definition that is there and cannot be used: invalid_id, parse_error, schema_invalid or too_large."""

    why: str


Scenarios = Mapping[str, ScenarioDefinition | UnreadableScenario]
"""The definitions that were found, by scenario id; an id that is missing was not found."""


def parse_scenario(data: bytes) -> ScenarioDefinition | UnreadableScenario:
    """A definition's YAML; never an error. One at a time: it costs memory, and no processor would be free for more."""
    try:
        with _PARSING:
            return definition_of(load_yaml(data, what="the scenario definition"))
    except LimitExceededError:
        return UnreadableScenario("too_large")
    except YamlInvalidError:
        return UnreadableScenario("parse_error")


def definition_of(document: JsonValue) -> ScenarioDefinition | UnreadableScenario:
    """A definition as a value. One without required steps requires none."""
    criteria = document.get("success_criteria", {}) if isinstance(document, dict) else None
    steps = criteria.get("required_steps", []) if isinstance(criteria, dict) else None
    if not isinstance(steps, list) or len(steps) > MAX_REQUIRED_STEPS:
        return UnreadableScenario("schema_invalid")
    if not all(isinstance(step, str) and 0 < len(step) <= _LONGEST_STEP_ID for step in steps):
        return UnreadableScenario("schema_invalid")
    return ScenarioDefinition(tuple(dict.fromkeys(map(str, steps))))


def is_safe_id(scenario_id: str) -> bool:
    """Whether an id can name a file: no separator, no leading dot, nothing hidden in it."""
    return _SAFE_ID.fullmatch(scenario_id) is not None


def scenario_ids(document: Mapping[str, JsonValue]) -> tuple[str, ...]:
    """The ids whose definitions a submission needs, each once, whether or not its schema is kept."""
    results = document.get("scenario_results")
    found = [item.get("scenario_id") for item in results if isinstance(item, dict)] if isinstance(results, list) else []
    return tuple(dict.fromkeys(name for name in found if isinstance(name, str)))


def not_loaded(ids: Iterable[str], scenarios: Scenarios) -> Iterator[Reason]:
    """As 1.1.7 says it: a definition that is missing or unreadable rejects, and neither says why."""
    for name in ids:
        if not isinstance(scenarios.get(name), ScenarioDefinition):
            yield Reason("SCENARIO_NOT_LOADED", name, _not_loaded(name))


def unreadable(ids: Iterable[str], scenarios: Scenarios) -> Iterator[Reason]:
    """A definition that is there and cannot be read rejects. The first 20 are told, the others counted."""
    found = [(name, known.why) for name in ids if isinstance(known := scenarios.get(name), UnreadableScenario)]
    for name, why in found[:MAX_TOLD]:
        yield Reason("SCENARIO_NOT_LOADED", name, f"{_not_loaded(name)} (reason: {why})")
    if len(found) > MAX_TOLD:
        rest = len(found) - MAX_TOLD
        text = f"scenario-load: (+{rest} more scenario-load errors collapsed; {len(found)} total)"
        yield Reason("SCENARIO_NOT_LOADED", "", text)


def not_found(ids: Iterable[str], scenarios: Scenarios) -> Iterator[Reason]:
    """A definition that is not there: a warning, because not every scenario has one."""
    for name in ids:
        if name not in scenarios:
            text = f'scenario definition not found for "{name}" — required_steps unenforced'
            yield Reason("SCENARIO_NOT_FOUND", name, text)


def _not_loaded(name: str) -> str:
    return f'scenario-load: scenario "{name}" could not be loaded from source repo'
