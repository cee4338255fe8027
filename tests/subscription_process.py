"""A process that delivers to a subscriber which writes down what it is told: ``python -m tests.subscription_process``.

The store is that of the environment. Each event is a line ``<process id> <sequence number>`` at the end of a file that
any number of these processes may write to.

    python -m tests.subscription_process FILE           # until standard input is closed
    python -m tests.subscription_process FILE die SEQ   # killed by itself when it has written this event down
    python -m tests.subscription_process FILE hold SEQ  # before it writes this event down it says so, and waits for a
                                                        # line; its heart does not beat, as if it had been suspended
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from artifactstore.bootstrap import open_registry
from artifactstore.domain.events import MetadataSchemaRegistered
from artifactstore.registry.duties import Patience
from artifactstore.registry.subscription_runner import SubscriptionRunner
from artifactstore.registry.subscriptions import Backoff, Subscriber

if TYPE_CHECKING:
    from artifactstore.catalog.event_log import EventRecord

NAME = "test.all"
PATIENCE = Patience(heartbeat_s=0.1, runs_out_s=0.6)


class Writer:
    def __init__(self, path: str, *, die_at: int, hold_at: int) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._die_at = die_at
        self._hold_at = hold_at
        self.may_go_on = threading.Event()

    def deliver(self, event: EventRecord) -> None:
        if event.seq == self._hold_at:
            sys.stdout.write("holding\n")
            sys.stdout.flush()
            self.may_go_on.wait()
        os.write(self._file, f"{os.getpid()} {event.seq}\n".encode())
        if event.seq == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)


def main(path: str, how: str = "", at: str = "0") -> None:
    trouble = threading.Event()
    writer = Writer(path, die_at=int(at) if how == "die" else 0, hold_at=int(at) if how == "hold" else 0)
    patience = replace(PATIENCE, heartbeat_s=3600) if how == "hold" else PATIENCE
    with closing(open_registry(actor="local:deliveries", upgrade=False)) as registry:
        subscriber = Subscriber(NAME, (MetadataSchemaRegistered.type,), writer.deliver, from_the_start=True)
        runner = SubscriptionRunner(
            registry, [subscriber], tell=lambda _: None, trouble=lambda _: trouble.set(), look_every_s=0.02,
            patience=patience, backoff=Backoff(first_s=0.02),
        )  # fmt: skip
        runner.start()
        for _ in sys.stdin:
            writer.may_go_on.set()
        assert runner.stop()
        assert not trouble.is_set()


if __name__ == "__main__":
    main(*sys.argv[1:])
