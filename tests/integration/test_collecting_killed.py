"""Killed at every step of planning, applying and collecting: the next run ends it, exactly, and nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from artifactstore.domain.instant import Instant
from artifactstore.registry.applying import apply_plan
from artifactstore.registry.collecting import collect
from artifactstore.registry.duties import DONE, run_if_free
from artifactstore.registry.packages import find_package
from artifactstore.registry.planning import make_plan
from artifactstore.registry.store_duties import COLLECT
from artifactstore.registry.verify import verify_all
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import put_bytes, some_bytes
from tests.killed_children import killing
from tests.retention import expire, push, without_grace
from tests.support import SIGKILLED, fetch, replay_is_exact

if TYPE_CHECKING:
    from pathlib import Path

    from artifactstore.registry.registry import Registry


@pytest.fixture
def registry(registry: Registry) -> Registry:
    return without_grace(registry)


class _Round:
    """Content of its own: a package that expires, of which another has a little, and bytes that nobody recorded."""

    def __init__(self, registry: Registry, number: int) -> None:
        files = {f"small-{n}": some_bytes(700 + n, 1_000 * number + n) for n in range(10)}
        large = {"large.bin": some_bytes(2**20 + number, number)}
        self.kept_files = dict(list(files.items())[:2])
        self.doomed = push(registry, {**files, **large}, f"doomed-{number}")
        expire(registry)
        self.kept = push(registry, self.kept_files, f"kept-{number}")
        put_bytes(registry.store, some_bytes(3_000, number + 500_000))


def bytes_in(registry: Registry) -> int:
    """Of objects: what a writer has staged when it is killed is the duty clean-backends' to remove."""
    return sum(info.size_bytes for kind in ObjectKind for info in registry.store.list(kind))


def let_leases_run_out(registry: Registry) -> None:
    """Those of processes that are gone are over after five minutes."""
    with registry.transaction() as tx:
        tx.connection.execute("DELETE FROM lease")


def recorded_bytes(registry: Registry) -> int:
    with registry.catalog.snapshot() as queries:
        return sum(found.size_bytes for found in queries.objects(after=0, limit=100_000))


@pytest.mark.parametrize("step", ["plan", "apply", "collect"])
def test_killed_at_every_failpoint(
    registry: Registry, home: Path, database: dict[str, str], tmp_path: Path, step: str
) -> None:
    names: list[str] | None = None
    hit = 0
    with killing(home, database, "tests.retention_process") as kill:
        while names is None:
            hit += 1
            here = _Round(registry, hit)
            told = [step]
            if step != "plan":
                told += [make_plan(registry).digest] if step == "apply" else []
            if step == "collect":
                apply_plan(registry, make_plan(registry).digest)
            names, code = kill(hit, *told)
            assert code == (0 if names else SIGKILLED)

            let_leases_run_out(registry)
            apply_plan(registry, make_plan(registry).digest)
            assert collect(registry, wait_s=0, unrecorded=True).is_done, hit
            assert "deleted" == find_package(registry, here.doomed)[0].status
            assert here.kept_files == fetch(registry, here.kept, tmp_path / f"out-{hit}")
            assert bytes_in(registry) == recorded_bytes(registry), hit

    assert [] == verify_all(registry).damage
    replay_is_exact(registry)
    expected = {
        "plan": {"plan.before-ingest", "record.before-answer"},
        "apply": {"catalog.after-v1.package.deleted", "apply.after-batch"},
        "collect": {
            "collect.before-condemned", "collect.after-condemned", "collect.after-unrecorded", "collect.before-begun",
            "collect.after-begun", "collect.before-delete", "collect.after-delete", "repack.before-publish",
            "repack.before-record", "repack.after-record", "catalog.after-v1.object.deleted",
        },
    }[step]  # fmt: skip
    assert expected <= set(names)


@pytest.mark.parametrize("step", ["collect.after-condemned", "repack.before-record", "collect.before-delete"])
def test_a_collection_whose_owner_is_killed_is_taken_over_when_its_claim_has_run_out(
    registry: Registry, home: Path, database: dict[str, str], tmp_path: Path, step: str
) -> None:
    with killing(home, database, "tests.retention_process") as kill:
        _Round(registry, 1)
        apply_plan(registry, make_plan(registry).digest)
        names, _ = kill(0, "duty")
        assert names is not None
        here = _Round(registry, 2)
        apply_plan(registry, make_plan(registry).digest)
        _, code = kill(names.index(step) + 1, "duty")
    assert code == SIGKILLED

    meanwhile = run_if_free(registry, COLLECT)
    a_minute_later = replace(registry, clock=lambda: Instant(registry.clock() + 61_000_000))
    taken_over = run_if_free(a_minute_later, COLLECT)
    let_leases_run_out(registry)

    assert (None, DONE) == (meanwhile, taken_over and taken_over.outcome)
    assert collect(registry, wait_s=0, unrecorded=True).is_done
    assert here.kept_files == fetch(registry, here.kept, tmp_path / "out")
    assert bytes_in(registry) == recorded_bytes(registry)
    assert [] == verify_all(registry).damage
    replay_is_exact(registry)
