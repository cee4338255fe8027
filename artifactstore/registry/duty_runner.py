"""The runner that a server has beside its requests: a look every few seconds, a thread for each duty that is run.

Any number of processes of any number of servers have one; the claim sees to it that one of them does the work.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from artifactstore.registry.duties import PATIENCE, due_duties, run_if_due
from artifactstore.registry.looking import Lookout

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
        self._patience = patience
        self._lookout = Lookout(
            "duties", self._due, trouble=trouble, every_s=look_every_s, after_trouble_s=look_every_s
        )

    def start(self) -> None:
        """The first look is at once."""
        self._lookout.start()

    def stop(self, *, timeout_s: float = 30.0) -> bool:
        """Begin nothing more, and have what is running end at its next page; whether all of it ended in time.

        What does not is left alone: its claim runs out with the process.
        """
        return self._lookout.stop(timeout_s=timeout_s)

    def _due(self) -> dict[str, Callable[[], object]]:
        due = due_duties(self._registry, self._duties, patience=self._patience)
        return {f"duty {duty.name}": partial(self._run, duty) for duty in due}

    def _run(self, duty: Duty) -> None:
        run = run_if_due(self._registry, duty, patience=self._patience, stop=self._lookout.stopping)
        if run is not None:
            self._tell(run)
