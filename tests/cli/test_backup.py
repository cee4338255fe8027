"""``backup`` and ``restore``, as a person runs them: beside a server, and on a machine that has nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from artifactstore.storage.port import ObjectKind
from tests.service import serving
from tests.support import CliResult, flip_byte, objects_of_kind, run_cli, tree_contents, write_tree

if TYPE_CHECKING:
    from pathlib import Path

FILES = {"a.txt": b"a" * 500, "b.txt": b"b" * 600}


@pytest.fixture
def package_id(home: Path, tmp_path: Path) -> str:
    folder = write_tree(tmp_path / "run", FILES)
    return str(run_cli(home, "push", str(folder), "--producer", "p", "--external-id", "1").document["package_id"])


def test_a_store_that_a_server_serves_is_served_from_another_machine(
    home: Path, package_id: str, tmp_path: Path
) -> None:
    with serving(home) as server:
        made = run_cli(home, "backup", str(tmp_path / "backup"))
        events = server.ask("GET", "/events").json["events"]
        tokens = server.tokens

    restored = run_cli(tmp_path / "new", "restore", str(tmp_path / "backup"))

    assert ["complete", "restored"] == [made.document["status"], restored.document["status"]]
    with serving(tmp_path / "new", tokens=tokens) as server:
        assert "finalized" == server.ask("GET", f"/packages/{package_id}", token="reader").json["status"]
        assert events == server.ask("GET", "/events").json["events"]
        assert FILES["a.txt"] == server.ask("GET", f"/packages/{package_id}/files/a.txt").body


def test_the_answers_name_the_same_snapshot(home: Path, package_id: str, tmp_path: Path) -> None:
    target = str(tmp_path / "backup")

    made = run_cli(home, "backup", target).document
    listed = run_cli(home, "backup", target, "--list").document
    restored = run_cli(tmp_path / "new", "restore", target, "--snapshot", made["snapshot_id"][:12]).document
    replayed = run_cli(tmp_path / "new", "replay", "--check").document
    fetched = run_cli(tmp_path / "new", "get", package_id, "-o", str(tmp_path / "out"))

    assert {"objects": 2, "bytes": made["object_bytes"], "already_there": 0, "replaced": 0} == made["transfer"]
    assert [made["snapshot_id"]] == [each["snapshot_id"] for each in listed["snapshots"]]
    assert made["snapshot_id"] == restored["snapshot_id"]
    assert (made["log_id"], made["chain"]) == (replayed["log_id"], replayed["chain"])
    assert (0, FILES) == (fetched.code, tree_contents(tmp_path / "out"))


def test_what_could_not_be_backed_up_ends_with_3_and_is_named(home: Path, package_id: str, tmp_path: Path) -> None:
    flip_byte(objects_of_kind(home, ObjectKind.PACK)[0], 100)

    made = run_cli(home, "backup", str(tmp_path / "backup"))
    restored = run_cli(tmp_path / "new", "restore", str(tmp_path / "backup"))

    (missed,) = made.document["not_backed_up"]
    assert (3, 3) == (made.code, restored.code)
    assert [{"package_id": package_id, "path": path} for path in FILES] == missed["concerns"]
    assert [missed] == restored.document["not_restored"]
    assert f"package {package_id}, file a.txt" in made.stderr
    assert 2 == run_cli(tmp_path / "new", "verify", "--all").code


def test_a_directory_without_a_backup_ends_with_1(home: Path, tmp_path: Path) -> None:
    restored = run_cli(home, "restore", str(tmp_path / "nothing"))
    listed = run_cli(home, "backup", str(tmp_path / "nothing"), "--list")

    assert (1, True) == (restored.code, "BACKUP_UNKNOWN" in restored.stderr)
    assert {"snapshots": [], "damaged": []} == listed.document


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_a_store_on_a_server_is_backed_up_on_its_host(home: Path, tmp_path: Path, command: str) -> None:
    answer: CliResult = run_cli(home, command, str(tmp_path / "x"), "--server", "http://127.0.0.1:9")

    assert (1, True) == (answer.code, "works on the host of the store" in answer.stderr)
