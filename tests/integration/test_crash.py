"""A process killed at any step leaves a store that opens, verifies, replays and takes the same run again."""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

import pytest

from artifactstore.registry.verify import verify_all
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import some_bytes
from tests.killed_children import killing
from tests.killed_commands import check_store, failpoints_of, killed_at, push
from tests.observing import rows_of
from tests.observing_process import once
from tests.support import SIGKILLED, flip_byte, objects_of_kind, replay_is_exact, run_cli, start_cli, write_tree

if TYPE_CHECKING:
    from pathlib import Path

    from artifactstore.registry.registry import Registry

FILES = {"run.json": b"{}", "logs/a.txt": b"a" * 5000, "logs/b.txt": b"", "large.bin": some_bytes(2 * 2**20)}
KILLS = 300 if os.environ.get("LONG") else 25


def empty_store(home: Path, folder: Path) -> None:
    """The first use of a home: tables are made, too."""


def store_with_similar_run(home: Path, folder: Path) -> None:
    assert run_cli(home, *push(write_tree(folder / "similar", {**FILES, "run.json": b"[]"}), "run-0")).code == 0


def store_with_the_run_damaged(home: Path, folder: Path) -> None:
    assert run_cli(home, *push(write_tree(folder / "original", FILES))).code == 0
    flip_byte(objects_of_kind(home, ObjectKind.PACK)[0], 100)
    assert run_cli(home, "verify", "--all").code == 2


BEFORE = {setup.__name__: setup for setup in (empty_store, store_with_similar_run, store_with_the_run_damaged)}


@pytest.mark.parametrize("before", BEFORE)
def test_killed_at_every_failpoint_of_an_ingest(tmp_path: Path, before: str) -> None:
    folder = write_tree(tmp_path / "run", FILES)
    template = tmp_path / "template"
    BEFORE[before](template, tmp_path)

    names = failpoints_of(template, tmp_path / "dry-run", push(folder))
    digests = set()
    for hit in range(1, len(names) + 1):
        home = killed_at(hit, template, tmp_path / f"home-{hit}", push(folder))

        if before != "store_with_the_run_damaged":
            check_store(home, tmp_path / f"out-{hit}")
        again = run_cli(home, *push(folder))
        digests.add(again.document["manifest_digest"])
        check_store(home, tmp_path / f"again-{hit}")

    assert len(digests) == 1
    assert len(names) >= 8


@pytest.mark.parametrize(
    "command",
    [("retention", "hold", "ID", "--reason", "r"), ("retention", "extend", "ID", "--until", "2099-01-01T00:00:00Z",
      "--reason", "r"), ("verify", "--all")],
    ids=lambda command: " ".join(command[:2]),
)  # fmt: skip
def test_killed_at_every_failpoint_of_a_change(tmp_path: Path, command: tuple[str, ...]) -> None:
    template = tmp_path / "template"
    package_id = run_cli(template, *push(write_tree(tmp_path / "run", FILES))).document["package_id"]
    if command[0] == "verify":
        flip_byte(objects_of_kind(template, ObjectKind.PACK)[0], 100)
    arguments = tuple(package_id if argument == "ID" else argument for argument in command)

    names = failpoints_of(template, tmp_path / "dry-run", arguments)
    for hit in range(1, len(names) + 1):
        home = killed_at(hit, template, tmp_path / f"home-{hit}", arguments)

        assert run_cli(home, "replay", "--check").code == 0
        again = run_cli(home, *arguments)
        done_already = command[1] == "extend" and "not later than the present expiry" in again.stderr
        assert again.code == (2 if command[0] == "verify" else int(done_already)), again.stderr
        assert run_cli(home, "replay", "--check").code == 0

    assert len(names) >= 3


@pytest.mark.parametrize(
    ("database", "with_package"),
    [("sqlite", False), ("sqlite", True), ("postgresql", False)],
    indirect=["database"],
    ids=["sqlite", "sqlite-with-a-package", "postgresql"],
)
def test_killed_at_every_failpoint_of_an_observation(
    registry: Registry, home: Path, database: dict[str, str], with_package: bool
) -> None:
    """Each hit observes something of its own. Until the commit nothing of it is there, then all of it."""
    package = ["package"] if with_package else []
    with killing(home, database, "tests.observing_process", "killed") as observe:
        names, _ = observe(0, 0, *package)
        assert names is not None
        committed = len(names) - names[::-1].index("catalog.before-commit")
        first = names.index("record.before-transaction" if with_package else "observe.before-transaction") + 1
        before = state_of(registry)

        for hit in range(first, len(names) + 1):
            assert (None, SIGKILLED) == observe(hit, hit, *package), names[hit - 1]
            assert (state_of(registry) == before) == (hit <= committed), names[hit - 1]

            again = once(registry, hit, with_package=with_package)
            is_new = hit <= committed
            assert [is_new, is_new, is_new if with_package else None] == again[1::2], names[hit - 1]
            before = state_of(registry)

    replay_is_exact(registry)
    assert [] == verify_all(registry).damage
    assert {"catalog.after-v1.core.ingested", "catalog.after-commit"} < set(names[first:])


def state_of(registry: Registry) -> list[list[tuple[object, ...]]]:
    """Every row of what an observation may change."""
    tables = ("source", "envelope", "party", "package", "package_observation", "event")
    return [sorted(rows_of(registry, table), key=lambda row: row[:2]) for table in tables]


def test_killed_at_random_moments(tmp_path: Path) -> None:
    """A real kill of a real process; the moments are drawn anew each time and the seed is in the failure."""
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    folder = write_tree(tmp_path / "run", {f"d{n % 7}/f{n}": some_bytes(2000, n) for n in range(400)} | FILES)
    home = tmp_path / "home"
    started = time.monotonic()
    reference = run_cli(tmp_path / "reference", *push(folder)).document["manifest_digest"]
    longest_s = time.monotonic() - started

    killed = 0
    for number in range(KILLS):
        process = start_cli(home, *push(folder, f"run-{number}"))
        time.sleep(moments.uniform(0, longest_s))
        process.kill()
        process.communicate()
        killed += process.returncode == SIGKILLED
        answer = run_cli(home, *push(folder, f"run-{number}"))
        assert answer.code == 0, (seed, number, answer.stderr)

    check_store(home, tmp_path / "out")
    assert killed > 0, "no kill came in time: the moments are wrong"
    again = run_cli(tmp_path / "other", *push(folder)).document["manifest_digest"]
    assert reference == again
