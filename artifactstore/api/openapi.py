"""The OpenAPI document: what the routes say, with the error answers and bodies that FastAPI does not know of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import models_json_schema

from artifactstore.api import models, provenance_models, upkeep_models
from artifactstore.api.errors import PROBLEM

if TYPE_CHECKING:
    from fastapi import FastAPI
    from pydantic import BaseModel

_MEANINGS = {
    400: "The request breaks a rule; nothing was recorded.",
    401: "No valid token.",
    403: "The token does not allow this.",
    404: "Not here, or not for this caller.",
    408: "The body came too slowly.",
    409: "Contradicts what is recorded.",
    410: "The package was deleted.",
    412: "The representation is not the one the condition asks for.",
    413: "Too large.",
    415: "Not this content type.",
    416: "The range is not within the file.",
    421: "Not a name this server answers to.",
    431: "Headers too large.",
    500: "What is stored is damaged, or a defect of the server.",
    503: "Storage or database unavailable, or too many requests.",
    507: "No room left, or none within the producer's quota.",
}
_WORD = re.compile(r"[a-z0-9]+")
_ANY_REQUEST = (400, 403, 421, 431, 500, 503)
_REF = "#/components/schemas/{model}"
_REQUESTS: tuple[type[BaseModel], ...] = (
    models.PackageOpening,
    models.PackageSketch,
    models.UploadBeginning,
    models.Extension,
    models.Explanation,
    models.Sweep,
    models.WhatToVerify,
    models.SchemaRegistration,
    provenance_models.Observing,
    upkeep_models.WhatToReconcile,
    upkeep_models.WhatToHeal,
)
TAGS = [
    {"name": "push", "description": "Recording packages: open, send, finalize."},
    {"name": "packages", "description": "Reading packages and their files."},
    {"name": "provenance", "description": "Where things were observed, and by whom."},
    {"name": "retention", "description": "How long packages stay."},
    {"name": "metadata schemas", "description": "What a package's metadata must satisfy."},
    {"name": "pilots", "description": "What built-in pilots serve."},
    {"name": "events", "description": "What happened, in order."},
    {"name": "upkeep", "description": "What keeps the store sound: duties, the sealed log, comparing, healing."},
    {"name": "store", "description": "The service and the store as a whole."},
]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route: these, and those that any request may get."""
    return {status: _problem(status) for status in sorted({*statuses, *_ANY_REQUEST})}


def _problem(status: int) -> dict[str, Any]:
    content = {PROBLEM: {"schema": {"$ref": _REF.format(model="Problem")}}}
    return {"description": _MEANINGS[status], "content": content}


def json_request(model: type[BaseModel], *headers: dict[str, Any]) -> dict[str, Any]:
    """A JSON body and headers that a dependency reads."""
    content = {"application/json": {"schema": {"$ref": _REF.format(model=model.__name__)}}}
    return {"requestBody": {"required": True, "content": content}, "parameters": list(headers)}


def optional_json_request(model: type[BaseModel]) -> dict[str, Any]:
    """A JSON body that may be left out."""
    request = json_request(model)
    return {**request, "requestBody": {**request["requestBody"], "required": False}}


def header(name: str, description: str, *, is_required: bool = False, **schema: Any) -> dict[str, Any]:
    """A request header that a handler reads by itself."""
    schema = {"type": "string", **schema}
    return {"name": name, "in": "header", "required": is_required, "description": description, "schema": schema}


IDEMPOTENCY_KEY = header("Idempotency-Key", "Makes a retry safe for 24 hours.", pattern="^[!-~]{1,128}$")


def raw_request(media_type: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    """A body that is streamed."""
    content = {media_type: {"schema": schema or {"type": "string", "format": "binary"}}}
    return {"requestBody": {"required": True, "content": content}}


def describe(app: FastAPI) -> dict[str, Any]:
    """The whole document, made once."""
    if app.openapi_schema is None:
        from fastapi.openapi.utils import get_openapi

        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes, tags=TAGS
        )
        described: tuple[type[BaseModel], ...] = (*_REQUESTS, models.Problem)
        _, definitions = models_json_schema([(model, "validation") for model in described], ref_template=_REF)
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(definitions["$defs"])
        schemas.update(app.state.contributed_schemas)
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                operation["operationId"] = "_".join([method, *_WORD.findall(path)])
                operation["responses"].pop("422", None)
        app.openapi_schema = document
    return app.openapi_schema
