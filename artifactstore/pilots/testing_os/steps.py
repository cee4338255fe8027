"""What the steps of a scenario must say for its verdict to be believed.

An empty list of steps and a malformed step never come here: the schema stage refuses both.
Where the architecture page is silent on required steps, the published texts of 1.14 are used. A verdict that is not a
pass needs a step that explains it; a required step explains it unless its own status is pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from artifactstore.pilots.testing_os.reasons import Reason

if TYPE_CHECKING:
    from artifactstore.pilots.testing_os.scenarios import ScenarioDefinition
    from artifactstore.pilots.testing_os.submission import ScenarioResult

StepRule = Callable[["ScenarioResult", frozenset[str]], Iterator[Reason]]
"""A rule about one scenario result, given the step statuses that the profile knows."""

STATUSES = frozenset({"pass", "fail", "blocked", "skip", "partial"})
STATUSES_OF_1_1 = STATUSES - {"partial"}
"""1.1.7 calls a status unknown that its own schema allows."""
_CONTRADICTS_PASS = frozenset({"fail", "blocked"})


def each_step(result: ScenarioResult, statuses: frozenset[str]) -> Iterator[Reason]:
    """A step is reported once, and with a status that is known."""
    seen: set[str] = set()
    for step in result.step_results:
        if step.step_id in seen:
            yield _reason("STEP_DUPLICATE", result, step.step_id, f"duplicate step_id: {step.step_id}")
        seen.add(step.step_id)
        if step.status not in statuses:
            text = f'step "{step.step_id}" has unknown status: "{step.status}"'
            yield _reason("STEP_STATUS_UNKNOWN", result, step.step_id, text)


def pass_is_not_contradicted(result: ScenarioResult, _statuses: frozenset[str]) -> Iterator[Reason]:
    """No scenario passes of which a step fails or is blocked. A skipped step contradicts nothing."""
    against = [step.step_id for step in result.step_results if step.status in _CONTRADICTS_PASS]
    if result.verdict == "pass" and against:
        text = f'scenario verdict is "pass" but steps [{", ".join(against)}] have status fail/blocked'
        yield _reason("STEP_CONTRADICTS_PASS", result, "", text)


def other_verdict_is_explained(result: ScenarioResult, _statuses: frozenset[str]) -> Iterator[Reason]:
    """A scenario does not fail, partly or wholly, or stay blocked while every step of it passes."""
    if result.verdict != "pass" and all(step.status == "pass" for step in result.step_results):
        text = f'scenario verdict is "{result.verdict}" but no step reports status fail/blocked'
        yield _reason("VERDICT_UNEXPLAINED", result, "", text)


def required_steps(result: ScenarioResult, definition: ScenarioDefinition) -> Iterator[Reason]:
    """Every step that the scenario's definition requires is reported, and agrees with the verdict."""
    statuses = {step.step_id: step.status for step in result.step_results}
    present, consistent = "[step-results-present]", "[step-verdict-consistent]"
    for step in definition.required_steps:
        status = statuses.get(step)
        if status is None:
            text = f'{present} required step "{step}" has no matching step_result'
            yield _reason("REQUIRED_STEP_MISSING", result, step, text)
        if result.verdict == "pass" and status != "pass":
            found = "has no step_result" if status is None else f'has status "{status}"'
            text = f'{consistent} scenario verdict is "pass" but required step "{step}" {found}'
            yield _reason("REQUIRED_STEP_NOT_PASSED", result, step, text)
    if result.verdict != "pass" and _all_pass([statuses.get(step) for step in definition.required_steps]):
        text = f'{consistent} scenario verdict is "{result.verdict}" but no required step reports status fail/blocked'
        yield _reason("REQUIRED_STEPS_EXPLAIN_NOTHING", result, "", text)


def _all_pass(statuses: list[str | None]) -> bool:
    return bool(statuses) and all(status == "pass" for status in statuses)


def _reason(code: str, result: ScenarioResult, step_id: str, text: str) -> Reason:
    where = f"{result.scenario_id}/{step_id}" if step_id else result.scenario_id
    return Reason(code, where, f"steps[{result.scenario_id}]: {text}")
