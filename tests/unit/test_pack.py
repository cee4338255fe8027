"""A pack is an ordinary ZIP archive; ``zipfile`` and ``unzip`` are the oracles."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from blake3 import blake3

from artifactstore.domain.hashing import measure
from artifactstore.errors import ArchiveInvalidError, ObjectNotFoundError, RangeInvalidError, StorageFullError
from artifactstore.storage.memory import MemoryStore
from artifactstore.storage.pack import PACK_TARGET_BYTES, PackWriter, members_of
from artifactstore.storage.port import ObjectInfo, ObjectKind, PutOutcome
from artifactstore.testing.builders import some_bytes
from artifactstore.testing.faults import FaultyStore

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BLOBS = [b"", b"hello\n", some_bytes(300), some_bytes(100_000), b"\x00" * 1000]


def publish(writer: PackWriter) -> PutOutcome:
    info = writer.finish()
    return writer.stage.commit(info.key, info.size_bytes)


def pack_of(blobs: Iterable[bytes]) -> tuple[bytes, list[int]]:
    """The bytes of a pack of these blobs, and where each begins."""
    store = MemoryStore()
    writer = PackWriter(store)
    starts = [writer.add(measure(blob), blob) for blob in blobs]
    info = writer.finish()
    writer.stage.commit(info.key, info.size_bytes)
    return store.read(info.key), starts


def archive(data: bytes) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(data))


def test_zipfile_gives_every_blob_back_by_its_blake3_name() -> None:
    data, _ = pack_of(BLOBS)

    with archive(data) as pack:
        found = {name: pack.read(name) for name in pack.namelist()}

    assert found == {blake3(blob).hexdigest(): blob for blob in BLOBS}


def test_zipfile_finds_every_checksum_right() -> None:
    data, _ = pack_of(BLOBS)

    with archive(data) as pack:
        assert pack.testzip() is None


def test_members_stand_in_the_order_they_were_added() -> None:
    data, _ = pack_of(BLOBS)

    with archive(data) as pack:
        assert pack.namelist() == [blake3(blob).hexdigest() for blob in BLOBS]


def test_offsets_point_at_the_bytes() -> None:
    data, starts = pack_of(BLOBS)

    assert [data[start : start + len(blob)] for start, blob in zip(starts, BLOBS, strict=True)] == BLOBS


def test_members_say_nothing_of_their_origin() -> None:
    data, _ = pack_of(BLOBS)

    with archive(data) as pack:
        members = pack.infolist()

    assert {member.date_time for member in members} == {(1980, 1, 1, 0, 0, 0)}
    assert {(member.extra, member.comment, member.external_attr, member.create_system) for member in members} == {
        (b"", b"", 0, 0)
    }
    assert {(member.compress_type, member.flag_bits) for member in members} == {(zipfile.ZIP_STORED, 0)}


def test_local_headers_have_no_extra_field() -> None:
    data, starts = pack_of(BLOBS)

    lengths = [struct.unpack_from("<HH", data, start - 64 - 4) for start in starts]

    assert lengths == [(64, 0)] * len(BLOBS)


def test_nothing_stands_between_members_or_after_the_end() -> None:
    data, starts = pack_of(BLOBS)

    directory_at, end_at = len(data) - 22 - 110 * len(BLOBS), len(data) - 22
    ends = [start + len(blob) for start, blob in zip(starts, BLOBS, strict=True)]
    assert [start - 94 for start in starts] == [0, *ends[:-1]]
    assert (ends[-1], data[end_at : end_at + 4]) == (directory_at, b"PK\x05\x06")


def test_same_blobs_give_the_same_bytes() -> None:
    assert pack_of(BLOBS) == pack_of(BLOBS)


def test_other_order_gives_another_pack() -> None:
    assert pack_of(BLOBS)[0] != pack_of(reversed(BLOBS))[0]


def test_key_is_the_digest_of_the_bytes() -> None:
    store = MemoryStore()
    writer = PackWriter(store)
    writer.add(measure(b"blob"), b"blob")

    info = writer.finish()
    writer.stage.commit(info.key, info.size_bytes)

    data = store.read(info.key)
    assert (info.key.kind, info.key.digest, info.size_bytes) == (ObjectKind.PACK, blake3(data).digest(), len(data))


def test_pack_of_one_empty_blob_is_an_archive() -> None:
    data, (start,) = pack_of([b""])

    with archive(data) as pack:
        assert [(member.file_size, pack.read(member)) for member in pack.infolist()] == [(0, b"")]
    assert start == 94


@pytest.mark.parametrize("count", [65_534, 65_535, 65_536])
def test_many_members_are_read_by_zipfile(count: int) -> None:
    blobs = [number.to_bytes(3, "big") for number in range(count)]

    data, starts = pack_of(blobs)

    with archive(data) as pack:
        names = pack.namelist()
        last = pack.read(names[-1])
    assert (len(names), last, data[starts[-1] : starts[-1] + 3]) == (count, blobs[-1], blobs[-1])


@pytest.mark.parametrize(("count", "expected"), [(65_534, False), (65_535, True)])
def test_zip64_is_used_only_when_it_is_needed(count: int, expected: bool) -> None:
    data, _ = pack_of(number.to_bytes(3, "big") for number in range(count))

    assert (data[-22 - 20 :][:4] == b"PK\x06\x07") is expected


@pytest.mark.parametrize("count", [3, 65_536])
def test_unzip_agrees(tmp_path: Path, count: int) -> None:
    """Where ``unzip`` is not installed, Python's command line stands in for it."""
    path = tmp_path / "pack.zip"
    path.write_bytes(pack_of(number.to_bytes(3, "big") for number in range(count))[0])
    unzip = shutil.which("unzip")
    command = [unzip, "-tqq"] if unzip else [sys.executable, "-m", "zipfile", "-t"]

    finished = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)

    assert (finished.returncode, finished.stderr) == (0, "")


def test_pack_is_full_at_its_target_and_not_before() -> None:
    writer = PackWriter(MemoryStore())
    piece = some_bytes(1024 * 1024)
    blob = measure(piece)

    fullness = []
    while not writer.is_full:
        fullness.append(writer.size_bytes)
        writer.add(blob, piece)

    assert fullness[-1] < PACK_TARGET_BYTES <= writer.size_bytes
    writer.discard()


def test_second_publication_of_the_same_pack_reports_present() -> None:
    store = MemoryStore()
    outcomes = []
    for _ in range(2):
        writer = PackWriter(store)
        writer.add(measure(b"blob"), b"blob")
        outcomes.append(publish(writer))

    assert outcomes == [PutOutcome.CREATED, PutOutcome.PRESENT]


def test_discarded_pack_leaves_nothing() -> None:
    store = MemoryStore()
    writer = PackWriter(store)
    writer.add(measure(b"blob"), b"blob")
    info = writer.finish()

    writer.discard()

    with pytest.raises(ObjectNotFoundError):
        store.size(info.key)


def test_full_backend_is_reported_while_the_pack_is_written() -> None:
    store = FaultyStore(MemoryStore())
    store.fill_after(10)
    writer = PackWriter(store)
    writer.add(measure(b"blob"), b"blob")

    with pytest.raises(StorageFullError):
        publish(writer)


@pytest.mark.parametrize("count", [0, 1, 3, 65_534, 65_535, 70_000])
def test_the_directory_of_a_pack_says_where_each_blob_is(count: int) -> None:
    store = MemoryStore()
    pack = PackWriter(store)
    blobs = [b"%d" % number for number in range(count)]
    expected = [(measure(data), pack.add(measure(data), data)) for data in blobs]
    info = pack.finish()
    pack.stage.commit(info.key, info.size_bytes)

    found = members_of(store, info)

    assert [(blob.blake3, start, blob.size_bytes, blob.crc32) for blob, start in expected] == list(map(tuple, found))


def test_what_is_not_a_pack_to_its_last_byte_has_no_directory() -> None:
    store = MemoryStore()
    pack = PackWriter(store)
    for data in (b"one", b"two"):
        pack.add(measure(data), data)
    info = pack.finish()
    pack.stage.commit(info.key, info.size_bytes)
    data = store.read(info.key)
    directory_at = data.index(b"PK\x01\x02")
    wrong = [data[:-1], data[1:], data + b"x", b"", data[: len(data) // 2], *(
        data[:at] + bytes((data[at] ^ 0xFF,)) + data[at + 1 :]
        for at in (directory_at, directory_at + 46, len(data) - 1, len(data) - 8, len(data) - 12, len(data) - 22)
    )]  # fmt: skip

    for each in wrong:
        broken = MemoryStore()
        broken._insert(info.key, each)
        with pytest.raises((ArchiveInvalidError, RangeInvalidError)):
            members_of(broken, ObjectInfo(info.key, len(each)))
