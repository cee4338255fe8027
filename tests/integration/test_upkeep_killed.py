"""The upkeep of a store, killed at any step: the same command again does what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import some_bytes
from tests.integration.test_crash import SIGKILLED, check_store, copy_of, failpoints_of, push
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

    names = failpoints_of(tmp_path, template, heal)
    for hit in range(1, len(names) + 1):
        home = copy_of(template, tmp_path / f"home-{hit}")
        killed = run_cli(home, str(hit), *heal, program=("-m", "tests.crash_at"))
        assert (killed.code, killed.stdout) == (SIGKILLED, ""), names[hit - 1]

        again = run_cli(home, *heal)
        assert (again.code, again.document["not_healed"]) == (0, []), names[hit - 1]
        check_store(home, tmp_path / f"out-{hit}")

    assert {"heal.before-publish", "heal.before-record", "heal.after-record"} <= set(names)
