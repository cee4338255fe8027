"""A backend that fails on demand: any ``ObjectStore`` with faults that a test programs.

::

    store = FaultyStore(MemoryStore())
    store.fail(Operation.COMMIT, StorageUnavailableError("timed out"))              # the next commit, before it
    store.fail(Operation.COMMIT, StorageUnavailableError("timed out"), after=True)  # ... after it has happened
    store.fail(Operation.WRITE, StorageError("broken"), call=3, times=2)            # the third and fourth from now
    store.fill_after(10_000)                                                        # a disk with so much room
    store.flip_byte(at=7)                                                           # every read that passes byte 7
    store.end_reads_early(by_bytes=1)                                               # every object seems shorter
    store.pause(Operation.DELETE, gate.wait)                                        # hold a call until the test says so
    store.mend()                                                                    # all is well again

Without a fault it keeps every promise of the store it wraps.
"""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO

from artifactstore.errors import StorageFullError
from artifactstore.storage.port import ObjectStore, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta

    from artifactstore.domain.hashing import ObjectHasher
    from artifactstore.errors import ArtifactStoreError
    from artifactstore.storage.port import ObjectInfo, ObjectKey, ObjectKind, PutOutcome, Stray


class Operation(StrEnum):
    """Where a fault can strike. A ``put`` is a STAGE, a WRITE for each buffer, and a COMMIT; a ``read`` is an OPEN."""

    STAGE = "stage"
    WRITE = "write"
    COMMIT = "commit"
    SIZE = "size"
    OPEN = "open"
    READ = "read"
    """Each read of an open stream."""
    LIST = "list"
    DELETE = "delete"
    QUARANTINE = "quarantine"
    PRESIGNED_URL = "presigned_url"


@dataclass(frozen=True, slots=True)
class _Fault:
    operation: Operation
    calls: range
    after: bool
    action: Callable[[], object]


class FaultyStore(ObjectStore):
    """Wraps a store. ``calls`` counts every operation since the beginning."""

    def __init__(self, inner: ObjectStore) -> None:
        self.inner = inner
        self.calls: Counter[Operation] = Counter()
        self._lock = threading.Lock()
        self._faults: list[_Fault] = []
        self._room_bytes: int | None = None
        self._flipped_at: int | None = None
        self._missing_bytes = 0

    # what a test programs

    def fail(
        self,
        operation: Operation,
        error: ArtifactStoreError,
        *,
        call: int = 1,
        times: int = 1,
        after: bool = False,
    ) -> None:
        """Raise ``error`` at the ``call``-th such operation from now and the ``times - 1`` that follow it.

        ``after``: the operation happens first, and only its answer is lost.
        """

        def action() -> None:
            raise error

        self._add(operation, call, times, action, after=after)

    def pause(
        self, operation: Operation, hook: Callable[[], object], *, call: int = 1, times: int = 1, after: bool = False
    ) -> None:
        """Call ``hook`` there: it may wait, count, kill the process, or meddle with the backend."""
        self._add(operation, call, times, hook, after=after)

    def fill_after(self, size_bytes: int) -> None:
        """From now on there is room for so many bytes; the write that passes it raises ``StorageFullError``."""
        self._room_bytes = size_bytes

    def flip_byte(self, at: int) -> None:
        """Every read that passes this offset of an object gives that byte with its bits inverted."""
        self._flipped_at = at

    def end_reads_early(self, by_bytes: int) -> None:
        """Every stream ends so many bytes before its range does."""
        self._missing_bytes = by_bytes

    def mend(self) -> None:
        """Forget every fault."""
        self._faults = []
        self._room_bytes = None
        self._flipped_at = None
        self._missing_bytes = 0

    # the port

    @property
    def must_be_probed(self) -> bool:  # type: ignore[override]
        """As the inner store."""
        return self.inner.must_be_probed

    @property
    def identity(self) -> str:
        """As the inner store."""
        return self.inner.identity

    def stage(self, hasher: ObjectHasher) -> Stage:
        """The inner store's stage, with faults."""
        with self._struck(Operation.STAGE):
            inner = self.inner.stage(hasher)
            return _FaultyStage(self, inner, hasher)

    def size(self, key: ObjectKey) -> int:
        """As the inner store."""
        with self._struck(Operation.SIZE):
            return self.inner.size(key)

    @contextmanager
    def open(self, key: ObjectKey, start: int = 0, length: int | None = None) -> Iterator[BinaryIO]:
        """The inner store's stream, with faults."""
        with self._struck(Operation.OPEN):
            opened = self.inner.open(key, start, length)
            size_bytes = self.inner.size(key) - start if length is None else length
        with opened as stream:
            yield _FaultyReader(self, stream, start, size_bytes)  # type: ignore[misc]

    def list(self, kind: ObjectKind) -> Iterator[ObjectInfo]:
        """As the inner store; the fault strikes at the first object."""
        with self._struck(Operation.LIST):
            yield from self.inner.list(kind)

    def delete(self, key: ObjectKey) -> None:
        """As the inner store."""
        with self._struck(Operation.DELETE):
            self.inner.delete(key)

    def quarantine(self, key: ObjectKey) -> None:
        """As the inner store."""
        with self._struck(Operation.QUARANTINE):
            self.inner.quarantine(key)

    def presigned_url(self, key: ObjectKey, *, expires_in_s: int) -> str | None:
        """As the inner store."""
        with self._struck(Operation.PRESIGNED_URL):
            return self.inner.presigned_url(key, expires_in_s=expires_in_s)

    def remove_leftovers(self, older_than: timedelta) -> int:
        """As the inner store, without faults."""
        return self.inner.remove_leftovers(older_than)

    def strays(self) -> Iterator[Stray]:
        """As the inner store, without faults."""
        return self.inner.strays()

    # how faults strike

    def _add(self, operation: Operation, call: int, times: int, action: Callable[[], object], *, after: bool) -> None:
        with self._lock:
            first = self.calls[operation] + call
            self._faults.append(_Fault(operation, range(first, first + times), after, action))

    @contextmanager
    def _struck(self, operation: Operation) -> Iterator[None]:
        """Around one call: the faults before it, the call, the faults after it."""
        with self._lock:
            self.calls[operation] += 1
            number = self.calls[operation]
            struck = [fault for fault in self._faults if fault.operation is operation and number in fault.calls]
        for fault in struck:
            if not fault.after:
                fault.action()
        yield
        for fault in struck:
            if fault.after:
                fault.action()

    def _take_room(self, size_bytes: int) -> int:
        """How many of these bytes still fit."""
        with self._lock:
            if self._room_bytes is None:
                return size_bytes
            fitting = min(size_bytes, self._room_bytes)
            self._room_bytes -= fitting
            return fitting

    def _altered(self, data: bytes, offset: int) -> bytes:
        """The bytes that stand at this offset of an object, as the faults have them."""
        at = None if self._flipped_at is None else self._flipped_at - offset
        if at is None or not 0 <= at < len(data):
            return data
        return data[:at] + bytes((data[at] ^ 0xFF,)) + data[at + 1 :]

    def _seen_size(self, size_bytes: int) -> int:
        return max(0, size_bytes - self._missing_bytes)


class _FaultyStage(Stage):
    """Hands everything to the inner stage, which verifies and publishes."""

    def __init__(self, store: FaultyStore, inner: Stage, hasher: ObjectHasher) -> None:
        super().__init__(hasher)
        self._store = store
        self._inner = inner

    def write(self, data: bytes) -> None:
        with self._store._struck(Operation.WRITE):  # noqa: SLF001 - one class in three parts
            fitting = self._store._take_room(len(data))  # noqa: SLF001
            self._inner.write(data[:fitting])
            self.size_bytes = self._inner.size_bytes
            if fitting < len(data):
                raise StorageFullError("the faulty store has no room left")

    def commit(self, key: ObjectKey, size_bytes: int) -> PutOutcome:
        with self._store._struck(Operation.COMMIT):  # noqa: SLF001
            return self._inner.commit(key, size_bytes)

    def replace(self, key: ObjectKey, size_bytes: int) -> PutOutcome:
        with self._store._struck(Operation.COMMIT):  # noqa: SLF001
            return self._inner.replace(key, size_bytes)

    def discard(self) -> None:
        self._inner.discard()

    def _append(self, data: bytes) -> None:  # noqa: ARG002
        raise AssertionError("write goes to the inner stage")

    def _publish(self, key: ObjectKey) -> PutOutcome:  # noqa: ARG002
        raise AssertionError("commit goes to the inner stage")

    def _publish_over(self, key: ObjectKey) -> PutOutcome:  # noqa: ARG002
        raise AssertionError("replace goes to the inner stage")


class _FaultyReader:
    def __init__(self, store: FaultyStore, stream: BinaryIO, start: int, size_bytes: int) -> None:
        self._store = store
        self._stream = stream
        self._at = start
        self._left = store._seen_size(size_bytes)  # noqa: SLF001

    def read(self, size: int = -1) -> bytes:
        with self._store._struck(Operation.READ):  # noqa: SLF001
            wanted = self._left if size < 0 else min(size, self._left)
            data = self._store._altered(self._stream.read(wanted), self._at)  # noqa: SLF001
            self._at += len(data)
            self._left -= len(data)
            return data
