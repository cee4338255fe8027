"""A few tasks at once: the first failure stops the rest and is the answer."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_GRACE_S = 2.0


class StoppedError(Exception):
    """Raised within a task that is not needed any more; it never leaves this package."""


class Tasks:
    """Runs tasks in threads. A task that takes long calls ``go_on`` now and then."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._stopped = threading.Event()
        self._failures: list[BaseException] = []
        self._ahead: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def go_on(self) -> None:
        """Raises ``StoppedError`` once another task has failed."""
        if self._stopped.is_set():
            raise StoppedError

    def run(self, tasks: Sequence[Callable[[], object]]) -> None:
        """Run every task; raises what the first one to fail raised."""
        if len(tasks) == 1:
            tasks[0]()
            return
        for task in tasks:
            self._ahead.put(task)
        workers = [threading.Thread(target=self._work, daemon=True) for _ in tasks[: self._threads]]
        try:
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        except BaseException:  # an interrupt: what is under way may be cut off
            self._stopped.set()
            for worker in workers:
                if worker.is_alive():
                    worker.join(_GRACE_S)
            raise
        if self._failures:
            raise self._failures[0]

    def _work(self) -> None:
        while not self._stopped.is_set():
            try:
                self._ahead.get_nowait()()
            except Empty:
                return
            except BaseException as error:  # noqa: BLE001 - raised again by run
                self._failures.append(error)
                self._stopped.set()
