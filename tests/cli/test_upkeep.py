"""``storage reconcile`` and ``heal``, as a person runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from artifactstore.storage.port import ObjectKind
from tests.cli.two_directories import FILES, ask, package_id, settings  # noqa: F401 - fixtures
from tests.support import write_tree
from tests.two_backends import ARCHIVE, DISK, paths_of

if TYPE_CHECKING:
    from pathlib import Path

# ruff: noqa: F811 - fixtures that are imported are named as arguments


def test_reconciling_a_clean_store_ends_with_0(home: Path, settings: dict[str, str], package_id: str) -> None:
    answer = ask(home, settings, "storage", "reconcile")

    assert (0, "clean", 2) == (answer.code, answer.document["status"], answer.document["agreeing"]["count"])
    assert [ARCHIVE, DISK] == answer.document["backends"]
    assert [] == answer.document["differences"]


def test_a_difference_ends_with_3_and_names_package_and_path(
    home: Path, settings: dict[str, str], package_id: str
) -> None:
    paths_of(home, DISK, ObjectKind.PACK)[0].unlink()

    answer = ask(home, settings, "storage", "reconcile", "--backend", DISK)
    other = ask(home, settings, "storage", "reconcile", "--backend", ARCHIVE)

    (difference,) = answer.document["differences"]
    assert (3, "different", "missing", DISK) == (
        answer.code, answer.document["status"], difference["kind"], difference["backend"],
    )  # fmt: skip
    assert [{"package_id": package_id, "path": path} for path in FILES] == difference["concerns"]
    assert 0 == other.code


def test_a_backend_that_gives_no_answer_is_named_and_the_other_compared(
    home: Path, settings: dict[str, str], package_id: str
) -> None:
    ask(home, settings, "storage", "copy", "--from", DISK, "--to", ARCHIVE)
    (home / ARCHIVE).rename(home / "unmounted")

    answer = ask(home, settings, "storage", "reconcile")

    assert (3, [DISK], [ARCHIVE]) == (
        answer.code, answer.document["backends"], [each["backend"] for each in answer.document["unreachable"]],
    )  # fmt: skip


def test_healing_from_a_directory_ends_with_0_and_the_package_verifies(
    home: Path, settings: dict[str, str], package_id: str, tmp_path: Path
) -> None:
    paths_of(home, DISK, ObjectKind.PACK)[0].unlink()

    answer = ask(home, settings, "heal", package_id, "--from", str(tmp_path / "run"))

    assert (0, "healed", 1) == (answer.code, answer.document["status"], answer.document["objects"])
    assert 0 == ask(home, settings, "verify", package_id).code


def test_what_cannot_be_healed_is_named_and_ends_with_3(
    home: Path, settings: dict[str, str], package_id: str, tmp_path: Path
) -> None:
    paths_of(home, DISK, ObjectKind.PACK)[0].unlink()
    (tmp_path / "run" / "b.txt").write_bytes(b"other")

    answer = ask(home, settings, "heal", package_id, "--from", str(tmp_path / "run"))

    assert (3, "not healed") == (answer.code, answer.document["status"])
    assert ["b.txt"] == [each["path"] for each in answer.document["refused"]]
    assert ["b.txt"] == [each["path"] for each in answer.document["not_healed"]]
    assert "refused: b.txt: it has 5 bytes, not 600" in answer.stderr


@pytest.mark.parametrize("arguments", [(), ("x", "--all"), ("--all", "--from", ".")])
def test_heal_is_told_what_to_heal_in_one_way(home: Path, settings: dict[str, str], arguments: tuple[str, ...]) -> None:
    answer = ask(home, settings, "heal", *arguments)

    assert 1 == answer.code
    assert "USAGE" in answer.stderr


def test_the_subsets_of_a_store_are_all_of_it(home: Path, settings: dict[str, str], package_id: str) -> None:
    parts = [ask(home, settings, "storage", "verify", "--subset", f"{number}/3") for number in (1, 2, 3)]
    wrong = ask(home, settings, "storage", "verify", "--subset", "4/3")

    assert [0, 0, 0] == [part.code for part in parts]
    assert 2 == sum(part.document["objects"] for part in parts)
    assert (1, True) == (wrong.code, "is not a subset" in wrong.stderr)


def test_the_scrub_can_be_paused_and_resumed(home: Path, settings: dict[str, str], package_id: str) -> None:
    paused = ask(home, settings, "storage", "scrub", "pause").document
    while_paused = ask(home, settings, "status").document
    resumed = ask(home, settings, "storage", "scrub", "resume").document

    assert paused["paused_at"] == while_paused["scrub"]["paused_at"]
    assert ["paused"] == [duty["state"] for duty in while_paused["duties"] if duty["name"] == "verify"]
    assert (None, None) == (resumed["paused_at"], resumed["paused_by"])


def test_a_store_is_rebuilt_from_its_storage(
    home: Path, settings: dict[str, str], package_id: str, tmp_path: Path
) -> None:
    ask(home, settings, "storage", "seal")
    later = write_tree(tmp_path / "later", {"c.txt": b"c"})
    ask(home, settings, "push", str(later), "--producer", "ci", "--external-id", "2")
    (home / "artifactstore.db").unlink()

    rebuilt = ask(home, settings, "rebuild", "--from-storage")
    replayed = ask(home, settings, "replay", "--check")
    verified = ask(home, settings, "verify", "--all")
    again = ask(home, settings, "rebuild", "--from-storage")

    document = rebuilt.document
    assert (0, "rebuilt", 1, 1) == (
        rebuilt.code, document["status"], document["packages"], len(document["recovered"]),
    )  # fmt: skip
    assert "who made them, and when, is not known" in rebuilt.stderr
    assert (0, 0) == (replayed.code, verified.code)
    assert "finalized" == ask(home, settings, "show", package_id).document["status"]
    assert (1, True) == (again.code, "has a log already" in again.stderr)


@pytest.mark.parametrize("arguments", [(), ("--from-storage", "--log", "x"), ("--from-storage", "--log", "ab")])
def test_rebuild_is_told_from_what(home: Path, settings: dict[str, str], arguments: tuple[str, ...]) -> None:
    answer = ask(home, settings, "rebuild", *arguments)

    assert (1, True) == (answer.code, "USAGE" in answer.stderr)
