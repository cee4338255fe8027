"""A real HTTP server on loopback that answers as a test tells it, for what a good server never does."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import Message
    from pathlib import Path


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    target: str
    headers: Message
    body: bytes

    @property
    def document(self):
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """What to answer; ``cut`` ends the connection after so many bytes of the body."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None

    @classmethod
    def json(cls, document: object, status: int = 200, **headers: str) -> Answer:
        return cls(status, json.dumps(document).encode(), {"Content-Type": "application/json", **headers})

    @classmethod
    def problem(cls, status: int, code: str, *, retryable: bool = False, **headers: str) -> Answer:
        document = {"code": code, "detail": "no", "hint": "", "retryable": retryable, "problems": [], "status": status}
        body = json.dumps(document).encode()
        return cls(status, body, {"Content-Type": "application/problem+json", **headers})


NO_ANSWER = Answer(status=0)
"""End the connection without a word."""


class ScriptedServer(ThreadingHTTPServer):
    """Where it is, and what it was asked."""

    daemon_threads = True

    def __init__(self, script: Callable[[Asked], Answer], certificate: Path | None, host: str) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, 0), _Handler)
        self.script = script
        self.asked: list[Asked] = []
        where = f"[{host}]" if ":" in host else host
        self.url = f"{'http' if certificate is None else 'https'}://{where}:{self.server_address[1]}"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def targets(self) -> list[str]:
        return [f"{each.method} {each.target}" for each in self.asked]

    def handle_error(self, *_: object) -> None:
        """Connections that end badly are what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ScriptedServer

    def __getattr__(self, name: str):
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        asked = Asked(self.command, self.path, self.headers, body)
        self.server.asked.append(asked)
        answer = self.server.script(asked)
        if answer.status:
            self._send(answer)
        if answer.status == 0 or answer.cut is not None:
            self.close_connection = True

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        if "Content-Length" not in answer.headers and answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body if answer.cut is None else answer.body[: answer.cut])

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(
    script: Callable[[Asked], Answer], *, certificate: Path | None = None, host: str = "127.0.0.1"
) -> Iterator[ScriptedServer]:
    """A server that answers every request with what ``script`` says."""
    server = ScriptedServer(script, certificate, host)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
