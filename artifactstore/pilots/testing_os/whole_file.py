"""One file, written so that whoever reads it finds the old one or the new one whole."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from artifactstore.errors import DestinationInvalidError, StorageFullError

if TYPE_CHECKING:
    from pathlib import Path

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file, synced; directories that are missing are made.

    Raises ``DestinationInvalidError`` or ``StorageFullError``; then the file is as it was.
    """
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(temporary, data)
        os.replace(temporary, path)  # noqa: PTH105 - as one says it of files
        _sync_directory(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        problem = f"{path} cannot be written: {error.strerror}"
        raise (StorageFullError if error.errno in _NO_ROOM else DestinationInvalidError)(problem) from error


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
