"""Running the scripts as people do: as files, in a process of their own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.service import clean_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"
RUN = ROOT / "tests" / "fixtures" / "guide-board"


class Done(NamedTuple):
    """How a script ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


def run_plain(name: str, *arguments: str, environment: Mapping[str, str]) -> Done:
    """Run a script with nothing but the standard library."""
    command = [sys.executable, "-S", "-W", "error", str(SCRIPTS / name), *arguments]
    done = subprocess.run(
        command, env=script_environment(environment), cwd="/", capture_output=True, text=True, check=False, timeout=60
    )
    return Done(done.returncode, done.stdout, done.stderr)


def script_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with nothing of ours or State Hub's but what is given."""
    clean = {name: value for name, value in clean_environment().items() if not name.startswith("STATE_HUB_")}
    return {**clean, **environment}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
