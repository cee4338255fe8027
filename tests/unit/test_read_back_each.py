"""Large objects are read two at a time, told in order, and nobody reads on when nobody waits."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import pytest

from artifactstore.catalog.records import ObjectRecord
from artifactstore.errors import ConfigurationError, StorageUnavailableError
from artifactstore.registry.read_back import ALTERED, Findings
from artifactstore.registry.read_back_each import AHEAD, AT_ONCE, Reader
from artifactstore.storage.memory import MemoryStore
from artifactstore.storage.port import ObjectKey, ObjectKind
from artifactstore.testing.builders import put_bytes, some_bytes
from artifactstore.testing.faults import FaultyStore, Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from artifactstore.registry.registry import Registry

LARGE, SMALL = 3 * 2**20, 500


class CountingStore(MemoryStore):
    """Counts how many objects are read at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._now = 0
        self._turn = threading.Lock()

    @contextmanager
    def open(self, key: ObjectKey, start: int = 0, length: int | None = None) -> Iterator[BinaryIO]:
        with self._turn:
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            with super().open(key, start, length) as stream:
                yield stream
        finally:
            with self._turn:
                self._now -= 1


class Backends:
    """As much of a registry as reading objects needs: one backend, of which another does not exist."""

    def __init__(self) -> None:
        self.store = FaultyStore(CountingStore())

    def backend(self, name: str) -> FaultyStore:
        if name != "memory":
            raise ConfigurationError(f"no backend {name!r}")
        return self.store

    def put(self, size_bytes: int, seed: int, backend: str = "memory") -> ObjectRecord:
        key = put_bytes(self.store, some_bytes(size_bytes, seed))
        return ObjectRecord(seed, backend, ObjectKind.BLOB, key.digest, size_bytes, "live")


@pytest.fixture
def backends() -> Backends:
    return Backends()


def reader(backends: Backends, advance: Callable[[int], None] = lambda _: None) -> Reader:
    return Reader(cast("Registry", backends), lambda _: [], advance, every_blob=lambda _: [])


def test_what_is_found_is_told_in_the_order_given(backends: Backends) -> None:
    sizes = [SMALL, LARGE, SMALL, LARGE, LARGE, SMALL, SMALL, LARGE, SMALL]
    given = [backends.put(size, seed) for seed, size in enumerate(sizes)]
    given[4] = given[4]._replace(blake3=given[1].blake3)

    told = list(reader(backends).read_each(given))

    assert given == [found for found, _ in told]
    assert [None] * len(sizes) == [shown.finding for _, shown in told if isinstance(shown, Findings)]
    assert sizes == [shown.size_bytes for _, shown in told if isinstance(shown, Findings)]


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_damage_is_told_of_the_object_that_has_it(backends: Backends, size: int) -> None:
    given = [backends.put(size, seed) for seed in range(3)]
    bad = ObjectKey(ObjectKind.BLOB, given[1].blake3)
    data = bytearray(backends.store.read(bad))
    data[7] ^= 1
    cast("Any", backends.store.inner)._objects[bad] = bytes(data)  # as a disk that fails would

    told = [shown for _, shown in reader(backends).read_each(given)]

    assert [None, ALTERED, None] == [shown.finding for shown in told if isinstance(shown, Findings)]


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_why_an_object_cannot_be_read_is_told_and_the_others_are_read(backends: Backends, size: int) -> None:
    given = [backends.put(size, 1), backends.put(size, 2, backend="gone"), backends.put(size, 3)]

    told = [shown for _, shown in reader(backends).read_each(given)]

    assert [Findings, ConfigurationError, Findings] == [type(shown) for shown in told]


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_backend_that_gives_no_answer_is_told_as_such(backends: Backends, size: int) -> None:
    given = [backends.put(size, 1)]
    backends.store.fail(Operation.OPEN, StorageUnavailableError("no answer"))

    told = [shown for _, shown in reader(backends).read_each(given)]

    assert [StorageUnavailableError] == [type(shown) for shown in told]


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_what_is_raised_while_reading_is_raised_and_no_thread_is_left(backends: Backends, size: int) -> None:
    class StopReadingError(Exception):
        pass

    def advance(_: int) -> None:
        raise StopReadingError

    before = threading.active_count()

    with pytest.raises(StopReadingError):
        list(reader(backends, advance).read_each([backends.put(size, seed) for seed in range(6)]))

    assert before == threading.active_count()


def test_whoever_goes_away_leaves_no_thread_that_reads_on(backends: Backends) -> None:
    read: list[int] = []
    before = threading.active_count()
    reading = reader(backends, read.append).read_each([backends.put(LARGE, seed) for seed in range(6)])

    next(reading)
    cast("Any", reading).close()
    at_the_end = sum(read)

    assert before == threading.active_count()
    assert (AT_ONCE + 1) * LARGE >= at_the_end == sum(read)


def test_objects_are_asked_for_when_there_is_room_to_read_them(backends: Backends) -> None:
    asked: list[int] = []

    def objects() -> Iterator[ObjectRecord]:
        for seed in range(20):
            asked.append(seed)
            yield backends.put(LARGE if seed % 2 else SMALL, seed)

    for number, _ in enumerate(reader(backends).read_each(objects())):
        assert len(asked) <= number + 1 + AHEAD


def test_two_are_read_at_once_and_no_more(backends: Backends) -> None:
    given = [backends.put(LARGE, seed) for seed in range(8)]
    both = threading.Barrier(2)

    def advance(_: int) -> None:
        with suppress(threading.BrokenBarrierError):
            both.wait(timeout=20)

    list(reader(backends, advance).read_each(given))

    assert AT_ONCE == cast("CountingStore", backends.store.inner).most
