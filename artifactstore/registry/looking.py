"""Work that is looked for: a look every few seconds, and a thread for each piece of work that a look has found.

What a server has beside its requests is of this kind: duties, and telling subscribers. A piece of work has a name, and
runs once at a time in this process; that no other process does it meanwhile is the work's own business.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Work = Callable[[], object]


class Lookout:
    """Looks until it is stopped. ``look`` answers what is to be done now, by name; ``trouble`` hears what it raises.

    So it does of what a piece of work raises. After trouble with a look the next one is made ``after_trouble_s`` later.
    """

    def __init__(
        self,
        name: str,
        look: Callable[[], Mapping[str, Work]],
        *,
        trouble: Callable[[Exception], object],
        every_s: float,
        after_trouble_s: float,
    ) -> None:
        self.stopping = threading.Event()
        """Set when work is to end at the next place where it can."""
        self._look = look
        self._trouble = trouble
        self._every_s = every_s
        self._after_trouble_s = after_trouble_s
        self._working: dict[str, threading.Thread] = {}
        self._looking = threading.Thread(target=self._look_again_and_again, name=name, daemon=True)

    def start(self) -> None:
        """The first look is at once."""
        self._looking.start()

    def stop(self, *, timeout_s: float) -> bool:
        """Begin nothing more, and have what is under way end; whether all of it ended in time."""
        self.stopping.set()
        give_up_at = time.monotonic() + timeout_s
        threads = [thread for thread in (self._looking, *list(self._working.values())) if thread.ident is not None]
        for thread in threads:
            thread.join(max(0.0, give_up_at - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _look_again_and_again(self) -> None:
        while not self.stopping.is_set():
            wait_s = self._every_s
            try:
                for name, work in self._look().items():
                    self._begin(name, work)
            except Exception as error:  # noqa: BLE001 - the next look may succeed, and nobody else would make it
                self._trouble(error)
                wait_s = self._after_trouble_s
            self.stopping.wait(wait_s)

    def _begin(self, name: str, work: Work) -> None:
        before = self._working.get(name)
        if before is None or not before.is_alive():
            thread = threading.Thread(target=self._do, args=(work,), name=name, daemon=True)
            self._working[name] = thread
            thread.start()

    def _do(self, work: Work) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - it could not be claimed; the next look tries again
            self._trouble(error)
