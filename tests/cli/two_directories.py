"""A store in two directories with one package in the first, asked by the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import CliResult, start_cli, write_tree
from tests.two_backends import two_directories

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILES = {"a.txt": b"a" * 500, "b.txt": b"b" * 600}


@pytest.fixture
def settings(home: Path) -> dict[str, str]:
    return two_directories(home)


@pytest.fixture
def package_id(home: Path, settings: dict[str, str], tmp_path: Path) -> str:
    folder = write_tree(tmp_path / "run", FILES)
    answer = ask(home, settings, "push", str(folder), "--producer", "ci", "--external-id", "1")
    return str(answer.document["package_id"])


def ask(home: Path, settings: Mapping[str, str], *arguments: str) -> CliResult:
    return CliResult(start_cli(home, *arguments, settings=settings))
