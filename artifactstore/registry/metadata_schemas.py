"""Metadata schemas: register, look up, check against."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from artifactstore.domain.canonical import canonical_json
from artifactstore.domain.events import MetadataSchemaRegistered
from artifactstore.domain.metadata_schema import check_schema
from artifactstore.errors import MetadataSchemaUnknownError, SchemaConflictError

if TYPE_CHECKING:
    from artifactstore.catalog.catalog import Transaction
    from artifactstore.catalog.records import SchemaRecord
    from artifactstore.domain.canonical import JsonValue
    from artifactstore.registry.registry import Registry


def register_schema(registry: Registry, slug: str, json_schema: JsonValue) -> SchemaRecord:
    """Register a schema for good. The same schema again is harmless; another raises ``SchemaConflictError``."""
    schema = check_schema(slug, json_schema)
    with registry.transaction() as tx:
        record_schema(tx, registry, slug, schema)
        registered = tx.schema(slug)
    assert registered is not None, "it was there, or the projection has just written it"
    return registered


def record_schema(tx: Transaction, registry: Registry, slug: str, schema: dict[str, JsonValue]) -> None:
    """Register a checked schema in a transaction the caller owns, unless it is; ``SchemaConflictError`` for another."""
    tx.lock("schema", slug)
    known = tx.schema(slug)
    if known is None:
        tx.record(MetadataSchemaRegistered(slug=slug, json_schema=schema, registered_at=registry.clock()))
    else:
        _refuse_another(known, schema)


def find_schema(registry: Registry, slug: str) -> SchemaRecord:
    """Raises ``MetadataSchemaUnknownError``."""
    with registry.catalog.snapshot() as queries:
        found = queries.schema(slug)
    if found is None:
        raise MetadataSchemaUnknownError(f"no metadata schema is registered as {slug!r}")
    return found


def is_registered(registry: Registry, slug: str) -> bool:
    """Whether some schema is registered under this slug."""
    with registry.catalog.snapshot() as queries:
        return queries.schema(slug) is not None


def list_schemas(registry: Registry, *, after: str = "", limit: int | None = None) -> list[SchemaRecord]:
    """The registered schemas by slug, after one; all of them without a limit."""
    with registry.catalog.snapshot() as queries:
        return queries.schemas(after=after, limit=limit)


def schema_for(registry: Registry, slug: str, own: dict[str, JsonValue] | None) -> dict[str, JsonValue]:
    """The schema that metadata must satisfy: the registered one, or a plug-in's own that is not registered yet.

    Raises ``SchemaConflictError`` if both are there and differ, ``MetadataSchemaUnknownError`` if neither is.
    """
    if own is None:
        document: dict[str, JsonValue] = json.loads(find_schema(registry, slug).json_schema)
        return document
    with registry.catalog.snapshot() as queries:
        known = queries.schema(slug)
    if known is not None:
        _refuse_another(known, own)
    return own


def _refuse_another(known: SchemaRecord, schema: dict[str, JsonValue]) -> None:
    if known.json_schema != canonical_json(schema):
        raise SchemaConflictError(f"another schema is registered as {known.slug}")
