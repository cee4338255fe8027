"""A scrub whose processes are killed, and which is paused, over and over: it still reads everything in every round.

Whatever is damaged before a round begins is recorded when that round has ended, whatever was mended is recorded too,
and nothing else is. Some ten seconds; with ``LONG`` an hour over 10,000 blobs.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, closing
from itertools import cycle
from typing import TYPE_CHECKING

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.registry.ingest import ingest
from artifactstore.registry.read_back import key_of
from artifactstore.registry.scrubbing import pause_scrub, resume_scrub, scrub_status
from artifactstore.registry.verify import verify_all
from artifactstore.testing.builders import package_draft
from tests.ledger import LONG, tell
from tests.service import clean_environment
from tests.support import flip_byte, replay_is_exact

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from artifactstore.catalog.records import ObjectRecord
    from artifactstore.registry.registry import Registry

SECONDS, ROUNDS, PACKAGES = (3_600, 50, 1_000) if LONG else (8, 2, 40)
SCRUBBERS = 2
RATE = 8 * 2**20 if LONG else 2**20
PATIENCE_S = 300
_PAUSE_S = 0.3
_SHARE_OF_TURNS = 0.03 if LONG else 0.15


class Damages:
    """What was done to stored bytes, when, and whether rounds have seen it. Objects are named by their paths."""

    def __init__(self, registry: Registry, home: Path, drawn: random.Random) -> None:
        self.counted = Counter[str]()
        self._registry = registry
        self._home = home
        self._drawn = drawn
        self._flipped: dict[str, int] = {}
        self._changed_at: dict[str, int] = {}

    @property
    def bad(self) -> set[str]:
        """The objects that are damaged now."""
        return set(self._flipped)

    @property
    def unseen(self) -> int:
        """How many were changed and no round has seen it."""
        return len(self._changed_at)

    def damage_one(self) -> None:
        """Flip a byte of an object that is sound."""
        path, found = self._drawn.choice([each for each in self._objects().items() if each[0] not in self._flipped])
        self._flipped[path] = self._drawn.randrange(found.size_bytes)
        self._flip(path, self._flipped[path])

    def mend_one(self) -> None:
        """Flip back one whose damage a round has seen."""
        if seen := [path for path in self._flipped if path not in self._changed_at]:
            path = self._drawn.choice(seen)
            self._flip(path, self._flipped.pop(path))
            self.counted["mended"] += 1

    def check_round(self, began_at: int) -> None:
        """Raises unless what was changed before a round that has ended is recorded as it is, and nothing else is."""
        statuses = {path: found.status for path, found in self._objects().items()}
        for path in [path for path, at in self._changed_at.items() if at < began_at]:
            assert statuses[path] == ("damaged" if path in self._flipped else "live"), (path, began_at)
            del self._changed_at[path]
            self.counted["changes seen"] += 1
        bad = {path for path, status in statuses.items() if status != "live"}
        assert bad <= self._flipped.keys() | self._changed_at.keys()

    def _flip(self, path: str, offset: int) -> None:
        flip_byte(self._home / "objects" / path, offset)
        self._changed_at[path] = self._registry.clock()

    def _objects(self) -> dict[str, ObjectRecord]:
        with self._registry.catalog.snapshot() as queries:
            return {key_of(found).path: found for found in queries.objects(after=0, limit=10**6)}


class Scrubbers:
    """Processes that scrub the store, each of which may be killed at any moment."""

    def __init__(self, home: Path, started: ExitStack) -> None:
        self._home = home
        self._started = started
        self._processes = [self._start() for _ in range(SCRUBBERS)]

    def kill_one(self, drawn: random.Random) -> None:
        """SIGKILL; another takes its place."""
        at = drawn.randrange(len(self._processes))
        self._processes[at].kill()
        self._processes[at].wait()
        self._processes[at] = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.scrubbing_process", str(RATE)],
            env={**clean_environment(), "ARTIFACTSTORE_HOME": str(self._home)},
            stdin=subprocess.PIPE,
        )
        self._started.callback(process.communicate)
        self._started.callback(process.kill)
        return process


def store_one(registry: Registry, drawn: random.Random, number: int) -> None:
    """A package of ten files nobody else has; of every tenth package one is large."""
    sizes = [2_000] * 9 + [300_000 if number % 10 == 0 else 2_000]
    files = {str(at): drawn.randbytes(size) for at, size in enumerate(sizes)}
    ingest(registry, package_draft(files, external_id=f"run-{number}"))


def test_every_round_reads_everything_whoever_is_killed_and_whenever_it_is_paused(
    home: Path, request: pytest.FixtureRequest
) -> None:
    drawn = random.Random(7)
    with ExitStack() as started:
        registry = started.enter_context(
            closing(open_registry(Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)}), actor="local:tester"))
        )
        for number in range(PACKAGES):
            store_one(registry, drawn, number)
        damages, scrubbers = Damages(registry, home, drawn), Scrubbers(home, started)
        acts = {
            "kills": lambda: scrubbers.kill_one(drawn),
            "pauses": lambda: pause_and_resume(registry),
            "damages": damages.damage_one,
            "mendings": damages.mend_one,
            "packages": lambda: store_one(registry, drawn, PACKAGES + damages.counted["packages"]),
        }
        turns = cycle(acts)
        until, rounds, began_at, ended_at = time.monotonic() + SECONDS, 0, 0, None
        while time.monotonic() < until or rounds < ROUNDS or damages.unseen:
            assert time.monotonic() < until + PATIENCE_S, f"rounds do not end any more: {rounds}, {damages.counted}"
            status = scrub_status(registry)
            if status.ended_at is not None and status.ended_at != ended_at:
                ended_at = status.ended_at
                rounds += 1
                damages.check_round(began_at)
            began_at = max(began_at, status.began_at or 0)
            goes_on = time.monotonic() < until or rounds < ROUNDS
            if goes_on and drawn.random() < _SHARE_OF_TURNS:
                act = next(turns)
                acts[act]()
                damages.counted[act] += 1
            time.sleep(0.05)
    with closing(open_registry(Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)}))) as registry:
        assert {each.object_key for each in verify_all(registry).damage} == damages.bad
        replay_is_exact(registry)
    assert min(damages.counted[name] for name in (*acts, "changes seen")) > 0, damages.counted
    tell(request, f"{rounds} rounds; {dict(sorted(damages.counted.items()))}")


def pause_and_resume(registry: Registry) -> None:
    """A moment in which nobody reads."""
    pause_scrub(registry)
    time.sleep(_PAUSE_S)
    resume_scrub(registry)
