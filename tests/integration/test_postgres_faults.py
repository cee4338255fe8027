"""PostgreSQL that restarts, ends connections or loses answers: what was acknowledged is there."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from artifactstore import failpoints
from artifactstore.bootstrap import open_database, open_registry
from artifactstore.catalog.catalog import Catalog
from artifactstore.catalog.database import DatabaseLimits
from artifactstore.client import Client
from artifactstore.config import Settings
from artifactstore.domain.instant import system_clock
from artifactstore.errors import CatalogUnavailableError, ConcurrentUpdateError
from artifactstore.registry.events import list_events
from artifactstore.registry.idempotency import Attempt
from artifactstore.registry.ingest import ingest
from artifactstore.registry.packages import find_package, list_packages
from artifactstore.registry.retention import place_hold
from artifactstore.registry.verify import verify_all
from artifactstore.testing.builders import package_draft, some_bytes
from tests.at_once import at_once, kinds
from tests.ledger import LONG, Ledger, tell
from tests.postgres_proxy import CutAt, Fate, LostCommit, NowAndThen, is_commit, proxied
from tests.pushing_in_process import push_all
from tests.service import make_tokens, serving
from tests.support import fetch, replay_is_exact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from artifactstore.domain.package import PackageReceipt
    from artifactstore.registry.registry import Registry
    from tests.postgres_server import PostgresServer

FILES = {
    **{f"small-{number}": b"%d" % number * 400 for number in range(3)},
    "large": some_bytes(40_000),
    "in-pieces": some_bytes(9_000, seed=1),
}
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
@pytest.mark.parametrize("step", STEPS if LONG else ["catalog.after-v1.package.files_added", "catalog.before-commit"])
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
    passed = at_step(step, lambda: end_all(postgres, url))

    receipt = ingest(store, package_draft())

    assert step in passed
    assert receipt.package_id == ingest(store, package_draft()).package_id
    assert is_one_whole_package(store)


@pytest.mark.parametrize("answer_only", [True, False], ids=["the answer is lost", "the question is lost"])
def test_a_commit_that_is_lost_on_the_way_is_looked_up_or_repeated(
    url: str, home: Path, postgres: PostgresServer, answer_only: bool
) -> None:
    the_record = 2  # after that of the lease
    fate = LostCommit(answer_only=answer_only, number=the_record)
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


# a line that breaks at each point


def ingest_files(registry: Registry) -> PackageReceipt:
    return ingest(registry, package_draft(FILES))


def push_files(registry: Registry) -> PackageReceipt:
    return push_all(registry, FILES, ["in-pieces"])


WAYS = {"ingest": ingest_files, "push": push_files}
FEWER_AT_MOST = 4
"""Pieces that go through, of so many in another run: some may come together."""


class Counting(CutAt):
    """Loses nothing, and counts commits, too."""

    def __init__(self) -> None:
        super().__init__("", 0, half=False)
        self.commits = 0

    def of_question(self, data: bytes) -> bool:
        self.commits += self.has_begun and is_commit(data)
        return super().of_question(data)


def in_peace(way: str, postgres: PostgresServer, home: Path) -> Counting:
    """How many pieces go through if nothing happens."""
    counting = Counting()
    with (
        postgres.database() as url,
        proxied(url, postgres.folder, counting) as through,
        closing(opened(through, home)) as registry,
    ):
        counting.begin()
        WAYS[way](registry)
    return counting


def suffer(way: str, fate: Fate, postgres: PostgresServer, home: Path) -> tuple[bool, bool]:
    """Act while it happens, check, act again, check again: whether it was acknowledged, and if not, was there."""
    with postgres.database() as url, closing(opened(url, home)) as direct:
        with (
            proxied(url, postgres.folder, fate) as through,
            closing(retrying(lambda: opened(through, home))) as registry,
        ):
            receipt = None
            fate.begin()
            with suppress(CatalogUnavailableError, ConcurrentUpdateError):
                receipt = WAYS[way](registry)
            fate.end()
            found = [package.package_id for package in list_packages(direct, limit=10)]
            assert receipt is None or [receipt.package_id] == found
            assert [] == verify_all(direct).damage

            again = WAYS[way](registry)
        assert receipt is None or receipt.package_id == again.package_id
        assert [again.package_id] == [package.package_id for package in list_packages(direct, limit=10)]
        with TemporaryDirectory() as folder:
            assert FILES == fetch(direct, again.package_id, Path(folder) / "copy")
        assert is_one_whole_package(direct)
    return receipt is not None, receipt is None and found != []


def some_of(numbers: int, few: int, *, seed: str) -> list[int]:
    """From 1 to so many: if there is time all, or sixty of very many; else a few; the last among them."""
    most = 60 if LONG else few
    every = range(1, numbers + 1)
    return list(every) if numbers <= most else [*sorted(Random(seed).sample(every[:-1], most - 1)), numbers]


@pytest.mark.parametrize("half", [False, True], ids=["whole", "half"])
@pytest.mark.parametrize("direction", ["question", "answer"])
@pytest.mark.parametrize("way", WAYS)
def test_a_line_that_breaks_at_any_piece_loses_nothing(
    postgres: PostgresServer, tmp_path: Path, request: pytest.FixtureRequest, way: str, direction: str, half: bool
) -> None:
    pieces = in_peace(way, postgres, tmp_path / "peace").pieces[direction]
    refused, there, cuts = 0, 0, 0
    for piece in some_of(pieces, 4 if way == "ingest" else 2, seed=f"{direction} {half}"):
        fate = CutAt(direction, piece, half=half)

        was_acknowledged, was_there = suffer(way, fate, postgres, tmp_path / str(piece))

        assert fate.hits or (was_acknowledged and piece > pieces - FEWER_AT_MOST), piece
        cuts += fate.hits
        refused += not was_acknowledged
        there += was_there
    tell(
        request,
        f"PostgreSQL, {way}, {'half ' if half else ''}{direction} lost at {cuts} of {pieces} pieces:"
        f" {cuts - refused} acknowledged, {refused} refused ({there} of them there already), 0 lost",
    )


@pytest.mark.parametrize("answer_only", [True, False], ids=["the answer is lost", "the question is lost"])
@pytest.mark.parametrize("way", WAYS)
def test_each_commit_on_the_way_to_a_package_may_be_lost(
    postgres: PostgresServer, tmp_path: Path, request: pytest.FixtureRequest, way: str, answer_only: bool
) -> None:
    commits = in_peace(way, postgres, tmp_path / "peace").commits
    acknowledged = 0
    tried = some_of(commits, 3, seed=f"{answer_only}")
    for number in tried:
        fate = LostCommit(answer_only=answer_only, number=number)

        was_acknowledged, _ = suffer(way, fate, postgres, tmp_path / str(number))

        assert 1 == fate.hits, number
        acknowledged += was_acknowledged
    said = "answers to commits" if answer_only else "commits"
    tell(request, f"PostgreSQL, {way}, {said} lost, {len(tried)} of {commits}: {acknowledged} acknowledged, 0 lost")
    assert commits >= 2


# a server that keeps everybody waiting


@contextmanager
def held_log(url: str, ledger: Ledger) -> Iterator[None]:
    """Somebody has the lock that every writer needs, until some writers were refused."""
    has_it = threading.Event()

    def hold() -> None:
        with closing(open_database(url)) as database, database.write() as connection:
            connection.lock_append()
            has_it.set()
            deadline = time.monotonic() + 60
            while not ledger.refusals and time.monotonic() < deadline:
                time.sleep(0.05)

    holding = threading.Thread(target=hold)
    holding.start()
    try:
        assert has_it.wait(60)
        yield
    finally:
        holding.join()


@pytest.mark.parametrize("short_of", ["time", "connections"])
def test_who_waits_too_long_is_refused_and_loses_nothing(
    url: str, home: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, short_of: str
) -> None:
    monkeypatch.setattr("artifactstore.catalog.postgres_pool.WAIT_S", 0.2)
    limits = DatabaseLimits(2, 60) if short_of == "connections" else DatabaseLimits(16, 0.3)  # type: ignore[arg-type]
    ledger = Ledger()
    with closing(opened(url, home)) as ordinary, closing(open_database(url, limits)) as database:
        registry = replace(ordinary, catalog=Catalog(database, system_clock))
        with held_log(url, ledger):
            answers = at_once(4, lambda n: ledger.store(f"run-{n}", partial(ingest, registry)))

        assert {"str": 4} == kinds(answers), answers
        counted = ledger.check(ordinary)
    tell(request, f"PostgreSQL, short of {short_of}: {counted}")
    assert {"CatalogUnavailableError"} == set(ledger.refusals)


# servers of ours before a server that is ended again and again


def test_servers_whose_database_breaks_restarts_and_ends_connections_lose_nothing(
    postgres: PostgresServer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    ledger, fate = Ledger(), NowAndThen(seed=1, one_in=10**9)
    done, pushes = threading.Event(), 600 if LONG else 24
    happened = Counter[str]()
    url, home = postgres.empty_database(), tmp_path / "home"
    tokens = make_tokens(home, {"ARTIFACTSTORE_DATABASE_URL": url})

    def make_trouble() -> None:
        while not done.wait(0.4):
            happened["terminated"] += end_all(postgres, url)
            if not happened["restarted"] or LONG:
                done.wait(0.4)
                postgres.restart(signal.SIGQUIT)
                happened["restarted"] += 1

    def push_share(worker: int) -> None:
        with Client(servers[worker % 2].url, tokens["admin"], sleep=lambda _: time.sleep(0.02)) as client:
            for number in range(worker, pushes, 4):
                ledger.store(f"run-{number}", client.push)

    with proxied(url, postgres.folder, fate) as through, ExitStack() as stack:
        settings = {"ARTIFACTSTORE_DATABASE_URL": through}
        servers = [stack.enter_context(serving(home, tokens=tokens, environment=settings)) for _ in range(2)]
        fate.one_in = 200
        trouble = threading.Thread(target=make_trouble)
        trouble.start()
        answers = at_once(4, push_share)
        done.set()
        trouble.join()
        fate.one_in = 10**9

    assert {"NoneType": 4} == kinds(answers), answers
    with closing(opened(url, home)) as registry:
        counted = ledger.check(registry)
    tell(request, f"PostgreSQL under 2 servers: {fate.hits} lines cut, {dict(happened)}; {counted}")
    assert pushes == len(ledger.acknowledged)
    assert fate.hits > 0
    assert happened["terminated"] > 0
    assert happened["restarted"] > 0


def end_all(postgres: PostgresServer, url: str) -> int:
    """End every connection to this database but the asker's; how many there were."""
    with postgres.asked(url) as connection:
        return len(
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).fetchall()
        )
