"""The canonical CBOR profile, and reading JSON strictly enough that it has exactly one canonical form.

The profile (docs/reference/manifest.md): RFC 8949 section 4.2.1 core deterministic encoding, text keys only, no tags,
text in NFC, integers within plus or minus (2^53 - 1), a float with an integral value written as the integer, other
finite floats in the shortest form that keeps the value, no NaN and no infinity. What cannot be written so is refused
with a JSON pointer, never repaired.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import cbor2

from artifactstore.errors import (
    ArtifactStoreError,
    LimitExceededError,
    ManifestInvalidError,
    MetadataInvalidError,
    Problem,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]

MAX_SAFE_INTEGER = 2**53 - 1
MAX_DEPTH = 64
MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
_IN_TABLES = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def encode(value: object) -> bytes:
    """Canonical CBOR of a value that already follows the profile (``canonical`` makes it so)."""
    return cbor2.dumps(value, canonical=True)


def encode_ordered(members: dict[str, Any]) -> bytes:
    """``encode`` of a map whose keys are in canonical order, shorter ones first, and that holds no other map.

    Half the time: nothing is sorted. No floats either, whose shortest form would have to be looked for.
    """
    return cbor2.dumps(members)


def decode(data: bytes) -> Any:
    """Decode one canonical item. Raises ``ManifestInvalidError`` if re-encoding does not give the same bytes."""
    try:
        value = cbor2.loads(data)
        if cbor2.dumps(value, canonical=True) == data:
            return value
    except (cbor2.CBORError, ValueError, TypeError, RecursionError, OverflowError, MemoryError) as error:
        raise ManifestInvalidError(f"not canonical CBOR: {error}") from error
    raise ManifestInvalidError(
        "not canonical CBOR: it decodes, but encodes differently",
        hint="Keys must be sorted and unique, integers and floats in their shortest form, nothing may follow the item.",
    )


def decode_own(data: bytes) -> Any:
    """Decode what this program encoded and nobody else could touch; faster, because nothing is checked."""
    return cbor2.loads(data)


def canonical_object(value: dict[str, JsonValue], *, what: str = "metadata") -> dict[str, JsonValue]:
    """``canonical`` for a JSON object, which stays one."""
    return cast("dict[str, JsonValue]", canonical(value, what=what))


def canonical(value: JsonValue, *, what: str = "metadata") -> JsonValue:
    """The value as the profile writes it (2.0 becomes 2). Raises ``MetadataInvalidError`` naming every offender."""
    problems: list[Problem] = []
    result = _canonical(value, "", 0, problems)
    if problems:
        raise MetadataInvalidError(
            f"{what} has {len(problems)} value(s) with no canonical form", problems=tuple(problems)
        )
    return result


def _canonical(value: object, pointer: str, depth: int, problems: list[Problem]) -> JsonValue:
    match value:
        case None | bool():
            return value
        case str():
            text = str.__str__(value)  # of a derived type, too: what is checked is what is encoded
            _check_text(text, pointer, problems)
            return text
        case int() | float():
            return _canonical_number(value, pointer, problems)
        case list() | dict() if depth >= MAX_DEPTH:
            problems.append(Problem(pointer, f"is nested deeper than {MAX_DEPTH} levels"))
        case list():
            return [_canonical(item, f"{pointer}/{n}", depth + 1, problems) for n, item in enumerate(value)]
        case dict():
            return _canonical_map(value, pointer, depth, problems)
        case _:
            problems.append(Problem(pointer, f"is a {type(value).__name__}, which JSON does not have"))
    return None


def _canonical_map(value: Mapping[object, object], pointer: str, depth: int, problems: list[Problem]) -> JsonValue:
    result: dict[str, JsonValue] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            problems.append(Problem(pointer, f"has the key {key!r}, which is not text"))
            continue
        name = str.__str__(key)
        below = f"{pointer}/{escaped(name)}"
        _check_text(name, below, problems)
        result[name] = _canonical(item, below, depth + 1, problems)
    return result


def escaped(step: str) -> str:
    """A key as a step of a JSON pointer (RFC 6901)."""
    return step.replace("~", "~0").replace("/", "~1")


def _canonical_number(value: float, pointer: str, problems: list[Problem]) -> JsonValue:
    value = int.__int__(value) if isinstance(value, int) else float.__float__(value)  # what a derived type says besides
    if not isinstance(value, int) and not math.isfinite(value):
        problems.append(Problem(pointer, f"is {value}, which is not a finite number"))
        return None
    if isinstance(value, int) or (value.is_integer() and abs(value) <= MAX_SAFE_INTEGER):
        if abs(value) > MAX_SAFE_INTEGER:
            problems.append(Problem(pointer, "is an integer beyond plus or minus 2^53 - 1: write it as text"))
            return None
        return int(value)
    return value


def _check_text(text: str, pointer: str, problems: list[Problem]) -> None:
    if text.isascii():
        return
    if any("\ud800" <= character <= "\udfff" for character in text):
        problems.append(Problem(pointer, "has an unpaired surrogate"))
    elif not unicodedata.is_normalized("NFC", text):
        problems.append(Problem(pointer, "is not in Unicode normalisation form C"))


def canonical_json(value: JsonValue) -> str:
    """JSON text as tables hold it: sorted keys, no spaces. Equal values give equal text."""
    return _IN_TABLES.encode(value)


def parse_json(
    data: bytes,
    *,
    what: str,
    error: type[ArtifactStoreError] = MetadataInvalidError,
    max_bytes: int = MAX_DOCUMENT_BYTES,
) -> JsonValue:
    """Parse JSON as RFC 8259 means it: UTF-8, no duplicate key, no NaN; at most ``max_bytes`` and 64 levels.

    ``what`` names the document in the message of the ``error`` that is raised for anything else.
    """
    if len(data) > max_bytes:
        raise LimitExceededError(f"{what} is {len(data)} bytes long, more than {max_bytes}")
    try:
        value = load_json(data)
    except UnicodeDecodeError as cause:
        raise error(f"{what} is not UTF-8: {cause.reason} at byte {cause.start}") from cause
    except RecursionError as cause:
        raise error(f"{what} is nested too deeply") from cause
    except ValueError as cause:
        raise error(f"{what} is not valid JSON: {cause}") from cause
    if depth_of(value) > MAX_DEPTH:
        raise error(f"{what} is nested deeper than {MAX_DEPTH} levels")
    return cast("JsonValue", value)


def load_json(data: bytes, *, parse_int: Callable[[str], int | float] = int) -> Any:
    """``json.loads`` without its liberties: duplicate keys and NaN are a ``ValueError`` too."""
    return json.loads(
        data.decode(), object_pairs_hook=_unique_keys, parse_constant=_refuse_constant, parse_int=parse_int
    )


def depth_of(value: JsonValue) -> int:
    """How many lists and maps stand inside each other at the deepest place."""
    deepest, level = 0, [value]
    while containers := [item for item in level if isinstance(item, (dict, list))]:
        deepest += 1
        level = [child for parent in containers for child in _children(parent)]
    return deepest


def _children(value: JsonValue) -> Iterator[JsonValue]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _unique_keys(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    result = dict(pairs)
    if len(result) != len(pairs):
        repeated = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        raise ValueError(f"duplicate key {', '.join(repeated[:5])}")
    return result


def _refuse_constant(name: str) -> JsonValue:
    raise ValueError(f"{name} is not a JSON number")
