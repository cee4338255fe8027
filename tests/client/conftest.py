"""A real server for the tests of a module, and clients of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from artifactstore.client import Client
from tests.client.cutting_proxy import CuttingProxy, cutting
from tests.client.running_server import TOKENS, RunningServer, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running(tmp_path_factory.mktemp("server") / "home") as server:
        yield server


@pytest.fixture
def root(running_server: RunningServer) -> Iterator[Client]:
    """A client that may do everything."""
    with Client(running_server.url, TOKENS["root"]) as client:
        yield client


@pytest.fixture
def proxy(running_server: RunningServer) -> Iterator[CuttingProxy]:
    with cutting(running_server.url) as proxy:
        yield proxy


@pytest.fixture
def through_proxy(proxy: CuttingProxy) -> Iterator[Client]:
    """A client whose network fails when a test says so."""
    with Client(proxy.url, TOKENS["root"], sleep=lambda _: None) as client:
        yield client
