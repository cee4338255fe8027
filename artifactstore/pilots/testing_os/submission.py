"""A submission: the JSON it came as, kept verbatim, and the typed value that a schema-valid one is.

Reading is strict where a second reader could see something else in the same bytes: text that is not Unicode, a number
that no double holds and, but for profile 1.1, a repeated key are refused. In profile 1.1 the last of equal keys wins,
as with ``JSON.parse``. Either way it is bounded in size and depth before anything is judged.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from artifactstore.domain.canonical import MAX_DEPTH, depth_of
from artifactstore.errors import LimitExceededError
from artifactstore.pilots.testing_os.faults import SubmissionInvalidError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from artifactstore.domain.canonical import JsonValue

MAX_SUBMISSION_BYTES = 8 * 1024 * 1024
"""More than a thousand scenarios of a hundred steps need; what a dispatch can carry is 64 KiB."""
_LONGEST_EXACT_INTEGER = 15


@dataclass(frozen=True, slots=True)
class Received:
    """What arrived: its bytes as they came, and the JSON value they are, whatever that is."""

    data: bytes
    value: JsonValue


@dataclass(frozen=True, slots=True)
class Ref:
    """The commit that was tested."""

    commit_sha: str
    branch: str | None
    version: str | None


@dataclass(frozen=True, slots=True)
class Source:
    """The run that tested it."""

    provider: str
    workflow: str
    provider_run_id: str
    run_url: str
    attempt: int | None
    actor: str | None


@dataclass(frozen=True, slots=True)
class CiCheck:
    """One check that ran beside the scenarios."""

    id: str
    kind: str
    status: str
    value: float | None


@dataclass(frozen=True, slots=True)
class StepResult:
    """What became of one step of a scenario."""

    step_id: str
    status: str


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """What became of one scenario on one surface."""

    scenario_id: str
    product_surface: str
    execution_mode: str
    verdict: str
    step_results: tuple[StepResult, ...]
    evidence_kinds: tuple[str, ...]
    attested_by: str | None
    blocking_reason: str | None


@dataclass(frozen=True, slots=True)
class Submission:
    """A submission that the schema allows; what nothing is decided by (notes, names) is only in the document."""

    schema_version: str
    run_id: str
    repo: str
    ref: Ref
    source: Source
    finished_at: str
    scenario_results: tuple[ScenarioResult, ...]
    ci_checks: tuple[CiCheck, ...] | None
    overall_verdict: str

    @property
    def surfaces(self) -> tuple[str, ...]:
        """Each surface once, in the order of the results."""
        return tuple(dict.fromkeys(result.product_surface for result in self.scenario_results))


def parse_submission(data: bytes, *, last_key_wins: bool = False) -> Received:
    """Read one JSON document; a JSON string is read once more, because dispatches wrap a submission in one.

    Raises ``LimitExceededError`` for too many bytes, ``SubmissionInvalidError`` for what is no JSON or cannot be kept.
    """
    if len(data) > MAX_SUBMISSION_BYTES:
        raise LimitExceededError(
            f"the submission has {len(data)} bytes, more than {MAX_SUBMISSION_BYTES}",
            hint="Refer to logs and recordings by their URLs; a submission says what became of each step.",
        )
    try:
        text = data.decode()
    except UnicodeDecodeError as cause:
        raise SubmissionInvalidError(f"the submission is not UTF-8: {cause.reason} at byte {cause.start}") from cause
    if text.startswith("\ufeff"):
        raise SubmissionInvalidError("the submission begins with a byte order mark, which no JSON has")
    value = _parse(text, last_key_wins=last_key_wins)
    if isinstance(value, str) and value.lstrip()[:1] in {"{", "["}:
        value = _parse(value, last_key_wins=last_key_wins)
    _check_text(text, value)
    return Received(data, value)


def receive(value: JsonValue) -> Received:
    """A submission that is a value already, as the bytes that say the same."""
    return parse_submission(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def submission_of(document: Mapping[str, JsonValue]) -> Submission:
    """The typed value of a document that violates nothing of the submission schema."""
    found = cast("Mapping[str, Any]", document)
    return Submission(
        schema_version=found["schema_version"],
        run_id=found["run_id"],
        repo=found["repo"],
        ref=Ref(found["ref"]["commit_sha"], found["ref"].get("branch"), found["ref"].get("version")),
        source=_source(found["source"]),
        finished_at=found["timing"]["finished_at"],
        scenario_results=tuple(map(_scenario_result, found["scenario_results"])),
        ci_checks=tuple(map(_ci_check, found["ci_checks"])) if "ci_checks" in found else None,
        overall_verdict=found["overall_verdict"],
    )


def _source(found: Mapping[str, Any]) -> Source:
    return Source(
        provider=found["provider"],
        workflow=found["workflow"],
        provider_run_id=found["provider_run_id"],
        run_url=found["run_url"],
        attempt=found.get("attempt"),
        actor=found.get("actor"),
    )


def _ci_check(found: Mapping[str, Any]) -> CiCheck:
    return CiCheck(found["id"], found["kind"], found["status"], found.get("value"))


def _scenario_result(found: Mapping[str, Any]) -> ScenarioResult:
    return ScenarioResult(
        scenario_id=found["scenario_id"],
        product_surface=found["product_surface"],
        execution_mode=found["execution_mode"],
        verdict=found["verdict"],
        step_results=tuple(StepResult(step["step_id"], step["status"]) for step in found["step_results"]),
        evidence_kinds=tuple(item["kind"] for item in found.get("evidence", ())),
        attested_by=found.get("attested_by"),
        blocking_reason=found.get("blocking_reason"),
    )


def _parse(text: str, *, last_key_wins: bool) -> JsonValue:
    try:
        value = json.loads(
            text,
            object_pairs_hook=None if last_key_wins else _unique_keys,
            parse_constant=_refuse_constant,
            parse_int=_integer,
            parse_float=_finite,
        )
    except RecursionError as cause:
        raise SubmissionInvalidError(f"the submission is nested deeper than {MAX_DEPTH} levels") from cause
    except ValueError as cause:
        raise SubmissionInvalidError(f"the submission is not valid JSON: {cause}") from cause
    if depth_of(value) > MAX_DEPTH:
        raise SubmissionInvalidError(f"the submission is nested deeper than {MAX_DEPTH} levels")
    return cast("JsonValue", value)


def _unique_keys(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {repeated[:60]!r} stands twice in one object")
    return members


def _refuse_constant(name: str) -> JsonValue:
    raise ValueError(f"{name} is not a JSON number")


def _integer(digits: str) -> int | float:
    """An integer, or beyond what doubles hold exactly the nearest double, as any reader in JavaScript sees it."""
    return int(digits) if len(digits) <= _LONGEST_EXACT_INTEGER else _whole(_finite(digits))


def _whole(number: float) -> int | float:
    return int(number) if abs(number) <= 2**53 else number


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits[:20]}... is larger than any number")
    return number


def _check_text(text: str, value: JsonValue) -> None:
    """Only an escape can smuggle half a character in."""
    if "\\u" not in text:
        return
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as cause:
        raise SubmissionInvalidError("the submission has an unpaired surrogate") from cause
