"""Eight writers, deletions, one collection after the other: nothing that is kept is ever missing, and space is exact.

Fifteen seconds on each database; ten minutes with ``LONG``.
"""

from __future__ import annotations

import os
import random
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.domain.collection import CollectionPolicy
from artifactstore.domain.retention import RetentionClass
from artifactstore.errors import ConcurrentUpdateError
from artifactstore.registry.applying import apply_plan
from artifactstore.registry.collecting import collect
from artifactstore.registry.ingest import ingest
from artifactstore.registry.planning import make_plan
from artifactstore.registry.retention import sweep
from artifactstore.registry.verify import verify_all
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import package_draft, some_bytes
from tests.at_once import at_once
from tests.retention import later
from tests.support import fetch, replay_is_exact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry

SECONDS = 600 if os.environ.get("LONG") else 15
WRITERS = 8
BETWEEN_COLLECTIONS_S = 2 if os.environ.get("LONG") else 0.5
POOL = {f"shared-{number}": some_bytes(900 + number, number) for number in range(40)}
LARGE_POOL = {f"large-{number}": some_bytes(2**20 + number, 1_000 + number) for number in range(4)}


@pytest.fixture
def registry(home: Path, database: dict[str, str]) -> Iterator[Registry]:
    settings = Settings.from_environment({"ARTIFACTSTORE_HOME": str(home), **database})
    with closing(open_registry(settings, actor="local:tester")) as opened:
        yield replace(opened, collection=CollectionPolicy(grace_s=0))


@dataclass
class _Soak:
    registry: Registry
    folder: Path
    seed: int
    until: float = field(default_factory=lambda: time.monotonic() + SECONDS)
    kept: dict[str, dict[str, bytes]] = field(default_factory=dict)
    collections: int = 0
    deleted: int = 0
    again: int = 0

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self.until

    def write(self, number: int) -> None:
        """Packages, a third of whose files others have too; half of them past their retention already."""
        drawn, count = random.Random(self.seed + number), 0
        long_ago = later(self.registry, -30)
        while self.goes_on:
            count += 1
            is_kept = drawn.random() < 0.5
            files = self._files(drawn, f"{number}-{count}")
            draft = replace(
                package_draft(files, external_id=f"run-{number}-{count}"),
                retention_class=RetentionClass.PERMANENT_RECORD if is_kept else RetentionClass.TRANSIENT,
            )
            package_id = self._ingest(self.registry if is_kept else long_ago, draft)
            if is_kept:
                self.kept[package_id] = files
                if drawn.random() < 0.2:
                    assert files == fetch(self.registry, package_id, self.folder / package_id)

    def _ingest(self, registry: Registry, draft: object) -> str:
        while True:
            try:
                return ingest(registry, draft).package_id  # type: ignore[arg-type]
            except ConcurrentUpdateError:
                self.again += 1

    def _files(self, drawn: random.Random, name: str) -> dict[str, bytes]:
        own = {f"own-{n}": some_bytes(500 + n, hash((name, n)) % 2**31) for n in range(7)}
        shared = {key: POOL[key] for key in drawn.sample(sorted(POOL), 3)}
        large = {key: LARGE_POOL[key] for key in drawn.sample(sorted(LARGE_POOL), int(drawn.random() < 0.3))}
        return {**own, **shared, **large}

    def delete(self) -> None:
        while self.goes_on:
            sweep(self.registry)
            self.deleted += apply_plan(self.registry, make_plan(self.registry).digest).deleted

    def collect(self) -> None:
        while self.goes_on:
            collect(self.registry, wait_s=0.2, unrecorded=self.collections % 2 == 1)
            self.collections += 1
            time.sleep(BETWEEN_COLLECTIONS_S)


def bytes_in(registry: Registry) -> int:
    return sum(info.size_bytes for kind in ObjectKind for info in registry.store.list(kind))


def test_a_soak(registry: Registry, tmp_path: Path) -> None:
    soak = _Soak(registry, tmp_path, seed=random.randrange(2**31))
    others = [soak.delete, soak.collect]

    answers = at_once(WRITERS + len(others), lambda n: soak.write(n) if n < WRITERS else others[n - WRITERS]())

    assert [None] * (WRITERS + len(others)) == answers, f"seed {soak.seed}"
    assert min(soak.collections, soak.deleted, len(soak.kept)) > 0
    for package_id, files in soak.kept.items():
        assert files == fetch(registry, package_id, tmp_path / f"last-{package_id}"), f"seed {soak.seed}"
    sweep(registry)
    made = make_plan(registry)
    apply_plan(registry, made.digest)
    assert collect(registry, wait_s=60, unrecorded=True).is_done
    assert [] == verify_all(registry).damage
    with registry.catalog.snapshot() as queries:
        recorded = sum(found.size_bytes for found in queries.objects(after=0, limit=10**6))
    assert bytes_in(registry) == recorded
    replay_is_exact(registry)
    assert threading.active_count() < 100
