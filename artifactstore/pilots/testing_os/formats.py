"""The two string formats of submissions, ``date-time`` and ``uri``, exactly as the original's validator reads them.

Both are wider than RFC 3339 and RFC 3986 in places, and narrower in others: what was accepted there stays accepted
here. Every class of characters is ASCII, and a match is of the whole text: no digit of another script, no newline at
the end.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, date, datetime, timedelta

_SPACE = "[\\t\\n\\v\\f\\r \\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff]"
"""What a regular expression of JavaScript calls white space; Python's class has other members."""
_DATE_TIME = re.compile(
    rf"(\d{{4}})-(\d\d)-(\d\d)(?:[tT]|{_SPACE})(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[zZ]|([+-])(\d\d)(?::?(\d\d))?)",
    re.ASCII,
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_PCHAR = r"(?:[a-zA-Z0-9\-._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})"
_SCHEME = r"[a-zA-Z][a-zA-Z0-9+\-.]*:"
_TAIL = rf"(?:\?(?:{_PCHAR}|[/?])*)?(?:#(?:{_PCHAR}|[/?])*)?"
_URI = re.compile(rf"{_SCHEME}(?:{_PCHAR}|/)+{_TAIL}")
_URI_OF_LITERAL = re.compile(rf"{_SCHEME}//?(?:(?:(?!@){_PCHAR})*@)?\[([^\[\]]*)\](?::[0-9]*)?(?:/{_PCHAR}*)*{_TAIL}")
_FUTURE_LITERAL = re.compile(r"[vV][0-9a-fA-F]+\.[a-zA-Z0-9\-._~!$&'()*+,;=:]+")
_LEAP_YEAR = 2000
_LAST_SECOND = 59
_MINUTES_OF_DAY = 24 * 60


def is_date_time(text: str) -> bool:
    """A real calendar day and a time of day with its zone; a leap second only as the last second of a UTC day."""
    found = _DATE_TIME.fullmatch(text)
    if found is None or not is_date(text[:10]):
        return False
    hour, minute, second = (int(found[n]) for n in (4, 5, 6))
    zone_hour, zone_minute = int(found[9] or 0), int(found[10] or 0)
    if hour > 23 or minute > 59 or second > 60 or zone_hour > 23 or zone_minute > 59:  # noqa: PLR2004
        return False
    sign = -1 if found[8] == "-" else 1
    of_day = (hour * 60 + minute - sign * (zone_hour * 60 + zone_minute)) % _MINUTES_OF_DAY
    return second <= _LAST_SECOND or of_day == _MINUTES_OF_DAY - 1


def is_date(text: str) -> bool:
    """A real day written YYYY-MM-DD, the year 0 included."""
    if not _DATE.fullmatch(text):
        return False
    year, month, day = int(text[:4]), int(text[5:7]), int(text[8:])
    try:
        date(year or _LEAP_YEAR, month, day)
    except ValueError:
        return False
    return True


def is_uri(text: str) -> bool:
    """A scheme and something after it: ``x:y`` and ``https://`` are, ``x:`` and what has a space are not."""
    if _URI.fullmatch(text):
        return True
    literal = _URI_OF_LITERAL.fullmatch(text)
    return literal is not None and _is_address(literal[1])


def instant_ms(text: str) -> int | None:
    """Milliseconds since 1970 as JavaScript's ``Date`` reads a date-time; None where it reads none.

    Those are a zone of hours alone after a ``T``, and a leap second. Python's calendar has no year 0, so nor have we.
    """
    found = _DATE_TIME.fullmatch(text)
    if found is None or (text[10] in "tT" and found[8] and not found[10]):
        return None
    year, month, day, hour, minute, second = (int(found[n]) for n in range(1, 7))
    ahead = timedelta(hours=int(found[9] or 0), minutes=int(found[10] or 0)) * (-1 if found[8] == "-" else 1)
    milliseconds = int((found[7] or "0")[:3].ljust(3, "0"))
    try:
        moment = datetime(year, month, day, hour, minute, second, milliseconds * 1000, tzinfo=UTC) - ahead
    except (ValueError, OverflowError):
        return None
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _is_address(literal: str) -> bool:
    if _FUTURE_LITERAL.fullmatch(literal):
        return True
    try:
        return ipaddress.IPv6Address(literal).scope_id is None
    except ValueError:
        return False
