"""One server for all tests of the API that do not need their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.service import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Shared: a test must not rely on being alone, and must not stop it."""
    with serving(tmp_path_factory.mktemp("service") / "home") as running:
        yield running
