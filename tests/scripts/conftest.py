"""One server for the scripts to talk to, with a guide-board run in it; and something that takes their requests."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.bootstrap import host_of
from artifactstore.built_in import load_plugin
from artifactstore.pilots.guide_board import ingest_run
from artifactstore.plugins.context import EmbeddedContext
from tests.scripts.running import RUN
from tests.service import serving, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.domain.package import PackageReceipt
    from tests.service import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Shared: a test must not rely on being alone, and must not stop it."""
    with serving(tmp_path_factory.mktemp("scripts") / "home") as running:
        yield running


@pytest.fixture(scope="session")
def linked_run(server: Server) -> PackageReceipt:
    """A guide-board run in the server's store."""
    with closing(server.registry()) as registry:
        host = host_of(registry, settings_of(server.home, server.settings))
        package = ingest_run(RUN, EmbeddedContext(host, load_plugin("guide-board"))).package
    assert package is not None
    return package.receipt


@dataclass
class Listener:
    """A real HTTP server that notes every request and answers what it is told to."""

    url: str
    status: int = 201
    answer: bytes = b'{"id": 1}'
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    """Method, path, headers with names in lower case, JSON body."""


@pytest.fixture
def listener() -> Iterator[Listener]:
    noted = Listener("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            noted.requests.append((self.command, self.path, headers, json.loads(body or b"null")))
            self.send_response(noted.status)
            for name, value in noted.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(noted.answer)))
            self.end_headers()
            self.wfile.write(noted.answer)

        do_GET = do_POST  # noqa: N815 - the name that http.server looks for

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        noted.url = f"http://127.0.0.1:{running.server_address[1]}"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield noted
        running.shutdown()
        thread.join()
