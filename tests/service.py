"""Real server processes for tests: started on a free port of loopback, ended by their process id."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import urllib3

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.registry.tokens import create_token

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from artifactstore.registry.registry import Registry

END_TIMEOUT_S = 90
TOKENS = {
    "admin": ["admin"],
    "reader": ["read"],
    "writer": ["write:p"],
    "other": ["write:q"],
    "other-reader": ["read:q"],
}
"""The tokens that every test server knows: name and scopes."""


@dataclass(slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Server:
    """A running service and how to reach it."""

    url: str
    home: Path
    process: subprocess.Popen[str]
    tokens: dict[str, str]
    log: list[str] = field(default_factory=list)
    """Lines of its log so far."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Its environment besides its home: where its database and its objects are, if not there."""

    def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = "admin",
        headers: Mapping[str, str] | None = None,
        json_body: Any = None,
        body: Any = None,
    ) -> Answer:
        """One request with one of the server's tokens (by name), or without."""
        given = {**(headers or {})}
        if token is not None:
            given["Authorization"] = f"Bearer {self.tokens.get(token, token)}"
        if json_body is not None:
            body, given["Content-Type"] = json.dumps(json_body), "application/json"
        with urllib3.PoolManager(retries=False, timeout=60) as http:
            answer = http.request(method, self.url + path, body=body, headers=given, redirect=False)
            return Answer(answer.status, answer.headers, answer.data)

    def environment(self, token: str | None = "admin") -> dict[str, str]:
        """What makes the command line and the client use this server."""
        shown = {} if token is None else {"ARTIFACTSTORE_API_TOKEN": self.tokens.get(token, token)}
        return {"ARTIFACTSTORE_API_URL": self.url, **shown}

    def stop(self, how: int = signal.SIGTERM) -> int:
        """End it and wait; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(END_TIMEOUT_S)

    def registry(self) -> Registry:
        """The same store, opened in this process."""
        return open_registry(settings_of(self.home, self.settings), actor="local:test")


def settings_of(home: Path, environment: Mapping[str, str] | None = None) -> Settings:
    return Settings.from_environment({"ARTIFACTSTORE_HOME": str(home), **(environment or {})})


def make_tokens(home: Path, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Create the store of this home, or the one that the environment names, and its tokens."""
    registry = open_registry(settings_of(home, environment), actor="local:test")
    try:
        return {name: create_token(registry, name, scopes)[0] for name, scopes in TOKENS.items()}
    finally:
        registry.close()


@contextmanager
def serving(
    home: Path,
    *arguments: str,
    tokens: dict[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    program: tuple[str, ...] = ("-m", "artifactstore"),
) -> Iterator[Server]:
    """A service on this home, which is created if need be; ended when the context is left."""
    tokens = make_tokens(home, environment) if tokens is None else tokens
    process = subprocess.Popen(
        [sys.executable, *program, "serve", "--port", "0", *arguments],
        env={**clean_environment(), "ARTIFACTSTORE_HOME": str(home), **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    server = Server("", home, process, tokens, settings=environment or {})
    assert process.stdout is not None
    assert process.stderr is not None
    collecting = threading.Thread(target=_collect, args=(process.stderr, server.log), daemon=True)
    collecting.start()
    try:
        line = process.stdout.readline()
        if not line:
            collecting.join(10)
            raise AssertionError(f"the server did not start: {''.join(server.log)}")
        server.url = json.loads(line)["url"]
        yield server
    finally:
        server.stop()
        collecting.join(10)
        process.stdout.close()
        process.stderr.close()


def clean_environment() -> dict[str, str]:
    """This process's environment without our settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ARTIFACTSTORE_")}


def _collect(stream: Any, lines: list[str]) -> None:
    for line in stream:
        lines.append(line)
