"""A pack is read back as a stream, a window at a time: what is found is what lies where the rows say."""

from __future__ import annotations

import hashlib
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.catalog.records import ObjectRecord, PlacedBlob
from artifactstore.domain.hashing import measure
from artifactstore.registry import read_back as module
from artifactstore.registry.read_back import ALTERED, WRONG_ROW, read_back
from artifactstore.storage.local import LocalStore
from artifactstore.storage.memory import MemoryStore
from artifactstore.storage.pack import PackWriter
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import some_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from artifactstore.storage.port import ObjectKey, ObjectStore

CONTENTS = [some_bytes(size, seed) for seed, size in enumerate((1, 300, 7_000, 64, 40, 2_999))]
BUFFER_SIZES = [1, 63, 1_000, 100_000]


class Stored:
    """A pack of contents, in memory unless a store is given, and its rows."""

    def __init__(self, store: ObjectStore | None = None, contents: list[bytes] = CONTENTS) -> None:
        self.store = store or MemoryStore()
        writer = PackWriter(self.store)
        starts = [writer.add(measure(content), content) for content in contents]
        info = writer.finish()
        writer.stage.commit(info.key, info.size_bytes)
        self.key: ObjectKey = info.key
        self.record = ObjectRecord(1, "memory", ObjectKind.PACK, info.key.digest, info.size_bytes, "live")
        self.rows = [
            PlacedBlob(start, len(content), blake3(content).digest(), hashlib.sha256(content).digest(), "live")
            for start, content in zip(starts, contents, strict=True)
        ]

    @property
    def data(self) -> bytes:
        """The pack's bytes."""
        return self.store.read(self.key)

    def replace(self, data: bytes) -> None:
        """Other bytes under the same key, as a disk that fails would have them."""
        self.store.delete(self.key)
        stage = self.store.stage(_Unhashed(self.key.digest))
        stage.write(data)
        stage.commit(self.key, len(data))


class _Unhashed:
    """A hasher that believes what it is told."""

    def __init__(self, digest: bytes) -> None:
        self._digest = digest

    def update(self, data: bytes, /) -> None:
        pass

    def digest(self) -> bytes:
        return self._digest


@pytest.fixture(params=[False, True], ids=["by one thread", "by two"])
def by_two_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small as these packs are, let a second thread help with them, as with large ones."""
    if request.param:
        monkeypatch.setattr(module, "BUFFER_BYTES", 0)
        monkeypatch.setattr(module, "_LARGE_ON_AVERAGE_BYTES", 0)


@pytest.fixture(params=BUFFER_SIZES)
def stored(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, by_two_threads: None) -> Stored:
    monkeypatch.setattr(module, "_READ_BYTES", request.param)
    return Stored()


def test_a_sound_pack_is_sound_and_every_byte_is_told(stored: Stored) -> None:
    told: list[int] = []

    findings = read_back(stored.store, stored.record, stored.rows, told.append)

    assert (findings.finding, findings.bad) == (None, [])
    assert (findings.size_bytes, sum(told)) == (len(stored.data), len(stored.data))


@pytest.mark.parametrize("at", range(len(CONTENTS)))
def test_a_row_with_another_sha256_is_the_only_one_found_bad(stored: Stored, at: int) -> None:
    rows = list(stored.rows)
    rows[at] = rows[at]._replace(sha256=bytes(32))

    findings = read_back(stored.store, stored.record, rows, lambda _: None)

    assert findings.finding is None
    assert [(bad.blob, bad.finding) for bad in findings.bad] == [(rows[at], WRONG_ROW)]
    assert findings.bad[0].found_sha256 == stored.rows[at].sha256


@pytest.mark.parametrize("at", range(len(CONTENTS)))
def test_a_row_that_names_another_blob_is_the_only_one_found_bad(stored: Stored, at: int) -> None:
    rows = list(stored.rows)
    rows[at] = rows[at]._replace(blake3=bytes(32))

    assert [bad.blob for bad in read_back(stored.store, stored.record, rows, lambda _: None).bad] == [rows[at]]


@pytest.mark.parametrize("at", range(len(CONTENTS)))
def test_of_a_pack_with_an_altered_byte_the_blob_it_lies_in_is_named(stored: Stored, at: int) -> None:
    altered = bytearray(stored.data)
    altered[stored.rows[at].start] ^= 1
    stored.replace(bytes(altered))

    findings = read_back(stored.store, stored.record, stored.rows, lambda _: None)

    assert findings.finding == ALTERED
    assert [bad.blob for bad in findings.bad] == [stored.rows[at]]


def test_of_a_pack_that_is_cut_off_what_is_left_is_sound(stored: Stored) -> None:
    stored.replace(stored.data[: stored.rows[2].start + 5])

    findings = read_back(stored.store, stored.record, stored.rows, lambda _: None)

    assert [bad.blob for bad in findings.bad] == stored.rows[2:]


@pytest.mark.parametrize("more", [-1, 0, 1])
@pytest.mark.parametrize("at", range(len(CONTENTS)))
def test_a_blob_may_end_just_before_or_after_a_buffer_does(monkeypatch: pytest.MonkeyPatch, at: int, more: int) -> None:
    pack = Stored()
    monkeypatch.setattr(module, "_READ_BYTES", pack.rows[at].start + pack.rows[at].size_bytes + more)

    assert read_back(pack.store, pack.record, pack.rows, lambda _: None).bad == []


spans = st.lists(st.tuples(st.integers(0, 12_000), st.integers(0, 12_000)), min_size=1, max_size=6)


@pytest.mark.parametrize("large_bytes", [0, 2**20])
@pytest.mark.parametrize("buffer_bytes", BUFFER_SIZES)
@given(spans=spans)
def test_rows_that_are_anywhere_are_told_what_lies_there(
    buffer_bytes: int, large_bytes: int, spans: Iterable[tuple[int, int]]
) -> None:
    """Wrong rows may overlap, reach beyond the end, and come before, between and after right ones."""
    pack = Stored()
    wrong = [PlacedBlob(start, size, bytes(32), bytes(32), "live") for start, size in spans]
    rows = sorted(wrong + pack.rows, key=lambda row: row.start)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "_READ_BYTES", buffer_bytes)
        patched.setattr(module, "_LARGE_ON_AVERAGE_BYTES", 0)
        patched.setattr(module, "BUFFER_BYTES", large_bytes)
        findings = read_back(pack.store, pack.record, rows, lambda _: None)

    assert [bad.blob for bad in findings.bad] == [row for row in rows if row not in pack.rows]
    for bad in findings.bad:
        there = pack.data[bad.blob.start : bad.blob.start + bad.blob.size_bytes]
        assert (bad.found_blake3, bad.found_sha256) == (blake3(there).digest(), hashlib.sha256(there).digest())


@pytest.mark.parametrize("blob_bytes", [4_096, 100_000])
def test_a_pack_is_never_held_whole(tmp_path: Path, blob_bytes: int) -> None:
    """By neither way: with blobs of 4 KiB one thread, with larger ones two."""
    pack = Stored(LocalStore(tmp_path), [some_bytes(blob_bytes, seed) for seed in range(32 * 2**20 // blob_bytes)])

    tracemalloc.start()
    try:
        findings = read_back(pack.store, pack.record, pack.rows, lambda _: None)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (findings.finding, findings.bad) == (None, [])
    assert most < 8 * 2**20
