"""Subscriptions among processes that are killed, and among several at once: in order, at least once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from artifactstore.registry.status import subscription_statuses
from tests.integration.test_subscriptions import comes_true, record, row
from tests.service import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry

KILLS = 100 if os.environ.get("LONG") else 4
EVENTS = 3_000 if os.environ.get("LONG") else 300
LIVES_S = (0.0, 0.15)
BATCH = 6


@pytest.fixture
def environment(home: Path, database: dict[str, str], registry: Registry) -> dict[str, str]:
    return {**clean_environment(), "ARTIFACTSTORE_HOME": str(home), **database}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Where the processes write down what they were told."""
    return tmp_path / "told"


@contextmanager
def delivering(environment: dict[str, str], written: Path, *how: str) -> Iterator[subprocess.Popen[str]]:
    """A process that delivers; it is over when the context is left."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.subscription_process", str(written), *how],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=60)


def told(written: Path) -> list[tuple[int, int]]:
    """(process, sequence number) of every line so far."""
    lines = written.read_text().splitlines() if written.exists() else []
    return [(int(process), int(seq)) for process, seq in map(str.split, lines)]


def seqs(written: Path) -> list[int]:
    return [seq for _, seq in told(written)]


def without_repeats(told_: list[int]) -> list[int]:
    """Each event once, if one that came again came at once: anything else stays to be seen."""
    return [seq for number, seq in enumerate(told_) if number == 0 or told_[number - 1] != seq]


def test_an_event_that_was_being_delivered_when_the_process_died_comes_again_and_no_other(
    registry: Registry, environment: dict[str, str], written: Path
) -> None:
    record(registry, *(f"s{number}" for number in range(5)))

    with delivering(environment, written, "die", "3") as dies:
        died = dies.wait(60)
    with delivering(environment, written) as goes_on:
        assert comes_true(lambda: row(registry).position == 5)
        goes_on.communicate("", timeout=60)

    assert (-signal.SIGKILL, 0) == (died, goes_on.returncode)
    assert [1, 2, 3, 3, 4, 5] == seqs(written)


def test_whenever_the_process_is_killed_every_event_comes_in_order_and_only_the_last_one_again(
    registry: Registry, environment: dict[str, str], written: Path
) -> None:
    chance = random.Random(7)
    everything = list(range(1, EVENTS + 1))
    record(registry, *map(str, everything))
    for _ in range(KILLS):
        before = len(told(written))
        with delivering(environment, written) as process:
            assert comes_true(lambda: len(told(written)) > before or seqs(written)[-1:] == [EVENTS])  # noqa: B023
            time.sleep(chance.uniform(*LIVES_S))
            process.send_signal(signal.SIGKILL)

    with delivering(environment, written) as last:
        assert comes_true(lambda: row(registry).position == EVENTS)
        last.communicate("", timeout=60)

    assert everything == without_repeats(seqs(written))
    assert EVENTS <= len(seqs(written)) <= EVENTS + KILLS


def test_of_three_processes_one_is_told_each_event_and_in_order(
    registry: Registry, environment: dict[str, str], written: Path
) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(delivering(environment, written)) for _ in range(3)]
        assert comes_true(lambda: bool(subscription_statuses(registry, [])))
        chance, last = random.Random(7), 0
        while last < EVENTS or (len({process for process, _ in told(written)}) < 2 and last < 20 * EVENTS):
            record(registry, *(f"s{number}" for number in range(last, last + BATCH)))
            last += BATCH
            assert comes_true(lambda: row(registry).position >= last - BATCH)  # noqa: B023
            time.sleep(chance.uniform(0, 0.03))
        assert comes_true(lambda: row(registry).position == last)
        for process in processes:
            process.communicate("", timeout=60)

    assert [0, 0, 0] == [process.returncode for process in processes]
    assert list(range(1, last + 1)) == seqs(written)
    assert len({process for process, _ in told(written)}) > 1


def test_one_that_was_suspended_for_too_long_tells_one_event_late_and_moves_nothing(
    registry: Registry, environment: dict[str, str], written: Path
) -> None:
    record(registry, *map(str, range(1, 11)))
    with ExitStack() as stack:
        sleeper = stack.enter_context(delivering(environment, written, "hold", "4"))
        assert sleeper.stdout is not None
        assert sleeper.stdin is not None
        assert "holding\n" == sleeper.stdout.readline()
        other = stack.enter_context(delivering(environment, written))
        assert comes_true(lambda: row(registry).position == 10)
        sleeper.stdin.write("go on\n")
        sleeper.stdin.flush()
        assert comes_true(lambda: len(told(written)) == 11)
        record(registry, "more")
        assert comes_true(lambda: row(registry).position == 11)
        for each in (sleeper, other):
            each.communicate("", timeout=60)

    assert [0, 0] == [sleeper.returncode, other.returncode]
    assert [*range(1, 4), *range(4, 11), 4, 11] == seqs(written)
    assert {sleeper.pid} == {process for process, _ in told(written)[:3]}
    assert [other.pid] * 7 + [sleeper.pid] == [process for process, _ in told(written)[3:11]]
