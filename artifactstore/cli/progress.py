"""A progress bar on standard error."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import TaskID


class _Bar:
    """The registry's ``Progress`` as one line that is redrawn."""

    def __init__(self, display: Progress, fallback_total: int | None) -> None:
        self._display = display
        self._fallback_total = fallback_total
        self._task: TaskID | None = None

    def begin(self, what: str, total_bytes: int | None) -> None:
        """Start the next piece of work; the one before is done."""
        if self._task is not None:
            self._display.remove_task(self._task)
        self._task = self._display.add_task(
            what, total=total_bytes if total_bytes is not None else self._fallback_total
        )

    def advance(self, count_bytes: int) -> None:
        """Move the bar."""
        if self._task is not None:
            self._display.advance(self._task, count_bytes)


@contextmanager
def progress_bar(total_bytes: int | None) -> Iterator[_Bar]:
    """Shown while the context is open, gone afterwards."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        yield _Bar(display, total_bytes)
