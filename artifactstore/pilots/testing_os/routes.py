"""What this pilot serves: its indexes, a repository's surfaces and history, and taking submissions."""

from __future__ import annotations

import json
import math
from functools import partial
from typing import TYPE_CHECKING, cast

from artifactstore.domain.instant import system_clock
from artifactstore.errors import NotFoundError
from artifactstore.pilots.testing_os.index_documents import STALE_DAYS
from artifactstore.pilots.testing_os.submission import MAX_SUBMISSION_BYTES
from artifactstore.plugins import UsageError
from artifactstore.plugins.contract import Route, RouteAnswer, RouteRequest

if TYPE_CHECKING:
    from artifactstore.domain.canonical import JsonValue
    from artifactstore.pilots.testing_os.ingesting import Outcome
    from artifactstore.plugins.contributed import RecordingContext

_MOST_DAYS = 36_500
_DAYS: dict[str, JsonValue] = {"type": "number", "minimum": 0, "maximum": _MOST_DAYS}
_TEXT: JsonValue = {"type": "string"}
_VERDICT: JsonValue = {"enum": ["pass", "partial", "blocked", "fail"]}


def _closed(**members: JsonValue) -> dict[str, JsonValue]:
    """An object with these members, all of them and no others."""
    return {"type": "object", "properties": members, "required": [*members], "additionalProperties": False}


def _or_null(value: JsonValue) -> JsonValue:
    return {"anyOf": [value, {"type": "null"}]}


def _map_of(value: JsonValue) -> dict[str, JsonValue]:
    return {"type": "object", "patternProperties": {"^[A-Za-z0-9_./-]+$": value}, "additionalProperties": False}


_LATEST = {
    "title": "TestingOsLatest",
    **_map_of(
        _map_of(
            _closed(
                run_id=_TEXT, verified=_VERDICT, verification_status={"const": "accepted"}, finished_at=_TEXT,
                path=_TEXT,
            )
        )
    ),
}  # fmt: skip
_ENTRY = {"repo": _TEXT, "surface": _TEXT, "run_id": _TEXT}
_FAILING: dict[str, JsonValue] = {
    "title": "TestingOsFailing",
    "type": "array",
    "items": _closed(**_ENTRY, verified=_VERDICT, finished_at=_TEXT, path=_TEXT),
}
_STALE: dict[str, JsonValue] = {
    "title": "TestingOsStale",
    "type": "array",
    "items": _closed(**_ENTRY, finished_at=_TEXT, age_days=_or_null({"type": "integer"}), path=_TEXT),
}
_OUTCOME = {
    "title": "TestingOsOutcome",
    **_closed(
        status={"enum": ["accepted", "rejected", "duplicate"]},
        run_id={"description": "As it was sent, whatever that was."},
        verdict=_or_null(_VERDICT),
        path=_or_null(_TEXT),
        written={"type": "boolean"},
        rejection_reasons={"type": "array", "items": _TEXT},
        package_id=_or_null(_TEXT),
    ),
}


def routes() -> tuple[Route, ...]:
    """All of them."""
    return (
        Route(
            "indexes/latest-by-repo.json",
            "The latest accepted record of each surface of each repository.",
            partial(_index, "latest-by-repo.json"),
            _LATEST,
            without_rights=b"{}\n",
        ),
        Route(
            "indexes/failing.json",
            "Of these, what has not passed.",
            partial(_index, "failing.json"),
            _FAILING,
            without_rights=b"[]\n",
        ),
        Route(
            "indexes/stale.json",
            "Of these, what is older than a threshold.",
            partial(_index, "stale.json"),
            _STALE,
            without_rights=b"[]\n",
            parameters={"days": ("The threshold, 30 if it is not said.", _DAYS)},
        ),
        Route(
            "submissions",
            "Judge a submission and record what came of it.",
            _submit,
            _OUTCOME,
            is_write=True,
            max_body_bytes=MAX_SUBMISSION_BYTES,
        ),
    )


def _index(name: str, request: RouteRequest) -> RouteAnswer:
    from artifactstore.pilots.testing_os.exporting import index_documents

    contributed = _recording(request).contributed()
    found = index_documents(contributed, as_of=system_clock(), stale_days=_days(request.parameters.get("days")))
    return RouteAnswer(found.files()[name])


def _days(text: str | None) -> float:
    if text is None:
        return STALE_DAYS
    try:
        days = float(text)
    except ValueError:
        days = math.nan
    if not 0 <= days <= _MOST_DAYS:
        raise UsageError(f"days must be a number from 0 to {_MOST_DAYS}")
    return days


def _submit(request: RouteRequest) -> RouteAnswer:
    """201 if it was recorded, accepted or rejected; 200 for a duplicate and for what cannot be filed."""
    from artifactstore.pilots.testing_os.ingesting import ingest_submission
    from artifactstore.pilots.testing_os.rules import rules_of
    from artifactstore.pilots.testing_os.stage_log import stage_log
    from artifactstore.pilots.testing_os.submission import parse_submission

    context = _recording(request)
    root = context.contributed().surroundings.repo_root
    if root is None:
        raise NotFoundError(
            "this server judges no submissions", hint="The operator sets ARTIFACTSTORE_TESTING_OS_REPO_ROOT."
        )
    received = parse_submission(request.body)
    rules = rules_of(context, root, "github", submitted_by=request.caller)
    outcome = ingest_submission(context, received, rules, stage_log(received.value))
    text = json.dumps(_document(outcome), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return RouteAnswer(text.encode(errors="backslashreplace"), 201 if outcome.was_written else 200)


def _document(outcome: Outcome) -> dict[str, JsonValue]:
    verdict = outcome.verification.verdict if outcome.verification is not None else None
    return {
        "status": outcome.answer.value,
        "run_id": outcome.run_id,
        "verdict": None if verdict is None else verdict.verified,
        "path": outcome.path,
        "written": outcome.was_written,
        "rejection_reasons": [*outcome.rejection_reasons],
        "package_id": outcome.package_id,
    }


def _recording(request: RouteRequest) -> RecordingContext:
    return cast("RecordingContext", request.context)
