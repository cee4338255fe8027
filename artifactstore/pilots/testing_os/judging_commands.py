"""``artifactstore testing-os ingest`` and ``explain``: submissions in, verdicts out."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from artifactstore.errors import (
    AccessError,
    ArtifactStoreError,
    ConfigurationError,
    ConflictError,
    FileUnknownError,
    InvalidRequestError,
    NotFoundError,
    PackageUnknownError,
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
    payload_paths,
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

_STANDARD_INPUT = 0
_CALLERS = (InvalidRequestError, NotFoundError, ConflictError, AccessError)


class JudgingImpossibleError(ArtifactStoreError):
    """There is nothing to judge by, or nobody to ask: to whoever sends a submission that is the system's fault."""

    code = ConfigurationError.code


def add_judging_commands(group: typer.Typer, door: CommandDoor) -> None:
    """Add them."""
    _add_ingest(group, door)
    _add_explain(group, door)


def _add_ingest(group: typer.Typer, door: CommandDoor) -> None:
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
            judging, paths = recording(context), payload_paths(payload, has_lines=ndjson)
            with _at_the_systems_fault():
                rules = _rules(
                    judging, repo_root, provenance,
                    policies=policies, profile=profile, scenarios=scenarios, as_of=as_of,
                )  # fmt: skip
                if verify_only:
                    return _verify_all(door, rules, paths, repo_root, ndjson=ndjson)
                return _ingest_all(door, judging, rules, paths, repo_root, ndjson=ndjson)


def _add_explain(group: typer.Typer, door: CommandDoor) -> None:
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
                submitted = _submitted(payload_paths(payload, has_lines=False), ndjson=False)
                door.answer(_explanation(rules, submitted, door))


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
    payload: list[Path],
    repo_root: Path,
    *,
    ndjson: bool,
) -> int:
    from artifactstore.pilots.testing_os.exporting import check_tree
    from artifactstore.pilots.testing_os.feed import Failed, ingest_each
    from artifactstore.pilots.testing_os.running import RunResult, exported_after

    indexed = check_tree(context.contributed(), repo_root)
    outcomes = tuple(ingest_each(context, _submitted(payload, ndjson=ndjson), rules, door.say))
    result = RunResult(outcomes, exported_after(context, outcomes, repo_root, rules, door.say, indexed))
    tree = _told_tree(result)
    if not _is_one(payload, ndjson=ndjson):
        door.answer({**_summary(result, repo_root), **tree})
    elif isinstance(only := outcomes[0], Failed):
        raise only.error
    else:
        door.answer({**_told(only, repo_root), **tree}, on_one_line=True)
    codes = [_code_of(each) for each in outcomes]
    codes += [SYSTEM] * ("export_error" in tree or "records_differing" in tree or "records_corrupted" in tree)
    return _exit_code(codes)


def _told_tree(result: RunResult) -> dict[str, JsonValue]:
    """What became of the tree; what is wrong only if something is."""
    told: dict[str, JsonValue] = {"indexes_rebuilt": result.indexes_rebuilt}
    if result.records_differing:
        told["records_differing"] = cast("list[JsonValue]", result.records_differing)
    if result.exported.corrupted:
        told["records_corrupted"] = [each._asdict() for each in result.exported.corrupted]
    if result.export_error is not None:
        told["export_error"] = _told_error(result.export_error)
    return told


def _verify_all(door: CommandDoor, rules: Rules, payload: list[Path], repo_root: Path, *, ndjson: bool) -> int:
    """One submission's fault is its own here, too."""
    from artifactstore.pilots.testing_os.stage_log import stage_log

    codes: list[int] = []
    told: list[JsonValue] = []
    is_one = _is_one(payload, ndjson=ndjson)
    for each in filter(None, _submitted(payload, ndjson=ndjson)):
        try:
            document = _verified(door, rules, each, repo_root)
            codes.append(CALLER if document["rejection_reasons"] else DONE)
        except ArtifactStoreError as error:
            stage_log(None, door.say)("error", failed_stage="verify_only", code=error.code, message=error.message)
            if is_one:
                raise
            document = {"status": "error", "run_id": None, "where": each.where, "error": _told_error(error)}
            codes.append(_code_of_error(error))
        told.append(document)
    if is_one:
        door.answer(cast("dict[str, JsonValue]", told[0]), on_one_line=True)
    else:
        door.answer({"results": told})
    return _exit_code(codes)


def _verified(door: CommandDoor, rules: Rules, submitted: Submitted, repo_root: Path) -> dict[str, JsonValue]:
    from artifactstore.pilots.testing_os.ingesting import judge, log_dispatch
    from artifactstore.pilots.testing_os.stage_log import stage_log
    from artifactstore.pilots.testing_os.submission import parse_submission

    received = parse_submission(submitted.read(), last_key_wins=rules.profile.last_key_wins)
    log = stage_log(received.value, door.say)
    log_dispatch(log, received.value, verify_only=True)
    verification = judge(received, rules, log).verification
    path = None if verification.path is None else str(repo_root.absolute() / verification.path)
    log("verify_only_complete", status=verification.status.value, would_persist_to=path)
    return {
        "status": verification.status.value,
        "run_id": _run_id(received.value),
        "verdict": None if verification.verdict is None else verification.verdict.verified,
        "would_persist_to": path,
        "verify_only": True,
        "rejection_reasons": [reason.text for reason in verification.reasons],
    }


def _explanation(rules: Rules, submitted: Iterator[Submitted | None], door: CommandDoor) -> dict[str, JsonValue]:
    from artifactstore.pilots.testing_os.ingesting import judge
    from artifactstore.pilots.testing_os.package import explanation
    from artifactstore.pilots.testing_os.stage_log import stage_log
    from artifactstore.pilots.testing_os.submission import parse_submission

    found = list(filter(None, submitted))
    if len(found) != 1:
        raise UsageError(f"one submission is explained at a time, and there are {len(found)}")
    received = parse_submission(found[0].read(), last_key_wins=rules.profile.last_key_wins)
    judged = judge(received, rules, stage_log(received.value, door.say))
    return explanation(judged.verification, judged.as_of)


def _explanation_of_record(context: RecordingContext, package_id: str) -> dict[str, JsonValue]:
    from artifactstore.domain.canonical import parse_json
    from artifactstore.pilots.testing_os.package import RECORD_FILE, VERDICT_FILE
    from artifactstore.pilots.testing_os.records import of_package

    contributed = context.contributed()
    with contributed.look() as connection:
        if of_package(connection, package_id) is None:
            raise PackageUnknownError(f"package {package_id[:64]} is no record of this pilot")
    try:
        found = parse_json(contributed.read_file(package_id, VERDICT_FILE), what="the verdict")
    except FileUnknownError:
        return _judged_elsewhere(parse_json(contributed.read_file(package_id, RECORD_FILE), what="the record"))
    assert isinstance(found, dict), "we wrote it"
    return found


def _judged_elsewhere(record: JsonValue) -> dict[str, JsonValue]:
    """What a record itself says that was imported: which stages there were nobody knows."""
    from artifactstore.pilots.testing_os.package import IMPORTED

    assert isinstance(record, dict), "a record is an object"
    return {"profile": IMPORTED, "verdict": record["overall_verdict"], "verification": record["verification"]}


def _submitted(payload: list[Path], *, ndjson: bool) -> Iterator[Submitted | None]:
    from artifactstore.pilots.testing_os.feed import LONGEST_S, Submitted
    from artifactstore.pilots.testing_os.payloads import lines_as_they_come, submitted_lines, submitted_of
    from artifactstore.pilots.testing_os.submission import MAX_SUBMISSION_BYTES

    if payload:
        yield from submitted_of(payload)
    elif ndjson:
        yield from submitted_lines(lines_as_they_come(_STANDARD_INPUT, patience_s=LONGEST_S), "standard input")
    else:
        yield Submitted("standard input", lambda: sys.stdin.buffer.read(MAX_SUBMISSION_BYTES + 1))


def _is_one(payload: list[Path], *, ndjson: bool) -> bool:
    """Whether the answer is one submission's and not a list of answers."""
    from artifactstore.pilots.testing_os.payloads import is_one

    return is_one(payload[0]) if len(payload) == 1 else not payload and not ndjson


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
