"""YAML as version 1.2 means it and js-yaml 4 reads it; PyYAML only splits the text into events.

``yes``, ``on`` and ``1_000`` are text, ``010`` is ten and ``0o10`` eight, a repeated key is an error, and every value
is one that JSON has. What js-yaml makes a date of is ``{"timestamp": text}`` here: like its date no string, so a schema
that wants a string refuses it, and nothing else is lost. No tag but those of the core schema is known, so nothing is
ever constructed. ``<<`` merges as there: keys of the mapping itself win, then earlier sources.

Bounded before it is built: bytes, depth, and what there is once every alias is written out, in values and in text. The
worst mebibyte that was found within these bounds takes seconds and a few dozen mebibytes of memory.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Protocol

from artifactstore.domain.canonical import MAX_SAFE_INTEGER
from artifactstore.errors import LimitExceededError
from artifactstore.pilots.testing_os.ecmascript import as_text
from artifactstore.pilots.testing_os.faults import YamlInvalidError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.domain.canonical import JsonValue

MAX_YAML_BYTES = 1024 * 1024
MAX_YAML_DEPTH = 32
MAX_YAML_NODES = 50_000
"""Values and keys, each alias counted as all that it stands for."""
MAX_YAML_CHARACTERS = 2 * MAX_YAML_BYTES
"""Of all scalars, aliases counted likewise."""

_TAG = "tag:yaml.org,2002:"
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?(?:0b[01]+|0x[0-9a-fA-F]+|0o[0-7]+|[0-9]+)")
_FLOAT = re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?"
    r"(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?"
)
_BASES = {"0b": 2, "0x": 16, "0o": 8}
_LINES_OF_1_1 = frozenset("\x85\u2028\u2029")
"""What ended a line in YAML 1.1 and does not in 1.2: PyYAML reads the one, we promise the other."""


def load_yaml(data: bytes, *, what: str) -> JsonValue:
    """The one document of a text; None for an empty one. ``what`` names it in the message of the error.

    Raises ``YamlInvalidError``, and ``LimitExceededError`` for a text that is, or would become, too large.
    """
    import yaml

    if len(data) > MAX_YAML_BYTES:
        raise LimitExceededError(f"{what} has {len(data)} bytes, more than {MAX_YAML_BYTES}")
    try:
        text = data.decode()
        if found := _LINES_OF_1_1.intersection(text):
            raise YamlInvalidError(
                f"{what} has the character U+{ord(min(found)):04X}, which versions of YAML read apart"
            )
        return _Reader(what, yaml.parse(text, Loader=yaml.SafeLoader)).document()
    except UnicodeDecodeError as cause:
        raise YamlInvalidError(f"{what} is not UTF-8: {cause.reason} at byte {cause.start}") from cause
    except (yaml.YAMLError, ValueError) as cause:  # PyYAML lets ValueError through, for a date or an escape
        raise YamlInvalidError(f"{what} is not valid YAML: {' '.join(str(cause).split())[:300]}") from cause


class _Event(Protocol):
    """What PyYAML's events have in common; the rest depends on the kind."""

    start_mark: Any


class _Reader:
    """One pass over the events of a text."""

    def __init__(self, what: str, events: Iterator[Any]) -> None:
        self._what = what
        self._events = events
        self._anchors: dict[str, tuple[JsonValue, int, int]] = {}
        """Each with its value, its nodes and its characters."""
        self._open: set[str] = set()
        self._nodes = 0
        self._characters = 0

    def document(self) -> JsonValue:
        """The only document, to its end."""
        next(self._events)
        event = next(self._events)
        if self._is(event, "StreamEndEvent"):
            return None
        value = self._value(next(self._events), 0)
        next(self._events)
        if not self._is(event := next(self._events), "StreamEndEvent"):
            raise self._error(event, "a second document")
        return value

    def _value(self, event: Any, depth: int) -> JsonValue:
        if depth > MAX_YAML_DEPTH:
            raise LimitExceededError(f"{self._what} is nested deeper than {MAX_YAML_DEPTH} levels")
        if self._is(event, "AliasEvent"):
            return self._aliased(event)
        nodes, characters = self._nodes, self._characters
        self._count(1, len(event.value) if self._is(event, "ScalarEvent") else 0)
        if event.anchor is not None:
            self._open.add(event.anchor)
        value = self._built(event, depth)
        if event.anchor is not None:
            self._open.discard(event.anchor)
            self._anchors[event.anchor] = (value, self._nodes - nodes, self._characters - characters)
        return value

    def _built(self, event: Any, depth: int) -> JsonValue:
        if self._is(event, "ScalarEvent"):
            return self._scalar(event)
        self._check_tag(event, "seq" if self._is(event, "SequenceStartEvent") else "map")
        if self._is(event, "SequenceStartEvent"):
            return list(self._items(depth))
        return self._mapping(depth)

    def _aliased(self, event: Any) -> JsonValue:
        if event.anchor in self._open:
            raise self._error(event, f"*{event.anchor}, which stands within itself")
        if event.anchor not in self._anchors:
            raise self._error(event, f"*{event.anchor}, which is anchored nowhere above")
        value, nodes, characters = self._anchors[event.anchor]
        self._count(nodes, characters)
        return value

    def _items(self, depth: int) -> Iterator[JsonValue]:
        while not self._is(event := next(self._events), "SequenceEndEvent"):
            yield self._value(event, depth + 1)

    def _mapping(self, depth: int) -> dict[str, JsonValue]:
        members: dict[str, JsonValue] = {}
        merged: set[str] = set()
        while not self._is(event := next(self._events), "MappingEndEvent"):
            is_merge = self._is(event, "ScalarEvent") and event.value == "<<" and event.implicit[0]
            key = self._key(event, depth)
            value = self._value(next(self._events), depth + 1)
            if is_merge:
                for source in self._sources(event, value):
                    added = {name: item for name, item in source.items() if name not in members}
                    merged.update(added)
                    members.update(added)
            elif key in members and key not in merged:
                raise self._error(event, f"the key {key[:60]!r} twice in one mapping")
            else:
                merged.discard(key)
                members[key] = value
        return members

    def _key(self, event: Any, depth: int) -> str:
        key = self._value(event, depth + 1)
        if isinstance(key, list | dict):
            raise self._error(event, "a key that is no scalar")
        return "null" if key is None else as_text(key)

    def _sources(self, event: Any, value: JsonValue) -> list[dict[str, JsonValue]]:
        sources = value if isinstance(value, list) else [value]
        found = [source for source in sources if isinstance(source, dict)]
        if len(found) != len(sources):
            raise self._error(event, "a merge of something that is no mapping")
        return found

    def _scalar(self, event: Any) -> JsonValue:
        text = self._text(event)
        if event.tag is None:
            return self._plain(event, text) if event.implicit[0] else text
        self._check_tag(event, "str", "int", "float", "bool", "null")
        if event.tag in {"!", f"{_TAG}str"}:
            return text
        value = self._plain(event, text)
        if _TAG + _kind(value) != event.tag and (event.tag, _kind(value)) != (f"{_TAG}float", "int"):
            raise self._error(event, f"{text[:60]!r}, which is no {event.tag.removeprefix(_TAG)}")
        return value

    def _text(self, event: Any) -> str:
        """A scalar's text; two escapes that are the halves of one character are that character."""
        try:
            return str(event.value).encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise self._error(event, "an unpaired surrogate") from None

    def _plain(self, event: Any, text: str) -> JsonValue:
        if text in _NULL:
            return None
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        if _INTEGER.fullmatch(text):
            return self._finite(event, _integer(text))
        if _FLOAT.fullmatch(text):
            return self._finite(event, float(text))
        if _NOT_FINITE.fullmatch(text):
            raise self._error(event, f"{text}, which JSON does not have")
        return {"timestamp": text} if _TIMESTAMP.fullmatch(text) else text

    def _finite(self, event: Any, number: float | None) -> JsonValue:
        if number is None or math.isinf(number):
            raise self._error(event, "a number that is larger than any")
        return number

    def _check_tag(self, event: Any, *known: str) -> None:
        if event.tag not in {None, "!", *(_TAG + name for name in known)}:
            raise self._error(event, f"the tag {event.tag[:60]!r}, which is not read here")

    def _count(self, nodes: int, characters: int) -> None:
        self._nodes += nodes
        self._characters += characters
        if self._nodes > MAX_YAML_NODES or self._characters > MAX_YAML_CHARACTERS:
            limits = f"{MAX_YAML_NODES} values or {MAX_YAML_CHARACTERS} characters"
            raise LimitExceededError(f"{self._what} has more than {limits} once its aliases are followed")

    def _error(self, event: _Event, found: str) -> YamlInvalidError:
        mark = event.start_mark
        return YamlInvalidError(f"{self._what} has {found} (line {mark.line + 1}, column {mark.column + 1})")

    @staticmethod
    def _is(event: object, kind: str) -> bool:
        return type(event).__name__ == kind


def _integer(text: str) -> float | None:
    """Its value; None if no double is that large, the nearest double if none is exact."""
    sign, digits = (-1 if text[0] == "-" else 1), text.lstrip("+-")
    try:
        number = sign * (int(digits[2:], _BASES[digits[:2]]) if digits[:2] in _BASES else _decimal(digits))
        return number if abs(number) <= MAX_SAFE_INTEGER else float(number)
    except OverflowError:
        return None


def _decimal(digits: str) -> int | float:
    return int(digits) if len(digits) <= len(str(MAX_SAFE_INTEGER)) else float(digits)


def _kind(value: JsonValue) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float"
        case _:
            return "str"
