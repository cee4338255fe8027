"""scripts/smoke.py, which `make smoke` runs."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.scripts.running import ROOT, RUN, SCRIPTS, is_listening, script_environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.scripts.conftest import Listener

STEPS = [
    "artifactstore db upgrade",
    "artifactstore token create",
    "artifactstore serve",
    "python scripts/register_schemas.py",
    "artifactstore guide-board ingest",
    "artifactstore verify",
    "artifactstore replay --check",
    "python scripts/link_statehub.py",
]


def command(run_dir: Path, home: Path) -> list[str]:
    return [sys.executable, "-W", "error", str(SCRIPTS / "smoke.py"), str(run_dir), str(home)]


def smoke(run_dir: Path, home: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(run_dir, home), env=script_environment(more), cwd=ROOT, capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip


def steps_of(printed: str) -> list[str]:
    """Which of the steps were begun, in that order."""
    commands = re.findall(r"^\$ (.*)$", printed, re.MULTILINE)
    return [step for command in commands for step in STEPS if command.startswith(step)]


def server_port(printed: str) -> int:
    found = re.search(r'"url": "http://127\.0\.0\.1:(\d+)"', printed)
    assert found is not None, printed
    return int(found[1])


def test_every_step_is_shown_and_done_and_nothing_is_left_running(tmp_path: Path) -> None:
    done = smoke(RUN, tmp_path / "home")

    assert 0 == done.returncode, done.stdout + done.stderr
    assert STEPS == steps_of(done.stdout)
    for said in ('"status": "verified"', '"status": "reproduced"', '"dry_run": true', "smoke: passed"):
        assert said in done.stdout
    assert not is_listening(server_port(done.stdout))
    assert "as_" not in done.stdout, "the token is not shown"


def test_the_link_is_sent_where_state_hub_is_named(tmp_path: Path, listener: Listener) -> None:
    ids = {
        "STATE_HUB_WORKSTREAM_ID": "0b6d3f0e-52e4-4d26-9a55-0d7a5c7d0b11",
        "STATE_HUB_TASK_ID": "5f1c6f0e-7f7e-4a3e-8a3d-4c1f0f6f2a22",
    }

    done = smoke(RUN, tmp_path / "home", STATE_HUB_URL=listener.url, **ids)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert ["/progress/"] == [path for _, path, _, _ in listener.requests]


def test_a_step_that_fails_is_the_last_and_the_server_is_ended(tmp_path: Path) -> None:
    done = smoke(tmp_path / "no-run", tmp_path / "home")

    assert 1 == done.returncode
    assert STEPS[:5] == steps_of(done.stdout)
    assert "error: FILE_UNREADABLE" in done.stderr
    assert done.stderr.endswith(f"smoke: artifactstore guide-board ingest {tmp_path / 'no-run'} ended with 1\n")
    assert not is_listening(server_port(done.stdout))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_the_server_too(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        command(RUN, tmp_path / "home"), env=script_environment({}), cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    printed = ""
    while "register_schemas.py" not in printed:
        line = process.stdout.readline()
        assert line, printed
        printed += line

    process.send_signal(number)
    process.communicate(timeout=90)

    assert 130 == process.returncode
    assert not is_listening(server_port(printed))
