"""Metadata schemas: what may be registered, and what validation says. ``jsonschema`` is the oracle."""

from __future__ import annotations

import random
from typing import Any

import jsonschema
import pytest

from artifactstore.domain.metadata_schema import MAX_SCHEMA_BYTES, MAX_VIOLATIONS, check_metadata, check_schema
from artifactstore.errors import MetadataInvalidError, PackageInvalidError, Problem, SchemaInvalidError

RUN_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["status", "checks"],
    "additionalProperties": False,
    "properties": {
        "status": {"enum": ["passed", "failed"]},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "name": {"type": "string", "minLength": 1, "maxLength": 10, "pattern": "^[a-z-]+$"},
        "checks": {"type": "array", "minItems": 1, "uniqueItems": True, "items": {"$ref": "#/$defs/check"}},
        "started": {"type": "string", "format": "date-time"},
    },
    "$defs": {
        "check": {
            "type": "object",
            "required": ["id"],
            "properties": {"id": {"type": "integer"}, "note": {"type": ["string", "null"]}},
            "dependentRequired": {"note": ["id"]},
        }
    },
}
GOOD: dict[str, Any] = {"status": "passed", "checks": [{"id": 1}]}


def violations(schema: dict[str, Any], metadata: dict[str, Any]) -> tuple[Problem, ...]:
    with pytest.raises(MetadataInvalidError) as caught:
        check_metadata("a.v1", schema, metadata)
    return caught.value.problems


def schema_refusal(schema: object) -> SchemaInvalidError:
    with pytest.raises(SchemaInvalidError) as caught:
        check_schema("a.v1", schema)
    return caught.value


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels - 1):
        schema = {"not": schema}
    return schema


# what may be registered


def test_schema_is_kept_in_canonical_form() -> None:
    assert repr(check_schema("a.v1", {"minimum": 2.0})) == "{'minimum': 2}"


@pytest.mark.parametrize("slug", ["", "A", "a b"])
def test_slug_must_be_a_slug(slug: str) -> None:
    with pytest.raises(PackageInvalidError):
        check_schema(slug, {})


@pytest.mark.parametrize("schema", [[], "text", 1, None, True])
def test_schema_that_is_not_an_object_is_refused(schema: object) -> None:
    assert "is not a JSON object" in schema_refusal(schema).message


def test_schema_that_is_no_schema_is_refused_with_a_pointer() -> None:
    refusal = schema_refusal({"properties": {"a": {"type": "strin"}}})

    assert [where for where, _ in refusal.problems] == ["/properties/a/type"]


def test_schema_without_canonical_form_is_refused_with_a_pointer() -> None:
    assert [where for where, _ in schema_refusal({"a": {"b/c": float("nan")}}).problems] == ["/a/b~1c"]


@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef", "$recursiveRef"])
@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:1/schema.json",
        "https://example.org/schema",
        "file:///etc/passwd",
        "other.json",
        "//example.org/x",
        "urn:example:x",
        "",
    ],
)
def test_reference_that_leaves_the_schema_is_refused(keyword: str, target: str) -> None:
    refusal = schema_refusal({"properties": {"a/b": {keyword: target}}})

    assert [where for where, _ in refusal.problems] == [f"/properties/a~1b/{keyword}"]


def test_every_outside_reference_is_named() -> None:
    refusal = schema_refusal(
        {"allOf": [{"$ref": "http://a/"}, {"$ref": "#/$defs/b"}, {"$ref": "http://c/"}], "$defs": {"b": {}}}
    )

    assert [where for where, _ in refusal.problems] == ["/allOf/0/$ref", "/allOf/2/$ref"]


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param(
            {"$id": "http://127.0.0.1:1/base/", "$defs": {"a": {"$id": "other"}}, "$ref": "#/$defs/a"}, id="id"
        ),
        pytest.param({"properties": {"$ref": {"type": "string"}}}, id="a-property-of-that-name"),
        pytest.param({"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}}, id="inside"),
        pytest.param({"$ref": "#a", "$defs": {"a": {"$anchor": "a"}}}, id="anchor"),
        pytest.param({"properties": {"child": {"$ref": "#"}}}, id="itself"),
    ],
)
def test_reference_that_stays_inside_is_accepted(schema: dict[str, Any]) -> None:
    check_metadata("a.v1", check_schema("a.v1", schema), {})


def test_reference_to_nothing_is_refused() -> None:
    assert "is not a valid JSON Schema" in schema_refusal({"$ref": "#/$defs/missing"}).message


@pytest.mark.parametrize("dialect", ["http://json-schema.org/draft-07/schema#", "http://127.0.0.1:1/", 7])
def test_other_dialect_is_refused(dialect: object) -> None:
    assert "is written in" in schema_refusal({"$schema": dialect}).message


def test_schema_that_is_too_large_is_refused() -> None:
    assert "more than" in schema_refusal({"description": "x" * MAX_SCHEMA_BYTES}).message


@pytest.mark.parametrize(("levels", "accepted"), [(32, True), (33, False), (64, False)])
def test_depth_of_a_schema_is_bounded(levels: int, accepted: bool) -> None:
    if accepted:
        assert check_schema("a.v1", nested(levels)) == nested(levels)
    else:
        assert "levels deep" in schema_refusal(nested(levels)).message


@pytest.mark.parametrize("pattern", ["(", "(?=lookahead)", r"(a)\1", "[", "a{100000}{100000}"])
def test_pattern_that_cannot_be_matched_in_linear_time_is_refused(pattern: str) -> None:
    assert "is not a valid JSON Schema" in schema_refusal({"properties": {"a": {"pattern": pattern}}}).message


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*$", "(.*)*x$", "^([a-zA-Z]+)*$"])
def test_hostile_pattern_ends(pattern: str) -> None:
    schema = check_schema("a.v1", {"properties": {"a": {"pattern": pattern}}})

    assert [where for where, _ in violations(schema, {"a": "a" * 50_000 + "!"})] == ["/a"]


# what validation says


def test_good_metadata_passes() -> None:
    check_metadata("a.v1", RUN_SCHEMA, GOOD)


def test_every_violation_is_reported_at_once_with_its_pointer() -> None:
    found = violations(RUN_SCHEMA, {"status": "so-so", "score": 2, "checks": [{"id": "x"}, {}, {"id": 1, "note": 5}]})

    assert sorted(where for where, _ in found) == ["/checks/0/id", "/checks/1", "/checks/2/note", "/score", "/status"]


def test_missing_member_is_named() -> None:
    ((where, what),) = violations(RUN_SCHEMA, {"status": "passed"})

    assert (where, "checks" in what) == ("", True)


def test_pointer_is_escaped() -> None:
    schema = {"properties": {"a/b~c": {"type": "integer"}}}

    assert [where for where, _ in violations(schema, {"a/b~c": "x"})] == ["/a~1b~0c"]


def test_format_is_checked() -> None:
    assert [where for where, _ in violations(RUN_SCHEMA, {**GOOD, "started": "yesterday"})] == ["/started"]


def test_reported_violations_are_bounded() -> None:
    schema = {"additionalProperties": {"type": "integer"}}

    assert len(violations(schema, {str(number): "x" for number in range(MAX_VIOLATIONS + 50)})) == MAX_VIOLATIONS


def test_message_about_a_huge_value_is_cut() -> None:
    ((_, what),) = violations({"properties": {"a": {"maxLength": 1}}}, {"a": "x" * 100_000})

    assert len(what) <= 500


def generated(seed: int) -> dict[str, Any]:
    """A document that is good in some places and bad in others."""
    choose = random.Random(seed).choice
    checks = [
        choose([{"id": 1}, {"id": "1"}, {}, {"id": 2.0, "note": None}, {"note": 3}, 7])
        for _ in range(choose([0, 1, 3]))
    ]
    members = {
        "status": choose(["passed", "failed", "so-so", 1, None]),
        "checks": choose([checks, checks, checks, {}, None]),
        "score": choose([0, 0.5, 1, 1.5, -1, "1", True]),
        "name": choose(["a-b", "", "Ab", "a" * 11, 5]),
        "extra": 1,
    }
    return {name: value for name, value in members.items() if choose([True, True, True, False])}


@pytest.mark.parametrize("seed", range(80))
def test_places_that_jsonschema_finds_are_the_places_we_report(seed: int) -> None:
    metadata = generated(seed)
    oracle = jsonschema.Draft202012Validator(RUN_SCHEMA)
    expected = sorted("".join(f"/{step}" for step in error.absolute_path) for error in oracle.iter_errors(metadata))

    try:
        check_metadata("a.v1", RUN_SCHEMA, metadata)
        found = []
    except MetadataInvalidError as error:
        found = sorted(where for where, _ in error.problems)

    assert found == expected
