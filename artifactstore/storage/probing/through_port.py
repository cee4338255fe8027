"""What can be measured of any backend: through the port, with small objects that nobody else has."""

from __future__ import annotations

import io
import os
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from blake3 import blake3

from artifactstore.errors import ArtifactStoreError, ObjectNotFoundError, RangeInvalidError
from artifactstore.storage.port import ObjectKey, ObjectKind, PutOutcome
from artifactstore.storage.probing.probe import NOT_MEASURED, Capability, Finding, Measurement, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from artifactstore.storage.port import ObjectStore

T = TypeVar("T")

WRITERS = 8
SIZES = (0, 1, 4096, 1024 * 1024 + 3)
LISTED = 12
_TIMED = 5


class PortProbe:
    """Measures a store through the port; ``clear`` removes what it put."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._keys: set[ObjectKey] = set()

    def measurements(self) -> Sequence[Measurement]:
        """What a store without more to say is measured by."""
        return (
            Measurement((Capability.ROUND_TRIP, Capability.READ_AFTER_WRITE), self._round_trip),
            Measurement((Capability.ADAPTER,), self._adapter),
            Measurement((Capability.TORN_WRITE,), self._torn_write),
            Measurement((Capability.RANGES,), self._ranges),
            Measurement(
                (Capability.LISTING_ORDER, Capability.LISTING_COMPLETE, Capability.LISTING_FRESH), self._listing
            ),
            Measurement((Capability.DELETE,), self._delete),
            Measurement((Capability.CONDITIONAL_CREATE,), self._conditional_create),
            Measurement((Capability.PRESIGNED,), self._presigned),
            Measurement((Capability.LATENCY,), self._latency),
        )

    def clear(self) -> None:
        """Delete every object that was put. What cannot be deleted stays: the backend has said why elsewhere."""
        for key in self._keys:
            with suppress(ArtifactStoreError):
                self._store.delete(key)

    def _round_trip(self) -> Iterator[Finding]:
        exact, seen = True, "at once"
        for size in SIZES:
            data = os.urandom(size)
            key = self._put(data)
            seen = _worse(seen, settled(lambda key=key: self._read(key) is not None))  # type: ignore[misc]
            exact = exact and self._read(key) == data
        told = f"{len(SIZES)} objects of {', '.join(map(str, SIZES))} bytes, read as soon as they were acknowledged"
        lost = seen == "never"
        yield Finding(Capability.ROUND_TRIP, "lost" if lost else "exact" if exact else "altered", told)
        yield Finding(Capability.READ_AFTER_WRITE, seen, told)

    def _adapter(self) -> Iterator[Finding]:
        """The way every object goes: put, put again, read, replace, quarantine, put afresh."""
        data = os.urandom(4096)
        key = self._key(data)
        outcomes = [self._put_outcome(key, data), self._put_outcome(key, data)]
        with self._store.stage(blake3()) as stage:
            stage.write(data)
            stage.replace(key, len(data))
        replaced = self._read(key)
        self._store.quarantine(key)
        aside = self._read(key)
        self._put(data)
        works = outcomes == [PutOutcome.CREATED, PutOutcome.PRESENT] and (replaced, aside, self._read(key)) == (
            data,
            None,
            data,
        )
        told = "an object put, put again, replaced, quarantined and put afresh by the adapter's own way"
        yield Finding(Capability.ADAPTER, "works" if works else "altered", told)

    def _torn_write(self) -> Iterator[Finding]:
        """Bytes that were given up before the commit."""
        data = os.urandom(64 * 1024)
        key = self._key(data)
        with self._store.stage(blake3()) as stage:
            stage.write(data[: len(data) // 2])
        visible = self._read(key) is not None or key in self._listed()
        told = "an object given up after half of its bytes, by the adapter and not by a killed process"
        yield Finding(Capability.TORN_WRITE, "visible" if visible else "invisible", told)

    def _ranges(self) -> Iterator[Finding]:
        data = os.urandom(1000)
        key, empty = self._put(data), self._put(b"")
        wanted = [(0, 1), (499, 2), (999, 1), (500, None)]
        exact = all(self._store.read(key, *range_) == _slice(data, *range_) for range_ in wanted)
        exact = exact and self._store.read(empty) == b"" and self._refuses_beyond(key, len(data))
        told = "first, middle and last byte, the second half, an empty object, and one byte beyond the end"
        yield Finding(Capability.RANGES, "exact" if exact else "wrong", told)

    def _listing(self) -> Iterator[Finding]:
        keys = [self._put(os.urandom(32)) for _ in range(LISTED)]
        fresh = settled(lambda: set(keys) <= set(self._listed()))
        listed = self._listed()
        digests = [key.digest for key in listed]
        self._store.delete(keys[0])
        forgotten = settled(lambda: keys[0] not in self._listed())
        told = f"{LISTED} new objects, listed at once, and one of them deleted"
        ascends = digests == sorted(set(digests))
        yield Finding(Capability.LISTING_ORDER, "ascending" if ascends else "out of order", told)
        complete = set(keys) <= set(listed)
        yield Finding(Capability.LISTING_COMPLETE, "complete" if complete else "incomplete", told)
        yield Finding(Capability.LISTING_FRESH, _worse(fresh, forgotten), told)

    def _delete(self) -> Iterator[Finding]:
        deleted, kept = self._put(os.urandom(32)), self._put(os.urandom(32))
        self._store.delete(deleted)
        gone = settled(lambda: self._read(deleted) is None)
        self._store.delete(deleted)
        value = {"at once": "gone at once", "late": "gone late", "never": "not gone"}[gone]
        if self._read(kept) is None:
            value = "removes more"
        yield Finding(Capability.DELETE, value, "one of two objects deleted twice, and both read")

    def _conditional_create(self) -> Iterator[Finding]:
        data = os.urandom(4096)
        key = self._key(data)
        outcomes = at_once(WRITERS, lambda _: self._put_outcome(key, data))
        winners = outcomes.count(PutOutcome.CREATED)
        told = f"{WRITERS} puts of one new object at once through the adapter: {winners} created it"
        value = "honoured" if winners == 1 else "not atomic"
        yield Finding(Capability.CONDITIONAL_CREATE, value, told, {"winners": winners, "writers": WRITERS})

    def _presigned(self) -> Iterator[Finding]:
        data = os.urandom(32)
        if self._store.presigned_url(self._put(data), expires_in_s=60) is None:
            yield Finding(Capability.PRESIGNED, "none", "the backend gives no URL for an object")
        else:
            yield Finding(Capability.PRESIGNED, NOT_MEASURED, "it gives URLs, which nobody has tried")

    def _latency(self) -> Iterator[Finding]:
        times: dict[str, list[float]] = {"put_ms": [], "get_ms": []}
        for _ in range(_TIMED):
            data = os.urandom(4096)
            begun = time.perf_counter()
            key = self._put(data)
            put = time.perf_counter()
            self._store.read(key)
            times["put_ms"].append((put - begun) * 1000)
            times["get_ms"].append((time.perf_counter() - put) * 1000)
        figures = {name: round(statistics.median(values), 2) for name, values in times.items()}
        told = f"the median of {_TIMED} objects of 4096 bytes through the adapter, from this host, once"
        yield Finding(Capability.LATENCY, "measured", told, figures)

    # small things

    def _key(self, data: bytes) -> ObjectKey:
        key = ObjectKey(ObjectKind.PART, blake3(data).digest())
        self._keys.add(key)
        return key

    def _put(self, data: bytes) -> ObjectKey:
        key = self._key(data)
        self._put_outcome(key, data)
        return key

    def _put_outcome(self, key: ObjectKey, data: bytes) -> PutOutcome:
        return self._store.put(key, io.BytesIO(data), len(data))

    def _read(self, key: ObjectKey) -> bytes | None:
        try:
            return self._store.read(key)
        except ObjectNotFoundError:
            return None

    def _listed(self) -> list[ObjectKey]:
        return [info.key for info in self._store.list(ObjectKind.PART)]

    def _refuses_beyond(self, key: ObjectKey, size_bytes: int) -> bool:
        try:
            self._store.read(key, size_bytes, 1)
        except RangeInvalidError:
            return True
        return False


def at_once(threads: int, work: Callable[[int], T]) -> list[T]:
    """Call ``work`` with 0, 1, ... in so many threads that all begin together."""
    barrier = threading.Barrier(threads)

    def begin(number: int) -> T:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(threads, thread_name_prefix="probe") as pool:
        return list(pool.map(begin, range(threads)))


def _slice(data: bytes, start: int, length: int | None) -> bytes:
    return data[start:] if length is None else data[start : start + length]


def _worse(one: str, other: str) -> str:
    order = ("at once", "late", "never")
    return max(one, other, key=order.index)
