"""Duties among several processes: never two at once, taken over from the dead, and by whole servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, closing, contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from artifactstore.registry.duties import Duty, run_if_due
from artifactstore.registry.store_duties import ALL
from tests import duty_process
from tests.duty_process import EVERY_S, PATIENCE, TABLE
from tests.service import clean_environment, make_tokens, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry
    from tests.postgres_server import PostgresServer
    from tests.service import Server

Row = tuple[str, int, int, int | None]
RUNS = 300 if os.environ.get("LONG") else 20


@pytest.fixture
def environment(home: Path, database: dict[str, str], registry: Registry) -> Iterator[dict[str, str]]:
    """A store with the test's own table, and what makes another process work on it."""
    with registry.transaction() as tx:
        tx.connection.execute(TABLE)
    yield {**clean_environment(), "ARTIFACTSTORE_HOME": str(home), **database}
    with registry.transaction() as tx:
        tx.connection.execute("DROP TABLE ran")


@contextmanager
def process(environment: dict[str, str], how: str) -> Iterator[subprocess.Popen[str]]:
    """One of the test's processes; it is over when the context is left."""
    started = subprocess.Popen(
        [sys.executable, "-m", "tests.duty_process", how],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield started
    finally:
        if started.poll() is None:
            started.kill()
        started.communicate(timeout=60)


def rows(registry: Registry) -> list[Row]:
    """What the duty wrote, in the order in which its runs began."""
    with registry.catalog.snapshot() as queries:
        found = list(queries.connection.execute("SELECT run, claimed_at, begun, ended FROM ran ORDER BY begun"))
    return [(run, claimed_at, begun, ended) for run, claimed_at, begun, ended in found]


def comes_true(look: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not (seen := look()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return seen


def test_three_processes_run_a_duty_once_an_interval_and_never_at_once(
    registry: Registry, environment: dict[str, str]
) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(process(environment, "often")) for _ in range(3)]
        assert comes_true(lambda: len(ran := rows(registry)) >= RUNS and len(processes_of(ran)) > 1)
        said = [each.communicate("", timeout=60)[0].split() for each in processes]

    ran = rows(registry)
    assert [0, 0, 0] == [each.returncode for each in processes]
    whole = [(begun, ended) for _, _, begun, ended in ran if ended is not None]
    words = [word for answer in said for word in answer]
    assert (len(whole), set()) == (words.count("done"), set(words) - {"done", "interrupted"})
    assert all(ended <= begun for (_, ended), (begun, _) in pairwise(whole))
    claimed = [claimed_at for _, claimed_at, _, ended in ran if ended is not None]
    assert all(later - earlier >= EVERY_S * 1_000_000 for earlier, later in pairwise(claimed))


def processes_of(ran: list[Row]) -> set[str]:
    return {run.partition("#")[0] for run, *_ in ran}


def begun(one: subprocess.Popen[str]) -> bool:
    assert one.stdout is not None
    return one.stdout.readline() == "begun\n"


def test_a_duty_whose_process_is_killed_is_taken_over_when_its_claim_has_run_out(
    registry: Registry, environment: dict[str, str]
) -> None:
    duty = Duty(duty_process.NAME, EVERY_S, duty_process.do_a_little)
    with process(environment, "once") as dead:
        assert begun(dead)
        alive = run_if_due(registry, duty, patience=PATIENCE)
        dead.send_signal(signal.SIGKILL)
        dead.wait(60)
        at_once = run_if_due(registry, duty, patience=PATIENCE)

        taken_over = comes_true(lambda: run_if_due(registry, duty, patience=PATIENCE) is not None)

    assert (None, None, True) == (alive, at_once, taken_over)
    ended = [ended is not None for *_, ended in rows(registry)]
    assert [False, True] == ended


def test_a_process_that_was_stopped_for_too_long_wakes_up_and_cannot_write(
    registry: Registry, environment: dict[str, str]
) -> None:
    duty = Duty(duty_process.NAME, 3600, duty_process.do_a_little)
    with process(environment, "once") as sleeper:
        assert begun(sleeper)
        sleeper.send_signal(signal.SIGSTOP)
        assert comes_true(lambda: run_if_due(registry, duty, patience=PATIENCE) is not None)
        sleeper.send_signal(signal.SIGCONT)
        said, _ = sleeper.communicate("go on\n", timeout=60)

    slept, took_over = rows(registry)
    assert "ClaimLostError\n" == said
    assert (None, True) == (slept[3], took_over[3] is not None)
    assert [] == [each for each in held(registry) if each is not None]


def held(registry: Registry) -> list[str | None]:
    with registry.catalog.snapshot() as queries:
        return [holder for (holder,) in queries.connection.execute("SELECT holder FROM duty")]


# servers


@pytest.fixture(scope="module")
def three(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Three servers, one of them of two processes, on one database and one directory."""
    home = tmp_path_factory.mktemp("three") / "home"
    with postgres.database() as url:
        environment = {"ARTIFACTSTORE_DATABASE_URL": url}
        tokens = make_tokens(home, environment)
        with ExitStack() as stack:
            yield [
                stack.enter_context(serving(home, "--workers", workers, tokens=tokens, environment=environment))
                for workers in ("1", "1", "2")
            ]


def duties_of(server: Server) -> dict[str, dict[str, object]]:
    return {duty["name"]: duty for duty in server.ask("GET", "/status").json["duties"]}


def runs(servers: list[Server], name: str) -> int:
    lines = [json.loads(line) for server in servers for line in list(server.log)]
    return sum(1 for line in lines if line["event"] == "duty" and line["duty"] == name)


def test_of_three_servers_one_does_each_duty_and_all_say_the_same_of_it(three: list[Server]) -> None:
    assert comes_true(lambda: all(duties_of(three[0])[name]["outcome"] for name in ("sweep", "expire-pushes")))
    assert comes_true(lambda: runs(three, "sweep") > 0 and runs(three, "expire-pushes") > 0)

    said = [duties_of(server) for server in three]

    assert said[0]["sweep"] == said[1]["sweep"] == said[2]["sweep"]
    assert 1 == runs(three, "sweep")
    assert ("done", {"expired": 0}, False) == tuple(said[0]["sweep"][key] for key in ("outcome", "detail", "overdue"))
    assert {"waiting"} == {duty["state"] for duty in said[0].values()}
    assert [duty.name for duty in ALL] == list(said[0])


def test_every_process_of_every_server_tells_when_a_duty_was_last_done(three: list[Server]) -> None:
    assert comes_true(lambda: duties_of(three[0])["sweep"]["succeeded_at"] is not None)

    told = [
        {
            (sample.name, sample.labels["duty"]): sample.value
            for family in text_string_to_metric_families(server.ask("GET", "/metrics").body.decode())
            for sample in family.samples
            if "duty" in sample.labels
        }
        for server in [*three, three[2], three[2]]
    ]

    name = "artifactstore_duty_last_success_timestamp_seconds"
    assert 1 == len({each[name, "sweep"] for each in told})
    assert told[0][name, "sweep"] > 1_700_000_000
    assert (0, 0) == (told[0][name, "verify"], told[0]["artifactstore_duty_failures", "sweep"])


def test_a_server_that_ends_gives_its_duties_free(home: Path) -> None:
    with serving(home) as server:
        assert comes_true(lambda: duties_of(server)["sweep"]["outcome"] == "done")

    with closing(server.registry()) as registry:
        assert [None] * len(ALL) == held(registry)
