"""Stored bytes on their way out, piece by piece: none is given before it is known to be right."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifactstore.domain.digest import CHUNK_BYTES
from artifactstore.domain.hashing import BUFFER_BYTES
from artifactstore.errors import (
    BlobCorruptError,
    BlobMissingError,
    CorruptionError,
    PackageDeletedError,
    PackageUnknownError,
)
from artifactstore.registry.downloads import archive, download
from artifactstore.registry.files import find_file
from artifactstore.registry.ingest import ingest
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import package_draft, some_bytes
from tests.support import flip_byte, objects_of_kind, overwrite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.catalog.records import LocatedFile
    from artifactstore.registry.registry import Registry

PACKED = some_bytes(5_000, seed=1)
WHOLE_BLOB = some_bytes(CHUNK_BYTES, seed=2)
"""The largest that is checked in memory, before its first byte."""
LARGE = some_bytes(3 * CHUNK_BYTES + 777, seed=3)
FILES = {"empty": b"", "large": LARGE, "packed": PACKED, "whole": WHOLE_BLOB}


class Stored(NamedTuple):
    """A store with one package."""

    registry: Registry
    home: Path
    package_id: str

    def file(self, path: str) -> LocatedFile:
        return find_file(self.registry, self.package_id, path)

    def read(self, path: str, start: int = 0, length: int | None = None) -> bytes:
        return b"".join(download(self.registry, self.file(path), start, length))


@pytest.fixture
def stored(registry: Registry, home: Path) -> Stored:
    return Stored(registry, home, ingest(registry, package_draft(FILES)).package_id)


def given_before_it_fails(pieces: Iterator[bytes]) -> tuple[bytes, CorruptionError]:
    """What is handed out, and how it ends."""
    given_out: list[bytes] = []
    with pytest.raises(CorruptionError) as caught:
        given_out.extend(pieces)  # what came before the error stays
    return b"".join(given_out), caught.value


def blob_of(home: Path, data: bytes) -> Path:
    [path] = [path for path in objects_of_kind(home, ObjectKind.BLOB) if path.stat().st_size == len(data)]
    return path


@pytest.mark.parametrize("path", FILES)
def test_a_download_is_the_file(stored: Stored, path: str) -> None:
    assert FILES[path] == stored.read(path)


@pytest.mark.parametrize("path", FILES)
def test_pieces_are_small_and_none_is_empty(stored: Stored, path: str) -> None:
    """An empty piece would end an answer early."""
    pieces = [piece for piece in download(stored.registry, stored.file(path)) if FILES[path]]

    assert all(0 < len(piece) <= BUFFER_BYTES for piece in pieces)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_range_is_the_slice_of_the_file(stored: Stored, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(["packed", "large"]))
    size = len(FILES[path])
    borders = [at for chunk in range(0, size, CHUNK_BYTES) for at in range(chunk - 2, chunk + 3) if 0 <= at < size]
    start = data.draw(st.integers(0, size - 1) | st.sampled_from([*borders, size - 1]))
    end = data.draw(st.integers(start + 1, size) | st.sampled_from([at + 1 for at in borders if at >= start] or [size]))

    assert FILES[path][start:end] == stored.read(path, start, end - start)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flipped=st.integers(0, len(LARGE) - 1), start=st.integers(0, len(LARGE) - 1), length=st.integers(1, len(LARGE)))
def test_no_range_gives_a_wrong_byte_and_those_of_good_chunks_are_given(
    stored: Stored, flipped: int, start: int, length: int
) -> None:
    end = min(start + length, len(LARGE))
    chunks = range(start // CHUNK_BYTES, (end - 1) // CHUNK_BYTES + 1)
    blob = blob_of(stored.home, LARGE)
    flip_byte(blob, flipped)
    try:
        is_whole = (start, end) == (0, len(LARGE))
        if is_whole or flipped // CHUNK_BYTES in chunks:
            handed_out, error = given_before_it_fails(
                download(stored.registry, stored.file("large"), start, end - start)
            )
            assert len(handed_out) < end - start
            assert isinstance(error, BlobCorruptError)
            if not is_whole:
                assert LARGE[start:end].startswith(handed_out)
        else:
            assert LARGE[start:end] == stored.read("large", start, end - start)
    finally:
        flip_byte(blob, flipped)


@pytest.mark.parametrize("at", [0, 1, len(LARGE) // 2, len(LARGE) - 1])
def test_a_large_file_with_a_wrong_byte_is_never_complete(stored: Stored, at: int) -> None:
    flip_byte(blob_of(stored.home, LARGE), at)

    handed_out, error = given_before_it_fails(download(stored.registry, stored.file("large")))

    assert len(handed_out) < len(LARGE)
    assert "'large'" in str(error)


@pytest.mark.parametrize(("path", "start", "length"), [("packed", 0, None), ("packed", 5, 1), ("whole", 0, None)])
def test_a_small_file_with_a_wrong_byte_gives_nothing(
    stored: Stored, path: str, start: int, length: int | None
) -> None:
    [pack] = objects_of_kind(stored.home, ObjectKind.PACK)
    flip_byte(pack, pack.read_bytes().index(PACKED) + 4_999)
    flip_byte(blob_of(stored.home, WHOLE_BLOB), 0)

    handed_out, error = given_before_it_fails(download(stored.registry, stored.file(path), start, length))

    assert b"" == handed_out
    assert isinstance(error, BlobCorruptError)


@pytest.mark.parametrize("left", [0, 1, len(LARGE) - 1])
def test_an_object_that_is_too_short_is_missing(stored: Stored, left: int) -> None:
    """Not a range that its reader asked for."""
    overwrite(blob_of(stored.home, LARGE), LARGE[:left])

    handed_out, error = given_before_it_fails(download(stored.registry, stored.file("large")))

    assert (b"", BlobMissingError) == (handed_out, type(error))


@pytest.mark.parametrize(("path", "start"), [("large", 0), ("large", 1), ("packed", 0), ("packed", 1)])
def test_an_object_that_is_gone_is_missing(stored: Stored, path: str, start: int) -> None:
    for kind in (ObjectKind.BLOB, ObjectKind.PACK):
        for found in objects_of_kind(stored.home, kind):
            found.unlink()

    handed_out, error = given_before_it_fails(download(stored.registry, stored.file(path), start, 10))

    assert (b"", BlobMissingError) == (handed_out, type(error))


# archives


def zipped(pieces: Iterator[bytes]) -> tuple[int, dict[str, bytes]]:
    """How long it is, and what a reader of ZIP finds in it."""
    data = b"".join(pieces)
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert opened.testzip() is None
        return len(data), {entry.filename: opened.read(entry) for entry in opened.infolist()}


def test_an_archive_is_as_long_as_it_said(stored: Stored) -> None:
    found = archive(stored.registry, stored.package_id)

    assert (found.size_bytes, FILES) == zipped(found.pieces)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.dictionaries(st.text("abc語", min_size=1, max_size=5), st.binary(max_size=40), max_size=12),
    after=st.integers(-1, 12),
    below=st.integers(0, 45),
)
def test_any_choice_of_files_is_what_a_list_comprehension_chooses(
    registry: Registry, files: dict[str, bytes], after: int, below: int
) -> None:
    package_id = ingest(registry, package_draft(files, external_id=None)).package_id
    chosen = {
        path: data
        for index, (path, data) in enumerate(sorted(files.items(), key=lambda file: file[0].encode()))
        if index > after and len(data) < below
    }

    found = archive(registry, package_id, after_index=after, below_bytes=below)

    assert (found.size_bytes, chosen) == zipped(found.pieces)


@pytest.mark.parametrize("path", ["packed", "large"])
def test_an_archive_with_damage_ends_before_its_length(stored: Stored, path: str) -> None:
    """Also where the damaged file is the first: its bytes are held back until they are checked."""
    [pack] = objects_of_kind(stored.home, ObjectKind.PACK)
    if path == "packed":
        flip_byte(pack, pack.read_bytes().index(PACKED))
    else:
        flip_byte(blob_of(stored.home, LARGE), len(LARGE) - 1)
    found = archive(stored.registry, stored.package_id)

    handed_out, error = given_before_it_fails(found.pieces)

    assert len(handed_out) < found.size_bytes
    assert f"'{path}'" in str(error)


def test_an_archive_that_is_given_up_lets_go_of_what_it_read(stored: Stored) -> None:
    def open_objects() -> list[str]:
        root = str(stored.home / "objects")
        descriptors = Path("/proc/self/fd").iterdir()
        return [target for link in descriptors if os.path.lexists(link) and (target := _target(link)).startswith(root)]

    found = archive(stored.registry, stored.package_id)
    next(found.pieces)
    while_reading = open_objects()

    found.pieces.close()  # type: ignore[attr-defined]

    assert while_reading
    assert [] == open_objects()


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""


def test_there_is_no_archive_of_what_is_not_there(registry: Registry) -> None:
    with pytest.raises(PackageUnknownError):
        archive(registry, "nothing")


def test_there_is_no_archive_of_a_deleted_package(stored: Stored) -> None:
    with stored.registry.transaction() as tx:
        tx.connection.execute("UPDATE package SET status = 'deleted'")

    with pytest.raises(PackageDeletedError):
        archive(stored.registry, stored.package_id)
