"""How a directory is measured: through the port, in a directory of its own below ``probe``."""

from __future__ import annotations

import secrets
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from artifactstore.storage.local import LocalStore
from artifactstore.storage.probing.probe import Probing

if TYPE_CHECKING:
    from pathlib import Path

_FOLDER = "probe"


class LocalProbing(Probing):
    """A store of its own inside the directory, which goes with everything that is in it."""

    why_not = "a directory has no such thing"

    def __init__(self, root: Path) -> None:
        self._folder = root / _FOLDER / secrets.token_hex(12)
        super().__init__(LocalStore(self._folder))

    def clear(self) -> int:
        """Remove the directory; what cannot be removed is counted."""
        shutil.rmtree(self._folder, ignore_errors=True)
        with suppress(OSError):  # another probe is at it
            self._folder.parent.rmdir()
        return sum(1 for path in self._folder.rglob("*") if path.is_file())
