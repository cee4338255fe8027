"""The same and different observations from many threads and processes: each thing once, with one event."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore import failpoints
from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.errors import ConcurrentUpdateError
from artifactstore.registry.observing import record_observation
from artifactstore.testing.builders import package_draft
from tests.observing import GIVEN, all_there_is, context_on, host_on, installed, message, rows_of
from tests.observing_process import CALLS, SOURCES, observe_at_once
from tests.service import clean_environment
from tests.support import event_types, replay_is_exact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artifactstore.domain.provenance import IngestInput, IngestResult
    from artifactstore.registry.registry import Registry
    from tests.observing_process import Answer
    from tests.postgres_server import PostgresServer

ROUNDS = 200 if os.environ.get("LONG") else 3


def check_each_once(registry: Registry, answers: list[Answer], seed: int) -> None:
    """Whoever was first was told so, and nobody else; the tables have one row and the log one event for each."""
    told: list[dict[Any, list[Any]]] = [defaultdict(list) for _ in range(3)]
    for source, is_new, envelope, envelope_is_new, package, package_is_new in answers:
        told[0][source].append(is_new)
        told[1][envelope].append(envelope_is_new)
        if package is not None:
            told[2][package].append(package_is_new)
    assert {1} == {flags.count(True) for kind in told for flags in kind.values()}, seed

    sources, envelopes, packages = map(len, told)
    links = len({(envelope, package) for _, _, envelope, _, package, _ in answers if package is not None})
    tables = ("source", "envelope", "package", "package_observation")
    assert [sources, envelopes, packages, links] == [len(rows_of(registry, table)) for table in tables], seed
    types = Counter(kind for _, _, kind, *_ in rows_of(registry, "event"))
    assert [sources, envelopes, envelopes, packages, links] == [
        types[name]
        for name in (
            "v1.source.indexed", "v1.core.envelope_indexed", "v1.core.ingested", "v1.package.finalized",
            "v1.package.observed",
        )
    ], seed  # fmt: skip
    replay_is_exact(registry)


def test_threads_that_observe_the_same_record_each_thing_once(registry: Registry) -> None:
    """The order is drawn anew each time and the seed is in the failure."""
    seed = random.randrange(2**32)

    answers = observe_at_once(registry, seed, ROUNDS, threads=6)

    assert 6 * ROUNDS * CALLS == len(answers)
    check_each_once(registry, answers, seed)
    assert ROUNDS * SOURCES == len(rows_of(registry, "source"))


def test_processes_that_observe_the_same_record_each_thing_once(
    registry: Registry, home: Path, database: dict[str, str]
) -> None:
    seed = random.randrange(2**32)
    environment = {**clean_environment(), "ARTIFACTSTORE_HOME": str(home), **database}
    with started(environment, [("many", str(seed + 100 * n), str(ROUNDS), "2") for n in range(3)]) as processes:
        assert ["ready\n"] * 3 == [each.stdout.readline() for each in processes if each.stdout]
        for each in processes:
            assert each.stdin is not None
            each.stdin.write("\n")
            each.stdin.flush()
        answers = [answer for each in processes for answer in json.loads(each.communicate(timeout=600)[0])]

    assert 3 * 2 * ROUNDS * CALLS == len(answers)
    check_each_once(registry, answers, seed)


@contextmanager
def started(environment: dict[str, str], commands: list[tuple[str, ...]]) -> Iterator[list[subprocess.Popen[str]]]:
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.observing_process", *command],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for command in commands
    ]  # fmt: skip
    try:
        yield processes
    finally:
        for each in processes:
            if each.poll() is None:
                each.kill()
            each.communicate(timeout=60)


# races with a known end


@pytest.fixture
def on_postgres(home: Path, postgres: PostgresServer) -> Iterator[Registry]:
    """Where two transactions can be open at once; on SQLite writers wait for each other before they look."""
    with postgres.database() as url:
        settings = Settings.from_environment({"ARTIFACTSTORE_HOME": str(home), "ARTIFACTSTORE_DATABASE_URL": url})
        with closing(open_registry(settings)) as registry:
            yield registry


class Rivals:
    """Other writers, each with an observation that is recorded and not committed until somebody waits for it."""

    def __init__(self, registry: Registry, *observations: IngestInput) -> None:
        self._registry = registry.acting_as("plugin:mailbox@2.7.1")
        self._observations = list(observations)
        self._threads: list[threading.Thread] = []
        self.begun = 0
        self.failed: list[BaseException] = []

    def begin_next(self) -> None:
        """Returns when the next of them, if there is one, has written its rows."""
        self.begun += 1
        if self._observations:
            written = threading.Event()
            thread = threading.Thread(target=self._hold, args=(self._observations.pop(0), written))
            self._threads.append(thread)
            thread.start()
            assert written.wait(60)

    def end(self) -> None:
        for thread in self._threads:
            thread.join(60)
        assert [] == self.failed

    def _hold(self, given: IngestInput, written: threading.Event) -> None:
        try:
            with self._registry.transaction() as tx:
                observed = host_on(self._registry).observed(given, installed().provenance)
                record_observation(tx, self._registry, observed)
                written.set()
                self._until_somebody_waits()
        except BaseException as error:  # noqa: BLE001 - shown at the end
            self.failed.append(error)

    def _until_somebody_waits(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with self._registry.catalog.snapshot() as queries:
                ((waiting,),) = queries.connection.execute(
                    "SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted"
                )
            if waiting:
                return
            time.sleep(0.01)
        raise AssertionError("nobody came")


def raced(
    registry: Registry, at: str, rivals: list[IngestInput], given: IngestInput, **changed: Any
) -> tuple[IngestResult | ConcurrentUpdateError, int]:
    """What a call is answered whose every pass of a failpoint begins a rival, and how often it passed."""
    others = Rivals(registry, *rivals)

    def pass_by(name: str) -> None:
        if name == at:
            others.begin_next()

    failpoints.arm(pass_by)
    try:
        context = context_on(registry)
        answer: IngestResult | ConcurrentUpdateError = context.ingest(
            source=given.source, envelope=given.envelope, parties=given.parties, **changed
        )
    except ConcurrentUpdateError as error:
        answer = error
    finally:
        failpoints.arm(None)
        others.end()
    return answer, others.begun


def created(result: Any) -> list[bool]:
    return [result.source.was_created, result.envelope.was_created]


BEFORE = "observe.before-transaction"
MINE, HERS = message(1), message(2)


def test_a_lost_race_is_run_again_and_finds_what_the_winner_wrote(on_postgres: Registry) -> None:
    answer, passed = raced(on_postgres, BEFORE, [GIVEN], GIVEN)

    assert ([False, False], 2) == (created(answer), passed)
    assert 3 == len(event_types(on_postgres))
    replay_is_exact(on_postgres)


def test_a_race_for_the_source_alone_is_run_again_and_records_the_envelope(on_postgres: Registry) -> None:
    answer, passed = raced(on_postgres, BEFORE, [HERS], MINE)

    assert ([False, True], 2) == (created(answer), passed)
    assert [1, 2] == [len(rows_of(on_postgres, table)) for table in ("source", "envelope")]
    assert 5 == len(event_types(on_postgres))
    replay_is_exact(on_postgres)


def test_without_another_attempt_a_lost_race_is_told_and_nothing_is_recorded(on_postgres: Registry, home: Path) -> None:
    answer, passed = raced(replace(on_postgres, race_retries=0), BEFORE, [HERS], MINE)

    assert isinstance(answer, ConcurrentUpdateError)
    assert ("CONCURRENT_UPDATE", True, 1) == (answer.code, answer.retryable, passed)
    assert [1, 1, 2] == [all_there_is(on_postgres, home)[table] for table in ("source", "envelope", "party")]
    replay_is_exact(on_postgres)


def test_the_race_for_each_of_the_two_keys_is_run_again_once(on_postgres: Registry) -> None:
    """The first is lost for the source, the second for the envelope."""
    answer, passed = raced(replace(on_postgres, race_retries=1), BEFORE, [HERS, MINE], MINE)

    assert ([False, False], 3) == (created(answer), passed)
    assert [1, 2] == [len(rows_of(on_postgres, table)) for table in ("source", "envelope")]
    replay_is_exact(on_postgres)


def test_a_package_whose_observation_lost_a_race_is_recorded_once_with_it(on_postgres: Registry) -> None:
    answer, passed = raced(on_postgres, "record.before-transaction", [MINE], MINE, package=package_draft())

    assert not isinstance(answer, ConcurrentUpdateError)
    assert ([False, False], 2) == (created(answer), passed)
    assert answer.package is not None
    assert answer.package.was_created
    assert [1, 1, 1] == [len(rows_of(on_postgres, table)) for table in ("envelope", "package", "package_observation")]
    replay_is_exact(on_postgres)
