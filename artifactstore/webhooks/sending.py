"""One request to a webhook: to an address that was checked, once, within a deadline.

No redirect is followed, no proxy of the environment asked, nothing repeated. At most 64 KiB of the answer are read, and
nothing of them is ever shown: only the status counts.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from contextlib import closing, contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from artifactstore.errors import WebhookFailedError
from artifactstore.webhooks.addresses import check_addresses

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from artifactstore.webhooks.addresses import Network
    from artifactstore.webhooks.configuration import Endpoint, Webhook

MAX_ANSWER_BYTES = 64 * 1024
MAX_ADDRESSES = 8
"""How many addresses of a host are tried until one accepts the connection."""

_INTERIM = range(102, 200)
"""Not 101, which is final: the other side then speaks another protocol."""


class Answer(NamedTuple):
    """How a webhook answered."""

    status: int
    retry_after: str
    """The header; empty if there is none."""


def post(webhook: Webhook, headers: Mapping[str, str], body: bytes, network: Network) -> Answer:
    """Send a body and wait for the answer, whatever its status.

    Raises ``WebhookRefusedError`` if it is at an address that is not allowed, ``WebhookFailedError`` if it does not
    answer.
    """
    endpoint = webhook.endpoint
    deadline = _Deadline(webhook.timeout_s)
    with _told(endpoint, deadline), closing(deadline):
        addresses = _resolved(endpoint, network, deadline)
        check_addresses(webhook, addresses)
        with closing(_connected(endpoint, addresses[:MAX_ADDRESSES], network, deadline)) as connection:
            sent_headers = {"Host": endpoint.authority, **headers}
            connection.request("POST", endpoint.target, body, sent_headers, preload_content=False)
            return _answer(connection, deadline)


class _Deadline:
    """When an attempt ends: whatever its connection waits for then is cut, however little was missing."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.has_cut = False
        self._ends_at = time.monotonic() + timeout_s
        self._turn = threading.Lock()
        self._watched: socket.socket | None = None
        self._timer: threading.Timer | None = None

    @property
    def left_s(self) -> float:
        return max(self._ends_at - time.monotonic(), 0.001)  # 0 would mean without waiting

    @property
    def has_passed(self) -> bool:
        return time.monotonic() >= self._ends_at

    def watch(self, connected: socket.socket) -> None:
        """Cut this connection at the end, by a descriptor of our own: TLS takes the other one away."""
        self.close()
        self._watched = connected.dup()
        self._timer = threading.Timer(self.left_s, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def close(self) -> None:
        """Cut nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        with self._turn:
            if self._watched is not None:
                self._watched.close()
                self._watched = None

    def _cut(self) -> None:
        with self._turn, suppress(OSError):
            if self._watched is not None:
                self.has_cut = True
                self._watched.shutdown(socket.SHUT_RDWR)


class _Final(http.client.HTTPResponse):
    """The answer after those that announce it, such as 103 Early Hints; of these, http.client knows only 100."""

    def begin(self) -> None:
        super().begin()
        while self.status in _INTERIM:
            self.headers = None  # type: ignore[assignment]  # only while there are none, it reads
            super().begin()


class _Watched(HTTPConnection):
    """A connection that ends at a deadline."""

    response_class = _Final
    deadline: _Deadline

    def _new_conn(self) -> socket.socket:  # the one place that has the connection before TLS takes it over
        connected = super()._new_conn()
        self.deadline.watch(connected)
        return connected


class _WatchedTls(_Watched, HTTPSConnection):
    """The same, encrypted."""


def _resolved(endpoint: Endpoint, network: Network, deadline: _Deadline) -> Sequence[str]:
    """The addresses, asked for once. In a thread, because nothing else ends a resolver's waiting."""
    found: SimpleQueue[Sequence[str] | Exception] = SimpleQueue()

    def resolve() -> None:
        try:
            found.put(network.resolve(endpoint.host, endpoint.port))
        except Exception as error:  # noqa: BLE001 - raised by who waits
            found.put(error)

    threading.Thread(target=resolve, name="resolve a webhook", daemon=True).start()
    try:
        answer = found.get(timeout=deadline.left_s)
    except Empty:
        raise TimeoutError from None
    if isinstance(answer, Exception) and not isinstance(answer, (OSError, UnicodeError)):
        raise answer
    if isinstance(answer, Exception) or not answer:
        cause = answer if isinstance(answer, Exception) else None
        raise WebhookFailedError(f"{endpoint.authority}: its name cannot be resolved") from cause
    return answer


def _connected(endpoint: Endpoint, addresses: Sequence[str], network: Network, deadline: _Deadline) -> _Watched:
    """A connection to the first address that accepts one."""
    trust = network.trust() if endpoint.is_encrypted else None
    for number, address in enumerate(addresses, 1):
        share_s = deadline.left_s / (len(addresses) - number + 1)
        connection = _connection(endpoint, address, trust, deadline, share_s)
        try:
            connection.connect()
        except BaseException as error:
            connection.close()
            may_go_on = isinstance(error, (NewConnectionError, ConnectTimeoutError)) and not deadline.has_passed
            if number == len(addresses) or not may_go_on:
                raise
        else:
            connection.sock.settimeout(deadline.left_s)
            return connection
    raise AssertionError("a name has an address")


def _connection(
    endpoint: Endpoint, address: str, trust: ssl.SSLContext | None, deadline: _Deadline, timeout_s: float
) -> _Watched:
    """A connection to be made to this address, in which the other side is who the URL names."""
    host, port = f"[{address}]" if ":" in address else address, endpoint.port
    if trust is None:
        connection = _Watched(host, port, timeout=timeout_s)
    else:
        connection = _WatchedTls(
            host, port, timeout=timeout_s, ssl_context=trust, cert_reqs=ssl.CERT_REQUIRED, server_hostname=endpoint.host
        )
    connection.deadline = deadline
    return connection


def _answer(connection: HTTPConnection, deadline: _Deadline) -> Answer:
    """The answer's status; of its body as much as a receiver may expect to be taken from it."""
    with closing(connection.getresponse()) as response:
        if deadline.has_cut:
            raise TimeoutError  # where the connection ends, http.client takes the headers to end
        with suppress(HTTPError, OSError, http.client.HTTPException):
            response.read(MAX_ANSWER_BYTES, decode_content=False)
        return Answer(response.status, response.headers.get("Retry-After", ""))


@contextmanager
def _told(endpoint: Endpoint, deadline: _Deadline) -> Iterator[None]:
    """What the network and its libraries raise, as our error."""
    try:
        yield
    except (HTTPError, OSError, http.client.HTTPException) as error:
        reason = f"no answer within {deadline.timeout_s:g} s" if deadline.has_passed else _reason(error)
        raise WebhookFailedError(f"{endpoint.authority}: {reason}") from error


def _reason(error: Exception) -> str:
    """Why, without what the other side has sent."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate cannot be trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "the encrypted connection failed"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TimeoutError):
            return "no answer in time"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, http.client.RemoteDisconnected):
        return "the connection was closed without an answer"
    return "the answer is not HTTP" if isinstance(error, http.client.HTTPException) else "the connection was cut"
