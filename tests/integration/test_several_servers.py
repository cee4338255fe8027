"""Several server processes on one PostgreSQL and one bucket are one store: whoever answers, it is the same."""

from __future__ import annotations

import secrets
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.client import Client
from artifactstore.errors import ServiceUnavailableError
from artifactstore.registry.tokens import create_token, revoke_token
from artifactstore.testing.builders import some_bytes
from tests.api.pushing import all_declared, finalize, open_, opened, push, send_zip, zipped
from tests.at_once import at_once, kinds
from tests.ledger import LONG, Ledger, tell
from tests.s3_servers import (  # noqa: F401 - fixtures
    BUCKET,
    IN_PARTS,
    S3Server,
    aws_environment,
    rclone,
)
from tests.service import Answer, Server, make_tokens, serving, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from artifactstore.domain.package import PackageDraft, PackageReceipt
    from artifactstore.registry.registry import Registry
    from tests.postgres_server import PostgresServer

MEBIBYTE = 1024 * 1024
WORKERS = 6
PUSHES = 600 if LONG else 18
ROLLS = 4 if LONG else 1
VICTIMS = 2 if LONG else 1

# ruff: noqa: F811 - fixtures that are imported are named as arguments


@dataclass
class Site:
    """One store, and the servers that are up."""

    home: Path
    settings: dict[str, str]
    tokens: dict[str, str]
    stack: ExitStack
    servers: list[Server] = field(default_factory=list)

    def start(self, number: int) -> list[Server]:
        """So many more servers, each with a home of its own, which it does not need."""
        with ThreadPoolExecutor(number) as pool:
            contexts = [serving(self.home, tokens=self.tokens, environment=self.settings) for _ in range(number)]
            started = list(pool.map(self.stack.enter_context, contexts))
        self.servers += started
        return started

    def registry(self) -> Registry:
        """The same store in this process, past every server."""
        return open_registry(settings_of(self.home, self.settings), actor="local:test")


@pytest.fixture(scope="module")
def new_site(
    postgres: PostgresServer, rclone: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Site]]:
    """An empty store on PostgreSQL and in a bucket, for each call; its servers are ended with the module."""
    with ExitStack() as stack:

        def make() -> Site:
            home = tmp_path_factory.mktemp("site")
            settings = {
                "ARTIFACTSTORE_DATABASE_URL": postgres.empty_database(),
                "ARTIFACTSTORE_STORAGE_URL": f"s3://{BUCKET}/{secrets.token_hex(6)}",
                **rclone.settings(**IN_PARTS),
            }
            return Site(home, settings, make_tokens(home, settings), stack)

        yield make


@pytest.fixture(scope="module")
def pair(new_site: Callable[[], Site]) -> Site:
    """Two servers for all tests that end none."""
    site = new_site()
    site.start(2)
    return site


@pytest.fixture
def servers(pair: Site) -> Sequence[Server]:
    return pair.servers


def name() -> str:
    """A run that no other test has."""
    return secrets.token_hex(8)


def content(size_bytes: int) -> bytes:
    """Bytes that nobody has stored."""
    return some_bytes(size_bytes, seed=secrets.randbits(60))


# a push that moves from one to the other


def test_a_push_goes_on_at_another_server_at_every_step(servers: Sequence[Server], tmp_path: Path) -> None:
    one, other = servers
    small, large = {f"s{n}": content(2_000) for n in range(5)}, content(7 * MEBIBYTE)
    files = {**small, "large.bin": large}
    external_id = name()

    package_id = opened(one, files, external_id=external_id)
    sent = send_zip(other, package_id, zipped(small))
    begun = one.ask(
        "POST", f"/packages/{package_id}/uploads", token="writer", json_body={"path": "large.bin", "size": len(large)}
    )
    again = other.ask(
        "POST", f"/packages/{package_id}/uploads", token="writer", json_body={"path": "large.bin", "size": len(large)}
    )
    upload = f"/packages/{package_id}/uploads/{begun.json['upload_id']}"
    for at, piece, server in in_turn(large, MEBIBYTE, servers):
        stands = (other if server is one else one).ask("HEAD", upload, token="writer")
        assert (204, str(at)) == (stands.status, stands.headers["Upload-Offset"])
        is_last = at + len(piece) == len(large)
        assert 200 == patch(server, upload, at, piece, is_last=is_last).status
    missing = [server.ask("GET", f"/packages/{package_id}/missing", token="writer").json for server in servers]
    receipts = [finalize(server, package_id) for server in servers]

    assert (200, 201, 200) == (sent.status, begun.status, again.status)
    assert begun.json["upload_id"] == again.json["upload_id"]
    assert [[], []] == [each["missing"] for each in missing]
    assert receipts[0].json == receipts[1].json
    for number, server in enumerate(servers):
        with Client(server.url, server.tokens["admin"]) as client:
            assert len(files) == client.get_package(package_id, tmp_path / str(number))
        assert large == (tmp_path / str(number) / "large.bin").read_bytes()
    assert receipts[0].json == open_(other, files, external_id=external_id).json["receipt"] | {
        "reused_existing": False,
        "stored_bytes": receipts[0].json["stored_bytes"],
    }


def in_turn(data: bytes, size_bytes: int, servers: Sequence[Server]) -> Iterator[tuple[int, bytes, Server]]:
    """Pieces of a file, and which server takes which."""
    for number, at in enumerate(range(0, len(data), size_bytes)):
        yield at, data[at : at + size_bytes], servers[number % len(servers)]


def patch(server: Server, upload: str, at: int, piece: bytes, *, is_last: bool) -> Answer:
    headers = {
        "Content-Type": "application/partial-upload",
        "Upload-Offset": str(at),
        "Upload-Complete": "?1" if is_last else "?0",
    }
    return server.ask("PATCH", upload, token="writer", headers=headers, body=piece)


def test_files_that_two_servers_are_sent_at_once_are_one_package(servers: Sequence[Server]) -> None:
    files = {f"f{n}": content(3_000) for n in range(12)}
    package_id = opened(servers[0], external_id=name())

    sent = at_once(
        12,
        lambda n: (
            servers[n % 2].ask("PUT", f"/packages/{package_id}/files/f{n}", token="writer", body=files[f"f{n}"]).status
        ),
    )
    receipts = at_once(6, lambda n: finalize(servers[n % 2], package_id))

    assert [201] * 12 == sent
    assert 1 == len({answer.body for answer in receipts if isinstance(answer, Answer) and answer.status == 200})
    assert {"Answer": 6} == kinds(receipts)
    assert 12 == receipts[0].json["file_count"]  # type: ignore[union-attr]


# what one server is told, the other knows


def test_what_one_server_records_the_other_shows_at_once(servers: Sequence[Server]) -> None:
    for number in range(6):
        one, other = servers[number % 2], servers[1 - number % 2]
        package_id = push(one, {"a": content(100)}, external_id=name())["package_id"]

        assert 200 == other.ask("GET", f"/packages/{package_id}").status
        held = other.ask("POST", f"/packages/{package_id}/holds", json_body={"reason": "audit"})
        assert 201 == held.status
        assert [held.json["hold_id"]] == [
            hold["hold_id"] for hold in one.ask("GET", f"/packages/{package_id}/holds").json["holds"]
        ]


def test_a_token_is_known_and_unknown_to_every_server_at_once(pair: Site) -> None:
    for number in range(4):
        label = f"brief-{name()}"
        with closing(pair.registry()) as registry:
            secret, _ = create_token(registry, label, ["read"])
            known = [server.ask("GET", "/whoami", token=secret).status for server in pair.servers]
            revoke_token(registry, label)
        unknown = [server.ask("GET", "/whoami", token=secret).status for server in pair.servers]

        assert ([200, 200], [401, 401]) == (known, unknown), number


def test_a_schema_is_registered_for_every_server(servers: Sequence[Server]) -> None:
    slug = f"several.{name()}"
    schema = {"type": "object", "required": ["branch"]}
    registered = servers[0].ask("POST", "/metadata-schemas", json_body={"slug": slug, "json_schema": schema})

    again = servers[1].ask("POST", "/metadata-schemas", json_body={"slug": slug, "json_schema": schema})
    another = servers[1].ask("POST", "/metadata-schemas", json_body={"slug": slug, "json_schema": {}})
    refused = open_(servers[1], {"a": b"1"}, schema=slug, metadata={"no": "branch"}, external_id=name())
    taken = open_(servers[1], {"a": b"1"}, schema=slug, metadata={"branch": "main"}, external_id=name())

    assert [201, 200, 409, 400, 201] == [answer.status for answer in (registered, again, another, refused, taken)]


def test_a_key_has_one_effect_whichever_server_it_is_shown_to(servers: Sequence[Server]) -> None:
    package_id = push(servers[0], {"a": content(100)}, external_id=name())["package_id"]
    headers = {"Idempotency-Key": name()}

    def hold(number: int) -> Answer:
        return servers[number % 2].ask(
            "POST", f"/packages/{package_id}/holds", json_body={"reason": "audit"}, headers=headers
        )

    answers = [answer for answer in at_once(8, hold) if isinstance(answer, Answer)]
    body = {"producer": "p", "external_id": name(), "files": all_declared({"b": content(10)})}
    keyed = {"Idempotency-Key": name()}
    pushes = [server.ask("POST", "/packages", token="writer", json_body=body, headers=keyed) for server in servers]
    mismatch = servers[1].ask("POST", "/packages", token="writer", json_body={"producer": "p"}, headers=keyed)

    assert 8 == len(answers)
    assert {201} == {answer.status for answer in answers}
    assert 1 == len({answer.json["hold_id"] for answer in answers})
    assert 1 == len(servers[1].ask("GET", f"/packages/{package_id}/holds").json["holds"])
    assert pushes[0].json["package_id"] == pushes[1].json["package_id"]
    assert (409, "IDEMPOTENCY_MISMATCH") == (mismatch.status, mismatch.json["code"])


def test_streams_of_both_servers_tell_every_event_once_in_one_order(pair: Site) -> None:
    with closing(pair.registry()) as registry, registry.catalog.snapshot() as queries:
        last = queries.latest_seq()
    wanted = last + 4 * WORKERS * 4
    told: list[list[dict[str, Any]]] = [[], []]

    def follow(number: int) -> None:
        with Client(pair.servers[number].url, pair.tokens["admin"]) as client:
            for event in client.stream_events(0 if number else last):
                told[number].append(event)
                if event["seq"] >= wanted:
                    return

    def store_four(worker: int) -> None:
        for number in range(4):
            push(pair.servers[(worker + number) % 2], {"a": content(50)}, external_id=name())

    following = [threading.Thread(target=follow, args=(number,)) for number in range(2)]
    for thread in following:
        thread.start()
    answers = at_once(WORKERS, store_four)
    for thread in following:
        thread.join(60)

    assert {"NoneType": WORKERS} == kinds(answers), answers
    assert list(range(last + 1, wanted + 1)) == [event["seq"] for event in told[0]]
    assert list(range(1, wanted + 1)) == [event["seq"] for event in told[1]]
    assert told[0] == told[1][last:]


# servers that end while others go on


class FailingOver:
    """A client that turns to another server where one does not answer."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._turns = count()
        self.turned_away = 0

    def push(self, draft: PackageDraft) -> PackageReceipt:
        """One try; the next one is with the next server."""
        servers = list(self._site.servers)
        server = servers[next(self._turns) % len(servers)]
        try:
            with Client(server.url, server.tokens["admin"], sleep=a_moment) as client:
                return client.push(draft)
        except ServiceUnavailableError:
            self.turned_away += 1
            raise


def a_moment(_: float) -> None:
    time.sleep(0.01)


def under_load(site: Site, happen: Callable[[int], None]) -> tuple[Ledger, FailingOver]:
    """Store runs from several threads; ``happen`` is called at every acknowledged one with how many there are."""
    ledger, clients = Ledger(), FailingOver(site)
    numbers, happening = count(1), threading.Lock()

    def work(worker: int) -> None:
        for number in range(worker, PUSHES, WORKERS):
            ledger.store(f"run-{number}", clients.push)
            with happening:
                happen(next(numbers))

    answers = at_once(WORKERS, work)
    assert {"NoneType": WORKERS} == kinds(answers), answers
    assert PUSHES == len(ledger.acknowledged)
    return ledger, clients


def test_servers_that_are_killed_lose_nothing_while_others_go_on(
    new_site: Callable[[], Site], request: pytest.FixtureRequest
) -> None:
    site = new_site()
    victims = site.start(VICTIMS + 1)[:VICTIMS]
    kills = {PUSHES * number // (2 * VICTIMS): victim for number, victim in enumerate(victims, 1)}

    def kill(done: int) -> None:
        if done in kills:
            kills[done].stop(signal.SIGKILL)

    ledger, clients = under_load(site, kill)

    with closing(site.registry()) as registry:
        counted = ledger.check(registry)
    tell(request, f"{VICTIMS + 1} servers, {VICTIMS} killed: {counted}; turned away {clients.turned_away} times")
    assert [-signal.SIGKILL] * VICTIMS == [victim.process.returncode for victim in victims]
    assert clients.turned_away > 0


def test_servers_that_are_restarted_one_after_the_other_lose_nothing(
    new_site: Callable[[], Site], request: pytest.FixtureRequest
) -> None:
    site = new_site()
    site.start(2)
    codes: list[int] = []
    moments = {PUSHES * (number + 1) // (2 * ROLLS + 1) for number in range(2 * ROLLS)}

    def roll(done: int) -> None:
        if done in moments:
            oldest = site.servers[0]
            ending = threading.Thread(target=lambda: codes.append(oldest.stop(signal.SIGTERM)))
            ending.start()
            site.start(1)
            site.servers.remove(oldest)
            ending.join()

    ledger, clients = under_load(site, roll)

    with closing(site.registry()) as registry:
        counted = ledger.check(registry)
    tell(request, f"rolling restart, {len(codes)} servers ended: {counted}; turned away {clients.turned_away} times")
    assert [0] * 2 * ROLLS == codes
