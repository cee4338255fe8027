"""The least a server must do to take a file or give one, behind our own HTTP implementation with our own settings.

``PUT`` writes what comes to a file, in pieces of 1 MiB, and syncs it once before it answers; ``GET`` sends the file in
pieces of 1 MiB. Nothing is hashed, checked or recorded, and nobody is asked for a token.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

# the floor is worth something only if these are the settings we serve with, whatever they become
from artifactstore.api.serve import _calm_collector, _config, _listen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

_PIECE_BYTES = 1024 * 1024


class FloorApp:
    """The ASGI application; its one file is ``file`` in the folder."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "file"

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["method"] == "PUT":
            await self._take(receive, send)
        elif scope["method"] == "GET" and self._file.exists():
            await self._give(send)
        else:
            await _answer(send, 200)

    async def _take(self, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        output = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            more, pieces, size_bytes = True, list[bytes](), 0
            while more:
                message = await receive()
                more = message.get("more_body", False)
                pieces.append(message["body"])
                size_bytes += len(pieces[-1])
                if size_bytes >= _PIECE_BYTES or not more:
                    await loop.run_in_executor(None, _write, output, pieces)
                    pieces, size_bytes = [], 0
            await loop.run_in_executor(None, os.fsync, output)
        finally:
            os.close(output)
        await _answer(send, 201)

    async def _give(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        with self._file.open("rb", buffering=0) as source:
            await _begin(send, 200, os.fstat(source.fileno()).st_size)
            while piece := await loop.run_in_executor(None, source.read, _PIECE_BYTES):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _live(receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    assert message["type"] == "lifespan.shutdown"
    await send({"type": "lifespan.shutdown.complete"})


async def _answer(send: Send, status: int) -> None:
    await _begin(send, status, 0)
    await send({"type": "http.response.body", "body": b""})


async def _begin(send: Send, status: int, length: int) -> None:
    headers = [(b"content-length", str(length).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})


def _write(output: int, pieces: list[bytes]) -> None:
    data = memoryview(b"".join(pieces))
    while data:
        data = data[os.write(output, data) :]


def main(folder: Path) -> None:
    """Serve until a signal; one JSON line says where."""
    listener = _listen("127.0.0.1", 0)
    config = _config(FloorApp(folder))  # type: ignore[arg-type]
    _calm_collector()
    host, port = listener.getsockname()[:2]
    print(f'{{"url": "http://{host}:{port}"}}', flush=True)  # it listens already; who asks now waits a moment
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
