"""Conditional and ranged requests (RFC 9110 sections 13 and 14): what a download is to answer. Nothing is read here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from artifactstore.errors import PreconditionError, RangeInvalidError

if TYPE_CHECKING:
    from collections.abc import Mapping

_RANGE = re.compile(r"bytes=\s*(\d{0,19})-(\d{0,19})\s*", re.ASCII | re.IGNORECASE)
_TAGS = re.compile(r'\s*(?:W/)?"[!#-~\x80-\xff]*"\s*(?:,\s*(?:W/)?"[!#-~\x80-\xff]*"\s*)*')
_TAG = re.compile(r'(W/)?("[^"]*")')


class UnsatisfiableRangeError(RangeInvalidError):
    """A byte range outside the file."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"the range is not within the file's {size_bytes} bytes")
        self.size_bytes = size_bytes


@dataclass(frozen=True, slots=True)
class Selection:
    """What to send of a representation: its bytes ``[start, start + length)``, or nothing if it is not modified."""

    status: int
    start: int
    length: int


def select(headers: Mapping[str, str], *, method: str, etag: str, size_bytes: int) -> Selection:
    """Decide by the request's headers, lower-case; ``etag`` is strong and quoted.

    Raises ``PreconditionError`` for If-Match that fails, ``UnsatisfiableRangeError``. A range that makes no sense,
    several ranges, and one for another representation (If-Range) are passed over: the whole is sent.
    """
    whole = Selection(200, 0, size_bytes)
    if "if-match" in headers and not _matches(headers["if-match"], etag, weakly=False):
        raise PreconditionError(f"the file's ETag is {etag}")
    if "if-none-match" in headers and _matches(headers["if-none-match"], etag, weakly=True):
        return Selection(304, 0, 0)
    if method != "GET" or "range" not in headers:
        return whole
    if "if-range" in headers and headers["if-range"].strip() != etag:
        return whole
    found = _RANGE.fullmatch(headers["range"])
    if found is None or found[1] == found[2] == "":
        return whole
    return _range(found[1], found[2], size_bytes) or whole


def _range(first: str, last: str, size_bytes: int) -> Selection | None:
    """One range. None for one that is no range, its end before its beginning, and for the last bytes of no bytes."""
    if not first:
        length = min(int(last), size_bytes)
        if int(last) == 0:
            raise UnsatisfiableRangeError(size_bytes)
        return Selection(206, size_bytes - length, length) if length else None
    start = int(first)
    end = size_bytes if not last else min(int(last) + 1, size_bytes)
    if last and int(last) < start:
        return None
    if start >= size_bytes:
        raise UnsatisfiableRangeError(size_bytes)
    return Selection(206, start, end - start)


def _matches(listed: str, etag: str, *, weakly: bool) -> bool:
    if listed.strip() == "*":
        return True
    if not _TAGS.fullmatch(listed):
        return False
    return any(tag == etag and (weakly or not weak) for weak, tag in _TAG.findall(listed))
