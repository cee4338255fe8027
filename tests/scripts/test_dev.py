"""scripts/dev.py, which `make dev` runs."""

from __future__ import annotations

import re
import signal
import socket
import stat
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import pytest

from tests.scripts.running import ROOT, SCRIPTS, free_port, is_listening, script_environment
from tests.service import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class Development:
    """A running development server: what it printed, and how to reach it."""

    printed: str
    server: Server


def command(home: Path, port: int | str) -> list[str]:
    return [sys.executable, "-W", "error", str(SCRIPTS / "dev.py"), str(home), str(port)]


@contextmanager
def developing(home: Path, **more: str) -> Iterator[Development]:
    port = free_port()
    log = TemporaryFile("w+")  # noqa: SIM115 - closed below, after the process has ended
    process = subprocess.Popen(
        command(home, port), env=script_environment(more), cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True
    )
    try:
        assert process.stdout is not None
        printed = ""
        while '"status": "ready"' not in printed:
            line = process.stdout.readline()
            assert line or log.seek(0), f"it ended: {printed}{log.read()}"
            printed += line
        exported = dict(re.findall(r"^export (\w+)=(\S+)$", printed, re.MULTILINE))
        token = exported["ARTIFACTSTORE_API_TOKEN"]
        yield Development(printed, Server(exported["ARTIFACTSTORE_API_URL"], home, process, {"admin": token}))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        process.stdout.close()
        log.close()


def test_a_server_with_token_and_schemas_is_ready_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    home = tmp_path / "made" / "here"

    with developing(home) as development:
        server = development.server
        whoami = server.ask("GET", "/whoami").json
        slugs = [schema["slug"] for schema in server.ask("GET", "/metadata-schemas").json["schemas"]]
    port = int(server.url.rpartition(":")[2])

    assert whoami["can"]["admin"]
    assert [file.stem for file in sorted((ROOT / "schemas").glob("*.json"))] == slugs
    assert f'{{"status": "ready", "url": "http://127.0.0.1:{port}"}}' == development.printed.splitlines()[-1]
    assert (0, False) == (server.process.returncode, is_listening(port))


def test_the_token_is_kept_for_its_owner_and_used_again(tmp_path: Path) -> None:
    with developing(tmp_path / "home") as first:
        pass
    with developing(tmp_path / "home") as second:
        whoami = second.server.ask("GET", "/whoami")

    file = tmp_path / "home" / "token"
    assert 200 == whoami.status
    assert first.server.tokens == second.server.tokens == {"admin": file.read_text().strip()}
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)


@pytest.mark.parametrize("lost", ["token", "artifactstore.db"])
def test_a_lost_token_or_store_is_made_anew(tmp_path: Path, lost: str) -> None:
    with developing(tmp_path / "home") as first:
        pass
    (tmp_path / "home" / lost).unlink()

    with developing(tmp_path / "home") as second:
        whoami = second.server.ask("GET", "/whoami")
        old = second.server.ask("GET", "/whoami", token=first.server.tokens["admin"])

    assert (200, 401) == (whoami.status, old.status)


def test_settings_of_another_store_do_not_lead_to_it(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    settings = {
        "ARTIFACTSTORE_DATABASE_URL": f"sqlite:///{elsewhere}/x.db",
        "ARTIFACTSTORE_STORAGE_URL": elsewhere.as_uri(),
        "ARTIFACTSTORE_API_URL": "https://artifacts.example.org",
        "ARTIFACTSTORE_API_TOKEN": "secret",
    }

    with developing(tmp_path / "home", **settings) as development:
        ready = development.server.ask("GET", "/ready").status

    assert (200, False) == (ready, elsewhere.exists())


def test_a_port_that_is_taken_is_told_before_anything_is_made(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        done = subprocess.run(
            command(tmp_path / "home", port), env=script_environment({}), capture_output=True, text=True, check=False,
            timeout=60,
        )  # fmt: skip

    assert (1, "", False) == (done.returncode, done.stdout, (tmp_path / "home").exists())
    assert re.fullmatch(rf"error: port {port}: .*\nhint: .*make dev PORT=8010\n", done.stderr)
