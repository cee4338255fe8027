"""Metadata schemas: register, look up, check against."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from artifactstore.catalog.projections import canonical_json
from artifactstore.domain.events import MetadataSchemaRegistered
from artifactstore.domain.metadata_schema import check_schema
from artifactstore.errors import MetadataSchemaUnknownError, SchemaConflictError

if TYPE_CHECKING:
    from artifactstore.catalog.records import SchemaRecord
    from artifactstore.domain.canonical import JsonValue
    from artifactstore.registry.registry import Registry


def register_schema(registry: Registry, slug: str, json_schema: JsonValue) -> SchemaRecord:
    """Register a schema for good. The same schema again is harmless; another raises ``SchemaConflictError``."""
    schema = check_schema(slug, json_schema)
    with registry.transaction() as tx:
        if known := tx.schema(slug):
            if known.json_schema != canonical_json(schema):
                raise SchemaConflictError(f"another schema is registered as {slug}")
            return known
        tx.record(MetadataSchemaRegistered(slug=slug, json_schema=schema, registered_at=registry.clock()))
        registered = tx.schema(slug)
    assert registered is not None, "the projection has just written it"
    return registered


def is_registered(registry: Registry, slug: str) -> bool:
    """Whether there is a schema under this slug."""
    with registry.catalog.snapshot() as queries:
        return queries.schema(slug) is not None


def find_schema(registry: Registry, slug: str) -> SchemaRecord:
    """Raises ``MetadataSchemaUnknownError``."""
    with registry.catalog.snapshot() as queries:
        found = queries.schema(slug)
    if found is None:
        raise MetadataSchemaUnknownError(f"no metadata schema is registered as {slug!r}")
    return found


def list_schemas(registry: Registry) -> list[SchemaRecord]:
    """Every registered schema, by slug."""
    with registry.catalog.snapshot() as queries:
        return queries.schemas()


def registered_schema(registry: Registry, slug: str) -> dict[str, JsonValue]:
    """A schema's document. Raises ``MetadataSchemaUnknownError``."""
    document: dict[str, JsonValue] = json.loads(find_schema(registry, slug).json_schema)
    return document
