"""The use-case: one submission is judged and becomes one package, unless its external id is taken.

The external id alone decides what a duplicate is. It is asked before anything is judged, and once more by the
transaction that records, so of any number that come at once one is recorded. Record, package and indexes are one
transaction: there is all of it or nothing, and what is recorded by nobody is no duplicate.

In the default profile a rejection whose reasons are all retryable gives way to a submission that is accepted, which
becomes the next revision of its package.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from artifactstore.failpoints import failpoint
from artifactstore.pilots.testing_os import records
from artifactstore.pilots.testing_os.ecmascript import is_truthy
from artifactstore.pilots.testing_os.faults import RecordUnfilableError
from artifactstore.pilots.testing_os.filing import UNSAFE_RECORD_PATH, UnsafePlaceError
from artifactstore.pilots.testing_os.package import Judged, filed_of
from artifactstore.pilots.testing_os.recording import LOST_RACES, record_filed
from artifactstore.pilots.testing_os.verifier import Status, verify

if TYPE_CHECKING:
    from collections.abc import Mapping

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.pilots.testing_os.profiles import Profile
    from artifactstore.pilots.testing_os.records import StoredRecord
    from artifactstore.pilots.testing_os.rules import Rules
    from artifactstore.pilots.testing_os.stage_log import StageLog
    from artifactstore.pilots.testing_os.submission import Received
    from artifactstore.pilots.testing_os.verifier import Verification
    from artifactstore.plugins.contributed import Contributed, RecordingContext

_ATTEMPTS = 4


class Answer(StrEnum):
    """What became of a submission."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to one submission."""

    answer: Answer
    run_id: JsonValue
    verification: Verification | None
    """None for a duplicate that was one before it was judged."""
    package_id: str | None
    """The package that has the record; of a duplicate the one that was there."""
    revision: int | None
    path: str | None
    """Of the record's file in a tree, if it was recorded now."""

    @property
    def was_written(self) -> bool:
        """Whether a record was recorded now."""
        return self.path is not None

    @property
    def rejection_reasons(self) -> list[str]:
        """As they are persisted; none for a duplicate."""
        is_told = self.verification is not None and self.answer is not Answer.DUPLICATE
        return [reason.text for reason in self.verification.reasons] if is_told and self.verification else []


def ingest_submission(context: RecordingContext, received: Received, rules: Rules, log: StageLog) -> Outcome:
    """Judge a submission and record what came of it.

    Raises ``RecordUnfilableError`` where profile 1.1 throws, ``ConfigurationError`` for policies that nothing can be
    judged by, and faults of provenance and scenarios; nothing is recorded then. Nor is a submission that cannot be
    filed, which is answered as rejected.
    """
    contributed, value = context.contributed(), received.value
    has_results = isinstance(value, dict) and "scenario_results" in value
    log("dispatch_received", repo=_member(value, "repo"), has_scenario_results=has_results)
    if known := _early_duplicate(contributed, value, rules.profile):
        log("rejected_pre_persist", reason="duplicate", rejection_reasons=[])
        return _duplicate(value, known, None)
    judged = judge(received, rules, log)
    if judged.verification.external_id is None:
        return _unfiled(judged, rules.profile, log)
    began = time.monotonic()
    outcome = _recorded(contributed, judged, rules)
    log(
        "persist_complete",
        path=outcome.path,
        written=outcome.was_written,
        duplicate=outcome.answer is Answer.DUPLICATE,
        duration_ms=round((time.monotonic() - began) * 1000),
    )
    return outcome


def judge(received: Received, rules: Rules, log: StageLog) -> Judged:
    """What would be recorded; nothing is. Raises as ``ingest_submission`` does."""
    value, now = received.value, rules.clock()
    as_of = now if rules.as_of is None else rules.as_of
    policies = rules.policies(_member(value, "repo"))
    has_repository = policies.repository is not None
    log("context_loaded", policy_version=policies.version, repo_policy_present=has_repository)
    verification = verify(
        received,
        policies=policies,
        scenarios=rules.scenarios(value),
        provenance=rules.provenance,
        profile=rules.profile,
        as_of=as_of,
        verified_at=now,
    )
    log(
        "verify_complete",
        status=verification.status.value,
        rejection_reason_count=len(verification.reasons),
        verdict=None if verification.verdict is None else verification.verdict.verified,
    )
    return Judged(verification, received, as_of, now)


def _early_duplicate(contributed: Contributed, value: JsonValue, profile: Profile) -> StoredRecord | None:
    """The record that is there already and gives way to nothing. Raises ``RecordUnfilableError`` as 1.1.7 throws."""
    if not isinstance(value, dict) or not is_truthy(value.get("run_id")) or not is_truthy(value.get("repo")):
        return None
    if not is_truthy(_member(value.get("timing"), "finished_at")):
        return None
    try:
        place = profile.place_of(value)
    except UnsafePlaceError as error:
        if profile.throws_unfilable and str(error) != "Invalid finished_at timestamp":
            raise RecordUnfilableError(UNSAFE_RECORD_PATH, str(error)) from error
        return None  # the stages say it, too, with everything else
    known = _newest(contributed, place.external_id)
    return None if known is None or _gives_way(known, profile) else known


def _recorded(contributed: Contributed, judged: Judged, rules: Rules) -> Outcome:
    """Recorded, or a duplicate of what was recorded since. Tried again as often as others come first."""
    value, filed = judged.received.value, filed_of(judged, submitted_by=rules.submitted_by)
    for attempt in range(1, _ATTEMPTS + 1):
        known = _newest(contributed, filed.external_id)
        if known is not None and not (_gives_way(known, rules.profile) and filed.status == Status.ACCEPTED):
            return _duplicate(value, known, judged.verification)
        failpoint("submission.before-record")
        try:
            receipt = record_filed(contributed, filed, known, rules.retention_class)
        except LOST_RACES:
            if attempt == _ATTEMPTS or _newest(contributed, filed.external_id) == known:
                raise  # nobody was first: the external id is another's, or the database is not itself
            continue
        failpoint("submission.after-record")
        run_id, answer = _member(value, "run_id"), Answer(filed.status)
        return Outcome(answer, run_id, judged.verification, receipt.package_id, receipt.revision, filed.path)
    raise AssertionError("the last attempt returns or raises")


def _unfiled(judged: Judged, profile: Profile, log: StageLog) -> Outcome:
    """Answered as rejected, and recorded nowhere. Raises ``RecordUnfilableError`` as 1.1.7 throws."""
    verification = judged.verification
    unfilable = verification.unfilable
    assert unfilable is not None, "what has no external id says why"
    if profile.throws_unfilable and verification.verdict is not None:
        raise RecordUnfilableError(unfilable.code, unfilable.message)
    reasons: list[JsonValue] = [reason.text for reason in verification.reasons]
    log("rejected_pre_persist", reason=_WHY_UNFILED.get(unfilable.code, "skip_persist"), rejection_reasons=reasons)
    return Outcome(Answer.REJECTED, _member(judged.received.value, "run_id"), verification, None, None, None)


_WHY_UNFILED: Mapping[str, str] = {
    UNSAFE_RECORD_PATH: "unsafe_record_path",
    "RECORD_SCHEMA_INVALID": "record_schema_invalid_from_submission",
}


def _duplicate(value: JsonValue, known: StoredRecord, verification: Verification | None) -> Outcome:
    run_id = _member(value, "run_id")
    return Outcome(Answer.DUPLICATE, run_id, verification, known.package_id, known.revision, None)


def _newest(contributed: Contributed, external_id: str) -> StoredRecord | None:
    with contributed.look() as connection:
        return records.newest(connection, external_id)


def _gives_way(known: StoredRecord, profile: Profile) -> bool:
    return profile.replaces_rejections and known.status == Status.REJECTED and bool(known.may_be_replaced)


def _member(value: JsonValue, key: str) -> JsonValue:
    return value.get(key) if isinstance(value, dict) else None
