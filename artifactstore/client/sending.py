"""Sending one large file: in one request, or as a resumable upload that survives whatever happens to the connection.

A file is hashed again as it is sent, and its last bytes are held back until they are known to be those that were
announced: what has changed meanwhile never becomes complete on the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from blake3 import blake3

from artifactstore.client.answers import UPLOAD_OFFSET, member
from artifactstore.client.connection import BUFFER_BYTES, FailedAttempt, Request, file_path, segment
from artifactstore.client.draft import changed
from artifactstore.errors import (
    DigestMismatchError,
    NotFoundError,
    ServiceError,
    UploadOffsetError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from urllib3.response import BaseHTTPResponse

    from artifactstore.client.connection import Connection, Patience
    from artifactstore.domain.manifest import FileEntry
    from artifactstore.domain.package import OpenedFile

UPLOAD_BYTES = 64 * 1024 * 1024
"""Files from this size on are sent as resumable uploads, in pieces of this size."""
_FRESH_STARTS = 2


class SentFile:
    """A file of a draft on its way, from its first byte to its last. Use it as a context manager."""

    def __init__(self, opened: OpenedFile, entry: FileEntry, tell: Callable[[int], object]) -> None:
        self._opened = opened
        self._entry = entry
        self._tell = tell
        self._hasher = blake3()
        self.position = 0

    def skip_to(self, offset: int) -> None:
        """Pass over what the server has."""
        while self.position < offset and self._read(offset):
            pass

    def piece(self, stop: int) -> Iterator[bytes]:
        """The bytes from where it is up to ``stop``. Raises ``FileChangedError`` before the last ones at the latest."""
        while self.position < stop:
            data = self._read(stop)
            if self.position == self._entry.size_bytes:
                self._finish()
            self._tell(len(data))
            yield data

    def _read(self, stop: int) -> bytes:
        data = self._opened.read(min(BUFFER_BYTES, stop - self.position))
        if not data:
            raise changed(self._entry)
        self._hasher.update(data)
        self.position += len(data)
        return data

    def _finish(self) -> None:
        self._opened.finish()
        if self._opened.size_bytes != self.position or self._hasher.digest() != self._entry.blake3:
            raise changed(self._entry)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()


def put_file(connection: Connection, package_id: str, entry: FileEntry, open_file: Callable[[], SentFile]) -> None:
    """Send a file in one request; from its beginning again if that is cut off."""

    def body() -> Iterator[bytes]:
        with open_file() as file:
            yield from file.piece(entry.size_bytes)

    connection.call(
        Request(
            "PUT",
            f"/packages/{segment(package_id)}/files/{file_path(entry.path)}",
            headers={"Content-Type": "application/octet-stream"},
            body=body,
            length=entry.size_bytes,
            patient=True,
        )
    )


class Upload:
    """One resumable upload. Where it stands is the server's word: it is asked after every failure."""

    def __init__(
        self,
        connection: Connection,
        package_id: str,
        entry: FileEntry,
        open_file: Callable[[], SentFile],
        is_missing: Callable[[], bool],
    ) -> None:
        self._connection = connection
        self._uploads = f"/packages/{segment(package_id)}/uploads"
        self._entry = entry
        self._open_file = open_file
        self._is_missing = is_missing
        self._at = ""
        self._offset = 0

    def run(self) -> None:
        """Send what is left of the file. Raises ``FileChangedError`` if it is not what was announced."""
        for fresh_start in range(_FRESH_STARTS):
            try:
                self._run()
            except DigestMismatchError:  # an earlier attempt sent other bytes; the server has dropped them
                if fresh_start == _FRESH_STARTS - 1:
                    raise
            else:
                return

    def _run(self) -> None:
        patience = self._connection.patience()
        self._begin()
        while True:
            try:
                self._send(patience)
            except FailedAttempt as failure:
                if isinstance(failure.error, DigestMismatchError):
                    raise failure.error from failure.__cause__
                patience.after(_mendable(failure))
            else:
                return
            before = self._offset
            if not self._find_out():
                return
            if self._offset > before:
                patience.renew()

    def _begin(self) -> None:
        """Begin it, or find the one that was begun."""
        answer = self._connection.call(
            Request.json("POST", self._uploads, {"path": self._entry.path, "size": self._entry.size_bytes})
        )
        self._at = f"{self._uploads}/{segment(member(answer, 'upload_id', str))}"
        self._stand_at(member(answer, "offset", int))

    def _send(self, patience: Patience) -> None:
        with self._open_file() as file:
            file.skip_to(self._offset)
            self._send_pieces(file, patience)

    def _send_pieces(self, file: SentFile, patience: Patience) -> None:
        """The last piece makes it complete, and is empty if all of them have arrived before."""
        size_bytes = self._entry.size_bytes
        while True:
            stop = min(self._offset + UPLOAD_BYTES, size_bytes)
            request = Request(
                "PATCH",
                self._at,
                headers={
                    "Content-Type": "application/partial-upload",
                    UPLOAD_OFFSET: str(self._offset),
                    "Upload-Complete": "?1" if stop == size_bytes else "?0",
                },
                body=lambda stop=stop: file.piece(stop),  # type: ignore[misc]
                length=stop - self._offset,
                patient=True,
            )
            self._connection.attempt(request, lambda _: None)
            if stop == size_bytes:
                return
            self._offset = stop
            patience.renew()

    def _find_out(self) -> bool:
        """Ask where it stands; whether there is anything left to do."""
        try:
            self._stand_at(self._connection.run(Request("HEAD", self._at), _offset_of))
        except NotFoundError:  # complete, or ended: the package knows
            if not self._is_missing():
                return False
            self._begin()
        return True

    def _stand_at(self, offset: int) -> None:
        if not 0 <= offset <= self._entry.size_bytes:
            raise ServiceError(f"the server has {offset} bytes of {self._entry.path!r}, more than there are")
        self._offset = offset


def _offset_of(response: BaseHTTPResponse) -> int:
    text = response.headers.get(UPLOAD_OFFSET, "")
    if not (text.isascii() and text.isdigit()):
        raise ServiceError("the server does not say where an upload stands")
    return int(text)


def _mendable(failure: FailedAttempt) -> FailedAttempt:
    """That an upload stands elsewhere, or is gone, is mended by asking."""
    if not isinstance(failure.error, (UploadOffsetError, NotFoundError)):
        return failure
    mendable = FailedAttempt(failure.error, retryable=True, status=failure.status)
    mendable.__cause__ = failure.__cause__
    return mendable
