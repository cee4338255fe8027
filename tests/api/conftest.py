"""One server for all tests of the API that do not need their own, and quick ones for those that do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.api.nursery import a_nursery
from tests.service import make_tokens, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.api.nursery import Nursery
    from tests.service import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Shared: a test must not rely on being alone, and must not stop it."""
    with serving(tmp_path_factory.mktemp("service") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with a_nursery() as running:
        yield running


@pytest.fixture
def own_server(nursery: Nursery, tmp_path: Path) -> Iterator[Server]:
    home = tmp_path / "home"
    with nursery.serving(home, make_tokens(home)) as running:
        yield running
