"""One catalog, two backends, and two processes that disagree about which is the default: still one store."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.client import Client
from tests.at_once import at_once
from tests.ledger import LONG, Ledger, tell
from tests.s3_servers import (  # noqa: F401 - fixtures
    BUCKET,
    S3Server,
    aws_environment,
    rclone,
)
from tests.service import clean_environment, make_tokens, serving, settings_of
from tests.writing_process import write_at_once

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry
    from tests.postgres_server import PostgresServer

DATABASES = ("sqlite", "postgresql")
BACKENDS = ("disk", "bucket")
WRITERS = 16
SECONDS = 60.0 if LONG else 0.5

# ruff: noqa: F811 - fixtures that are imported are named as arguments


@pytest.fixture
def settings(request: pytest.FixtureRequest, rclone: S3Server, home: Path) -> dict[str, dict[str, str]]:
    """Of each process, by its default backend: the same database, the same two backends."""
    home.mkdir()
    place = {"ARTIFACTSTORE_HOME": str(home)}
    if request.param == "postgresql":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        place["ARTIFACTSTORE_DATABASE_URL"] = postgres.empty_database()
    bucket = f"s3://{BUCKET}/{secrets.token_hex(6)}"
    tables = (
        f'[backends.disk]\nurl = "{(home / "objects").as_uri()}"\n'
        f'[backends.bucket]\nurl = "{bucket}"\nendpoint_url = "{rclone.url}"\nregion = "us-east-1"\n'
        'multipart_threshold_bytes = "5242880"\nmultipart_part_bytes = "5242880"\n'
    )
    found = {}
    for name in BACKENDS:
        path = home / f"{name}-first.toml"
        path.write_text(f'default = "{name}"\n{tables}')
        found[name] = {**place, "ARTIFACTSTORE_BACKENDS_CONFIG_PATH": str(path)}
    return found


@pytest.fixture
def registry(settings: dict[str, dict[str, str]], home: Path) -> Iterator[Registry]:
    """The store in this process, which creates it."""
    with closing(open_registry(settings_of(home, settings["disk"]))) as registry:
        yield registry


@pytest.mark.parametrize("settings", DATABASES if LONG else ["postgresql"], indirect=True)
def test_two_processes_with_other_defaults_and_sixteen_writers_are_one_store(
    registry: Registry, settings: dict[str, dict[str, str]], request: pytest.FixtureRequest
) -> None:
    command = [sys.executable, "-m", "tests.writing_process"]
    writing = [
        subprocess.Popen(
            [*command, name, str(WRITERS // 2), str(SECONDS)],
            env=clean_environment() | settings[name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in BACKENDS
    ]
    for process in writing:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
    answers = [json.loads(told) for told in at_once(2, lambda n: writing[n].communicate("go\n")[0])]

    ledger = Ledger()
    for answer in answers:
        ledger.add(**answer)
    check(registry, ledger, request, "two processes")
    assert set() < answers[0]["acknowledged"].keys() & answers[1]["acknowledged"].keys(), "they met at no run"


@pytest.mark.parametrize("settings", DATABASES if LONG else ["sqlite"], indirect=True)
def test_two_servers_with_other_defaults_and_sixteen_clients_are_one_store(
    registry: Registry, settings: dict[str, dict[str, str]], home: Path, request: pytest.FixtureRequest
) -> None:
    tokens = make_tokens(home, settings["disk"])
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(home, tokens=tokens, environment=settings[name])) for name in BACKENDS]
        clients = [stack.enter_context(Client(server.url, tokens["admin"])) for server in servers]
        ledger = write_at_once("client", WRITERS, SECONDS, lambda worker: clients[worker % 2].push)

    check(registry, ledger, request, "two servers")


def check(registry: Registry, ledger: Ledger, request: pytest.FixtureRequest, who: str) -> None:
    counted = ledger.check(registry)
    same = sum(name.startswith("same-") for name in ledger.acknowledged)
    with registry.catalog.snapshot() as queries:
        places = dict(queries.connection.execute("SELECT backend, count(*) FROM stored_object GROUP BY backend"))
    tell(request, f"{who}, two backends: {counted}; {same} of them stored by all at once; objects {places}")
    assert set(BACKENDS) == set(places)
    assert same > 0
