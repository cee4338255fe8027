"""Where submissions come from: values, files, directories of files, lines. What cannot be read is told as its own."""

from __future__ import annotations

import os
import select
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from artifactstore.errors import FileUnreadableError
from artifactstore.pilots.testing_os.feed import Submitted
from artifactstore.pilots.testing_os.submission import MAX_SUBMISSION_BYTES, receive

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LINES = frozenset({".ndjson", ".jsonl"})
_JSON = ".json"
_PIECE_BYTES = 64 * 1024


def submitted_of(payload: Any) -> Iterator[Submitted]:
    """Every submission of a payload, in the order in which they stand."""
    match payload:
        case bytes():
            yield Submitted("the payload", lambda: payload)
        case dict():
            yield Submitted("the payload", lambda: receive(payload).data)
        case Path():
            yield from _below(payload)
        case _:
            for each in payload:
                yield from submitted_of(each)


def is_one(path: Path) -> bool:
    """Whether a path names one submission, and not several."""
    return not _has_lines(path) and not path.is_dir()


def submitted_lines(lines: Iterable[bytes | None], where: str) -> Iterator[Submitted | None]:
    """A submission for each line that is not blank; None for None."""
    number = 0
    for line in lines:
        if line is None:
            yield None
            continue
        number += 1
        if line.strip():
            yield Submitted(f"{where}, line {number}", partial(bytes, line))


def lines_as_they_come(descriptor: int, *, patience_s: float | None = None) -> Iterator[bytes | None]:
    """The lines of a pipe or file, and None whenever nothing has come for so long, if that is said.

    One that is too long to be a submission is cut off, which it is then told. Raises ``FileUnreadableError``.
    """
    rest, is_passed_over = b"", False
    while (piece := _piece(descriptor, patience_s)) != b"":
        if piece is None:
            yield None
            continue
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if not is_passed_over:
                yield line
            is_passed_over = False
        if len(rest) > MAX_SUBMISSION_BYTES:
            if not is_passed_over:
                yield rest
            rest, is_passed_over = b"", True
    if not is_passed_over:
        yield rest


def _piece(descriptor: int, patience_s: float | None) -> bytes | None:
    """What has come; nothing at the end, None if none has."""
    try:
        is_there = select.select([descriptor], [], [], patience_s)[0]
        return os.read(descriptor, _PIECE_BYTES) if is_there else None
    except OSError as error:
        raise FileUnreadableError(f"the lines cannot be read: {error.strerror}") from error


def _below(path: Path) -> Iterator[Submitted]:
    try:
        found = _files_in(path) if path.is_dir() else [path]
    except OSError as error:
        yield _unreadable(path, error.strerror)
        return
    if not found:
        yield _unreadable(path, f"there is no {_JSON}, {' or '.join(sorted(_LINES))} in it")
    for each in found:
        yield from _in_file(each)


def _files_in(directory: Path) -> list[Path]:
    return sorted(
        path for path in directory.iterdir() if (path.suffix.lower() == _JSON or _has_lines(path)) and path.is_file()
    )


def _in_file(path: Path) -> Iterator[Submitted]:
    if not _has_lines(path):
        yield Submitted(path.name, partial(_content, path))
        return
    try:
        with path.open("rb") as file:
            yield from filter(None, submitted_lines(lines_as_they_come(file.fileno()), path.name))
    except OSError as error:
        yield _unreadable(path, error.strerror)
    except FileUnreadableError as error:
        yield _unreadable(path, error.message)


def _has_lines(path: Path) -> bool:
    return path.suffix.lower() in _LINES


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_SUBMISSION_BYTES + 1)
    except OSError as error:
        _refuse(path, error.strerror)


def _unreadable(path: Path, why: str | None) -> Submitted:
    return Submitted(path.name, partial(_refuse, path, why))


def _refuse(path: Path, why: str | None) -> NoReturn:
    raise FileUnreadableError(
        f"{str(path)[:200]} cannot be read: {why}",
        hint="A payload is a file, a directory of files, or a file of lines (.ndjson, .jsonl).",
    )
