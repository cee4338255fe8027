"""``artifactstore testing-os ingest``, ``explain``, ``export`` and ``import``. Each imports what it works with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from artifactstore.plugins import InvalidRequestError, RetentionClass, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.instant import Instant
    from artifactstore.errors import ArtifactStoreError
    from artifactstore.pilots.testing_os.ingesting import Outcome
    from artifactstore.pilots.testing_os.rules import Rules
    from artifactstore.pilots.testing_os.running import Failed, RunResult, Submitted
    from artifactstore.plugins import CommandDoor, PluginContext
    from artifactstore.plugins.contributed import RecordingContext

_DONE, _CALLER, _SYSTEM, _MIXED = range(4)

Payload = Annotated[
    list[Path] | None,
    typer.Option(
        "--payload", metavar="FILE", show_default=False,
        help="A submission; .ndjson has one in each line, a directory one in each file. Without it: standard input.",
    ),
]  # fmt: skip
RepoRoot = Annotated[
    Path,
    typer.Option("--repo-root", metavar="DIR", help="Has policies/, and gets records/ and indexes/."),
]
Provenance = Annotated[
    str,
    typer.Option("--provenance", metavar="HOW", help="github, or stub for trials: it confirms what nobody looked up."),
]
Scenarios = Annotated[
    Path | None,
    typer.Option(
        "--scenarios", metavar="DIR", show_default=False,
        help="Definitions of scenarios; without it those that GitHub has at the commit.",
    ),
]  # fmt: skip
Profile = Annotated[str, typer.Option("--profile", metavar="NAME", help="default, or 1.1 for those who migrate.")]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", metavar="TIME", show_default=False, help="When ages and review dates are judged; now."),
]
Lines = Annotated[bool, typer.Option("--ndjson", help="Standard input has a submission in each line.")]
VerifyOnly = Annotated[bool, typer.Option("--verify-only", help="Judge, and record nothing.")]


def add_commands(group: typer.Typer, door: CommandDoor) -> None:
    """Add the pilot's commands to its group."""
    _add_judging(group, door)
    _add_trees(group, door)


def _add_judging(group: typer.Typer, door: CommandDoor) -> None:
    @group.command("ingest")
    def _ingest(
        payload: Payload = None,
        repo_root: RepoRoot = Path(),
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
            recording = _recording(context)
            rules = _rules(recording, repo_root, provenance, profile, scenarios, as_of)
            if verify_only:
                return _verify_only(door, rules, _submitted(payload, ndjson=ndjson))
            return _ingest_all(door, recording, rules, payload, repo_root, ndjson=ndjson)

    @group.command("explain")
    def _explain(
        package_id: Annotated[
            str | None, typer.Argument(metavar="[PACKAGE_ID]", help="A record that is there.", show_default=False)
        ] = None,
        payload: Payload = None,
        repo_root: RepoRoot = Path(),
        provenance: Provenance = "github",
        scenarios: Scenarios = None,
        profile: Profile = "default",
        as_of: AsOf = None,
    ) -> None:
        """Say why a verdict is what it is: every stage, every rule, which input. Nothing is recorded.

        Example: artifactstore testing-os explain --payload incoming.json --provenance stub
        """
        with door.context() as context:
            recording = _recording(context)
            if package_id is not None:
                door.answer(_explanation_of_record(recording, package_id))
                return
            rules = _rules(recording, repo_root, provenance, profile, scenarios, as_of)
            door.answer(_explanation(rules, _submitted(payload, ndjson=False), door))


def _add_trees(group: typer.Typer, door: CommandDoor) -> None:
    @group.command("export")
    def _export(repo_root: RepoRoot = Path(), as_of: AsOf = None) -> int:
        """Write every record that is not there yet, and the indexes, to a tree on disk.

        Example: artifactstore testing-os export --repo-root .
        """
        return export_command(door, repo_root, as_of)

    @group.command("import")
    def _import(
        directory: Annotated[Path, typer.Argument(metavar="DIR", help="Has records/.", show_default=False)],
        retention: Annotated[
            str, typer.Option(metavar="CLASS", help=f"How long to keep them: {', '.join(RetentionClass)}.")
        ] = RetentionClass.PERMANENT_RECORD.value,
    ) -> int:
        """Record every record of a tree on disk. What is there already stays as it is.

        Exits 3 if a file was left out; the answer says which and why.

        Example: artifactstore testing-os import ../dogfood
        """
        return import_command(door, directory, RetentionClass.parse(retention))


def import_command(door: CommandDoor, directory: Path, retention_class: RetentionClass) -> int:
    """Answer what was recorded, what was there, and what was left out and why."""
    from artifactstore.pilots.testing_os.importing import import_tree

    with door.context() as context:
        done = import_tree(_recording(context).contributed(), directory, retention_class)
    left_out: list[JsonValue] = [{"path": path, "why": why} for path, why in done.left_out]
    door.answer({"records_recorded": len(done.recorded), "records_present": done.present, "left_out": left_out})
    return _MIXED if left_out else _DONE


def export_command(door: CommandDoor, repo_root: Path, as_of: str | None) -> int:
    """Answer what was done; 3 if something else has the name of a record."""
    from artifactstore.domain.instant import system_clock
    from artifactstore.pilots.testing_os.exporting import export

    with door.context() as context:
        moment = _instant(as_of)
        done = export(_recording(context).contributed(), repo_root, as_of=system_clock() if moment is None else moment)
    differing = cast("list[JsonValue]", done.differing)
    written = {"records_written": len(done.written), "records_present": done.present}
    door.answer({**written, "records_differing": differing, "indexes_rebuilt": done.indexes_changed})
    return _MIXED if differing else _DONE


def _ingest_all(
    door: CommandDoor,
    context: RecordingContext,
    rules: Rules,
    payload: list[Path] | None,
    repo_root: Path,
    *,
    ndjson: bool,
) -> int:
    from artifactstore.pilots.testing_os.running import Failed, RunResult, exported_after, ingest_each

    outcomes = tuple(ingest_each(context, _submitted(payload, ndjson=ndjson), rules, door.say))
    result = RunResult(outcomes, exported_after(context, outcomes, repo_root, rules, door.say))
    if not _is_one(payload, ndjson=ndjson):
        door.answer(_summary(result, repo_root))
    elif isinstance(only := outcomes[0], Failed):
        raise only.error
    else:
        door.answer({**_told(only, repo_root), "indexes_rebuilt": result.indexes_rebuilt})
    return _exit_code([_code_of(each) for each in outcomes])


def _verify_only(door: CommandDoor, rules: Rules, submitted: Iterator[Submitted]) -> int:
    from artifactstore.pilots.testing_os.ingesting import judge
    from artifactstore.pilots.testing_os.stage_log import stage_log
    from artifactstore.pilots.testing_os.submission import parse_submission

    codes, told = [], []
    for each in submitted:
        received = parse_submission(each.read(), last_key_wins=rules.profile.last_key_wins)
        log = stage_log(received.value, door.say)
        verification = judge(received, rules, log).verification
        log("verify_only_complete", status=verification.status.value, would_persist_to=verification.path)
        reasons: list[JsonValue] = [reason.text for reason in verification.reasons]
        codes.append(_CALLER if reasons else _DONE)
        document: dict[str, JsonValue] = {
            "status": verification.status.value,
            "run_id": _run_id(received.value),
            "verdict": None if verification.verdict is None else verification.verdict.verified,
            "would_persist_to": verification.path,
            "verify_only": True,
            "rejection_reasons": reasons,
        }
        told.append(document)
    door.answer(told[0] if len(told) == 1 else {"results": cast("list[JsonValue]", told)})
    return _exit_code(codes)


def _explanation(rules: Rules, submitted: Iterator[Submitted], door: CommandDoor) -> dict[str, JsonValue]:
    from artifactstore.pilots.testing_os.ingesting import judge
    from artifactstore.pilots.testing_os.package import explanation
    from artifactstore.pilots.testing_os.stage_log import stage_log
    from artifactstore.pilots.testing_os.submission import parse_submission

    received = parse_submission(next(submitted).read(), last_key_wins=rules.profile.last_key_wins)
    judged = judge(received, rules, stage_log(received.value, door.say))
    return explanation(judged.verification, judged.as_of)


def _explanation_of_record(context: RecordingContext, package_id: str) -> dict[str, JsonValue]:
    from artifactstore.domain.canonical import parse_json
    from artifactstore.pilots.testing_os.package import VERDICT_FILE

    found = parse_json(context.contributed().read_file(package_id, VERDICT_FILE), what="the verdict")
    assert isinstance(found, dict), "we wrote it"
    return found


def _submitted(payload: list[Path] | None, *, ndjson: bool) -> Iterator[Submitted]:
    from artifactstore.pilots.testing_os.running import Submitted, submitted_lines, submitted_of
    from artifactstore.pilots.testing_os.submission import MAX_SUBMISSION_BYTES

    if payload:
        yield from submitted_of(payload)
    elif ndjson:
        yield from submitted_lines(iter(sys.stdin.buffer), "standard input")
    else:
        yield Submitted("standard input", lambda: sys.stdin.buffer.read(MAX_SUBMISSION_BYTES + 1))


def _is_one(payload: list[Path] | None, *, ndjson: bool) -> bool:
    """Whether the answer is one submission's and not a list of answers."""
    if not payload:
        return not ndjson
    return len(payload) == 1 and payload[0].suffix not in {".ndjson", ".jsonl"} and not payload[0].is_dir()


def _recording(context: PluginContext) -> RecordingContext:
    """Raises ``UsageError`` for a context on a server, which has no such commands."""
    if not hasattr(context, "contributed"):
        raise UsageError(
            "this command works on the host of the store",
            hint="Run it there without --server, or POST to /pilots/testing-os/submissions.",
        )
    return cast("RecordingContext", context)


def _rules(
    context: RecordingContext, repo_root: Path, provenance: str, profile: str, scenarios: Path | None, as_of: str | None
) -> Rules:
    from artifactstore.pilots.testing_os.rules import rules_of

    return rules_of(context, repo_root, provenance, profile=profile, scenarios=scenarios, as_of=_instant(as_of))


def _instant(text: str | None) -> Instant | None:
    from artifactstore.domain.instant import parse_instant

    return None if text is None else parse_instant(text)


def _summary(result: RunResult, repo_root: Path) -> dict[str, JsonValue]:
    from artifactstore.pilots.testing_os.running import Failed

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
    verdict = outcome.verification.verdict if outcome.verification is not None else None
    return {
        "status": outcome.answer.value,
        "run_id": outcome.run_id,
        "verdict": None if verdict is None else verdict.verified,
        "path": None if outcome.path is None else str(repo_root.absolute() / outcome.path),
        "written": outcome.was_written,
        "rejection_reasons": [*outcome.rejection_reasons],
        "package_id": outcome.package_id,
    }


def _error(failed: Failed) -> dict[str, JsonValue]:
    error = failed.error
    told: dict[str, JsonValue] = {"code": error.code, "message": error.message, "hint": error.hint}
    return {"status": "error", "run_id": failed.run_id, "where": failed.where, "error": told}


def _code_of(outcome: Outcome | Failed) -> int:
    from artifactstore.pilots.testing_os.ingesting import Answer
    from artifactstore.pilots.testing_os.running import Failed

    if isinstance(outcome, Failed):
        return _code_of_error(outcome.error)
    return _CALLER if outcome.answer is Answer.REJECTED else _DONE


def _code_of_error(error: ArtifactStoreError) -> int:
    from artifactstore.errors import ConflictError

    return _CALLER if isinstance(error, InvalidRequestError | ConflictError) else _SYSTEM


def _exit_code(codes: Sequence[int]) -> int:
    return _MIXED if len(set(codes)) > 1 else next(iter(codes), _DONE)


def _run_id(value: JsonValue) -> JsonValue:
    return value.get("run_id") if isinstance(value, dict) else None
