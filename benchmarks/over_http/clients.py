"""One client of ours in a warm process. Run as a child: one request in, its seconds out.

The plain reader and writer of large files are the same for our server and for the floor's: ``http.client`` with pieces
of 1 MiB. They also look at what the server holds in memory, when half of the file has passed and at the end.
"""

from __future__ import annotations

import json
import statistics
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifactstore.client import Client
from artifactstore.domain.package import PackageDraft
from artifactstore.domain.retention import RetentionClass
from benchmarks.ours import PRODUCER, drafts_in
from benchmarks.over_http.rounds import timed_rounds
from benchmarks.processes import FailedError, answer, forget_peak, peak_resident_bytes, stopwatch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

    from benchmarks.processes import Measures, Request

_PIECE_BYTES = 1024 * 1024
_WARM_REQUESTS = 20
_WARM_FILE = b"warm"
_TIMEOUT_S = 600.0


def push_series(request: Request) -> Measures:
    """The files of a run pushed again and again by one client, every file changed each time."""
    folder = Path(str(request["folder"]))
    with Client(str(request["url"]), str(request["token"])) as client:

        def store(number: int, names: list[str]) -> None:
            with drafts_in(folder, max_files=len(names)) as files:
                draft = PackageDraft(PRODUCER, files, RetentionClass.RAW_EVIDENCE, f"run-{number}")
                receipt = client.push(draft)
            _expect(not receipt.reused_existing and receipt.file_count == len(names), "the push stored something else")

        return timed_rounds(Path(str(request["source"])), folder, rounds=int(request["rounds"]), store=store)


def put_service(request: Request) -> Measures:
    """One large file into a package of ours; opening it before and finalizing it after are not timed."""
    connection, token = _connect(request), str(request["token"])
    _become_warm(connection, token)
    opened = _call(connection, "POST", "/packages", token, {"producer": PRODUCER})
    path = f"/packages/{opened['package_id']}/files/large.bin"
    measures, body = _put(connection, path, request, {"Authorization": f"Bearer {token}"})
    receipt = _call(connection, "POST", f"/packages/{opened['package_id']}/finalize", token)
    size_bytes = Path(str(request["file"])).stat().st_size
    _expect(json.loads(body)["size"] == size_bytes == receipt["total_bytes"], "the server took other bytes")
    return measures


def put_floor(request: Request) -> Measures:
    """The same file to the floor's server."""
    connection = _connect(request)
    _call(connection, "PUT", "/", "", _WARM_FILE)
    return _put(connection, "/", request, {})[0]


def get(request: Request) -> Measures:
    """One large file read to its end and thrown away."""
    connection, process_id, size_bytes = _connect(request), int(request["process_id"]), int(request["size_bytes"])
    token, buffer, count_bytes = str(request["token"]), bytearray(_PIECE_BYTES), 0
    memory = _Memory(process_id, size_bytes)
    with stopwatch() as measures:
        connection.request("GET", str(request["path"]), headers={"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        while count := response.readinto(buffer):
            count_bytes += count
            memory.passed(count_bytes)
    _expect(response.status == 200 and count_bytes == size_bytes, f"{response.status} with {count_bytes} bytes")
    return measures | memory.measures()


def get_in_turn(request: Request) -> Measures:
    """Many small answers from two servers in turn, a connection kept to each; the medians of their times.

    In turn, because they take a millisecond or two: what else the machine does must not meet only one of them.
    """
    packages, times_s = int(request["packages"]), dict[str, list[float]]()
    asked = {name: _Asked(request, name) for name in ("few", "many")}
    for each in asked.values():
        for path in each.paths[:_WARM_REQUESTS]:
            each.ask(path, packages)
    for number in range(len(asked["few"].paths)):
        for name, each in asked.items():
            times_s.setdefault(name, []).append(each.ask(each.paths[number], packages))
    few_s, many_s = (statistics.median(times_s[name]) for name in asked)
    return {"wall_s": many_s, "few_s": few_s, "slowest_s": max(times_s["many"]), "requests": len(times_s["many"])}


class _Asked:
    """One of two servers, and the paths to ask it for."""

    def __init__(self, request: Request, name: str) -> None:
        self.paths = str(request[f"{name}_paths"]).split("\n")
        self._headers = {"Authorization": f"Bearer {request[f'{name}_token']}"}
        self._connection = HTTPConnection(str(request[f"{name}_address"]), timeout=_TIMEOUT_S)

    def ask(self, path: str, packages: int) -> float:
        """How long the answer took, which must have so many packages."""
        began = time.perf_counter()
        self._connection.request("GET", path, headers=self._headers)
        response = self._connection.getresponse()
        body = response.read()
        took_s = time.perf_counter() - began
        _expect(response.status == 200, f"{path}: {response.status}")
        _expect(len(json.loads(body).get("packages", ())) == packages, f"{path}: another number of packages")
        return took_s


class _Memory:
    """What another process has held at most, after half of a file and after all of it."""

    def __init__(self, process_id: int, size_bytes: int) -> None:
        self._process_id = process_id
        self._half_bytes = size_bytes // 2
        self._peak_after_half: int | None = None
        forget_peak(process_id)

    def passed(self, count_bytes: int) -> None:
        """So much of the file has passed."""
        if self._peak_after_half is None and count_bytes >= self._half_bytes:
            self._peak_after_half = peak_resident_bytes(self._process_id)

    def measures(self) -> Measures:
        """At the end. The system's account is approximate: a peak may be told some pages smaller later on."""
        peak_bytes = max(peak_resident_bytes(self._process_id), self._peak_after_half or 0)
        half_bytes = peak_bytes if self._peak_after_half is None else self._peak_after_half
        return {
            "server_peak_after_half_bytes": half_bytes,
            "server_peak_bytes": peak_bytes,
            "server_growth_bytes": max(0, peak_bytes - half_bytes),
        }


def _put(connection: HTTPConnection, path: str, request: Request, headers: dict[str, str]) -> tuple[Measures, bytes]:
    file = Path(str(request["file"]))
    size_bytes = file.stat().st_size
    memory = _Memory(int(request["process_id"]), size_bytes)
    with file.open("rb", buffering=0) as source, stopwatch() as measures:
        headers = {**headers, "Content-Length": str(size_bytes)}
        connection.request("PUT", path, body=_pieces(source, memory), headers=headers)
        response = connection.getresponse()
        body = response.read()
    _expect(response.status == 201, f"{response.status}: {body[:200]!r}")
    return measures | memory.measures(), body


def _pieces(source: FileIO, memory: _Memory) -> Iterator[bytes]:
    count_bytes = 0
    while data := source.read(_PIECE_BYTES):
        yield data
        count_bytes += len(data)
        memory.passed(count_bytes)


def _connect(request: Request) -> HTTPConnection:
    connection = HTTPConnection(str(request["address"]), timeout=_TIMEOUT_S)
    connection.connect()
    return connection


def _become_warm(connection: HTTPConnection, token: str) -> None:
    """A small file is taken the way the large one will be."""
    opened = _call(connection, "POST", "/packages", token, {"producer": PRODUCER})
    _call(connection, "PUT", f"/packages/{opened['package_id']}/files/warm", token, _WARM_FILE)
    _call(connection, "DELETE", f"/packages/{opened['package_id']}", token)


def _call(connection: HTTPConnection, method: str, path: str, token: str, body: object = None) -> Any:
    """Bytes are sent as they are, anything else as JSON; the answer's JSON."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    sent = body if body is None or isinstance(body, bytes) else json.dumps(body)
    connection.request(method, path, headers=headers, body=sent)
    response = connection.getresponse()
    answered = response.read()
    _expect(response.status in {200, 201, 204}, f"{method} {path}: {response.status}: {answered[:200]!r}")
    return json.loads(answered or b"null")


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise FailedError(otherwise)


if __name__ == "__main__":
    answer(
        {
            "push_series": push_series,
            "put_service": put_service,
            "put_floor": put_floor,
            "get": get,
            "get_in_turn": get_in_turn,
        }
    )
