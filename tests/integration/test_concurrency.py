"""Several processes at once, on one home."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import TYPE_CHECKING

import pytest

from artifactstore import failpoints
from artifactstore.bootstrap import open_registry
from artifactstore.catalog import sqlite
from artifactstore.config import Settings
from artifactstore.errors import CatalogUnavailableError
from artifactstore.registry.events import list_events
from artifactstore.registry.ingest import ingest
from artifactstore.registry.packages import list_packages
from artifactstore.registry.verify import verify_all
from artifactstore.testing.builders import package_draft, some_bytes
from tests.support import CliResult, event_types, replay_is_exact, start_cli, write_tree

if TYPE_CHECKING:
    from pathlib import Path

    from artifactstore.registry.registry import Registry

FILES = {f"f{n}": some_bytes(3000, n) for n in range(60)}


def at_once(home: Path, *commands: tuple[str, ...]) -> list[CliResult]:
    """Start every command before waiting for any."""
    processes = [start_cli(home, *command) for command in commands]
    return [CliResult(process) for process in processes]


def push(folder: Path, external_id: str) -> tuple[str, ...]:
    return ("push", str(folder), "--producer", "tester", "--external-id", external_id)


def check_whole(home: Path) -> list[str]:
    """The store is sound; the external ids in it."""
    registry = open_registry(Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)}))
    try:
        assert [] == verify_all(registry).damage
        replay_is_exact(registry)
        return sorted(str(package.external_id) for package in list_packages(registry, limit=1000))
    finally:
        registry.close()


def test_four_processes_ingesting_one_run_on_a_fresh_home_get_one_package(home: Path, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "run", FILES)

    answers = [answer.document for answer in at_once(home, *[push(folder, "one")] * 4)]

    assert 1 == len({answer["package_id"] for answer in answers})
    assert [False, True, True, True] == sorted(answer["reused_existing"] for answer in answers)
    assert ["one"] == check_whole(home)


def test_four_processes_ingesting_different_runs_all_succeed(home: Path, tmp_path: Path) -> None:
    folders = [write_tree(tmp_path / f"run-{n}", {**FILES, "own": b"%d" % n}) for n in range(4)]

    answers = at_once(home, *(push(folder, folder.name) for folder in folders))

    assert [0] * 4 == [answer.code for answer in answers]
    assert [f"run-{n}" for n in range(4)] == check_whole(home)


def test_one_name_with_different_content_from_several_processes_has_one_winner(home: Path, tmp_path: Path) -> None:
    folders = [write_tree(tmp_path / f"run-{n}", {"own": b"%d" % n}) for n in range(4)]

    answers = at_once(home, *(push(folder, "same") for folder in folders))

    assert [0, 1, 1, 1] == sorted(answer.code for answer in answers), [answer.stderr for answer in answers]
    assert all("RUN_CHANGED" in answer.stderr for answer in answers if answer.code)
    assert ["same"] == check_whole(home)


def test_threads_that_share_blobs_store_each_once(registry: Registry) -> None:
    shared = {f"shared-{n}": some_bytes(500, n) for n in range(30)}
    failures: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            for number in range(12):
                files = {**shared, "own": f"{worker}/{number}".encode()}
                ingest(registry, package_draft(files, external_id=f"{worker}-{number}"))
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == failures
    with registry.catalog.snapshot() as queries:
        ((blobs,),) = queries.connection.execute("SELECT count(*) FROM blob")
    assert 30 + 72 == blobs
    assert list(range(1, 4 * 72 + 1)) == [event.seq for event in list_events(registry, limit=10_000)]
    replay_is_exact(registry)
    assert [] == verify_all(registry).damage


@pytest.mark.parametrize("held_s", [0.1, 1.0])
def test_a_lock_held_for_a_while_is_waited_for(registry: Registry, home: Path, held_s: float) -> None:
    ingest(registry, package_draft())
    other = sqlite3.connect(home / "artifactstore.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(held_s, lambda: other.execute("ROLLBACK"))
    release.start()

    ingest(registry, package_draft(external_id="run-2"))

    release.join()
    other.close()
    assert 8 == len(event_types(registry))


def test_a_lock_held_too_long_is_an_error_that_may_be_retried(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.2)
    registry = open_registry(Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)}))
    other = sqlite3.connect(home / "artifactstore.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(CatalogUnavailableError) as caught:
        ingest(registry, package_draft())

    assert caught.value.retryable
    other.close()
    ingest(registry, package_draft())
    registry.close()


def test_a_database_that_is_busy_when_all_is_stored_is_asked_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.2)
    registry = open_registry(Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)}))
    other = sqlite3.connect(home / "artifactstore.db", isolation_level=None, check_same_thread=False)
    release = threading.Timer(0.3, lambda: other.execute("ROLLBACK"))
    passed: list[str] = []

    def get_in_the_way(name: str) -> None:
        passed.append(name)
        if name == "record.before-transaction":
            other.execute("BEGIN IMMEDIATE")
            release.start()

    failpoints.arm(get_in_the_way)
    try:
        ingest(registry, package_draft())
    finally:
        failpoints.arm(None)

    release.join()
    other.close()
    assert 1 == passed.count("store.before-manifest"), "nothing is stored twice"
    assert 4 == len(event_types(registry))
    registry.close()


def test_readers_do_not_wait_for_a_writer(registry: Registry) -> None:
    ingest(registry, package_draft())

    with registry.transaction():
        started = time.monotonic()
        packages = list_packages(registry, limit=10)

    assert 1 == len(packages)
    assert time.monotonic() - started < sqlite.BUSY_TIMEOUT_S / 2


WRITER = """
import sys
from artifactstore.bootstrap import open_registry
from artifactstore.registry.retention import place_hold

registry = open_registry()
for number in range(int(sys.argv[2])):
    place_hold(registry, sys.argv[1], reason=f"{number}")
registry.close()
"""


def test_eight_processes_of_a_hundred_transactions_each_lose_none(home: Path, tmp_path: Path) -> None:
    (tmp_path / "writer.py").write_text(WRITER)
    package_id = at_once(home, push(write_tree(tmp_path / "run", FILES), "one"))[0].document["package_id"]

    program = (str(tmp_path / "writer.py"),)
    processes = [start_cli(home, package_id, "100", program=program) for _ in range(8)]
    answers = [CliResult(process) for process in processes]

    assert [0] * 8 == [answer.code for answer in answers], [answer.stderr for answer in answers]
    registry = open_registry(Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)}))
    assert 4 + 800 == replay_is_exact(registry).events
    registry.close()
