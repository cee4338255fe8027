"""``--backend``: a package goes to the backend that the line names, on this host and on a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.service import make_tokens, serving
from tests.support import CliResult, start_cli, write_tree

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PUSH = ("push", "RUN", "--producer", "p")


@pytest.fixture
def settings(home: Path) -> dict[str, str]:
    """Two directories of one store; ``here`` is the default."""
    home.mkdir()
    tables = "".join(f'[backends.{name}]\nurl = "{(home / name).as_uri()}"\n' for name in ("here", "there"))
    (home / "backends.toml").write_text(f'default = "here"\n{tables}')
    return {"ARTIFACTSTORE_BACKENDS_CONFIG_PATH": str(home / "backends.toml")}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "run", {"a.txt": b"a", "b/c.txt": b"c"})


def cli(home: Path, settings: Mapping[str, str], *arguments: str) -> CliResult:
    return CliResult(start_cli(home, *arguments, settings=settings))


def push(run: Path, *more: str) -> tuple[str, ...]:
    return tuple(str(run) if argument == "RUN" else argument for argument in (*PUSH, *more))


def objects_in(home: Path, backend: str) -> int:
    return sum(path.is_file() for path in (home / backend).rglob("*"))


def test_a_package_goes_where_the_line_says(home: Path, settings: dict[str, str], run: Path) -> None:
    answer = cli(home, settings, "--backend", "there", *push(run))

    assert 0 == answer.code, answer.stderr
    assert (0, 2) == (objects_in(home, "here"), objects_in(home, "there"))
    listed = cli(home, settings, "storage", "list").document["objects"]
    assert {"there"} == {found["backend"] for found in listed}


def test_the_option_may_stand_anywhere(home: Path, settings: dict[str, str], run: Path) -> None:
    assert 0 == cli(home, settings, *push(run), "--backend=there").code

    assert 2 == objects_in(home, "there")


@pytest.mark.parametrize(
    ("option", "code"),
    [(("--backend", "nowhere"), "BACKEND_UNKNOWN"), (("--backend",), "USAGE"), (("--backend=",), "USAGE")],
)
def test_a_backend_that_is_not_there_is_refused(
    home: Path, settings: dict[str, str], run: Path, option: tuple[str, ...], code: str
) -> None:
    answer = cli(home, settings, *push(run), *option)

    assert 1 == answer.code
    assert code in answer.stderr


def test_a_server_puts_it_there_too(home: Path, settings: dict[str, str], run: Path) -> None:
    tokens = make_tokens(home, settings)
    with serving(home, tokens=tokens, environment=settings) as server:
        answer = cli(home, server.environment("writer"), "--backend", "there", *push(run))
        refused = cli(home, server.environment("writer"), "--backend", "nowhere", *push(run, "--external-id", "x"))

    assert 0 == answer.code, answer.stderr
    assert (0, 2) == (objects_in(home, "here"), objects_in(home, "there"))
    assert (1, True) == (refused.code, "BACKEND_UNKNOWN" in refused.stderr)
