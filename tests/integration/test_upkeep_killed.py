"""The upkeep of a store, killed at any step: the same command again does what is left."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.domain.instant import Instant
from artifactstore.registry.duties import DONE, run_due
from artifactstore.registry.ingest import ingest
from artifactstore.registry.store_duties import VERIFY
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import package_draft, some_bytes
from tests.killed_commands import check_store, failpoints_of, killed_at, push
from tests.support import objects_of_kind, run_cli, write_tree

if TYPE_CHECKING:
    from pathlib import Path

FILES = {"run.json": b"{}", "logs/a.txt": b"a" * 5000, "large.bin": some_bytes(2 * 2**20)}


def test_killed_at_every_failpoint_of_a_healing(tmp_path: Path) -> None:
    template, folder = tmp_path / "template", write_tree(tmp_path / "run", FILES)
    package_id = run_cli(template, *push(folder)).document["package_id"]
    objects_of_kind(template, ObjectKind.PACK)[0].unlink()
    objects_of_kind(template, ObjectKind.BLOB)[0].unlink()
    heal = ("heal", package_id, "--from", str(folder))

    names = failpoints_of(template, tmp_path / "dry-run", heal)
    for hit in range(1, len(names) + 1):
        home = killed_at(hit, template, tmp_path / f"home-{hit}", heal)

        again = run_cli(home, *heal)
        assert (again.code, again.document["not_healed"]) == (0, []), names[hit - 1]
        check_store(home, tmp_path / f"out-{hit}")

    assert {"heal.before-publish", "heal.before-record", "heal.after-record"} <= set(names)


def settings_of(home: Path) -> Settings:
    return Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)})


@pytest.mark.parametrize(("step", "kept"), [("scrub.before-place-kept", 10), ("scrub.after-page", 20)])
def test_a_scrub_that_is_killed_goes_on_where_it_stood(home: Path, step: str, kept: int) -> None:
    with closing(open_registry(settings_of(home))) as registry:
        small = replace(registry, pack_threshold_bytes=0)
        for number in range(15):
            ingest(small, package_draft({"x": b"%d" % number}, external_id=f"run-{number}"))
        run_due(registry, [VERIFY])
        with registry.transaction() as tx:
            tx.connection.execute("UPDATE duty SET next_run_at = 1, succeeded_at = 1 WHERE name = 'verify'")
    names = failpoints_of(home, home.parent / "dry-run", ("duties", "run"))
    second = [number for number, name in enumerate(names, start=1) if name == step][1]

    left = killed_at(second, home, home.parent / "killed", ("duties", "run"))

    with closing(open_registry(settings_of(left))) as registry:
        later = replace(registry, clock=lambda: Instant(registry.clock() + 120_000_000))
        (run,) = run_due(later, [VERIFY])
    assert run.detail is not None
    assert (DONE, 30 - kept) == (run.outcome, run.detail["objects"])


def a_store(home: Path, folder: Path, *, sealed: int, unsealed: int) -> None:
    for number in range(sealed + unsealed):
        run = write_tree(folder / str(number), {**FILES, "number": b"%d" % number})
        assert run_cli(home, *push(run, f"run-{number}")).code == 0
        if number == sealed - 1:
            assert run_cli(home, "storage", "seal").document["segments"] == 1


def test_killed_at_every_failpoint_of_a_sealing(tmp_path: Path) -> None:
    template = tmp_path / "template"
    a_store(template, tmp_path, sealed=1, unsealed=1)
    seal = ("storage", "seal")

    names = failpoints_of(template, tmp_path / "dry-run", seal)
    for hit in range(1, len(names) + 1):
        home = killed_at(hit, template, tmp_path / f"home-{hit}", seal)

        assert run_cli(home, *seal).code == 0
        check_store(home, tmp_path / f"out-{hit}")
        lose_the_database(home)
        rebuilt = run_cli(home, "rebuild", "--from-storage").document
        assert (rebuilt["packages"], rebuilt["recovered"]) == (2, []), names[hit - 1]

    assert {"seal.before-publish", "seal.before-record", "seal.after-record"} <= set(names)


def test_killed_at_every_failpoint_of_a_rebuilding(tmp_path: Path) -> None:
    template = tmp_path / "template"
    a_store(template, tmp_path, sealed=2, unsealed=2)
    lose_the_database(template)
    rebuild = ("rebuild", "--from-storage")

    names = failpoints_of(template, tmp_path / "dry-run", rebuild)
    for hit in range(1, len(names) + 1):
        home = killed_at(hit, template, tmp_path / f"home-{hit}", rebuild)

        again = run_cli(home, *rebuild)
        if names[hit - 1] == "rebuild.after-end" or (names[hit - 1], hit) == ("catalog.after-commit", len(names) - 1):
            assert (again.code, "has a log already" in again.stderr) == (1, True), names[hit - 1]
        else:
            assert (again.code, again.document["packages"], len(again.document["recovered"])) == (0, 2, 2)
        check_store(home, tmp_path / f"out-{hit}")

    steps = ("before-log", "after-log", "after-segments", "after-packages", "before-end", "after-end")
    assert {f"rebuild.{step}" for step in steps} <= set(names)


def lose_the_database(home: Path) -> None:
    for path in home.glob("artifactstore.db*"):
        path.unlink()
