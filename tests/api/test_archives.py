"""Hostile archives over HTTP: refused whole, nothing of them counts, and the next good one is taken.

The reader's own suite, with a sentence for each thing that can be wrong, is tests/unit/test_zip_stream.py.
"""

from __future__ import annotations

import stat
import zipfile
from typing import TYPE_CHECKING

import pytest

from artifactstore.testing.builders import some_bytes
from tests.api.pushing import (
    blake3_of,
    check_store,
    fetched,
    finalize,
    fresh_files,
    missing,
    opened,
    problem,
    send_zip,
    unique,
    zipped,
)
from tests.service import serving
from tests.support import stored_objects
from tests.unit.test_zip_stream import Forged, forge, info_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.service import Server

GOOD = Forged(b"good", b"good bytes")
UTF8 = {"flags": 0x800}
WHOLE = zipped({"good": b"good bytes", "other": b"more"})


def bomb() -> bytes:
    """A megabyte for every kilobyte, ten thousand to one in all."""
    return zipped({f"zeros-{n}": bytes(2**20) for n in range(8)}, compression=zipfile.ZIP_DEFLATED)


HOSTILE = {
    "leaves its directory": forge(GOOD, Forged(b"../../etc/passwd")),
    "leaves by a backslash": forge(GOOD, Forged(b"..\\x")),
    "absolute": forge(GOOD, Forged(b"/etc/passwd")),
    "a drive": forge(GOOD, Forged(b"C:/x")),
    "a control character": forge(GOOD, Forged(b"a\0b", local=UTF8)),
    "a name twice": forge(GOOD, Forged(b"good", b"others")),
    "a directory": forge(GOOD, Forged(b"folder/", b"")),
    "a symbolic link": forge(GOOD, Forged(central={"made_by": 0x0314, "external": (stat.S_IFLNK | 0o777) << 16})),
    "a compressed bomb": bomb(),
    "an overlapping bomb": forge(GOOD, Forged(b"x", b"x"), directory=lambda records: [records[0], records[0]]),
    "a data descriptor": forge(GOOD, Forged(local={"flags": 0x8, "crc32": 0, "size": 0, "compressed": 0})),
    "encrypted": forge(GOOD, Forged(local={"flags": 0x1})),
    "an extra field": forge(GOOD, Forged(local_extra=b"\x01\x00\x04\x00abcd")),
    "says fewer bytes": forge(GOOD, Forged(local={"size": 3, "compressed": 3})),
    "says more bytes": forge(GOOD, Forged(local={"size": 50, "compressed": 50})),
    "says two sizes": forge(GOOD, Forged(local={"size": 5, "compressed": 3})),
    "another checksum": forge(GOOD, Forged(local={"crc32": 1})),
    "another size in the directory": forge(GOOD, Forged(central={"size": 9})),
    "another name in the directory": forge(GOOD, Forged(central_name=b"b")),
    "an entry the directory does not have": forge(GOOD, Forged(b"x"), directory=lambda records: records[:1]),
    "an entry only the directory has": forge(GOOD, directory=lambda records: records * 2),
    "directory in another order": forge(GOOD, Forged(b"x"), directory=lambda records: records[::-1]),
    "a count that lies": forge(GOOD, entries=2, entries_here=2),
    "bytes before": b"#!/bin/sh\n" + WHOLE,
    "bytes after": WHOLE + b"x",
    "two archives": WHOLE + WHOLE,
    "cut in an entry": WHOLE[:35],
    "cut in the directory": WHOLE[:-60],
    "cut in the end": WHOLE[:-1],
    "without its end": WHOLE[:-22],
    "nothing at all": b"",
    "no archive": b"hello" * 100,
    "a comment": WHOLE[:-2] + b"\x03\x00abc",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_an_archive_that_is_not_strictly_one_is_refused_whole(server: Server, what: str) -> None:
    package_id = opened(server)

    refused = send_zip(server, package_id, HOSTILE[what])
    good = send_zip(server, package_id, zipped({"good": b"other bytes", "x": b"", "a": b"1"}))
    receipt = finalize(server, package_id)

    assert (400, "ARCHIVE_INVALID") == problem(refused)
    assert (200, {"files": 3, "bytes": 12}) == (good.status, good.json), "something of the refused archive was kept"
    assert (200, 3) == (receipt.status, receipt.json["file_count"])
    assert {"good": b"other bytes"} == fetched(server, receipt.json["package_id"], ["good"])


@pytest.mark.parametrize("what", ["bytes after", "cut in the end"])
def test_declared_files_of_a_refused_archive_are_still_missing(server: Server, what: str) -> None:
    files = fresh_files(3)
    package_id = opened(server, files)
    archive = zipped(files)

    send_zip(server, package_id, archive + b"x" if what == "bytes after" else archive[:-1])

    assert sorted(map(blake3_of, files.values())) == sorted(missing(server, package_id)["missing"])
    assert 200 == send_zip(server, package_id, archive).status
    assert [] == missing(server, package_id)["missing"]


def test_an_archive_with_a_file_and_a_directory_of_one_name_is_refused(server: Server) -> None:
    package_id = opened(server)

    answer = send_zip(server, package_id, zipped({"a": b"1", "a/b": b"2"}))

    assert (400, "PATH_INVALID") == problem(answer)
    assert 0 == finalize(server, package_id).json["file_count"]


def test_modes_and_times_of_an_archive_mean_nothing(server: Server) -> None:
    files = fresh_files(2)
    plain = opened(server, external_id=unique())
    dressed = opened(server, external_id=unique())
    infos = {
        info_of(path, external_attr=0o100755 << 16, date_time=(2001, 2, 3, 4, 5, 6)): d for path, d in files.items()
    }

    assert 200 == send_zip(server, plain, zipped(files)).status
    assert 200 == send_zip(server, dressed, zipped(infos)).status

    digests = [
        [file["blake3"] for file in server.ask("GET", f"/packages/{finalize(server, each).json['package_id']}/files",
                                               token="reader").json["files"]]
        for each in (plain, dressed)
    ]  # fmt: skip
    assert digests[0] == digests[1] == [blake3_of(files[path]) for path in sorted(files)]


def test_the_same_archive_again_changes_nothing(server: Server) -> None:
    files = fresh_files(4)
    package_id = opened(server)

    answers = [send_zip(server, package_id, zipped(files)) for _ in range(2)]

    assert [{"files": 4, "bytes": 2000}] * 2 == [answer.json for answer in answers]
    assert 4 == finalize(server, package_id).json["file_count"]


def test_many_files_arrive_in_one_archive(server: Server) -> None:
    seed = hash(unique())
    files = {f"d{n % 50:02}/f{n:05}": some_bytes(40, seed + n) for n in range(3_000)}
    package_id = opened(server, files)

    sent = send_zip(server, package_id, zipped(files))

    assert (200, 3_000) == (sent.status, sent.json["files"])
    assert (200, 3_000) == ((done := finalize(server, package_id)).status, done.json["file_count"])


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "home") as running:
        yield running


def test_refused_archives_leave_no_object_no_stage_and_no_file_outside(own_server: Server, tmp_path: Path) -> None:
    before = {path for path in tmp_path.rglob("*") if "objects" not in path.parts}
    package_id = opened(own_server)

    for archive in HOSTILE.values():
        assert 400 == send_zip(own_server, package_id, archive).status

    assert {} == stored_objects(own_server.home)
    assert before == {path for path in tmp_path.rglob("*") if "objects" not in path.parts}
    assert {} == check_store(own_server)
