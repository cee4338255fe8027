"""What holds for every request, before routing and after: its id, who may address us, the log line, what is counted.

Plain ASGI, because it must see streamed bodies pass without holding them.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING

import structlog

from artifactstore.api.errors import InternalError, problem_answer, status_of
from artifactstore.domain.identifiers import new_uuid7
from artifactstore.errors import ArtifactStoreError, ForbiddenError, HostRefusedError, RequestInvalidError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from artifactstore.api.service import Service

log = structlog.get_logger("artifactstore.api")

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::[0-9]{0,5})?")
ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)
"""The headers of every answer."""
_LINGER_S = 5.0
_LINGER_BYTES = 256 * 1024 * 1024
_SYSTEM_FAILED = 500
_LONGEST_DETAIL = 1_000


class Frontier:
    """Wraps the application."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; anything else passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(self._service, scope, receive, send)
        try:
            _check_address(exchange.headers, self._service.allowed_hosts)
            await self._app(scope, exchange.receive, exchange.send)
        except ArtifactStoreError as error:
            await exchange.answer(error)
        except Exception as error:
            log.exception("defect", request_id=exchange.request_id)
            await exchange.answer(InternalError(f"an unexpected {type(error).__name__}"))
        finally:
            exchange.finish()


def _check_address(headers: list[tuple[bytes, bytes]], allowed_hosts: frozenset[str]) -> None:
    """Raises unless ``Host`` is one of ours, and ``Origin``, if a browser sends it, is that very site."""
    hosts = [value.decode("latin-1").lower() for name, value in headers if name == b"host"]
    if len(hosts) != 1:
        raise RequestInvalidError("a request has one Host header")
    if _without_port(hosts[0]) not in allowed_hosts:
        raise HostRefusedError(f"this server does not answer to {hosts[0][:100]!r}")
    for name, value in headers:
        if name == b"origin" and value.decode("latin-1").lower().partition("://")[2] != hosts[0]:
            raise ForbiddenError("requests from other sites are refused", hint="")


def _without_port(host: str) -> str:
    found = _HOST.fullmatch(host)
    return "" if found is None else found[1]


class _Exchange:
    """One request and its answer, as they pass."""

    def __init__(self, service: Service, scope: Scope, receive: Receive, send: Send) -> None:
        self._service = service
        self._scope = scope
        self._receive = receive
        self._send = send
        self._began = time.monotonic()
        self._received_bytes = 0
        self._sent_bytes = 0
        self._whole_body_came = False
        self.headers: list[tuple[bytes, bytes]] = scope["headers"]
        self.status = 0
        self.error: ArtifactStoreError | None = None
        given = next((value for name, value in self.headers if name == b"x-request-id"), b"")
        self.request_id = given.decode() if _REQUEST_ID.fullmatch(given) else new_uuid7()
        scope["state"] = {**scope.get("state", {}), "request_id": self.request_id}

    async def receive(self) -> Message:
        """Count what comes."""
        message = await self._receive()
        self._received_bytes += len(message.get("body", b""))
        self._whole_body_came = message["type"] == "http.request" and not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Add what every answer has; count what goes."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = {name for name, _ in message["headers"]}
            more = [(b"x-request-id", self.request_id.encode()), *(pair for pair in ALWAYS if pair[0] not in own)]
            message = {**message, "headers": [*message["headers"], *more]}
        self._sent_bytes += len(message.get("body", b""))
        await self._send(message)

    async def answer(self, error: ArtifactStoreError) -> None:
        """The problem document. If the client is still sending, it gets time to see the answer before the end."""
        self.error = error
        if self.status:  # the answer has begun: all that can be done is not to complete it
            raise CutShortError(error.code) from error
        status, headers, body = problem_answer(error, request_id=self.request_id)
        lingers = self._has_more_body()
        if lingers:
            headers.append((b"connection", b"close"))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": lingers})
        if lingers:
            await self._drain()
            await self.send({"type": "http.response.body", "body": b"", "more_body": False})

    def finish(self) -> None:
        """Count the request and write its line."""
        seconds = time.monotonic() - self._began
        route = getattr(self._scope.get("route"), "path", "none")
        metrics = self._service.metrics
        metrics.requests.labels(self._scope["method"], route, self.status).inc()
        metrics.seconds.labels(route).observe(seconds)
        metrics.received_bytes.inc(self._received_bytes)
        metrics.sent_bytes.inc(self._sent_bytes)
        code = None if self.error is None else self.error.code
        detail = None
        if self.error is not None and status_of(self.error) >= _SYSTEM_FAILED:
            detail = self.error.message[:_LONGEST_DETAIL]
            metrics.errors.labels(code).inc()
        log.info(
            "request",
            request_id=self.request_id,
            method=self._scope["method"],
            path=self._scope["path"][:500],
            status=self.status,
            code=code,
            detail=detail,
            caller=self._scope["state"].get("caller"),
            ms=round(seconds * 1000, 1),
            received_bytes=self._received_bytes,
            sent_bytes=self._sent_bytes,
        )

    def _has_more_body(self) -> bool:
        announced = any(
            name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0 "))
            for name, value in self.headers
        )
        return announced and not self._whole_body_came

    async def _drain(self) -> None:
        """Take in what is still coming, for a while: closing under a sender would lose it the answer."""
        limit = self._received_bytes + _LINGER_BYTES
        try:
            async with asyncio.timeout(_LINGER_S):
                while not self._whole_body_came and self._received_bytes < limit:
                    if (await self.receive())["type"] == "http.disconnect":
                        return
        except TimeoutError:
            return


class CutShortError(Exception):
    """An answer that cannot be completed; the server closes the connection."""
