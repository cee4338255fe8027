"""Requests that no proper client sends, over bare sockets: refused or cut off, never misread, never an error of ours.

``LONG=1`` makes five times as many.
"""

from __future__ import annotations

import json
import os
import random
import re
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.service import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.service import Server

EACH = 110 if os.environ.get("LONG") else 22
"""Requests of each kind."""
MAX_GROWTH_KIB = 50 * 1024
HOST = b"Host: localhost\r\n"
SMUGGLED = b"GET /health HTTP/1.1\r\n" + HOST + b"X-Request-Id: smuggled\r\n\r\n"
NEXT = b"GET /health HTTP/1.1\r\n" + HOST + b"X-Request-Id: next-one\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
JSON = b"Content-Type: application/json\r\n"

Random = random.Random


@dataclass
class Reply:
    """One answer on a connection."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Exchange:
    """What came back on one connection."""

    replies: list[Reply] = field(default_factory=list)
    is_closed: bool = False

    @property
    def statuses(self) -> list[int]:
        return [reply.status for reply in self.replies]

    @property
    def ids(self) -> list[str]:
        return [reply.headers.get("x-request-id", "") for reply in self.replies]


def talk(server: Server, *pieces: bytes, wait_s: float = 15.0) -> Exchange:
    """Send pieces on one connection; read until it is closed or ``NEXT`` is answered."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    exchange, data = Exchange(), b""
    with socket.create_connection((host, int(port)), timeout=wait_s) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                connection.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has been refused already; there may be an answer
        while "next-one" not in exchange.ids:
            try:
                more = connection.recv(65536)
            except ConnectionResetError:
                more = b""
            data = _take_replies(data + more, exchange)
            if not more:
                exchange.is_closed = True
                assert data == b"", "the answer was not completed"
                break
    return exchange


def _take_replies(data: bytes, exchange: Exchange) -> bytes:
    while b"\r\n\r\n" in data:
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            break
        exchange.replies.append(Reply(int(first.split(" ")[1]), headers, rest[:length]))
        data = rest[length:]
    return data


def memory_kib(server: Server) -> int:
    with open(f"/proc/{server.process.pid}/status") as status:  # noqa: PTH123 - not a file
        found = re.search(r"VmRSS:\s+(\d+) kB", status.read())
    assert found is not None
    return int(found[1])


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own, whose memory and log are looked at."""
    with serving(tmp_path_factory.mktemp("hostile") / "home") as server:
        yield server


# kinds of bad requests: each function makes one


def _post(headers: bytes, body: bytes, *, target: bytes = b"/packages", version: bytes = b"1.1") -> bytes:
    return b"POST %b HTTP/%b\r\n%b%b\r\n%b" % (target, version, HOST, headers, body)


def _get(target: bytes, headers: bytes = b"", *, version: bytes = b"HTTP/1.1") -> bytes:
    return b"GET %b %b\r\n%b%b\r\n" % (target, version, HOST, headers)


def length_and_chunks(rng: Random) -> bytes:
    body = b"0\r\n\r\n" + SMUGGLED
    length = b"Content-Length: %d\r\n" % rng.choice([0, 4, 5, len(body), 6])
    coding = rng.choice([CHUNKED, b"transfer-encoding:chunked\r\n", b"Transfer-Encoding: \tCHUNKED\r\n"])
    return _post(b"".join(rng.sample([length, coding, b"X: y\r\n"], 3)), body)


def several_lengths(rng: Random) -> bytes:
    first, second = rng.sample([0, 2, 4, len(SMUGGLED)], 2)
    headers = rng.choice(
        [
            b"Content-Length: %d\r\nContent-Length: %d\r\n" % (first, second),
            b"Content-Length: %d\r\ncontent-length: %d\r\n" % (first, first),
            b"Content-Length: %d, %d\r\n" % (first, second),
            b"Content-Length: %d, %d\r\n" % (first, first),
        ]
    )
    return _post(headers, SMUGGLED)


def wrong_length(rng: Random) -> bytes:
    values = [*b"-1 +4 0x4 4.0 4; 1e1 four 18446744073709551616 \xd9\xa4".split(b" "), b"4 4", b"9" * 30]
    return _post(b"Content-Length: %b\r\n" % rng.choice(values), SMUGGLED)


def other_codings(rng: Random) -> bytes:
    values = (
        b"xchunked|gzip, chunked|chunked, gzip|chunked, chunked|identity|gzip|\x0bchunked|chunked;q=1|chunke\xc4\x91"
    )
    more = [b"chunked\r\nTransfer-Encoding: identity", b"\r\n chunked", b'"chunked"']
    return _post(b"Transfer-Encoding: %b\r\n" % rng.choice(values.split(b"|") + more), b"0\r\n\r\n" + SMUGGLED)


def chunks_in_http_1_0(rng: Random) -> bytes:
    return _post(CHUNKED + b"Connection: keep-alive\r\n" * rng.randint(0, 1), b"0\r\n\r\n" + SMUGGLED, version=b"1.0")


def bare_line_ends(rng: Random) -> bytes:
    request = _get(b"/health", b"X: y\r\n")
    places = [match.start() for match in re.finditer(rb"\r\n", request)]
    at = rng.choice(places)
    return request[:at] + rng.choice([b"\n", b"\r", b"\n\r", b"\r\r\n", b"\0\n"]) + request[at + 2 :]


def wrong_chunk_sizes(rng: Random) -> bytes:
    sizes = b"zz|-2|0x2|+2|2 2||fffffffffffffffff|\xd9\xa2|2_0| 2|2\t;|2\n|\0|2.0".split(b"|")
    return _post(JSON + CHUNKED, rng.choice(sizes) + b"\r\n{}\r\n0\r\n\r\n" + SMUGGLED)


def wrong_chunk_ends(rng: Random) -> bytes:
    bodies = [
        b"2\r\n{}X\r\n0\r\n\r\n",
        b"2\r\n{}0\r\n\r\n",
        b"2\n{}\n0\n\n",
        b"2\r\n{}\n0\r\n\r\n",
        b"2\r\n{}\r0\r\n\r\n",
    ]
    bodies += [
        b"1\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}\r\r\n0\r\n\r\n",
        b"2\r\n{}\r\n0\r\n \r\n\r\n",
        b"2\r\n{}\r\n0\r\nX\r\n\r\n",
    ]
    return _post(JSON + CHUNKED, rng.choice(bodies) + SMUGGLED)


def long_chunk_extensions(rng: Random) -> bytes:
    extension = rng.choice([b";", b";a=", b';a="']) + b"x" * rng.randint(600_000, 900_000)
    return _post(JSON + CHUNKED, b"2" + extension)


def long_heads(rng: Random) -> bytes:
    size = rng.choice([17_000, 65_536, 200_000])
    return rng.choice(
        [
            _get(b"/health", b"X: " + b"a" * size + b"\r\n"),
            _get(b"/health", b"a" * size + b": x\r\n"),
            _get(b"/" + b"a" * size),
            _get(b"/health?" + b"a=b&" * (size // 4)),
            _get(b"/health", b"X: y\r\n" * (size // 6)),
            _get(b"/health", b"Cookie: a=b\r\n" * (size // 13)),
        ]
    )


def forbidden_bytes(rng: Random) -> bytes:
    bad = rng.choice([b"\0", b"\x01", b"\x0b", b"\x7f"])
    return rng.choice(
        [
            b"GE%bT /health HTTP/1.1\r\n%b\r\n" % (bad, HOST),
            b"GET /hea%blth HTTP/1.1\r\n%b\r\n" % (bad, HOST),
            _get(b"/health", b"X%bY: z\r\n" % bad),
            _get(b"/health", b"X: a\0b\r\n"),
            b"%bGET /health HTTP/1.1\r\n%b\r\n" % (bad, HOST),
            _get(b"/caf\xc3\xa9"),
            _get(b"/\xff\xfe"),
        ]
    )


def crooked_paths(rng: Random) -> bytes:
    dots = b"%2e%2e .. .%2e %252e%252e ..%5c ..%00 %2e%2e%2f %2e ...".split(b" ")
    no_text = b"%c0%ae%c0%ae %e0%80%ae. %uff0e %ed%a0%80 %ff % %zz %2 %f8%80%80%80%ae".split(b" ")
    ups = rng.choice([dots, dots + no_text])
    depth = b"/".join(rng.choice(ups) for _ in range(rng.randint(1, 5)))
    root = rng.choice(b"/ /packages/ /packages/x/files/ /files/ /metadata-schemas/ // /./".split(b" "))
    return _get(root + depth + rng.choice([b"/etc/passwd", b"", b"/", b"\\windows"]))


def wrong_hosts(rng: Random) -> bytes:
    names = b"|evil.example|localhost.evil.example|evil.example:80@localhost|localhost:80@evil.example|localhost:evil"
    names += b"|[::1]evil|localhost/evil|localhost, evil.example|127.1|0.0.0.0|localhost\xc2\xa0"
    none = b"X-Forwarded-Host: localhost\r\nForwarded: host=localhost\r\n"
    several = [b"", none, HOST + HOST, HOST + b"Host: evil.example\r\n"]
    hosts = [b"Host: %b\r\n" % name for name in names.split(b"|")] + several
    return b"GET /health HTTP/1.1\r\n%b\r\n" % rng.choice(hosts)


def foreign_targets(rng: Random) -> bytes:
    absolute = (
        b"http://evil.example/health https://evil.example:80/health http://localhost@evil.example/health http:///x"
    )
    others = (
        b"file:///etc/passwd gopher://x/1 http:health health \\health ?health /health#x evil.example:80 * //evil/health"
    )
    return _get(rng.choice((absolute + b" HTTP://EVIL.example/health " + others).split(b" ")))


def other_versions(rng: Random) -> bytes:
    versions = (
        b"HTTP/0.9 HTTP/1.2 HTTP/2.0 HTTP/3.0 HTTP/1.10 http/1.1 HTTP/1.1x HTTP/11 HTTP/1,1 XTTP/1.1 HTTP/ ICE/1.0"
    )
    return rng.choice(
        [
            _get(b"/health", version=rng.choice(versions.split(b" "))),
            b"GET /health\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04\x00\x00\x00\x00\x00",
        ]
    )


def other_methods(rng: Random) -> bytes:
    methods = b"BREW|get|Get|GETX||G ET|{}|\xf0\x9f\x92\xa9|CONNECT|TRACE|MKCOL|PROPFIND|PUT|POST|OPTIONS|PURGE"
    return b"%b /health HTTP/1.1\r\n%b\r\n" % (rng.choice([*methods.split(b"|"), b"A" * 300]), HOST)


def crooked_headers(rng: Random) -> bytes:
    lines = (
        b"X : y|X\t: y|X: y\r\n z|X: y\r\n\tz|: y|nocolon|X(Y): z|X\xc3\xa9: y|X Y: z|Content-Length : 5|\r|X: y\rZ: w"
    )
    lines += b'|X: y\nZ: w|Transfer-Encoding : chunked|"X": y|Content-Length: \r\n 5'
    line = rng.choice(lines.split(b"|")) + b"\r\n"
    is_first = rng.random() < 0.3
    return b"GET /health HTTP/1.1\r\n" + (b" " + line + HOST if is_first else HOST + line) + b"\r\n"


def foreign_origins(rng: Random) -> bytes:
    origins = b"null|http://evil.example|https://evil.example|http://localhost.evil.example|http://localhost:1||file://"
    more = [b"http://localhost, http://evil.example", b"http://localhost\r\nOrigin: null"]
    return _get(b"/health", b"Origin: %b\r\n" % rng.choice(origins.split(b"|") + more))


def upgrades_with_a_body(rng: Random) -> bytes:
    protocol = rng.choice([b"h2c", b"websocket", b"TLS/1.0", b"evil"])
    connection = rng.choice([b"Upgrade", b"keep-alive, Upgrade", b"upgrade"])
    framing, body = rng.choice(
        [(b"Content-Length: %d\r\n" % len(SMUGGLED), SMUGGLED), (CHUNKED, b"2\r\n{}\r\n0\r\n\r\n")]
    )
    return _post(b"Connection: %b\r\nUpgrade: %b\r\n" % (connection, protocol) + JSON + framing, body)


def not_http(rng: Random) -> bytes:
    greetings = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x00\x00\x00\x54", b"\x80\x2e\x01", b"{}\r\n\r\n"]
    greetings += [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"EHLO x\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"USER anonymous\r\n",
        b"<xml/>\r\n",
    ]
    return rng.choice(greetings) + rng.randbytes(rng.randint(1, 300)) + b"\r\n\r\n"


def broken_json(rng: Random) -> bytes:
    bodies = [
        b"",
        b"{",
        b"[" * 50_000,
        b'{"producer": NaN}',
        b'{"producer": "p", "producer": "q"}',
        b"\xef\xbb\xbf{}",
        b"\xff",
    ]
    bodies += [
        b'{"producer": "\\ud800"}',
        b'{"producer": ' + b"9" * 5_000 + b"}",
        b'{"producer": 1e999}',
        b"null",
        b"[]",
        b'"p"',
    ]
    bodies += [b'{"a": ' * 5_000 + b"1" + b"}" * 5_000, b'{"producer": "p", "files": [{"path": "\\u0000"}]}', b"{}{}"]
    bodies += [
        b'{"producer": "\x00"}',
        b"'{}'",
        b'{"producer": "p", "metadata": {"a": "\\udfff"}}',
        b"\xfe\xff\x00{\x00}",
    ]
    body = rng.choice(bodies)
    return _post(JSON + b"Authorization: Bearer TOKEN\r\nContent-Length: %d\r\n" % len(body), body)


def other_body_types(rng: Random) -> bytes:
    types = b"text/html|application/jsonx||multipart/form-data|application/json, text/html|application/json/x|\xff"
    headers = b"Content-Type: %b\r\nAuthorization: Bearer TOKEN\r\nContent-Length: 2\r\n" % rng.choice(
        types.split(b"|")
    )
    return _post(headers, b"{}")


def broken_credentials(rng: Random) -> bytes:
    values = (
        b"Bearer|Bearer |Basic TOKEN|bearer\tTOKEN|TOKEN|Bearer \xff\xfe|Bearer TOKEN TOKEN|Bearer TOKEN, Bearer TOKEN"
    )
    more = [b"Bearer " + b"a" * 8_000, b"Bearer TOKEN\r\nAuthorization: Bearer TOKEN"]
    return _get(b"/whoami", b"Authorization: %b\r\n" % rng.choice(values.split(b"|") + more))


KINDS: tuple[Callable[[Random], bytes], ...] = (
    length_and_chunks,
    several_lengths,
    wrong_length,
    other_codings,
    chunks_in_http_1_0,
    bare_line_ends,
    wrong_chunk_sizes,
    wrong_chunk_ends,
    long_chunk_extensions,
    long_heads,
    forbidden_bytes,
    crooked_paths,
    wrong_hosts,
    foreign_targets,
    other_versions,
    other_methods,
    crooked_headers,
    foreign_origins,
    upgrades_with_a_body,
    not_http,
    broken_json,
    other_body_types,
    broken_credentials,
)


def test_there_are_enough_of_them() -> None:
    assert len(KINDS) * EACH >= 400


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_bad_request_is_refused_and_what_follows_is_read_as_what_it_is(
    quiet: Server, kind: Callable[[Random], bytes]
) -> None:
    rng = Random(f"hostile {kind.__name__}")
    token = quiet.tokens["admin"].encode()
    lines_before = len(quiet.log)
    talk(quiet, NEXT)
    before = memory_kib(quiet)

    for number in range(EACH):
        request = kind(rng).replace(b"TOKEN", token)
        exchange = talk(quiet, request, NEXT)
        _check(exchange, f"{number}: {request[:300]!r}")

    assert memory_kib(quiet) - before < MAX_GROWTH_KIB
    assert 200 == quiet.ask("GET", "/ready", token=None).status
    said = "".join(quiet.log[lines_before:])
    assert '"request_id": "smuggled"' not in said
    assert "Traceback" not in said
    assert token.decode() not in said


def _check(exchange: Exchange, what: str) -> None:
    *refusals, last = exchange.replies or [None]
    if last is not None and last.headers["x-request-id"] != "next-one":
        refusals.append(last)
    for reply in refusals:
        assert reply is not None, what
        assert 400 <= reply.status < 500, f"{reply.status} to {what}"
        assert "application/problem+json" == reply.headers["content-type"], what
        document = json.loads(reply.body)
        assert reply.status == document["status"], what
        assert reply.headers["x-request-id"] == document["request_id"], what
    assert len(refusals) <= 1, f"{exchange.statuses} to {what}"
    assert refusals or exchange.is_closed, f"{exchange.statuses} to {what}"
    assert "smuggled" not in exchange.ids, what


def test_headers_that_are_too_large_are_431(quiet: Server) -> None:
    exchanges = [talk(quiet, _get(b"/health", b"X: " + b"a" * size + b"\r\n")) for size in (17_000, 65_536)]

    assert [[431], [431]] == [exchange.statuses for exchange in exchanges]


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health HTTP/1.1\r\n" + HOST + b"X: ",
        b"GET /health HTTP/1.1\r\n" + HOST,
        b"GET /",
        b"A",
        b"GET /health HTTP/1.1\r\nX",
    ],
    ids=["a value", "a name", "a path", "a method", "a long name"],
)
def test_a_head_that_never_ends_is_cut_off_before_it_takes_memory(quiet: Server, head: bytes) -> None:
    before = memory_kib(quiet)

    taken = _pour(quiet, head, at_most=16 * 1024 * 1024)

    assert taken < 8 * 1024 * 1024, "most of it is the buffers of both sides"
    assert memory_kib(quiet) - before < 8 * 1024


def _pour(server: Server, head: bytes, *, at_most: int) -> int:
    """How much of an endless request the server lets come."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    taken = 0
    with socket.create_connection((host, int(port)), timeout=15) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        try:
            connection.sendall(head)
            while taken < at_most:
                connection.sendall(b"a" * 65_536)
                taken += 65_536
        except (BrokenPipeError, ConnectionResetError):
            return taken
    return taken


def test_a_body_in_a_coding_that_would_have_to_be_undone_is_not_stored(quiet: Server) -> None:
    package_id = quiet.ask("POST", "/packages", token="writer", json_body={"producer": "p"}).json["package_id"]
    token = f"Authorization: Bearer {quiet.tokens['writer']}\r\n".encode()
    head = f"PUT /packages/{package_id}/files/a.gz HTTP/1.1\r\n".encode() + HOST + token

    exchange = talk(quiet, head + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")

    assert [400] == exchange.statuses


def test_a_request_may_come_byte_by_byte(quiet: Server) -> None:
    request = _get(b"/health", b"X-Request-Id: slow-one\r\n") + NEXT

    exchange = talk(quiet, *(request[at : at + 1] for at in range(len(request))))

    assert [200, 200] == exchange.statuses
    assert ["slow-one", "next-one"] == exchange.ids


def test_requests_may_follow_without_waiting_and_are_answered_in_order(quiet: Server) -> None:
    requests = [_get(b"/health", b"X-Request-Id: number-%d\r\n" % number) for number in range(20)]

    exchange = talk(quiet, b"".join(requests) + NEXT)

    assert [200] * 21 == exchange.statuses
    assert [*(f"number-{number}" for number in range(20)), "next-one"] == exchange.ids


@pytest.mark.parametrize("method", [b"GET", b"DELETE", b"HEAD", b"OPTIONS"])
@pytest.mark.parametrize("path", [b"/health", b"/packages/none", b"/nothing"])
def test_a_body_that_nobody_asked_for_is_not_the_next_request(quiet: Server, method: bytes, path: bytes) -> None:
    length = b"Content-Length: %d\r\n" % len(SMUGGLED)
    request = b"%b %b HTTP/1.1\r\n%b%b\r\n%b" % (method, path, HOST, length, SMUGGLED)

    exchange = talk(quiet, request.replace(b"HEAD ", b"TRACE "), NEXT)

    assert len(exchange.ids) <= 2
    assert "smuggled" not in exchange.ids


def test_what_follows_the_last_request_of_a_connection_is_not_answered(quiet: Server) -> None:
    exchange = talk(quiet, _get(b"/health", b"Connection: close\r\n") + SMUGGLED)

    assert [200] == exchange.statuses
    assert exchange.is_closed


def test_headers_behind_a_body_say_nothing(quiet: Server) -> None:
    token = b"Authorization: Bearer %b\r\n" % quiet.tokens["admin"].encode()
    body = b"2\r\n{}\r\n0\r\n" + token + b"X-Request-Id: trailing\r\n\r\n"

    exchange = talk(quiet, _post(JSON + CHUNKED, body) + NEXT)

    assert 401 == exchange.statuses[0]
    assert "trailing" not in exchange.ids


def test_an_upgrade_without_a_body_is_passed_over_and_the_connection_ends(quiet: Server) -> None:
    headers = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"

    exchange = talk(quiet, _get(b"/health", headers) + SMUGGLED)

    assert [200] == exchange.statuses
    assert "close" == exchange.replies[0].headers["connection"]


def test_an_upgrade_with_a_body_stores_nothing(quiet: Server) -> None:
    package_id = quiet.ask("POST", "/packages", token="writer", json_body={"producer": "p"}).json["package_id"]
    token = quiet.tokens["writer"]
    head = f"PUT /packages/{package_id}/files/a.txt HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"

    exchange = talk(quiet, head.encode() + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello")

    assert [400] == exchange.statuses
    assert 201 == quiet.ask("PUT", f"/packages/{package_id}/files/a.txt", token="writer", body=b"hello").status


def test_a_path_that_would_be_read_as_another_one_is_refused(quiet: Server) -> None:
    package_id = quiet.ask("POST", "/packages", token="writer", json_body={"producer": "p"}).json["package_id"]
    credentials = f"Authorization: Bearer {quiet.tokens['writer']}\r\nContent-Length: 1\r\n".encode()
    spellings = (b"%c0%af", b"%c1%bf", b"%ff", b"%ed%a0%80", b"%zz", b"a%", b"a.txt%0a", b"a.txt%0d%0a", b"a.txt%00")

    statuses = [
        talk(
            quiet,
            b"PUT /packages/%b/files/%b HTTP/1.1\r\n%b%b\r\nx" % (package_id.encode(), path, HOST, credentials),
        ).statuses
        for path in spellings
    ]

    assert [[400]] * len(spellings) == statuses


@pytest.mark.parametrize("target", [b"http://localhost/whoami", b"HTTP://LocalHost/whoami"])
def test_an_absolute_target_of_this_server_is_this_server(quiet: Server, target: bytes) -> None:
    exchange = talk(quiet, _get(target), NEXT)

    assert [401, 200] == exchange.statuses


def test_what_a_proxy_may_say_of_the_client_changes_no_address(quiet: Server) -> None:
    package_id = quiet.ask("POST", "/packages", json_body={"producer": "p"}).json["package_id"]
    claims = {
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Prefix": "/evil",
        "Forwarded": "host=evil.example;proto=https",
        "X-Real-IP": "203.0.113.9",
    }

    begun = quiet.ask("POST", f"/packages/{package_id}/uploads", headers=claims, json_body={"path": "a.txt", "size": 1})
    answers = [begun, *(quiet.ask("GET", path, headers=claims) for path in ("/openapi.json", "/docs", "/none"))]

    assert f"/packages/{package_id}/uploads/{begun.json['upload_id']}" == begun.headers["location"]
    for answer in answers:
        assert b"evil" not in answer.body
        assert "evil" not in str(answer.headers)


@pytest.mark.parametrize("method", ["POST", "DELETE", "PATCH", "OPTIONS"])
def test_a_method_that_is_not_known_is_told_which_are(quiet: Server, method: str) -> None:
    answer = quiet.ask(method, "/packages/x/files/y")

    assert (405, "GET, HEAD, PUT") == (answer.status, answer.headers["allow"])


SIZE = 10_000


def ranges(rng: Random) -> str:
    number = rng.choice([0, 1, 5, SIZE - 1, SIZE, SIZE + 1, 2**31, 2**63, 2**64, 10**30, 10**300])
    return rng.choice(
        [
            f"bytes={number}-",
            f"bytes=-{number}",
            f"bytes=--{number}",
            f"bytes={number}-{rng.randint(0, SIZE)}",
            f"bytes=+{number}-",
            "bytes=" + ",".join(f"{at}-{at}" for at in range(rng.choice([2, 100, 1_300]))),
            "bytes=" + "0-," * rng.choice([2, 1_000]),
            "bytes=" + "-" * 1_000,
            f"bytes= {number} - {number}",
            f"BYTES=0-{number}",
            f"octets=0-{number}",
            "bytes",
            "bytes=",
            "=0-1",
            "bytes=a-b",
            "bytes=\u0660-\u0669".encode().decode("latin-1"),
            f"bytes=0x0-{number}",
            f"bytes=-0,{number}-",
        ]
    )


def test_a_range_that_is_none_is_passed_over_or_refused(quiet: Server) -> None:
    data = Random("ranges").randbytes(SIZE)
    package_id = quiet.ask("POST", "/packages", json_body={"producer": "p"}).json["package_id"]
    quiet.ask("PUT", f"/packages/{package_id}/files/r.bin", body=data)
    quiet.ask("POST", f"/packages/{package_id}/finalize")
    rng = Random("hostile ranges")

    for _ in range(EACH * 4):
        asked = ranges(rng)
        answer = quiet.ask("GET", f"/packages/{package_id}/files/r.bin", headers={"Range": asked})

        assert answer.status in {200, 206, 416}, asked
        assert "multipart" not in answer.headers["content-type"]
        if answer.status == 200:
            assert data == answer.body, asked
        if answer.status == 416:
            assert f"bytes */{SIZE}" == answer.headers["content-range"], asked
        if answer.status == 206:
            first, last = map(int, answer.headers["content-range"].removeprefix("bytes ").split("/")[0].split("-"))
            assert data[first : last + 1] == answer.body, asked


def test_nothing_of_all_this_was_a_defect(quiet: Server) -> None:
    quiet.ask("GET", "/health", token=None)

    assert [] == [line for line in list(quiet.log) if '"defect"' in line or "Traceback" in line]
    assert 200 == quiet.ask("GET", "/ready", token=None).status
