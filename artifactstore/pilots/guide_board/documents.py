"""The JSON documents of a run, each read once and only when it is asked for.

What was parsed is what gets stored: a document that has been read hands the same bytes to the package, so its metadata
and its files cannot disagree, whatever happens to the directory meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from artifactstore.domain.canonical import MAX_DOCUMENT_BYTES, parse_json
from artifactstore.errors import Problem
from artifactstore.pilots.guide_board.refusal import refusal
from artifactstore.plugins import BytesSource, RunDirectoryError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.plugins import FileSource

Found = TypeVar("Found")


class Documents:
    """The documents among a run's files."""

    def __init__(self, files: Mapping[str, FileSource]) -> None:
        self._files = files
        self._read: dict[str, _Document] = {}

    def value(self, path: str) -> JsonValue:
        """A document; None if there is no such file. Raises ``RunDirectoryError`` if it is not strict JSON."""
        if path not in self._files:
            return None
        if path not in self._read:
            data = _read_bounded(path, self._files[path])
            self._read[path] = _Document(data, _parse(path, data))
        return self._read[path].value

    def source(self, path: str) -> FileSource:
        """Where a file's bytes come from: memory, if it has been read here."""
        return BytesSource(self._read[path].data) if path in self._read else self._files[path]

    def first(self, places: Sequence[str], accept: Callable[[JsonValue], Found | None]) -> Found | None:
        """What ``accept`` makes of the first place (``file#pointer``) whose value it does not answer with None."""
        for place in places:
            path, _, pointer = place.partition("#")
            if (found := accept(member(self.value(path), pointer))) is not None:
                return found
        return None


class _Document(NamedTuple):
    data: bytes
    value: JsonValue


def member(value: JsonValue, pointer: str) -> JsonValue:
    """What an RFC 6901 pointer through objects leads to; None if it leads nowhere."""
    for key in pointer.split("/")[1:]:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def first_text(value: JsonValue, pointers: Sequence[str]) -> str | None:
    """The text at the first pointer that leads to one."""
    return next((text for pointer in pointers if (text := as_text(member(value, pointer)))), None)


def as_text(value: JsonValue) -> str | None:
    """Text that says something, or None."""
    return value if isinstance(value, str) and value.strip() else None


def as_list(value: JsonValue) -> list[JsonValue] | None:
    """A list, or None."""
    return value if isinstance(value, list) else None


def _read_bounded(path: str, source: FileSource) -> bytes:
    """A document's bytes, never more than the limit however the file grows."""
    opened = source.open()
    try:
        if opened.size_bytes > MAX_DOCUMENT_BYTES:
            what = f"has {opened.size_bytes} bytes, more than the {MAX_DOCUMENT_BYTES} that are read"
            raise refusal([Problem(path, what)], hint="Only raw artifacts may be that large.")
        parts = list(iter(lambda: opened.read(MAX_DOCUMENT_BYTES), b""))
        opened.finish()
    finally:
        opened.close()
    return b"".join(parts)


def _parse(path: str, data: bytes) -> JsonValue:
    try:
        return parse_json(data, what=path, error=RunDirectoryError)
    except RunDirectoryError as error:
        what = error.message.removeprefix(path).lstrip()
        raise refusal(
            [Problem(path, what)], hint="Let guide-board write the run again, or restore the file."
        ) from error
