"""A webhook's receiver for tests: a real HTTP server on loopback, and a verifier of signatures by the specification."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, NamedTuple

from artifactstore.webhooks import Network, Webhook
from artifactstore.webhooks.configuration import parse_endpoint
from artifactstore.webhooks.signing import key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import trustme

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OLD_SECRET = "whsec_" + base64.b64encode(bytes(range(100, 124))).decode()
LOOPBACK = ip_network("127.0.0.0/8")
FOR_EVER = 400
"""Steps of 0.05 s: if nobody cuts a slow answer it is complete after 20 seconds, and the test sees that."""


class Received(NamedTuple):
    """A request as it came."""

    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """A server that notes every request and answers what it is told to."""

    port: int
    host: str = "127.0.0.1"
    scheme: str = "http"
    statuses: list[int] = field(default_factory=list)
    """The next answers; 204 when there are none left."""
    headers: dict[str, str] = field(default_factory=dict)
    respond: Callable[[BaseHTTPRequestHandler, threading.Event], object] | None = None
    """Answers instead of ``statuses``; the event is set when the server ends."""
    requests: list[Received] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    """What clients called the server when they began TLS."""

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}/hooks"


@contextmanager
def receiving(
    address: str = "127.0.0.1", port: int = 0, certificate: trustme.LeafCert | None = None
) -> Iterator[Receiver]:
    """A receiver for as long as the context is open."""
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.requests.append(Received(self.path, headers, body))
            if receiver.respond is not None:
                with suppress(OSError):
                    receiver.respond(self, ended)
                self.close_connection = True
                return
            self.send_response(receiver.statuses.pop(0) if receiver.statuses else 204)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST  # noqa: N815 - the name that http.server looks for

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def handle_error(self, *_: object) -> None:
            """A client that goes away is what some tests are about."""

    with Server((address, port), Handler) as server:
        receiver = Receiver(server.server_address[1], host=address)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            context.sni_callback = lambda _socket, name, _context: receiver.names.append(name)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            receiver.scheme = "https"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield receiver
        finally:
            ended.set()
            server.shutdown()
            thread.join()


def webhook_to(receiver: Receiver, **members: Any) -> Webhook:
    """A webhook that may reach the receiver and has time."""
    endpoint = parse_endpoint(members.pop("url", receiver.url))
    key = key_of(SECRET)
    assert endpoint is not None
    assert key is not None
    ordinary: dict[str, Any] = {"keys": (key,), "allow_networks": (LOOPBACK,), "timeout_s": 10.0}
    return Webhook("hub", endpoint, members.pop("events", ("v1.package.finalized",)), **{**ordinary, **members})


def names_lead_to(*addresses: str) -> Network:
    """A network whose resolver answers these addresses to any name."""
    return Network(resolve=lambda _host, _port: list(addresses))


def is_signed_by(secret: str, request: Received) -> bool:
    """Whether one of a request's signatures is by this secret, as the specification tells receivers to find out."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    versions = [signature.split(",", 1) for signature in request.headers["webhook-signature"].split(" ")]
    return any(version == "v1" and hmac.compare_digest(expected, value) for version, value in versions)


def dripping(*, first: bytes, drop: bytes) -> Callable[[BaseHTTPRequestHandler, threading.Event], None]:
    """An answer that begins at once, never pauses for long and takes 20 seconds to be a complete 200."""

    def respond(handler: BaseHTTPRequestHandler, ended: threading.Event) -> None:
        handler.wfile.write(first)
        for _ in range(FOR_EVER):
            if ended.wait(0.05):
                return
            handler.wfile.write(drop)
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" if b"HTTP" in drop else b"\r\n\r\n")

    return respond
