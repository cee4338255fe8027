"""The main job as its user does it: real processes on a store of their own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from blake3 import blake3

from artifactstore.storage.port import ObjectKind
from artifactstore.testing.guide_board_runs import OPENCMIS_RUN, write_run
from tests.support import flip_byte, objects_of_kind, run_cli, start_cli, stored_objects, tree_contents, write_tree

FIXTURE = Path(__file__).parents[1] / "fixtures" / "guide-board"


def ingest(home: Path, run: Path = FIXTURE, *options: str) -> dict[str, object]:
    document: dict[str, object] = run_cli(home, "guide-board", "ingest", str(run), *options).document
    return document


def test_a_run_directory_becomes_one_verified_package(home: Path, tmp_path: Path) -> None:
    receipt = ingest(home)

    package_id = str(receipt["package_id"])
    assert (receipt["file_count"], receipt["reused_existing"], receipt["revision"]) == (8, False, 1)
    assert run_cli(home, "verify", package_id).document["status"] == "verified"
    assert run_cli(home, "storage", "verify").document["status"] == "verified"
    assert run_cli(home, "replay", "--check").document["status"] == "reproduced"
    assert run_cli(home, "get", package_id, "-o", str(tmp_path / "out")).code == 0
    assert tree_contents(FIXTURE) == tree_contents(tmp_path / "out")
    shown = run_cli(home, "show", package_id).document
    assert (shown["retention_class"], shown["producer"], len(shown["files"])) == ("raw-evidence", "guide-board", 8)


def test_the_digest_is_stable_in_the_same_and_in_a_fresh_store(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for path in sorted((path for path in FIXTURE.rglob("*") if path.is_file()), reverse=True):
        target = copy / path.relative_to(FIXTURE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        os.utime(target, (1, 1))

    first, again, elsewhere = ingest(home), ingest(home, copy), ingest(tmp_path / "fresh", copy)

    assert again == {**first, "reused_existing": True, "stored_bytes": 0}
    assert first["manifest_digest"] == elsewhere["manifest_digest"]
    assert first["package_id"] != elsewhere["package_id"]


def test_the_library_says_the_same_as_the_command(home: Path) -> None:
    from artifactstore.bootstrap import host_of, open_registry
    from artifactstore.built_in import load_plugin
    from artifactstore.config import Settings
    from artifactstore.pilots.guide_board import ingest_run
    from artifactstore.plugins.context import EmbeddedContext

    environment = {"ARTIFACTSTORE_DATABASE_URL": "sqlite://", "ARTIFACTSTORE_STORAGE_URL": (home / "objects").as_uri()}
    settings = Settings.from_environment(environment)
    registry = open_registry(settings)
    context = EmbeddedContext(host_of(registry, settings), load_plugin("guide-board"))

    package = ingest_run(FIXTURE, context).package

    assert package is not None
    assert ingest(home / "other")["manifest_digest"] == package.manifest_digest
    registry.close()


def test_the_23_file_shape_is_ingested_whole(home: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_run(run, OPENCMIS_RUN, run_id="opencmis-1")

    assert 23 == ingest(home, run)["file_count"]


def test_the_manifest_comes_as_cbor_whose_digest_is_the_packages(home: Path) -> None:
    receipt = ingest(home)
    command = [sys.executable, "-m", "artifactstore", "manifest", str(receipt["package_id"])]
    environment = {**os.environ, "ARTIFACTSTORE_HOME": str(home)}

    encoded = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60).stdout
    view = run_cli(home, "manifest", str(receipt["package_id"]), "--json").document

    assert f"blake3:{blake3(encoded).hexdigest()}" == receipt["manifest_digest"]
    by_path = {file["path"]: file for file in view["files"]}
    for path, data in tree_contents(FIXTURE).items():
        assert by_path[path]["sha256"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert by_path[path]["blake3"] == f"blake3:{blake3(data).hexdigest()}"


def test_one_file_comes_as_raw_bytes(home: Path) -> None:
    package_id = str(ingest(home)["package_id"])

    answer = run_cli(home, "get", package_id, "reports/report.md", "-o", "-")

    assert (FIXTURE / "reports" / "report.md").read_text() == answer.stdout
    assert "" == answer.stderr


def test_a_flipped_byte_is_named_refused_and_healed(home: Path, tmp_path: Path) -> None:
    package_id = str(ingest(home)["package_id"])
    flip_byte(objects_of_kind(home, ObjectKind.PACK)[0], 30 + 64 + 5)

    verified = run_cli(home, "verify", package_id)
    fetched = run_cli(home, "get", package_id, "-o", str(tmp_path / "out"))

    (damage,) = verified.document["damage"]
    assert (verified.code, damage["package_id"]) == (2, package_id)
    assert damage["path"] in tree_contents(FIXTURE)
    assert damage["expected_blake3"] != damage["found_blake3"]
    assert damage["path"] in verified.stderr
    assert (fetched.code, (tmp_path / "out").exists()) == (2, False)
    assert "BLOB_" in fetched.stderr
    assert ingest(home)["reused_existing"] is True
    assert run_cli(home, "verify", package_id).document["status"] == "verified"


def test_retention_can_be_chosen_extended_held_and_swept(home: Path) -> None:
    package_id = str(ingest(home, FIXTURE, "--retention", "release-evidence")["package_id"])
    retention = ("retention", "hold", package_id, "--reason", "court case")

    held = run_cli(home, *retention).document
    hold_id = held["hold_id"]
    extended = run_cli(home, "retention", "extend", package_id, "--until", "2199-01-01T00:00:00Z", "--reason", "r")
    shortened = run_cli(home, "retention", "extend", package_id, "--until", "2027-01-01T00:00:00Z", "--reason", "r")
    released = run_cli(home, "retention", "release", package_id, hold_id, "--reason", "closed").document

    assert (held["retention_class"], held["duration_days"]) == ("release-evidence", 3650)
    assert extended.document["expires_at"] == "2199-01-01T00:00:00.000000Z"
    assert (shortened.code, "RETENTION_INVALID" in shortened.stderr) == (1, True)
    assert released["holds"][0]["in_force"] is False
    assert run_cli(home, "retention", "sweep").document == {"expired": [], "count": 0}


def test_a_pushed_directory_with_metadata_is_listed_and_checked(home: Path, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "build", {"out/result.txt": b"ok"})
    (tmp_path / "schema.json").write_text(json.dumps({"required": ["commit"]}))
    (tmp_path / "metadata.json").write_text(json.dumps({"branch": "main"}))
    push = ("push", str(folder), "--producer", "ci", "--external-id", "1", "--schema", "build.v1", "--metadata")

    registered = run_cli(home, "schema", "register", "build.v1", str(tmp_path / "schema.json"))
    refused = run_cli(home, *push, str(tmp_path / "metadata.json"))
    (tmp_path / "metadata.json").write_text(json.dumps({"branch": "main", "commit": "abc"}))
    accepted = run_cli(home, *push, str(tmp_path / "metadata.json"))

    assert registered.code == 0
    assert (refused.code, '/: "commit" is a required property' in refused.stderr) == (1, True)
    assert accepted.document["file_count"] == 1
    (listed,) = run_cli(home, "list", "--producer", "ci").document["packages"]
    assert listed["package_id"] == accepted.document["package_id"]
    assert run_cli(home, "list", "--producer", "other").document["packages"] == []
    assert ["build.v1"] == [schema["slug"] for schema in run_cli(home, "schema", "list").document["schemas"]]


def test_lists_are_paged(home: Path, tmp_path: Path) -> None:
    for number in range(3):
        folder = write_tree(tmp_path / f"{number}", {"n": b"%d" % number})
        assert run_cli(home, "push", str(folder), "--producer", "ci").code == 0

    first = run_cli(home, "list", "--limit", "2").document
    second = run_cli(home, "list", "--limit", "2", "--after", first["next_after"]).document

    assert (len(first["packages"]), len(second["packages"]), second["next_after"]) == (2, 1, None)


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("push", "/nonexistent", "--producer", "ci"), 1, "FILE_UNREADABLE"),
        (("push", "docs", "--producer", "Not A Slug"), 1, "PACKAGE_INVALID"),
        (("push", ".", "--producer", "ci", "--retention", "forever"), 1, "RETENTION_INVALID"),
        (("push", "."), 1, "Missing option '--producer'"),
        (("push", ".", "--producer", "ci", "--no-such-option"), 1, "No such option"),
        (("nonsense",), 1, "No such command"),
        (("show", "nope"), 1, "PACKAGE_UNKNOWN"),
        (("get", "nope", "-o", "out"), 1, "PACKAGE_UNKNOWN"),
        (("get", "nope"), 1, "-o DEST"),
        (("verify",), 1, "needs a package id or --all"),
        (("replay",), 1, "replay --check"),
        (("schema", "show", "nope"), 1, "SCHEMA_UNKNOWN"),
        (("retention", "extend", "x", "--until", "tomorrow", "--reason", "r"), 1, "not a time"),
        (("guide-board", "ingest", "/nonexistent"), 1, "FILE_UNREADABLE"),
    ],
)
def test_a_mistake_is_answered_with_code_message_and_hint(
    home: Path, arguments: tuple[str, ...], code: int, expected: str
) -> None:
    answer = run_cli(home, *arguments)

    assert (code, "") == (answer.code, answer.stdout)
    assert answer.stderr.startswith("error: ")
    assert expected in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_misspelt_setting_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACTSTORE_STORAGE_ULR", "file:///tmp")
    environment = {**os.environ, "ARTIFACTSTORE_HOME": str(home)}

    answer = subprocess.run(
        [sys.executable, "-m", "artifactstore", "list"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert answer.returncode == 1
    assert "ARTIFACTSTORE_STORAGE_ULR: there is no such setting" in answer.stderr


def test_an_unexpected_error_is_a_sentence_and_a_trace_only_with_debug(home: Path, tmp_path: Path) -> None:
    (tmp_path / "boom.py").write_text(
        "import sys\nfrom artifactstore.registry import packages\n"
        "packages.list_packages = lambda *a, **k: 1 / 0\n"
        "from artifactstore.cli.main import run\nsys.exit(run(sys.argv[1:]))\n"
    )

    plain = run_cli(home, "list", program=(str(tmp_path / "boom.py"),))
    debug = run_cli(home, "list", "--debug", program=(str(tmp_path / "boom.py"),))

    assert (plain.code, "INTERNAL" in plain.stderr, "Traceback" in plain.stderr) == (2, True, False)
    assert "Traceback" in debug.stderr


def test_a_reader_that_goes_away_is_no_defect(home: Path) -> None:
    ingest(home)
    process = start_cli(home, "events", "--payload")
    assert process.stdout is not None
    process.stdout.close()

    assert process.wait(timeout=60) != 0
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


def test_a_name_cannot_reach_the_terminal(home: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "a\x1b[2Jb").write_text("")

    answer = run_cli(home, "push", str(tmp_path / "run"), "--producer", "ci")

    assert (answer.code, "\x1b" in answer.stderr) == (1, False)
    assert "PATH_INVALID" in answer.stderr


def test_nothing_is_stored_by_a_check(home: Path) -> None:
    receipt = run_cli(home, "guide-board", "check", str(FIXTURE)).document

    assert receipt["manifest_digest"] == ingest(home / "elsewhere")["manifest_digest"]
    assert run_cli(home, "events").document["events"] == []
    assert not (home / "objects").exists() or stored_objects(home) == {}


def test_help_of_every_command_says_what_it_does(home: Path) -> None:
    for command in (
        "push",
        "get",
        "verify",
        "guide-board ingest",
        "retention hold",
        "storage verify",
        "schema register",
    ):
        answer = run_cli(home, *command.split(), "--help")

        assert answer.code == 0
        assert "Usage: artifactstore" in answer.stdout
    assert not home.exists()
