"""What each stage finds: a function from the case to its findings, which decides nothing else and keeps nothing.

The stages and their order are in ``profiles``, as a list that reads like the published page; the rules they apply are
in the module of each subject. Stages that need a typed submission are skipped when the schema is violated; every other
one runs, whatever was found before it, so that one rejection names everything.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.pilots.testing_os import policy_rules, provenance, scenarios, steps
from artifactstore.pilots.testing_os.faults import ProvenanceFaultError
from artifactstore.pilots.testing_os.filing import UnsafePlaceError, place_of
from artifactstore.pilots.testing_os.policy import Mode, PolicyShapeError, repository_problem
from artifactstore.pilots.testing_os.policy_rules import GLOBAL_CHECKS, RESULT_CHECKS, Surface
from artifactstore.pilots.testing_os.reasons import CONTRACT_MAJOR, UNREADABLE_POLICY, Reason, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.instant import Instant
    from artifactstore.pilots.testing_os.policy import Enforcement, Policies, Requirements
    from artifactstore.pilots.testing_os.policy_rules import SurfaceCheck
    from artifactstore.pilots.testing_os.provenance import Confirmation, ProvenanceCheck
    from artifactstore.pilots.testing_os.scenarios import Scenarios
    from artifactstore.pilots.testing_os.schemas import Violation
    from artifactstore.pilots.testing_os.submission import Submission

_VERSION = re.compile(r"([0-9]+)\.[0-9]+\.[0-9]+")
_SUPPORTED = f"v{CONTRACT_MAJOR}.0.0"
_MAJORS = f"(major {CONTRACT_MAJOR}–{CONTRACT_MAJOR})"  # noqa: RUF001


@dataclass(frozen=True, slots=True)
class Case:
    """A submission with everything it is judged by."""

    document: Mapping[str, JsonValue]
    violations: tuple[Violation, ...]
    submission: Submission | None
    """The typed value; None if the schema is violated."""
    policies: Policies
    scenarios: Scenarios | None
    """The definitions that were found; None if nobody looked for any."""
    provenance: ProvenanceCheck
    as_of: Instant
    """The instant that ages and review dates are judged at."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a stage has found; ``facts`` is what it looked at, for those who ask why."""

    reasons: tuple[Reason, ...] = ()
    warnings: tuple[Reason, ...] = ()
    facts: Mapping[str, JsonValue] = field(default_factory=dict)
    was_skipped: bool = False


class Stage(NamedTuple):
    """One stage, by the name under which its findings are explained."""

    name: str
    judge: Callable[[Case], Findings]


def of_valid(judge: Callable[[Case, Submission], Findings]) -> Callable[[Case], Findings]:
    """A stage that needs the typed submission: skipped without one."""

    def judged(case: Case) -> Findings:
        return Findings(was_skipped=True) if case.submission is None else judge(case, case.submission)

    return judged


# 0 to 2: what can be said of any object


def repo_binding(case: Case) -> Findings:
    """The run that is named belongs to the repository that is named."""
    return _found(provenance.repo_binding(case.document))


def schema(case: Case) -> Findings:
    """Every violation of the submission schema."""
    return _found(
        Reason(f"SCHEMA_{_snake(found.kind)}", found.pointer, f"schema: {found}") for found in case.violations
    )


def contract_version(case: Case) -> Findings:
    """The submission follows a major version of the contract that is understood here."""
    version = case.document.get("schema_version")
    found = _VERSION.fullmatch(version) if isinstance(version, str) else None
    major = CONTRACT_MAJOR if found is None else int(found[1][:9])
    if major > CONTRACT_MAJOR:
        what = f"recordSubmission schema v{version} but this build supports {_SUPPORTED} {_MAJORS} — upgrade testing-os"
        return _found([Reason("CONTRACT_SCHEMA_TOO_NEW", "/schema_version", f"CONTRACT_SCHEMA_TOO_NEW: {what}")])
    if major < CONTRACT_MAJOR:
        what = f"recordSubmission schema v{version} is below the supported floor {_SUPPORTED} {_MAJORS}"
        text = f"CONTRACT_SCHEMA_TOO_OLD: {what} — re-emit against the current contract"
        return _found([Reason("CONTRACT_SCHEMA_TOO_OLD", "/schema_version", text)])
    return Findings()


def verifier_fields(case: Case) -> Findings:
    """A submission does not say what only a verifier may."""
    return _found(_verifier_fields(case.document))


def _verifier_fields(document: Mapping[str, JsonValue]) -> Iterator[Reason]:
    prefix = "submission-contains-verifier-field:"
    for name in ("policy_version", "verification"):
        if name in document:
            yield Reason("VERIFIER_FIELD", f"/{name}", f"{prefix} {name}")
    if "overall_verdict" in document and isinstance(document["overall_verdict"], dict | list | None):
        text = f"{prefix} overall_verdict must be a string in submissions"
        yield Reason("VERIFIER_FIELD", "/overall_verdict", text)


# 3: provenance


def confirmed_provenance(case: Case, submission: Submission) -> Findings:
    """The source run exists, is over, and ran on the commit that is named. A fault is raised: it is no answer."""
    try:
        confirmation = case.provenance(submission.source, submission.ref)
    except ProvenanceFaultError as fault:
        text = f"provenance-fault: verification failed: {fault.message}"
        raise type(fault)(text, hint=fault.hint, problems=fault.problems) from fault
    reasons = (*provenance.unconfirmed(confirmation), *provenance.of_another_commit(submission, confirmation))
    return Findings(reasons, facts=_confirmation_facts(confirmation))


def confirmed_provenance_1_1(case: Case, submission: Submission) -> Findings:
    """As 1.1.7: any commit will do, and a fault is a rejection."""
    try:
        confirmation = case.provenance(submission.source, submission.ref)
    except ProvenanceFaultError as fault:
        text = f"provenance: verification failed: {fault.message}"
        return _found([Reason("PROVENANCE_FAULT", "/source", text)])
    return Findings(tuple(provenance.unconfirmed(confirmation)), facts=_confirmation_facts(confirmation))


def _confirmation_facts(confirmation: Confirmation) -> Mapping[str, JsonValue]:
    return {"confirmed": confirmation.confirmed, "head_sha": confirmation.head_sha}


# 4: step results


def step_results(case: Case, submission: Submission) -> Findings:
    """Steps agree with each scenario's verdict, and the required ones are there."""
    rules = (steps.each_step, steps.pass_is_not_contradicted, steps.other_verdict_is_explained)
    return _found(_step_reasons(case, submission, rules, steps.STATUSES))


def step_results_1_1(case: Case, submission: Submission) -> Findings:
    """As 1.1.7: required steps are asked of nobody."""
    rules = (steps.each_step, steps.pass_is_not_contradicted)
    return _found(_step_reasons(replace(case, scenarios=None), submission, rules, steps.STATUSES_OF_1_1))


def _step_reasons(
    case: Case, submission: Submission, rules: tuple[steps.StepRule, ...], statuses: frozenset[str]
) -> Iterator[Reason]:
    for result in submission.scenario_results:
        for rule in rules:
            yield from rule(result, statuses)
        definition = None if case.scenarios is None else case.scenarios.get(result.scenario_id)
        if isinstance(definition, scenarios.ScenarioDefinition):
            yield from steps.required_steps(result, definition)


def scenario_definitions(case: Case, _submission: Submission) -> Findings:
    """Definitions that were looked for: unreadable ones reject, missing ones are told."""
    if case.scenarios is None:
        return Findings(was_skipped=True)
    ids = scenarios.scenario_ids(case.document)
    reasons = tuple(scenarios.unreadable(ids, case.scenarios))
    return Findings(reasons, told(scenarios.not_found(ids, case.scenarios)))


def scenario_definitions_1_1(case: Case) -> Findings:
    """As 1.1.7: a definition that was looked for and is missing rejects."""
    if case.scenarios is None:
        return Findings(was_skipped=True)
    return _found(scenarios.not_loaded(scenarios.scenario_ids(case.document), case.scenarios))


# 5: policy


def policy(case: Case, submission: Submission) -> Findings:
    """Global rules, then what the surfaces require, as strictly as the repository's policy asks.

    A policy that cannot be read rejects: nobody knows what it asks for.
    """
    if problem := repository_problem(case.policies, submission.repo):
        return _found([Reason("POLICY_UNREADABLE", "/repo", f"{UNREADABLE_POLICY} — {problem}")])
    enforcement = case.policies.enforcement
    mode = enforcement.in_force(case.as_of)
    reasons = list(policy_rules.finished_in_future(submission, case.as_of))
    reasons += _global_reasons(case.policies, submission, "reject")
    warnings = [*_global_reasons(case.policies, submission, "warn"), *_of_enforcement(enforcement, case.as_of)]
    surfaces = {name: case.policies.requirements(name) for name in submission.surfaces}
    if mode is not Mode.EXEMPT:
        found = _surface_reasons(submission, surfaces, case.as_of, policy_rules.SURFACE_CHECKS)
        (reasons if mode is Mode.REQUIRED else warnings).extend(found)
        warnings += _of_surfaces(submission, surfaces, case.as_of, (policy_rules.nearly_stale,))
    return Findings(told(reasons), told(warnings), _policy_facts(enforcement, mode, surfaces))


def policy_1_1(case: Case, submission: Submission) -> Findings:
    """As 1.1.7: a policy that cannot be read is none, and neither mode, freshness nor required scenarios count."""
    try:
        surfaces = {name: case.policies.requirements(name) for name in submission.surfaces}
        found = (
            *_global_reasons(case.policies, submission, "reject"),
            *_surface_reasons(submission, surfaces, case.as_of, policy_rules.SURFACE_CHECKS_OF_1_1),
        )
    except PolicyShapeError as error:
        return _found([Reason("VALIDATOR_ERROR", "", f"validator error: {error}")])
    return Findings(told(found), facts={"surfaces": _requirement_facts(surfaces)})


def _global_reasons(policies: Policies, submission: Submission, severity: str) -> Iterator[Reason]:
    for rule in policies.rules:
        if rule.severity == severity and (check := GLOBAL_CHECKS.get(rule.id)):
            yield from check(rule, submission)


def _surface_reasons(
    submission: Submission,
    surfaces: Mapping[str, Requirements],
    as_of: Instant,
    surface_checks: tuple[SurfaceCheck, ...],
) -> Iterator[Reason]:
    for result in submission.scenario_results:
        for check in RESULT_CHECKS:
            yield from check(result, surfaces[result.product_surface])
    yield from _of_surfaces(submission, surfaces, as_of, surface_checks)


def _of_surfaces(
    submission: Submission, surfaces: Mapping[str, Requirements], as_of: Instant, checks: tuple[SurfaceCheck, ...]
) -> Iterator[Reason]:
    for name, requirements in surfaces.items():
        for check in checks:
            yield from check(Surface(name, requirements, submission, as_of))


def _of_enforcement(enforcement: Enforcement, as_of: Instant) -> Iterator[Reason]:
    """What a reader of the record must know of an exception: that it was made use of, or has ended."""
    if enforcement.mode is Mode.REQUIRED:
        return
    what = f'policy: enforcement "{enforcement.mode}" ({enforcement.reason})'
    if enforcement.lapsed(as_of):
        text = f"{what} ended with its review date {enforcement.review_after}, judged as required"
        yield Reason("ENFORCEMENT_LAPSED", "", text)
    else:
        yield Reason("ENFORCEMENT_RELAXED", "", f"{what} holds until {enforcement.review_after}")


def _policy_facts(
    enforcement: Enforcement, mode: Mode, surfaces: Mapping[str, Requirements]
) -> Mapping[str, JsonValue]:
    review_after = enforcement.review_after
    return {
        "enforcement": mode.value,
        "enforcement_asked_for": enforcement.mode.value,
        "review_after": None if review_after is None else review_after.isoformat(),
        "surfaces": _requirement_facts(surfaces),
    }


def _requirement_facts(surfaces: Mapping[str, Requirements]) -> dict[str, JsonValue]:
    return {
        name: {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(requirements).items()}
        for name, requirements in surfaces.items()
    }


# 6 and 7 are in verdict and record; this is what lets 7 be kept


def place(case: Case, submission: Submission) -> Findings:
    """What would be recorded can be filed."""
    try:
        found = place_of(case.document)
    except UnsafePlaceError as error:
        what = "record passed schema validation but its path could not be safely computed"
        text = f"unsafe-record-path: {what} (repo: {submission.repo}, run_id: {submission.run_id}): {error}"
        return _found([Reason("UNSAFE_RECORD_PATH", "", text)])
    return Findings(facts={"external_id": found.external_id})


def _found(reasons: Iterable[Reason]) -> Findings:
    return Findings(told(reasons))


def _snake(keyword: str) -> str:
    return re.sub(r"(?=[A-Z])", "_", keyword).upper()
