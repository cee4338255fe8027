"""The API's reference as one page: the OpenAPI document for people. No script, nothing from elsewhere.

A page of this origin is where a token might be typed in, so it must not run anybody's code.
"""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

if TYPE_CHECKING:
    from collections.abc import Iterator

router = APIRouter(include_in_schema=False)

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
code, pre { font: 14px/1.4 ui-monospace, monospace } pre { background: #8881; padding: .7rem; overflow: auto }
h3 code { background: #8882; padding: .1rem .4rem } table { border-collapse: collapse } nav { columns: 2 }
td, th { text-align: left; vertical-align: top; padding: .15rem 1rem .15rem 0 } section { margin: 2.5rem 0 }
:root { color-scheme: light dark }
"""
_DEEPEST = 6
_PLAIN: dict[object, Any] = {"integer": 0, "number": 0, "boolean": False, "string": "text"}
_METHODS = ("get", "head", "put", "post", "patch", "delete")


@router.get("/docs")
def reference_page(request: Request) -> HTMLResponse:
    """The page."""
    document = request.app.openapi()
    return HTMLResponse("".join(_page(document)), headers={"content-security-policy": _POLICY})


def _page(document: dict[str, Any]) -> Iterator[str]:
    title = escape(f"{document['info']['title']} {document['info']['version']}")
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    yield f"<h1>{title}</h1><p>{escape(document['info']['description'])}</p>"
    yield '<p>For programs: <a href="/openapi.json">/openapi.json</a></p>'
    operations = list(_operations(document))
    yield "<nav>"
    for method, path, operation in operations:
        yield f'<a href="#{_anchor(operation)}"><code>{method.upper()} {escape(path)}</code></a><br>'
    yield "</nav>"
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'])}</h2><p>{escape(tag['description'])}</p>"
        for method, path, operation in operations:
            if tag["name"] in operation["tags"]:
                yield from _section(document, method, path, operation)


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        yield from ((method, path, methods[method]) for method in _METHODS if method in methods)


def _anchor(operation: dict[str, Any]) -> str:
    return escape(operation["operationId"])


def _section(document: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f'<section id="{_anchor(operation)}"><h3><code>{method.upper()} {escape(path)}</code></h3>'
    yield f"<p>{escape(operation['description'])}</p>"
    if parameters := operation.get("parameters"):
        yield "<table>"
        for each in parameters:
            needed = "" if each.get("required") else " (optional)"
            yield f"<tr><td><code>{escape(each['name'])}</code><td>{each['in']}{needed}"
            yield f"<td>{escape(each.get('description', ''))}"
        yield "</table>"
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<p>Body, <code>{escape(media_type)}</code>:</p>{_example(document, content['schema'])}"
    yield "<table>"
    for status, answer in operation["responses"].items():
        yield f"<tr><td>{status}<td>{escape(answer['description'])}"
    yield "</table>"
    for status, answer in operation["responses"].items():
        if status.startswith("2") and (content := answer.get("content", {}).get("application/json")):
            yield f"<p>{status}:</p>{_example(document, content.get('schema', {}))}"
    yield "</section>"


def _example(document: dict[str, Any], schema: dict[str, Any]) -> str:
    text = json.dumps(_sample(document, schema, 0), indent=2, ensure_ascii=False)
    return f"<pre>{escape(text)}</pre>"


def _sample(document: dict[str, Any], schema: dict[str, Any], depth: int) -> Any:
    """A value that shows the schema: its example if it has one, else made from its members."""
    schema = _resolved(document, schema)
    if given := schema.get("examples") or schema.get("enum") or [schema[key] for key in ("const",) if key in schema]:
        return given[0]
    kind = schema.get("type")
    if kind == "array":
        return [_sample(document, schema.get("items", {}), depth + 1)]
    if kind == "object" and depth < _DEEPEST:
        return {name: _sample(document, each, depth + 1) for name, each in schema.get("properties", {}).items()}
    return _PLAIN.get(kind)


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """What a schema comes to: references followed, the first of several choices taken."""
    while True:
        choices = schema.get("anyOf") or schema.get("oneOf")
        if "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        elif choices:
            schema = choices[0]
        else:
            return schema
