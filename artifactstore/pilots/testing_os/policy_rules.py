"""The rules that policies turn on: the global ones, and what the surfaces of a submission require.

Published texts where there are any. The three requirements that the original declares and never evaluates have texts
of ours in the same manner: a required scenario that is missing on its surface, a run that is older than it may be, and
one that claims to have finished after the instant it is judged at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.pilots.testing_os.ecmascript import number_text
from artifactstore.pilots.testing_os.formats import instant_ms
from artifactstore.pilots.testing_os.reasons import Reason

if TYPE_CHECKING:
    from artifactstore.domain.instant import Instant
    from artifactstore.pilots.testing_os.policy import GlobalRule, Requirements
    from artifactstore.pilots.testing_os.submission import CiCheck, ScenarioResult, Submission

_MS_PER_DAY = 86_400_000
CLOCK_SKEW_MS = 10 * 60 * 1000
"""How far the clock of a submitter may be ahead of ours."""


class Surface(NamedTuple):
    """One surface of a submission, what it requires, and the instant it is judged at."""

    name: str
    requirements: Requirements
    submission: Submission
    as_of: Instant


GlobalCheck = Callable[["GlobalRule", "Submission"], Iterator[Reason]]
ResultCheck = Callable[["ScenarioResult", "Requirements"], Iterator[Reason]]
SurfaceCheck = Callable[[Surface], Iterator[Reason]]


# global rules


def scenario_minimum(rule: GlobalRule, submission: Submission) -> Iterator[Reason]:
    """There is a scenario result."""
    if not submission.scenario_results:
        yield _reason("SCENARIO_MINIMUM", "/scenario_results", f"[{rule.id}] {rule.description}")


def attested_if_human(rule: GlobalRule, submission: Submission) -> Iterator[Reason]:
    """Somebody stands for what a person did."""
    for result in submission.scenario_results:
        if result.execution_mode in {"human", "mixed"} and not result.attested_by:
            mode = f'execution_mode is "{result.execution_mode}" but attested_by is missing'
            yield _reason("NOT_ATTESTED", result.scenario_id, f'[{rule.id}] scenario "{result.scenario_id}": {mode}')


def blocked_needs_reason(rule: GlobalRule, submission: Submission) -> Iterator[Reason]:
    """A blocked scenario says by what."""
    for result in submission.scenario_results:
        if result.verdict == "blocked" and not result.blocking_reason:
            what = 'verdict is "blocked" but blocking_reason is missing'
            yield _reason(
                "BLOCKED_WITHOUT_REASON", result.scenario_id, f'[{rule.id}] scenario "{result.scenario_id}": {what}'
            )


GLOBAL_CHECKS: dict[str, GlobalCheck] = {
    "scenario-minimum": scenario_minimum,
    "attested-if-human": attested_if_human,
    "blocked-needs-reason": blocked_needs_reason,
}
CHECKED_ELSEWHERE = frozenset(
    {"schema-valid", "provenance-confirmed", "step-results-present", "step-verdict-consistent", "no-verdict-upgrade"}
)
"""Rules that policy files name and other stages are."""


# what a surface requires of each scenario result


def execution_mode(result: ScenarioResult, requirements: Requirements) -> Iterator[Reason]:
    """It ran as it may run there."""
    allowed = requirements.allowed_modes
    if allowed is not None and result.execution_mode not in allowed:
        text = f'execution_mode "{result.execution_mode}" not allowed (allowed: {", ".join(allowed)})'
        yield _of_result("EXECUTION_MODE", result, text)


def evidence_count(result: ScenarioResult, requirements: Requirements) -> Iterator[Reason]:
    """It has that much evidence."""
    wanted, found = requirements.min_evidence_count, len(result.evidence_kinds)
    if found < wanted:
        yield _of_result("EVIDENCE_COUNT", result, f"requires {number_text(wanted)} evidence items, got {found}")


def evidence_kinds(result: ScenarioResult, requirements: Requirements) -> Iterator[Reason]:
    """It has evidence of each of these kinds."""
    for kind in requirements.required_kinds:
        if kind not in result.evidence_kinds:
            yield _of_result("EVIDENCE_KIND", result, f'required evidence kind "{kind}" is missing')


RESULT_CHECKS: tuple[ResultCheck, ...] = (execution_mode, evidence_count, evidence_kinds)


# what a surface requires of the submission


def required_scenarios(surface: Surface) -> Iterator[Reason]:
    """Every required scenario was run on this surface; how it ended is the verdict's matter."""
    results = surface.submission.scenario_results
    run = {result.scenario_id for result in results if result.product_surface == surface.name}
    for name in dict.fromkeys(surface.requirements.required_scenarios):
        if name not in run:
            yield _of_surface("REQUIRED_SCENARIO", surface, f'required scenario "{name}" is missing')


def freshness(surface: Surface) -> Iterator[Reason]:
    """The run finished at most that many whole days ago."""
    limit, age_ms = surface.requirements.max_age_days, _age_ms(surface)
    if limit is None or age_ms is None:
        return
    days = age_ms // _MS_PER_DAY
    if days > limit:
        text = f"finished {days} days ago, freshness allows at most {number_text(limit)}"
        yield _of_surface("STALE", surface, text)


def nearly_stale(surface: Surface) -> Iterator[Reason]:
    """A warning: older than is usual, and not yet too old."""
    warn, limit, age_ms = surface.requirements.warn_age_days, surface.requirements.max_age_days, _age_ms(surface)
    days = None if age_ms is None else age_ms // _MS_PER_DAY
    if days is not None and warn is not None and days > warn and (limit is None or days <= limit):
        text = f"finished {days} days ago, freshness warns after {number_text(warn)}"
        yield _of_surface("NEARLY_STALE", surface, text)


def tests_pass(surface: Surface) -> Iterator[Reason]:
    """No test of the checks that were sent has failed."""
    failed = [check.id for check in _checks(surface, "test") if check.status == "fail"]
    if surface.requirements.tests_must_pass and failed:
        yield _of_surface("TESTS_FAILED", surface, f"CI tests must pass but [{', '.join(failed)}] failed")


def tests_are_there(surface: Surface) -> Iterator[Reason]:
    """Where tests must pass, there are some."""
    if surface.requirements.tests_must_pass and not _checks(surface, "test"):
        yield _of_surface("TESTS_MISSING", surface, "tests_must_pass is true but no kind:test CI check provided")


def coverage(surface: Surface) -> Iterator[Reason]:
    """The first coverage check says enough; one that says nothing is none."""
    yield from _coverage(surface, allows_no_value=False)


def coverage_of_1_1(surface: Surface) -> Iterator[Reason]:
    """As 1.1.7: a coverage check without a value is enough."""
    yield from _coverage(surface, allows_no_value=True)


SURFACE_CHECKS: tuple[SurfaceCheck, ...] = (
    required_scenarios,
    freshness,
    tests_pass,
    tests_are_there,
    coverage,
)
SURFACE_CHECKS_OF_1_1: tuple[SurfaceCheck, ...] = (tests_pass, coverage_of_1_1)


def _coverage(surface: Surface, *, allows_no_value: bool) -> Iterator[Reason]:
    wanted, checks = surface.requirements.coverage_min, _checks(surface, "coverage")
    if wanted is None or (checks and checks[0].value is None and allows_no_value):
        return
    found = checks[0].value if checks else None
    if found is None:
        text = f"coverage_min is {number_text(wanted)}% but no coverage data provided"
        yield _of_surface("COVERAGE_MISSING", surface, text)
    elif found < wanted:
        text = f"coverage {number_text(found)}% is below minimum {number_text(wanted)}%"
        yield _of_surface("COVERAGE_LOW", surface, text)


def _checks(surface: Surface, kind: str) -> list[CiCheck]:
    return [check for check in surface.submission.ci_checks or () if check.kind == kind]


def finished_in_future(submission: Submission, as_of: Instant) -> Iterator[Reason]:
    """Whatever is required: such a run would be the latest for as long as it says, and hide all that follow."""
    finished_ms = instant_ms(submission.finished_at)
    if finished_ms is not None and finished_ms - as_of // 1000 > CLOCK_SKEW_MS:
        text = f"policy: finished_at {submission.finished_at} is in the future"
        yield Reason("FINISHED_IN_FUTURE", "/timing/finished_at", text)


def _age_ms(surface: Surface) -> int | None:
    """How long ago it finished; None for an instant that no calendar has, for which no record is filed anyway."""
    finished_at = instant_ms(surface.submission.finished_at)
    return None if finished_at is None else surface.as_of // 1000 - finished_at


def _of_result(code: str, result: ScenarioResult, text: str) -> Reason:
    return _reason(code, result.scenario_id, f"surface[{result.product_surface}]: {text}")


def _of_surface(code: str, surface: Surface, text: str) -> Reason:
    return _reason(code, f"surface/{surface.name}", f"surface[{surface.name}]: {text}")


def _reason(code: str, where: str, text: str) -> Reason:
    return Reason(code, where, f"policy: {text}")
