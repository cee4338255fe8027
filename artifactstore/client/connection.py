"""Requests to one server: connections that are kept, patience where it is safe, and every failure as one of our errors.

A request is repeated only if that cannot do harm: its ``repeatable`` says so. Redirects are never followed and proxies
of the environment never asked, so the token goes to the server that was named and to no other; over plain HTTP it goes
to loopback only.
"""

from __future__ import annotations

import json
import random
import socket
import ssl
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from artifactstore import __version__
from artifactstore.client.answers import (
    MAX_DOCUMENT_BYTES,
    MAX_PROBLEM_BYTES,
    document_of,
    error_of,
    is_retryable,
)
from artifactstore.config import parse_server_url
from artifactstore.errors import ArtifactStoreError, ConfigurationError, ServiceError, ServiceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from urllib3.response import BaseHTTPResponse

    Sleep = Callable[[float], object]

T = TypeVar("T")

TRIES = 5
"""How often a request is made before its failure is the answer; what makes progress begins to count anew."""
BUFFER_BYTES = 1024 * 1024
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0
_LONGEST_RETRY_AFTER_S = 60
_SEND_BYTES = 256 * 1024
_LEFT_BYTES = 64 * 1024
_PARALLEL = 5
_VISIBLE_ASCII = range(0x21, 0x7F)


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``body`` is called for each attempt; ``length`` is how many bytes it gives."""

    method: str
    path: str
    """Below the server's address, percent-encoded."""
    query: Mapping[str, object] = field(default_factory=dict)
    """Members that are None are left out."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Callable[[], Iterable[bytes]] | None = None
    length: int = 0
    repeatable: bool = True
    """Whether making it twice does no more than making it once."""
    patient: bool = False
    """Whether the answer may take as long as it takes: the server reads or stores much before it answers."""

    @classmethod
    def json(cls, method: str, path: str, document: bytes | Mapping[str, object], **more: Any) -> Request:
        """A request whose body is a JSON document, or the bytes of one."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        headers = {"Content-Type": "application/json", **more.pop("headers", {})}
        return cls(method, path, headers=headers, body=lambda: (body,), length=len(body), **more)

    @property
    def target(self) -> str:
        """Path and query."""
        given = {name: value for name, value in self.query.items() if value is not None}
        return f"{self.path}?{urlencode(given)}" if given else self.path


class FailedAttempt(Exception):  # noqa: N818 - how one attempt ended; it never leaves this package
    """One attempt that did not succeed, and whether another one may."""

    def __init__(
        self,
        error: ArtifactStoreError,
        *,
        retryable: bool,
        status: int = 0,
        was_sent: bool = True,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.retryable = retryable
        self.status = status
        self.was_sent = was_sent
        self.retry_after_s = retry_after_s


class Patience:
    """How often to try again, and how long to wait before: longer each time, never in step with others."""

    def __init__(self, sleep: Sleep) -> None:
        self._sleep = sleep
        self._failures = 0

    def renew(self) -> None:
        """Something was achieved: count anew."""
        self._failures = 0

    def after(self, failure: FailedAttempt) -> None:
        """Wait before the next attempt. Raises the failure's error if there is to be none."""
        self._failures += 1
        if not failure.retryable or self._failures >= TRIES:
            raise failure.error from failure.__cause__
        pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (self._failures - 1))
        pause *= 0.5 + random.random()  # noqa: S311 - to be out of step, not to be secret
        self._sleep(max(pause, min(failure.retry_after_s or 0.0, _LONGEST_RETRY_AFTER_S)))


class Connection:
    """The server at one address; any number of threads may use it."""

    def __init__(self, url: str, token: str | None = None, *, sleep: Sleep = time.sleep) -> None:
        self.server = parse_server_url(url, what="the URL")
        _check_token(self.server, token)
        parts = urlsplit(self.server)
        self._prefix = parts.path
        self._pool = _pool(parts.scheme, parts.hostname or "", parts.port)
        self._sleep = sleep
        self._headers = {"User-Agent": f"artifactstore/{__version__}", "Accept-Encoding": "identity"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def close(self) -> None:
        """Release the connections that are kept."""
        self._pool.close()

    def patience(self) -> Patience:
        """For a loop of the caller's own."""
        return Patience(self._sleep)

    def call(self, request: Request) -> dict[str, Any]:
        """The JSON document that a request is answered with; empty where there is no body."""
        return self.run(request, self._document)

    def run(self, request: Request, take: Callable[[BaseHTTPResponse], T]) -> T:
        """What ``take`` makes of the answer, once it is a success. It may be called again with another answer."""
        patience = self.patience()
        while True:
            try:
                return self.attempt(request, take)
            except FailedAttempt as failure:
                if failure.was_sent and not request.repeatable:
                    raise failure.error from failure.__cause__
                patience.after(failure)

    def attempt(self, request: Request, take: Callable[[BaseHTTPResponse], T]) -> T:
        """The same, once. Raises ``FailedAttempt``, and what ``take`` and the request's body raise."""
        with self.answer(request) as response:
            return take(response)

    @contextmanager
    def answer(self, request: Request) -> Iterator[BaseHTTPResponse]:
        """A successful answer, its body still to be read. Raises ``FailedAttempt``, also for a body that is cut off."""
        headers = {**self._headers, **request.headers}
        if request.body is not None:
            headers["Content-Length"] = str(request.length)
        with self._transport_errors():
            response = self._pool.urlopen(
                request.method,
                self._prefix + request.target,
                body=request.body() if request.body is not None else None,
                headers=headers,
                retries=False,
                redirect=False,
                assert_same_host=False,
                timeout=Timeout(connect=CONNECT_TIMEOUT_S, read=None if request.patient else READ_TIMEOUT_S),
                preload_content=False,
                decode_content=False,
            )
            try:
                if not 200 <= response.status < 300:  # noqa: PLR2004 - HTTP's own range
                    raise self._refusal(request.method, response)
                yield response
            finally:
                _release(response)

    def _document(self, response: BaseHTTPResponse) -> dict[str, Any]:
        body = read_all(response, MAX_DOCUMENT_BYTES, server=self.server)
        return document_of(body, server=self.server) if body else {}

    def _refusal(self, method: str, response: BaseHTTPResponse) -> FailedAttempt:
        body = read_all(response, MAX_PROBLEM_BYTES, server=self.server)
        error = error_of(response.status, response.headers, body, server=self.server, has_body=method != "HEAD")
        return FailedAttempt(
            error,
            retryable=is_retryable(error, response.status),
            status=response.status,
            retry_after_s=_seconds(response.headers.get("Retry-After", "")),
        )

    @contextmanager
    def _transport_errors(self) -> Iterator[None]:
        """The library's errors as failed attempts; the rest passes."""
        try:
            yield
        except LocationParseError as error:
            raise FailedAttempt(ServiceError(f"{self.server} is no address"), retryable=False) from error
        except SSLError as error:
            kind = ServiceUnavailableError if (was_cut := _was_cut(error)) else ServiceError
            raise FailedAttempt(kind(f"{self.server}: {_tls_reason(error)}"), retryable=was_cut) from error
        except HTTPError as error:
            raise FailedAttempt(
                ServiceUnavailableError(f"{self.server} cannot be reached: {_reason(error)}"),
                retryable=True,
                was_sent=not isinstance(error, (NewConnectionError, ConnectTimeoutError)),
            ) from error


def read_all(response: BaseHTTPResponse, limit: int, *, server: str) -> bytes:
    """An answer's whole body. Raises ``ServiceError`` if it is longer than ``limit``."""
    parts: list[bytes] = []
    size = 0
    while data := response.read(BUFFER_BYTES):
        size += len(data)
        if size > limit:
            raise ServiceError(f"{server} answered with more than {limit} bytes where less was expected")
        parts.append(data)
    return b"".join(parts)


def segment(text: str) -> str:
    """Text as one segment of a path."""
    return quote(text, safe="")


def file_path(path: str) -> str:
    """A logical path as segments of a path."""
    return quote(path, safe="/")


def _check_token(server: str, token: str | None) -> None:
    if not token:
        return
    if any(ord(character) not in _VISIBLE_ASCII for character in token):
        raise ConfigurationError("the token has a space or a character that no token has")
    parts = urlsplit(server)
    if parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
        raise ConfigurationError(
            f"{server} is not encrypted: the token would travel for everyone to read",
            hint="Use https://, or reach the server by a tunnel that ends on this host.",
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class _Steady(HTTPConnection):
    """A connection whose time-outs are for pieces, not for whole bodies, and which notices that its peer is gone."""

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        self.sock.settimeout(READ_TIMEOUT_S)
        view = memoryview(data)
        for at in range(0, len(view), _SEND_BYTES):
            super().send(view[at : at + _SEND_BYTES])


class _SteadyTls(_Steady, HTTPSConnection):
    """The same, encrypted; the server's certificate is checked against those the system trusts."""


def _pool(scheme: str, host: str, port: int | None) -> HTTPConnectionPool:
    kind = HTTPSConnectionPool if scheme == "https" else HTTPConnectionPool
    pool = kind(
        host,
        port,
        maxsize=_PARALLEL,
        block=False,
        retries=False,
        blocksize=BUFFER_BYTES,
        socket_options=[*HTTPConnection.default_socket_options, *_KEEP_ALIVE],
    )
    pool.ConnectionCls = _SteadyTls if scheme == "https" else _Steady
    return pool


_KEEP_ALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6))
        if hasattr(socket, name)
    ),
]
"""A host that has vanished is noticed after a minute and a half, also where an answer may take as long as it takes."""


def _release(response: BaseHTTPResponse) -> None:
    """Keep the connection if little of its answer is left to read, else drop it."""
    if response.length_remaining is not None and response.length_remaining <= _LEFT_BYTES:
        response.drain_conn()
        response.release_conn()
    else:
        response.close()


def _seconds(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() else None


def _was_cut(error: SSLError) -> bool:
    return any(isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) for cause in error.args)


def _tls_reason(error: SSLError) -> str:
    for cause in error.args:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate cannot be trusted: {cause.verify_message}"
    return "the encrypted connection was cut" if _was_cut(error) else f"it does not speak TLS as we do: {error}"


def _reason(error: HTTPError) -> str:
    """Why, in a few words and without objects' addresses."""
    if isinstance(error, NameResolutionError):
        return "its name cannot be resolved"
    if isinstance(error, ReadTimeoutError):
        return f"no answer within {READ_TIMEOUT_S:.0f} s"
    if isinstance(error, ConnectTimeoutError) and not isinstance(error, NewConnectionError):
        return f"no connection within {CONNECT_TIMEOUT_S:.0f} s"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return "the connection was cut"
