"""Downloads over HTTP: the bytes, ranges, conditions, headers; and what is answered where stored bytes are damaged."""

from __future__ import annotations

import base64
import hashlib
import json
from http.client import IncompleteRead
from typing import TYPE_CHECKING, NamedTuple

import pytest
from blake3 import blake3

from artifactstore.domain.digest import CHUNK_BYTES
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import some_bytes
from tests.api.stored import begin_get, log_lines, record
from tests.service import serving
from tests.support import flip_byte, objects_of_kind, overwrite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.service import Answer, Server

SMALL = some_bytes(5_000, seed=1)
LARGE = some_bytes(3 * CHUNK_BYTES + 1_234, seed=2)
FILES = {"a/small.txt": SMALL, "empty.bin": b"", "large.bin": LARGE}
NO_DATE = "Sat, 29 Oct 1994 19:43:31 GMT"


@pytest.fixture(scope="module")
def package_id(server: Server) -> str:
    return record(server, FILES)


def etag_of(data: bytes) -> str:
    return f'"blake3:{blake3(data).hexdigest()}"'


@pytest.fixture(params=["a/small.txt", "large.bin"], ids=["packed", "large"])
def path(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# whole


@pytest.mark.parametrize("path", FILES)
def test_a_download_is_the_file_with_what_identifies_it(server: Server, package_id: str, path: str) -> None:
    data = FILES[path]

    answer = server.ask("GET", f"/packages/{package_id}/files/{path}", token="reader")

    assert (200, data) == (answer.status, answer.body)
    assert etag_of(data) == answer.headers["ETag"]
    assert str(len(data)) == answer.headers["Content-Length"]
    assert "bytes" == answer.headers["Accept-Ranges"]
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    assert f"sha-256=:{digest}:" == answer.headers["Repr-Digest"]
    assert "Content-Range" not in answer.headers


def test_stored_content_cannot_act_as_this_site(server: Server) -> None:
    name = 'x"; é%語.html'
    package_id = record(server, {f"pages/{name}": b"<script>alert(1)</script>"})

    answer = server.ask("GET", f"/files/{package_id}:0/download")

    assert "text/html" == answer.headers["Content-Type"].partition(";")[0]
    assert "nosniff" == answer.headers["X-Content-Type-Options"]
    assert answer.headers["Content-Security-Policy"].startswith("sandbox")
    disposition = answer.headers["Content-Disposition"]
    assert disposition.startswith("attachment; filename=")
    assert disposition.endswith("filename*=UTF-8''x%22%3B%20%C3%A9%25%E8%AA%9E.html")
    assert 'attachment; filename="x_; ___.html"' == disposition.partition("; filename*")[0]


@pytest.mark.parametrize("path", FILES)
def test_head_says_what_get_says_without_a_body(server: Server, package_id: str, path: str) -> None:
    url = f"/packages/{package_id}/files/{path}"

    got, headed = server.ask("GET", url), server.ask("HEAD", url)

    ours = {"Date", "X-Request-Id"}
    assert (200, b"") == (headed.status, headed.body)
    assert {k.title(): v for k, v in got.headers.items() if k.title() not in ours} == {
        k.title(): v for k, v in headed.headers.items() if k.title() not in ours
    }


def test_a_file_by_its_id_is_the_file_by_its_path(server: Server, package_id: str) -> None:
    for index, (path, data) in enumerate(sorted(FILES.items())):
        described = server.ask("GET", f"/files/{package_id}:{index}", token="reader").json
        answer = server.ask("GET", f"/files/{package_id}:{index}/download", token="reader")

        assert (path, len(data), f"{package_id}:{index}") == (
            described["path"],
            described["size"],
            described["file_id"],
        )
        assert (200, data) == (answer.status, answer.body)
        headed = server.ask("HEAD", f"/files/{package_id}:{index}/download")
        assert (200, str(len(data))) == (headed.status, headed.headers["Content-Length"])


@pytest.mark.parametrize("suffix", [":3", ":-1", ":1x", "", ":", ":\u0661", ":0000000000", "x:0", ":0:0"])
def test_a_file_that_is_not_there_is_named_as_asked(server: Server, package_id: str, suffix: str) -> None:
    answer = server.ask("GET", f"/files/{package_id}{suffix}/download".replace("\u0661", "%D9%A1"))

    assert (404, "FILE_UNKNOWN") == (answer.status, answer.json["code"])


@pytest.mark.parametrize("path", ["A/small.txt", "a", "a/", "a/small.txt/", "../a/small.txt", "a//small.txt"])
def test_a_path_is_taken_as_it_is(server: Server, package_id: str, path: str) -> None:
    answer = server.ask("GET", f"/packages/{package_id}/files/{path}".replace("../", "%2e%2e%2f"))

    assert (404, "FILE_UNKNOWN") == (answer.status, answer.json["code"])


# ranges

B = CHUNK_BYTES
RANGES = [
    (0, 0), (1, 100), (B - 1, B - 1), (B, B), (B - 1, B), (B - 5, B + 5), (0, B - 1), (0, B), (1, 2 * B),
    (B, 2 * B - 1), (2 * B - 1, 3 * B), (3 * B, 3 * B + 1_233), (3 * B - 1, 3 * B + 1_233), (0, 3 * B + 1_233),
    (3 * B + 1_233, 3 * B + 1_233), (1, 3 * B + 1_232),
]  # fmt: skip
"""First and last byte, around the borders of the chunks that a range is checked by."""


@pytest.mark.parametrize(("first", "last"), RANGES)
def test_a_range_of_a_large_file_is_its_slice(server: Server, package_id: str, first: int, last: int) -> None:
    answer = server.ask("GET", f"/packages/{package_id}/files/large.bin", headers={"Range": f"bytes={first}-{last}"})

    assert (206, f"bytes {first}-{last}/{len(LARGE)}") == (answer.status, answer.headers["Content-Range"])
    assert str(last - first + 1) == answer.headers["Content-Length"]
    assert LARGE[first : last + 1] == answer.body


def test_ranges_are_answered_exactly(server: Server, package_id: str, path: str) -> None:
    data, url = FILES[path], f"/packages/{package_id}/files/{path}"
    size = len(data)
    cases = {
        "bytes=0-": (0, size),
        "bytes=7-": (7, size),
        f"bytes={size - 1}-": (size - 1, size),
        "bytes=-1": (size - 1, size),
        f"bytes=-{size + 9}": (0, size),
        f"bytes=3-{size + 100}": (3, size),
        "BYTES=0-9": (0, 10),
    }

    for header, (start, end) in cases.items():
        answer = server.ask("GET", url, headers={"Range": header})

        assert (206, f"bytes {start}-{end - 1}/{size}") == (answer.status, answer.headers["Content-Range"]), header
        assert data[start:end] == answer.body
        assert etag_of(data) == answer.headers["ETag"]
        assert "attachment" in answer.headers["Content-Disposition"]


def test_a_range_outside_is_refused_with_the_size(server: Server, package_id: str, path: str) -> None:
    size = len(FILES[path])

    for header in (f"bytes={size}-", "bytes=-0", f"bytes={size + 5}-{size + 9}", "bytes=9999999999999999999-"):
        answer = server.ask("GET", f"/packages/{package_id}/files/{path}", headers={"Range": header})

        assert (416, f"bytes */{size}") == (answer.status, answer.headers["Content-Range"]), header
        assert "RANGE_INVALID" == answer.json["code"]


def test_an_empty_file_has_no_range(server: Server, package_id: str) -> None:
    url = f"/packages/{package_id}/files/empty.bin"

    from_start = server.ask("GET", url, headers={"Range": "bytes=0-"})
    last_bytes = server.ask("GET", url, headers={"Range": "bytes=-5"})

    assert (416, "bytes */0") == (from_start.status, from_start.headers["Content-Range"])
    assert (200, b"") == (last_bytes.status, last_bytes.body)


def test_what_is_no_single_range_is_answered_whole(server: Server, package_id: str, path: str) -> None:
    thousand = "bytes=" + ",".join(f"{at}-{at}" for at in range(1_000))

    for header in ("bytes=0-1,3-4", "bytes=5-2", "lines=1-2", "bytes=abc", thousand):
        answer = server.ask("GET", f"/packages/{package_id}/files/{path}", headers={"Range": header})

        assert (200, FILES[path]) == (answer.status, answer.body), header
        assert "Content-Range" not in answer.headers


def test_head_passes_a_range_over(server: Server, package_id: str, path: str) -> None:
    answer = server.ask("HEAD", f"/packages/{package_id}/files/{path}", headers={"Range": "bytes=0-1"})

    assert (200, str(len(FILES[path]))) == (answer.status, answer.headers["Content-Length"])


# conditions


def test_a_file_the_client_has_is_not_sent_again(server: Server, package_id: str, path: str) -> None:
    tag = etag_of(FILES[path])

    for method in ("GET", "HEAD"):
        for header in (tag, f"W/{tag}", f'"x", {tag}', "*"):
            answer = server.ask(
                method, f"/packages/{package_id}/files/{path}", headers={"If-None-Match": header, "Range": "bytes=0-1"}
            )

            assert (304, b"", tag) == (answer.status, answer.body, answer.headers["ETag"])
            assert answer.headers.get("Content-Length") in {None, str(len(FILES[path]))}


def test_a_condition_that_fails_is_412(server: Server, package_id: str, path: str) -> None:
    tag = etag_of(FILES[path])

    for header in ('"x"', f"W/{tag}", "nonsense"):
        answer = server.ask("GET", f"/packages/{package_id}/files/{path}", headers={"If-Match": header})

        assert (412, "PRECONDITION_FAILED") == (answer.status, answer.json["code"]), header
    for header in (tag, "*", f'"x", {tag}'):
        answer = server.ask("GET", f"/packages/{package_id}/files/{path}", headers={"If-Match": header})

        assert (200, FILES[path]) == (answer.status, answer.body)


def test_a_range_goes_on_only_in_the_same_file(server: Server, package_id: str, path: str) -> None:
    data, url = FILES[path], f"/packages/{package_id}/files/{path}"

    same = server.ask("GET", url, headers={"Range": "bytes=100-", "If-Range": etag_of(data)})
    others = [
        server.ask("GET", url, headers={"Range": "bytes=100-", "If-Range": header})
        for header in ('"x"', f"W/{etag_of(data)}", NO_DATE)
    ]

    assert (206, data[100:]) == (same.status, same.body)
    assert [(200, data)] * 3 == [(answer.status, answer.body) for answer in others]


def test_a_list_in_several_header_lines_is_one_list(server: Server, package_id: str) -> None:
    """RFC 9110 section 5.3."""
    connection, _ = begin_get(server, "/health")
    connection.close()
    url = f"/packages/{package_id}/files/a/small.txt"

    def ask(name: str) -> int:
        connection.putrequest("GET", url)
        for header in (("Authorization", f"Bearer {server.tokens['reader']}"), (name, '"x"'), (name, etag_of(SMALL))):
            connection.putheader(*header)
        connection.endheaders()
        answer = connection.getresponse()
        answer.read()
        return answer.status

    assert (304, 200) == (ask("If-None-Match"), ask("If-Match"))
    connection.close()


# damage


class Damaged(NamedTuple):
    """A server whose store is damaged on disk, each kind of object in one byte."""

    server: Server
    package_id: str
    small: bytes
    large: bytes


BAD_AT = B + 77
"""In the second chunk."""


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Damaged]:
    home = tmp_path_factory.mktemp("damaged") / "home"
    with serving(home) as server:
        files = {"bad.txt": SMALL, "good.txt": b"good", "large.bin": LARGE}
        package_id = record(server, files)
        [pack], [blob] = objects_of_kind(home, ObjectKind.PACK), objects_of_kind(home, ObjectKind.BLOB)
        flip_byte(pack, pack.read_bytes().index(SMALL) + 10)
        flip_byte(blob, BAD_AT)
        yield Damaged(server, package_id, SMALL, LARGE)


def read_all(server: Server, path: str, **headers: str) -> tuple[int, bytes, bool]:
    """Status, what came, and whether the answer was complete."""
    connection, answer = begin_get(server, path, headers=headers)
    try:
        return answer.status, answer.read(), True
    except IncompleteRead as error:
        return answer.status, error.partial, False
    finally:
        connection.close()


def errors_counted(server: Server, code: str) -> float:
    for line in server.ask("GET", "/metrics").body.decode().splitlines():
        if line.startswith(f'artifactstore_errors_total{{code="{code}"}}'):
            return float(line.rpartition(" ")[2])
    return 0.0


def test_a_damaged_small_file_is_refused_before_its_first_byte(damaged: Damaged) -> None:
    before = errors_counted(damaged.server, "BLOB_CORRUPT")

    answer = damaged.server.ask(
        "GET", f"/packages/{damaged.package_id}/files/bad.txt", headers={"X-Request-Id": "small"}
    )
    part = damaged.server.ask("GET", f"/packages/{damaged.package_id}/files/bad.txt", headers={"Range": "bytes=0-0"})

    assert (500, "BLOB_CORRUPT") == (answer.status, answer.json["code"])
    assert "application/problem+json" == answer.headers["Content-Type"]
    assert "bad.txt" in answer.json["detail"]
    assert 500 == part.status
    assert before + 2 == errors_counted(damaged.server, "BLOB_CORRUPT")
    [line] = log_lines(damaged.server, "small")
    assert ("BLOB_CORRUPT", 500) == (line["code"], line["status"])
    assert "bad.txt" in str(line["detail"])


def test_its_undamaged_neighbour_is_served(damaged: Damaged) -> None:
    assert b"good" == damaged.server.ask("GET", f"/packages/{damaged.package_id}/files/good.txt").body


def test_a_damaged_large_file_never_arrives_complete(damaged: Damaged) -> None:
    before = errors_counted(damaged.server, "BLOB_CORRUPT")

    status, body, is_complete = read_all(
        damaged.server, f"/packages/{damaged.package_id}/files/large.bin", **{"X-Request-Id": "large"}
    )

    assert (200, False) == (status, is_complete)
    assert len(body) < len(damaged.large)
    assert before + 1 == errors_counted(damaged.server, "BLOB_CORRUPT")
    [line] = log_lines(damaged.server, "large")
    assert "BLOB_CORRUPT" == line["code"]
    assert "large.bin" in str(line["detail"])


@pytest.mark.parametrize(
    ("first", "last"), [(BAD_AT, BAD_AT), (B, B), (2 * B - 1, 2 * B - 1), (B - 1, B), (BAD_AT, 3 * B), (0, 2 * B)]
)
def test_a_range_that_touches_a_bad_chunk_is_refused(damaged: Damaged, first: int, last: int) -> None:
    status, body, is_complete = read_all(
        damaged.server, f"/packages/{damaged.package_id}/files/large.bin", Range=f"bytes={first}-{last}"
    )

    assert 500 == status or not is_complete
    if status != 500:
        assert damaged.large[first:B].startswith(body)


@pytest.mark.parametrize(("first", "last"), [(0, B - 1), (5, 5), (2 * B, 3 * B), (3 * B, 3 * B + 1_233)])
def test_a_range_of_good_chunks_is_served(damaged: Damaged, first: int, last: int) -> None:
    expected = (206, damaged.large[first : last + 1], True)

    assert expected == read_all(
        damaged.server, f"/packages/{damaged.package_id}/files/large.bin", Range=f"bytes={first}-{last}"
    )


def test_an_archive_with_damage_is_cut(damaged: Damaged) -> None:
    url = f"/packages/{damaged.package_id}/archive.zip"

    whole = read_all(damaged.server, url, **{"X-Request-Id": "archive"})
    after_the_small = read_all(damaged.server, f"{url}?after=0")
    small_and_sound = read_all(damaged.server, f"{url}?after=0&below=100")

    assert not whole[2] or whole[0] == 500
    assert (200, False) == (after_the_small[0], after_the_small[2])
    assert (200, True) == (small_and_sound[0], small_and_sound[2])
    [line] = log_lines(damaged.server, "archive")
    assert "bad.txt" in str(line["detail"])


def test_a_cut_answer_leaves_one_line_and_no_traceback(damaged: Damaged) -> None:
    read_all(damaged.server, f"/packages/{damaged.package_id}/files/large.bin", **{"X-Request-Id": "cut"})

    assert 1 == len(log_lines(damaged.server, "cut"))
    assert all(json.loads(line) for line in list(damaged.server.log))
    assert not [line for line in damaged.server.log if "Traceback" in line]


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "home") as server:
        yield server


def test_truncated_missing_and_foreign_objects_are_errors_of_the_store(alone: Server) -> None:
    package_id = record(alone, FILES)
    [pack] = objects_of_kind(alone.home, ObjectKind.PACK)
    [blob] = objects_of_kind(alone.home, ObjectKind.BLOB)
    [manifest] = objects_of_kind(alone.home, ObjectKind.MANIFEST)

    def outcome(what: str, **headers: str) -> tuple[int, str]:
        answer: Answer = alone.ask("GET", f"/packages/{package_id}/{what}", headers=headers)
        return answer.status, answer.json["code"]

    flip_byte(manifest, 20)
    assert (500, "MANIFEST_CORRUPT") == outcome("manifest") == outcome("manifest.json")
    manifest.unlink()
    assert (500, "MANIFEST_CORRUPT") == outcome("manifest")

    overwrite(blob, LARGE[:-1])
    assert (500, "BLOB_MISSING") == outcome("files/large.bin")
    assert (500, "BLOB_MISSING") == outcome("files/large.bin", Range=f"bytes={3 * B}-")
    assert 206 == alone.ask("GET", f"/packages/{package_id}/files/large.bin", headers={"Range": "bytes=0-9"}).status
    overwrite(blob, b"")
    assert (500, "BLOB_MISSING") == outcome("files/large.bin")
    overwrite(blob, LARGE + b"more")
    assert 200 == alone.ask("GET", f"/packages/{package_id}/files/large.bin").status
    blob.unlink()
    assert (500, "BLOB_MISSING") == outcome("files/large.bin") == outcome("files/large.bin", Range="bytes=0-1")

    overwrite(pack, pack.read_bytes()[:20])
    assert (500, "BLOB_MISSING") == outcome("files/a/small.txt") == outcome("archive.zip")
    pack.unlink()
    assert (500, "BLOB_MISSING") == outcome("files/a/small.txt") == outcome("files/a/small.txt", Range="bytes=0-1")
    assert (
        304
        == alone.ask(
            "GET", f"/packages/{package_id}/files/a/small.txt", headers={"If-None-Match": etag_of(SMALL)}
        ).status
    )
