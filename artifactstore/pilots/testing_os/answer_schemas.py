"""The JSON Schemas of what this pilot serves and of what it is asked: part of the OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.pilots.testing_os.views import DEFAULT_LIMIT, MOST

if TYPE_CHECKING:
    from artifactstore.domain.canonical import JsonValue

MOST_DAYS = 36_500
DAYS: dict[str, JsonValue] = {"type": "number", "minimum": 0, "maximum": MOST_DAYS}
LIMIT: dict[str, JsonValue] = {"type": "integer", "minimum": 1, "maximum": MOST, "default": DEFAULT_LIMIT}
PACKAGE_ID: dict[str, JsonValue] = {"type": "string", "maxLength": 64}
SEGMENT: dict[str, JsonValue] = {"type": "string", "pattern": "^[A-Za-z0-9_.-]+$", "maxLength": 256}
REPO: dict[str, JsonValue] = {"type": "string", "pattern": "^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$", "maxLength": 512}
_TEXT: JsonValue = {"type": "string"}
_INTEGER: JsonValue = {"type": "integer"}
_VERDICT: JsonValue = {"enum": ["pass", "partial", "blocked", "fail"]}


def _closed(**members: JsonValue) -> dict[str, JsonValue]:
    """An object with these members, all of them and no others."""
    return {"type": "object", "properties": members, "required": [*members], "additionalProperties": False}


def _or_null(value: JsonValue) -> JsonValue:
    return {"anyOf": [value, {"type": "null"}]}


def _map_of(value: JsonValue) -> dict[str, JsonValue]:
    return {"type": "object", "patternProperties": {"^[A-Za-z0-9_./-]+$": value}, "additionalProperties": False}


LATEST = {
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
HISTORY = {
    "title": "TestingOsHistory",
    **_closed(
        records={
            "type": "array",
            "items": _closed(
                package_id=_TEXT, revision=_INTEGER, run_id=_TEXT,
                status={"enum": ["accepted", "rejected"]}, verified=_VERDICT, profile=_TEXT, finished_at=_TEXT,
                recorded_at=_TEXT, path=_TEXT,
            ),
        },
        next_after=_or_null(_TEXT),
    ),
}  # fmt: skip
FAILING_SINCE = {
    "title": "TestingOsFailingSince",
    **_closed(
        failing={
            "type": "array",
            "items": _closed(
                **_ENTRY, verified=_VERDICT, failing_since=_or_null(_TEXT), finished_at=_TEXT, path=_TEXT,
                package_id=_TEXT,
            ),
        }
    ),
}  # fmt: skip
_DAYS_OR_NULL = _or_null(_INTEGER)
PORTFOLIO = {
    "title": "TestingOsPortfolio",
    **_closed(
        generatedAt=_TEXT,
        coverage=_closed(total_repos=_INTEGER, surfaces_covered=_INTEGER, surfaces_total=_INTEGER),
        repos={
            "type": "array",
            "items": _closed(
                repo=_TEXT, surface=_TEXT, verified=_VERDICT, enforcement=_TEXT, freshness_days=_DAYS_OR_NULL,
                scenario=_or_null(_TEXT), scenarios={"type": "array", "items": _TEXT}, run_id=_TEXT, finished_at=_TEXT,
            ),
        },
        stale={
            "type": "array",
            "items": _closed(
                repo=_TEXT, surface=_TEXT, freshness_days=_INTEGER, max_age_days={"type": "number"}
            ),
        },
        missing={"type": "array", "items": _closed(repo=_TEXT, surface=_TEXT, enforcement=_TEXT)},
        unknown_freshness={"type": "array", "items": _closed(repo=_TEXT, surface=_TEXT, raw_finished_at=_TEXT)},
    ),
}  # fmt: skip
FAILING: dict[str, JsonValue] = {
    "title": "TestingOsFailing",
    "type": "array",
    "items": _closed(**_ENTRY, verified=_VERDICT, finished_at=_TEXT, path=_TEXT),
}
STALE: dict[str, JsonValue] = {
    "title": "TestingOsStale",
    "type": "array",
    "items": _closed(**_ENTRY, finished_at=_TEXT, age_days=_or_null(_INTEGER), path=_TEXT),
}
OUTCOME = {
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
