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


def test_a_backend_that_gives_no_answer_is_named_by_verify_with_its_own_exit_code(
    home: Path, settings: dict[str, str], run: Path, tmp_path: Path
) -> None:
    cli(home, settings, *push(run))
    other = write_tree(tmp_path / "other", {"d.txt": b"d"})
    there = cli(home, settings, "--backend", "there", *push(other)).document["package_id"]
    (home / "there").rename(home / "unmounted")

    everything, objects = (cli(home, settings, *line) for line in (("verify", "--all"), ("storage", "verify")))
    one = cli(home, settings, "verify", str(there))
    for path in (home / "here" / "packs").rglob("*.*"):
        path.write_bytes(b"x")
    damaged = cli(home, settings, "verify", "--all")

    assert [(3, "incomplete")] * 2 == [(answer.code, answer.document["status"]) for answer in (everything, objects)]
    for answer in (everything, objects, damaged):
        assert ["there"] == [silent["backend"] for silent in answer.document["unreachable"]]
        assert "not looked at: backend there" in answer.stderr
    assert 2 == one.code
    assert "STORAGE_UNAVAILABLE" in one.stderr
    assert (2, "damaged") == (damaged.code, damaged.document["status"])


def test_a_server_that_does_not_know_a_backend_of_the_store_does_not_start(
    home: Path, settings: dict[str, str], run: Path
) -> None:
    """Else it would take in what no other server of the store can read."""
    cli(home, settings, *push(run))
    make_tokens(home, settings)
    (home / "other.toml").write_text(f'[backends.other]\nurl = "{(home / "other").as_uri()}"\n')

    answer = cli(home, {"ARTIFACTSTORE_BACKENDS_CONFIG_PATH": str(home / "other.toml")}, "serve", "--port", "0")

    assert (1, "") == (answer.code, answer.stdout)
    assert "CONFIGURATION_INVALID: objects are recorded in 'here', which is not configured" in answer.stderr
