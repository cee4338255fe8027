"""The runner that a server has beside its requests: a look every few seconds, a thread for each duty that is run.

Any number of processes of any number of servers have one; the claim sees to it that one of them does the work.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from artifactstore.registry.duties import PATIENCE, due_duties, run_if_due

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from artifactstore.registry.duties import Duty, Patience, Run
    from artifactstore.registry.registry import Registry

LOOK_EVERY_S = 5.0


class DutyRunner:
    """Runs what is due until it is stopped. ``tell`` hears of every run, ``trouble`` of looks that failed."""

    def __init__(
        self,
        registry: Registry,
        duties: Sequence[Duty],
        *,
        tell: Callable[[Run], object],
        trouble: Callable[[Exception], object],
        look_every_s: float = LOOK_EVERY_S,
        patience: Patience = PATIENCE,
    ) -> None:
        self._registry = registry
        self._duties = duties
        self._tell = tell
        self._trouble = trouble
        self._look_every_s = look_every_s
        self._patience = patience
        self._stop = threading.Event()
        self._running: dict[str, threading.Thread] = {}
        self._looking = threading.Thread(target=self._look_again_and_again, name="duties", daemon=True)

    def start(self) -> None:
        """The first look is at once."""
        self._looking.start()

    def stop(self, *, timeout_s: float = 30.0) -> bool:
        """Begin nothing more, and have what is running end at its next page; whether all of it ended in time.

        What does not is left alone: its claim runs out with the process.
        """
        self._stop.set()
        give_up_at = time.monotonic() + timeout_s
        self._looking.join(timeout_s)
        for thread in list(self._running.values()):
            thread.join(max(0.0, give_up_at - time.monotonic()))
        return not any(thread.is_alive() for thread in (self._looking, *self._running.values()))

    def _look_again_and_again(self) -> None:
        while not self._stop.is_set():
            try:
                self._look()
            except Exception as error:  # noqa: BLE001 - the next look may succeed, and nobody else would make it
                self._trouble(error)
            self._stop.wait(self._look_every_s)

    def _look(self) -> None:
        for duty in due_duties(self._registry, self._duties, patience=self._patience):
            if not self._is_running(duty):
                thread = threading.Thread(target=self._run, args=(duty,), name=f"duty {duty.name}", daemon=True)
                self._running[duty.name] = thread
                thread.start()

    def _is_running(self, duty: Duty) -> bool:
        thread = self._running.get(duty.name)
        return thread is not None and thread.is_alive()

    def _run(self, duty: Duty) -> None:
        try:
            run = run_if_due(self._registry, duty, patience=self._patience, stop=self._stop)
        except Exception as error:  # noqa: BLE001 - it could not be claimed; the next look tries again
            self._trouble(error)
            return
        if run is not None:
            self._tell(run)
