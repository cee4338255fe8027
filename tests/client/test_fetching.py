"""Fetching from a server that lies, stalls and cuts: nothing wrong ever appears, and what can be had is had."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from blake3 import blake3

from artifactstore.client import Client, fetching
from artifactstore.domain.hashing import measure
from artifactstore.domain.manifest import FileEntry, Manifest
from artifactstore.domain.zip_format import ZipDirectory
from artifactstore.errors import (
    BlobCorruptError,
    DestinationExistsError,
    FileUnknownError,
    ManifestCorruptError,
    ServiceError,
    ServiceUnavailableError,
)
from tests.client.scripted_server import Answer, Asked, serving
from tests.support import tree_contents

SMALL = {f"small/{number}.txt": f"number {number}\n".encode() * 50 for number in range(20)}
LARGE = {"large.bin": bytes(range(256)) * 12_000, "z.bin": b"z" * 1024 * 1024}
FILES = {**LARGE, **SMALL, "empty": b""}


def manifest_of(files: dict[str, bytes]) -> Manifest:
    blobs = {path: measure(data) for path, data in sorted(files.items())}
    return Manifest(
        "ci",
        tuple(FileEntry(path, "content", "text/plain", b.size_bytes, b.blake3, b.sha256) for path, b in blobs.items()),
    )


class Package:
    """A package as a good server sends it; a test replaces what is to be bad about it."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = dict(sorted(files.items()))
        self.manifest = manifest_of(files).encode()
        self.digest = blake3(self.manifest).hexdigest()
        self.sent = dict(self.files)
        self.cuts: list[int] = []
        """After how many bytes to cut the next answers with files in them."""
        self.ignores_ranges = False

    def __call__(self, asked: Asked) -> Answer:
        url = urlsplit(asked.target)
        if url.path == "/packages/1":
            return Answer.json({"package_id": "1", "manifest_digest": f"blake3:{self.digest}"})
        if url.path == "/packages/1/manifest":
            return Answer(200, self.manifest)
        cut = self.cuts.pop(0) if self.cuts else None
        if url.path == "/packages/1/archive.zip":
            return Answer(200, self.archive(parse_qs(url.query)), cut=cut)
        data = self.sent[url.path.removeprefix("/packages/1/files/")]
        first = re.fullmatch(r"bytes=(\d+)-", asked.headers.get("Range", ""))
        if first is None or self.ignores_ranges:
            return Answer(200, data, cut=cut)
        start = int(first[1])
        where = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        return Answer(206, data[start:], where, cut=cut)

    def archive(self, query: dict[str, list[str]]) -> bytes:
        below, after = int(query["below"][0]), int(query.get("after", ["-1"])[0])
        directory, archive = ZipDirectory(), b""
        for index, (path, data) in enumerate(self.sent.items()):
            if index > after and len(self.files.get(path, data)) < below:
                archive += directory.add(path, len(data), measure(data).crc32) + data
        return archive + directory.end()


@pytest.fixture
def package() -> Package:
    return Package(FILES)


@pytest.fixture
def server(package):
    with serving(package) as server:
        yield server


@pytest.fixture
def client(server):
    with Client(server.url, sleep=lambda _: None) as client:
        yield client


def test_a_package_comes_whole(client, server, tmp_path):
    count = client.get_package("1", tmp_path / "out")

    assert count == len(FILES)
    assert tree_contents(tmp_path / "out") == FILES
    assert 1 == sum("archive.zip" in target for target in server.targets)


def test_an_archive_that_is_cut_anywhere_goes_on_after_the_last_whole_file(tmp_path):
    package = Package(SMALL)
    length = len(package.archive({"below": ["1048576"]}))
    with serving(package) as server, Client(server.url, sleep=lambda _: None) as client:
        for cut in range(0, length, 397):
            package.cuts = [cut]

            client.get_package("1", tmp_path / f"{cut}")

            assert tree_contents(tmp_path / f"{cut}") == SMALL


def test_a_very_long_archive_is_taken_in_several(package, client, server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "_ARCHIVE_BYTES", 2_000)

    client.get_package("1", tmp_path / "out")

    assert tree_contents(tmp_path / "out") == package.files
    asked = [target for target in server.targets if "archive.zip" in target]
    assert len(asked) > 3
    assert len(asked) == len(set(asked))


def test_an_archive_that_is_cut_is_not_begun_anew(package, client, server, tmp_path):
    package.cuts = [5_000, 5_000]

    client.get_package("1", tmp_path / "out")

    archives = [target for target in server.targets if "archive.zip" in target]
    after = [int(target.partition("after=")[2] or -1) for target in archives]
    assert len(after) == 3
    assert after == sorted(set(after))


@pytest.mark.parametrize("ignores_ranges", [False, True])
def test_a_large_file_that_is_cut_goes_on_where_it_was(package, client, server, tmp_path, ignores_ranges):
    package.ignores_ranges = ignores_ranges
    package.cuts = [1_500_000, 700_000 if not ignores_ranges else 2_000_000]

    size = client.get_file("1", "large.bin", tmp_path / "out")

    assert (tmp_path / "out").read_bytes() == FILES["large.bin"]
    assert size == len(FILES["large.bin"])
    ranges = [asked.headers.get("Range") for asked in server.asked if "large.bin" in asked.target]
    assert ranges[0] is None
    assert ranges[1] == "bytes=1500000-"
    assert server.asked[-1].headers["If-Range"] == f'"blake3:{blake3(FILES["large.bin"]).hexdigest()}"'


def test_a_file_goes_to_a_stream_once_it_is_right(package, client, tmp_path):
    package.cuts = [1_500_000]
    with (tmp_path / "sink").open("wb") as sink:
        client.send_file("1", "large.bin", sink)

    assert (tmp_path / "sink").read_bytes() == FILES["large.bin"]


@pytest.mark.parametrize("path", ["large.bin", "small/7.txt"])
def test_a_wrong_byte_never_appears(package, client, tmp_path, path):
    wrong = bytearray(package.files[path])
    wrong[len(wrong) // 2] ^= 1
    package.sent[path] = bytes(wrong)

    with pytest.raises(BlobCorruptError, match=path):
        client.get_package("1", tmp_path / "out")
    with pytest.raises(BlobCorruptError, match=path):
        client.get_file("1", path, tmp_path / "file")
    with (tmp_path / "sink").open("wb") as sink, pytest.raises(BlobCorruptError):
        client.send_file("1", path, sink)

    assert [path.name for path in tmp_path.iterdir()] == ["sink"]
    assert (tmp_path / "sink").read_bytes() == b""


def test_one_small_file_that_always_breaks_is_asked_for_by_itself(package, server, client, tmp_path):
    package.cuts = [2_000, 10, 10]

    client.get_package("1", tmp_path / "out")

    assert tree_contents(tmp_path / "out") == FILES
    assert 1 == sum("/files/small/" in target for target in server.targets)


def test_a_manifest_that_is_not_the_packages_is_refused(package, client, tmp_path):
    package.manifest = manifest_of({"a": b"1"}).encode()

    with pytest.raises(ManifestCorruptError, match=package.digest):
        client.manifest("1")
    with pytest.raises(ManifestCorruptError):
        client.get_package("1", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["../evil", "/evil", "a/../../evil", "a\\b", "C:/evil", "a\x00b"])
def test_a_path_that_leads_elsewhere_is_refused_though_its_digest_is_right(tmp_path, path):
    package = Package({path: b"1"})
    with serving(package) as server, Client(server.url) as client, pytest.raises(ManifestCorruptError):
        client.get_package("1", tmp_path / "in" / "out")

    assert list(tmp_path.iterdir()) == []


def test_bytes_that_are_no_manifest_are_refused(package, client, tmp_path):
    package.manifest = b"\xa0"
    package.digest = blake3(package.manifest).hexdigest()

    with pytest.raises(ManifestCorruptError):
        client.get_package("1", tmp_path / "out")


@pytest.mark.parametrize(
    "change",
    [
        lambda sent: sent.pop("small/19.txt"),
        lambda sent: sent.update({"small/19.txt": b""}),
        lambda sent: sent.update({"zz/more.txt": b"more"}),
        lambda sent: sent.update({"small/3.txt": sent["small/4.txt"]}),
        lambda sent: sent.update({"small/99.txt": sent.pop("small/9.txt")}),
    ],
    ids=["one too few", "one cut short", "one too many", "one in place of another", "one by another name"],
)
def test_an_archive_that_is_not_the_package_never_becomes_one(package, client, tmp_path, change):
    change(package.sent)

    try:
        client.get_package("1", tmp_path / "out")
    except (BlobCorruptError, ServiceError, KeyError):
        assert list(tmp_path.iterdir()) == []
    else:
        assert tree_contents(tmp_path / "out") == FILES


def test_more_bytes_than_a_file_has_are_not_taken(package, client, tmp_path):
    package.sent["large.bin"] += b"more"

    with pytest.raises(ServiceError, match="more than"):
        client.get_file("1", "large.bin", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_never_sends_the_end_is_given_up(package, client, tmp_path):
    package.cuts = [0] * 100

    with pytest.raises(ServiceUnavailableError):
        client.get_package("1", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_touched(client, tmp_path):
    (tmp_path / "out").write_text("mine")

    with pytest.raises(DestinationExistsError):
        client.get_package("1", tmp_path / "out")
    with pytest.raises(DestinationExistsError):
        client.get_file("1", "empty", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_file_that_the_manifest_does_not_have_is_not_asked_for(client, server, tmp_path):
    with pytest.raises(FileUnknownError, match="nope"):
        client.get_file("1", "nope", tmp_path / "out")

    assert not any("nope" in target for target in server.targets)
