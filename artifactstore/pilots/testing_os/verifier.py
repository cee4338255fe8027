"""The verifier: one submission judged by every stage of a profile, and the record that comes of it.

::

    verification = verify(
        parse_submission(data), policies=load_policies(Path("policies"), repo), scenarios=None,
        provenance=rejecting_provenance, as_of=now, verified_at=now,
    )

It reads no clock, no file and no network but through what it is handed; the same arguments give the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from artifactstore.pilots.testing_os.filing import NOT_AN_OBJECT, Unfilable
from artifactstore.pilots.testing_os.profiles import DEFAULT
from artifactstore.pilots.testing_os.reasons import Reason, awaited_major, may_be_replaced
from artifactstore.pilots.testing_os.record import record_of, record_text, stub_record, verification_of
from artifactstore.pilots.testing_os.schemas import SUBMISSION_SCHEMA, violations
from artifactstore.pilots.testing_os.stages import Case, Findings
from artifactstore.pilots.testing_os.submission import submission_of
from artifactstore.pilots.testing_os.verdict import Verdict, decide, without_definitions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.digest import Digest
    from artifactstore.domain.instant import Instant
    from artifactstore.pilots.testing_os.policy import Policies
    from artifactstore.pilots.testing_os.profiles import Profile
    from artifactstore.pilots.testing_os.provenance import ProvenanceCheck
    from artifactstore.pilots.testing_os.scenarios import Scenarios
    from artifactstore.pilots.testing_os.stages import Stage
    from artifactstore.pilots.testing_os.submission import Received


class Status(StrEnum):
    """Whether the evidence is valid; an accepted record may well say that something failed."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Verification:
    """Everything that was found, and the record of it."""

    profile: str
    status: Status
    verdict: Verdict | None
    """None for a submission that is no object."""
    findings: Mapping[str, Findings]
    """What each stage found, by its name, in their order."""
    reasons: tuple[Reason, ...]
    warnings: tuple[Reason, ...]
    policy_version: JsonValue
    policy_digest: Digest
    record: dict[str, JsonValue]
    path: str | None
    """Where a tree of records has it; None if it cannot be filed."""
    external_id: str | None
    """``<org>/<repo>/<UTC date>/<run id>``; None likewise."""
    unfilable: Unfilable | None
    """Why it cannot be filed, which means: not recorded at all."""

    @property
    def record_text(self) -> str:
        """The record as a file has it."""
        return record_text(self.record)

    @property
    def may_be_replaced(self) -> bool:
        """Whether a later submission under the same id that is accepted may take this rejection's place."""
        return may_be_replaced([reason.text for reason in self.reasons])

    @property
    def contract_major(self) -> int | None:
        """The contract's major version that a build must understand for this rejection to give way; None for none."""
        return awaited_major([reason.text for reason in self.reasons])


def verify(
    submission: Received,
    *,
    policies: Policies,
    scenarios: Scenarios | None,
    provenance: ProvenanceCheck,
    profile: Profile = DEFAULT,
    as_of: Instant,
    verified_at: Instant,
) -> Verification:
    """Judge a submission. Whatever it is, the answer is a value.

    Raises ``ConfigurationError`` for policies that nothing can be judged by and, but for profile 1.1,
    ``ProvenanceFaultError`` if the source run could not be looked up; nothing may be recorded then.
    """
    profile.check_policies(policies)
    if not isinstance(submission.value, dict):
        return _not_an_object(policies, profile, verified_at)
    found = violations(SUBMISSION_SCHEMA, submission.value)
    typed = None if found else submission_of(submission.value)
    case = Case(submission.value, found, typed, policies, scenarios, provenance, as_of)
    findings = _judged(case, profile.stages)
    verdict = _verdict(case, findings, profile)
    late = _judged(case, profile.after_verdict)
    is_accepted = not _reasons(findings)
    if is_accepted and _reasons(late):
        verdict = without_definitions(verdict)
    policy_valid = _is_valid(findings["policy"]) and not (is_accepted and _reasons(late))
    return _assembled(case, profile, {**findings, **late}, verdict, policy_valid=policy_valid, verified_at=verified_at)


def _judged(case: Case, stages: tuple[Stage, ...]) -> dict[str, Findings]:
    return {stage.name: stage.judge(case) for stage in stages}


def _verdict(case: Case, findings: Mapping[str, Findings], profile: Profile) -> Verdict:
    results = case.submission.scenario_results if case.submission else ()
    return decide(
        case.document.get("overall_verdict"),
        [result.verdict for result in results],
        evidence_valid=_is_valid(findings["schema"]) and _is_valid(findings["provenance"]),
        policy_valid=_is_valid(findings["policy"]),
        forced_to_fail=profile.rejection_forces_fail and bool(_reasons(findings)),
    )


def _assembled(
    case: Case,
    profile: Profile,
    findings: Mapping[str, Findings],
    verdict: Verdict,
    *,
    policy_valid: bool,
    verified_at: Instant,
) -> Verification:
    reasons, warnings = _reasons(findings), tuple(item for found in findings.values() for item in found.warnings)
    block = verification_of(
        verified_at=verified_at,
        schema_valid=_is_valid(findings["schema"]),
        provenance_confirmed=_is_valid(findings["provenance"]),
        policy_valid=policy_valid,
        reasons=[reason.text for reason in reasons],
        warnings=[warning.text for warning in warnings],
    )
    version = profile.version_of(case.policies, case.document.get("repo"))
    record = record_of(case.document, policy_version=version, verdict=verdict, verification=block)
    filing = profile.file_record(record)
    return Verification(
        profile=profile.name,
        status=Status.REJECTED if reasons else Status.ACCEPTED,
        verdict=verdict,
        findings=findings,
        reasons=reasons,
        warnings=warnings,
        policy_version=version,
        policy_digest=case.policies.digest,
        record=record,
        path=filing.place.path(rejected=bool(reasons)) if filing.place else None,
        external_id=filing.place.external_id if filing.place else None,
        unfilable=filing.unfilable,
    )


def _not_an_object(policies: Policies, profile: Profile, verified_at: Instant) -> Verification:
    reason = Reason(NOT_AN_OBJECT, "", profile.not_an_object)
    block = verification_of(
        verified_at=verified_at,
        schema_valid=False,
        provenance_confirmed=False,
        policy_valid=False,
        reasons=[reason.text],
        warnings=[],
    )
    return Verification(
        profile=profile.name,
        status=Status.REJECTED,
        verdict=None,
        findings={"schema": Findings((reason,))},
        reasons=(reason,),
        warnings=(),
        policy_version=policies.version,
        policy_digest=policies.digest,
        record=stub_record(block),
        path=None,
        external_id=None,
        unfilable=Unfilable(NOT_AN_OBJECT, reason.text),
    )


def _reasons(findings: Mapping[str, Findings]) -> tuple[Reason, ...]:
    return tuple(reason for found in findings.values() for reason in found.reasons)


def _is_valid(found: Findings) -> bool:
    return not found.was_skipped and not found.reasons
