"""Bad luck between a store and an S3 server: a proxy on loopback that knows S3's operations and lets things go wrong.

What goes wrong is decided by a rule, which may be exchanged while the proxy runs; every request is logged with what was
done to it. Requests of several connections pass side by side.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from random import Random
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

BEFORE = ("answer 409", "answer 500", "answer 503", "reset before", "cut request", "hang")
"""The server never sees a whole request."""
AFTER = ("reset after", "cut answer", "half answer", "flip answer", "duplicate", "late")
"""The server does what it was asked for, and tells it badly; ``late`` when the asker has given up."""
ACTIONS = BEFORE + AFTER
SLOW = ("hang", "late")
"""What costs a time-out."""
INGEST = ("HeadObject", "PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")
OPERATIONS = (*INGEST, "GetObject", "ListObjectsV2", "DeleteObject", "CopyObject")

_PIECE = 65536
_MOST_HEAD_BYTES = 65536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_ERRORS = {
    "answer 409": (409, "ConditionalRequestConflict"),
    "answer 500": (500, "InternalError"),
    "answer 503": (503, "SlowDown"),
}
_NOT_PASSED_ON = frozenset({"connection", "transfer-encoding", "keep-alive", "expect"})


class Rule(Protocol):
    """What becomes of a request. Asked under a lock, once for each."""

    def action(self, operation: str, call: int) -> str:
        """One of ``ACTIONS``, or nothing; ``call`` counts this operation's requests under this rule, from 1."""


class Peace:
    """Nothing goes wrong."""

    def action(self, operation: str, call: int) -> str:
        return ""


@dataclass(frozen=True)
class From:
    """One action, at an operation's n-th request and so many after it."""

    operation: str
    what: str
    call: int = 1
    times: int = 1

    def action(self, operation: str, call: int) -> str:
        return self.what if operation == self.operation and self.call <= call < self.call + self.times else ""


class Storm:
    """Any request, with this probability; each action equally often. The same draws for the same seed."""

    def __init__(self, seed: int, share: float) -> None:
        self._random = Random(seed)
        self._share = share
        self._drawn: list[str] = []

    def action(self, operation: str, call: int) -> str:
        if self._random.random() >= self._share:
            return ""
        if not self._drawn:
            self._drawn = self._random.sample(ACTIONS, len(ACTIONS))
        return self._drawn.pop()


@dataclass(frozen=True)
class Exchange:
    """One request as it went by."""

    operation: str
    method: str
    target: str
    sent_bytes: int
    action: str
    """What was done to it; nothing if it passed."""


@dataclass(frozen=True)
class _Request:
    method: str
    target: str
    headers: dict[str, str]
    head: bytes
    body_bytes: int


@dataclass(frozen=True)
class _Answer:
    head: bytes
    body: bytes
    is_last: bool


class FaultyS3:
    """The proxy. ``rule`` may be set at any time; ``settle`` lets what is late happen."""

    def __init__(self, server_url: str) -> None:
        self._server = urlsplit(server_url).netloc
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.log: list[Exchange] = []
        self._rule: Rule = Peace()
        self._calls = Counter[str]()
        self._turn = threading.Lock()
        self._late: list[threading.Thread] = []
        self._may_arrive = threading.Event()
        self._has_ended = threading.Event()

    @property
    def rule(self) -> Rule:
        return self._rule

    @rule.setter
    def rule(self, rule: Rule) -> None:
        with self._turn:
            self._rule = rule
            self._calls.clear()

    def injected(self) -> Counter[tuple[str, str]]:
        """How often each action happened, by operation."""
        return Counter((each.operation, each.action) for each in list(self.log) if each.action)

    def calls(self) -> Counter[str]:
        """How often each operation was asked for."""
        return Counter(each.operation for each in list(self.log))

    def settle(self) -> None:
        """What was held back reaches the server now; returns when it has."""
        self._may_arrive.set()
        with self._turn:
            late, self._late = self._late, []
        for thread in late:
            thread.join(30)
        self._may_arrive.clear()

    def accept(self) -> None:
        """Serve until ``close``."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def close(self) -> None:
        self._has_ended.set()
        self.settle()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    # one connection

    def _serve(self, client: socket.socket) -> None:
        pending = b""
        with client, suppress(OSError):
            while True:
                request, pending = _read_head(client, pending)
                if request is None or self._is_ended_by(client, request, pending):
                    return
                pending = b""  # nobody here sends the next request before the answer

    def _is_ended_by(self, client: socket.socket, request: _Request, begun: bytes) -> bool:
        """Answer one request, or do something else to it; whether the connection is over."""
        action = self._decide(request)
        if action == "cut request":
            self._cut_request(client, request, begun)
            return True
        body = _read_body(client, request, begun)
        if action in _ERRORS:
            client.sendall(_refusal(*_ERRORS[action], request))
            return False
        if action == "reset before":
            _reset(client)
            return True
        if action in SLOW:
            self._keep_waiting(client, request, body, arrives=action == "late")
            return True
        if action == "duplicate":
            self._ask(request, body)
        return self._tell(client, self._ask(request, body), action)

    def _decide(self, request: _Request) -> str:
        operation = operation_of(request.method, request.target, request.headers)
        with self._turn:
            self._calls[operation] += 1
            action = self._rule.action(operation, self._calls[operation])
            self.log.append(Exchange(operation, request.method, request.target, request.body_bytes, action))
        return action

    def _cut_request(self, client: socket.socket, request: _Request, begun: bytes) -> None:
        """Half of it comes, and half of that is passed on; where there is no body, half of its head."""
        half = request.body_bytes // 2
        _invite_body(client, request, begun)
        while len(begun) < half and (data := client.recv(half - len(begun))):
            begun += data
        what = request.head + begun[:half] if half else request.head[: len(request.head) // 2]
        host, _, port = self._server.partition(":")
        with socket.create_connection((host, int(port)), timeout=30) as server:
            server.sendall(what)
            _reset(server)
        _reset(client)

    def _keep_waiting(self, client: socket.socket, request: _Request, body: bytes, *, arrives: bool) -> None:
        """Say nothing until the asker is gone; what is late reaches the server when it may."""
        if arrives:
            arriving = threading.Thread(target=self._arrive, args=(request, body), daemon=True)
            with self._turn:
                self._late.append(arriving)
            arriving.start()
        while not self._has_ended.is_set():
            ready, _, _ = select.select([client], [], [], 0.1)
            if ready and not client.recv(1):
                return

    def _arrive(self, request: _Request, body: bytes) -> None:
        self._may_arrive.wait()
        with suppress(OSError, HTTPException):
            self._ask(request, body)

    def _ask(self, request: _Request, body: bytes) -> _Answer:
        connection = HTTPConnection(self._server, timeout=60)
        try:
            headers = {name: text for name, text in request.headers.items() if name not in _NOT_PASSED_ON}
            connection.request(request.method, request.target, body or None, headers)
            answer = connection.getresponse()
            content = answer.read()
            lines = [f"HTTP/1.1 {answer.status} {answer.reason}"]
            lines += [f"{name}: {text}" for name, text in answer.getheaders() if name.lower() not in _NOT_PASSED_ON]
            if answer.getheader("Content-Length") is None and answer.status not in {204, 304}:
                lines.append(f"Content-Length: {len(content)}")
            return _Answer("\r\n".join([*lines, "", ""]).encode("latin-1"), content, is_last=False)
        finally:
            connection.close()

    def _tell(self, client: socket.socket, answer: _Answer, action: str) -> bool:
        whole = answer.head + answer.body
        half = len(answer.head) + len(answer.body) // 2 if answer.body else len(answer.head) // 2
        if action == "reset after":
            _reset(client)
        elif action == "cut answer":
            client.sendall(whole[:half])
            _reset(client)
        elif action == "half answer":
            client.sendall(whole[:half])
        else:
            client.sendall(_flipped(answer) if action == "flip answer" else whole)
            return False
        return True


@contextmanager
def faulty(server_url: str) -> Iterator[FaultyS3]:
    """A proxy before a server, for as long as the context is open."""
    proxy = FaultyS3(server_url)
    accepting = threading.Thread(target=proxy.accept, daemon=True)
    accepting.start()
    try:
        yield proxy
    finally:
        proxy.close()
        accepting.join(10)


def operation_of(method: str, target: str, headers: dict[str, str]) -> str:
    """S3's name of a request; ``headers`` by their names in lower case."""
    query = parse_qs(urlsplit(target).query, keep_blank_values=True)
    by_method = {"HEAD": "HeadObject", "GET": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
    by_query = {
        ("PUT", "partNumber"): "UploadPart",
        ("POST", "uploads"): "CreateMultipartUpload",
        ("POST", "delete"): "DeleteObjects",
        ("POST", "uploadId"): "CompleteMultipartUpload",
        ("DELETE", "uploadId"): "AbortMultipartUpload",
        ("GET", "list-type"): "ListObjectsV2",
        ("GET", "uploads"): "ListMultipartUploads",
    }
    if method == "PUT" and "x-amz-copy-source" in headers:
        return "CopyObject"
    found = [name for (of, word), name in by_query.items() if of == method and word in query]
    return found[0] if found else by_method.get(method, method)


def _read_head(client: socket.socket, pending: bytes) -> tuple[_Request | None, bytes]:
    """The next request and what has come of its body; None at the end."""
    while (end := pending.find(b"\r\n\r\n")) < 0:
        if len(pending) > _MOST_HEAD_BYTES or not (data := client.recv(_PIECE)):
            return None, b""
        pending += data
    head = pending[: end + 4]
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
    assert "transfer-encoding" not in headers, "the adapter sends bodies of a known length"
    return _Request(method, target, headers, head, int(headers.get("content-length", 0))), pending[end + 4 :]


def _invite_body(client: socket.socket, request: _Request, begun: bytes) -> None:
    if request.headers.get("expect", "").lower() == "100-continue" and not begun:
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def _read_body(client: socket.socket, request: _Request, begun: bytes) -> bytes:
    _invite_body(client, request, begun)
    pieces, left = [begun], request.body_bytes - len(begun)
    while left > 0:
        data = client.recv(min(left, 1024 * 1024))
        if not data:
            raise ConnectionResetError("the body ended early")
        pieces.append(data)
        left -= len(data)
    return b"".join(pieces)


def _refusal(status: int, code: str, request: _Request) -> bytes:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>bad luck</Message></Error>".encode()
    head = f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return head if request.method == "HEAD" else head + body


def _flipped(answer: _Answer) -> bytes:
    """One byte is another: in the middle of the body, or without one in the ETag; nothing else tells of the object."""
    if answer.body:
        at = len(answer.head) + len(answer.body) // 2
    else:
        found = answer.head.lower().find(b"\r\netag: ")
        at = found + 12 if found >= 0 else len(answer.head) - 5
    changed = bytearray(answer.head + answer.body)
    changed[at] ^= 0x01
    return bytes(changed)


def _reset(connection: socket.socket) -> None:
    """End it by a reset, and not by an orderly close."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    connection.close()
