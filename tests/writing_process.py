"""A process of several writers: ``python -m tests.writing_process LABEL THREADS SECONDS``.

The store is the one that its environment names. Every second run is one that all such threads, of all such processes,
store at about the same time; the others are a thread's own. At the end it prints what was acknowledged and refused.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from artifactstore.bootstrap import open_registry
from artifactstore.registry.ingest import ingest
from tests.at_once import at_once
from tests.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.ledger import Push


def write_until(end_at: float, ledger: Ledger, label: str, push: Push, worker: int) -> None:
    """Store one run after another: everybody's, then one of its own."""
    for number in count():
        ledger.store(f"same-{number}", push)
        ledger.store(f"{label}-{worker}-{number}", push)
        if time.monotonic() >= end_at:
            return


def write_at_once(label: str, threads: int, seconds: float, push_of: Callable[[int], Push]) -> Ledger:
    """From so many threads; ``push_of`` says how each of them stores."""
    ledger, end_at = Ledger(), time.monotonic() + seconds
    for answer in at_once(threads, lambda n: write_until(end_at, ledger, label, push_of(n), n)):
        if isinstance(answer, BaseException):
            raise answer
    return ledger


def main() -> None:
    label, threads, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    with closing(open_registry(actor=f"local:{label}")) as registry:
        push: Push = partial(ingest, registry)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        ledger = write_at_once(label, threads, seconds, lambda _: push)
    json.dump(
        {"acknowledged": ledger.acknowledged, "refusals": dict(ledger.refusals), "mended": ledger.mended}, sys.stdout
    )


if __name__ == "__main__":
    main()
