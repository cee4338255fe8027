"""The JSON Schemas of this pilot as they ship, and what of them a value violates, in the published words.

Validation is jsonschema-rs, with the formats of ``formats``. Its findings are put into the order and the wording of the
validator that the original persists, because reasons are read by others: within one value type before enum before the
rest, then required, unknown keys in the order of the data, and the properties in the order of the schema.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from artifactstore.domain.canonical import escaped
from artifactstore.pilots.testing_os.ecmascript import number_text
from artifactstore.pilots.testing_os.formats import is_date, is_date_time, is_uri

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import jsonschema_rs

    from artifactstore.domain.canonical import JsonValue

SUBMISSION_SCHEMA = "testing-os.submission.v1"
RECORD_SCHEMA = "testing-os.record.v1"
POLICY_SCHEMA = "testing-os.policy.v1"
RUN_SCHEMA = "testing-os.run.v1"
"""Of the metadata of the package that a record is."""
POLICIES_SCHEMA = "testing-os.policies.v1"
"""Of the metadata of the package that policies are."""
SLUGS = (SUBMISSION_SCHEMA, RECORD_SCHEMA, POLICY_SCHEMA, RUN_SCHEMA, POLICIES_SCHEMA)
RECORD_IN_TREE = "testing-os.record.v1 in a tree"
"""Not a slug: the schema of records, and what later versions of the original have written into theirs besides."""
MAX_VIOLATIONS = 200
"""Violations told of one document; a hostile one could have a million."""
MAX_ITEMS = 10_000
"""Items of lists that are looked at to say what is wrong. Whether anything is, all of them decide."""

_FORMATS = {"date-time": is_date_time, "uri": is_uri, "date": is_date}
_ORDER = (
    *("type", "enum", "minimum", "minLength", "maxLength", "pattern", "format", "maxItems", "minItems", "items"),
    *("required", "additionalProperties", "properties", "if", "then", "$ref"),
)
_MESSAGES = {
    "type": "must be {}",
    "enum": "must be equal to one of the allowed values",
    "minimum": "must be >= {}",
    "minLength": "must NOT have fewer than {} characters",
    "maxLength": "must NOT have more than {} characters",
    "pattern": 'must match pattern "{}"',
    "format": 'must match format "{}"',
    "maxItems": "must NOT have more than {} items",
    "minItems": "must NOT have fewer than {} items",
}


class Violation(NamedTuple):
    """One place where a value is not what its schema wants."""

    pointer: str
    """The JSON pointer of the value; "" is the whole."""
    kind: str
    """The keyword that is violated."""
    message: str

    def __str__(self) -> str:
        return f"{self.pointer or '/'} {self.message}"


def schemas() -> Mapping[str, JsonValue]:
    """Every schema of this pilot, by slug."""
    return {slug: _schema(slug) for slug in SLUGS}


def violations(slug: str, value: JsonValue) -> tuple[Violation, ...]:
    """What of a schema the value violates; none if it is valid. At most ``MAX_VIOLATIONS``, and a word on the rest."""
    validator = _validator(slug)
    if validator.is_valid(value):
        return ()
    looked_at = _shortened(value, Counter())
    errors = list(islice(validator.iter_errors(looked_at), MAX_VIOLATIONS + 1))
    errors.sort(key=lambda error: _place(_schema(slug), error))
    told = [violation for error in errors for violation in _told(_schema(slug), error)]
    more = Violation("", "more", "has more violations than are told")
    return tuple(told) if 0 < len(told) <= MAX_VIOLATIONS else (*told[:MAX_VIOLATIONS], more)


def _shortened(value: JsonValue, taken: Counter[str]) -> JsonValue:
    """The value as far as it is looked at for violations: of its lists, the first items; of each at least one.

    The validator finds everything before it tells anything, and a list of a million nulls would take it minutes.
    """
    if isinstance(value, dict):
        return {key: _shortened(item, taken) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    kept: list[JsonValue] = []
    for item in value:
        if kept and taken["items"] >= MAX_ITEMS:
            break
        taken["items"] += 1
        kept.append(_shortened(item, taken))
    return kept


@cache
def _schema(slug: str) -> dict[str, Any]:
    if slug == RECORD_IN_TREE:
        return _record_in_tree()
    text = files("artifactstore").joinpath("schemas", f"{slug}.json").read_bytes()
    schema: dict[str, Any] = json.loads(text)
    return schema


def _record_in_tree() -> dict[str, Any]:
    """Runs of GitLab, tags, and what the gate of version 1.14 does not ask for."""
    schema = copy.deepcopy(_schema(RECORD_SCHEMA))
    members = schema["properties"]
    verification = members["verification"]
    members["source"]["properties"]["provider"]["enum"].append("gitlab")
    members["scenario_results"]["items"]["properties"]["tags"] = {"type": "array", "items": {"type": "string"}}
    members["overall_verdict"]["required"].remove("downgraded")
    verification["required"].remove("rejection_reasons")
    remediation = verification["properties"]["provenance_remediation"]["properties"]
    remediation["original_provenance_confirmed"]["type"] = ["boolean", "null"]
    return schema


@cache
def _validator(slug: str) -> jsonschema_rs.Draft202012Validator:
    import jsonschema_rs

    return jsonschema_rs.Draft202012Validator(
        _schema(slug), formats=_FORMATS, validate_formats=True, pattern_options=jsonschema_rs.RegexOptions()
    )


def _place(schema: dict[str, Any], error: jsonschema_rs.ValidationError) -> tuple[int, ...]:
    """Where a finding stands among the others: the position of each step down, in the schema or in a list."""
    place: list[int] = []
    instance = iter(error.instance_path)
    in_properties = False
    for step, node in _steps(schema, error):
        place.append(list(node).index(step) if in_properties else _ORDER.index(step))
        if in_properties or step == "items":
            down = next(instance, 0)
            place += [int(down)] if isinstance(down, int) else []
        in_properties = step == "properties" and not in_properties
    place += [schema_at.index(name) for schema_at, name in _missing(schema, error)]
    return tuple(place)


def _steps(schema: dict[str, Any], error: jsonschema_rs.ValidationError) -> Iterator[tuple[str, Any]]:
    """Each step from the schema to the keyword that is violated, and what it is a step from."""
    node: Any = schema
    for step in map(str, error.evaluation_path):
        yield step, node
        node = schema["$defs"][node[step].rpartition("/")[2]] if step == "$ref" else node[step]


def _missing(schema: dict[str, Any], error: jsonschema_rs.ValidationError) -> Iterator[tuple[list[str], str]]:
    """For a required property, all that are required and which is missing."""
    import jsonschema_rs

    if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Required):
        *_, (step, node) = _steps(schema, error)
        yield node[step], error.kind.property


def _told(schema: dict[str, Any], error: jsonschema_rs.ValidationError) -> Iterator[Violation]:
    pointer = "".join(f"/{escaped(str(step))}" for step in error.instance_path)
    *_, (keyword, node) = _steps(schema, error)
    for message in _messages(keyword, node[keyword], error):
        yield Violation(pointer, keyword, message)


def _messages(keyword: str, wanted: Any, error: jsonschema_rs.ValidationError) -> Iterator[str]:
    import jsonschema_rs

    match error.kind:
        case jsonschema_rs.ValidationErrorKind.Required():
            yield f"must have required property '{error.kind.property}'"
        case jsonschema_rs.ValidationErrorKind.AdditionalProperties():
            yield from ["must NOT have additional properties"] * len(error.kind.unexpected)
        case _:
            yield _MESSAGES[keyword].format(_wanted(wanted)) if keyword in _MESSAGES else error.message[:500]


def _wanted(value: Any) -> str:
    """What a keyword wants, as messages have it."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return value if isinstance(value, str) else number_text(value)
