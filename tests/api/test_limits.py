"""What is slow, large or many does not hold up the service: it is refused, or takes a bounded share."""

from __future__ import annotations

import io
import json
import re
import select
import socket
import threading
import time
import zipfile
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPResponse, IncompleteRead
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from blake3 import blake3

from artifactstore.api import bodies, observing, protocol, requests, service
from artifactstore.testing.builders import some_bytes
from tests.api.stored import begin_get, record
from tests.service import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.service import Server

MIB = 1024 * 1024
IMPATIENT = """
from artifactstore.api import bodies, protocol
protocol.HEADER_TIMEOUT_S, protocol.SEND_TIMEOUT_S = 1.0, 2.0
bodies._PATIENCE_S, bodies._LOOK_S = 2.0, 0.2
from artifactstore.cli.main import main
main()
"""
"""The same server with a fraction of its patience."""
GROWTH_BYTES = 100 * MIB
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "reference" / "http-api.md"


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("impatient") / "home", program=("-c", IMPATIENT)) as server:
        yield server


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own, for what takes long or much."""
    with serving(tmp_path_factory.mktemp("roomy") / "home") as server:
        yield server


@contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    where = urlsplit(server.url)
    with socket.create_connection((where.hostname, where.port), timeout=60) as connection:
        yield connection


def head(server: Server, method: str, path: str, *more: str, token: str = "writer") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {server.tokens[token]}", *more]
    return "\r\n".join([*lines, "", ""]).encode()


def answer_on(connection: socket.socket, method: str = "PUT") -> tuple[HTTPResponse, bytes]:
    answer = HTTPResponse(connection, method=method)
    answer.begin()
    return answer, answer.read()


def opened(server: Server, token: str = "writer") -> str:
    answer = server.ask("POST", "/packages", token=token, json_body={"producer": "p"})
    assert answer.status == 201, answer.body
    return str(answer.json["package_id"])


def all_at_once(*acts: Callable[[], None]) -> None:
    """Run each on a thread; the first failure is raised."""
    failures: list[BaseException] = []

    def run(act: Callable[[], None]) -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_the_limits_are_those_of_the_documentation() -> None:
    text = DOCUMENTATION.read_text(encoding="utf-8")
    stated = dict(re.findall(r"^\| ([a-zA-Z ,]+) \| (.+?) \| \S", text.partition("## Limits")[2], re.MULTILINE))

    assert f"{protocol.MAX_HEADER_BYTES // 1024} KiB" == stated["request line and headers"]
    assert f"{protocol.HEADER_TIMEOUT_S:.0f} s" == stated["headers"]
    assert f"{protocol.SEND_TIMEOUT_S:.0f} s" == stated["an answer that is not read"]
    assert f"{service.MAX_BODIES} a process, {service.MAX_BODIES_OF_ONE} of one caller" == stated["bodies at once"]
    assert f"{service.MAX_DOWNLOADS} a process" == stated["downloads at once"]
    assert f"{service.MAX_LONG_READS} a process" == stated["verifications, replays, reconcilings and healings at once"]
    pace = f"at least {bodies._LEAST_BYTES_PER_S // 1024} KiB/s, after its first {bodies._PATIENCE_S:.0f} s"
    assert pace == stated["a body"]
    lengths = [
        length // MIB
        for length in (requests.MAX_FILE_LIST_BYTES, observing.MAX_OBSERVING_BYTES, requests.MAX_BODY_BYTES)
    ]
    told = "{} MiB for a file list, {} MiB for an observation, {} MiB otherwise".format(*lengths)
    assert told == stated["a JSON body"]


# slow


def test_headers_that_do_not_come_are_408_and_a_silent_connection_is_closed(impatient: Server) -> None:
    whole = head(impatient, "GET", "/whoami")

    def is_refused(connection: socket.socket) -> None:
        answer, body = answer_on(connection)
        assert (408, "REQUEST_TIMEOUT") == (answer.status, json.loads(body)["code"])

    def closes_in_silence() -> None:
        with connected(impatient) as connection:
            assert b"" == connection.recv(1)

    def refuses_after(sent: bytes) -> Callable[[], None]:
        def act() -> None:
            with connected(impatient) as connection:
                connection.sendall(sent)
                is_refused(connection)

        return act

    def refuses_though_bytes_drip() -> None:
        with connected(impatient) as connection:
            connection.sendall(whole[:-2])
            while not select.select([connection], [], [], 0.1)[0]:
                connection.sendall(b"X-More: 1\r\n")
            is_refused(connection)

    def refuses_the_second_request() -> None:
        with connected(impatient) as connection:
            connection.sendall(whole)
            assert 200 == answer_on(connection, "GET")[0].status
            connection.sendall(whole[:20])
            is_refused(connection)

    all_at_once(
        closes_in_silence, refuses_after(b"G"), refuses_after(whole[:-2]), refuses_though_bytes_drip,
        refuses_the_second_request,
    )  # fmt: skip


def test_a_body_that_does_not_come_is_408(impatient: Server) -> None:
    package_id = opened(impatient)

    def is_refused(*request: bytes) -> Callable[[], None]:
        def act() -> None:
            with connected(impatient) as connection:
                for piece in request:
                    connection.sendall(piece)
                answer, body = answer_on(connection)
                assert (408, "REQUEST_TIMEOUT") == (answer.status, json.loads(body)["code"])
                assert "application/problem+json" == answer.headers["Content-Type"]
                assert ("1", "close") == (answer.headers["Retry-After"], answer.headers["Connection"])

        return act

    file = f"/packages/{package_id}/files/slow.txt"
    archive = f"/packages/{package_id}/packs"
    typed = "Content-Type: application/json"
    all_at_once(
        is_refused(head(impatient, "PUT", file, "Content-Length: 1000")),
        is_refused(head(impatient, "PUT", file, "Content-Length: 1000"), b"some of it"),
        is_refused(head(impatient, "PUT", file, "Transfer-Encoding: chunked"), b"4\r\nsome\r\n"),
        is_refused(head(impatient, "POST", "/packages", "Content-Length: 100", typed), b'{"producer":'),
        is_refused(head(impatient, "POST", archive, "Content-Length: 100", "Content-Type: application/zip"), b"PK"),
    )

    impatient.ask("POST", f"/packages/{package_id}/finalize", token="writer")
    listed = impatient.ask("GET", f"/packages/{package_id}/files", token="writer").json
    assert [] == listed["files"]


def test_a_body_that_comes_slowly_but_steadily_is_taken(impatient: Server) -> None:
    package_id, piece = opened(impatient), b"x" * 2_048

    with connected(impatient) as connection:
        connection.sendall(head(impatient, "PUT", f"/packages/{package_id}/files/a", f"Content-Length: {20 * 2_048}"))
        for _ in range(20):
            assert not select.select([connection], [], [], 0.2)[0]
            connection.sendall(piece)
        answer, body = answer_on(connection)

    assert (201, 20 * 2_048) == (answer.status, json.loads(body)["size"])


def test_a_client_that_reads_nothing_is_cut_off(impatient: Server) -> None:
    size = 64 * MIB
    package_id = record(impatient, {"large.bin": some_bytes(size, seed=6)})
    connection, answer = begin_get(
        impatient, f"/packages/{package_id}/files/large.bin", headers={"X-Request-Id": "reads-nothing"}
    )

    deadline = time.monotonic() + 20
    while not (lines := [line for line in list(impatient.log) if '"reads-nothing"' in line]):
        assert time.monotonic() < deadline, "it is waited for"
        time.sleep(0.05)
    with pytest.raises((IncompleteRead, ConnectionResetError)):
        answer.read()
    connection.close()

    assert json.loads(lines[0])["sent_bytes"] < size
    objects = str(impatient.home / "objects")
    links = [_target(link) for link in Path(f"/proc/{impatient.process.pid}/fd").iterdir()]
    assert [] == [target for target in links if target.startswith(objects)]


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""


def test_many_slow_readers_hold_up_nobody(roomy: Server) -> None:
    package_id = record(roomy, {"large.bin": some_bytes(32 * MIB, seed=7), "small.txt": b"small"})
    with ExitStack() as slow:
        for _ in range(50):
            connection, answer = begin_get(roomy, f"/packages/{package_id}/files/large.bin")
            slow.callback(connection.close)
            slow.callback(answer.close)

        answers = [roomy.ask("GET", f"/packages/{package_id}/files/small.txt") for _ in range(50)]
        whole = roomy.ask("GET", f"/packages/{package_id}/files/large.bin")
        stored = roomy.ask("PUT", f"/packages/{opened(roomy)}/files/x", token="writer", body=b"x")

    assert {(200, b"small")} == {(answer.status, answer.body) for answer in answers}
    assert (200, 32 * MIB, 201) == (whole.status, len(whole.body), stored.status)


# many


def test_bodies_beyond_the_limit_are_told_to_come_again_and_the_others_finish(roomy: Server) -> None:
    package_id, surplus = opened(roomy), 6
    with ExitStack() as stack:
        sending = [stack.enter_context(connected(roomy)) for _ in range(service.MAX_BODIES_OF_ONE + surplus)]
        for number, connection in enumerate(sending):
            connection.sendall(head(roomy, "PUT", f"/packages/{package_id}/files/{number}", "Content-Length: 8"))
            connection.sendall(b"half")
        answered: list[socket.socket] = []
        while len(answered) < surplus:
            answered = select.select(sending, [], [], 30)[0]
            assert answered, "nobody was refused"
        refused = [answer_on(connection) for connection in answered]
        for connection in sending:
            if connection not in answered:
                connection.sendall(b"half")
        finished = [answer_on(connection) for connection in sending if connection not in answered]

    assert surplus == len(refused)
    for answer, body in refused:
        assert (503, "SERVICE_BUSY", True) == (answer.status, *map(json.loads(body).get, ("code", "retryable")))
        assert 1 <= int(answer.headers["Retry-After"])
    assert [201] * service.MAX_BODIES_OF_ONE == [answer.status for answer, _ in finished]
    assert 201 == roomy.ask("PUT", f"/packages/{package_id}/files/after", token="writer", body=b"x").status


def test_a_thousand_ranges_are_one_whole_answer(roomy: Server) -> None:
    package_id = record(roomy, {"a.txt": b"x" * 5_000})
    header = "bytes=" + ",".join(f"{at}-{at}" for at in range(1_000))

    answer = roomy.ask("GET", f"/packages/{package_id}/files/a.txt", headers={"Range": header})

    assert (200, 5_000) == (answer.status, len(answer.body))


# large


@pytest.mark.parametrize("where", ["header", "path"])
def test_headers_beyond_the_limit_are_431(roomy: Server, where: str) -> None:
    long = "x" * (protocol.MAX_HEADER_BYTES + 1)

    answer = (
        roomy.ask("GET", f"/packages?producer={long}")
        if where == "path"
        else roomy.ask("GET", "/whoami", headers={"X-Long": long})
    )

    assert (431, "LIMIT_EXCEEDED") == (answer.status, answer.json["code"])


@pytest.mark.parametrize(
    ("path", "length", "kind"),
    [
        ("/packages", 64 * MIB + 1, "application/json"),
        ("/packages:preflight", 64 * MIB + 1, "application/json"),
        ("/packages", 2**62, "application/json"),
        ("/metadata-schemas", MIB + 1, "application/json"),
        ("/retention:sweep", MIB + 1, "application/json"),
    ],
)
def test_a_body_that_declares_too_much_is_refused_before_it_comes(
    roomy: Server, path: str, length: int, kind: str
) -> None:
    with connected(roomy) as connection:
        request = head(roomy, "POST", path, f"Content-Length: {length}", f"Content-Type: {kind}", token="admin")
        connection.sendall(request)
        answer, body = answer_on(connection)

    assert (413, "LIMIT_EXCEEDED") == (answer.status, json.loads(body)["code"])


@pytest.mark.parametrize(("path", "limit"), [("/packages", 32 * MIB), ("/retention:sweep", MIB)])
def test_a_body_that_turns_out_too_long_is_cut_there(roomy: Server, path: str, limit: int) -> None:
    """In chunks, whose length nobody says beforehand."""
    with connected(roomy) as connection:
        connection.sendall(
            head(roomy, "POST", path, "Transfer-Encoding: chunked", "Content-Type: application/json", token="admin")
        )
        piece, sent = b"%x\r\n%b\r\n" % (256 * 1024, b" " * (256 * 1024)), 0
        while sent < limit + 64 * MIB and not select.select([connection], [], [], 0)[0]:
            connection.sendall(piece)
            sent += 256 * 1024
        answer, body = answer_on(connection)

    assert (413, "LIMIT_EXCEEDED") == (answer.status, json.loads(body)["code"])
    assert limit < sent < limit + 32 * MIB


def test_a_file_that_declares_more_than_any_may_have_is_refused_before_it_comes(roomy: Server) -> None:
    with connected(roomy) as connection:
        connection.sendall(head(roomy, "PUT", f"/packages/{opened(roomy)}/files/a", f"Content-Length: {2**40 + 1}"))
        answer, body = answer_on(connection)

    assert (413, "LIMIT_EXCEEDED") == (answer.status, json.loads(body)["code"])


@pytest.mark.parametrize("text", ["[" * 10_000 + "]" * 10_000, '{"a":' * 10_000 + "1" + "}" * 10_000, "[" * 1_000_000])
@pytest.mark.parametrize("path", ["/packages", "/packages:preflight", "/metadata-schemas", "/retention:sweep"])
def test_json_that_is_nested_deeply_is_refused(roomy: Server, path: str, text: str) -> None:
    answer = roomy.ask("POST", path, headers={"Content-Type": "application/json"}, body=text)

    assert (400, "REQUEST_INVALID") == (answer.status, answer.json["code"])


@pytest.mark.parametrize("depth", [100, 10_000])
def test_metadata_that_is_nested_deeply_is_refused(roomy: Server, depth: int) -> None:
    text = '{"producer": "p", "metadata": ' + '{"a":' * depth + "1" + "}" * depth + "}"

    answer = roomy.ask("POST", "/packages", headers={"Content-Type": "application/json"}, body=text)

    assert 400 == answer.status, answer.body


# memory


def memory_bytes(server: Server, name: str) -> int:
    """What /proc says of the process: VmRSS now, VmHWM at most."""
    text = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    [kib] = re.findall(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(kib) * 1024


def begin_measuring(server: Server) -> int:
    """Forget the peak so far; what is held now."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5", encoding="ascii")
    return memory_bytes(server, "VmRSS")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that has not grown yet."""
    with serving(tmp_path_factory.mktemp("measured") / "home") as server:
        yield server


def test_a_large_file_passes_through_little_memory(measured: Server) -> None:
    server, pieces, piece = measured, 300, some_bytes(MIB, seed=8)
    package_id = opened(server)
    server.ask("PUT", f"/packages/{package_id}/files/small", token="writer", body=piece)
    before = begin_measuring(server)

    connection = HTTPConnection(urlsplit(server.url).netloc, timeout=120)
    headers = {"Authorization": f"Bearer {server.tokens['writer']}", "Content-Length": str(pieces * MIB)}
    connection.request("PUT", f"/packages/{package_id}/files/large.bin", (piece for _ in range(pieces)), headers)
    put = connection.getresponse()
    digest = json.loads(put.read())["blake3"]
    connection.close()
    after_put = memory_bytes(server, "VmHWM")
    server.ask("POST", f"/packages/{package_id}/finalize", token="writer")
    begin_measuring(server)
    got = blake3()
    connection, answer = begin_get(server, f"/packages/{package_id}/files/large.bin")
    while data := answer.read(MIB):
        got.update(data)
    connection.close()
    after_get = memory_bytes(server, "VmHWM")

    assert 201 == put.status
    assert digest == f"blake3:{got.hexdigest()}"
    assert after_put - before < GROWTH_BYTES
    assert after_get - before < GROWTH_BYTES


def test_ten_thousand_small_files_pass_through_little_memory(measured: Server) -> None:
    server, buffer = measured, io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(10_000):
            archive.writestr(f"d{number % 100}/f{number}.bin", some_bytes(4_096, seed=number))
    package_id = opened(server)
    before = begin_measuring(server)

    sent = server.ask(
        "POST", f"/packages/{package_id}/packs", token="writer",
        headers={"Content-Type": "application/zip"}, body=buffer.getvalue(),
    )  # fmt: skip
    after_sending = memory_bytes(server, "VmHWM")
    receipt = server.ask("POST", f"/packages/{package_id}/finalize", token="writer").json
    begin_measuring(server)
    got = server.ask("GET", f"/packages/{package_id}/archive.zip")
    after_fetching = memory_bytes(server, "VmHWM")

    assert ({"files": 10_000, "bytes": 40_960_000}, 10_000) == (sent.json, receipt["file_count"])
    assert 40_960_000 < len(got.body)
    assert after_sending - before < GROWTH_BYTES
    assert after_fetching - before < GROWTH_BYTES
