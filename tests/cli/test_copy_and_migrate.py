"""``storage copy`` and ``storage migrate``, as a person runs them."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.storage.port import ObjectKind
from tests.cli.two_directories import FILES, ask, package_id, settings  # noqa: F401 - fixtures
from tests.support import flip_byte
from tests.two_backends import ARCHIVE, DISK, backends_file, paths_of, settings_from

if TYPE_CHECKING:
    from pathlib import Path

COPY = ("storage", "copy", "--from", DISK, "--to", ARCHIVE)
MIGRATE = ("storage", "migrate", "--from", DISK, "--to", ARCHIVE, "--wait-s", "0", "--grace-s", "0")

# ruff: noqa: F811 - fixtures that are imported are named as arguments


def test_a_copy_says_what_it_did(home: Path, settings: dict[str, str], package_id: str) -> None:
    first, again = ask(home, settings, *COPY), ask(home, settings, *COPY)

    figures = {"blobs_saved": 0, "passed_over": 0, "damage": [], "lost": []}
    size = sum(path.stat().st_size for kind in ObjectKind for path in paths_of(home, DISK, kind))
    ends = {"status": "copied", "from": DISK, "to": ARCHIVE}
    assert {**ends, "objects": 2, "bytes_copied": size, "already_there": 0, **figures} == first.document
    assert {**ends, "objects": 0, "bytes_copied": 0, "already_there": 2, **figures} == again.document
    assert (0, 0, "") == (first.code, again.code, first.stderr)


def test_one_package_can_be_copied(home: Path, settings: dict[str, str], package_id: str) -> None:
    copied = ask(home, settings, *COPY, "--package", package_id)
    unknown = ask(home, settings, *COPY, "--package", "nope")

    assert (2, 1) == (copied.document["objects"], unknown.code)
    assert "PACKAGE_UNKNOWN" in unknown.stderr


def test_damage_is_named_and_the_exit_code_is_2(home: Path, settings: dict[str, str], package_id: str) -> None:
    pack = paths_of(home, DISK, ObjectKind.PACK)[0]
    flip_byte(pack, pack.read_bytes().index(FILES["b.txt"]) + 9)

    answer = ask(home, settings, *COPY)

    assert (2, "damaged", 1) == (answer.code, answer.document["status"], answer.document["blobs_saved"])
    assert [(package_id, "b.txt")] == [(lost["package_id"], lost["path"]) for lost in answer.document["lost"]]
    assert f"lost: package {package_id}, file b.txt: no backend has it undamaged" in answer.stderr


def test_a_migration_leaves_nothing_and_says_what_to_do(
    home: Path, settings: dict[str, str], package_id: str, tmp_path: Path
) -> None:
    answer = ask(home, settings, *MIGRATE)

    document = answer.document
    assert (0, "migrated", 2, 2, 0, 0) == (
        answer.code, *(document[name] for name in ("status", "verified", "deleted", "left", "unrecorded")),
    )  # fmt: skip
    assert [] == [path for kind in ObjectKind for path in paths_of(home, DISK, kind)]
    assert "Nothing refers to disk any more" in answer.stderr
    only_the_archive = backends_file(home, {ARCHIVE: (home / ARCHIVE).as_uri()}, default=ARCHIVE)
    assert 0 == ask(home, only_the_archive, "verify", "--all").code
    assert 0 == ask(home, only_the_archive, "get", package_id, "-o", str(tmp_path / "out")).code


def test_who_is_waited_for_is_named_and_the_exit_code_is_3(
    home: Path, settings: dict[str, str], package_id: str
) -> None:
    with closing(open_registry(settings_from(settings))) as registry:
        with registry.transaction() as tx:
            tx.open_lease("an ingest", "ingest", registry.clock())
        waiting = ask(home, settings, *MIGRATE)
        with registry.transaction() as tx:
            tx.end_lease("an ingest")
    done = ask(home, settings, *MIGRATE)

    assert (3, 0) == (waiting.code, done.code)
    assert '"status": "waiting"' in waiting.stdout
    assert "waiting for: ingest an ingest of " in waiting.stderr


@pytest.mark.parametrize("command", [COPY, MIGRATE], ids=["copy", "migrate"])
def test_both_work_on_the_host_of_the_store_only(
    home: Path, settings: dict[str, str], command: tuple[str, ...]
) -> None:
    answer = ask(home, settings, *command, "--server", "http://127.0.0.1:9")

    assert 1 == answer.code
    assert "works on the host of the store" in answer.stderr


@pytest.mark.parametrize("command", [COPY, MIGRATE], ids=["copy", "migrate"])
def test_backends_must_be_configured(home: Path, command: tuple[str, ...]) -> None:
    answer = ask(home, {}, *command)

    assert 1 == answer.code
    assert "BACKEND_UNKNOWN" in answer.stderr
