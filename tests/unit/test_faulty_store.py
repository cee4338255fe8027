"""The faulty store fails when, where and how it was told to."""

from __future__ import annotations

import io

import pytest

from artifactstore.errors import ObjectNotFoundError, StorageError, StorageFullError, StorageUnavailableError
from artifactstore.storage.memory import MemoryStore
from artifactstore.storage.port import PutOutcome
from artifactstore.testing.builders import key_of, put_bytes
from artifactstore.testing.faults import FaultyStore, Operation

DATA = b"what a run leaves behind"
KEY = key_of(DATA)


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(MemoryStore())


def test_fault_strikes_once_and_before_the_operation(store: FaultyStore) -> None:
    store.fail(Operation.COMMIT, StorageUnavailableError("timed out"))

    with pytest.raises(StorageUnavailableError):
        put_bytes(store, DATA)

    assert store.put(KEY, io.BytesIO(DATA), len(DATA)) is PutOutcome.CREATED


def test_fault_after_the_operation_loses_only_the_answer(store: FaultyStore) -> None:
    store.fail(Operation.COMMIT, StorageUnavailableError("timed out"), after=True)

    with pytest.raises(StorageUnavailableError):
        put_bytes(store, DATA)

    assert store.put(KEY, io.BytesIO(DATA), len(DATA)) is PutOutcome.PRESENT


def test_fault_can_wait_for_a_later_call_and_strike_more_than_once(store: FaultyStore) -> None:
    put_bytes(store, DATA)
    store.fail(Operation.SIZE, StorageError("broken"), call=2, times=2)

    answers = []
    for _ in range(4):
        try:
            answers.append(store.size(KEY))
        except StorageError:
            answers.append(None)

    assert answers == [len(DATA), None, None, len(DATA)]


@pytest.mark.parametrize("operation", list(Operation))
def test_every_operation_can_fail(store: FaultyStore, operation: Operation) -> None:
    put_bytes(store, DATA)
    store.fail(operation, StorageError("broken"))

    def everything() -> None:
        put_bytes(store, DATA)
        store.size(KEY)
        store.read(KEY)
        list(store.list(KEY.kind))
        store.presigned_url(KEY, expires_in_s=1)
        store.quarantine(KEY)
        store.delete(KEY)

    with pytest.raises(StorageError, match="broken"):
        everything()


def test_flipped_byte_is_found_wherever_the_read_begins(store: FaultyStore) -> None:
    put_bytes(store, DATA)
    store.flip_byte(at=7)

    found = [store.read(KEY), store.read(KEY, 7, 1), store.read(KEY, 5, 5), store.read(KEY, 8, 4)]

    flipped = DATA[:7] + bytes([DATA[7] ^ 0xFF]) + DATA[8:]
    assert found == [flipped, flipped[7:8], flipped[5:10], DATA[8:12]]


def test_reads_can_end_early(store: FaultyStore) -> None:
    put_bytes(store, DATA)
    store.end_reads_early(by_bytes=3)

    assert store.read(KEY) == DATA[:-3]


def test_full_store_has_room_for_exactly_so_many_bytes(store: FaultyStore) -> None:
    store.fill_after(len(DATA))
    put_bytes(store, DATA)

    with pytest.raises(StorageFullError):
        put_bytes(store, b"!")

    with pytest.raises(ObjectNotFoundError):
        store.read(key_of(b"!"))


def test_hook_is_called_at_the_operation(store: FaultyStore) -> None:
    put_bytes(store, DATA)
    store.pause(Operation.OPEN, lambda: store.inner.delete(KEY))

    with pytest.raises(ObjectNotFoundError):
        store.read(KEY)


def test_mended_store_has_no_faults(store: FaultyStore) -> None:
    store.fail(Operation.STAGE, StorageError("broken"), times=100)
    store.fill_after(0)
    store.flip_byte(at=0)
    store.end_reads_early(by_bytes=1)

    store.mend()
    put_bytes(store, DATA)

    assert store.read(KEY) == DATA


def test_calls_are_counted(store: FaultyStore) -> None:
    put_bytes(store, DATA)
    put_bytes(store, DATA)

    assert (store.calls[Operation.COMMIT], store.calls[Operation.DELETE]) == (2, 0)
