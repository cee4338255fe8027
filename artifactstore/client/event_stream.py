"""The event log as it grows: server-sent events, gone on with after every cut, none missed and none twice."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from artifactstore.client.connection import BUFFER_BYTES, FailedAttempt, Request
from artifactstore.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from urllib3.response import BaseHTTPResponse

    from artifactstore.client.connection import Connection

_MAX_EVENT_BYTES = 64 * 1024 * 1024


def stream_events(connection: Connection, after: int, *, payload: bool) -> Iterator[dict[str, Any]]:
    """See ``Client.stream_events``."""
    patience = connection.patience()
    while True:
        headers = {"Last-Event-ID": str(after), "Accept": "text/event-stream"}
        request = Request("GET", "/events/stream", query={"payload": "true" if payload else None}, headers=headers)
        try:
            with connection.answer(request) as response:
                for data in _messages(_lines(_pieces(response))):
                    patience.renew()
                    if (event := _event(data)) is None or event["seq"] <= after:
                        continue
                    after = event["seq"]
                    yield event
            patience.after(_ended(connection))
        except FailedAttempt as failure:
            patience.after(failure)


def _ended(connection: Connection) -> FailedAttempt:
    return FailedAttempt(ServiceError(f"{connection.server} ended the stream of events"), retryable=True)


def _pieces(response: BaseHTTPResponse) -> Iterator[bytes]:
    """What has arrived, as it arrives."""
    if response.headers.get("Transfer-Encoding", "").lower() == "chunked":
        yield from response.read_chunked()
    else:
        while data := response.read1(BUFFER_BYTES):
            yield data


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines without their ends."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r")
        if len(rest) > _MAX_EVENT_BYTES:
            raise ServiceError("the server sent an event without an end")


def _messages(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The data of each message that is whole; empty for a comment, which says that the server is there."""
    data: list[bytes] = []
    for line in lines:
        if line.startswith(b":"):
            yield b""
        elif line.startswith(b"data:"):
            data.append(line.removeprefix(b"data:").removeprefix(b" "))
        elif not line and data:
            yield b"\n".join(data)
            data.clear()


def _event(data: bytes) -> dict[str, Any] | None:
    if not data:
        return None
    try:
        event = json.loads(data)
    except ValueError as error:
        raise ServiceError("the server sent an event that is not JSON") from error
    if not isinstance(event, dict) or type(event.get("seq")) is not int:
        raise ServiceError("the server sent an event without its number")
    return event
