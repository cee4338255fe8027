"""HTTP/1.1 as uvicorn speaks it, with limits it does not have: on the headers' time and size, and on connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from artifactstore.api.errors import problem_answer
from artifactstore.domain.identifiers import new_uuid7
from artifactstore.errors import ArtifactStoreError, LimitExceededError, RequestInvalidError, ServiceBusyError

if TYPE_CHECKING:
    import asyncio

MAX_HEADER_BYTES = 16 * 1024
MAX_CONNECTIONS = 1_000
HEADER_TIMEOUT_S = 10.0
_HEADERS_TOO_LARGE = 431


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    _header_bytes = 0
    _deadline: asyncio.TimerHandle | None = None
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
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, unless the connection has been refused."""
        if not self._refused:
            super().data_received(data)

    def on_message_begin(self) -> None:
        """A request begins: its headers have a deadline."""
        super().on_message_begin()
        self._header_bytes = 0
        if self._deadline is None:
            self._expect_headers()

    def on_url(self, url: bytes) -> None:
        """Count the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header."""
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The deadline is met."""
        self._headers_have_come()
        if not self._refused:
            super().on_headers_complete()

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
        if self._header_bytes > MAX_HEADER_BYTES and not self._refused:
            error = LimitExceededError(f"the request line and headers have more than {MAX_HEADER_BYTES} bytes")
            self._refuse(error, status=_HEADERS_TOO_LARGE)

    def _expect_headers(self) -> None:
        self._deadline = self.loop.call_later(HEADER_TIMEOUT_S, self.transport.close)

    def _headers_have_come(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, error: ArtifactStoreError, *, status: int | None = None) -> None:
        """Answer and close, unless an answer is under way: then only close."""
        self._refused = True
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete:
            usual, headers, body = problem_answer(error, request_id=new_uuid7())
            lines = [STATUS_LINE[status or usual], *(b"%b: %b\r\n" % pair for pair in headers)]
            self.transport.write(b"".join((*lines, b"connection: close\r\n\r\n", body)))
        self.transport.close()
