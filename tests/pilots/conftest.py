"""A store in memory, a context on it, and runs to put in."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.bootstrap import host_of, open_registry
from artifactstore.built_in import load_plugin
from artifactstore.config import BackendSettings, Settings
from artifactstore.pilots.guide_board import PLUGIN, ingest_run
from artifactstore.plugins.context import EmbeddedContext
from artifactstore.registry.metadata_schemas import register_schema
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.guide_board_runs import NEWER_RUN, write_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from artifactstore.plugins import IngestResult, PackageReceipt
    from artifactstore.registry.registry import Registry

FIXTURE = Path(__file__).parents[1] / "fixtures" / "guide-board"
SETTINGS = Settings(home=Path("/nowhere"), database_url="sqlite://", backends={"default": BackendSettings("memory://")})


@dataclass(frozen=True)
class Store:
    registry: Registry

    @property
    def context(self) -> EmbeddedContext:
        return EmbeddedContext(host_of(self.registry, SETTINGS), load_plugin("guide-board"))

    def observe(self, run: Path, **options: Any) -> IngestResult:
        """Record a run."""
        return ingest_run(run, self.context, **options)

    def ingest(self, run: Path, **options: Any) -> PackageReceipt:
        """Record a run; its package's receipt."""
        package = self.observe(run, **options).package
        assert package is not None
        return package.receipt

    def contents(self) -> tuple[int, int, int]:
        """How many events, packages and stored objects there are."""
        with self.registry.catalog.snapshot() as queries:
            packages = len(queries.packages(after=0, limit=100))
            events = queries.latest_seq()
        objects = sum(len(list(self.registry.store.list(kind))) for kind in ObjectKind)
        return events, packages, objects


@dataclass(frozen=True)
class RunFolder:
    """A run directory that a test may spoil."""

    path: Path

    def edit(self, name: str, change: Callable[[dict], object]) -> None:
        document = json.loads((self.path / name).read_text())
        change(document)
        (self.path / name).write_text(json.dumps(document))

    def write(self, name: str, text: str) -> None:
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


@pytest.fixture
def store() -> Iterator[Store]:
    """A fresh store that knows the schema already, so that any new event is one too many."""
    with closing(open_memory_registry()) as registry:
        for slug, schema in PLUGIN.schemas().items():
            register_schema(registry, slug, schema)
        yield Store(registry)


@pytest.fixture
def another_store() -> Iterator[Store]:
    with closing(open_memory_registry()) as registry:
        yield Store(registry)


@pytest.fixture
def fixture_run(tmp_path: Path) -> RunFolder:
    """A copy of the frozen fixture."""
    return RunFolder(shutil.copytree(FIXTURE, tmp_path / "fixture"))


@pytest.fixture
def newer_run(tmp_path: Path) -> RunFolder:
    return RunFolder(write_run(tmp_path / "newer", NEWER_RUN, run_id="newer"))


def open_memory_registry() -> Registry:
    return open_registry(SETTINGS)
