"""Each way to send files: what is answered, and that the package is the one an embedded ingest would make."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import zipfile
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.domain.media_type import media_type_of
from artifactstore.domain.package import DEFAULT_ROLE, BytesSource, FileDraft, PackageDraft
from artifactstore.domain.retention import RetentionClass
from artifactstore.registry.ingest import ingest
from artifactstore.registry.verify import verify_package
from artifactstore.testing.builders import some_bytes
from tests.api.pushing import (
    FILES,
    append,
    begin_upload,
    blake3_of,
    check_store,
    fetched,
    finalize,
    fresh_files,
    missing,
    open_,
    opened,
    places,
    problem,
    push,
    put,
    send_zip,
    sha256_of,
    unique,
    zipped,
)
from tests.service import serving, settings_of
from tests.support import event_types, replay_is_exact, write_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.service import Answer, Server

CLIENTS = 8
PUSHES_A_CLIENT = 40 if os.environ.get("LONG") else 10


def test_a_push_of_small_files_is_three_requests(server: Server) -> None:
    opened = server.ask("POST", "/packages", token="writer", json_body={"producer": "p", "external_id": "three"})
    package_id = opened.json["package_id"]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "one")
        archive.writestr("b/c.txt", "two")

    sent = server.ask(
        "POST",
        f"/packages/{package_id}/packs",
        token="writer",
        headers={"Content-Type": "application/zip"},
        body=buffer.getvalue(),
    )
    receipt = server.ask("POST", f"/packages/{package_id}/finalize", token="writer")

    assert (201, 200, 200) == (opened.status, sent.status, receipt.status)
    assert 2 == receipt.json["file_count"]
    assert b"two" == server.ask("GET", f"/packages/{package_id}/files/b/c.txt", token="reader").body


# every way to send gives the package that an embedded ingest makes


def by_zip(server: Server, package_id: str, files: Mapping[str, bytes], folder: Path) -> None:
    answer = send_zip(server, package_id, zipped(files))
    assert answer.json == {"files": len(files), "bytes": sum(map(len, files.values()))}


def by_two_zips_in_the_wrong_order(server: Server, package_id: str, files: Mapping[str, bytes], folder: Path) -> None:
    backwards = list(files.items())[::-1]
    for part in (backwards[:2], backwards[2:]):
        assert 200 == send_zip(server, package_id, zipped(part)).status


def by_put(server: Server, package_id: str, files: Mapping[str, bytes], folder: Path) -> None:
    for path, data in files.items():
        answer = put(server, package_id, path, data)
        measured = {"path": path, "size": len(data), "blake3": blake3_of(data), "sha256": sha256_of(data)}
        assert (201, measured) == (answer.status, answer.json)


def by_chunked_put(server: Server, package_id: str, files: Mapping[str, bytes], folder: Path) -> None:
    """A body of unknown length."""
    for path, data in files.items():
        pieces = iter([data[:1], data[1:]]) if data else iter([])
        assert 201 == server.ask("PUT", f"/packages/{package_id}/files/{path}", token="writer", body=pieces).status


def by_curl(server: Server, package_id: str, files: Mapping[str, bytes], folder: Path) -> None:
    """As the documentation shows it."""
    write_tree(folder, files)
    fields = [argument for path in files for argument in ("-F", f"{path}=@{path}")]
    url = f"{server.url}/packages/{package_id}/files"
    bearer = f"Authorization: Bearer {server.tokens['writer']}"

    done = subprocess.run(
        ["curl", "-fsS", "-H", bearer, *fields, url], cwd=folder, capture_output=True, text=True, check=False
    )

    assert (0, "") == (done.returncode, done.stderr)


def by_uploads(server: Server, package_id: str, files: Mapping[str, bytes], folder: Path) -> None:
    for path, data in files.items():
        upload = begin_upload(server, package_id, path, len(data)).headers["Location"]
        half = len(data) // 2
        assert 200 == append(server, upload, 0, data[:half]).status
        answer = append(server, upload, half, data[half:], last=True)
        assert (200, blake3_of(data)) == (answer.status, answer.json["blake3"])


WAYS = [by_zip, by_two_zips_in_the_wrong_order, by_put, by_chunked_put, by_curl, by_uploads]


@pytest.mark.parametrize("is_declared", [True, False], ids=["declared", "undeclared"])
@pytest.mark.parametrize("send", WAYS, ids=lambda send: send.__name__)
def test_every_way_to_send_makes_the_package_of_an_embedded_ingest(
    server: Server, tmp_path: Path, send: Callable[..., None], is_declared: bool
) -> None:
    external_id = unique("way")
    files = {**FILES, **fresh_files(), "large.bin": some_bytes(1_100_000, hash(external_id) & 0xFFFF)}

    package_id = opened(server, files if is_declared else None, external_id=external_id, subject="main")
    send(server, package_id, files, tmp_path / "run")
    receipt = finalize(server, package_id).json

    assert (package_id, False) == (receipt["package_id"], receipt["reused_existing"])
    embedded = open_registry(settings_of(tmp_path / "home"), actor="local:test")
    served = server.registry()
    try:
        drafts = tuple(FileDraft(p, BytesSource(d), DEFAULT_ROLE, media_type_of(p)) for p, d in files.items())
        draft = PackageDraft("p", drafts, RetentionClass.SUMMARY_EVIDENCE, external_id=external_id, subject="main")
        expected = ingest(embedded, draft)
        assert expected.manifest_digest == receipt["manifest_digest"]
        assert (expected.file_count, expected.total_bytes) == (receipt["file_count"], receipt["total_bytes"])
        events = server.ask("GET", f"/events?subject={package_id}", token="reader").json["events"]
        assert event_types(embedded) == [event["type"] for event in events]
        assert {"token:writer"} == {event["actor"] for event in events}
        assert [] == verify_package(served, package_id).damage
        replay_is_exact(served)
    finally:
        embedded.close()
        served.close()
    assert files == fetched(server, package_id, files)


def test_the_package_takes_its_retention_and_metadata_from_the_opening(server: Server) -> None:
    receipt = push(server, {"a": b"x"}, external_id=unique(), retention_class="transient", metadata={"n": 1, "a": [2]})

    found = server.ask("GET", f"/packages/{receipt['package_id']}", token="reader").json

    assert ("transient", {"n": 1, "a": [2]}) == (found["retention_class"], found["metadata"])


def test_a_package_without_files_can_be_recorded(server: Server) -> None:
    for package_id in (opened(server, {}, external_id=unique()), opened(server, external_id=unique())):
        receipt = finalize(server, package_id)

        assert (200, 0, 0) == (receipt.status, receipt.json["file_count"], receipt.json["total_bytes"])


# one file at a time


def test_a_file_sent_again_is_answered_as_being_there(server: Server) -> None:
    package_id = opened(server)

    first, second = (put(server, package_id, "a", b"one") for _ in range(2))

    assert (201, 200) == (first.status, second.status)
    assert first.json == second.json


def test_a_path_with_other_content_is_taken_and_keeps_its_first_content(server: Server) -> None:
    package_id = opened(server, external_id=unique())
    put(server, package_id, "a", b"one")

    refused = put(server, package_id, "a", b"two")
    archived = send_zip(server, package_id, zipped({"b": b"new", "a": b"two"}))

    assert (409, "PATH_TAKEN") == problem(refused) == problem(archived)
    assert ["a"] == places(archived)
    assert 1 == finalize(server, package_id).json["file_count"]
    assert {"a": b"one"} == fetched(server, package_id, ["a"])


def test_role_and_media_type_may_be_said_of_a_file_that_was_not_declared(server: Server) -> None:
    package_id = opened(server)

    put(server, package_id, "a.txt", b"one", query="?role=report&media_type=text/markdown")
    put(server, package_id, "b.txt", b"two")
    finalize(server, package_id)

    files = server.ask("GET", f"/packages/{package_id}/files", token="reader").json["files"]
    assert [("report", "text/markdown"), (DEFAULT_ROLE, "text/plain")] == [(f["role"], f["media_type"]) for f in files]


def test_a_declared_role_and_media_type_stay_whatever_is_said_with_the_bytes(server: Server) -> None:
    file = {"path": "a.txt", "size": 3, "blake3": blake3_of(b"one"), "sha256": sha256_of(b"one")}
    body = {"producer": "p", "files": [{**file, "role": "report", "media_type": "text/markdown"}]}
    package_id = server.ask("POST", "/packages", token="writer", json_body=body).json["package_id"]

    put(server, package_id, "a.txt", b"one", query="?role=other&media_type=text/html")
    finalize(server, package_id)

    (found,) = server.ask("GET", f"/packages/{package_id}/files", token="reader").json["files"]
    assert ("report", "text/markdown") == (found["role"], found["media_type"])


@pytest.mark.parametrize("query", ["?role=No%20Slug", "?media_type=nonsense", "?media_type=a/b%0d%0aX:y"])
def test_a_bad_role_or_media_type_is_refused(server: Server, query: str) -> None:
    package_id = opened(server)

    answer = put(server, package_id, "a", b"one", query=query)

    assert (400, "PACKAGE_INVALID") == problem(answer)
    assert 0 == finalize(server, package_id).json["file_count"]


@pytest.mark.parametrize("path", ["../a", "/a", "a//b", "a/", "a\\b", "C:/a", "a/./b", "n" * 1025])
def test_a_bad_path_is_refused(server: Server, path: str) -> None:
    package_id = opened(server)

    answer = server.ask("PUT", f"/packages/{package_id}/files/" + "".join(f"%{b:02x}" for b in path.encode()),
                        token="writer", body=b"one")  # fmt: skip

    assert (400, "PATH_INVALID") == problem(answer)


@pytest.mark.parametrize("path", ["a%01b", "a%0ab", "a%00b", "a%7fb"])
def test_a_path_with_a_control_character_is_refused(server: Server, path: str) -> None:
    package_id = opened(server)

    answer = server.ask("PUT", f"/packages/{package_id}/files/{path}", token="writer", body=b"one")

    assert answer.status in {400, 404}
    assert 0 == finalize(server, package_id).json["file_count"]


def test_a_path_that_is_not_utf8_is_not_stored_under_another_name(server: Server) -> None:
    package_id = opened(server)

    answer = server.ask("PUT", f"/packages/{package_id}/files/a%ff", token="writer", body=b"one")

    assert 400 == answer.status
    assert 0 == finalize(server, package_id).json["file_count"]


def test_announced_sha256_is_compared(server: Server) -> None:
    package_id = opened(server)
    right, wrong = (base64.b64encode(sha256(data).digest()).decode() for data in (b"one", b"two"))

    refused = put(server, package_id, "a", b"one", headers={"Repr-Digest": f"sha-256=:{wrong}:"})
    taken = put(server, package_id, "b", b"one", headers={"Repr-Digest": f"sha-256=:{right}:"})

    assert (400, "DIGEST_MISMATCH") == problem(refused)
    assert 201 == taken.status
    assert 1 == finalize(server, package_id).json["file_count"]


@pytest.mark.parametrize(
    "header", ["", "sha-256=:AAAA:", "sha-512=:AAAA:", "sha-256=abc", "sha-256=:" + "=" * 44 + ":"]
)
def test_an_announcement_that_is_none_is_refused(server: Server, header: str) -> None:
    package_id = opened(server)

    answer = put(server, package_id, "a", b"one", headers={"Repr-Digest": header})

    assert (400, "REQUEST_INVALID") == problem(answer)


def test_bytes_that_were_not_declared_are_refused_however_they_come(server: Server) -> None:
    data = some_bytes(5, hash(unique()))
    package_id = opened(server, {"a": data})

    answers = [
        put(server, package_id, "a", bytes(5)),
        put(server, package_id, "a", data[:4]),
        put(server, package_id, "a", data + b"!"),
        send_zip(server, package_id, zipped({"a": bytes(5)})),
        begin_upload(server, package_id, "a", 6),
    ]

    assert [(400, "DIGEST_MISMATCH")] * 5 == [problem(answer) for answer in answers]
    assert [blake3_of(data)] == missing(server, package_id)["missing"]
    assert 201 == put(server, package_id, "a", data).status


def test_a_file_that_was_not_declared_is_refused_however_it_comes(server: Server) -> None:
    files = fresh_files(1)
    package_id = opened(server, files)

    answers = [
        put(server, package_id, "b", b"x"),
        send_zip(server, package_id, zipped({**files, "b": b"x"})),
        begin_upload(server, package_id, "b", 1),
    ]

    assert [(404, "FILE_UNKNOWN")] * 3 == [problem(answer) for answer in answers]
    assert [blake3_of(*files.values())] == missing(server, package_id)["missing"]


# forms


def form_of(*parts: tuple[bytes, bytes], boundary: bytes = b"X") -> bytes:
    pieces = [
        b"--" + boundary + b'\r\nContent-Disposition: form-data; name="' + name + b'"; filename="f"\r\n\r\n' + data
        for name, data in parts
    ]
    return b"\r\n".join([*pieces, b"--" + boundary + b"--\r\n"])


def send_form(
    server: Server, package_id: str, body: bytes, content_type: str = "multipart/form-data; boundary=X"
) -> Answer:
    headers = {"Content-Type": content_type}
    return server.ask("POST", f"/packages/{package_id}/files", token="writer", headers=headers, body=body)


def test_a_form_answers_each_of_its_files(server: Server) -> None:
    package_id = opened(server)
    data = b"line\r\n--Y nearly a boundary\r\n" * 30_000

    answer = send_form(server, package_id, form_of((b"a/b.txt", data), ("größe".encode(), b"")))

    assert 200 == answer.status
    assert [("a/b.txt", len(data), blake3_of(data)), ("größe", 0, blake3_of(b""))] == [
        (file["path"], file["size"], file["blake3"]) for file in answer.json["files"]
    ]


def test_an_empty_form_has_no_files(server: Server) -> None:
    answer = send_form(server, opened(server), b"--X--\r\n")

    assert (200, []) == (answer.status, answer.json["files"])


BROKEN_FORMS = {
    "cut in a part": form_of((b"a", b"one"), (b"b", b"two" * 50))[:-60],
    "cut before its last boundary": form_of((b"a", b"one"))[:-8],
    "no name": form_of((b"a", b"one")).replace(b'; name="a"', b""),
    "no disposition": form_of((b"a", b"one")).replace(b"Content-Disposition", b"X-Other"),
    "not form-data": form_of((b"a", b"one")).replace(b"form-data", b"attachment"),
    "name not in UTF-8": form_of((b"\xff", b"one")),
    "another boundary": form_of((b"a", b"one"), boundary=b"Y"),
    "nothing": b"",
    "bytes before": b"preamble" + form_of((b"a", b"one")),
}


@pytest.mark.parametrize("broken", BROKEN_FORMS)
def test_a_broken_form_is_refused(server: Server, broken: str) -> None:
    package_id = opened(server)

    answer = send_form(server, package_id, BROKEN_FORMS[broken])

    assert (400, "REQUEST_INVALID") == problem(answer)
    assert finalize(server, package_id).json["file_count"] == (1 if broken == "cut in a part" else 0)


@pytest.mark.parametrize("name", [b"../a", b"", b"a//b", b"a\\b"])
def test_a_form_with_a_bad_path_is_refused(server: Server, name: bytes) -> None:
    answer = send_form(server, opened(server), form_of((name, b"one")))

    assert (400, "PATH_INVALID") == problem(answer)


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=" + "x" * 71])
def test_a_form_without_a_boundary_is_refused(server: Server, content_type: str) -> None:
    answer = send_form(server, opened(server), form_of((b"a", b"one")), content_type)

    assert (400, "REQUEST_INVALID") == problem(answer)


def test_a_flood_of_headers_in_a_form_is_refused(server: Server) -> None:
    flood = b"".join(b"X-%d: y\r\n" % number for number in range(5_000))
    body = form_of((b"a", b"one")).replace(b"Content-Disposition", flood + b"Content-Disposition")

    answer = send_form(server, opened(server), body)

    assert (400, "REQUEST_INVALID") == problem(answer)
    assert "header" in answer.json["detail"]


@pytest.mark.parametrize(
    ("method", "path", "right"),
    [("POST", "packs", "application/zip"), ("POST", "files", "multipart/form-data"),
     ("PATCH", "uploads/x", "application/partial-upload"), ("POST", "uploads", "application/json")],
)  # fmt: skip
@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", ""])
def test_a_body_of_another_type_is_refused(
    server: Server, method: str, path: str, right: str, content_type: str
) -> None:
    headers = {"Content-Type": content_type, "Upload-Offset": "0"}

    answer = server.ask(method, f"/packages/{opened(server)}/{path}", token="writer", headers=headers, body=b"x")

    assert (415, "MEDIA_TYPE_UNSUPPORTED") == problem(answer)
    assert right in answer.json["detail"]


# finalize


def test_finalize_names_the_declared_files_that_have_not_arrived(server: Server) -> None:
    files = fresh_files(4)
    package_id = opened(server, files)
    (arrived, data), *others = files.items()
    put(server, package_id, arrived, data)

    refused = finalize(server, package_id)
    send_zip(server, package_id, zipped(dict(others)))
    done = finalize(server, package_id)

    assert (409, "PACKAGE_INCOMPLETE") == problem(refused)
    assert sorted(path for path, _ in others) == places(refused)
    assert (200, 4) == (done.status, done.json["file_count"])


def test_finalize_answers_the_same_receipt_each_time(server: Server) -> None:
    package_id = opened(server, FILES, external_id=unique())
    send_zip(server, package_id, zipped(FILES))

    receipts = [finalize(server, package_id).body for _ in range(3)]

    assert 1 == len(set(receipts))
    state = missing(server, package_id)
    assert ("finalized", None, []) == (state["status"], state["expires_at"], state["missing"])
    assert finalize(server, package_id).json == state["receipt"]


def test_paths_that_are_file_and_directory_at_once_are_refused_at_the_end(server: Server) -> None:
    package_id = opened(server)
    put(server, package_id, "a", b"one")
    put(server, package_id, "a/b", b"two")

    answer = finalize(server, package_id)

    assert (400, "PATH_INVALID") == problem(answer)
    assert ["'a'"] == places(answer)


def test_the_same_content_again_is_answered_with_the_package_that_has_it(server: Server) -> None:
    files = fresh_files()
    first = push(server, files)
    package_id = opened(server)
    send_zip(server, package_id, zipped(files))

    second = finalize(server, package_id).json

    assert (first["package_id"], True) == (second["package_id"], second["reused_existing"])
    assert finalize(server, package_id).json == second
    assert 404 == server.ask("GET", f"/packages/{package_id}", token="reader").status


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "packs"), ("PUT", "files/x"), ("POST", "files"), ("POST", "uploads"), ("DELETE", "")],
)
def test_a_finalized_package_takes_nothing_more(server: Server, method: str, path: str) -> None:
    package_id = push(server, fresh_files())["package_id"]
    types = {"packs": "application/zip", "files": "multipart/form-data; boundary=X"}
    headers = {"Content-Type": types.get(path, "application/json")}
    body = {"packs": zipped({"x": b""}), "files": form_of((b"x", b""))}.get(path, b'{"path": "x", "size": 0}')

    answer = server.ask(method, f"/packages/{package_id}/{path}".rstrip("/"), token="writer", headers=headers,
                        body=None if method == "DELETE" else body)  # fmt: skip

    assert (409, "PACKAGE_STATE") == problem(answer)


def test_an_unknown_package_is_unknown_to_every_request(server: Server) -> None:
    asked = [("GET", "missing"), ("POST", "packs"), ("PUT", "files/a"), ("POST", "files"), ("POST", "uploads"),
             ("HEAD", "uploads/x"), ("PATCH", "uploads/x"), ("DELETE", "uploads/x"), ("POST", "finalize")]  # fmt: skip

    statuses = {
        (method, path): server.ask(method, f"/packages/no-such/{path}", token="writer").status for method, path in asked
    }

    assert dict.fromkeys(asked, 404) == statuses


@pytest.mark.parametrize("token", ["other", "reader", "other-reader"])
def test_an_open_package_is_not_there_for_others(server: Server, token: str) -> None:
    package_id = opened(server)

    answers = [finalize(server, package_id, token=token), put(server, package_id, "a", b"x", token=token),
               server.ask("GET", f"/packages/{package_id}", token=token)]  # fmt: skip

    assert [(404, "PACKAGE_UNKNOWN")] * 3 == [problem(answer) for answer in answers]


def test_an_open_package_is_there_for_who_opened_it_and_for_admin(server: Server) -> None:
    package_id = opened(server)

    for token in ("writer", "admin"):
        answer = server.ask("GET", f"/packages/{package_id}", token=token)

        assert (200, "open") == (answer.status, answer.json["status"])
    assert 200 == finalize(server, package_id, token="admin").status


def test_pushing_for_another_producer_is_forbidden(server: Server) -> None:
    assert (403, "FORBIDDEN") == problem(open_(server, producer="q"))
    assert (403, "FORBIDDEN") == problem(open_(server, token="reader"))


# many at once


@pytest.mark.parametrize("workers", [1, 2])
def test_many_clients_that_push_at_once_meet_no_lock(tmp_path: Path, workers: int) -> None:
    """SQLite has one writer at a time; whoever waits is not told of it."""
    with serving(tmp_path / "home", "--workers", str(workers)) as own_server:
        names = [f"run-{client}-{number}" for client in range(CLIENTS) for number in range(PUSHES_A_CLIENT)]

        def client(number: int) -> list[int]:
            mine = names[number * PUSHES_A_CLIENT : (number + 1) * PUSHES_A_CLIENT]
            return [
                push(own_server, {"name": name.encode(), "same": b"same"}, external_id=name)["revision"]
                for name in mine
            ]

        with ThreadPoolExecutor(CLIENTS) as pool:
            revisions = list(pool.map(client, range(CLIENTS)))

        assert [[1] * PUSHES_A_CLIENT] * CLIENTS == revisions
        assert set(names) == set(check_store(own_server))
    assert [] == [line for line in own_server.log if "locked" in line or "defect" in line or "Traceback" in line]
