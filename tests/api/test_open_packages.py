"""Opening a package: what is missing, what is refused before a byte is sent, limits, preflight, giving up."""

from __future__ import annotations

import itertools
import json
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.domain.instant import Instant
from artifactstore.registry.ingest import ingest
from artifactstore.registry.retention import sweep
from artifactstore.testing.builders import package_draft, some_bytes
from tests.api.pushing import (
    FILES,
    all_declared,
    answer_on,
    begin_upload,
    blake3_of,
    connected,
    declared,
    finalize,
    fresh_files,
    head,
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

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.service import Server

MAX_FILES = 5


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that takes five files a package."""
    home = tmp_path_factory.mktemp("small") / "home"
    with serving(home, environment={"ARTIFACTSTORE_MAX_FILES": str(MAX_FILES)}) as running:
        yield running


# what is missing


def test_missing_names_each_blob_once_in_path_order(server: Server) -> None:
    first, second, third = fresh_files(3).values()
    files = {"z": first, "a": second, "m/n": third, "m/copy": first}

    answer = open_(server, files)

    assert (201, "open") == (answer.status, answer.json["status"])
    assert [blake3_of(data) for data in (second, first, third)] == answer.json["missing"]
    assert answer.json == missing(server, answer.json["package_id"])


def test_missing_shrinks_as_files_arrive(server: Server) -> None:
    files = fresh_files(4)
    package_id = opened(server, files)
    expected = [blake3_of(files[path]) for path in sorted(files)]

    for path in sorted(files):
        assert expected == missing(server, package_id)["missing"]
        put(server, package_id, path, files[path])
        expected.pop(0)

    assert [] == missing(server, package_id)["missing"]


def test_a_blob_that_is_there_twice_is_sent_once(server: Server) -> None:
    data = some_bytes(400, hash(unique()))
    package_id = opened(server, {"one": data, "two": data})

    send_zip(server, package_id, zipped({"two": data}))
    receipt = finalize(server, package_id)

    assert (200, 2, 800) == (receipt.status, receipt.json["file_count"], receipt.json["total_bytes"])


def test_what_a_readable_package_has_is_not_asked_for(server: Server) -> None:
    old, new = fresh_files(3), fresh_files(2)
    push(server, old)

    state = open_(server, {**{f"old/{path}": data for path, data in old.items()}, **new}).json
    send_zip(server, state["package_id"], zipped(new))
    receipt = finalize(server, state["package_id"])

    assert sorted(map(blake3_of, new.values())) == sorted(state["missing"])
    assert (200, 5) == (receipt.status, receipt.json["file_count"])


def test_what_only_another_producer_has_is_asked_for_and_does_not_show(server: Server) -> None:
    files = fresh_files(3)
    push(server, files, token="other", producer="q")

    state = open_(server, files).json
    refused = finalize(server, state["package_id"])
    send_zip(server, state["package_id"], zipped(files))
    receipt = finalize(server, state["package_id"]).json

    assert [blake3_of(files[path]) for path in sorted(files)] == state["missing"]
    assert (409, "PACKAGE_INCOMPLETE") == problem(refused)
    assert (False, 3) == (receipt["reused_existing"], receipt["file_count"])
    assert receipt["stored_bytes"] >= 1500, "what was not stored anew shows that others have it"


def test_what_another_open_package_was_sent_is_asked_for(server: Server) -> None:
    files = fresh_files(2)
    send_zip(server, opened(server, files), zipped(files))

    assert 2 == len(open_(server, files).json["missing"])


def test_an_upload_that_was_begun_is_listed_with_where_it_stands(server: Server) -> None:
    package_id = opened(server)
    begun = begin_upload(server, package_id, "big", 100).json

    assert [begun] == missing(server, package_id)["uploads"]
    assert {"upload_id": begun["upload_id"], "path": "big", "offset": 0, "size": 100} == begun


# content that is known


@pytest.mark.parametrize("named", [True, False], ids=["with an external id", "without"])
def test_unchanged_content_is_answered_with_its_receipt_and_nothing_is_sent(server: Server, named: bool) -> None:
    files, name = fresh_files(), {"external_id": unique()} if named else {}
    first = push(server, files, **name)

    again = open_(server, files, **name)

    assert (200, "finalized", []) == (again.status, again.json["status"], again.json["missing"])
    assert {**first, "reused_existing": True, "stored_bytes": 0} == again.json["receipt"]
    assert first["package_id"] == again.json["package_id"]


def test_changed_content_is_refused_when_it_is_declared(server: Server) -> None:
    external_id, files = unique(), fresh_files()
    push(server, files, external_id=external_id)
    path = min(files)

    answer = open_(server, {**files, path: b"changed", "new": b""}, external_id=external_id)

    assert (409, "RUN_CHANGED") == problem(answer)
    assert [{"where": path, "what": "changed"}, {"where": "new", "what": "added"}] == sorted(
        answer.json["problems"], key=lambda each: each["where"]
    )


def test_changed_content_that_was_not_declared_is_refused_at_finalize(server: Server) -> None:
    external_id, files = unique(), fresh_files()
    push(server, files, external_id=external_id)
    package_id = opened(server, external_id=external_id)
    send_zip(server, package_id, zipped({**files, "new": b""}))

    answers = [finalize(server, package_id) for _ in range(2)]

    assert [(409, "RUN_CHANGED")] * 2 == [problem(answer) for answer in answers]
    assert [["new"]] * 2 == [places(answer) for answer in answers]
    assert "open" == missing(server, package_id)["status"]


def test_a_run_that_was_recorded_in_between_is_refused_at_finalize(server: Server) -> None:
    external_id, files, others = unique(), fresh_files(), fresh_files()
    package_id = opened(server, files, external_id=external_id)
    send_zip(server, package_id, zipped(files))
    push(server, others, external_id=external_id)

    assert (409, "RUN_CHANGED") == problem(finalize(server, package_id))


def test_changed_content_becomes_the_next_revision_if_that_is_asked_for(server: Server) -> None:
    external_id = unique()
    receipts = [push(server, fresh_files(), external_id=external_id, revision=True) for _ in range(3)]

    found = server.ask("GET", f"/packages/{receipts[2]['package_id']}", token="reader").json

    assert [1, 2, 3] == [receipt["revision"] for receipt in receipts]
    assert receipts[1]["package_id"] == found["supersedes"]


def test_a_revision_without_change_is_the_package_that_is_there(server: Server) -> None:
    external_id, files = unique(), fresh_files()
    first = push(server, files, external_id=external_id)

    second = push(server, files, external_id=external_id, revision=True)

    assert (first["package_id"], 1, True) == (second["package_id"], second["revision"], second["reused_existing"])


# what is refused before a byte is sent


@pytest.fixture(scope="module")
def schema(server: Server) -> str:
    slug = "push.test.v1"
    shape = {
        "type": "object",
        "properties": {"branch": {}, "n": {"type": "integer"}, "tags": {"type": "array", "items": {"type": "string"}}},
        "required": ["branch"],
        "additionalProperties": False,
    }
    body = {"slug": slug, "json_schema": shape}
    assert 201 == server.ask("POST", "/metadata-schemas", json_body=body).status
    return slug


def test_every_violation_of_the_schema_is_named_by_its_pointer(server: Server, schema: str) -> None:
    metadata = {"n": "one", "tags": ["a", 2, 3], "more": 1}

    answer = open_(server, schema=schema, metadata=metadata)

    assert (400, "METADATA_INVALID") == problem(answer)
    assert {"/n", "/tags/1", "/tags/2"} <= set(places(answer))
    assert 5 == len(answer.json["problems"])


def test_metadata_that_keeps_to_its_schema_is_taken(server: Server, schema: str) -> None:
    assert 201 == open_(server, schema=schema, metadata={"branch": "main", "n": 1}).status


@pytest.mark.parametrize(
    ("package", "status", "code", "where"),
    [
        ({"schema": "push.test.none"}, 400, "PACKAGE_INVALID", ["metadata"]),
        ({"schema": "push.test.none", "metadata": {}}, 404, "SCHEMA_UNKNOWN", []),
        ({"retention_class": "for-a-while"}, 400, "RETENTION_INVALID", []),
        ({"external_id": "a\nb"}, 400, "PACKAGE_INVALID", ["external_id"]),
        ({"external_id": "", "subject": " "}, 400, "PACKAGE_INVALID", ["external_id", "subject"]),
        ({"revision": "yes"}, 400, "REQUEST_INVALID", ["/revision"]),
        ({"package_id": "mine", "status": "finalized"}, 400, "REQUEST_INVALID", ["/package_id", "/status"]),
    ],
)
def test_a_description_that_cannot_be_recorded_is_refused(
    server: Server, package: dict[str, object], status: int, code: str, where: list[str]
) -> None:
    answer = open_(server, **package)

    assert (status, code, where) == (*problem(answer), places(answer))


def declaring(*files: dict[str, object]) -> dict[str, object]:
    return {"producer": "p", "files": list(files)}


ONE = declared("a", b"one")


@pytest.mark.parametrize(
    ("files", "status", "code", "where"),
    [
        ([declared("../a", b""), declared("b//c", b""), declared("d", b"")], 400, "PATH_INVALID", ["'../a'", "'b//c'"]),
        ([ONE, ONE], 400, "PATH_INVALID", ["'a'"]),
        ([ONE, declared("a/b", b"two")], 400, "PATH_INVALID", ["'a'"]),
        ([declared("a", b"", role="No Slug")], 400, "PACKAGE_INVALID", ["role of a"]),
        ([declared("a", b"", media_type="text")], 400, "PACKAGE_INVALID", ["media type of a"]),
        ([declared("a", b"", media_type="text/plain\r\nX: y")], 400, "PACKAGE_INVALID", ["media type of a"]),
        ([declared("a", b"", size=-1)], 400, "REQUEST_INVALID", ["/files/0/size"]),
        ([declared("a", b"", size=True)], 400, "REQUEST_INVALID", ["/files/0/size"]),
        ([declared("a", b"", size=2**41)], 413, "LIMIT_EXCEEDED", ["a"]),
        ([declared("a", b"", blake3="blake3:" + "0" * 63)], 400, "REQUEST_INVALID", ["/files/0/blake3"]),
        ([declared("a", b"", sha256=blake3_of(b""))], 400, "REQUEST_INVALID", ["/files/0/sha256"]),
        ([{"path": "a", "size": 0}], 400, "REQUEST_INVALID", ["/files/0/blake3", "/files/0/sha256"]),
    ],
)
def test_a_declaration_that_breaks_a_rule_is_refused(
    server: Server, files: list[dict[str, object]], status: int, code: str, where: list[str]
) -> None:
    answer = server.ask("POST", "/packages", token="writer", json_body=declaring(*files))

    assert (status, code, where) == (*problem(answer), places(answer))


@pytest.mark.parametrize("wrong", [{"size": 4}, {"sha256": sha256_of(b"x")}])
def test_two_declarations_of_one_address_with_other_facts_are_refused(server: Server, wrong: dict[str, object]) -> None:
    body = declaring(ONE, declared("b", b"one", **wrong))

    answer = server.ask("POST", "/packages", token="writer", json_body=body)

    assert (400, "DIGEST_MISMATCH") == problem(answer)


@pytest.mark.parametrize("wrong", [{"size": 4}, {"sha256": sha256_of(b"x")}])
def test_a_wrong_declaration_of_what_is_present_is_refused_at_once(server: Server, wrong: dict[str, object]) -> None:
    (data,), external_id = fresh_files(1).values(), unique()
    push(server, {"a": data})
    body = {**declaring(declared("b", data, **wrong)), "external_id": external_id}

    answer = server.ask("POST", "/packages", token="writer", json_body=body)

    assert ((400, "DIGEST_MISMATCH"), ["b"]) == (problem(answer), places(answer))
    found = server.ask("GET", f"/packages?status=open&external_id={external_id}", token="writer").json
    assert [] == found["packages"], "a refused opening has opened a package"


@pytest.mark.parametrize("wrong", [{"size": 4}, {"sha256": sha256_of(b"x")}])
def test_a_wrong_declaration_of_what_others_have_is_refused_when_the_bytes_come(
    server: Server, wrong: dict[str, object]
) -> None:
    """Not before: that would tell that they have it."""
    (data,) = fresh_files(1).values()
    push(server, {"a": data}, token="other", producer="q")
    told = declaring(declared("b", data, **wrong))

    answer = server.ask("POST", "/packages", token="writer", json_body=told)
    sent = put(server, answer.json["package_id"], "b", data)

    assert (201, [blake3_of(data)]) == (answer.status, answer.json["missing"])
    assert (400, "DIGEST_MISMATCH") == problem(sent)
    assert (409, "PACKAGE_INCOMPLETE") == problem(finalize(server, answer.json["package_id"]))


WRONG_FACTS = {
    "size": {"size": 9},
    "sha256": {"sha256": sha256_of(b"x")},
    "blake3": {"blake3": blake3_of(b"x")},
    "both": {"sha256": sha256_of(b"x"), "blake3": blake3_of(b"x")},
}


@pytest.mark.parametrize("wrong", WRONG_FACTS)
@pytest.mark.parametrize("way", ["zip", "put"])
def test_bytes_that_are_not_as_declared_are_refused(server: Server, wrong: str, way: str) -> None:
    data = some_bytes(10, hash(unique()))
    facts = dict(WRONG_FACTS[wrong])
    for name in {"sha256", "blake3"} & facts.keys():
        facts[name] = f"{name}:{hash(unique()) & (2**64 - 1):064x}"
    body = declaring(declared("a", data, **facts))
    package_id = server.ask("POST", "/packages", token="writer", json_body=body).json["package_id"]

    answer = put(server, package_id, "a", data) if way == "put" else send_zip(server, package_id, zipped({"a": data}))

    assert (400, "DIGEST_MISMATCH") == problem(answer)
    assert 1 == len(missing(server, package_id)["missing"])


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"p"', b"\xff", b'{"producer": "p", "producer": "q"}', b"NaN",
                                  b"[" * 100_000, b'{"producer": "p", "metadata": {"a": 1e999}}'])  # fmt: skip
def test_a_body_that_is_no_json_object_is_refused(server: Server, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}

    answer = server.ask("POST", "/packages", token="writer", headers=headers, body=body)

    assert 400 == problem(answer)[0]


# limits


def test_declaring_too_many_files_is_refused(small_server: Server) -> None:
    answer = open_(small_server, fresh_files(MAX_FILES + 1))

    assert (413, "LIMIT_EXCEEDED") == problem(answer)


def test_an_archive_or_a_form_of_too_many_files_is_refused(small_server: Server) -> None:
    package_id = opened(small_server)

    answer = send_zip(small_server, package_id, zipped(fresh_files(MAX_FILES + 1)))

    assert (413, "LIMIT_EXCEEDED") == problem(answer)


def test_too_many_files_sent_one_by_one_are_refused(small_server: Server) -> None:
    package_id = opened(small_server)
    for number in range(MAX_FILES):
        assert 201 == put(small_server, package_id, f"f{number}", b"x").status

    one_more = put(small_server, package_id, "one-more", b"x")

    assert (413, "LIMIT_EXCEEDED") == problem(one_more)
    assert (200, MAX_FILES) == ((done := finalize(small_server, package_id)).status, done.json["file_count"])


def test_too_many_files_in_several_archives_are_refused(small_server: Server) -> None:
    package_id = opened(small_server)
    assert 200 == send_zip(small_server, package_id, zipped(fresh_files(MAX_FILES))).status

    answer = send_zip(small_server, package_id, zipped({"x/1": b"", "x/2": b""}))

    assert (413, "LIMIT_EXCEEDED") == problem(answer)
    assert (200, MAX_FILES) == ((done := finalize(small_server, package_id)).status, done.json["file_count"])


def test_as_many_files_as_are_allowed_are_taken(small_server: Server) -> None:
    assert MAX_FILES == push(small_server, fresh_files(MAX_FILES))["file_count"]


@pytest.mark.parametrize("path", ["/packages/ID/uploads", "/packages"])
def test_a_json_body_that_says_it_is_too_large_is_refused_before_it_comes(server: Server, path: str) -> None:
    target = path.replace("ID", opened(server))
    with connected(server) as connection:
        connection.sendall(head(server, "POST", target, Content_Type="application/json", Content_Length=2**40) + b"{")

        status, body = answer_on(connection)

    assert (413, "LIMIT_EXCEEDED") == (status, json.loads(body)["code"])


def test_a_json_body_that_grows_too_large_is_answered_while_it_is_still_sent(server: Server) -> None:
    """As a problem document, not as a connection that breaks under the sender."""
    pieces = itertools.chain([b'{"path": "'], itertools.repeat(b"x" * 65536, 64), [b'", "size": 1}'])
    headers = {"Content-Type": "application/json"}

    answer = server.ask("POST", f"/packages/{opened(server)}/uploads", token="writer", headers=headers, body=pieces)

    assert (413, "LIMIT_EXCEEDED") == problem(answer)


def test_a_body_may_not_be_longer_than_it_says(server: Server) -> None:
    """What is beyond is no part of it; it is taken for the next request, which it is not."""
    package_id = opened(server)
    with connected(server) as connection:
        connection.sendall(head(server, "PUT", f"/packages/{package_id}/files/a", Content_Length=3) + b"onetwo\r\n\r\n")

        closed = connection.recv(65536)

    assert b"" == closed or closed.startswith(b"HTTP/1.1 201")
    done = finalize(server, package_id).json
    assert (done["file_count"], done["total_bytes"]) in {(0, 0), (1, 3)}


def test_a_body_that_is_shorter_than_it_says_is_not_kept(server: Server) -> None:
    package_id = opened(server)
    with connected(server) as connection:
        connection.sendall(head(server, "PUT", f"/packages/{package_id}/files/a", Content_Length=9) + b"one")

    assert 0 == finalize(server, package_id).json["file_count"]


def test_an_entry_of_an_archive_has_a_limit(server: Server) -> None:
    package_id = opened(server)

    answer = send_zip(server, package_id, zipped({"small": b"x", "large": bytes(16 * 2**20 + 1)}))

    assert (413, "LIMIT_EXCEEDED") == problem(answer)
    assert 0 == finalize(server, package_id).json["file_count"]


# preflight


def preflight(server: Server, body: object, token: str = "writer") -> object:
    answer = server.ask("POST", "/packages:preflight", token=token, json_body=body)
    assert answer.status == 200, answer.body
    return answer.json


def test_preflight_without_obstacles_says_so_with_the_limits(server: Server) -> None:
    found = preflight(server, {"producer": "p", "files": [{"path": "a", "size": 1}]})

    limits = {
        "max_files": 1_000_000, "max_file_bytes": 2**40, "pack_threshold_bytes": 2**20, "max_payload_bytes": 2**16,
    }  # fmt: skip
    assert {"ok": True, "problems": [], "limits": limits, "quota": None} == found


def test_preflight_names_every_obstacle_at_once(small_server: Server) -> None:
    files = [{"path": f"f{number}", "size": 0} for number in range(MAX_FILES)]
    bad = [{"path": "a/../b", "size": 0}, {"path": "large", "size": 2**41}, {"path": "f0", "size": 1}]

    found = preflight(small_server, {"producer": "q", "schema": "no.such", "metadata": {}, "files": [*files, *bad]})

    assert found["ok"] is False
    assert {
        ("FORBIDDEN", ""),
        ("LIMIT_EXCEEDED", ""),
        ("PATH_INVALID", "'a/../b'"),
        ("PATH_INVALID", "'f0'"),
        ("LIMIT_EXCEEDED", "large"),
        ("SCHEMA_UNKNOWN", ""),
    } == {(each["code"], each["where"]) for each in found["problems"]}
    assert MAX_FILES == found["limits"]["max_files"]


def test_preflight_finds_violations_of_the_schema(server: Server, schema: str) -> None:
    found = preflight(server, {"producer": "p", "schema": schema, "metadata": {"branch": "main", "n": "x"}})

    assert [("METADATA_INVALID", "/n")] == [(each["code"], each["where"]) for each in found["problems"]]


@pytest.mark.parametrize("token", ["reader", "other"])
def test_preflight_tells_who_may_not_push(server: Server, token: str) -> None:
    found = preflight(server, {"producer": "p"}, token)

    assert [("FORBIDDEN", "")] == [(each["code"], each["where"]) for each in found["problems"]]


@pytest.mark.parametrize("token", ["reader", "other"])
def test_preflight_tells_nothing_of_the_storage_to_who_may_not_push(tmp_path: Path, token: str) -> None:
    with closing(open_registry(settings_of(tmp_path / "home"))) as registry:
        ingest(registry, package_draft())
    (tmp_path / "home" / "objects").rename(tmp_path / "unmounted")

    with serving(tmp_path / "home") as server:
        asked = [{"producer": "p", "backend": name} for name in ("default", "no-such")]
        found = {who: [preflight(server, body, who)["problems"] for body in asked] for who in (token, "writer")}

    codes = {who: [[each["code"] for each in problems] for problems in answers] for who, answers in found.items()}
    assert {token: [["FORBIDDEN"], ["FORBIDDEN"]], "writer": [["STORAGE_UNAVAILABLE"], ["BACKEND_UNKNOWN"]]} == codes


def test_preflight_leaves_nothing_behind(server: Server) -> None:
    external_id = unique()
    preflight(server, {"producer": "p", "external_id": external_id, "files": all_declared(FILES)})

    found = server.ask("GET", f"/packages?status=open&external_id={external_id}", token="admin").json

    assert [] == found["packages"]


# giving up


def test_an_open_package_that_is_given_up_is_gone(server: Server) -> None:
    package_id = opened(server, FILES)
    send_zip(server, package_id, zipped(FILES))

    answers = [server.ask("DELETE", f"/packages/{package_id}", token="writer").status for _ in range(2)]

    assert [204, 404] == answers
    assert (404, "PACKAGE_UNKNOWN") == problem(finalize(server, package_id))
    assert [] == server.ask("GET", f"/events?subject={package_id}", token="reader").json["events"]


def test_open_packages_are_listed_to_who_opened_them(server: Server) -> None:
    package_id = opened(server, FILES, external_id=unique())

    pages = {
        token: server.ask("GET", "/packages?status=open&limit=1000", token=token).json["packages"]
        for token in ("writer", "admin", "other", "reader")
    }

    seen = {token: package_id in {each["package_id"] for each in page} for token, page in pages.items()}
    assert {"writer": True, "admin": True, "other": False, "reader": False} == seen


def test_expired_content_is_refused_and_may_become_a_revision(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as server:
        package = {"external_id": "e", "retention_class": "transient"}
        first = push(server, FILES, **package)
        registry = server.registry()
        ten_days_later = registry.clock() + 10 * 24 * 60 * 60 * 1_000_000
        swept = sweep(replace(registry, clock=lambda: Instant(ten_days_later)))
        registry.close()

        refused = open_(server, FILES, **package)
        second = push(server, FILES, **package, revision=True)

        assert [first["package_id"]] == swept
        assert (409, "PACKAGE_EXPIRED") == problem(refused)
        assert (2, False) == (second["revision"], second["reused_existing"])
