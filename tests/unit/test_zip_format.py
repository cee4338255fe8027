"""Archives written piece by piece; ``zipfile``, ``unzip`` and ``zipinfo`` are the oracles."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.domain.zip_format import ZipDirectory, ZipEntry, archive_size
from artifactstore.testing.builders import some_bytes
from tests.unit.strategies import paths

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

GIB = 1024**3
FILES = {"empty": b"", "report.txt": b"passed\n", "logs/größe.log": some_bytes(300), "日本/a": b"\x00" * 1000}
SMALL = ZipEntry("small", 5, zlib.crc32(b"small"))

files = st.dictionaries(paths, st.binary(max_size=200), max_size=8)
sizes = st.integers(0, 2000) | st.sampled_from([4 * GIB - 2, 4 * GIB - 1, 4 * GIB, 9 * GIB, 2 * GIB])
entries = st.lists(st.builds(ZipEntry, paths, sizes, st.integers(0, 0xFFFF_FFFF)), max_size=6)


def entry_of(name: str, data: bytes) -> ZipEntry:
    return ZipEntry(name, len(data), zlib.crc32(data))


def archive_of(contents: dict[str, bytes]) -> bytes:
    directory = ZipDirectory()
    parts = [directory.add(*entry_of(name, data)) + data for name, data in contents.items()]
    return b"".join(parts) + directory.end()


def many(count: int) -> dict[str, bytes]:
    return {f"{number:05}": b"" for number in range(count)}


def write_sparse(path: Path, wanted: Iterable[ZipEntry]) -> None:
    """An archive on disk whose large entries are holes; ``small`` has its own name for bytes."""
    directory = ZipDirectory()
    with path.open("wb") as file:
        for entry in wanted:
            file.write(directory.add(*entry))
            if entry == SMALL:
                file.write(b"small")
            else:
                file.seek(entry.size_bytes, io.SEEK_CUR)
        file.write(directory.end())


def headers_around(entry: ZipEntry, before: Iterable[ZipEntry] = ()) -> tuple[bytes, bytes]:
    """The local header of an entry that comes after others, and all that follows its bytes."""
    directory = ZipDirectory()
    for each in before:
        directory.add(*each)
    return directory.add(*entry), directory.end()


def test_zipfile_gives_every_entry_back_by_its_name() -> None:
    data = archive_of(FILES)

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}

    assert list(FILES.items()) == list(found.items())


def test_zipfile_finds_every_checksum_right() -> None:
    with zipfile.ZipFile(io.BytesIO(archive_of(FILES))) as archive:
        assert archive.testzip() is None


def test_archive_without_entries_is_one_end_record() -> None:
    assert b"PK\x05\x06" + bytes(18) == ZipDirectory().end()


def test_entries_say_nothing_of_their_origin() -> None:
    with zipfile.ZipFile(io.BytesIO(archive_of(FILES))) as archive:
        members = archive.infolist()

    assert {member.date_time for member in members} == {(1980, 1, 1, 0, 0, 0)}
    assert {(member.extra, member.comment, member.external_attr, member.create_system) for member in members} == {
        (b"", b"", 0, 0)
    }
    assert {(member.compress_type, member.extract_version) for member in members} == {(zipfile.ZIP_STORED, 10)}


def test_only_names_that_are_not_ascii_are_marked_as_utf8() -> None:
    with zipfile.ZipFile(io.BytesIO(archive_of(FILES))) as archive:
        flags = {member.filename: member.flag_bits for member in archive.infolist()}

    assert {"empty": 0, "report.txt": 0, "logs/größe.log": 0x800, "日本/a": 0x800} == flags


def test_local_header_is_what_the_specification_says() -> None:
    header = ZipDirectory().add("a/ü", 258, 0x01020304)

    assert bytes.fromhex("504b0304 0a00 0008 0000 0000 2100 04030201 02010000 02010000 0400 0000 612fc3bc") == header


def test_central_header_is_what_the_specification_says() -> None:
    _, end = headers_around(ZipEntry("b", 7, 1), before=[ZipEntry("a", 3, 0)])

    record = end[47:94]

    described = "0a00 0000 0000 0000 2100 01000000 07000000 07000000 0100 0000"
    assert bytes.fromhex(f"504b0102 0a00 {described} 0000 0000 0000 00000000 22000000 62") == record


def test_directory_knows_how_long_the_archive_is_so_far() -> None:
    directory = ZipDirectory()

    lengths = [directory.size_bytes]
    for name, data in FILES.items():
        header = directory.add(*entry_of(name, data))
        lengths.append(lengths[-1] + len(header) + len(data))
        assert lengths[-1] == directory.size_bytes


def test_end_may_be_asked_for_again() -> None:
    directory = ZipDirectory()
    directory.add("a", 1, 1)

    assert directory.end() == directory.end()


def test_same_entries_give_the_same_bytes() -> None:
    assert archive_of(FILES) == archive_of(dict(FILES))


@given(files)
def test_size_is_known_before_the_first_byte(contents: dict[str, bytes]) -> None:
    expected = archive_size(entry_of(name, data) for name, data in contents.items())

    assert expected == len(archive_of(contents))


@given(entries)
def test_size_is_exact_beyond_4_gib_too(wanted: list[ZipEntry]) -> None:
    directory = ZipDirectory()
    written = sum(len(directory.add(*entry)) + entry.size_bytes for entry in wanted) + len(directory.end())

    assert archive_size(wanted) == written


@pytest.mark.parametrize("count", [65_534, 65_535, 65_536])
def test_size_is_exact_for_many_entries(count: int) -> None:
    contents = many(count)

    assert archive_size(ZipEntry(name, 0, 0) for name in contents) == len(archive_of(contents))


@given(files)
def test_zipfile_reads_back_whatever_is_written(contents: dict[str, bytes]) -> None:
    with zipfile.ZipFile(io.BytesIO(archive_of(contents))) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}

    assert contents == found


@pytest.mark.parametrize("count", [65_534, 65_535, 65_536])
def test_many_entries_are_read_by_zipfile(count: int) -> None:
    contents = many(count)

    with zipfile.ZipFile(io.BytesIO(archive_of(contents))) as archive:
        assert list(contents) == archive.namelist()


@pytest.mark.parametrize(("count", "expected"), [(65_534, False), (65_535, True)])
def test_zip64_is_used_only_from_65535_entries_on(count: int, expected: bool) -> None:
    locator = archive_of(many(count))[-42:-22]

    assert locator.startswith(b"PK\x06\x07") is expected


@pytest.mark.parametrize(("directory_at", "expected"), [(4 * GIB - 2, False), (4 * GIB - 1, True)])
def test_zip64_is_used_for_a_directory_that_begins_at_4_gib(directory_at: int, expected: bool) -> None:
    wanted = [ZipEntry("a", 2 * GIB, 0), ZipEntry("b", directory_at - 2 * GIB - 62, 0)]

    _, end = headers_around(wanted[1], before=wanted[:1])

    assert (b"PK\x06\x07" in end) is expected
    assert archive_size(wanted) == directory_at + len(end)


def test_zip64_end_record_is_what_the_specification_says() -> None:
    directory = ZipDirectory()
    directory.add("a", 5 * GIB, 9)

    *_, record, locator, end = struct.unpack("<67s56s20s22s", directory.end())

    at = 5 * GIB + 51
    assert struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, 67, at) == record
    assert struct.pack("<4sIQI", b"PK\x06\x07", 0, at + 67, 1) == locator
    assert struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1, 1, 67, 0xFFFF_FFFF, 0) == end


@pytest.mark.parametrize("size_bytes", [4 * GIB - 1, 4 * GIB, 5 * GIB])
def test_large_entry_has_its_sizes_in_both_extra_fields(size_bytes: int) -> None:
    local, end = headers_around(ZipEntry("a", size_bytes, 9))

    extra = struct.pack("<HHQQ", 1, 16, size_bytes, size_bytes)
    assert struct.unpack("<4sH12xIIHHs20s", local) == (b"PK\x03\x04", 45, 0xFFFF_FFFF, 0xFFFF_FFFF, 1, 20, b"a", extra)
    assert struct.unpack_from("<IIHH10xIs20s", end, 20) == (0xFFFF_FFFF, 0xFFFF_FFFF, 1, 20, 0, b"a", extra)


def test_entry_just_below_4_gib_has_no_extra_field() -> None:
    local, end = headers_around(ZipEntry("a", 4 * GIB - 2, 9))

    assert (len(local), struct.unpack_from("<HH", end, 28)) == (31, (1, 0))


@pytest.mark.parametrize("header_at", [4 * GIB - 1, 4 * GIB])
def test_entry_that_begins_beyond_4_gib_has_its_offset_in_the_central_extra_field_only(header_at: int) -> None:
    local, end = headers_around(SMALL, before=[ZipEntry("a", 100, 0), ZipEntry("b", header_at - 162, 0)])

    assert headers_around(SMALL)[0] == local
    needed, *lengths, offset, name, extra = struct.unpack_from("<H20xHH10xI5s12s", end, 2 * 47 + 6)
    assert (needed, lengths, offset, name) == (45, [5, 12], 0xFFFF_FFFF, b"small")
    assert struct.pack("<HHQ", 1, 8, header_at) == extra


def test_entry_that_begins_just_below_4_gib_has_a_plain_offset() -> None:
    at = 4 * GIB - 2

    _, end = headers_around(SMALL, before=[ZipEntry("a", 100, 0), ZipEntry("b", at - 162, 0)])

    assert struct.unpack_from("<H10xI5s", end, 2 * 47 + 30) == (0, at, b"small")


def test_entries_beyond_4_gib_are_read_by_zipfile(tmp_path: Path) -> None:
    wanted = [ZipEntry("large", 5 * GIB, 0), SMALL, ZipEntry("größer", 4 * GIB, 0), SMALL._replace(name="z")]
    write_sparse(tmp_path / "large.zip", wanted)

    with zipfile.ZipFile(tmp_path / "large.zip") as archive:
        found = [ZipEntry(member.filename, member.file_size, member.CRC) for member in archive.infolist()]
        offsets = [member.header_offset for member in archive.infolist()]
        small = archive.read("small")
        with archive.open("größer") as stream:
            first = stream.read(3)

    assert (wanted, b"small", b"\0\0\0") == (found, small, first)
    assert [0, 5 * GIB + 55, 5 * GIB + 95, 9 * GIB + 153] == offsets
    assert archive_size(wanted) == (tmp_path / "large.zip").stat().st_size


@pytest.mark.skipif(not shutil.which("unzip"), reason="unzip is not installed")
def test_unzip_reads_an_entry_beyond_4_gib(tmp_path: Path) -> None:
    write_sparse(tmp_path / "large.zip", [ZipEntry("large", 5 * GIB, 0), SMALL])

    finished = subprocess.run(["unzip", "-p", tmp_path / "large.zip", "small"], capture_output=True, check=False)

    assert (0, b"small", b"") == (finished.returncode, finished.stdout, finished.stderr)


@pytest.mark.skipif(not shutil.which("zipinfo"), reason="zipinfo is not installed")
def test_zipinfo_lists_large_and_far_entries(tmp_path: Path) -> None:
    write_sparse(tmp_path / "large.zip", [ZipEntry("large", 5 * GIB, 0), SMALL])

    finished = subprocess.run(["zipinfo", "-l", tmp_path / "large.zip"], capture_output=True, text=True, check=False)

    members = [line.split() for line in finished.stdout.splitlines()[2:4]]
    assert [("4.5", str(5 * GIB), "stor", "large"), ("4.5", "5", "stor", "small")] == [
        (version, size, method, name) for _, version, _, size, _, _, method, _, _, name in members
    ]


@pytest.mark.parametrize("contents", [FILES, many(65_536)], ids=["few", "65536"])
def test_unzip_agrees(tmp_path: Path, contents: dict[str, bytes]) -> None:
    """Where ``unzip`` is not installed, Python's command line stands in for it."""
    path = tmp_path / "archive.zip"
    path.write_bytes(archive_of(contents))
    unzip = shutil.which("unzip")
    command = [unzip, "-tqq"] if unzip else [sys.executable, "-m", "zipfile", "-t"]

    finished = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)

    assert (finished.returncode, finished.stderr) == (0, "")
