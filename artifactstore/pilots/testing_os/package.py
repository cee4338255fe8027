"""From a record to the package that it is, where it was observed, and the event that the indexes need.

The package holds the record to the byte, the submission as it was received, and everything that was found.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

from artifactstore.domain.canonical import canonical_json
from artifactstore.domain.instant import moment_of
from artifactstore.domain.package import text_problem
from artifactstore.pilots.testing_os.formats import instant_ms
from artifactstore.pilots.testing_os.index_documents import surfaces_of
from artifactstore.pilots.testing_os.record import instant_text_ms
from artifactstore.pilots.testing_os.recorded import SubmissionRecorded
from artifactstore.pilots.testing_os.schemas import RUN_SCHEMA
from artifactstore.plugins import (
    BytesSource,
    EnvelopeInput,
    FileDraft,
    PackageDraft,
    PartyInput,
    RetentionClass,
    Retrieval,
    SourceInput,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.instant import Instant
    from artifactstore.domain.package import PackageReceipt
    from artifactstore.pilots.testing_os.submission import Received
    from artifactstore.pilots.testing_os.verifier import Verification

PRODUCER = "testing-os"
LOCATION_KIND = "testing-os.submission"
TRANSPORT = "testing-os.dispatch"
RECORD_FILE, SUBMISSION_FILE, VERDICT_FILE = "record.json", "submission.json", "verdict.json"
IMPORTED = "imported"
"""The profile of what other software has judged."""
FROM_TREE = "testing-os.tree"
"""The transport of what was read from a tree."""
MAX_REVIEWERS = 100
"""People who attested a scenario, as many as are recorded as parties; the record names all."""

_JSON = "application/json"


class Judged(NamedTuple):
    """A verification, of what, and when."""

    verification: Verification
    received: Received
    as_of: Instant
    verified_at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Filed:
    """A record that can be kept: it keeps its schema, and its place can be told."""

    record: Mapping[str, JsonValue]
    files: Mapping[str, tuple[bytes, str]]
    """What its package holds: bytes and role, by path."""
    external_id: str
    path: str
    """In a tree of records."""
    profile: str
    status: str
    verified: str
    may_be_replaced: bool
    contract_major: int | None
    recorded_at: Instant
    reasons: int
    warnings: int
    policy_digest: str | None = None
    transport: str = TRANSPORT
    submitted_by: str | None = None
    """The token that a server was shown."""

    @property
    def finished_ms(self) -> int | None:
        """When the run finished."""
        return instant_ms(_text(self.record, "timing", "finished_at"))


def filed_of(judged: Judged, *, submitted_by: str | None = None) -> Filed:
    """What a verification comes to whose record can be filed."""
    verification = judged.verification
    external_id, path, verdict = verification.external_id, verification.path, verification.verdict
    assert external_id is not None, "what cannot be filed is not recorded"
    assert path is not None, "what has an external id has a path"
    assert verdict is not None, "only what is no object has none"
    found = json.dumps(explanation(verification, judged.as_of), ensure_ascii=False) + "\n"
    return Filed(
        record=verification.record,
        files={
            RECORD_FILE: (verification.record_text.encode(), "record"),
            SUBMISSION_FILE: (judged.received.data, "submission"),
            VERDICT_FILE: (found.encode(), "verdict"),
        },
        external_id=external_id,
        path=path,
        profile=verification.profile,
        status=verification.status.value,
        verified=verdict.verified,
        may_be_replaced=verification.may_be_replaced,
        contract_major=verification.contract_major,
        recorded_at=judged.verified_at,
        reasons=len(verification.reasons),
        warnings=len(verification.warnings),
        policy_digest=str(verification.policy_digest),
        submitted_by=submitted_by,
    )


def package_of(filed: Filed, retention_class: RetentionClass) -> PackageDraft:
    """The draft of a record's package."""
    return PackageDraft(
        producer=PRODUCER,
        files=tuple(FileDraft(path, BytesSource(data), role, _JSON) for path, (data, role) in filed.files.items()),
        retention_class=retention_class,
        external_id=filed.external_id,
        subject=_text(filed.record, "repo"),
        schema=RUN_SCHEMA,
        metadata=_metadata(filed),
    )


def event_of(filed: Filed, receipt: PackageReceipt) -> SubmissionRecorded:
    """What the tables need of a record."""
    return SubmissionRecorded(
        package_id=receipt.package_id,
        external_id=filed.external_id,
        repo=_text(filed.record, "repo"),
        run_id=_text(filed.record, "run_id"),
        profile=filed.profile,
        status=filed.status,
        verified=filed.verified,
        may_be_replaced=filed.may_be_replaced,
        finished_at=_text(filed.record, "timing", "finished_at"),
        path=filed.path,
        surfaces=surfaces_of(filed.record),
        recorded_at=filed.recorded_at,
        finished_ms=filed.finished_ms,
        contract_major=filed.contract_major,
    )


def source_of(filed: Filed) -> SourceInput:
    """The submission, as a place where something was observed."""
    name = f"testing-os run {_text(filed.record, 'run_id')}"
    return SourceInput(LOCATION_KIND, filed.external_id, retrieval=Retrieval(content_type=_JSON, display_name=name))


def envelope_of(filed: Filed) -> EnvelopeInput:
    """The verdict, when it was given: a rejection and what took its place are two observations."""
    statement: dict[str, JsonValue] = {
        "repo": _text(filed.record, "repo"),
        "run_id": _text(filed.record, "run_id"),
        "commit_sha": _text(filed.record, "ref", "commit_sha"),
        "status": filed.status,
        "verified": filed.verified,
    }
    return EnvelopeInput(filed.transport, canonical_json(statement).encode(), moment_of(filed.recorded_at))


def parties_of(filed: Filed) -> tuple[PartyInput, ...]:
    """Who took part, as far as the record names anybody: who started the run, what ran it, who attested.

    And the token that a server was shown with the submission.
    """
    token = f"token:{filed.submitted_by}"
    sender = PartyInput("service", token, "sender", "verified", identifier_scope="artifactstore")
    return tuple(dict.fromkeys([*([sender] if filed.submitted_by else []), *_parties(filed.record)]))


def explanation(verification: Verification, as_of: Instant) -> dict[str, JsonValue]:
    """Why this verdict: every stage with what it found and what it looked at."""
    stages = [
        {
            "stage": name,
            "was_skipped": found.was_skipped,
            "reasons": [asdict(reason) for reason in found.reasons],
            "warnings": [asdict(warning) for warning in found.warnings],
            "facts": dict(found.facts),
        }
        for name, found in verification.findings.items()
    ]
    verdict = None if verification.verdict is None else asdict(verification.verdict)
    if verdict is not None:
        verdict["reasons"] = list(verdict["reasons"])
    unfilable = verification.unfilable
    return {
        "profile": verification.profile,
        "as_of": instant_text_ms(as_of),
        "status": verification.status.value,
        "verdict": verdict,
        "may_be_replaced": verification.may_be_replaced,
        "contract_major": verification.contract_major,
        "policy": {"version": verification.policy_version, "digest": str(verification.policy_digest)},
        "stages": cast("JsonValue", stages),
        "external_id": verification.external_id,
        "path": verification.path,
        "unfilable": None if unfilable is None else {"code": unfilable.code, "message": unfilable.message},
    }


def _metadata(filed: Filed) -> dict[str, JsonValue]:
    record = filed.record
    metadata: dict[str, JsonValue] = {
        "repo": _text(record, "repo"),
        "run_id": _text(record, "run_id"),
        "commit_sha": _text(record, "ref", "commit_sha"),
        "status": filed.status,
        "verified": filed.verified,
        "profile": filed.profile,
        "policy_version": _text(record, "policy_version"),
        "path": filed.path,
        "surfaces": [*surfaces_of(record)],
        "reasons": filed.reasons,
        "warnings": filed.warnings,
    }
    if filed.policy_digest is not None:
        metadata["policy_digest"] = filed.policy_digest
    if (finished_ms := filed.finished_ms) is not None and finished_ms >= 0:
        metadata["finished_at"] = instant_text_ms(cast("Instant", finished_ms * 1000))
    return metadata


def _parties(record: Mapping[str, JsonValue]) -> Iterator[PartyInput]:
    repo, source = _text(record, "repo"), record["source"]
    assert isinstance(source, dict), "the source of a record is an object"
    for kind, name, role, scope in (
        ("person", source.get("actor"), "requester", _text(record, "source", "provider")),
        ("service", source.get("workflow"), "runner", repo),
        *(("person", name, "reviewer", repo) for name in _reviewers(record)),
    ):
        text = unicodedata.normalize("NFC", name.strip()) if isinstance(name, str) else ""
        if not text_problem(text):
            yield PartyInput(kind, text, role, "claimed", identifier_scope=scope)


def _reviewers(record: Mapping[str, JsonValue]) -> list[str]:
    results = record["scenario_results"]
    assert isinstance(results, list), "the results of a record are a list"
    named = [result.get("attested_by") for result in results if isinstance(result, dict)]
    return list(dict.fromkeys(name for name in named if isinstance(name, str)))[:MAX_REVIEWERS]


def _text(record: Mapping[str, JsonValue], *steps: str) -> str:
    """A text that the schema of records requires."""
    found: JsonValue = dict(record)
    for step in steps:
        assert isinstance(found, dict), "the schema of records has an object here"
        found = found[step]
    return str(found)
