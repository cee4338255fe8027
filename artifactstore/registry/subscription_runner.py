"""Who delivers: a look every second, and a thread for each subscriber that something waits for.

Any number of processes have one; the claim sees to it that one of them delivers to a subscriber. A subscriber that
takes long, or for ever, takes its own thread and keeps no other waiting.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from artifactstore.registry.duties import PATIENCE, told
from artifactstore.registry.looking import Lookout
from artifactstore.registry.subscriptions import BACKOFF, DeliveryRun, Outlook, deliver, due, note_new

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from artifactstore.registry.duties import Patience
    from artifactstore.registry.registry import Registry
    from artifactstore.registry.subscriptions import Backoff, Subscriber

LOOK_EVERY_S = 1.0
AFTER_TROUBLE_S = 5.0
"""So long after a look that failed the next one is made."""
_LEFT_BEHIND_S = 5.0


class SubscriptionRunner:
    """Delivers until it is stopped. ``tell`` hears of every run, ``trouble`` of looks and claims that failed."""

    def __init__(
        self,
        registry: Registry,
        subscribers: Sequence[Subscriber],
        *,
        tell: Callable[[DeliveryRun], object],
        trouble: Callable[[Exception], object],
        look_every_s: float = LOOK_EVERY_S,
        patience: Patience = PATIENCE,
        backoff: Backoff = BACKOFF,
    ) -> None:
        self._registry = registry
        self._subscribers = subscribers
        self._tell = tell
        self._patience = patience
        self._backoff = backoff
        self._outlook = Outlook(patience=patience, backoff=backoff)
        self._are_noted = False
        self._lookout = Lookout(
            "subscriptions",
            self._due,
            trouble=trouble,
            every_s=look_every_s,
            after_trouble_s=max(look_every_s, AFTER_TROUBLE_S),
        )

    def start(self) -> None:
        """The first look is at once; without subscribers there is none."""
        if self._subscribers:
            self._lookout.start()

    def stop(self, *, timeout_s: float = 30.0) -> bool:
        """Begin nothing more, and have deliveries end at their next event; whether all of them ended in time.

        A subscriber that does not return is left alone: its claim runs out with the process, and its event comes again.
        """
        return self._lookout.stop(timeout_s=timeout_s)

    def _due(self) -> dict[str, Callable[[], object]]:
        if not self._are_noted:
            note_new(self._registry, self._subscribers)
            self._are_noted = True
        waiting = self._outlook.due(self._registry, self._subscribers)
        return {f"deliver to {subscriber.name}": partial(self._deliver, subscriber) for subscriber in waiting}

    def _deliver(self, subscriber: Subscriber) -> None:
        run = deliver(
            self._registry,
            subscriber,
            patience=self._patience,
            backoff=self._backoff,
            stop=self._lookout.stopping,
        )
        if run is not None:
            self._tell(run)


def deliver_once(
    registry: Registry, subscribers: Sequence[Subscriber], *, patience: Patience = PATIENCE, backoff: Backoff = BACKOFF
) -> list[DeliveryRun]:
    """Deliver what waits now, to all at once; what became of each that something was tried for.

    What is recorded meanwhile is left for later, so that subscribers who write to the log come to an end, too.
    """
    note_new(registry, subscribers)
    with registry.catalog.snapshot() as queries:
        up_to = queries.latest_seq()
    stop, deliveries = threading.Event(), list[DeliveryRun]()

    def act(subscriber: Subscriber) -> None:
        try:
            delivery = deliver(registry, subscriber, up_to=up_to, patience=patience, backoff=backoff, stop=stop)
        except Exception as error:  # noqa: BLE001 - it could not be claimed, and that is to be seen
            delivery = DeliveryRun(subscriber.name, 0, told(error))
        if delivery is not None:
            deliveries.append(delivery)

    waiting = due(registry, subscribers, patience=patience, backoff=backoff)
    _run_all([threading.Thread(target=act, args=(each,), daemon=True) for each in waiting], stop)
    return sorted(deliveries, key=lambda delivery: delivery.name)


def _run_all(threads: list[threading.Thread], stop: threading.Event) -> None:
    """Until all have ended; whoever interrupts this waits a little for them to come to their next event."""
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        stop.set()
        give_up_at = time.monotonic() + _LEFT_BEHIND_S
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, give_up_at - time.monotonic()))
        raise
