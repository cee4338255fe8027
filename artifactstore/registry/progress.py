"""How long work says how far it is. A door shows it; use-cases only report."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told about one piece of work at a time, by several threads at once where a copy or a backup has them."""

    def begin(self, what: str, total_bytes: int | None) -> None:
        """A piece of work starts; the total is None where it is not known."""

    def advance(self, count_bytes: int) -> None:
        """So many bytes are done."""


class _Silent:
    def begin(self, what: str, total_bytes: int | None) -> None:
        """Nobody is watching."""

    def advance(self, count_bytes: int) -> None:
        """Nobody is watching."""


SILENT: Progress = _Silent()
