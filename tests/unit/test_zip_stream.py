"""Archives from strangers: what is taken, and a sentence for each thing that is not."""

from __future__ import annotations

import dataclasses
import gc
import io
import itertools
import stat
import struct
import tracemalloc
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.domain.zip_format import ZipDirectory
from artifactstore.domain.zip_stream import BUFFER_BYTES, ArchiveEntry, read_archive
from artifactstore.errors import ArchiveInvalidError, LimitExceededError
from artifactstore.testing.builders import some_bytes
from tests.unit.strategies import paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from random import Random

MIB = 1024 * 1024
FILES = {"a.txt": b"alpha", "empty": b"", "logs/größe.log": some_bytes(70), "z": b"PK\x05\x06"}

LOCAL = {"version": 10, "flags": 0, "method": 0, "time": 0, "date": 33}
CENTRAL = {"made_by": 10, "comment_bytes": 0, "disk": 0, "internal": 0, "external": 0}
LOCAL_ORDER = ("version", "flags", "method", "time", "date", "crc32", "compressed", "size", "name_bytes", "extra_bytes")
CENTRAL_ORDER = ("made_by", *LOCAL_ORDER, "comment_bytes", "disk", "internal", "external", "offset")
END_ORDER = ("disk", "directory_disk", "entries_here", "entries", "directory_bytes", "directory_at", "comment_bytes")


@dataclasses.dataclass(frozen=True)
class Forged:
    """An entry that says what it likes: ``local`` and ``central`` override single fields of its headers."""

    name: bytes = b"a"
    data: bytes = b"alpha"
    local: dict[str, int] = dataclasses.field(default_factory=dict)
    central: dict[str, int] = dataclasses.field(default_factory=dict)
    central_name: bytes | None = None
    local_extra: bytes = b""
    central_extra: bytes = b""
    comment: bytes = b""

    def local_bytes(self) -> bytes:
        values = self._described() | {"extra_bytes": len(self.local_extra)} | self.local
        header = struct.pack("<4s5H3I2H", b"PK\x03\x04", *(values[field] for field in LOCAL_ORDER))
        return header + self.name + self.local_extra + self.data

    def central_bytes(self, offset: int) -> bytes:
        name = self.name if self.central_name is None else self.central_name
        own = {"offset": offset, "name_bytes": len(name), "extra_bytes": len(self.central_extra)}
        values = self._described() | CENTRAL | self.local | own | {"comment_bytes": len(self.comment)} | self.central
        header = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", *(values[field] for field in CENTRAL_ORDER))
        return header + name + self.central_extra + self.comment

    def _described(self) -> dict[str, int]:
        size = len(self.data)
        measured = {"crc32": zlib.crc32(self.data), "compressed": size, "size": size, "name_bytes": len(self.name)}
        return LOCAL | measured


def forge(*members: Forged, directory: Callable[[list[bytes]], list[bytes]] = list, **end: int) -> bytes:
    """An archive of these; ``directory`` may rearrange the central headers, ``end`` overrides the end record."""
    locals_ = [member.local_bytes() for member in members]
    offsets = itertools.accumulate(map(len, locals_), initial=0)
    centrals = [member.central_bytes(offset) for member, offset in zip(members, offsets, strict=False)]
    body, records = b"".join(locals_), b"".join(directory(centrals))
    return body + records + end_record(len(members), len(records), len(body), **end)


def end_record(entries: int, directory_bytes: int, directory_at: int, /, **said: int) -> bytes:
    counts = {"disk": 0, "directory_disk": 0, "entries_here": entries, "entries": entries, "comment_bytes": 0}
    values = counts | {"directory_bytes": directory_bytes, "directory_at": directory_at} | said
    return struct.pack("<4s4H2IH", b"PK\x05\x06", *(values[field] for field in END_ORDER))


def archive_of(contents: dict[str, bytes]) -> bytes:
    directory = ZipDirectory()
    parts = [directory.add(name, len(data), zlib.crc32(data)) + data for name, data in contents.items()]
    return b"".join(parts) + directory.end()


def read_all(data: bytes, *, max_entries: int = 100_000, max_entry_bytes: int = MIB) -> list[tuple[str, bytes]]:
    entries = read_archive(io.BytesIO(data).read, max_entries=max_entries, max_entry_bytes=max_entry_bytes)
    return [(path, content) for path, content, _ in entries]


def refusal(data: bytes, **limits: int) -> str:
    with pytest.raises(ArchiveInvalidError) as refused:
        read_all(data, **limits)
    return refused.value.message


def zipped(contents: dict[str | zipfile.ZipInfo, bytes], **options: Any) -> bytes:
    """An archive as Python's ``zipfile`` writes it."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", **options) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return target.getvalue()


def info_of(name: str, **attributes: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info


def many(count: int) -> bytes:
    return archive_of({f"{number:05}": b"" for number in range(count)})


def with_end64(data: bytes, **said: int) -> bytes:
    """``data``, an archive with a ZIP64 end, in which the fields of its last 98 bytes say something else."""
    fields = ("signature", "following", "made_by", "version", "disk", "directory_disk", "entries_here", "entries")
    fields += ("directory_bytes", "directory_at", "locator", "locator_disk", "end_at", "disks")
    fields += ("end", "end_disk", "end_directory_disk", "end_entries_here", "end_entries", "end_directory_bytes")
    fields += ("end_directory_at", "end_comment_bytes")
    form = struct.Struct("<IQ2H2I4QIIQII4H2IH")
    values = dict(zip(fields, form.unpack(data[-form.size :]), strict=True)) | said
    return data[: -form.size] + form.pack(*(values[field] for field in fields))


MANY = many(65_537)


# What is taken


def test_entries_come_in_order_with_their_bytes_and_checksums() -> None:
    entries = list(read_archive(io.BytesIO(archive_of(FILES)).read, max_entries=4, max_entry_bytes=70))

    assert [ArchiveEntry(path, data, zlib.crc32(data)) for path, data in FILES.items()] == entries


def test_empty_archive_has_no_entries() -> None:
    assert [] == read_all(archive_of({}))


def test_archive_by_zipfile_is_taken() -> None:
    assert list(FILES.items()) == read_all(zipped(dict(FILES)))


def test_archive_of_files_by_zipfile_is_taken(tmp_path: Path) -> None:
    """With modes, times and the writer's system in the central directory only."""
    (tmp_path / "run.sh").write_bytes(b"exit\n")
    (tmp_path / "run.sh").chmod(0o755)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "run.sh", "bin/run.sh")

    assert [("bin/run.sh", b"exit\n")] == read_all((tmp_path / "a.zip").read_bytes())


def test_entry_written_piece_by_piece_by_zipfile_is_taken() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive, archive.open("a", "w") as entry:
        entry.write(b"al")
        entry.write(b"pha")

    assert [("a", b"alpha")] == read_all(target.getvalue())


def test_ascii_name_may_be_marked_as_utf8() -> None:
    assert [("a", b"alpha")] == read_all(forge(Forged(local={"flags": 0x800})))


def test_any_time_is_taken_and_both_headers_may_differ_in_it() -> None:
    member = Forged(local={"time": 0xFFFF, "date": 0xFFFF}, central={"time": 1, "date": 2})

    assert [("a", b"alpha")] == read_all(forge(member))


def test_versions_up_to_45_are_taken_and_both_headers_may_differ_in_them() -> None:
    member = Forged(local={"version": 45}, central={"version": 20, "made_by": 0x031E})

    assert [("a", b"alpha")] == read_all(forge(member))


def test_attributes_of_a_regular_file_mean_nothing() -> None:
    unix = (stat.S_IFREG | 0o644) << 16
    member = Forged(central={"made_by": 0x0314, "internal": 1, "external": unix | 0x20})

    assert [("a", b"alpha")] == read_all(forge(member))


def test_entry_that_looks_like_an_archive_is_bytes() -> None:
    inner = archive_of(FILES)

    assert [("inner.zip", inner), ("z", b"")] == read_all(archive_of({"inner.zip": inner, "z": b""}))


@pytest.mark.parametrize("size_bytes", [BUFFER_BYTES - 31, BUFFER_BYTES - 30, BUFFER_BYTES, 3 * BUFFER_BYTES + 1])
def test_entry_may_be_longer_than_a_buffer(size_bytes: int) -> None:
    contents = {"a": some_bytes(size_bytes), "b": b"beta"}

    assert list(contents.items()) == read_all(archive_of(contents))


@pytest.mark.parametrize("count", [65_534, 65_535, 65_536])
def test_many_entries_are_taken(count: int) -> None:
    found = read_all(many(count))

    assert (count, ("00000", b""), (f"{count - 1:05}", b"")) == (len(found), found[0], found[-1])


@pytest.mark.parametrize("count", [65_534, 65_535, 65_536])
def test_many_entries_by_zipfile_are_taken(count: int) -> None:
    """At 65,535 it writes no ZIP64 yet, where ``zip_format`` does."""
    data = zipped({f"{number:05}": b"" for number in range(count)})

    assert count == len(read_all(data))


def test_zip64_end_may_leave_everything_to_its_own_record() -> None:
    """Go's ``archive/zip`` writes it so."""
    data = with_end64(many(65_535), end_directory_bytes=0xFFFF_FFFF, end_directory_at=0xFFFF_FFFF)

    assert 65_535 == len(read_all(data))


@given(st.dictionaries(paths, st.binary(max_size=300), max_size=8), st.randoms(use_true_random=False))
def test_whatever_is_written_is_read_back_however_it_arrives(contents: dict[str, bytes], choice: Random) -> None:
    stream = io.BytesIO(archive_of(contents))

    def read(size: int) -> bytes:
        return stream.read(min(size, choice.choice([1, 2, 3, 30, 31, 200, size])))

    entries = read_archive(read, max_entries=8, max_entry_bytes=300)

    assert contents == {path: data for path, data, _ in entries}


# How it is read


def arriving(*pieces: bytes) -> tuple[Callable[[int], bytes], Iterator[bytes]]:
    """A stream that gives these pieces and then must not be asked again, and what is left of it."""
    left = iter(pieces)

    def read(size: int) -> bytes:
        piece = next(left, None)
        assert piece is not None, "asked for more than was needed"
        assert len(piece) <= size
        return piece

    return read, left


def test_entry_is_yielded_when_its_last_byte_is_there() -> None:
    data = archive_of({"a": b"alpha", "b": b"beta"})
    read, _ = arriving(data[:30], data[30:36])

    assert ("a", b"alpha", zlib.crc32(b"alpha")) == next(read_archive(read, max_entries=2, max_entry_bytes=5))


def test_end_is_asked_for_once_and_only_once() -> None:
    read, left = arriving(archive_of(FILES), b"")

    entries = list(read_archive(read, max_entries=4, max_entry_bytes=70))

    assert (4, []) == (len(entries), list(left))


def test_stream_that_is_cut_off_is_not_asked_again() -> None:
    read, _ = arriving(archive_of(FILES)[:40], b"")

    with pytest.raises(ArchiveInvalidError):
        list(read_archive(read, max_entries=4, max_entry_bytes=70))


def test_errors_of_the_stream_pass_through() -> None:
    def read(size: int) -> bytes:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        list(read_archive(read, max_entries=1, max_entry_bytes=1))


def test_too_large_an_entry_is_refused_before_its_bytes_are_read() -> None:
    read, _ = arriving(Forged(data=b"alpha").local_bytes()[:31])

    with pytest.raises(LimitExceededError, match="entry 'a' is 5 bytes long, more than 4"):
        list(read_archive(read, max_entries=1, max_entry_bytes=4))


def test_entry_too_many_is_refused_before_it_is_read() -> None:
    data = archive_of({"a": b"alpha", "b": b"beta"})
    read, _ = arriving(data[: 36 + 30])
    entries = read_archive(read, max_entries=1, max_entry_bytes=5)

    assert "a" == next(entries).path
    with pytest.raises(LimitExceededError, match="the archive has more than 1 entries"):
        next(entries)


def test_bad_name_is_refused_before_the_bytes_under_it_are_read() -> None:
    read, _ = arriving(Forged(b"../a", b"alpha").local_bytes()[:34])

    with pytest.raises(ArchiveInvalidError):
        list(read_archive(read, max_entries=1, max_entry_bytes=5))


def test_declared_size_alone_takes_no_memory() -> None:
    data = Forged(local={"size": 2**31, "compressed": 2**31}).local_bytes()
    tracemalloc.start()

    message = refusal(data, max_entry_bytes=2**32)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ("entry 'a' is cut off: 5 of 2147483648 bytes", True) == (message, peak < MIB)


def test_memory_is_that_of_one_entry() -> None:
    """An entry, its copy while it is put together, and a buffer."""
    contents = {name: bytes(4 * MIB) for name in "abcdef"}
    stream = io.BytesIO(archive_of(contents))
    gc.collect()
    tracemalloc.start()

    for _ in read_archive(stream.read, max_entries=6, max_entry_bytes=4 * MIB):
        pass

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 14 * MIB


def test_headers_remembered_take_200_bytes_each() -> None:
    count = 20_000
    stream = io.BytesIO(archive_of({f"logs/worker-{number % 16:02}/{number:06}.json": b"" for number in range(count)}))
    tracemalloc.start()
    entries = read_archive(stream.read, max_entries=count, max_entry_bytes=0)

    for _ in range(count):
        next(entries)

    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert used - BUFFER_BYTES < 200 * count


# Names


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("../a", "has a . or .. segment"),
        ("a/../../b", "has a . or .. segment"),
        ("./a", "has a . or .. segment"),
        ("/etc/passwd", "is not relative"),
        ("C:/a", "is not relative"),
        ("c:a", "is not relative"),
        ("a//b", "has an empty segment"),
        ("", "has an empty segment"),
        ("a\\b", "has a backslash"),
        ("..\\a", "has a backslash"),
        ("a\0b", "has a control character"),
        ("a\nb", "has a control character"),
        ("a\x7f", "has a control character"),
        ("\u0061\u0308", "is not in Unicode normalisation form C"),
        ("n" * 1025, "is 1025 bytes long, more than 1024"),
        ("a/", "is a directory; only files are taken"),
        ("/", "is a directory; only files are taken"),
    ],
)
def test_name_that_is_no_logical_path_is_refused(name: str, what: str) -> None:
    data = forge(Forged(name.encode(), local={"flags": 0x800}))

    message = refusal(data)

    shown = repr(name) if len(name) < 100 else "'" + "n" * 199 + "..."
    assert f"entry {shown} {what}" == message


def test_directory_by_zipfile_is_refused() -> None:
    assert "entry 'logs/' is a directory; only files are taken" == refusal(zipped({"logs/": b""}))


def test_name_that_is_not_utf8_is_refused() -> None:
    message = refusal(forge(Forged(b"gr\xf6\xdfe", local={"flags": 0x800})))

    assert r"entry 'gr\\xf6\\xdfe' has a name that is not UTF-8" == message


def test_name_in_another_code_is_refused_rather_than_guessed() -> None:
    message = refusal(forge(Forged("größe".encode())))

    assert "entry 'größe' has a name that is neither ASCII nor marked as UTF-8" == message


@pytest.mark.parametrize("name", [b"\xc0\xae\xc0\xae/a", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"])
def test_overlong_forms_and_surrogates_are_not_utf8(name: bytes) -> None:
    assert refusal(forge(Forged(name, local={"flags": 0x800}))).endswith("has a name that is not UTF-8")


def test_name_that_stands_twice_is_refused() -> None:
    assert "entry 'a' stands twice" == refusal(forge(Forged(), Forged(b"b"), Forged(data=b"other")))


def test_name_is_the_same_with_and_without_the_mark_for_utf8() -> None:
    assert "entry 'a' stands twice" == refusal(forge(Forged(), Forged(local={"flags": 0x800})))


# What a local header says


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        (0x1, "is encrypted"),
        (0x801, "is encrypted"),
        (0x41, "is encrypted"),
        (0x8, "has its size and CRC-32 in a data descriptor, not in its header"),
        (0x808, "has its size and CRC-32 in a data descriptor, not in its header"),
        (0x2, "has flags 0x0002; only 0x0800, names in UTF-8, can be set"),
        (0x20, "has flags 0x0020; only 0x0800, names in UTF-8, can be set"),
        (0x2800, "has flags 0x2800; only 0x0800, names in UTF-8, can be set"),
    ],
)
def test_flags_other_than_utf8_are_refused(flags: int, what: str) -> None:
    assert f"entry 'a' {what}" == refusal(forge(Forged(local={"flags": flags})))


def test_archive_written_to_a_pipe_by_zipfile_is_refused_for_its_data_descriptors() -> None:
    class Pipe(io.RawIOBase):
        written = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.written += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        archive.writestr("a", b"alpha")

    assert "entry 'a' has its size and CRC-32 in a data descriptor, not in its header" == refusal(pipe.written)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_bomb_is_refused_for_being_compressed(method: int) -> None:
    data = zipped({"bomb": bytes(20 * MIB)}, compression=method)

    message = refusal(data)

    flags = "has flags 0x0002; only 0x0800, names in UTF-8, can be set"
    expected = flags if method == zipfile.ZIP_LZMA else f"is compressed (method {method}), not stored"
    assert (f"entry 'bomb' {expected}", True) == (message, len(data) < 50_000)


def test_extra_field_in_a_local_header_is_refused() -> None:
    member = Forged(local_extra=struct.pack("<HH4s", 0x5455, 4, b"time"))

    assert "entry 'a' has an extra field" == refusal(forge(member))


def test_zip64_sizes_of_an_entry_are_refused() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive, archive.open("a", "w", force_zip64=True) as entry:
        entry.write(b"alpha")

    assert "entry 'a' has an extra field" == refusal(target.getvalue())


@pytest.mark.parametrize("size", [4, 6, 0, 2**32 - 1])
def test_two_sizes_that_differ_are_refused(size: int) -> None:
    message = refusal(forge(Forged(local={"size": size})))

    assert f"entry 'a' declares two sizes, 5 and {size} bytes" == message


@pytest.mark.parametrize("size", [4, 0])
def test_size_below_that_of_the_data_is_refused(size: int) -> None:
    message = refusal(forge(Forged(local={"size": size, "compressed": size}), Forged(b"b")))

    assert "entry 'a' does not have the CRC-32 it declares" == message


def test_size_below_that_of_the_data_is_refused_with_a_matching_checksum_too() -> None:
    lie = {"size": 4, "compressed": 4, "crc32": zlib.crc32(b"alph")}

    message = refusal(forge(Forged(local=lie), Forged(b"b")))

    assert "neither an entry nor the central directory begins at byte 35" == message


def test_size_above_that_of_the_data_is_refused() -> None:
    message = refusal(forge(Forged(local={"size": 6, "compressed": 6}), Forged(b"b")))

    assert "entry 'a' does not have the CRC-32 it declares" == message


def test_size_that_swallows_the_next_entry_is_refused_by_the_central_directory() -> None:
    inner = Forged(b"b", b"beta").local_bytes()
    swallowing = Forged(data=b"alpha" + inner)
    hidden = Forged(b"b", b"beta").central_bytes(36)

    message = refusal(forge(swallowing, directory=lambda centrals: [*centrals, hidden], entries=2, entries_here=2))

    assert "the central directory has more than the 1 entries before it" == message


def test_size_beyond_the_archive_is_refused() -> None:
    data = forge(Forged(local={"size": 1000, "compressed": 1000}))

    assert f"entry 'a' is cut off: {len(data) - 31} of 1000 bytes" == refusal(data)


@pytest.mark.parametrize("size", [2**32 - 1 - 31, 2**32 - 1])
def test_entry_that_ends_at_4_gib_or_beyond_is_refused_by_its_header(size: int) -> None:
    data = Forged(data=b"", local={"size": size, "compressed": size}).local_bytes()

    message = refusal(data, max_entry_bytes=2**40)

    assert "entry 'a' ends at 4 GiB or beyond: send it in another archive" == message


def test_entry_that_ends_just_below_4_gib_is_read() -> None:
    size = 2**32 - 2 - 31
    data = Forged(data=b"", local={"size": size, "compressed": size}).local_bytes()

    assert f"entry 'a' is cut off: 0 of {size} bytes" == refusal(data, max_entry_bytes=2**40)


def test_wrong_checksum_is_refused() -> None:
    assert "entry 'a' does not have the CRC-32 it declares" == refusal(forge(Forged(local={"crc32": 1})))


@pytest.mark.parametrize("version", [46, 63, 0x010A])
def test_version_later_than_45_is_refused(version: int) -> None:
    message = refusal(forge(Forged(local={"version": version})))

    assert f"entry 'a' needs version {version} of ZIP, later than 45" == message


# What the central directory says


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({"flags": 0x800}, "has other flags"),
        ({"flags": 0x1}, "has other flags"),
        ({"flags": 0x8}, "has other flags"),
        ({"method": 8}, "has another method"),
        ({"crc32": 1}, "has another CRC-32"),
        ({"compressed": 4}, "has another compressed size"),
        ({"compressed": 2**32 - 1}, "has another compressed size"),
        ({"size": 4}, "has another size"),
        ({"size": 2**32 - 1}, "has another size"),
        ({"name_bytes": 2}, "has a name of another length"),
        ({"extra_bytes": 1}, "has an extra field"),
        ({"comment_bytes": 1}, "has a comment"),
        ({"disk": 1}, "is on another disk"),
        ({"disk": 0xFFFF}, "is on another disk"),
        ({"offset": 1}, "begins at byte 1, not 36"),
        ({"offset": 0}, "begins at byte 0, not 36"),
        ({"offset": 2**32 - 1}, "begins at byte 4294967295, not 36"),
        ({"version": 46}, "needs version 46 of ZIP"),
        ({"external": 0x10}, "is no regular file"),
        ({"external": (stat.S_IFLNK | 0o777) << 16, "made_by": 0x0314}, "is no regular file"),
        ({"external": (stat.S_IFLNK | 0o777) << 16, "made_by": 0x1314}, "is no regular file"),
        ({"external": (stat.S_IFDIR | 0o755) << 16, "made_by": 0x0314}, "is no regular file"),
        ({"external": (stat.S_IFIFO | 0o644) << 16, "made_by": 0x0314}, "is no regular file"),
    ],
)
def test_central_header_that_says_something_else_is_refused(said: dict[str, int], what: str) -> None:
    message = refusal(forge(Forged(), Forged(b"b", central=said), Forged(b"c")))

    assert f"entry 'b' {what} in the central directory" == message


def test_symbolic_link_by_zipfile_is_refused() -> None:
    link = info_of("link", external_attr=(stat.S_IFLNK | 0o777) << 16)

    assert "entry 'link' is no regular file in the central directory" == refusal(zipped({link: b"/etc/passwd"}))


def test_other_name_of_the_same_length_in_the_central_directory_is_refused() -> None:
    message = refusal(forge(Forged(), Forged(b"b", central_name=b"c")))

    assert "entry 'b' is called 'c' in the central directory" == message


def test_extra_field_in_the_central_directory_is_refused() -> None:
    member = Forged(central_extra=struct.pack("<HHQ", 1, 8, 0))

    assert "entry 'a' has an extra field in the central directory" == refusal(forge(member))


def test_comment_of_an_entry_is_refused() -> None:
    assert "entry 'a' has a comment in the central directory" == refusal(forge(Forged(comment=b"hidden")))


def test_central_directory_in_another_order_is_refused() -> None:
    message = refusal(forge(Forged(b"a"), Forged(b"b", b"beta!"), directory=lambda centrals: centrals[::-1]))

    assert "entry 'a' has another CRC-32 in the central directory" == message


def test_central_directory_in_another_order_is_refused_for_equal_contents_too() -> None:
    message = refusal(forge(Forged(b"a"), Forged(b"b"), directory=lambda centrals: centrals[::-1]))

    assert "entry 'a' begins at byte 36, not 0 in the central directory" == message


@pytest.mark.parametrize(("kept", "missing"), [(2, "c"), (1, "b"), (0, "a")])
def test_central_directory_with_fewer_entries_is_refused(kept: int, missing: str) -> None:
    members = [Forged(b"a"), Forged(b"b"), Forged(b"c")]

    message = refusal(forge(*members, directory=lambda centrals: centrals[:kept], entries=kept, entries_here=kept))

    assert f"entry '{missing}' is not in the central directory where it should be" == message


def test_central_directory_with_an_entry_twice_is_refused() -> None:
    message = refusal(forge(Forged(), directory=lambda centrals: centrals * 2, entries=2, entries_here=2))

    assert "the central directory has more than the 1 entries before it" == message


def test_entries_that_overlap_are_refused() -> None:
    """The headers of a bomb quote each other: one kernel of data, many entries that end with it."""
    kernel = Forged(b"b", b"kernel").local_bytes()
    outer = Forged(b"a", kernel)
    inner = Forged(b"b", b"kernel").central_bytes(31)

    message = refusal(forge(outer, directory=lambda centrals: [*centrals, inner], entries=2, entries_here=2))

    assert "the central directory has more than the 1 entries before it" == message


def test_entries_that_share_one_local_header_are_refused() -> None:
    message = refusal(forge(Forged(), Forged(b"b", central={"offset": 0})))

    assert "entry 'b' begins at byte 0, not 36 in the central directory" == message


def test_digital_signature_of_the_directory_is_refused() -> None:
    signature = b"PK\x05\x05\x01\x00!"

    message = refusal(forge(Forged(), directory=lambda centrals: [*centrals, signature]))

    assert "the end record does not say 1 entries on one disk" == message


# What the end says, and what stands elsewhere


@pytest.mark.parametrize(
    "said",
    [
        {"entries": 1, "entries_here": 1},
        {"entries": 3},
        {"entries_here": 3},
        {"entries": 0xFFFF, "entries_here": 0xFFFF},
        {"disk": 1},
        {"directory_disk": 1},
    ],
)
def test_end_record_with_other_counts_is_refused(said: dict[str, int]) -> None:
    message = refusal(forge(Forged(), Forged(b"b"), **said))

    assert "the end record does not say 2 entries on one disk" == message


@pytest.mark.parametrize(
    "said",
    [
        {"directory_at": 71},
        {"directory_at": 0},
        {"directory_at": 2**32 - 1},
        {"directory_bytes": 93},
        {"directory_bytes": 2**32 - 1},
    ],
)
def test_end_record_with_another_place_of_the_directory_is_refused(said: dict[str, int]) -> None:
    message = refusal(forge(Forged(), Forged(b"b"), **said))

    assert "the end record does not say 94 bytes of central directory at byte 72" == message


def test_comment_of_the_archive_is_refused() -> None:
    data = forge(Forged(), comment_bytes=6) + b"hidden"

    assert "the archive has a comment" == refusal(data)


def test_second_end_record_in_a_comment_is_refused() -> None:
    data = forge(Forged(), comment_bytes=22) + end_record(0, 0, 0)

    assert "the archive has a comment" == refusal(data)


def test_second_end_record_is_refused() -> None:
    data = forge(Forged())

    assert "something follows the end record" == refusal(data + data[-22:])


@pytest.mark.parametrize("tail", [b"\0", b"\n", b"PK\x03\x04", bytes(BUFFER_BYTES)])
def test_bytes_after_the_end_are_refused(tail: bytes) -> None:
    assert "something follows the end record" == refusal(forge(Forged()) + tail)


def test_second_archive_after_the_first_is_refused() -> None:
    data = archive_of(FILES)

    assert "something follows the end record" == refusal(data + data)


@pytest.mark.parametrize("junk", [b"#!/bin/sh\n", b"\0", b"MZ", b"PK\x07\x08", b"PK00", b"PK\x05\x05", b"\xef\xbb\xbf"])
def test_anything_before_the_first_entry_is_refused(junk: bytes) -> None:
    message = refusal(junk + archive_of(FILES))

    assert "neither an entry nor the central directory begins at byte 0" == message


def test_gap_between_two_entries_is_refused() -> None:
    message = refusal(forge(Forged(data=b"alpha"), Forged(b"b")).replace(b"alpha", b"alpha\0", 1))

    assert "neither an entry nor the central directory begins at byte 36" == message


def test_nothing_at_all_is_no_archive() -> None:
    assert "neither an entry nor the central directory begins at byte 0: the archive is cut off" == refusal(b"")


@pytest.mark.parametrize("data", [archive_of(FILES), zipped(dict(FILES)), archive_of({})], ids=["ours", "zipfile", "0"])
def test_archive_cut_off_anywhere_is_refused(data: bytes) -> None:
    for length in range(len(data)):
        with pytest.raises(ArchiveInvalidError):
            read_all(data[:length])


@pytest.mark.parametrize("missing", [1, 21, 22, 23, 41, 42, 43, 97, 98, 99, 103, 104, 148, 149])
def test_archive_cut_off_within_a_zip64_end_is_refused(missing: int) -> None:
    assert "the archive is cut off" in refusal(MANY[:-missing])


# ZIP64


def test_zip64_end_of_a_small_archive_is_refused() -> None:
    data = forge(Forged())
    end64 = struct.pack("<4sQ2H2I4Q4sIQI", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, 47, 36, b"PK\x06\x07", 0, 83, 1)

    assert "a ZIP64 end record stands where 1 entries need none" == refusal(data[:-22] + end64 + data[-22:])


def test_zip64_end_of_an_empty_archive_is_refused() -> None:
    end64 = struct.pack("<4sQ2H2I4Q4sIQI", b"PK\x06\x06", 44, 45, 45, 0, 0, 0, 0, 0, 0, b"PK\x06\x07", 0, 0, 1)

    assert "a ZIP64 end record stands where 0 entries need none" == refusal(end64 + end_record(0, 0, 0))


def test_more_than_65535_entries_without_zip64_are_refused() -> None:
    data = many(65_536)

    assert "65536 entries need a ZIP64 end record" == refusal(data[:-98] + data[-22:])


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({"entries": 65_536}, "end record does not say 65537 entries and a central directory at byte 2293795"),
        ({"entries_here": 1}, "end record does not say 65537 entries and a central directory at byte 2293795"),
        ({"directory_at": 0}, "end record does not say 65537 entries and a central directory at byte 2293795"),
        ({"directory_bytes": 9}, "end record does not say 65537 entries and a central directory at byte 2293795"),
        ({"disk": 1}, "end record does not say 65537 entries and a central directory at byte 2293795"),
        ({"directory_disk": 1}, "end record does not say 65537 entries and a central directory at byte 2293795"),
        ({"following": 45}, "end record is of another form than that of version 4.5"),
        ({"following": 2**63}, "end record is of another form than that of version 4.5"),
        ({"version": 62}, "end record is of another form than that of version 4.5"),
        ({"end_at": 0}, "locator does not say byte 5636182 of one disk"),
        ({"locator": 0}, "locator does not say byte 5636182 of one disk"),
        ({"locator_disk": 1}, "locator does not say byte 5636182 of one disk"),
        ({"disks": 2}, "locator does not say byte 5636182 of one disk"),
    ],
)
def test_zip64_end_that_lies_is_refused(said: dict[str, int], what: str) -> None:
    assert f"the ZIP64 {what}" == refusal(with_end64(MANY, **said))


@pytest.mark.parametrize(
    "said",
    [
        {"end_entries": 1},
        {"end_entries_here": 1},
        {"end_directory_bytes": 1},
        {"end_directory_at": 1},
        {"end_disk": 0xFFFF},
        {"end_directory_disk": 0xFFFF},
        {"end": 0},
    ],
)
def test_end_record_after_zip64_that_lies_is_refused(said: dict[str, int]) -> None:
    assert refusal(with_end64(MANY, **said)).startswith("the end record does not say ")


# Any damage


def test_any_byte_changed_is_refused_or_means_nothing() -> None:
    data, expected = archive_of(FILES), list(FILES.items())
    passed_over = 0

    for at in range(len(data)):
        for change in (0x01, 0x08, 0x10, 0x20, 0x80, 0xFF):
            damaged = data[:at] + bytes([data[at] ^ change]) + data[at + 1 :]
            try:
                assert expected == read_all(damaged)
                passed_over += 1
            except (ArchiveInvalidError, LimitExceededError):
                continue

    assert 0 < passed_over < len(data)


@given(st.binary(max_size=200), st.sampled_from([b"", b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06"]))
def test_noise_is_refused(noise: bytes, start: bytes) -> None:
    with pytest.raises((ArchiveInvalidError, LimitExceededError)):
        read_all(start + noise)


@given(st.data())
def test_pieces_of_an_archive_put_together_otherwise_are_refused(choices: st.DataObject) -> None:
    data, expected = archive_of(FILES), list(FILES.items())
    start, end = sorted(choices.draw(st.tuples(st.integers(0, len(data)), st.integers(0, len(data)))))
    at = choices.draw(st.integers(0, len(data)))
    altered = data[:at] + data[start:end] + data[at:]

    try:
        found = read_all(altered)
    except (ArchiveInvalidError, LimitExceededError):
        found = expected

    assert expected == found
