"""A package as one ZIP over HTTP: readable by anything that reads ZIP, of the length that was announced."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from shutil import which
from subprocess import run
from typing import TYPE_CHECKING

import pytest

from artifactstore.domain.zip_stream import read_archive
from artifactstore.testing.builders import some_bytes
from tests.api.stored import begin_get, comes_true, record

if TYPE_CHECKING:
    from tests.service import Server

FILES = {
    "a.txt": b"first",
    "b/large.bin": some_bytes(9 * 1024 * 1024, seed=3),
    "b/é 語.txt": b"named in UTF-8",
    "empty": b"",
    "z.txt": some_bytes(70_000, seed=4),
}


@pytest.fixture(scope="module")
def package_id(server: Server) -> str:
    return record(server, FILES)


def contents(body: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.testzip() is None
        assert {entry.compress_type for entry in archive.infolist()} <= {zipfile.ZIP_STORED}
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def test_an_archive_has_every_file_and_the_length_it_announced(server: Server, package_id: str) -> None:
    connection, answer = begin_get(server, f"/packages/{package_id}/archive.zip", token="reader")
    announced, body = answer.headers["Content-Length"], answer.read()
    connection.close()

    assert FILES == contents(body)
    assert list(FILES) == list(contents(body))
    assert (200, str(len(body)), "application/zip") == (answer.status, announced, answer.headers["Content-Type"])
    assert f'attachment; filename="{package_id}.zip"' == answer.headers["Content-Disposition"]
    assert "nosniff" == answer.headers["X-Content-Type-Options"]


def test_unzip_finds_it_whole(server: Server, package_id: str, tmp_path: Path) -> None:
    if (unzip := which("unzip")) is None:
        pytest.skip("there is no unzip here")
    archive = tmp_path / "package.zip"
    archive.write_bytes(server.ask("GET", f"/packages/{package_id}/archive.zip").body)

    tested = run([unzip, "-t", archive], capture_output=True, check=False)

    assert (0, b"") == (tested.returncode, tested.stderr)
    assert len(FILES) == tested.stdout.count(b" OK\n")


def test_an_archive_is_not_offered_to_head(server: Server, package_id: str) -> None:
    answer = server.ask("HEAD", f"/packages/{package_id}/archive.zip")

    assert (405, b"") == (answer.status, answer.body)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("after=0", ["b/large.bin", "b/é 語.txt", "empty", "z.txt"]),
        ("after=-1&below=70001", ["a.txt", "b/é 語.txt", "empty", "z.txt"]),
        ("below=70000", ["a.txt", "b/é 語.txt", "empty"]),
        ("after=0&below=6", ["empty"]),
        ("after=3", ["z.txt"]),
        ("below=0", []),
        ("after=4", []),
        ("after=2147483648", []),
    ],
)
def test_after_and_below_choose_files(server: Server, package_id: str, query: str, expected: list[str]) -> None:
    answer = server.ask("GET", f"/packages/{package_id}/archive.zip?{query}")

    assert {path: FILES[path] for path in expected} == contents(answer.body)
    assert str(len(answer.body)) == answer.headers["Content-Length"]


@pytest.mark.parametrize("query", ["after=-2", "below=-1", "after=x", "below=1e3", "after=99999999999"])
def test_a_choice_that_is_none_is_refused(server: Server, package_id: str, query: str) -> None:
    answer = server.ask("GET", f"/packages/{package_id}/archive.zip?{query}")

    assert (400, "REQUEST_INVALID") == (answer.status, answer.json["code"])


def test_an_archive_of_no_files_is_an_empty_zip(server: Server) -> None:
    answer = server.ask("GET", f"/packages/{record(server, {})}/archive.zip")

    assert (22, {}) == (len(answer.body), contents(answer.body))


def test_ten_thousand_files_come_in_one_archive_without_zip64(server: Server) -> None:
    files = {f"f{number:05}.txt": b"%d" % (number % 100) for number in range(10_000)}
    package_id = record(server, files)

    answer = server.ask("GET", f"/packages/{package_id}/archive.zip")

    assert files == contents(answer.body)
    assert b"PK\x06\x06" not in answer.body
    assert str(len(answer.body)) == answer.headers["Content-Length"]


def test_what_archives_are_read_by_reads_it(server: Server, package_id: str) -> None:
    """The strict reader of pushed archives takes one that was fetched: fetching and pushing are one format."""
    body = io.BytesIO(server.ask("GET", f"/packages/{package_id}/archive.zip?below=100000").body)

    entries = read_archive(body.read, max_entries=10, max_entry_bytes=100_000)

    assert {path: data for path, data in FILES.items() if len(data) < 100_000} == {
        entry.path: entry.data for entry in entries
    }


def open_objects(process_id: int, home: Path) -> list[str]:
    """The objects that a process has open."""
    found = []
    for descriptor in Path(f"/proc/{process_id}/fd").iterdir():
        try:
            found.append(str(descriptor.readlink()))
        except FileNotFoundError:
            continue
    return [target for target in found if target.startswith(str(home / "objects"))]


@pytest.mark.parametrize("what", ["archive.zip", "files/large.bin"])
def test_a_client_that_leaves_midway_leaves_nothing_open_and_nothing_is_read_for_it(server: Server, what: str) -> None:
    size_bytes = 64 * 1024 * 1024
    path = f"/packages/{record(server, {'large.bin': some_bytes(size_bytes, seed=5), 'small.txt': b'x'})}/{what}"
    clients = [begin_get(server, path) for _ in range(5)]
    for _, answer in clients:
        answer.read(100_000)
    while_reading = open_objects(server.process.pid, server.home)

    for connection, answer in clients:
        answer.close()
        connection.close()

    assert len(clients) <= len(while_reading)
    assert comes_true(lambda: open_objects(server.process.pid, server.home) == [])
    assert comes_true(lambda: len(bytes_sent(server, path)) == len(clients))
    assert max(bytes_sent(server, path)) < size_bytes / 2


def bytes_sent(server: Server, path: str) -> list[int]:
    """Of each request for it, by the log."""
    return [line["sent_bytes"] for line in map(json.loads, list(server.log)) if line.get("path") == path]
