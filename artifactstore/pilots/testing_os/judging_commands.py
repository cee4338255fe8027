"""``artifactstore testing-os ingest`` and ``explain``: submissions in, verdicts out."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from artifactstore.errors import (
    AccessError,
    ArtifactStoreError,
    ConfigurationError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
)
from artifactstore.pilots.testing_os.command_options import (
    CALLER,
    DONE,
    MIXED,
    SYSTEM,
    AsOf,
    Lines,
    Payload,
    PolicyPlace,
    Profile,
    Provenance,
    RepoRoot,
    Scenarios,
    VerifyOnly,
    instant,
    recording,
)
from artifactstore.plugins import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.pilots.testing_os.feed import Failed, Submitted
    from artifactstore.pilots.testing_os.ingesting import Outcome
    from artifactstore.pilots.testing_os.rules import Rules
    from artifactstore.pilots.testing_os.running import RunResult
    from artifactstore.plugins import CommandDoor
    from artifactstore.plugins.contributed import RecordingContext

_CALLERS = (InvalidRequestError, NotFoundError, ConflictError, AccessError)


class JudgingImpossibleError(ArtifactStoreError):
    """There is nothing to judge by, or nobody to ask: to whoever sends a submission that is the system's fault."""

    code = ConfigurationError.code


def add_judging_commands(group: typer.Typer, door: CommandDoor) -> None:
    """Add them."""

    @group.command("ingest")
    def _ingest(
        payload: Payload = None,
        repo_root: RepoRoot = Path(),
        policies: PolicyPlace = None,
        provenance: Provenance = "github",
        scenarios: Scenarios = None,
        profile: Profile = "default",
        as_of: AsOf = None,
        ndjson: Lines = False,
        verify_only: VerifyOnly = False,
    ) -> int:
        """Judge submissions, record each as one package, and bring the tree and its indexes to what is recorded.

        Exits 0 if all are accepted or known, 1 if all are rejected, 2 if the system failed, 3 for a mixture. Stages are
        logged on standard error, a line of JSON each.

        Example: artifactstore testing-os ingest --payload incoming.json --repo-root .
        """
        with door.context() as context:
            judging = recording(context)
            with _at_the_systems_fault():
                rules = _rules(
                    judging, repo_root, provenance,
                    policies=policies, profile=profile, scenarios=scenarios, as_of=as_of,
                )  # fmt: skip
                if verify_only:
                    return _verify_all(door, rules, payload, ndjson=ndjson)
                return _ingest_all(door, judging, rules, payload, repo_root, ndjson=ndjson)

    @group.command("explain")
    def _explain(
        package_id: Annotated[
            str | None, typer.Argument(metavar="[PACKAGE_ID]", help="A record that is there.", show_default=False)
        ] = None,
        payload: Payload = None,
        repo_root: RepoRoot = Path(),
        policies: PolicyPlace = None,
        provenance: Provenance = "github",
        scenarios: Scenarios = None,
        profile: Profile = "default",
        as_of: AsOf = None,
    ) -> None:
        """Say why a verdict is what it is: every stage, every rule, which input. Nothing is recorded.

        Example: artifactstore testing-os explain --payload incoming.json --provenance stub
        """
        with door.context() as context:
            judging = recording(context)
            if package_id is not None:
                door.answer(_explanation_of_record(judging, package_id))
                return
            with _at_the_systems_fault():
                rules = _rules(
                    judging, repo_root, provenance,
                    policies=policies, profile=profile, scenarios=scenarios, as_of=as_of,
                )  # fmt: skip
                door.answer(_explanation(rules, _submitted(payload, ndjson=False), door))


@contextmanager
def _at_the_systems_fault() -> Iterator[None]:
    try:
        yield
    except ConfigurationError as error:
        raise JudgingImpossibleError(error.message, hint=error.hint, problems=error.problems) from error


def _ingest_all(
    door: CommandDoor,
    context: RecordingContext,
    rules: Rules,
    payload: list[Path] | None,
    repo_root: Path,
    *,
    ndjson: bool,
) -> int:
    from artifactstore.pilots.testing_os.feed import Failed, ingest_each
    from artifactstore.pilots.testing_os.running import RunResult, exported_after

    outcomes = tuple(ingest_each(context, _submitted(payload, ndjson=ndjson), rules, door.say))
    result = RunResult(outcomes, exported_after(context, outcomes, repo_root, rules, door.say))
    if not _is_one(payload, ndjson=ndjson):
        door.answer(_summary(result, repo_root))
    elif isinstance(only := outcomes[0], Failed):
        raise only.error
    else:
        door.answer({**_told(only, repo_root), "indexes_rebuilt": result.indexes_rebuilt})
    return _exit_code([_code_of(each) for each in outcomes])


def _verify_all(door: CommandDoor, rules: Rules, payload: list[Path] | None, *, ndjson: bool) -> int:
    """One submission's fault is its own here, too."""
    codes: list[int] = []
    told: list[JsonValue] = []
    is_one = _is_one(payload, ndjson=ndjson)
    for each in _submitted(payload, ndjson=ndjson):
        try:
            document = _verified(door, rules, each)
            codes.append(CALLER if document["rejection_reasons"] else DONE)
        except ConfigurationError:
            raise
        except ArtifactStoreError as error:
            if is_one:
                raise
            document = {"status": "error", "run_id": None, "where": each.where, "error": _told_error(error)}
            codes.append(_code_of_error(error))
        told.append(document)
    door.answer(cast("dict[str, JsonValue]", told[0]) if is_one else {"results": told})
    return _exit_code(codes)


def _verified(door: CommandDoor, rules: Rules, submitted: Submitted) -> dict[str, JsonValue]:
    from artifactstore.pilots.testing_os.ingesting import judge
    from artifactstore.pilots.testing_os.stage_log import stage_log
    from artifactstore.pilots.testing_os.submission import parse_submission

    received = parse_submission(submitted.read(), last_key_wins=rules.profile.last_key_wins)
    log = stage_log(received.value, door.say)
    verification = judge(received, rules, log).verification
    log("verify_only_complete", status=verification.status.value, would_persist_to=verification.path)
    return {
        "status": verification.status.value,
        "run_id": _run_id(received.value),
        "verdict": None if verification.verdict is None else verification.verdict.verified,
        "would_persist_to": verification.path,
        "verify_only": True,
        "rejection_reasons": [reason.text for reason in verification.reasons],
    }


def _explanation(rules: Rules, submitted: Iterator[Submitted], door: CommandDoor) -> dict[str, JsonValue]:
    from artifactstore.pilots.testing_os.ingesting import judge
    from artifactstore.pilots.testing_os.package import explanation
    from artifactstore.pilots.testing_os.stage_log import stage_log
    from artifactstore.pilots.testing_os.submission import parse_submission

    found = list(submitted)
    if len(found) != 1:
        raise UsageError(f"one submission is explained at a time, and there are {len(found)}")
    received = parse_submission(found[0].read(), last_key_wins=rules.profile.last_key_wins)
    judged = judge(received, rules, stage_log(received.value, door.say))
    return explanation(judged.verification, judged.as_of)


def _explanation_of_record(context: RecordingContext, package_id: str) -> dict[str, JsonValue]:
    from artifactstore.domain.canonical import parse_json
    from artifactstore.pilots.testing_os.package import VERDICT_FILE

    found = parse_json(context.contributed().read_file(package_id, VERDICT_FILE), what="the verdict")
    assert isinstance(found, dict), "we wrote it"
    return found


def _submitted(payload: list[Path] | None, *, ndjson: bool) -> Iterator[Submitted]:
    from artifactstore.pilots.testing_os.feed import Submitted
    from artifactstore.pilots.testing_os.running import submitted_lines, submitted_of
    from artifactstore.pilots.testing_os.submission import MAX_SUBMISSION_BYTES

    if payload:
        yield from submitted_of(payload)
    elif ndjson:
        lines = iter(partial(sys.stdin.buffer.readline, MAX_SUBMISSION_BYTES + 1), b"")
        yield from submitted_lines(lines, "standard input")
    else:
        yield Submitted("standard input", lambda: sys.stdin.buffer.read(MAX_SUBMISSION_BYTES + 1))


def _is_one(payload: list[Path] | None, *, ndjson: bool) -> bool:
    """Whether the answer is one submission's and not a list of answers."""
    if not payload:
        return not ndjson
    return len(payload) == 1 and payload[0].suffix not in {".ndjson", ".jsonl"} and not payload[0].is_dir()


def _rules(
    context: RecordingContext,
    repo_root: Path,
    provenance: str,
    *,
    policies: str | None,
    profile: str,
    scenarios: Path | None,
    as_of: str | None,
) -> Rules:
    from artifactstore.pilots.testing_os.policy_sources import policies_of
    from artifactstore.pilots.testing_os.rules import rules_of

    named, moment = policies_of(context.contributed(), repo_root, policies), instant(as_of)
    return rules_of(context, repo_root, provenance, policies=named, profile=profile, scenarios=scenarios, as_of=moment)


def _summary(result: RunResult, repo_root: Path) -> dict[str, JsonValue]:
    from artifactstore.pilots.testing_os.feed import Failed

    results = [_error(each) if isinstance(each, Failed) else _told(each, repo_root) for each in result.outcomes]
    return {
        "persisted_records": cast("list[JsonValue]", result.persisted_records),
        "indexes_rebuilt": result.indexes_rebuilt,
        "rejected": cast("list[JsonValue]", result.rejected),
        "results": cast("list[JsonValue]", results),
    }


def _told(outcome: Outcome, repo_root: Path) -> dict[str, JsonValue]:
    """One submission's answer in the published keys, and the package."""
    from artifactstore.pilots.testing_os.ingesting import Answer

    if outcome.answer is Answer.DUPLICATE:
        return {"status": "duplicate", "run_id": outcome.run_id, "package_id": outcome.package_id}
    return {
        "status": outcome.answer.value,
        "run_id": outcome.run_id,
        "verdict": outcome.verdict,
        "path": None if outcome.path is None else str(repo_root.absolute() / outcome.path),
        "written": outcome.was_written,
        "rejection_reasons": [*outcome.rejection_reasons],
        "package_id": outcome.package_id,
    }


def _error(failed: Failed) -> dict[str, JsonValue]:
    return {
        "status": "error", "run_id": failed.run_id, "where": failed.where, "error": _told_error(failed.error),
    }  # fmt: skip


def _told_error(error: ArtifactStoreError) -> dict[str, JsonValue]:
    return {"code": error.code, "message": error.message, "hint": error.hint}


def _code_of(outcome: Outcome | Failed) -> int:
    from artifactstore.pilots.testing_os.feed import Failed
    from artifactstore.pilots.testing_os.ingesting import Answer

    if isinstance(outcome, Failed):
        return _code_of_error(outcome.error)
    return CALLER if outcome.answer is Answer.REJECTED else DONE


def _code_of_error(error: ArtifactStoreError) -> int:
    return CALLER if isinstance(error, _CALLERS) else SYSTEM


def _exit_code(codes: Sequence[int]) -> int:
    return MIXED if len(set(codes)) > 1 else next(iter(codes), DONE)


def _run_id(value: JsonValue) -> JsonValue:
    return value.get("run_id") if isinstance(value, dict) else None
