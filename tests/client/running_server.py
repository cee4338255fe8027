"""``artifactstore serve`` as a process of its own, on a store of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKENS = {name: f"{name}-0123456789abcdef0123456789" for name in ("root", "ci", "other", "reader")}
_SCOPES = {"root": "admin", "ci": "write:ci", "other": "write:other", "reader": "read"}


class RunningServer:
    """Where a server is and how it can be ended."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        entries = "; ".join(f"{name} {_SCOPES[name]} {secret}" for name, secret in TOKENS.items())
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ARTIFACTSTORE_")}
        environment |= {"ARTIFACTSTORE_HOME": str(home), "ARTIFACTSTORE_AUTH_TOKENS": entries, **settings}
        command = [sys.executable, "-m", "artifactstore"]
        subprocess.run([*command, "db", "upgrade"], env=environment, check=True, capture_output=True, timeout=60)
        self._log = (home / "server.log").open("ab")
        self.process = subprocess.Popen(
            [*command, "serve", "--port", "0"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.end()
            raise AssertionError((home / "server.log").read_text())
        self.url: str = json.loads(line)["url"]

    def environment(self, token: str = "root") -> dict[str, str]:
        """What makes a command work on this server."""
        return {"ARTIFACTSTORE_API_URL": self.url, "ARTIFACTSTORE_API_TOKEN": TOKENS[token]}

    def end(self, *, at_once: bool = False) -> None:
        if at_once:
            self.process.kill()
        else:
            self.process.terminate()
        self.process.wait(timeout=90)  # it may be asked twice
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()


@contextmanager
def running(home: Path, **settings: str) -> Iterator[RunningServer]:
    server = RunningServer(home, **settings)
    try:
        yield server
    finally:
        server.end()
