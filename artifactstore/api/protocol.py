"""HTTP/1.1 as uvicorn speaks it, with limits it does not have: on the headers' time and size, and on connections.

It is also stricter: what two readers could understand in two ways is refused, so that no proxy before this server can
be made to disagree with it about where a request ends, what it asks for or who sent it.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from artifactstore.api.errors import HeadersTooLargeError, problem_answer
from artifactstore.api.frontier import ALWAYS
from artifactstore.domain.identifiers import new_uuid7
from artifactstore.errors import ArtifactStoreError, RequestInvalidError, RequestTimeoutError, ServiceBusyError

if TYPE_CHECKING:
    import asyncio

    from uvicorn._types import ASGIReceiveCallable, ASGIReceiveEvent

log = structlog.get_logger("artifactstore.api")

MAX_HEADER_BYTES = 16 * 1024
MAX_CONNECTIONS = 1_000
HEADER_TIMEOUT_S = 10.0
SEND_TIMEOUT_S = 60.0
"""How long a client may leave what it was sent untaken: at most a few MiB, which are held for it."""
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PERCENT_ENCODED = re.compile(rb"(?:[^%]|%[0-9A-Fa-f]{2})*")


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    _header_bytes = 0
    _unread_bytes = 0
    """How much has come since the parser last had something to say."""
    _has_begun = False
    """Whether something of a request's headers has come, and not all."""
    _headers_are_complete = False
    _deadline: asyncio.TimerHandle | None = None
    _reading_deadline: asyncio.TimerHandle | None = None
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse one connection too many; give the others time for their first request."""
        super().connection_made(transport)
        self._expect_headers()
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse(ServiceBusyError(f"{MAX_CONNECTIONS} connections are open already"))

    def connection_lost(self, exc: Exception | None) -> None:
        """No more deadlines."""
        self._headers_have_come()
        self._client_reads()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client takes nothing. Only an abort ends that: closing would wait until it has taken the rest."""
        super().pause_writing()
        self._reading_deadline = self.loop.call_later(SEND_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        """It has taken what it was sent."""
        self._client_reads()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Parse, unless the connection has been refused. What the parser gathers without end is not let grow."""
        if self._refused:
            return
        self._unread_bytes += len(data)
        super().data_received(data)
        if self._unread_bytes > MAX_HEADER_BYTES:
            self._refuse_headers()

    def on_message_begin(self) -> None:
        """A request begins: its headers have a deadline."""
        super().on_message_begin()
        self._has_begun = True
        self._header_bytes = self._unread_bytes = 0
        self._headers_are_complete = False
        if self._deadline is None:
            self._expect_headers()

    def on_url(self, url: bytes) -> None:
        """Count the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header. One that follows the body says nothing: nobody before us has looked at it."""
        self._count(len(name) + len(value) + 4)
        if not self._headers_are_complete:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The deadline is met. A request that could be read in two ways is refused."""
        self._headers_have_come()
        self._has_begun = False
        self._headers_are_complete = True
        self._unread_bytes = 0
        if self._refused:
            return
        if problem := request_problem(self.parser.get_http_version(), self.url, self.headers):
            self._refuse(RequestInvalidError(problem))
            return
        super().on_headers_complete()
        self.cycle.receive = partial(_receive, self.cycle, self.cycle.receive)  # type: ignore[method-assign]
        if self.parser.should_upgrade():  # it stays HTTP/1.1, but the parser takes what follows for something else
            self.cycle.keep_alive = False

    def on_chunk_header(self) -> None:
        """A piece of the body begins."""
        self._unread_bytes = 0

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        self._unread_bytes = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """What cannot be parsed is answered with a problem document too."""
        if not self._refused:
            self._refuse(RequestInvalidError(msg))

    def shutdown(self) -> None:
        """The server ends: let what would go on for ever know."""
        stop = self.app_state.get("stop")
        if stop is not None:
            stop()
        super().shutdown()

    def _count(self, header_bytes: int) -> None:
        self._header_bytes += header_bytes
        self._unread_bytes = 0
        if self._header_bytes > MAX_HEADER_BYTES:
            self._refuse_headers()

    def _refuse_headers(self) -> None:
        if not self._refused:
            self._refuse(HeadersTooLargeError(f"the request line and headers have more than {MAX_HEADER_BYTES} bytes"))

    def _expect_headers(self) -> None:
        self._deadline = self.loop.call_later(HEADER_TIMEOUT_S, self._headers_are_late)

    def _headers_are_late(self) -> None:
        """Who has begun a request is told; a connection on which nothing came is just closed."""
        if self._has_begun:
            self._refuse(RequestTimeoutError(f"the headers did not come within {HEADER_TIMEOUT_S:.0f} s"))
        else:
            self.transport.close()

    def _headers_have_come(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _client_reads(self) -> None:
        if self._reading_deadline is not None:
            self._reading_deadline.cancel()
            self._reading_deadline = None

    def _refuse(self, error: ArtifactStoreError) -> None:
        """Answer and close, unless an answer is under way: then only close."""
        self._refused = True
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete:
            request_id = new_uuid7()
            status, headers, body = problem_answer(error, request_id=request_id)
            headers += [*self.server_state.default_headers, (b"x-request-id", request_id.encode()), *ALWAYS]
            lines = [STATUS_LINE[status], *(b"%b: %b\r\n" % pair for pair in headers)]
            self.transport.write(b"".join((*lines, b"connection: close\r\n\r\n", body)))
            log.info("refused", request_id=request_id, status=status, code=error.code)
        self.transport.close()


def request_problem(version: str, target: bytes, headers: list[tuple[bytes, bytes]]) -> str | None:
    """Why a request that the parser takes is not to be answered (RFC 9112 sections 3 and 6); None if it is."""
    if version not in {"1.0", "1.1"}:
        return "this server speaks HTTP/1.1"
    return _target_problem(target, headers) or _framing_problem(version, headers)


def _target_problem(target: bytes, headers: list[tuple[bytes, bytes]]) -> str | None:
    if absolute := _ABSOLUTE.fullmatch(target):
        if any(value.lower() != absolute[1].lower() for name, value in headers if name == b"host"):
            return "the request line and Host name two servers"
        target = absolute[2]
    if b"#" in target:
        return "a fragment is not part of a request; write # as %23"
    path = target.partition(b"?")[0]
    try:
        text = unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        return "the path is not UTF-8"
    if _CONTROL.search(text):  # nothing has such a name, and routes would pass over a line feed at the end
        return "the path has a control character"
    return None if _PERCENT_ENCODED.fullmatch(path) else "the path has a % that begins no escape; write it as %25"


def _framing_problem(version: str, headers: list[tuple[bytes, bytes]]) -> str | None:
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if codings and (codings != [b"chunked"] or version == "1.0"):
        return "chunked is the only transfer coding, in HTTP/1.1"
    names = {name for name, _ in headers}
    if b"upgrade" in names and (codings or any(n == b"content-length" and v.strip(b"0 ") for n, v in headers)):
        return "a request with a body cannot ask for an upgrade; this server speaks HTTP/1.1"
    return None


async def _receive(cycle: RequestResponseCycle, receive: ASGIReceiveCallable) -> ASGIReceiveEvent:
    """The next message. What came before the client went is handed on before it is said that it went."""
    message = await receive()
    if message["type"] == "http.disconnect" and cycle.body and not cycle.response_complete:
        body, cycle.body = bytes(cycle.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": cycle.more_body}
    return message
