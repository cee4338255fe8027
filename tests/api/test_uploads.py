"""Resumable uploads: what arrived is kept, whatever happens to the connection, the server or the other client."""

from __future__ import annotations

import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import some_bytes
from tests.api.pushing import (
    answer_on,
    append,
    begin_upload,
    blake3_of,
    break_off,
    check_store,
    connected,
    declared,
    fetched,
    finalize,
    head,
    missing,
    opened,
    problem,
    put,
    standing,
    unique,
    upload_headers,
)
from tests.service import make_tokens
from tests.support import objects_of_kind

if TYPE_CHECKING:
    from pathlib import Path

    from tests.api.nursery import Nursery
    from tests.service import Server

PATIENCE_S = 20
DATA = some_bytes(300_000)


def begun(server: Server, size: int, package_id: str | None = None, path: str = "big.bin") -> tuple[str, str]:
    """An upload that has begun: its package, and the path of its URL."""
    package_id = package_id or opened(server)
    answer = begin_upload(server, package_id, path, size)
    assert answer.status == 201, answer.body
    return package_id, answer.headers["Location"]


def patch_head(server: Server, upload: str, offset: int, length: int, *, last: bool = False) -> bytes:
    headers = {name.replace("-", "_"): value for name, value in upload_headers(offset, last=last).items()}
    return head(server, "PATCH", upload, Content_Length=length, **headers)


def wait_until_it_stands(server: Server, upload: str, offset: int) -> None:
    """The server notices a broken connection a moment later."""
    deadline = time.monotonic() + PATIENCE_S
    while standing(server, upload) != offset:
        assert time.monotonic() < deadline, standing(server, upload)
        time.sleep(0.02)


def parts_of(home: Path) -> list[Path]:
    return objects_of_kind(home, ObjectKind.PART)


# the contract


def test_a_beginning_says_where_the_upload_is_and_stands(server: Server) -> None:
    package_id = opened(server)

    first, second = (begin_upload(server, package_id, "a", 10) for _ in range(2))

    assert (201, 200) == (first.status, second.status)
    assert first.json == second.json == {"upload_id": first.json["upload_id"], "path": "a", "offset": 0, "size": 10}
    assert f"/packages/{package_id}/uploads/{first.json['upload_id']}" == first.headers["Location"]
    assert "no-store" == first.headers["Cache-Control"]


def test_head_says_where_it_stands(server: Server) -> None:
    _, upload = begun(server, 10)
    append(server, upload, 0, b"abcd")

    answer = server.ask("HEAD", upload, token="writer")

    found = {
        name: answer.headers[name] for name in ("Upload-Offset", "Upload-Complete", "Upload-Length", "Cache-Control")
    }
    assert (204, b"") == (answer.status, answer.body)
    assert {
        "Upload-Offset": "4", "Upload-Complete": "?0", "Upload-Length": "10", "Cache-Control": "no-store"
    } == found  # fmt: skip


def test_each_piece_answers_where_it_stands_and_the_last_the_file(server: Server) -> None:
    package_id, upload = begun(server, 10)

    first = append(server, upload, 0, b"abcd")
    last = append(server, upload, 4, b"efghij", last=True)

    assert (200, "4", 4) == (first.status, first.headers["Upload-Offset"], first.json["offset"])
    assert (200, "10", "?1") == (last.status, last.headers["Upload-Offset"], last.headers["Upload-Complete"])
    assert ("big.bin", 10, blake3_of(b"abcdefghij")) == tuple(last.json[name] for name in ("path", "size", "blake3"))
    assert [] == missing(server, package_id)["uploads"]
    finalize(server, package_id)
    assert {"big.bin": b"abcdefghij"} == fetched(server, package_id, ["big.bin"])


def test_an_upload_can_end_with_an_empty_piece(server: Server) -> None:
    package_id, upload = begun(server, 4)
    append(server, upload, 0, b"abcd")

    answer = append(server, upload, 4, b"", last=True)

    assert (200, blake3_of(b"abcd")) == (answer.status, answer.json["blake3"])
    assert 4 == finalize(server, package_id).json["total_bytes"]


def test_an_empty_file_can_be_uploaded(server: Server) -> None:
    _, upload = begun(server, 0)

    assert (200, 0) == ((answer := append(server, upload, 0, b"", last=True)).status, answer.json["size"])


@pytest.mark.parametrize("offset", [0, 3, 5, 10, 2**50])
def test_another_offset_is_refused_with_the_right_one(server: Server, offset: int) -> None:
    _, upload = begun(server, 10)
    append(server, upload, 0, b"abcd")

    answer = append(server, upload, offset, b"xyz")

    assert (409, "UPLOAD_OFFSET") == problem(answer)
    assert ("4", 4) == (answer.headers["Upload-Offset"], standing(server, upload))


@pytest.mark.parametrize("headers", [{"Upload-Offset": "-1"}, {"Upload-Offset": "x"}, {"Upload-Offset": ""},
                                     {"Upload-Offset": "1" * 30}, {"Upload-Complete": "1"}])  # fmt: skip
def test_headers_that_make_no_sense_are_refused(server: Server, headers: dict[str, str]) -> None:
    _, upload = begun(server, 10)
    given = {**upload_headers(0), **headers}

    answer = server.ask("PATCH", upload, token="writer", headers=given, body=b"abc")

    assert (400, "REQUEST_INVALID") == problem(answer)
    assert 0 == standing(server, upload)


def test_an_end_before_the_announced_size_is_refused_and_what_came_is_kept(server: Server) -> None:
    _, upload = begun(server, 10)

    answer = append(server, upload, 0, b"abcd", last=True)

    assert ((409, "UPLOAD_OFFSET"), "4") == (problem(answer), answer.headers["Upload-Offset"])
    assert 200 == append(server, upload, 4, b"efghij", last=True).status


def test_more_bytes_than_announced_are_refused(server: Server) -> None:
    package_id, upload = begun(server, 10)

    answer = append(server, upload, 0, b"x" * 11, last=True)

    assert (413, "LIMIT_EXCEEDED") == problem(answer)
    assert standing(server, upload) <= 10
    assert 0 == finalize(server, package_id).json["file_count"]


def test_other_bytes_than_declared_are_refused_and_the_upload_is_over(server: Server) -> None:
    data = some_bytes(10, hash(unique()))
    body = {"producer": "p", "files": [declared("big.bin", data)]}
    package_id = server.ask("POST", "/packages", token="writer", json_body=body).json["package_id"]
    _, upload = begun(server, 10, package_id)

    answer = append(server, upload, 0, bytes(10), last=True)
    again = begun(server, 10, package_id)[1]

    assert (400, "DIGEST_MISMATCH") == problem(answer)
    assert 404 == server.ask("HEAD", upload, token="writer").status
    assert (200, 200) == (append(server, again, 0, data, last=True).status, finalize(server, package_id).status)


def test_a_path_that_has_other_content_meanwhile_is_taken(server: Server) -> None:
    package_id, upload = begun(server, 3)
    put(server, package_id, "big.bin", b"one")

    answer = append(server, upload, 0, b"two", last=True)

    assert (409, "PATH_TAKEN") == problem(answer)
    assert 204 == server.ask("DELETE", upload, token="writer").status


def test_another_size_for_an_upload_that_was_begun_is_refused(server: Server) -> None:
    package_id, upload = begun(server, 10)
    append(server, upload, 0, b"abc")

    answer = begin_upload(server, package_id, "big.bin", 11)

    assert ((409, "UPLOAD_OFFSET"), "3") == (problem(answer), answer.headers["Upload-Offset"])


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [({"path": "../a"}, 400, "PATH_INVALID"), ({"role": "No Slug"}, 400, "PACKAGE_INVALID"),
     ({"media_type": "none"}, 400, "PACKAGE_INVALID"), ({"size": -1}, 400, "REQUEST_INVALID"),
     ({"size": 2**41}, 413, "LIMIT_EXCEEDED"), ({"size": "1"}, 400, "REQUEST_INVALID")],
)  # fmt: skip
def test_a_beginning_that_breaks_a_rule_is_refused(
    server: Server, more: dict[str, Any], status: int, code: str
) -> None:
    body = {"path": "a", "size": 1, **more}

    answer = server.ask("POST", f"/packages/{opened(server)}/uploads", token="writer", json_body=body)

    assert (status, code) == problem(answer)


def test_an_upload_of_another_package_is_unknown(server: Server) -> None:
    _, upload = begun(server, 10)
    mine = f"/packages/{opened(server)}/uploads/{upload.rpartition('/')[2]}"

    statuses = [server.ask(method, mine, token="writer", headers=upload_headers(0)).status
                for method in ("HEAD", "PATCH", "DELETE")]  # fmt: skip

    assert [404] * 3 == statuses
    assert 0 == standing(server, upload)


def test_the_role_and_media_type_of_the_beginning_are_the_files(server: Server) -> None:
    package_id = opened(server)
    begin = begin_upload(server, package_id, "a.bin", 1, role="model", media_type="application/x-model")
    append(server, begin.headers["Location"], 0, b"x", last=True)
    finalize(server, package_id)

    (found,) = server.ask("GET", f"/packages/{package_id}/files", token="reader").json["files"]

    assert ("model", "application/x-model") == (found["role"], found["media_type"])


# parts


def test_parts_are_gone_when_the_upload_is_complete_given_up_or_its_package_is(own_server: Server) -> None:
    home, counts = own_server.home, []
    uploads = [begun(own_server, 10) for _ in range(3)]
    for _, upload in uploads:
        append(own_server, upload, 0, b"abcd")
        append(own_server, upload, 4, b"ef")
    counts.append(len(parts_of(home)))

    append(own_server, uploads[0][1], 6, b"ghij", last=True)
    counts.append(len(parts_of(home)))
    own_server.ask("DELETE", uploads[1][1], token="writer")
    counts.append(len(parts_of(home)))
    own_server.ask("DELETE", f"/packages/{uploads[2][0]}", token="writer")
    counts.append(len(parts_of(home)))

    assert [6, 4, 2, 0] == counts
    assert 404 == own_server.ask("HEAD", uploads[1][1], token="writer").status
    assert 200 == finalize(own_server, uploads[0][0]).status
    check_store(own_server)


def test_the_same_bytes_in_two_uploads_are_no_shared_part(own_server: Server) -> None:
    uploads = [begun(own_server, 8) for _ in range(2)]
    for _, upload in uploads:
        append(own_server, upload, 0, b"abcd")

    own_server.ask("DELETE", uploads[0][1], token="writer")
    answer = append(own_server, uploads[1][1], 4, b"abcd", last=True)

    assert (200, blake3_of(b"abcdabcd")) == (answer.status, answer.json["blake3"])


# what breaks


def test_what_arrived_before_a_cut_is_kept(server: Server) -> None:
    package_id, upload = begun(server, len(DATA))
    append(server, upload, 0, DATA[:1000])

    break_off(server, patch_head(server, upload, 1000, len(DATA) - 1000) + DATA[1000:200_000])
    wait_until_it_stands(server, upload, 200_000)
    answer = append(server, upload, 200_000, DATA[200_000:], last=True)

    assert (200, blake3_of(DATA)) == (answer.status, answer.json["blake3"])
    finalize(server, package_id)
    assert {"big.bin": DATA} == fetched(server, package_id, ["big.bin"])


def test_a_cut_of_the_last_piece_does_not_complete_the_upload(server: Server) -> None:
    package_id, upload = begun(server, 10)

    break_off(server, patch_head(server, upload, 0, 10, last=True) + b"abcd")
    wait_until_it_stands(server, upload, 4)

    assert 10 == append(server, upload, 4, b"efghij", last=True).json["size"]
    assert 1 == finalize(server, package_id).json["file_count"]


def test_many_cuts_at_random_places_give_the_same_file(server: Server) -> None:
    package_id, upload = begun(server, len(DATA))
    at = 0
    for step in (1, 70_000, 65_536, 7, 99_999):
        break_off(server, patch_head(server, upload, at, len(DATA) - at) + DATA[at : at + step])
        at += step
        wait_until_it_stands(server, upload, at)

    assert blake3_of(DATA) == append(server, upload, at, DATA[at:], last=True).json["blake3"]
    assert 200 == finalize(server, package_id).status


def test_two_clients_that_append_at_once_do_not_mix(own_server: Server) -> None:
    """Both begin at the same offset; one is first, the other is told where the upload stands."""
    package_id, upload = begun(own_server, len(DATA))
    with connected(own_server) as one, connected(own_server) as other:
        for connection, data in ((one, DATA), (other, bytes(len(DATA)))):
            connection.sendall(patch_head(own_server, upload, 0, 200_000) + data[:100_000])
        time.sleep(0.1)
        one.sendall(DATA[100_000:200_000])
        first = answer_on(one)
        other.sendall(bytes(100_000))
        second = answer_on(other)

    assert (200, 409) == (first[0], second[0])
    assert "UPLOAD_OFFSET" == json.loads(second[1])["code"]
    assert 200_000 == standing(own_server, upload)
    assert blake3_of(DATA) == append(own_server, upload, 200_000, DATA[200_000:], last=True).json["blake3"]
    finalize(own_server, package_id)
    check_store(own_server)


def test_many_clients_that_append_at_once_leave_one_piece_each_time(server: Server) -> None:
    _, upload = begun(server, 40)
    pieces = [bytes([65 + number]) * 10 for number in range(4)]
    statuses = []
    with ThreadPoolExecutor(4) as pool:
        for at in range(0, 40, 10):
            answers = pool.map(lambda data, at=at: append(server, upload, at, data), pieces)
            statuses.append(sorted(answer.status for answer in answers))

    data = append(server, upload, 40, b"", last=True)

    assert [[200, 409, 409, 409]] * 4 == statuses
    assert 40 == data.json["size"]


def test_an_upload_goes_on_at_another_server_of_the_same_store(own_server: Server, nursery: Nursery) -> None:
    package_id, upload = begun(own_server, len(DATA))
    append(own_server, upload, 0, DATA[:1000])
    with nursery.serving(own_server.home, own_server.tokens) as another:
        assert 1000 == standing(another, upload)

        assert 200 == append(another, upload, 1000, DATA[1000:2000]).status
        stale = append(own_server, upload, 1000, b"x")
        last = append(own_server, upload, 2000, DATA[2000:], last=True)

        assert ("2000", blake3_of(DATA)) == (stale.headers["Upload-Offset"], last.json["blake3"])
        assert 200 == finalize(another, package_id).status
        check_store(another)


def test_an_upload_survives_the_death_of_its_server_between_two_pieces(nursery: Nursery, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with nursery.serving(home, make_tokens(home)) as first:
        package_id, upload = begun(first, len(DATA))
        append(first, upload, 0, DATA[:1000])
        first.stop(signal.SIGKILL)

    with nursery.serving(home, first.tokens) as second:
        assert 1000 == standing(second, upload)
        assert blake3_of(DATA) == append(second, upload, 1000, DATA[1000:], last=True).json["blake3"]
        assert 200 == finalize(second, package_id).status
        check_store(second)


def test_an_upload_survives_the_death_of_its_server_during_a_piece(nursery: Nursery, tmp_path: Path) -> None:
    """What had been recorded is kept; of the piece under way, nothing is promised and nothing is wrong."""
    home = tmp_path / "home"
    with nursery.serving(home, make_tokens(home)) as first:
        package_id, upload = begun(first, len(DATA))
        append(first, upload, 0, DATA[:1000])
        with connected(first) as connection:
            connection.sendall(patch_head(first, upload, 1000, len(DATA) - 1000) + DATA[1000:150_000])
            time.sleep(0.1)
            first.stop(signal.SIGKILL)

    with nursery.serving(home, first.tokens) as second:
        at = standing(second, upload)
        assert at == 1000
        assert blake3_of(DATA) == append(second, upload, at, DATA[at:], last=True).json["blake3"]
        assert 200 == finalize(second, package_id).status
        check_store(second)
