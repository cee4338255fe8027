"""What this pilot serves: its indexes, histories, what fails since when, the portfolio, and taking submissions."""

from __future__ import annotations

import json
import math
import re
from functools import partial
from typing import TYPE_CHECKING, cast

from artifactstore.domain.instant import system_clock
from artifactstore.errors import ConfigurationError, NotFoundError
from artifactstore.pilots.testing_os.answer_schemas import (
    DAYS,
    FAILING,
    FAILING_SINCE,
    HISTORY,
    LATEST,
    LIMIT,
    MOST_DAYS,
    OUTCOME,
    PACKAGE_ID,
    PORTFOLIO,
    REPO,
    SEGMENT,
    STALE,
)
from artifactstore.pilots.testing_os.index_documents import STALE_DAYS
from artifactstore.pilots.testing_os.submission import MAX_SUBMISSION_BYTES
from artifactstore.pilots.testing_os.views import DEFAULT_LIMIT, MOST, failing, history
from artifactstore.plugins import UsageError
from artifactstore.plugins.contract import Route, RouteAnswer, RouteRequest

if TYPE_CHECKING:
    from artifactstore.domain.canonical import JsonValue
    from artifactstore.pilots.testing_os.ingesting import Outcome
    from artifactstore.pilots.testing_os.policy_sources import PolicySource
    from artifactstore.plugins.contributed import Contributed, RecordingContext


def routes() -> tuple[Route, ...]:
    """All of them."""
    submissions = Route(
        "submissions",
        "Judge a submission and record what came of it.",
        _submit,
        OUTCOME,
        is_write=True,
        max_body_bytes=MAX_SUBMISSION_BYTES,
    )
    return (*_indexes(), *_views(), submissions)


def _indexes() -> tuple[Route, ...]:
    return (
        Route(
            "indexes/latest-by-repo.json",
            "The latest accepted record of each surface of each repository.",
            partial(_index, "latest-by-repo.json"),
            LATEST,
            without_rights=b"{}\n",
        ),
        Route(
            "indexes/failing.json",
            "Of these, what has not passed.",
            partial(_index, "failing.json"),
            FAILING,
            without_rights=b"[]\n",
        ),
        Route(
            "indexes/stale.json",
            "Of these, what is older than a threshold.",
            partial(_index, "stale.json"),
            STALE,
            without_rights=b"[]\n",
            parameters={"days": ("The threshold, 30 if it is not said.", DAYS)},
        ),
    )


def _views() -> tuple[Route, ...]:
    return (
        Route(
            "repos/{org}/{repo}/history",
            "A page of a repository's records, rejected ones too, the latest to finish first.",
            _history,
            HISTORY,
            without_rights=_text({"records": [], "next_after": None}),
            parameters={
                "org": ("The first part of the repository's name.", SEGMENT),
                "repo": ("The second part.", SEGMENT),
                "after": ("Start after this package.", PACKAGE_ID),
                "limit": ("How many at most.", LIMIT),
            },
            may_be_missing=True,
        ),
        Route(
            "failing",
            "Every surface whose latest accepted record has not passed, and since when it has not.",
            _failing_since,
            FAILING_SINCE,
            without_rights=_text({"failing": []}),
            parameters={"repo": ("Of this repository only.", REPO)},
        ),
        Route(
            "portfolio.json",
            "What all repositories have shown, how fresh it is by their policies, and what is missing.",
            _portfolio,
            PORTFOLIO,
            without_rights=None,
            may_be_missing=True,
        ),
    )


def _index(name: str, request: RouteRequest) -> RouteAnswer:
    from artifactstore.pilots.testing_os.exporting import index_documents

    contributed = _recording(request).contributed()
    found = index_documents(contributed, as_of=system_clock(), stale_days=_days(request.parameters.get("days")))
    return RouteAnswer(found.files()[name])


def _history(request: RouteRequest) -> RouteAnswer:
    given = request.parameters
    limit = _limit(given.get("limit"))
    contributed = _recording(request).contributed()
    found = history(contributed, f"{given['org']}/{given['repo']}", after=given.get("after"), limit=limit)
    return RouteAnswer(_text(found))


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= MOST:
        raise UsageError(f"limit must be a whole number from 1 to {MOST}")
    return int(text)


def _failing_since(request: RouteRequest) -> RouteAnswer:
    return RouteAnswer(_text(failing(_recording(request).contributed(), request.parameters.get("repo"))))


def _portfolio(request: RouteRequest) -> RouteAnswer:
    from artifactstore.pilots.testing_os.portfolio import recorded_portfolio

    contributed = _recording(request).contributed()
    return RouteAnswer(recorded_portfolio(contributed, _policies(contributed), as_of=system_clock()).file())


def _days(text: str | None) -> float:
    if text is None:
        return STALE_DAYS
    try:
        days = float(text)
    except ValueError:
        days = math.nan
    if not 0 <= days <= MOST_DAYS:
        raise UsageError(f"days must be a number from 0 to {MOST_DAYS}")
    return days


def _submit(request: RouteRequest) -> RouteAnswer:
    """201 if it was recorded, accepted or rejected; 200 for a duplicate and for what cannot be filed."""
    from artifactstore.pilots.testing_os.ingesting import ingest_submission
    from artifactstore.pilots.testing_os.rules import rules_of
    from artifactstore.pilots.testing_os.stage_log import stage_log
    from artifactstore.pilots.testing_os.submission import parse_submission

    context = _recording(request)
    policies = _policies(context.contributed())
    received = parse_submission(request.body)
    rules = rules_of(context, None, "github", policies=policies, submitted_by=request.caller)
    log = stage_log(received.value, request.write_log)
    try:
        outcome = ingest_submission(context, received, rules, log)
    except ConfigurationError as error:
        log("error", failed_stage="ingest", code=error.code, message=error.message, hint=error.hint)
        raise ConfigurationError(
            "this server's policies cannot be judged by", hint="Its operator finds why in its log. Send it again later."
        ) from error
    return RouteAnswer(_text(_document(outcome)), 201 if outcome.was_written else 200)


def _policies(contributed: Contributed) -> PolicySource:
    """Those of the directory that the setting names, whatever is adopted; without it what is adopted."""
    from artifactstore.pilots.testing_os.policy_sources import POLICIES, DirectoryPolicies, adopted_policies

    if root := contributed.surroundings.repo_root:
        return DirectoryPolicies(root / POLICIES)
    if policies := adopted_policies(contributed):
        return policies
    raise NotFoundError(
        "this server judges no submissions",
        hint="The operator sets ARTIFACTSTORE_TESTING_OS_REPO_ROOT, or adopts policies in the store.",
    )


def _document(outcome: Outcome) -> dict[str, JsonValue]:
    return {
        "status": outcome.answer.value,
        "run_id": outcome.run_id,
        "verdict": outcome.verdict,
        "path": outcome.path,
        "written": outcome.was_written,
        "rejection_reasons": [*outcome.rejection_reasons],
        "package_id": outcome.package_id,
    }


def _text(document: dict[str, JsonValue]) -> bytes:
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode(errors="backslashreplace")


def _recording(request: RouteRequest) -> RecordingContext:
    return cast("RecordingContext", request.context)
