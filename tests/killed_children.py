"""Children that kill themselves at a failpoint: one for each line of standard input, forked before anything is open.

A line is HIT and what else the child is to be told. What it has passed is answered if there are not so many failpoints,
with the signal that ended it: one JSON line each.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from artifactstore import failpoints
from artifactstore.bootstrap import open_registry
from tests.service import clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from artifactstore.registry.registry import Registry

    Act = Callable[[Registry, list[str]], object]


def kill_each(act: Act) -> None:
    """For each line a child: what it said, and the signal that ended it."""
    for line in sys.stdin:
        hit, *told = line.split()
        reading, writing = os.pipe()
        if not (child := os.fork()):
            os.write(writing, json.dumps(_be_killed(int(hit), told, act)).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            said = json.loads(pipe.read() or "null")
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{json.dumps([said, os.waitstatus_to_exitcode(status)])}\n")
        sys.stdout.flush()


def _be_killed(fatal_hit: int, told: list[str], act: Act) -> list[str]:
    """By its own hand at a failpoint; the names of all that it has passed if it is not."""
    passed: list[str] = []

    def pass_by(name: str) -> None:
        passed.append(name)
        if len(passed) == fatal_hit:
            os.kill(os.getpid(), signal.SIGKILL)

    with closing(open_registry()) as registry:
        failpoints.arm(pass_by)
        act(registry, told)
        failpoints.arm(None)
    return passed


@contextmanager
def killing(
    home: Path, database: Mapping[str, str], *program: str
) -> Iterator[Callable[..., tuple[list[str] | None, int]]]:
    """A process that runs ``kill_each``; a function that has a child of it do what it is told, up to a failpoint."""
    environment = {**clean_environment(), "ARTIFACTSTORE_HOME": str(home), **database}
    process: Any = subprocess.Popen(
        [sys.executable, "-m", *program],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def kill(hit: int, *told: object) -> tuple[list[str] | None, int]:
        process.stdin.write(f"{hit} {' '.join(map(str, told))}\n")
        process.stdin.flush()
        said, code = json.loads(process.stdout.readline())
        return said, code

    try:
        yield kill
    finally:
        process.communicate(timeout=60)
