"""One pass, every digest: in memory and as a stream."""

from __future__ import annotations

import hashlib
import random
import signal
import threading
import zlib
from contextlib import suppress
from itertools import pairwise

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.domain.digest import CHUNK_BYTES, BlobMeasure
from artifactstore.domain.hashing import BlobHasher, Lane, measure
from artifactstore.testing.builders import some_bytes

DATA = some_bytes(3 * CHUNK_BYTES + 2)
EDGES = [0, 1, 1023, 1024, 1025, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES + 1]


def expected_measure(data: bytes) -> BlobMeasure:
    """By the definitions, step by step."""
    pieces = [data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)]
    chunks = b"".join(blake3(piece).digest() for piece in pieces) if len(pieces) > 1 else b""
    return BlobMeasure(blake3(data).digest(), hashlib.sha256(data).digest(), len(data), zlib.crc32(data), chunks)


def measure_by_stream(data: bytes, cuts: list[int]) -> BlobMeasure:
    edges = [0, *sorted(cuts), len(data)]
    with BlobHasher() as hasher:
        for start, end in pairwise(edges):
            hasher.update(data[start:end])
        return hasher.finish()


@pytest.mark.parametrize("size_bytes", EDGES)
def test_measure_follows_the_definitions(size_bytes: int) -> None:
    assert measure(DATA[:size_bytes]) == expected_measure(DATA[:size_bytes])


@pytest.mark.parametrize("size_bytes", EDGES)
@pytest.mark.parametrize("buffer_bytes", [1024 * 1024, CHUNK_BYTES, 3_000_000])
def test_stream_has_the_measure_of_its_bytes(size_bytes: int, buffer_bytes: int) -> None:
    data = DATA[:size_bytes]

    assert measure_by_stream(data, list(range(0, size_bytes, buffer_bytes))) == measure(data)


@settings(max_examples=20)
@given(st.data())
def test_stream_may_be_cut_anywhere(data: st.DataObject) -> None:
    size_bytes = data.draw(st.sampled_from(EDGES) | st.integers(0, len(DATA)))
    cuts = data.draw(st.lists(st.integers(0, size_bytes), max_size=8))

    assert measure_by_stream(DATA[:size_bytes], cuts) == measure(DATA[:size_bytes])


def test_digest_of_a_stream_is_its_blake3() -> None:
    with BlobHasher() as hasher:
        hasher.update(b"content")

        assert hasher.digest() == blake3(b"content").digest()


def test_finish_may_be_repeated() -> None:
    with BlobHasher() as hasher:
        hasher.update(b"content")

        assert hasher.finish() == hasher.finish() == measure(b"content")


def test_threads_end_with_the_context() -> None:
    before = threading.active_count()

    with BlobHasher() as hasher:
        hasher.update(b"content")
        during = threading.active_count()

    assert (during, threading.active_count()) == (before + 2, before)


def test_threads_end_when_the_caller_fails() -> None:
    before = threading.active_count()

    def fail() -> None:
        with BlobHasher() as hasher:
            hasher.update(b"content")
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert threading.active_count() == before


def test_threads_end_with_finish() -> None:
    before = threading.active_count()
    hasher = BlobHasher()
    hasher.update(b"content")

    hasher.finish()

    assert threading.active_count() == before


def test_whoever_hands_over_waits_while_the_thread_is_four_behind() -> None:
    may_go_on, put = threading.Event(), list[int]()

    def hand_over(lane: Lane[int]) -> None:
        for number in range(20):
            lane.put(number)
            put.append(number)

    lane = Lane[int](lambda _: may_go_on.wait(60))
    caller = threading.Thread(target=hand_over, args=(lane,), daemon=True)
    caller.start()
    caller.join(0.3)
    put_meanwhile = list(put)
    may_go_on.set()
    caller.join(60)
    lane.close()

    assert put_meanwhile == [0, 1, 2, 3]
    assert put == list(range(20))


def test_whenever_it_is_interrupted_it_can_be_left() -> None:
    """Ctrl-C may fall into the handing over of a buffer; whoever waits for the thread then must not wait for ever."""
    drawn = random.Random(1)

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGALRM, give_up)
        signal.alarm(20)
        raise KeyboardInterrupt

    def give_up(*_: object) -> None:
        raise AssertionError("its threads are waited for, and do not end")

    usual = signal.getsignal(signal.SIGALRM)
    try:
        for _ in range(1_000):
            signal.signal(signal.SIGALRM, interrupt)
            with suppress(KeyboardInterrupt), BlobHasher() as hasher:
                signal.setitimer(signal.ITIMER_REAL, drawn.uniform(0.0001, 0.0005))
                for _ in range(10_000):
                    hasher.update(b"")
            signal.alarm(0)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, usual)
