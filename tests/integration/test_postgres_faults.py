"""PostgreSQL that restarts, ends connections or loses answers: what was acknowledged is there."""

from __future__ import annotations

import signal
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest

from artifactstore import failpoints
from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.errors import CatalogUnavailableError, ConcurrentUpdateError
from artifactstore.registry.events import list_events
from artifactstore.registry.idempotency import Attempt
from artifactstore.registry.ingest import ingest
from artifactstore.registry.packages import find_package, list_packages
from artifactstore.registry.retention import place_hold
from artifactstore.registry.verify import verify_all
from artifactstore.testing.builders import package_draft, some_bytes
from tests.at_once import at_once
from tests.postgres_proxy import LostCommit, NowAndThen, is_commit, proxied
from tests.support import replay_is_exact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry
    from tests.postgres_server import PostgresServer

STEPS = (
    "record.before-transaction",
    "catalog.after-v1.package.opened",
    "catalog.after-v1.package.files_added",
    "catalog.after-v1.package.finalized",
    "catalog.before-commit",
    "catalog.after-commit",
    "record.before-answer",
)


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    with postgres.database() as url:
        yield url


@pytest.fixture
def store(url: str, home: Path) -> Iterator[Registry]:
    with closing(opened(url, home)) as registry:
        yield registry


def opened(url: str, home: Path) -> Registry:
    return open_registry(
        Settings.from_environment({"ARTIFACTSTORE_HOME": str(home), "ARTIFACTSTORE_DATABASE_URL": url}),
        actor="local:tester",
    )


@pytest.fixture
def at_step() -> Iterator[Callable[[str, Callable[[], object]], list[str]]]:
    """Have something happen once, at a failpoint, from the record on; the names of all that were passed."""
    passed: list[str] = []
    happened: list[str] = []

    def arm(step: str, happen: Callable[[], object]) -> list[str]:
        def pass_by(name: str) -> None:
            passed.append(name)
            if name == step and "record.before-transaction" in passed and not happened:
                happened.append(step)
                happen()

        failpoints.arm(pass_by)
        return passed

    yield arm
    failpoints.arm(None)


def is_one_whole_package(registry: Registry) -> bool:
    assert [] == verify_all(registry).damage
    assert 4 == replay_is_exact(registry).events
    return 1 == len(list_packages(registry, limit=10))


def test_the_service_goes_on_after_a_restart(store: Registry, postgres: PostgresServer) -> None:
    at_once(5, lambda _: list_packages(store, limit=1))

    postgres.restart()

    ingest(store, package_draft())
    assert is_one_whole_package(store)


def test_while_the_server_is_down_calls_fail_at_once_and_may_be_repeated(
    store: Registry, postgres: PostgresServer
) -> None:
    ingest(store, package_draft())
    postgres.stop()
    try:
        with pytest.raises(CatalogUnavailableError) as caught:
            ingest(store, package_draft())
    finally:
        postgres.start()

    assert caught.value.retryable
    assert ingest(store, package_draft()).reused_existing


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "without a goodbye"])
@pytest.mark.parametrize("step", ["catalog.after-v1.package.files_added", "catalog.before-commit"])
def test_a_restart_in_the_middle_of_the_record_is_survived_by_the_same_call(
    store: Registry,
    postgres: PostgresServer,
    at_step: Callable[[str, Callable[[], object]], list[str]],
    step: str,
    how: int,
) -> None:
    passed = at_step(step, lambda: postgres.restart(how))

    ingest(store, package_draft())

    assert 1 == passed.count("store.before-manifest"), "nothing is stored twice"
    assert is_one_whole_package(store)


@pytest.mark.parametrize("step", STEPS)
def test_connections_that_are_ended_lose_nothing(
    store: Registry,
    url: str,
    postgres: PostgresServer,
    at_step: Callable[[str, Callable[[], object]], list[str]],
    step: str,
) -> None:
    def end_all() -> None:
        with postgres.asked(url) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    passed = at_step(step, end_all)

    receipt = ingest(store, package_draft())

    assert step in passed
    assert receipt.package_id == ingest(store, package_draft()).package_id
    assert is_one_whole_package(store)


@pytest.mark.parametrize("answer_only", [True, False], ids=["the answer is lost", "the question is lost"])
def test_a_commit_that_is_lost_on_the_way_is_looked_up_or_repeated(
    url: str, home: Path, postgres: PostgresServer, answer_only: bool
) -> None:
    class LostRecord(LostCommit):
        """The commit of the record, which comes after that of the lease."""

        commits = 0

        def of_question(self, data: bytes) -> bool:
            self.commits += is_commit(data)
            return self.commits == 2 and super().of_question(data)

    fate = LostRecord(answer_only=answer_only)
    with proxied(url, postgres.folder, fate) as through, closing(opened(through, home)) as registry:
        receipt = ingest(registry, package_draft())

        assert 1 == fate.hits
        assert answer_only == receipt.reused_existing
        assert is_one_whole_package(registry)


def test_a_request_whose_answer_was_lost_has_one_effect_if_it_has_a_key(
    store: Registry, url: str, home: Path, postgres: PostgresServer
) -> None:
    package_id = ingest(store, package_draft()).package_id
    attempt = Attempt("token:ci", "key-1", bytes(32))
    fate = LostCommit(answer_only=True)
    with proxied(url, postgres.folder, fate) as through, closing(opened(through, home)) as registry:
        with pytest.raises(CatalogUnavailableError):
            place_hold(registry, package_id, reason="audit", attempt=attempt)

        hold_id = place_hold(registry, package_id, reason="audit", attempt=attempt)

    assert [hold_id] == [hold.hold_id for hold in find_package(store, package_id)[1]]


@pytest.mark.parametrize("seed", range(3))
def test_a_line_that_breaks_now_and_then_loses_nothing_that_was_acknowledged(
    store: Registry, url: str, home: Path, postgres: PostgresServer, seed: int
) -> None:
    fate = NowAndThen(seed, one_in=100)
    acknowledged: dict[str, str] = {}

    def store_ten(worker: int) -> None:
        for number in range(10):
            name = f"{worker} {number}"
            files = {"shared": some_bytes(300, number), "own": name.encode()}
            while name not in acknowledged:
                with suppress(CatalogUnavailableError, ConcurrentUpdateError):
                    acknowledged[name] = ingest(registry, package_draft(files, external_id=name)).package_id

    with proxied(url, postgres.folder, fate) as through, closing(retrying(lambda: opened(through, home))) as registry:
        assert [None] * 4 == at_once(4, store_ten)

    found = {str(package.external_id): package.package_id for package in list_packages(store, limit=100)}
    assert fate.hits >= 10
    assert acknowledged == found
    assert list(range(1, 161)) == [event.seq for event in list_events(store, limit=1000)]
    assert [] == verify_all(store).damage
    replay_is_exact(store)


def retrying(call: Callable[[], Registry]) -> Registry:
    while True:
        try:
            return call()
        except CatalogUnavailableError:
            continue
