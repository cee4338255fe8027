"""The use-case: one submission is judged and becomes one package, unless its external id is taken.

The external id alone decides what a duplicate is. It is asked before anything is judged, and once more by the
transaction that records, so of any number that come at once one is recorded. Record, package and indexes are one
transaction: there is all of it or nothing, and what is recorded by nobody is no duplicate.

In the default profile a rejection whose reasons are all retryable gives way to a submission that is accepted, which
becomes the next revision of its package.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.errors import ArtifactStoreError, InvalidRequestError, RunChangedError
from artifactstore.failpoints import failpoint
from artifactstore.pilots.testing_os import records
from artifactstore.pilots.testing_os.ecmascript import is_truthy
from artifactstore.pilots.testing_os.faults import RecordUnfilableError
from artifactstore.pilots.testing_os.filing import UNSAFE_RECORD_PATH, UnsafePlaceError
from artifactstore.pilots.testing_os.package import Judged, filed_of
from artifactstore.pilots.testing_os.reasons import is_understood
from artifactstore.pilots.testing_os.recording import (
    LOST_RACES,
    LostRaceError,
    Unrecorded,
    record_filed,
    record_together,
)
from artifactstore.pilots.testing_os.verifier import Status, verify

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.package import PackageReceipt
    from artifactstore.pilots.testing_os.package import Filed
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
    verdict: str | None
    """As it was verified; None for a duplicate, and for what is no object."""
    rejection_reasons: tuple[str, ...]
    """As they are persisted; none for a duplicate."""
    package_id: str | None
    """The package that has the record; of a duplicate the one that was there."""
    revision: int | None
    path: str | None
    """Of the record's file in a tree, if it was recorded now."""
    verification: Verification | None = field(default=None, repr=False)
    """None for a duplicate that was one before it was judged, and in a feed, which keeps none."""

    @property
    def was_written(self) -> bool:
        """Whether a record was recorded now."""
        return self.path is not None


class Unanswered(NamedTuple):
    """A submission that was judged, and whose record is to be written."""

    judged: Judged
    filed: Filed
    log: StageLog


def ingest_submission(context: RecordingContext, received: Received, rules: Rules, log: StageLog) -> Outcome:
    """Judge a submission and record what came of it.

    Raises ``RecordUnfilableError`` where profile 1.1 throws, ``ConfigurationError`` for policies that nothing can be
    judged by, and faults of provenance and scenarios; nothing is recorded then. Nor is a submission that cannot be
    filed, which is answered as rejected.
    """
    contributed = context.contributed()
    found = answer_or_judge(contributed, received, rules, log)
    return found if isinstance(found, Outcome) else record_judged(contributed, found, rules)


def answer_or_judge(contributed: Contributed, received: Received, rules: Rules, log: StageLog) -> Outcome | Unanswered:
    """What needs no record is answered; the rest is judged. Raises as ``ingest_submission`` does."""
    value = received.value
    log_dispatch(log, value)
    if known := _early_duplicate(contributed, value, rules.profile):
        log("rejected_pre_persist", reason="duplicate", rejection_reasons=[])
        return _duplicate(value, known)
    judged = judge(received, rules, log)
    if judged.verification.external_id is None:
        return _unfiled(judged, rules.profile, log)
    return Unanswered(judged, filed_of(judged, submitted_by=rules.submitted_by), log)


def record_judged(contributed: Contributed, unanswered: Unanswered, rules: Rules) -> Outcome:
    """Recorded, or a duplicate of what was recorded since. Tried again as often as others come first."""
    began, filed = time.monotonic(), unanswered.filed
    for attempt in range(1, _ATTEMPTS + 1):
        known = _newest(contributed, filed.external_id)
        if not _may_record(filed, known, rules.profile):
            return _answered(unanswered, known, None, began)
        failpoint("submission.before-record")
        try:
            receipt = record_filed(contributed, Unrecorded(filed, known, rules.retention_class))
        except LOST_RACES as error:
            if attempt == _ATTEMPTS or _newest(contributed, filed.external_id) == known:
                if isinstance(error, RunChangedError):
                    raise LostRaceError(error.message, problems=error.problems) from error
                raise  # nobody was first: the database is not itself
            continue
        failpoint("submission.after-record")
        return _answered(unanswered, known, receipt, began)
    raise AssertionError("the last attempt returns or raises")


def record_all_judged(
    contributed: Contributed, several: Sequence[Unanswered], rules: Rules
) -> list[Outcome | ArtifactStoreError]:
    """The answers to several that differ in their external ids, or the error that kept one from an answer.

    They are written in one transaction; each in its own if one of them is not as it was looked up, or is refused.
    """
    if len(several) > 1:
        try:
            return [*_record_together(contributed, several, rules)]
        except (*LOST_RACES, InvalidRequestError):
            pass  # each by itself says which
        except ArtifactStoreError as error:
            return [error for _ in several]
    return [_answer_or_error(contributed, each, rules) for each in several]


def _answer_or_error(contributed: Contributed, each: Unanswered, rules: Rules) -> Outcome | ArtifactStoreError:
    try:
        return record_judged(contributed, each, rules)
    except ArtifactStoreError as error:
        return error


def _record_together(contributed: Contributed, several: Sequence[Unanswered], rules: Rules) -> list[Outcome]:
    """Raises one of ``LOST_RACES`` if another writer has come between; nothing is recorded then."""
    began = time.monotonic()
    with contributed.look() as connection:
        known = [records.newest(connection, each.filed.external_id) for each in several]
    pairs = list(zip(several, known, strict=True))
    new = [
        Unrecorded(each.filed, before, rules.retention_class)
        for each, before in pairs
        if _may_record(each.filed, before, rules.profile)
    ]
    failpoint("submission.before-record")
    receipts = dict(zip((each.filed.external_id for each in new), record_together(contributed, new), strict=True))
    failpoint("submission.after-record")
    return [_answered(each, before, receipts.get(each.filed.external_id), began) for each, before in pairs]


def _may_record(filed: Filed, known: StoredRecord | None, profile: Profile) -> bool:
    return known is None or (_gives_way(known, profile) and filed.status == Status.ACCEPTED)


def _answered(
    unanswered: Unanswered, known: StoredRecord | None, receipt: PackageReceipt | None, began: float
) -> Outcome:
    """Recorded if there is a receipt, else a duplicate of what is known."""
    (judged, filed, log), verification = unanswered, unanswered.judged.verification
    value = judged.received.value
    if receipt is None:
        assert known is not None, "what is not recorded is known"
        outcome = replace(_duplicate(value, known), verification=verification)
    else:
        answer, run_id, reasons = Answer(filed.status), _member(value, "run_id"), _reasons(verification)
        package_id, revision = receipt.package_id, receipt.revision
        outcome = Outcome(answer, run_id, filed.verified, reasons, package_id, revision, filed.path, verification)
    log(
        "persist_complete",
        path=outcome.path,
        written=outcome.was_written,
        duplicate=not outcome.was_written,
        duration_ms=round((time.monotonic() - began) * 1000),
    )
    return outcome


def log_dispatch(log: StageLog, value: JsonValue, **members: JsonValue) -> None:
    """The first stage of every submission."""
    has_results = isinstance(value, dict) and "scenario_results" in value
    log("dispatch_received", repo=_member(value, "repo"), has_scenario_results=has_results, **members)


def judge(received: Received, rules: Rules, log: StageLog) -> Judged:
    """What would be recorded; nothing is. Raises as ``ingest_submission`` does."""
    value, now = received.value, rules.clock()
    as_of = now if rules.as_of is None else rules.as_of
    policies = rules.policies(_member(value, "repo"))
    provenance = lru_cache(maxsize=1)(rules.provenance)  # both who fetches definitions and who verifies ask
    has_repository = policies.repository is not None
    log("context_loaded", policy_version=policies.version, repo_policy_present=has_repository)
    verification = verify(
        received,
        policies=policies,
        scenarios=rules.scenarios(value, provenance),
        provenance=provenance,
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


def external_id_of(value: JsonValue, profile: Profile) -> str | None:
    """What makes a submission new or the same, as far as that can be told before it is judged.

    Raises ``RecordUnfilableError`` where 1.1.7 throws.
    """
    if not isinstance(value, dict) or not is_truthy(value.get("run_id")) or not is_truthy(value.get("repo")):
        return None
    if not is_truthy(_member(value.get("timing"), "finished_at")):
        return None
    try:
        return profile.place_of(value).external_id
    except UnsafePlaceError as error:
        if profile.throws_unfilable and str(error) != "Invalid finished_at timestamp":
            raise RecordUnfilableError(UNSAFE_RECORD_PATH, str(error)) from error
        return None  # the stages say it, too, with everything else


def _early_duplicate(contributed: Contributed, value: JsonValue, profile: Profile) -> StoredRecord | None:
    """The record that is there already and gives way to nothing."""
    external_id = external_id_of(value, profile)
    known = None if external_id is None else _newest(contributed, external_id)
    return None if known is None or _gives_way(known, profile) else known


def _unfiled(judged: Judged, profile: Profile, log: StageLog) -> Outcome:
    """Answered as rejected, and recorded nowhere. Raises ``RecordUnfilableError`` as 1.1.7 throws."""
    verification = judged.verification
    unfilable = verification.unfilable
    assert unfilable is not None, "what has no external id says why"
    if profile.throws_unfilable and verification.verdict is not None:
        raise RecordUnfilableError(unfilable.code, unfilable.message)
    reasons, run_id = _reasons(verification), _member(judged.received.value, "run_id")
    log("rejected_pre_persist", reason=_WHY_UNFILED.get(unfilable.code, "skip_persist"), rejection_reasons=[*reasons])
    verdict = None if verification.verdict is None else verification.verdict.verified
    return Outcome(Answer.REJECTED, run_id, verdict, reasons, None, None, None, verification)


_WHY_UNFILED: Mapping[str, str] = {
    UNSAFE_RECORD_PATH: "unsafe_record_path",
    "RECORD_SCHEMA_INVALID": "record_schema_invalid_from_submission",
}


def _duplicate(value: JsonValue, known: StoredRecord) -> Outcome:
    return Outcome(Answer.DUPLICATE, _member(value, "run_id"), None, (), known.package_id, known.revision, None)


def _reasons(verification: Verification) -> tuple[str, ...]:
    return tuple(reason.text for reason in verification.reasons)


def _newest(contributed: Contributed, external_id: str) -> StoredRecord | None:
    with contributed.look() as connection:
        return records.newest(connection, external_id)


def _gives_way(known: StoredRecord, profile: Profile) -> bool:
    """What was too new for the build that judged it may be understood by this one."""
    is_retryable = bool(known.may_be_replaced) or is_understood(known.contract_major)
    return profile.replaces_rejections and known.status == Status.REJECTED and is_retryable


def _member(value: JsonValue, key: str) -> JsonValue:
    return value.get(key) if isinstance(value, dict) else None
