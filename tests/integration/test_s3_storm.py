"""Servers whose S3 fails now and then, at any request: clients that ask again get every package, whole."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

from artifactstore.bootstrap import open_registry
from artifactstore.client import Client
from artifactstore.registry.packages import list_packages
from artifactstore.registry.verify import verify_all
from tests.at_once import at_once, kinds
from tests.ledger import LONG, Ledger, files_of, tell
from tests.s3_proxy import ACTIONS, FaultyS3, Peace, Storm, faulty
from tests.s3_servers import (  # noqa: F401 - fixtures
    BUCKET,
    IN_PARTS,
    S3Server,
    aws_environment,
    rclone,
)
from tests.service import serving, settings_of
from tests.support import fetch, replay_is_exact, start_cli, write_tree

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from artifactstore.registry.registry import Registry

PUSHES, COMMANDS = (2_000, 40) if LONG else (32, 3)
WORKERS = 4
SHARE = 0.05 if LONG else 0.1
SHARE_OF_FEW = 0.2
"""A command makes a handful of requests."""
EXPECTED_AT_ONCE = 0.99 if LONG else 0.9
"""A client asks five times by itself before it gives up."""

# ruff: noqa: F811 - fixtures that are imported are named as arguments


def settings_for(url: str) -> dict[str, str]:
    """A store of its own in the bucket, reached at this address."""
    return {
        "ARTIFACTSTORE_STORAGE_URL": f"s3://{BUCKET}/{secrets.token_hex(6)}",
        "ARTIFACTSTORE_S3_ENDPOINT_URL": url,
        "ARTIFACTSTORE_S3_REGION": "us-east-1",
        "ARTIFACTSTORE_S3_READ_TIMEOUT_S": "1",
        **{f"ARTIFACTSTORE_S3_{name}": text for name, text in IN_PARTS.items()},
    }


def past_the_proxy(server: S3Server, home: Path, settings: dict[str, str]) -> Registry:
    return open_registry(settings_of(home, settings | {"ARTIFACTSTORE_S3_ENDPOINT_URL": server.url}))


def test_a_server_in_a_storm_loses_nothing(rclone: S3Server, home: Path, request: pytest.FixtureRequest) -> None:
    ledger = Ledger()
    with faulty(rclone.url) as proxy:
        settings = settings_for(proxy.url)
        with serving(home, environment=settings) as server:
            with Client(server.url, server.tokens["admin"]) as client:
                ledger.store("in-peace", client.push)  # its server is probed before the first
            proxy.log.clear()
            proxy.rule = Storm(seed=1, share=SHARE)

            def push_share(worker: int) -> None:
                with Client(server.url, server.tokens["admin"]) as client:
                    for number in range(worker, PUSHES, WORKERS):
                        ledger.store(f"run-{number}", client.push)

            answers = at_once(WORKERS, push_share)
            proxy.rule = Peace()
            proxy.settle()
        injected, asked = by_action(proxy), len(proxy.log)

    assert {"NoneType": WORKERS} == kinds(answers), answers
    assert PUSHES + 1 == len(ledger.acknowledged)
    with closing(past_the_proxy(rclone, home, settings)) as registry:
        counted = ledger.check(registry)
    tell(request, f"S3 storm over HTTP: {asked} requests to S3, faults {injected}; {counted}")
    assert ledger.mended <= PUSHES * (1 - EXPECTED_AT_ONCE), counted
    assert sum(injected.values()) > asked * SHARE / 2
    assert set(injected) == set(ACTIONS)


def test_commands_in_a_storm_lose_nothing(
    rclone: S3Server, home: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each command is a process of its own. One that fails is given again."""
    acknowledged: dict[str, str] = {}
    failures = Counter[int]()
    with faulty(rclone.url) as proxy:
        settings = settings_for(proxy.url)
        for number in range(COMMANDS):
            if number == 1:  # the first one comes in peace: before it the server is probed
                proxy.rule = Storm(seed=2, share=SHARE_OF_FEW)
            name = f"command-{number}"
            folder = write_tree(tmp_path / name, files_of(name))
            while name not in acknowledged:
                pushing = start_cli(
                    home, "push", str(folder), "--producer", "p", "--external-id", name, settings=settings
                )
                answer, problem = pushing.communicate(timeout=300)
                assert pushing.returncode in {0, 2}, problem
                failures[pushing.returncode] += 1
                assert failures[2] <= COMMANDS, problem
                if pushing.returncode == 0:
                    acknowledged[name] = json.loads(answer)["package_id"]
        proxy.rule = Peace()
        proxy.settle()
        injected = by_action(proxy)

    (tmp_path / "copies").mkdir()
    with closing(past_the_proxy(rclone, home, settings)) as registry:
        packages = {str(each.external_id): each.package_id for each in list_packages(registry, limit=1000)}
        assert acknowledged == packages
        for name, package_id in packages.items():
            assert files_of(name) == fetch(registry, package_id, tmp_path / "copies" / name)
        assert [] == verify_all(registry).damage
        replay_is_exact(registry)
    tell(request, f"S3 storm, commands: {len(acknowledged)} packages, 0 lost; faults {injected}; exit codes {failures}")
    assert sum(injected.values()) > 0


def by_action(proxy: FaultyS3) -> dict[str, int]:
    """How often each action happened."""
    found = Counter[str]()
    for (_, action), times in proxy.injected().items():
        found[action] += times
    return dict(found)
