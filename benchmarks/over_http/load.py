"""Many clients at once, each pushing runs of its own as fast as it is answered. Run as a child.

So that the generator does not hold the server up, it does as little as a client can: four processes share the clients;
each run is W1's files with a nonce at the end, so digests and CRCs are continued from where the common part left them;
a push is three requests on a connection that is kept. How much it needed is among its measures: the processor cores it
used, and the share of the clients' time that was spent waiting for answers.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import multiprocessing
import os
import statistics
import time
import zlib
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from blake3 import blake3

from artifactstore.client import Client
from artifactstore.domain.zip_format import ZipDirectory
from benchmarks.processes import FailedError, answer

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from benchmarks.processes import Measures, Request

PRODUCER = "load"
_PROCESSES = 4
_START_TIMEOUT_S = 120.0
_ANSWER_TIMEOUT_S = 120.0
_NONCE_BYTES = 24


class _Settings(NamedTuple):
    """What one process of the generator is told. Its clients take the servers in turn."""

    addresses: tuple[str, ...]
    token: str
    source: str
    clients: int
    seconds: float


class _Outcome(NamedTuple):
    """What the clients of a process met: the seconds of each acknowledged push, and what went wrong, in words."""

    times_s: list[float]
    errors: list[str]
    began_at: float
    ended_at: float
    cpu_s: float


def push_at_once(request: Request) -> tuple[Measures, dict[str, str]]:
    """``clients`` push for ``seconds``; then a server is asked what it has.

    ``address`` is one server's, or those of several that serve the same store, with a space between.
    """
    addresses, clients = tuple(str(request["address"]).split()), int(request["clients"])
    processes = min(_PROCESSES, clients)
    shares = [clients // processes + (number < clients % processes) for number in range(processes)]
    settings = [
        _Settings(addresses, str(request["token"]), str(request["source"]), share, float(request["seconds"]))
        for share in shares
    ]
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(processes)
    with ProcessPoolExecutor(processes, spawn, initializer=_join, initargs=(barrier,)) as pool:
        outcomes = list(pool.map(_run_clients, settings))
    recorded = _recorded(f"http://{addresses[0]}", str(request["token"]))
    errors = [error for outcome in outcomes for error in outcome.errors]
    return _measures(outcomes, clients, recorded), {"first_error": errors[0] if errors else ""}


def _measures(outcomes: Sequence[_Outcome], clients: int, recorded: int) -> Measures:
    times_s = sorted(itertools.chain.from_iterable(outcome.times_s for outcome in outcomes))
    if len(times_s) < 2:
        raise FailedError(
            f"hardly a push was acknowledged: {next((e for o in outcomes for e in o.errors), 'no error')}"
        )
    elapsed_s = max(outcome.ended_at for outcome in outcomes) - min(outcome.began_at for outcome in outcomes)
    percentiles = statistics.quantiles(times_s, n=100, method="inclusive")
    return {
        "wall_s": percentiles[49],
        "p99_s": percentiles[98],
        "slowest_s": times_s[-1],
        "pushes": len(times_s),
        "pushes_per_s": len(times_s) / elapsed_s,
        "errors": sum(len(outcome.errors) for outcome in outcomes),
        "unaccounted": abs(recorded - len(times_s)),
        "generator_cores": sum(outcome.cpu_s for outcome in outcomes) / elapsed_s,
        "waiting_share": sum(times_s) / (clients * elapsed_s),
    }


def _recorded(url: str, token: str) -> int:
    with Client(url, token) as client:
        found = client.list_packages(limit=10_000_000, producer=PRODUCER, status="finalized")
        return len(found["packages"])


# in a process of the generator

_together: list[threading.Barrier] = []
"""Where the processes wait for each other, once each has imported what it needs."""


def _join(barrier: threading.Barrier) -> None:
    _together.append(barrier)


def _run_clients(settings: _Settings) -> _Outcome:
    run, times_s, errors = _Run.read(Path(settings.source)), list[float](), list[str]()
    _together[0].wait(_START_TIMEOUT_S)
    began_at, cpu_s = time.monotonic(), time.process_time()
    deadline = began_at + settings.seconds
    with ThreadPoolExecutor(settings.clients) as threads:
        running = [
            threads.submit(_run_client, _LoadClient(settings, number), run, deadline, times_s, errors)
            for number in range(settings.clients)
        ]
        for each in running:
            each.result()
    return _Outcome(times_s, errors, began_at, time.monotonic(), time.process_time() - cpu_s)


def _run_client(client: _LoadClient, run: _Run, deadline: float, times_s: list[float], errors: list[str]) -> None:
    while time.monotonic() < deadline:
        description, archive = run.changed(os.urandom(_NONCE_BYTES))
        began = time.perf_counter()
        try:
            client.push(description, archive)
        except (FailedError, OSError, HTTPException) as error:
            errors.append(f"{type(error).__name__}: {error}")
            client.close()
        else:
            times_s.append(time.perf_counter() - began)
    client.close()


class _LoadClient:
    """A connection that is kept, and the three requests of a push. Nothing is tried twice."""

    def __init__(self, settings: _Settings, number: int) -> None:
        address = settings.addresses[number % len(settings.addresses)]
        self._connection = HTTPConnection(address, timeout=_ANSWER_TIMEOUT_S)
        self._authorization = {"Authorization": f"Bearer {settings.token}"}

    def push(self, description: bytes, archive: bytes) -> None:
        """Raises ``FailedError`` unless the server acknowledges a new package."""
        opened = self._ask("/packages", description, "application/json")
        self._ask(f"/packages/{opened['package_id']}/packs", archive, "application/zip")
        receipt = self._ask(f"/packages/{opened['package_id']}/finalize", b"", "application/json")
        if receipt["reused_existing"]:
            raise FailedError("the package was there already")

    def close(self) -> None:
        """It is opened again by the next request."""
        self._connection.close()

    def _ask(self, path: str, body: bytes, media_type: str) -> Any:
        headers = {**self._authorization, "Content-Type": media_type}
        self._connection.request("POST", path, body=body, headers=headers)
        response = self._connection.getresponse()
        answered = response.read()
        if response.status not in {200, 201}:
            raise FailedError(f"{path.rpartition('/')[2]}: {response.status}: {answered[:300].decode()}")
        return json.loads(answered)


class _File(NamedTuple):
    """One file, and its digests as they are after its common part."""

    path: str
    data: bytes
    address: blake3
    sha256: hashlib._Hash
    crc32: int


class _Run:
    """A run whose files are told apart from those of any other push by their last bytes."""

    def __init__(self, files: Sequence[_File]) -> None:
        self._files = files

    @classmethod
    def read(cls, folder: Path) -> _Run:
        """The files below a folder."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        contents = ((path.relative_to(folder).as_posix(), path.read_bytes()) for path in paths)
        return cls([_File(name, data, blake3(data), hashlib.sha256(data), zlib.crc32(data)) for name, data in contents])

    def changed(self, nonce: bytes) -> tuple[bytes, bytes]:
        """The description and the archive of a push in which every file ends in its number and the nonce."""
        described, pieces, directory = [], list[bytes](), ZipDirectory()
        for number, file in enumerate(self._files):
            end = b"%d %b" % (number, nonce)
            address, check = file.address.copy(), file.sha256.copy()
            address.update(end)
            check.update(end)
            size = len(file.data) + len(end)
            digests = {"blake3": f"blake3:{address.hexdigest()}", "sha256": f"sha256:{check.hexdigest()}"}
            described.append({"path": file.path, "size": size, **digests})
            pieces += (directory.add(file.path, size, zlib.crc32(end, file.crc32)), file.data, end)
        description = {"producer": PRODUCER, "external_id": nonce.hex(), "files": described}
        return json.dumps(description).encode(), b"".join((*pieces, directory.end()))


if __name__ == "__main__":
    answer({"push_at_once": push_at_once})
