"""Tokens and the database's revision, by the command line."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.catalog.contributions import head
from artifactstore.catalog.migrations import REVISIONS
from artifactstore.config import Settings
from artifactstore.domain.instant import parse_instant
from artifactstore.registry.tokens import authenticate
from tests.support import run_cli, say_revision

if TYPE_CHECKING:
    from pathlib import Path

    from artifactstore.domain.access import Caller

DAY_US = 86_400_000_000


def caller_of(home: Path, text: str) -> Caller:
    registry = open_registry(Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)}))
    try:
        return authenticate(registry, text)
    finally:
        registry.close()


def test_a_token_that_is_made_lets_its_bearer_in(home: Path) -> None:
    answer = run_cli(home, "token", "create", "ci", "--scope", "write:ci", "--scope", "read:nightly")

    made = answer.document
    assert ["name", "token", "scopes", "expires_at"] == list(made)
    assert ("ci", ["read:nightly", "write:ci"], None) == (made["name"], made["scopes"], made["expires_at"])
    caller = caller_of(home, made["token"])
    assert {"read": ["ci", "nightly"], "write": ["ci"], "admin": False} == caller.describe()
    assert "not shown again" in answer.stderr
    assert made["token"] not in answer.stderr


def test_a_token_is_shown_only_when_it_is_made(home: Path) -> None:
    made = run_cli(home, "token", "create", "ci", "--scope", "read").document

    listed, events = run_cli(home, "token", "list"), run_cli(home, "events", "--payload")
    again = run_cli(home, "token", "create", "ci", "--scope", "read", "--debug")
    revoked = run_cli(home, "token", "revoke", "ci")

    told = "".join(answer.stdout + answer.stderr for answer in (listed, events, again, revoked))
    assert made["token"].split("_", 2)[2] not in told


def test_tokens_are_listed_with_all_that_is_known_of_them(home: Path) -> None:
    assert {"tokens": []} == run_cli(home, "token", "list").document
    made = run_cli(
        home, "token", "create", "ci", "--scope", "read", "--expires-at", "2999-01-01T01:00:00+01:00"
    ).document
    run_cli(home, "token", "create", "ops", "--scope", "admin")
    run_cli(home, "token", "revoke", "ops")

    first, second = run_cli(home, "token", "list").document["tokens"]

    assert [
        "name", "token_id", "scopes", "created_at", "created_by", "expires_at", "revoked_at", "last_used_at"
    ] == list(first)  # fmt: skip
    assert ("ci", "2999-01-01T00:00:00.000000Z", None) == (first["name"], made["expires_at"], first["revoked_at"])
    assert (first["token_id"], first["expires_at"]) == (made["token"].split("_", 2)[1], made["expires_at"])
    assert first["created_by"].startswith("local:")
    assert ("ops", ["admin"], None) == (second["name"], second["scopes"], second["expires_at"])
    assert second["revoked_at"] > second["created_at"]


@pytest.mark.parametrize(("duration", "days"), [("90d", 90), ("36h", 1.5), ("1440m", 1)])
def test_a_token_expires_in_a_while(home: Path, duration: str, days: float) -> None:
    made = run_cli(home, "token", "create", "ci", "--scope", "read", "--expires-in", duration).document

    (listed,) = run_cli(home, "token", "list").document["tokens"]

    assert made["expires_at"] == listed["expires_at"]
    lasts = parse_instant(listed["expires_at"]) - parse_instant(listed["created_at"])
    assert days == round(lasts / DAY_US, 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ci"], "Missing option '--scope'"),
        (["ci", "--scope", "write"], "there is no scope 'write'"),
        (["ci", "--scope", "read:A"], "read, read:<producer>, write:<producer> or admin"),
        (["C I", "--scope", "read"], "the name 'C I'"),
        (["ci", "--scope", "read", "--expires-in", "90"], "not a duration: '90'"),
        (["ci", "--scope", "read", "--expires-in", "0d"], "not a duration: '0d'"),
        (["ci", "--scope", "read", "--expires-in", "-1d"], "not a duration: '-1d'"),
        (["ci", "--scope", "read", "--expires-in", "9999999d"], "not a duration"),
        (["ci", "--scope", "read", "--expires-at", "2020-01-01T00:00:00Z"], "expired already"),
        (["ci", "--scope", "read", "--expires-at", "2999-01-01"], "no offset from UTC"),
        (["ci", "--scope", "read", "--expires-at", "2999-01-01T00:00:00Z", "--expires-in", "1d"], "not both"),
    ],
)
def test_what_makes_no_token_is_said(home: Path, arguments: list[str], said: str) -> None:
    answer = run_cli(home, "token", "create", *arguments)

    assert (1, "") == (answer.code, answer.stdout)
    assert said in answer.stderr
    assert {"tokens": []} == run_cli(home, "token", "list").document


def test_a_name_that_is_in_use_is_refused_until_it_is_revoked(home: Path) -> None:
    run_cli(home, "token", "create", "ci", "--scope", "read")

    again = run_cli(home, "token", "create", "ci", "--scope", "read")
    revoked = run_cli(home, "token", "revoke", "ci")
    twice = run_cli(home, "token", "revoke", "ci")
    anew = run_cli(home, "token", "create", "ci", "--scope", "read")

    assert (1, True) == (again.code, "TOKEN_EXISTS" in again.stderr)
    assert (0, "ci") == (revoked.code, revoked.document["name"])
    assert (1, True) == (twice.code, "TOKEN_UNKNOWN" in twice.stderr)
    assert 0 == anew.code


# the database


def test_where_there_is_no_database_nothing_is_made_by_looking(home: Path) -> None:
    answer = run_cli(home, "db", "current")

    assert {"revision": None, "head": head(), "at_head": False} == answer.document
    assert not home.exists()


def test_an_upgrade_makes_the_database_and_is_harmless_again(home: Path) -> None:
    at_head = {"revision": head(), "head": head(), "at_head": True}

    assert at_head == run_cli(home, "db", "upgrade").document
    assert at_head == run_cli(home, "db", "current").document
    before = (home / "artifactstore.db").read_bytes()
    assert at_head == run_cli(home, "db", "upgrade").document
    assert before == (home / "artifactstore.db").read_bytes()


def test_looking_at_a_database_that_is_behind_leaves_it_there(home: Path) -> None:
    run_cli(home, "db", "upgrade")
    say_revision(home / "artifactstore.db", REVISIONS[0])
    before = sorted(path.name for path in home.iterdir())

    answers = [run_cli(home, "db", "current").document for _ in range(2)]

    assert [{"revision": REVISIONS[0], "head": head(), "at_head": False}] * 2 == answers
    assert before == sorted(path.name for path in home.iterdir())


def test_an_upgrade_brings_a_database_from_the_first_revision_to_the_newest(home: Path) -> None:
    home.mkdir()
    made_at(home, REVISIONS[0])
    behind = run_cli(home, "db", "current").document

    upgraded = run_cli(home, "db", "upgrade").document

    assert (REVISIONS[0], head(), True) == (behind["revision"], upgraded["revision"], upgraded["at_head"])
    assert 0 == run_cli(home, "token", "create", "ci", "--scope", "read").code


def made_at(home: Path, revision: str) -> None:
    """A database as that revision's software left it."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    from artifactstore.catalog import event_log
    from artifactstore.catalog.sqlite import SqliteConnection

    engine = create_engine(f"sqlite:///{home}/artifactstore.db", poolclass=NullPool)
    with engine.begin() as bound:
        config = Config(attributes={"connection": bound})
        config.set_main_option("script_location", "artifactstore.catalog:migrations")
        command.upgrade(config, revision)
    connection = sqlite3.connect(home / "artifactstore.db")
    event_log.create(SqliteConnection(connection), bytes(32), 0)
    connection.commit()
    connection.close()


def test_a_database_of_a_newer_version_is_refused(home: Path) -> None:
    run_cli(home, "db", "upgrade")
    say_revision(home / "artifactstore.db", "9999")

    for command in ("current", "upgrade"):
        answer = run_cli(home, "db", command)
        assert (1, True) == (answer.code, "DATABASE_VERSION" in answer.stderr)


# on the host only


@pytest.mark.parametrize(
    "arguments",
    [["token", "create", "ci", "--scope", "read"], ["token", "list"], ["token", "revoke", "ci"], ["db", "current"],
     ["db", "upgrade"]],
    ids=" ".join,
)  # fmt: skip
def test_a_server_is_not_asked_for_what_its_host_does(home: Path, arguments: list[str]) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ARTIFACTSTORE_")}

    answer = subprocess.run(
        [sys.executable, "-m", "artifactstore", *arguments],
        env={**clean, "ARTIFACTSTORE_HOME": str(home), "ARTIFACTSTORE_API_URL": "http://127.0.0.1:9"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert (1, "") == (answer.returncode, answer.stdout)
    assert re.search(r"http://127\.0\.0\.1:9 is a server", answer.stderr)
    assert not home.exists()
