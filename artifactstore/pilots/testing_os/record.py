"""The record: a submission with its verdict, keys in the published order, text equal to the original's to the byte."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from artifactstore.pilots.testing_os.ecmascript import is_truthy, json_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.instant import Instant
    from artifactstore.pilots.testing_os.verdict import Verdict

RECORD_VERSION = "1.0.0"
"""Of the record contract; what the submission says of its own is not copied."""
_MILLISECONDS = 1000


def record_of(
    document: Mapping[str, JsonValue],
    *,
    policy_version: JsonValue,
    verdict: Verdict,
    verification: dict[str, JsonValue],
) -> dict[str, JsonValue]:
    """Assemble a record. What the submission lacks is left out, as ``JSON.stringify`` leaves it out."""
    record: dict[str, JsonValue] = {"schema_version": RECORD_VERSION, "policy_version": policy_version}
    record |= {key: document[key] for key in ("run_id", "repo", "ref", "source", "timing") if key in document}
    if is_truthy(checks := document.get("ci_checks")):
        record["ci_checks"] = checks
    results = document.get("scenario_results")
    record["scenario_results"] = results if is_truthy(results) else []
    record["overall_verdict"] = _overall(verdict)
    record["verification"] = verification
    if is_truthy(notes := document.get("notes")):
        record["notes"] = notes
    return record


def stub_record(verification: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """All there is to say of a submission that is no object; it is never filed."""
    return {"schema_version": RECORD_VERSION, "verification": verification}


def verification_of(
    *,
    verified_at: Instant,
    schema_valid: bool,
    provenance_confirmed: bool,
    policy_valid: bool,
    reasons: Sequence[str],
    warnings: Sequence[str],
) -> dict[str, JsonValue]:
    """The block that says how a record was judged. Warnings only if there are any."""
    block: dict[str, JsonValue] = {
        "status": "rejected" if reasons else "accepted",
        "verified_at": instant_text_ms(verified_at),
        "provenance_confirmed": provenance_confirmed,
        "schema_valid": schema_valid,
        "policy_valid": policy_valid,
        "rejection_reasons": list(reasons),
    }
    return {**block, "warnings": list(warnings)} if warnings else block


def record_text(record: dict[str, JsonValue]) -> str:
    """The file's text: two-space JSON, one newline at the end."""
    return json_text(record) + "\n"


def instant_text_ms(instant: Instant) -> str:
    """RFC 3339 in UTC with milliseconds, as ``toISOString`` has it."""
    seconds, microseconds = divmod(instant, 1_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{moment}.{microseconds // _MILLISECONDS:03d}Z"


def _overall(verdict: Verdict) -> JsonValue:
    told: dict[str, JsonValue] = {
        "proposed": verdict.proposed,
        "verified": verdict.verified,
        "downgraded": verdict.downgraded,
    }
    return {**told, "downgrade_reasons": list(verdict.reasons)} if verdict.reasons else told
