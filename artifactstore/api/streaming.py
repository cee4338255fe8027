"""Answers that are streamed: pieces made on a thread, the next one while this one is sent."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.responses import Response

from artifactstore.api.service import service_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

_PIECES_AT_ONCE = 2
_SANDBOX = "sandbox; default-src 'none'"


class StreamedAnswer(Response):
    """Pieces of known total length. If making one fails, the connection is cut before the answer is complete.

    No more are made once the client has gone.
    """

    def __init__(
        self, request: Request, pieces: Iterator[bytes], *, length: int, status: int, headers: Mapping[str, str]
    ) -> None:
        super().__init__(status_code=status, headers={**headers, "content-length": str(length)})
        self._service = service_of(request)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send the answer; its first piece is made before its head is sent, so that an early error is answered."""
        with self._service.download_slot():
            await self._stream(receive, send)

    async def _stream(self, receive: Receive, send: Send) -> None:
        loop, threads = asyncio.get_running_loop(), self._service.threads

        def following() -> asyncio.Future[list[bytes]]:
            return loop.run_in_executor(threads, list, islice(self._pieces, _PIECES_AT_ONCE))

        gone = asyncio.ensure_future(_until_gone(receive))
        coming = following()
        try:
            pieces = await coming
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while pieces and not gone.done():
                coming = following()
                for piece in pieces:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                pieces = await coming
            if not gone.done():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            coming.cancel()
            await asyncio.shield(loop.run_in_executor(threads, _close, self._pieces))


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _close(pieces: Iterator[bytes]) -> None:
    """Let go of what the pieces are read from, once nobody is reading."""
    close = getattr(pieces, "close", None)
    if close is not None:
        try:
            close()
        except ValueError:  # a thread is still making a piece: it ends by itself, and the generator with it
            return


def download_headers(*, media_type: str, file_name: str) -> dict[str, str]:
    """What keeps stored content from acting as this site: a file to save, of the type it was given, in a sandbox."""
    return {
        "content-type": media_type,
        "content-disposition": content_disposition(file_name),
        "content-security-policy": _SANDBOX,
        "x-content-type-options": "nosniff",
        "cache-control": "private, no-cache",
    }


def content_disposition(file_name: str) -> str:
    """``attachment`` with a name that any client can read and none can be misled by (RFC 6266, RFC 8187)."""
    plain = "".join(
        character if character.isascii() and character.isprintable() and character not in '"\\%/' else "_"
        for character in file_name
    )
    extended = "" if plain == file_name else f"; filename*=UTF-8''{quote(file_name, safe='')}"
    return f'attachment; filename="{plain}"{extended}'
