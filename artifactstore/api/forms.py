"""Multipart forms (RFC 7578) as files of an open package: field names are paths. Nothing is spooled."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from artifactstore.errors import LimitExceededError, RequestInvalidError
from artifactstore.registry.receiving import Announced, receive_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.domain.manifest import FileEntry
    from artifactstore.registry.receiving import Read
    from artifactstore.registry.registry import Registry

_BUFFER_BYTES = 256 * 1024
_MAX_HEADER_BYTES = 8 * 1024


class _Begin(NamedTuple):
    name: str


class _End(NamedTuple):
    pass


def receive_form(registry: Registry, package_id: str, content_type: str, read: Read) -> list[FileEntry]:
    """Store each part of a form as a file. Parts before a bad one have arrived. Raises what ``receive_file`` raises."""
    files: list[FileEntry] = []
    steps = _steps(content_type, read)
    for step in steps:
        if not isinstance(step, _Begin):
            raise RequestInvalidError("the form has bytes outside its parts")
        if len(files) >= registry.max_files:
            raise LimitExceededError(f"the form has more than {registry.max_files} parts")
        files.append(receive_file(registry, package_id, Announced(step.name), _Part(steps).read).file)
    return files


class _Part:
    """The bytes of one part, up to its end."""

    def __init__(self, steps: Iterator[_Begin | bytes | _End]) -> None:
        self._steps = steps
        self._left = b""
        self._has_ended = False

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes; none at the end of the part."""
        while not self._left and not self._has_ended:
            step = next(self._steps, _End())
            self._has_ended = isinstance(step, _End)
            self._left = step if isinstance(step, bytes) else b""
        data, self._left = self._left[:size], self._left[size:]
        return data


def _steps(content_type: str, read: Read) -> Iterator[_Begin | bytes | _End]:
    """Where parts begin and end, and the bytes between, in order. Raises ``RequestInvalidError`` for a broken form."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= 70:  # noqa: PLR2004 - RFC 2046
        raise RequestInvalidError("the form's content type names no boundary")
    parsing = _Parsing(boundary)
    try:
        while data := read(_BUFFER_BYTES):
            yield from parsing.feed(data)
    except FormParserError as error:
        raise RequestInvalidError(f"the form is broken: {error}") from error
    if not parsing.is_complete:
        raise RequestInvalidError("the form ends before its last boundary")


class _Parsing:
    """The parser's callbacks as a list of steps."""

    def __init__(self, boundary: bytes) -> None:
        self._steps: list[_Begin | bytes | _End] = []
        self._name = b""
        self._value = b""
        self._disposition = b""
        self._header_bytes = 0
        self.is_complete = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begins,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_ends,
                "on_headers_finished": self._headers_end,
                "on_part_data": self._data,
                "on_part_end": lambda: self._steps.append(_End()),
                "on_end": self._form_ends,
            },
        )

    def feed(self, data: bytes) -> list[_Begin | bytes | _End]:
        """The steps that these bytes come to."""
        self._parser.write(data)
        steps, self._steps = self._steps, []
        return steps

    def _part_begins(self) -> None:
        self._disposition, self._header_bytes = b"", 0

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += self._counted(data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += self._counted(data[start:end])

    def _counted(self, data: bytes) -> bytes:
        self._header_bytes += len(data)
        if self._header_bytes > _MAX_HEADER_BYTES:
            raise LimitExceededError(f"a part of the form has more than {_MAX_HEADER_BYTES} bytes of headers")
        return data

    def _header_ends(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name = self._value = b""

    def _headers_end(self) -> None:
        kind, options = parse_options_header(self._disposition)
        name = options.get(b"name")
        if kind != b"form-data" or name is None:
            raise RequestInvalidError("a part of the form has no name")
        try:
            self._steps.append(_Begin(name.decode()))
        except UnicodeDecodeError as error:
            raise RequestInvalidError("the name of a part of the form is not UTF-8") from error

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._steps.append(bytes(data[start:end]))

    def _form_ends(self) -> None:
        self.is_complete = True
