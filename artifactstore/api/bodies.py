"""Request bodies: streamed to a thread that reads them as a file, or read whole within a bound as JSON.

The event loop only moves bytes. What is done with them blocks, so it runs on a thread, which asks for the next bytes
and waits. The loop stops taking bytes off the connection while the thread is behind.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from starlette.requests import ClientDisconnect

from artifactstore.api.service import service_of
from artifactstore.errors import (
    ArtifactStoreError,
    LimitExceededError,
    RequestInvalidError,
    RequestTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.requests import Request

    from artifactstore.api.room import Room


T = TypeVar("T")

_WINDOW_BYTES = 4 * 1024 * 1024
"""How far the connection may be ahead of the thread."""
_PATIENCE_S = 10.0
_LEAST_BYTES_PER_S = 1024
_LOOK_S = 2.0


async def stream_body(request: Request, work: Callable[[Callable[[int], bytes]], T]) -> T:
    """Run ``work`` on a thread with a function that reads the request's body, as ``read(size)`` of a file does.

    Reading raises ``RequestInvalidError`` if the client has gone, ``RequestTimeoutError`` if it is too slow. Raises
    ``ServiceBusyError`` if too many bodies are under way.
    """
    service = service_of(request)
    with service.body_slot(getattr(request.state, "caller", "")):
        body = _Body(asyncio.get_running_loop())
        pump = asyncio.ensure_future(body.pump(request))
        try:
            return await asyncio.get_running_loop().run_in_executor(service.threads, work, body.read)
        finally:
            body.fail(RequestInvalidError("the request was given up"))
            pump.cancel()


def refuse_announced_length(request: Request, max_bytes: int) -> None:
    """Raises ``LimitExceededError`` if the body says that it is longer than so many bytes."""
    if int(request.headers.get("content-length", "0")) > max_bytes:
        raise _too_long(max_bytes)


@contextmanager
def held_whole(read: Callable[[int], bytes], max_bytes: int, room: Room) -> Iterator[bytes]:
    """A whole body, in memory while the context is open; its bytes take ``room`` as they arrive.

    Raises ``LimitExceededError`` as soon as it is longer than ``max_bytes``, ``ServiceBusyError`` if there is no room.
    """
    pieces, count = [], 0
    try:
        while data := read(max_bytes + 1):
            room.take(len(data))
            count += len(data)
            if count > max_bytes:
                raise _too_long(max_bytes)
            pieces.append(data)
        yield b"".join(pieces)
    finally:
        room.give_back(count)


def _too_long(max_bytes: int) -> LimitExceededError:
    return LimitExceededError(f"the body has more than {max_bytes} bytes")


class _Body:
    """Pieces on their way from the event loop to one thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pieces: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._error: ArtifactStoreError | None = None
        self._room = asyncio.Event()
        self.has_ended = False
        self._received_bytes = 0

    # on the thread

    def read(self, size: int) -> bytes:
        """Some bytes, at most ``size``; none at the end."""
        with self._changed:
            while not self._pieces and not self.has_ended and self._error is None:
                self._changed.wait()
            if not self._pieces:
                if self.has_ended:
                    return b""
                assert self._error is not None, "else it would still wait"
                raise self._error
            piece = self._pieces.popleft()
            if len(piece) > size:
                self._pieces.appendleft(piece[size:])
                piece = piece[:size]
            was_full = self._waiting_bytes >= _WINDOW_BYTES
            self._waiting_bytes -= len(piece)
            has_room = self._waiting_bytes < _WINDOW_BYTES
        if was_full and has_room:
            self._loop.call_soon_threadsafe(self._room.set)
        return piece

    # on the event loop

    async def pump(self, request: Request) -> None:
        """Take the body off the connection until it ends or something is wrong with it."""
        watch = asyncio.ensure_future(self._watch_pace(asyncio.current_task()))
        try:
            async for piece in request.stream():
                if piece:
                    self._put(piece)
                while self._waiting_bytes >= _WINDOW_BYTES:
                    self._room.clear()
                    if self._waiting_bytes >= _WINDOW_BYTES:
                        await self._room.wait()
            self._end()
        except ClientDisconnect:
            self.fail(RequestInvalidError("the client has gone before the end of the body", hint=""))
        finally:
            watch.cancel()

    def fail(self, error: ArtifactStoreError) -> None:
        """Let reading raise, once what has come is read."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify()

    def _put(self, piece: bytes) -> None:
        with self._changed:
            self._pieces.append(piece)
            self._waiting_bytes += len(piece)
            self._received_bytes += len(piece)
            self._changed.notify()

    def _end(self) -> None:
        with self._changed:
            self.has_ended = True
            self._changed.notify()

    async def _watch_pace(self, pump: asyncio.Task[None] | None) -> None:
        """End a body that comes too slowly. Time in which the thread was behind is not the client's."""
        began, waited = time.monotonic(), 0.0
        while True:
            await asyncio.sleep(_LOOK_S)
            if self._waiting_bytes:
                waited += _LOOK_S
            patience = time.monotonic() - began - waited - _PATIENCE_S
            if patience > 0 and self._received_bytes < patience * _LEAST_BYTES_PER_S:
                self.fail(RequestTimeoutError("the body comes too slowly"))
                if pump is not None:
                    pump.cancel()
                return
