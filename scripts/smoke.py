"""``make smoke``: the smoke procedure of docs/pilots/guide-board.md, by itself, on a free port.

::

    python scripts/smoke.py RUN_DIR HOME

HOME is emptied first. Each command is printed before it runs, and stops everything if it fails; the server is ended
whatever happens. The link is a dry run unless STATE_HUB_URL is set. The exit code says how it went.
"""

from __future__ import annotations

import json
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPTS = Path(__file__).parent
START_TIMEOUT_S = 60
END_TIMEOUT_S = 90
EXAMPLE_IDS = {
    "STATE_HUB_WORKSTREAM_ID": "11111111-1111-4111-8111-111111111111",
    "STATE_HUB_TASK_ID": "22222222-2222-4222-8222-222222222222",
}
"""For the dry run, where nobody has said which."""


class Stopped(Exception):  # noqa: N818 - what it stands for is said by its exit code
    """A step failed."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def main(run_dir: str, home: str) -> int:
    """Walk the procedure; the exit code."""
    signal.signal(signal.SIGTERM, _interrupted)
    shutil.rmtree(home, ignore_errors=True)
    here = {name: value for name, value in os.environ.items() if not name.startswith("ARTIFACTSTORE_")}
    here["ARTIFACTSTORE_HOME"] = str(Path(home).absolute())
    try:
        walk(run_dir, here, Path(home) / "server.log")
    except Stopped as failure:
        sys.stderr.write(f"smoke: {failure}\n")
        return failure.exit_code
    except KeyboardInterrupt:
        return 130
    sys.stdout.write("smoke: passed\n")
    return 0


def walk(run_dir: str, here: dict[str, str], log: Path) -> None:
    """Every step in order. Raises ``Stopped`` at the first that fails."""
    run(here, "artifactstore", "db", "upgrade")
    token = run(here, "artifactstore", "token", "create", "smoke", "--scope", "admin", shown=False)["token"]
    with serving(here, log) as url:
        there = {**here, "ARTIFACTSTORE_API_URL": url, "ARTIFACTSTORE_API_TOKEN": token}
        say(f"export ARTIFACTSTORE_API_URL={url} ARTIFACTSTORE_API_TOKEN=...")
        run(there, "python", script("register_schemas.py"))
        package_id = run(there, "artifactstore", "guide-board", "ingest", run_dir)["package_id"]
        run(there, "artifactstore", "verify", package_id)
        run(there, "artifactstore", "replay", "--check")
        if "STATE_HUB_URL" in here:
            run(there, "python", script("link_statehub.py"), package_id)
        else:
            for name, example in {**EXAMPLE_IDS, "STATE_HUB_RUN_DIR": run_dir}.items():
                say(f"export {name}={there.setdefault(name, example)}")
            run(there, "python", script("link_statehub.py"), "--dry-run", package_id)


def script(name: str) -> str:
    """A script as one would name it here."""
    return os.path.relpath(SCRIPTS / name)


def say(command: str) -> None:
    """Show a command."""
    sys.stdout.write(f"$ {command}\n")
    sys.stdout.flush()


def run(environment: dict[str, str], *command: str, shown: bool = True) -> dict[str, Any]:
    """Run a command, show it and its answer, which is a JSON document. Raises ``Stopped`` if it fails."""
    say(shlex.join(command))
    done = subprocess.run(program(*command), env=environment, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
    if shown or done.returncode:
        sys.stdout.write(done.stdout)
    if done.returncode:
        raise Stopped(f"{shlex.join(command)} ended with {done.returncode}", exit_code=done.returncode)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def program(name: str, *arguments: str) -> list[str]:
    """The command line as this very Python runs it."""
    return [sys.executable, *(("-m", name) if name == "artifactstore" else ()), *arguments]


@contextmanager
def serving(environment: dict[str, str], log: Path) -> Iterator[str]:
    """A server on a free port, its log in a file; the address. Raises ``Stopped`` if it does not start."""
    say("artifactstore serve --port 0 &")
    with log.open("w") as stderr:
        server = subprocess.Popen(  # noqa: S603 - our own command
            program("artifactstore", "serve", "--port", "0"),
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, text=True,
        )  # fmt: skip
        try:
            yield address(server, log)
        finally:
            server.terminate()
            server.communicate(timeout=END_TIMEOUT_S)
            say(f"kill %1  # the server has ended with {server.returncode}")


def address(server: subprocess.Popen[str], log: Path) -> str:
    """Wait for the ready line."""
    assert server.stdout is not None
    readable, _, _ = select.select([server.stdout], [], [], START_TIMEOUT_S)
    line = server.stdout.readline() if readable else ""
    if not line:
        raise Stopped(f"the server does not start:\n{log.read_text(encoding='utf-8')}", exit_code=2)
    sys.stdout.write(line)
    url: str = json.loads(line)["url"]
    return url


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
