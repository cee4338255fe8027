"""A run that is incomplete or contradicts itself is refused by name, and leaves nothing behind."""

from __future__ import annotations

import hashlib
import os

import pytest

from artifactstore.domain.canonical import MAX_DOCUMENT_BYTES
from artifactstore.errors import (
    FileUnreadableError,
    LinkInvalidError,
    MetadataInvalidError,
    PathInvalidError,
    RunDirectoryError,
)

REQUIRED = ["run.json", "retention-summary.json", "reports/assessment-package.json", "reports/report.md"]
STDOUT = "artifacts/open-cmis-tck/tck/basics/stdout.log"


def declare(run, **entry):
    run.edit("reports/assessment-package.json", lambda package: package["artifact_manifest"].append(entry))


def drop(run, names, *keys):
    for name in names:
        run.edit(name, lambda document: [document.pop(key, None) for key in keys])


def remove(run, name):
    (run.path / name).unlink()


def rename_run(run, name):
    run.edit(name, lambda document: document.update(run_id="another"))


SPOILED = {
    "run.json is missing": (
        lambda run: remove(run, "run.json"),
        [("run.json", "is missing")],
    ),
    "every required file is missing": (
        lambda run: [remove(run, name) for name in REQUIRED],
        [(name, "is missing") for name in REQUIRED],
    ),
    "run.json is not JSON": (
        lambda run: run.write("run.json", '{"run_id": '),
        [("run.json", "is not valid JSON")],
    ),
    "run.json has a key twice": (
        lambda run: run.write("run.json", '{"run_id": "a", "run_id": "b"}'),
        [("run.json", "duplicate key run_id")],
    ),
    "run.json is not UTF-8": (
        lambda run: (run.path / "run.json").write_bytes(b'{"run_id": "\xff"}'),
        [("run.json", "is not UTF-8")],
    ),
    "run.json is nested too deeply": (
        lambda run: run.write("run.json", "[" * 100_000),
        [("run.json", "is nested too deeply")],
    ),
    "run.json is a list": (
        lambda run: run.write("run.json", "[]"),
        [("run.json", "does not hold a JSON object")],
    ),
    "several metadata values are nowhere": (
        lambda run: drop(run, REQUIRED[:3], "target_profile_ref", "result_status"),
        [("target_profile_ref", "run.json#/target_profile_ref"), ("result_status", "run.json#/result_status")],
    ),
    "neither counts nor what could be counted is there": (
        lambda run: drop(run, ["retention-summary.json"], "evidence_counts"),
        [("evidence_counts", "normalized/evidence.json#")],
    ),
    "the summary is of another run": (
        lambda run: rename_run(run, "retention-summary.json"),
        [("retention-summary.json", "is of run 'another'")],
    ),
    "the assessment package has no artifact manifest": (
        lambda run: drop(run, ["reports/assessment-package.json"], "artifact_manifest"),
        [("artifact_manifest", "is missing")],
    ),
    "a declared artifact is missing": (
        lambda run: remove(run, STDOUT),
        [(repr(STDOUT), "is missing")],
    ),
    "a declared artifact is a directory": (
        lambda run: declare(run, path="artifacts/open-cmis-tck"),
        [("'artifacts/open-cmis-tck'", "is missing")],
    ),
    "a declared path climbs out of the directory": (
        lambda run: declare(run, path="artifacts/../../secret"),
        [("artifact_manifest/2", "leaves the run directory")],
    ),
    "a declared path is absolute": (
        lambda run: declare(run, path="/etc/passwd"),
        [("artifact_manifest/2", "leaves the run directory")],
    ),
    "a run id with control characters": (
        lambda run: run.edit("run.json", lambda document: document.update(run_id="run\x1b[2J")),
        [("run_id", "control characters")],
    ),
    "a target that is too long and a run id that is not NFC": (
        lambda run: run.edit("run.json", lambda it: it.update(run_id="Jose\u0301", target_profile_ref="t" * 513)),
        [("run_id", "normalisation form C"), ("target_profile_ref", "1 to 512 characters")],
    ),
    "a checksum that is not even text": (
        lambda run: declare(run, path=STDOUT, checksum={"algorithm": "crc32", "value": 7}),
        [("artifact_manifest/2", "not a SHA-256")],
    ),
    "entries without a path or with another kind of checksum": (
        lambda run: [declare(run, kind="log"), declare(run, path=STDOUT, checksum=f"md5:{'0' * 32}")],
        [("artifact_manifest/2", "has no path"), ("artifact_manifest/3", "not a SHA-256")],
    ),
}


@pytest.mark.parametrize(("spoil", "expected"), SPOILED.values(), ids=SPOILED.keys())
def test_a_spoiled_run_is_refused_by_name_and_leaves_nothing(store, fixture_run, spoil, expected):
    spoil(fixture_run)
    before = store.contents()

    with pytest.raises(RunDirectoryError) as refused:
        store.ingest(fixture_run.path)

    error = refused.value
    assert (error.code, bool(error.hint)) == ("RUN_DIRECTORY_INVALID", True)
    for where, what in expected:
        assert any(problem.where == where and what in problem.what for problem in error.problems), error.problems
    assert len(error.problems) > 1 or error.problems[0].where in error.message
    assert store.contents() == before


def test_a_wrong_checksum_is_refused_with_the_file_and_both_values(store, fixture_run):
    before = store.contents()
    declared = hashlib.sha256((fixture_run.path / STDOUT).read_bytes()).hexdigest()
    fixture_run.write(STDOUT, "tampered\n")
    found = hashlib.sha256(b"tampered\n").hexdigest()

    with pytest.raises(RunDirectoryError) as refused:
        store.ingest(fixture_run.path)

    assert refused.value.problems == (
        (repr(STDOUT), f"has SHA-256 {found}, but reports/assessment-package.json declares {declared}"),
    )
    assert store.contents() == before


def test_every_artifact_that_is_wrong_is_named_at_once(store, newer_run):
    artifacts = sorted((newer_run.path / "artifacts").rglob("*.log"))
    for artifact in artifacts[:-1]:
        artifact.write_text("tampered\n")
    artifacts[-1].unlink()

    with pytest.raises(RunDirectoryError) as refused:
        store.ingest(newer_run.path)

    assert sorted(problem.where for problem in refused.value.problems) == [
        repr(str(artifact.relative_to(newer_run.path))) for artifact in artifacts
    ]


def test_a_document_beyond_the_limit_is_refused_before_it_is_read(store, fixture_run):
    os.truncate(fixture_run.path / "run.json", MAX_DOCUMENT_BYTES + 1)

    with pytest.raises(RunDirectoryError, match=r"run\.json has 16777217 bytes, more than the 16777216"):
        store.ingest(fixture_run.path)


# what is wrong with the directory itself


def leave_the_directory(run):
    (run.path / "artifacts/out.log").symlink_to("/etc/hostname")


def loop(run):
    (run.path / "artifacts/again").symlink_to("..")


def make_a_fifo(run):
    os.mkfifo(run.path / "artifacts/pipe")


def replace_run_by_a_link_out(run):
    remove(run, "run.json")
    (run.path / "run.json").symlink_to("../elsewhere.json")


DIRECTORIES = {
    "a link that leaves it": (leave_the_directory, LinkInvalidError, "artifacts/out.log"),
    "a link that leads back above itself": (loop, LinkInvalidError, "artifacts/again"),
    "run.json as a link that leaves it": (replace_run_by_a_link_out, LinkInvalidError, "run.json"),
    "a FIFO": (make_a_fifo, FileUnreadableError, "artifacts/pipe"),
}


@pytest.mark.parametrize(("spoil", "kind", "named"), DIRECTORIES.values(), ids=DIRECTORIES.keys())
def test_a_directory_is_refused_with(store, fixture_run, spoil, kind, named):
    spoil(fixture_run)
    before = store.contents()

    with pytest.raises(kind) as refused:
        store.ingest(fixture_run.path)

    assert named in str(refused.value.problems)
    assert store.contents() == before


def test_a_run_directory_that_is_a_file_is_refused(store, fixture_run):
    with pytest.raises(FileUnreadableError, match="is not a directory"):
        store.ingest(fixture_run.path / "run.json")


def test_a_run_directory_that_is_not_there_is_refused(store, tmp_path):
    with pytest.raises(FileUnreadableError, match="No such file"):
        store.ingest(tmp_path / "nowhere")


ODD_NAMES = {
    "a control character": b"artifacts/bell\x07.log",
    "a name that is not UTF-8": b"artifacts/caf\xe9.log",
    "a name that is not NFC": "artifacts/cafe\u0301.log".encode(),
    "a name of 1,025 bytes": b"artifacts/" + b"/".join([b"n" * 202] * 4) + b"/" + b"n" * 203,
}


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES.keys())
def test_an_undeclared_file_with_an_odd_name_is_in_nobodys_way_until_it_is_to_be_stored(store, fixture_run, name):
    path = os.path.join(os.fsencode(fixture_run.path), name)  # noqa: PTH118 - Path has no bytes
    os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
    with open(path, "wb"):  # noqa: PTH123
        pass
    before = store.contents()

    with pytest.raises(PathInvalidError) as refused:
        store.ingest(fixture_run.path, include_undeclared=True)

    assert refused.value.problems[0].where == repr(os.fsdecode(name))
    assert store.contents() == before
    assert store.ingest(fixture_run.path).file_count == 8


def test_a_value_that_the_schema_refuses_is_named_by_its_pointer(store, newer_run):
    newer_run.edit("sources.lock.json", lambda lock: lock["sources"]["guide-board"].update(commit="main"))
    before = store.contents()

    with pytest.raises(MetadataInvalidError) as refused:
        store.ingest(newer_run.path)

    assert [problem.where for problem in refused.value.problems] == ["/source_commits/guide-board"]
    assert store.contents() == before
