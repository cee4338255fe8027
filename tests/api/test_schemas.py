"""Metadata schemas over HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.domain.metadata_schema import MAX_SCHEMA_DEPTH

if TYPE_CHECKING:
    from tests.service import Answer, Server

SCHEMA = {"type": "object", "required": ["branch"], "properties": {"branch": {"type": "string"}}}


def register(server: Server, slug: object, schema: object = SCHEMA, *, token: str | None = "admin") -> Answer:
    return server.ask("POST", "/metadata-schemas", token=token, json_body={"slug": slug, "json_schema": schema})


def test_a_schema_is_registered_once_and_for_good(server: Server) -> None:
    first, again = register(server, "once.v1"), register(server, "once.v1", dict(reversed(SCHEMA.items())))
    other = register(server, "once.v1", {"type": "object"})

    assert (201, 200, 409) == (first.status, again.status, other.status)
    assert first.json == again.json
    assert {"slug", "registered_at", "registered_by"} == set(first.json)
    assert ("once.v1", "token:admin") == (first.json["slug"], first.json["registered_by"])
    assert "SCHEMA_CONFLICT" == other.json["code"]
    assert {**first.json, "json_schema": SCHEMA} == server.ask("GET", "/metadata-schemas/once.v1").json


def test_every_valid_token_reads_schemas(server: Server) -> None:
    register(server, "everyones.v1")

    for token in ("reader", "writer", "other-reader", "admin"):
        assert SCHEMA == server.ask("GET", "/metadata-schemas/everyones.v1", token=token).json["json_schema"]
        assert 200 == server.ask("GET", "/metadata-schemas", token=token).status
    assert 401 == server.ask("GET", "/metadata-schemas", token=None).status
    assert 401 == server.ask("GET", "/metadata-schemas/everyones.v1", token=None).status


@pytest.mark.parametrize("token", ["reader", "writer", None])
def test_registering_needs_admin(server: Server, token: str | None) -> None:
    answer = register(server, "nobody.v1", token=token)

    assert (401 if token is None else 403) == answer.status
    assert 404 == server.ask("GET", "/metadata-schemas/nobody.v1").status


@pytest.mark.parametrize("limit", [1, 2, 1_000])
def test_pages_have_each_schema_once_by_slug(server: Server, limit: int) -> None:
    slugs = {f"page.{letter}" for letter in "bdace"}
    for slug in slugs:
        register(server, slug)
    found: list[str] = []
    after: str | None = "page."

    while after is not None:
        page = server.ask("GET", f"/metadata-schemas?after={after}&limit={limit}").json
        assert len(page["schemas"]) <= limit
        found += [schema["slug"] for schema in page["schemas"]]
        after = page["next_after"]

    assert sorted(slugs) == [slug for slug in found if slug.startswith("page.")]
    assert sorted(found) == found


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "after=" + "x" * 65])
def test_a_page_that_is_none_is_refused(server: Server, query: str) -> None:
    assert 400 == server.ask("GET", f"/metadata-schemas?{query}").status


@pytest.mark.parametrize("slug", ["Upper", "a b", "", "x" * 65, "a/b", "é", 7, None])
def test_a_slug_that_is_none_is_refused(server: Server, slug: object) -> None:
    answer = register(server, slug)

    assert 400 == answer.status, answer.body


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "objekt"}, {"$ref": "https://example.org/schema.json"}, {"$schema": "http://json-schema.org/draft-07/schema"},
        {"pattern": "("}, {"$ref": "#/nowhere"}, deep(MAX_SCHEMA_DEPTH + 1), deep(10_000), [], "x", None,
    ],
    ids=["type", "outside", "dialect", "pattern", "nowhere", "deep", "very deep", "list", "text", "null"],
)  # fmt: skip
def test_a_schema_that_is_none_is_refused(server: Server, schema: object) -> None:
    body = json.dumps({"slug": "bad.v1"})[:-1] + ', "json_schema": ' + written(schema) + "}"

    answer = server.ask("POST", "/metadata-schemas", headers={"Content-Type": "application/json"}, body=body)

    assert 400 == answer.status, answer.body
    assert answer.json["code"] in {"SCHEMA_INVALID", "REQUEST_INVALID"}
    assert 404 == server.ask("GET", "/metadata-schemas/bad.v1").status


def written(schema: object) -> str:
    """As JSON, also what is too deep for Python's own writer."""
    levels = 0
    while isinstance(schema, dict) and "not" in schema:
        schema, levels = schema["not"], levels + 1
    return '{"not": ' * levels + json.dumps(schema) + "}" * levels


def test_a_schema_that_is_not_there_is_404(server: Server) -> None:
    for slug in ("nothing", "No", "%2e%2e", "a%2fb"):
        assert 404 == server.ask("GET", f"/metadata-schemas/{slug}").status


def test_metadata_must_satisfy_the_schema_it_names(server: Server) -> None:
    register(server, "satisfied.v1")

    def open_with(**body: object) -> Answer:
        return server.ask("POST", "/packages", token="writer", json_body={"producer": "p", **body})

    wrong = open_with(schema="satisfied.v1", metadata={"branch": 1})
    unknown = open_with(schema="unknown.v1", metadata={})
    missing = open_with(schema="satisfied.v1")
    right = open_with(schema="satisfied.v1", metadata={"branch": "main"})

    assert (400, "METADATA_INVALID") == (wrong.status, wrong.json["code"])
    assert ["/branch"] == [problem["where"] for problem in wrong.json["problems"]]
    assert (404, "SCHEMA_UNKNOWN") == (unknown.status, unknown.json["code"])
    assert 400 == missing.status
    assert 201 == right.status
