"""A process that runs a duty which writes down when it begins and ends: ``python -m tests.duty_process``.

The store is that of the environment. ``ran`` is a table of the test's own; ``begun`` and ``ended`` are by a clock that
all processes of the host share.

    python -m tests.duty_process often     # a duty that is due ten times a second, until standard input is closed
    python -m tests.duty_process once      # one that says so when it has begun, and waits for a line before it writes
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

from artifactstore.bootstrap import open_registry
from artifactstore.registry.duties import Claim, Duty, Patience, run_due
from artifactstore.registry.duty_runner import DutyRunner

if TYPE_CHECKING:
    from artifactstore.registry.duties import Detail, Run
    from artifactstore.registry.registry import Registry

NAME = "test"
EVERY_S = 0.1
PATIENCE = Patience(heartbeat_s=0.2, runs_out_s=2.0)
TABLE = "CREATE TABLE ran (run TEXT PRIMARY KEY, claimed_at BIGINT NOT NULL, begun BIGINT NOT NULL, ended BIGINT)"


def begin(registry: Registry, claim: Claim) -> None:
    with registry.transaction() as tx:
        tx.connection.execute(
            "INSERT INTO ran (run, claimed_at, begun) VALUES (?, ?, ?)",
            (claim.holder, claim.started_at, time.monotonic_ns()),
        )


def end(registry: Registry, claim: Claim) -> None:
    with registry.transaction() as tx:
        tx.connection.execute("UPDATE ran SET ended = ? WHERE run = ?", (time.monotonic_ns(), claim.holder))


def do_a_little(registry: Registry, claim: Claim) -> Detail:
    begin(registry, claim)
    time.sleep(0.02)
    claim.check()
    end(registry, claim)
    return {}


def wait_for_a_line(registry: Registry, claim: Claim) -> Detail:
    begin(registry, claim)
    say("begun")
    sys.stdin.readline()
    end(registry, claim)
    return {}


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def tell(run: Run) -> None:
    code = type(run.error).__name__ if run.error else run.outcome
    say(code)


def often(registry: Registry) -> None:
    trouble = threading.Event()
    duty = Duty(NAME, EVERY_S, do_a_little)
    runner = DutyRunner(
        registry, [duty], tell=tell, trouble=lambda _: trouble.set(), look_every_s=0.03, patience=PATIENCE
    )
    runner.start()
    sys.stdin.read()
    assert runner.stop()
    assert not trouble.is_set()


def once(registry: Registry) -> None:
    for run in run_due(registry, [Duty(NAME, EVERY_S, wait_for_a_line)], patience=PATIENCE):
        tell(run)


if __name__ == "__main__":
    with closing(open_registry(actor="local:duties", upgrade=False)) as opened:
        {"often": often, "once": once}[sys.argv[1]](opened)
