"""Server processes that start at once and die where a test says: ``python -m tests.api.nursery``.

One process imports everything and then forks a server for each line it is told: ``{"home", "log", "fatal", "room"}``.
While there is a file ``fatal`` the server counts the failpoints it passes, and kills itself at the one whose number
stands there, from 1; at 0 it kills at none and writes their names into its log. With ``room``, another such file,
storage has no more bytes left than that.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.service import END_TIMEOUT_S, Server, clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAIN = -1
DUTIES = ("duties", "duty ", "heart of ")
"""How the threads are named that work for the whole store, at moments of their own."""


class Nursery:
    """Tells the process that forks what to start; its children are ended with it."""

    def __init__(self) -> None:
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.api.nursery"],
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @contextmanager
    def serving(
        self, home: Path, tokens: dict[str, str], *, fatal_hit: int = PLAIN, room: Path | None = None
    ) -> Iterator[Server]:
        """A server on a home that exists, ended when the context is left."""
        log = home.with_name(f"{home.name}.log")
        log.write_bytes(b"")
        arm(home, fatal_hit)
        command = {"home": str(home), "log": str(log), "fatal": str(_fatal(home)), "room": room and str(room)}
        process = _Forked(self, self._ask(command)["pid"])
        server = Server(self._read()["url"], home, process, tokens)  # type: ignore[arg-type]
        try:
            yield server
        finally:
            server.stop()
            server.log = log.read_text().splitlines()

    def close(self) -> None:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.close()
        self._parent.wait(END_TIMEOUT_S)
        self._parent.stdout.close()

    def wait(self, pid: int) -> int:
        return int(self._ask({"wait": pid})["code"])

    def _ask(self, command: dict[str, Any]) -> Any:
        assert self._parent.stdin is not None
        print(json.dumps(command), file=self._parent.stdin, flush=True)
        return self._read()

    def _read(self) -> Any:
        assert self._parent.stdout is not None
        line = self._parent.stdout.readline()
        assert line, "no server came of it"
        return json.loads(line)


def arm(home: Path, fatal_hit: int) -> None:
    """Let the server of this home, which may be running, die at this failpoint from now on."""
    if fatal_hit == PLAIN:
        _fatal(home).unlink(missing_ok=True)
    else:
        _fatal(home).write_text(str(fatal_hit))


def _fatal(home: Path) -> Path:
    return home.with_name(f"{home.name}.fatal")


class _Forked:
    """A server as ``Server`` knows its process."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._nursery = nursery

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self.returncode = self._nursery.wait(self.pid)
        return self.returncode


@contextmanager
def a_nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    try:
        yield nursery
    finally:
        nursery.close()


# the process that forks


def main() -> None:
    import artifactstore.api.serve  # noqa: F401 - so that no server has to

    for line in sys.stdin:
        command = json.loads(line)
        if "wait" in command:
            _, status = os.waitpid(command["wait"], 0)
            _answer({"code": os.waitstatus_to_exitcode(status)})
            continue
        pid = os.fork()
        if pid == 0:
            os._exit(_serve(command))
        # the address comes from the server itself, on the same pipe, so this line must be first
    os._exit(0)


def _serve(command: dict[str, Any]) -> int:
    from artifactstore import failpoints
    from artifactstore.cli.main import run

    _answer({"pid": os.getpid()})
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(command["log"], os.O_WRONLY | os.O_APPEND), 2)
    os.environ["ARTIFACTSTORE_HOME"] = command["home"]
    failpoints.arm(_dying_as_told_by(Path(command["fatal"])))
    if command["room"] is not None:
        _limit_room(Path(command["room"]))
    return run(["serve", "--port", "0"])


def _dying_as_told_by(fatal: Path) -> Any:
    passed = 0

    def pass_by(name: str) -> None:
        nonlocal passed
        if threading.current_thread().name.startswith(DUTIES):  # what they do has nothing to do with the test
            return
        try:
            fatal_hit = int(fatal.read_text())
        except FileNotFoundError:
            return
        passed += 1
        if fatal_hit == 0:
            sys.stderr.write(f"failpoint {name}\n")
            sys.stderr.flush()
        elif passed == fatal_hit:
            os.kill(os.getpid(), signal.SIGKILL)

    return pass_by


def _limit_room(room: Path) -> None:
    """Storage writes what there is room for and is then told that there is none, as a full disk has it."""
    from artifactstore.storage import local

    whole_os = local.os

    class Full:
        def __getattr__(self, name: str) -> Any:
            return getattr(whole_os, name)

        def write(self, descriptor: int, data: memoryview) -> int:
            left = int(room.read_text())
            if data and left == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written = whole_os.write(descriptor, data[:left])
            room.write_text(str(left - written))
            return written

    local.os = Full()  # type: ignore[assignment]


def _answer(document: Any) -> None:
    print(json.dumps(document), flush=True)


if __name__ == "__main__":
    main()
