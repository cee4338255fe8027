"""Running a child and reading what it cost: wall time, CPU time, memory.

A child of ours is asked with one JSON document on its command line and answers with one on stdout; it times itself,
after its imports. A foreign command is timed from outside, by ``wait4``.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Measures = dict[str, float]
    """What one run gave, by the measure's name; the unit stands last in the name."""
    Request = Mapping[str, str | int]

ROOT = Path(__file__).resolve().parent.parent


class UnavailableError(Exception):
    """What was to be measured is not there: a peer not installed, a command not written yet. Says so in plain words."""


class FailedError(Exception):
    """A child ended badly."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A child that ended well."""

    stdout: str
    measures: Measures


def run(
    command: Sequence[str],
    *,
    folder: Path = ROOT,
    environment: Mapping[str, str] | None = None,
    user: str | None = None,
    may_warn: bool = False,
) -> Finished:
    """Run a command to its end, as another user if one is given; exit status 1 is accepted where it ``may_warn``.

    Raises ``FailedError``, or ``UnavailableError`` where there is no such program.
    """
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        began = time.perf_counter()
        child = _start(command, folder, environment, user, stdout, stderr)
        _, status, usage = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode and not (may_warn and child.returncode == 1):
            stderr.seek(0)
            said = stderr.read().decode(errors="replace").strip().splitlines() or ["(nothing on stderr)"]
            raise FailedError(f"{Path(command[0]).name} ended with {child.returncode}: {said[-1]}")
        stdout.seek(0)
        return Finished(stdout.read().decode(), {"wall_s": wall_s, "cpu_s": usage.ru_utime + usage.ru_stime})


def _start(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str] | None,
    user: str | None,
    stdout: IO[bytes],
    stderr: IO[bytes],
) -> subprocess.Popen[bytes]:
    surroundings = clean_environment(environment)
    try:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=surroundings,
            user=user,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
    except FileNotFoundError as error:
        raise UnavailableError(f"{command[0]} is not installed") from error


def ask(module: str, do: str, /, **request: str | int | Path) -> tuple[Measures, dict[str, str]]:
    """Ask a child of ours; its measures, and what it says in words. Raises ``FailedError`` or ``UnavailableError``."""
    return ask_another(sys.executable, {}, module, do, **request)


def ask_another(
    python: str, environment: Mapping[str, str], module: str, do: str, /, **request: str | int | Path
) -> tuple[Measures, dict[str, str]]:
    """The same of a child that another interpreter runs, in an environment of its own."""
    plain = {name: value if isinstance(value, int) else str(value) for name, value in request.items()}
    document = json.dumps({"do": do, **plain})
    answered = json.loads(run([python, "-m", module, document], environment=environment).stdout)
    if "unavailable" in answered:
        raise UnavailableError(answered["unavailable"])
    return answered["measures"], answered.get("words", {})


def answer(operations: Mapping[str, Callable[[Request], Measures | tuple[Measures, dict[str, str]]]]) -> None:
    """The child's side of ``ask``."""
    request = json.loads(sys.argv[1])
    try:
        found = operations[request["do"]](request)
    except UnavailableError as error:
        print(json.dumps({"unavailable": str(error)}))
        return
    measures, words = found if isinstance(found, tuple) else (found, {})
    print(json.dumps({"measures": measures, "words": words}))


@contextmanager
def stopwatch() -> Iterator[Measures]:
    """Wall and CPU seconds of a block, filled in when it ends."""
    measures: Measures = {}
    wall, cpu = time.perf_counter(), time.process_time()
    yield measures
    measures["wall_s"], measures["cpu_s"] = time.perf_counter() - wall, time.process_time() - cpu


def resident_bytes() -> int:
    """What this process holds in memory now (its peak, where the system does not tell)."""
    return _status_bytes("VmRSS")


def peak_resident_bytes(process_id: int | None = None) -> int:
    """The most this process, or another, has held. Not ``ru_maxrss`` where it can be helped: that survives ``exec``."""
    return _status_bytes("VmHWM", process_id)


def forget_peak(process_id: int) -> None:
    """Let the most that a process has held be what it holds now; where the system allows that."""
    with suppress(OSError):
        Path(f"/proc/{process_id}/clear_refs").write_text("5")


def warm(folders: Sequence[Path]) -> None:
    """Read every file, so that what is timed next finds it in the page cache."""
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                with (Path(parent) / name).open("rb", buffering=0) as file:
                    while file.read(1024 * 1024):
                        pass


def touch_memory(folder: Path, size_bytes: int) -> None:
    """Have the system find memory for files of this size, by writing one that is deleted before it reaches the disk.

    A virtual machine hands memory it does not use back to its host within seconds, and pays for every page that it asks
    for again: after 8 idle seconds, writing 2 GiB took 5.0 s instead of 2.2.
    """
    data = bytes(1024 * 1024)
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(0, size_bytes, len(data)):
            file.write(data)


def memory_folder() -> Path | None:
    """A directory whose files are in memory, if this system has the usual one."""
    folder = Path("/dev/shm")
    return folder if folder.is_dir() and os.access(folder, os.W_OK) else None


def _status_bytes(field: str, process_id: int | None = None) -> int:
    try:
        status = Path(f"/proc/{process_id or 'self'}/status").read_text()
    except OSError as error:
        if process_id is not None:
            raise UnavailableError("the memory of another process is told by Linux only") from error
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(f"{field}:"))


def clean_environment(more: Mapping[str, str] | None) -> dict[str, str]:
    """Ours without settings of the store and of AWS, and with byte code kept: nobody compiles while the clock runs."""
    dropped = ("ARTIFACTSTORE_", "AWS_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return kept | dict(more or {})
