"""The command line where things are not as usual: locales, closed streams, signals, storage that is elsewhere."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.support import run_cli, start_cli, tree_contents, write_tree

if TYPE_CHECKING:
    from pathlib import Path

ASCII_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def shell(home: Path, line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A line of shell in which ``artifactstore`` is ours."""
    program = f'artifactstore() {{ {shlex.quote(sys.executable)} -m artifactstore "$@"; }}; {line}'
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ARTIFACTSTORE_")}
    variables = {**clean, "ARTIFACTSTORE_HOME": str(home), **environment}
    return subprocess.run(["bash", "-c", program], env=variables, capture_output=True, timeout=60, check=False)


def test_the_locale_decides_neither_names_nor_digest(home: Path, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "run", {"é/☃.txt": b"snow"})
    push = f"artifactstore push {folder} --producer ci --external-id 1"

    here = shell(home, push, PYTHONUTF8="1")
    there = shell(tmp_path / "other", push, **ASCII_LOCALE)
    package_id = json.loads(there.stdout)["package_id"]
    back = shell(tmp_path / "other", f"artifactstore get {package_id} -o {tmp_path / 'out'}", **ASCII_LOCALE)

    assert json.loads(here.stdout)["manifest_digest"] == json.loads(there.stdout)["manifest_digest"]
    assert back.returncode == 0
    assert tree_contents(tmp_path / "out") == {"é/☃.txt": b"snow"}


def test_an_answer_is_utf8_whatever_the_stream_was_told(home: Path, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "run", {"é": b""})

    answer = shell(home, f"artifactstore push {folder} --producer ci --subject ü", PYTHONIOENCODING="ascii")
    shown = shell(home, "artifactstore list", PYTHONIOENCODING="ascii")

    assert answer.returncode == 0
    assert json.loads(shown.stdout.decode())["packages"][0]["subject"] == "ü"


def test_a_closed_standard_error_does_not_stop_the_work(home: Path, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "run", {"a": b"1"})

    answer = shell(home, f"artifactstore push {folder} --producer ci 2>&-")

    assert (answer.returncode, json.loads(answer.stdout)["file_count"]) == (0, 1)


def test_a_closed_standard_output_is_said_before_anything_is_done(home: Path, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "run", {"a": b"1"})

    answer = shell(home, f"artifactstore push {folder} --producer ci >&-")

    assert answer.returncode == 1
    assert b"standard output is closed" in answer.stderr
    assert not home.exists()


def test_a_reader_that_goes_away_is_answered_with_2_and_silence(home: Path, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "run", {"big": bytes(30 * 2**20)})
    package_id = run_cli(home, "push", str(folder), "--producer", "ci").document["package_id"]

    answer = shell(home, f"artifactstore get {package_id} big -o - | head -c1 >/dev/null; exit ${{PIPESTATUS[0]}}")

    assert (answer.returncode, answer.stderr) == (2, b"")


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_clears_away_what_was_begun(home: Path, tmp_path: Path, signal_number: signal.Signals) -> None:
    folder = write_tree(tmp_path / "run", {f"{n}": os.urandom(8 * 2**20) for n in range(20)})
    process = start_cli(home, "push", str(folder), "--producer", "ci")
    staging = home / "objects" / "staging"
    deadline = time.monotonic() + 30
    while not (staging.is_dir() and any(staging.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.005)

    process.send_signal(signal_number)
    _, stderr = process.communicate(timeout=60)

    assert process.returncode == (130 if signal_number == signal.SIGINT else 143), stderr
    assert "Traceback" not in stderr
    assert not any(staging.iterdir())
    assert run_cli(home, "push", str(folder), "--producer", "ci").code == 0


def test_storage_that_is_not_where_it_was_is_refused_and_nothing_is_recorded(home: Path, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "run", {"a": b"1"})
    push = f"artifactstore push {folder} --producer ci --external-id"
    assert shell(home, f"{push} 1").returncode == 0
    elsewhere = (tmp_path / "elsewhere").as_uri()

    again = shell(home, f"{push} 1", ARTIFACTSTORE_STORAGE_URL=elsewhere)
    another = shell(home, f"{push} 2", ARTIFACTSTORE_STORAGE_URL=elsewhere)
    verified = shell(home, "artifactstore verify --all", ARTIFACTSTORE_STORAGE_URL=elsewhere)

    assert [2, 2, 2] == [answer.returncode for answer in (again, another, verified)]
    assert b"STORAGE_UNAVAILABLE" in again.stderr
    assert 4 == len(run_cli(home, "events").document["events"])
    assert run_cli(home, "verify", "--all").document["status"] == "verified"


def test_storage_in_memory_beside_a_database_on_disk_is_refused(home: Path) -> None:
    answer = shell(home, "artifactstore list", ARTIFACTSTORE_STORAGE_URL="memory://")

    assert (answer.returncode, b"CONFIGURATION_INVALID" in answer.stderr) == (1, True)


def test_a_schema_that_stands_for_billions_is_refused(home: Path, tmp_path: Path) -> None:
    definitions = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 10} for n in range(9)}
    schema = {"$defs": {**definitions, "d9": {"type": "string"}}, "properties": {"a": {"$ref": "#/$defs/d0"}}}
    (tmp_path / "schema.json").write_text(json.dumps(schema))

    answer = run_cli(home, "schema", "register", "bomb.v1", str(tmp_path / "schema.json"))

    assert (answer.code, "SCHEMA_INVALID" in answer.stderr) == (1, True)


def test_a_schema_that_refers_to_itself_is_fine(home: Path, tmp_path: Path) -> None:
    tree = {"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}, "required": ["value"]}
    (tmp_path / "schema.json").write_text(json.dumps(tree))

    assert run_cli(home, "schema", "register", "tree.v1", str(tmp_path / "schema.json")).code == 0
