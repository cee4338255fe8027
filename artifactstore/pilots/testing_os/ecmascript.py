"""What JavaScript makes of JSON values, where a record must come out the same to the byte.

``json_text`` is ``JSON.stringify(value, null, 2)``. Numbers are doubles there, so an integer beyond 2^53 is printed as
the nearest double is, and 1.0 is printed as 1.
"""

from __future__ import annotations

from decimal import Decimal
from json.encoder import encode_basestring
from typing import TYPE_CHECKING

from artifactstore.domain.canonical import MAX_SAFE_INTEGER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.domain.canonical import JsonValue

_MOST_DIGITS = 21
"""A number with more digits before the point is written with an exponent."""
_LEAST_EXPONENT = -6
"""So is one with more zeros behind it."""


def json_text(value: JsonValue) -> str:
    """JSON in two-space indentation, keys in their order, nothing outside ASCII escaped."""
    pieces: list[str] = []
    _write(value, "\n", pieces)
    return "".join(pieces)


def number_text(value: float) -> str:
    """A number as JavaScript prints it."""
    if isinstance(value, int) and abs(value) <= MAX_SAFE_INTEGER:
        return str(value)
    number = float(value)
    if number == 0:
        return "0"
    minus = "-" if number < 0 else ""
    parts = Decimal(repr(abs(number))).normalize().as_tuple()
    digits, exponent = "".join(map(str, parts.digits)), int(parts.exponent)
    return minus + _digits_text(digits, len(digits) + exponent)


def as_text(value: JsonValue) -> str:
    """A scalar as ``String(value)`` has it, for messages; what is absent reads ``undefined``, like null here."""
    match value:
        case None:
            return "undefined"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return number_text(value)
        case str():
            return value
        case list():
            return ",".join("" if item is None else as_text(item) for item in value)
        case dict():
            return "[object Object]"


def is_truthy(value: JsonValue) -> bool:
    """What an ``if`` of JavaScript takes: an empty list and an empty object too, but not 0, "" or null."""
    return isinstance(value, list | dict) or bool(value)


def _digits_text(digits: str, point: int) -> str:
    """Digits with the decimal point after the ``point``-th of them, as section 6.1.6.1.20 of ECMA-262 writes it."""
    if len(digits) <= point <= _MOST_DIGITS:
        return digits.ljust(point, "0")
    if 0 < point <= _MOST_DIGITS:
        return f"{digits[:point]}.{digits[point:]}"
    if _LEAST_EXPONENT < point <= 0:
        return f"0.{'0' * -point}{digits}"
    mantissa = digits if len(digits) == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{mantissa}e{point - 1:+d}"


def _write(value: JsonValue, line: str, pieces: list[str]) -> None:
    """Append the text of a value; ``line`` is a line break with the indentation of what the value stands in."""
    match value:
        case str():
            pieces.append(encode_basestring(value))
        case None:
            pieces.append("null")
        case bool():
            pieces.append("true" if value else "false")
        case int() | float():
            pieces.append(number_text(value))
        case list():
            _write_container("[]", (("", item) for item in value), line, pieces)
        case dict():
            members = ((f"{encode_basestring(key)}: ", item) for key, item in value.items())
            _write_container("{}", members, line, pieces)


def _write_container(brackets: str, members: Iterator[tuple[str, JsonValue]], line: str, pieces: list[str]) -> None:
    inner, separator = f"{line}  ", brackets[0]
    for label, item in members:
        pieces.append(f"{separator}{inner}{label}")
        _write(item, inner, pieces)
        separator = ","
    pieces.append(brackets if separator == brackets[0] else f"{line}{brackets[1]}")
