"""Documents that a command is given as files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from artifactstore.domain.canonical import MAX_DOCUMENT_BYTES, parse_json
from artifactstore.errors import FileUnreadableError, UsageError

if TYPE_CHECKING:
    from artifactstore.domain.canonical import JsonValue


def read_json_object(path: Path) -> dict[str, JsonValue]:
    """A JSON object from a file, or from standard input for ``-``. Raises ``FileUnreadableError``, ``UsageError``."""
    document = parse_json(_read(path), what=str(path), error=UsageError)
    if not isinstance(document, dict):
        raise UsageError(f"{path} does not hold a JSON object")
    return document


def _read(path: Path) -> bytes:
    if str(path) == "-":
        return sys.stdin.buffer.read(MAX_DOCUMENT_BYTES + 1)
    try:
        with path.open("rb") as file:
            return file.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise FileUnreadableError(f"{path} cannot be read: {error.strerror}", hint="") from error
