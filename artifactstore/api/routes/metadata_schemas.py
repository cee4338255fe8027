"""Metadata schemas: register, list, show."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import JSONResponse

from artifactstore.api import models
from artifactstore.api.guards import CurrentAdmin, CurrentCaller, CurrentRegistry
from artifactstore.api.openapi import json_request, problems
from artifactstore.api.requests import LIMIT, body_of
from artifactstore.documents.packages import schema_document
from artifactstore.registry.metadata_schemas import find_schema, is_registered, list_schemas, register_schema

router = APIRouter(prefix="/metadata-schemas", tags=["metadata schemas"])


@router.post(
    "", response_model=models.Schema, status_code=201, openapi_extra=json_request(models.SchemaRegistration),
    responses={**problems(401, 408, 409, 413, 415, 507), 200: {"model": models.Schema, "description": "It is there."}},
)  # fmt: skip
def register(
    _: CurrentAdmin,
    registry: CurrentRegistry,
    body: Annotated[models.SchemaRegistration, Depends(body_of(models.SchemaRegistration))],
) -> JSONResponse:
    """Register a JSON Schema under a slug, for good. The same schema again is harmless. Needs ``admin``."""
    was_there = is_registered(registry, body.slug)
    schema = register_schema(registry, body.slug, body.json_schema)
    return JSONResponse(schema_document(schema, with_schema=False), 200 if was_there else 201)


@router.get("", response_model=models.SchemaPage, responses=problems(401))
def list_(
    _: CurrentCaller,
    registry: CurrentRegistry,
    after: Annotated[str, Query(description="Start after this slug.", max_length=64)] = "",
    limit: LIMIT = 100,
) -> JSONResponse:
    """The registered schemas by slug. Every valid token may read them."""
    page = list_schemas(registry, after=after, limit=limit)
    next_after = page[-1].slug if len(page) == limit else None
    documents = [schema_document(schema, with_schema=False) for schema in page]
    return JSONResponse({"schemas": documents, "next_after": next_after})


@router.get("/{slug}", response_model=models.SchemaDetails, responses=problems(401, 404))
def show(_: CurrentCaller, registry: CurrentRegistry, slug: str) -> JSONResponse:
    """One schema."""
    return JSONResponse(schema_document(find_schema(registry, slug), with_schema=True))
