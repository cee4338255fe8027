"""Many objects read back: large ones two at a time, so that one is hashed while the other is.

What they show is told in the order in which they were given. Small objects are read between the large ones by whoever
asks: to hand them to a thread takes longer than to read them. So are packs of small blobs: they are mostly work that
one thread at a time can do.
"""

from __future__ import annotations

import threading
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING

from artifactstore.errors import ConfigurationError, StorageError
from artifactstore.registry.read_back import Findings, read_back_surely

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from artifactstore.catalog.records import ObjectRecord, PlacedBlob
    from artifactstore.registry.registry import Registry

AT_ONCE = 2
AHEAD = 8
"""How many objects at most are read, or being read, before what the first of them shows is told."""
_LARGE_BYTES = 1024 * 1024
_LARGE_ON_AVERAGE_BYTES = 8 * 1024
"""Measured: a pack of blobs of 4 KiB is read more slowly beside another, one of 8 KiB somewhat faster."""


class Reader:
    """Reads objects of one registry. ``advance`` is told every byte read, by several threads at once."""

    def __init__(
        self,
        registry: Registry,
        blobs_in: Callable[[ObjectRecord], list[PlacedBlob]],
        advance: Callable[[int], None],
        *,
        every_blob: Callable[[ObjectRecord], list[PlacedBlob]],
    ) -> None:
        """``blobs_in`` gives what to look at in an object, ``every_blob`` all that is in one that looks damaged."""
        self._registry = registry
        self._blobs_in = blobs_in
        self._every_blob = every_blob
        self._advance = advance
        self._left = threading.Event()

    def read_each(
        self, objects: Iterable[ObjectRecord]
    ) -> Iterator[tuple[ObjectRecord, Findings | StorageError | ConfigurationError]]:
        """Each object, and what reading it has shown, or why it could not be read.

        Whatever else is raised while one is read, by ``advance`` too, is raised here. Objects are asked for when there
        is room to read them; when this is left, no thread reads any more.
        """
        under_way: deque[tuple[ObjectRecord, _Answer]] = deque()
        try:
            for found in objects:
                while len(under_way) >= AHEAD or sum(not answer.is_there for _, answer in under_way) >= AT_ONCE:
                    yield _answered(*under_way.popleft())
                under_way.append((found, self._begin(found)))
                while under_way and under_way[0][1].is_there:
                    yield _answered(*under_way.popleft())
            while under_way:
                yield _answered(*under_way.popleft())
        finally:
            self._left.set()
            for _, answer in under_way:
                answer.wait()

    def _begin(self, found: ObjectRecord) -> _Answer:
        blobs, answer = self._blobs_in(found), _Answer()
        if found.size_bytes < max(_LARGE_BYTES, len(blobs) * _LARGE_ON_AVERAGE_BYTES):
            answer.give(lambda: self._read(found, blobs))
        else:
            answer.give_meanwhile(lambda: self._read(found, blobs))
        return answer

    def _read(self, found: ObjectRecord, blobs: list[PlacedBlob]) -> Findings:
        store = self._registry.backend(found.backend)
        return read_back_surely(store, found, blobs, self._go_on, every_blob=lambda: self._every_blob(found))

    def _go_on(self, count_bytes: int) -> None:
        if self._left.is_set():
            raise _LeftError
        self._advance(count_bytes)


class _LeftError(Exception):
    """Raised in a thread whose answer nobody waits for; seen by nobody."""


class _Answer:
    """What one object shows, when it is there. A ``SimpleQueue`` cannot be left locked by an interrupt."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Findings | BaseException] = SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def is_there(self) -> bool:
        return not self._queue.empty()

    def give(self, read: Callable[[], Findings]) -> None:
        try:
            self._queue.put(read())
        except BaseException as error:  # noqa: BLE001 - raised by whoever waits for the answer
            self._queue.put(error)

    def give_meanwhile(self, read: Callable[[], Findings]) -> None:
        self._thread = threading.Thread(target=self.give, args=(read,), daemon=True)
        self._thread.start()

    def wait(self) -> Findings | BaseException:
        told = self._queue.get()
        if self._thread is not None:
            self._thread.join()
        return told


def _answered(
    found: ObjectRecord, answer: _Answer
) -> tuple[ObjectRecord, Findings | StorageError | ConfigurationError]:
    told = answer.wait()
    if isinstance(told, Findings | StorageError | ConfigurationError):
        return found, told
    raise told
