"""What many tests need: a store of their own, real parts throughout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults", action="store_true", help="run tests/faults, which need strace and mounts")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if collection_path.name == "faults" and not config.getoption("--faults") else None


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def registry(home: Path) -> Iterator[Registry]:
    """A store on a SQLite file and a local directory, as the embedded default has it."""
    registry = open_registry(Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)}), actor="local:tester")
    yield registry
    registry.close()
