"""One pass over bytes, every digest we keep.

``measure(data)`` is for bytes in memory. ``BlobHasher`` is for streams: its two threads hash while the caller reads and
writes, so a pass costs what SHA-256 alone costs. Both give a ``BlobMeasure``.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

from blake3 import blake3
from zlib_ng import zlib_ng

from artifactstore.domain.digest import CHUNK_BYTES, BlobMeasure

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

BUFFER_BYTES = 1024 * 1024
"""How much is read at a time. Measured: 4 MiB buffers take twice as long on a 2 GiB file."""
_QUEUED_BUFFERS = 4

T = TypeVar("T")


class ObjectHasher(Protocol):
    """What a stage asks of whoever hashes the bytes that pass through it."""

    def update(self, data: bytes, /) -> object:
        """Take the next bytes. The caller must not change ``data`` afterwards."""

    def digest(self) -> bytes:
        """The BLAKE3 digest of all bytes so far."""


def measure(data: bytes) -> BlobMeasure:
    """Every digest of ``data``, which is at most one chunk long or pays for its chunks here."""
    return BlobMeasure(
        blake3(data).digest(),
        hashlib.sha256(data).digest(),
        len(data),
        zlib_ng.crc32(data),
        _chunk_digests(data) if len(data) > CHUNK_BYTES else b"",
    )


def _chunk_digests(data: bytes) -> bytes:
    view = memoryview(data)
    return b"".join(blake3(view[at : at + CHUNK_BYTES]).digest() for at in range(0, len(data), CHUNK_BYTES))


class BlobHasher:
    """The measure of a stream, computed in two threads. Use it as a context manager: leaving it ends the threads."""

    def __init__(self) -> None:
        self._size_bytes = 0
        self._address = _AddressHashes()
        self._sha256 = hashlib.sha256()
        self._lanes = (Lane(self._address.update), Lane(self._sha256.update))
        self._measure: BlobMeasure | None = None

    def update(self, data: bytes) -> None:
        """Hand the next bytes to both threads; waits while they are four buffers behind."""
        self._size_bytes += len(data)
        for lane in self._lanes:
            lane.put(data)

    def digest(self) -> bytes:
        """The BLAKE3 digest of the whole stream. No bytes can follow."""
        return self.finish().blake3

    def finish(self) -> BlobMeasure:
        """Wait for both threads and give the measure; idempotent."""
        if self._measure is None:
            self.close()
            self._measure = BlobMeasure(
                self._address.blake3.digest(),
                self._sha256.digest(),
                self._size_bytes,
                self._address.crc32,
                self._address.chunk_digests(),
            )
        return self._measure

    def close(self) -> None:
        """End both threads; idempotent."""
        for lane in self._lanes:
            lane.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AddressHasher:
    """The BLAKE3 digest of a stream, computed in a thread of its own while the caller goes on with the bytes."""

    def __init__(self) -> None:
        self._blake3 = blake3()
        self._lane = Lane(self._blake3.update)

    def update(self, data: bytes) -> None:
        """Hand over the next bytes; waits while the thread is four buffers behind."""
        self._lane.put(data)

    def digest(self) -> bytes:
        """Wait for the thread and give the digest. No bytes can follow."""
        self._lane.close()
        return self._blake3.digest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lane.close()


class _AddressHashes:
    """BLAKE3 of the whole, BLAKE3 of each chunk, and CRC-32: together as dear as SHA-256 alone."""

    def __init__(self) -> None:
        self.blake3 = blake3()
        self.crc32 = 0
        self._chunk = blake3()
        self._chunk_room = CHUNK_BYTES
        self._finished_chunks = bytearray()

    def update(self, data: bytes) -> None:
        self.blake3.update(data)
        self.crc32 = zlib_ng.crc32(data, self.crc32)
        view = memoryview(data)
        while view:
            part = view[: self._chunk_room]
            self._chunk.update(part)
            self._chunk_room -= len(part)
            view = view[len(part) :]
            if self._chunk_room == 0:
                self._end_chunk()

    def chunk_digests(self) -> bytes:
        if self._chunk_room < CHUNK_BYTES:
            self._end_chunk()
        return bytes(self._finished_chunks) if len(self._finished_chunks) > len(self._chunk.digest()) else b""

    def _end_chunk(self) -> None:
        self._finished_chunks += self._chunk.digest()
        self._chunk = blake3()
        self._chunk_room = CHUNK_BYTES


class Lane(Generic[T]):
    """One thread that feeds buffers, or whatever else, to one function, in order. Whoever makes one closes it.

    Ctrl-C may fall between any two steps of the caller's. A ``Queue`` that it falls into can be left locked, and then
    closing waits for ever. A ``SimpleQueue`` cannot, and has no bound: hence the queue of places beside the buffers'.
    """

    def __init__(self, consume: Callable[[T], object]) -> None:
        self._consume = consume
        self._buffers: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._places: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(_QUEUED_BUFFERS):
            self._places.put(None)
        self._closed = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, data: T) -> None:
        """Hand over the next; waits while the thread is four behind."""
        self._places.get()
        self._buffers.put(data)

    def close(self) -> None:
        """Wait until all that was put is fed, and end the thread; idempotent. Raises what the function raised first."""
        if not self._closed:
            self._buffers.put(None)
            self._thread.join()
            self._closed = True
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (data := self._buffers.get()) is not None:
            if self._error is None:
                self._feed(data)
            self._places.put(None)

    def _feed(self, data: T) -> None:
        try:
            self._consume(data)
        except BaseException as error:  # noqa: BLE001 - raised again by close; the queue must go on being emptied
            self._error = error
