"""Metadata schemas: JSON Schema 2020-12, self-contained and bounded, with every violation reported at once.

Validation is done by jsonschema-rs with a regular-expression engine of linear time, because a schema comes from a
stranger and a hostile ``pattern`` must not hang the registry. No reference leaves the schema: a remote ``$ref`` would
let its author make the registry fetch addresses.
"""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, NoReturn

from artifactstore.domain.canonical import JsonValue, canonical_object, depth_of, encode, escaped
from artifactstore.domain.package import check_slug
from artifactstore.errors import MetadataInvalidError, Problem, SchemaInvalidError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import jsonschema_rs

MAX_SCHEMA_BYTES = 256 * 1024
MAX_SCHEMA_DEPTH = 32
MAX_SCHEMA_EXPANSION = 100_000
MAX_VIOLATIONS = 200
"""Violations reported for one document; more would not help its author."""
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REMEMBERED = 32
"""Compiled schemas."""
_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})


def check_schema(slug: str, schema: JsonValue) -> dict[str, JsonValue]:
    """The schema in canonical form. Raises ``SchemaInvalidError`` unless it is self-contained, bounded and valid."""
    check_slug(slug, what="the schema slug")
    if not isinstance(schema, dict):
        raise SchemaInvalidError(f"schema {slug} is not a JSON object")
    try:
        checked = canonical_object(schema, what=f"schema {slug}")
    except MetadataInvalidError as error:
        raise SchemaInvalidError(error.message, problems=error.problems) from error
    _check_bounds(slug, checked)
    problems = tuple(_outside_references(checked, ""))
    if problems:
        raise SchemaInvalidError(f"schema {slug} refers to something outside itself", problems=problems)
    _compiled(slug, json.dumps(checked))
    return checked


def check_metadata(slug: str, schema: dict[str, JsonValue], metadata: dict[str, JsonValue]) -> None:
    """Raises ``MetadataInvalidError`` with every violation, each under the JSON pointer of the offending value."""
    violations = (_violation(error) for error in _compiled(slug, json.dumps(schema)).iter_errors(metadata))
    problems = tuple(sorted(islice(violations, MAX_VIOLATIONS)))
    if problems:
        raise MetadataInvalidError(f"metadata violates schema {slug} in {len(problems)} place(s)", problems=problems)


def _check_bounds(slug: str, schema: dict[str, JsonValue]) -> None:
    size_bytes = len(encode(schema))
    if size_bytes > MAX_SCHEMA_BYTES:
        raise SchemaInvalidError(f"schema {slug} has {size_bytes} bytes, more than {MAX_SCHEMA_BYTES}")
    if (depth := depth_of(schema)) > MAX_SCHEMA_DEPTH:
        raise SchemaInvalidError(f"schema {slug} is nested {depth} levels deep, more than {MAX_SCHEMA_DEPTH}")
    if _expansion(schema, schema, {}) > MAX_SCHEMA_EXPANSION:
        raise SchemaInvalidError(
            f"schema {slug} comes to more than {MAX_SCHEMA_EXPANSION} subschemas when its references are followed"
        )
    if schema.get("$schema", DIALECT) != DIALECT:
        raise SchemaInvalidError(f"schema {slug} is written in {schema['$schema']!r}", hint=f"Write it in {DIALECT}.")


def _expansion(value: JsonValue, root: JsonValue, known: dict[int, int]) -> int:
    """How many values the schema comes to with every reference written out; a reference within itself counts once.

    A few lines of references to references can stand for billions of subschemas, each of them a possible violation.
    """
    if not isinstance(value, list | dict):
        return 1
    if id(value) not in known:
        known[id(value)] = 1  # what refers back to here while it is being counted
        children = value.values() if isinstance(value, dict) else value
        total = 1 + sum(_expansion(child, root, known) for child in children)
        target = _target(value.get("$ref"), root) if isinstance(value, dict) else None
        known[id(value)] = total + (0 if target is None else _expansion(target, root, known))
    return known[id(value)]


def _target(reference: JsonValue, root: JsonValue) -> JsonValue:
    """What a reference within the schema leads to, None if that is not a plain JSON pointer."""
    found = root
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    for step in reference[1:].split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _outside_references(value: JsonValue, pointer: str) -> Iterator[Problem]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _outside_references(item, f"{pointer}/{index}")
    elif isinstance(value, dict):
        for key, item in value.items():
            below = f"{pointer}/{escaped(key)}"
            if key in _REFERENCES and isinstance(item, str) and not item.startswith("#"):
                yield Problem(
                    below,
                    f"refers to {item[:120]!r}; only references within the schema are read",
                )
            yield from _outside_references(item, below)


@lru_cache(maxsize=_REMEMBERED)
def _compiled(slug: str, schema: str) -> jsonschema_rs.Draft202012Validator:
    """From its JSON, so that what is remembered cannot change."""
    import jsonschema_rs

    try:
        return jsonschema_rs.Draft202012Validator(
            json.loads(schema),
            retriever=_refuse_retrieval,
            pattern_options=jsonschema_rs.RegexOptions(),
            validate_formats=True,
        )
    except jsonschema_rs.ValidationError as error:
        raise SchemaInvalidError(f"schema {slug} is not a valid JSON Schema", problems=(_violation(error),)) from error
    except (jsonschema_rs.ReferencingError, ValueError) as error:
        raise SchemaInvalidError(f"schema {slug} is not a valid JSON Schema: {error!s:.500}") from error


def _violation(error: jsonschema_rs.ValidationError) -> Problem:
    pointer = "".join(f"/{escaped(str(step))}" for step in error.instance_path)
    return Problem(pointer, error.message[:500])


def _refuse_retrieval(uri: str) -> NoReturn:
    raise ValueError(f"{uri} is not fetched")
