"""What a caller may not see answers exactly as what is not there, and known bytes exactly as unknown ones."""

from __future__ import annotations

import io
import itertools
import json
import re
import zipfile
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import pytest
import urllib3
from blake3 import blake3

from artifactstore.domain.identifiers import new_uuid7
from tests.api.test_rights import TABLE
from tests.service import serving
from tests.support import flip_byte

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service import Answer, Server

ABOUT_A_PACKAGE = sorted(name for name in TABLE if "{package_id}" in name or "{file_id}" in name)
SECRET = b"what only p has"
FILTERS = {
    "producer": "p",
    "external_id": "hidden-run",
    "subject": "hidden-subject",
    "schema": "hidden.v1",
    "retention_class": "release-evidence",
    "digest": f"blake3:{blake3(SECRET).hexdigest()}",
    "metadata": "hidden-value",
}
_LASTING = {"date", "x-request-id"}


class Hidden:
    """A server with a recorded and an open package of producer p, which q's tokens may not see."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._numbers = itertools.count(1)
        schema = {"slug": "hidden.v1", "json_schema": {"type": "object"}}
        assert 201 == server.ask("POST", "/metadata-schemas", json_body=schema).status
        opening = {
            "producer": "p",
            "external_id": "hidden-run",
            "subject": "hidden-subject",
            "schema": "hidden.v1",
            "metadata": {"key": "hidden-value"},
            "retention_class": "release-evidence",
        }
        self.recorded = self.push("writer", opening, {"a.txt": SECRET})
        held = server.ask("POST", f"/packages/{self.recorded}/holds", token="writer", json_body={"reason": "r"})
        self.hold_id = held.json["hold_id"]
        opened = server.ask("POST", "/packages", token="writer", json_body={"producer": "p"})
        self.open = opened.json["package_id"]
        begun = server.ask(
            "POST", f"/packages/{self.open}/uploads", token="writer", json_body={"path": "up", "size": 5}
        )
        self.upload_id = begun.json["upload_id"]
        self.push("other", {"producer": "q", "external_id": "own-run"}, {"a.txt": b"what q has"})

    def push(self, token: str, opening: dict[str, Any], files: dict[str, bytes]) -> str:
        opened = self.server.ask("POST", "/packages", token=token, json_body=opening)
        package_id: str = opened.json["package_id"]
        for path, data in files.items():
            assert 201 == self.server.ask("PUT", f"/packages/{package_id}/files/{path}", token=token, body=data).status
        assert 200 == self.server.ask("POST", f"/packages/{package_id}/finalize", token=token).status
        return package_id

    def number(self) -> int:
        return next(self._numbers)

    def do(self, operation: str, package_id: str, token: str) -> object:
        """An operation's answer without what must differ: the id asked for and the request's own."""
        row = TABLE[operation]
        method, _, template = operation.partition(" ")
        path = template.format(
            package_id=package_id,
            file_id=f"{package_id}:0",
            path="a.txt",
            upload_id=self.upload_id,
            hold_id=self.hold_id,
        )
        body = row.body if row.json is None else json.dumps(row.json).encode()
        headers = row.headers if row.json is None else {"Content-Type": "application/json"}
        answer = self.server.ask(method, path, token=token, headers=headers, body=body)
        return impersonal(answer, package_id)


def impersonal(answer: Answer, *ids: str) -> object:
    text = answer.body.decode()
    for each in ids:
        text = text.replace(each, "<id>")
    text = text.replace(answer.headers["x-request-id"], "<request>")
    headers = sorted((name.lower(), value) for name, value in answer.headers.items() if name.lower() not in _LASTING)
    return answer.status, headers, text


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hidden]:
    with serving(tmp_path_factory.mktemp("visibility") / "home") as server:
        yield Hidden(server)


@pytest.mark.parametrize("token", ["other", "other-reader"])
@pytest.mark.parametrize("operation", ABOUT_A_PACKAGE)
def test_another_producers_package_answers_as_one_that_is_not_there(hidden: Hidden, operation: str, token: str) -> None:
    absent = hidden.do(operation, new_uuid7(), token)

    assert absent == hidden.do(operation, hidden.recorded, token)
    assert absent == hidden.do(operation, hidden.open, token)


@pytest.mark.parametrize("operation", ABOUT_A_PACKAGE)
def test_an_open_package_answers_everyone_who_did_not_open_it_as_one_that_is_not_there(
    hidden: Hidden, operation: str
) -> None:
    absent = hidden.do(operation, new_uuid7(), "reader")

    assert absent == hidden.do(operation, hidden.open, "reader")


@pytest.mark.parametrize("limit", [1, 100])
@pytest.mark.parametrize("name", sorted(FILTERS))
def test_no_filter_of_a_list_finds_a_hidden_package(hidden: Hidden, name: str, limit: int) -> None:
    value = FILTERS[name]
    asked = {"metadata_key": "key", "metadata_value": value} if name == "metadata" else {name: value}
    path = f"/packages?{urlencode({**asked, 'limit': limit})}"

    found = {token: hidden.server.ask("GET", path, token=token).json for token in ("writer", "other", "other-reader")}

    assert [hidden.recorded] == [package["package_id"] for package in found["writer"]["packages"]][:1]
    assert {"packages": [], "next_after": None} == found["other"] == found["other-reader"]


@pytest.mark.parametrize("limit", [1, 2, 100])
@pytest.mark.parametrize("status", ["", "&status=finalized", "&status=open", "&status=expired", "&status=deleted"])
def test_lists_have_what_the_caller_may_read_and_nothing_else(hidden: Hidden, status: str, limit: int) -> None:
    pages, after = [], ""
    while after is not None:
        cursor = f"&after={after}" if after else ""
        page = hidden.server.ask("GET", f"/packages?limit={limit}{status}{cursor}", token="other").json
        pages += page["packages"]
        after = page["next_after"]

    assert {"q"} >= {package["producer"] for package in pages}
    assert len(pages) == len({package["package_id"] for package in pages})


def test_an_open_package_is_in_no_list_but_its_openers(hidden: Hidden) -> None:
    listed = {
        token: [
            package["package_id"]
            for package in hidden.server.ask("GET", "/packages?status=open&limit=1000", token=token).json["packages"]
        ]
        for token in ("admin", "writer", "reader", "other")
    }

    assert hidden.open in listed["admin"]
    assert hidden.open in listed["writer"]
    assert [] == [package_id for package_id in listed["reader"] + listed["other"] if package_id == hidden.open]


@pytest.mark.parametrize("status", ["", "&status=finalized", "&status=open"])
def test_a_hidden_package_is_no_cursor(hidden: Hidden, status: str) -> None:
    absent_id = new_uuid7()
    path = f"/packages?limit=5{status}&after="

    absent = impersonal(hidden.server.ask("GET", path + absent_id, token="other"), absent_id)

    for hidden_id in (hidden.recorded, hidden.open):
        assert absent == impersonal(hidden.server.ask("GET", path + hidden_id, token="other"), hidden_id)


@pytest.mark.parametrize("payload", ["", "&payload=true"])
@pytest.mark.parametrize("limit", [1, 2, 1000])
@pytest.mark.parametrize("which", ["recorded", "open"])
def test_events_of_a_hidden_subject_are_events_of_none(hidden: Hidden, which: str, limit: int, payload: str) -> None:
    path = f"/events?limit={limit}{payload}&subject="
    hidden_id = getattr(hidden, which)

    absent = impersonal(hidden.server.ask("GET", path + new_uuid7(), token="other"))
    found = impersonal(hidden.server.ask("GET", path + hidden_id, token="other"))

    assert absent == found
    assert {"events": [], "next_after": None} == json.loads(found[2])  # type: ignore[index]


def test_pages_of_events_say_nothing_of_hidden_packages(hidden: Hidden) -> None:
    text, after = "", 0
    while after is not None:
        page = hidden.server.ask("GET", f"/events?limit=2&payload=true&after={after}", token="other")
        text, after = text + page.body.decode(), page.json["next_after"]

    assert "own-run" in text
    assert "hidden.v1" in text, "schemas are everyone's"
    for secret in (hidden.recorded, hidden.open, "hidden-run", "hidden-value", FILTERS["digest"][7:]):
        assert secret not in text


def test_the_stream_of_events_says_nothing_of_hidden_packages(hidden: Hidden) -> None:
    slug = f"end-of-stream.{hidden.number()}"
    registered = hidden.server.ask("POST", "/metadata-schemas", json_body={"slug": slug, "json_schema": {}})
    headers = {"Authorization": f"Bearer {hidden.server.tokens['other']}"}

    text = ""
    with urllib3.PoolManager(retries=False, timeout=30) as http:
        url = f"{hidden.server.url}/events/stream?after=0&payload=true"
        answer = http.request("GET", url, headers=headers, preload_content=False)
        while slug not in text:
            text += answer.readline().decode()
        answer.close()

    assert 201 == registered.status
    assert "own-run" in text
    for secret in (hidden.recorded, "hidden-run", "hidden-value", FILTERS["digest"][7:]):
        assert secret not in text


def test_damage_to_a_hidden_object_is_no_event_of_its_digest(hidden: Hidden) -> None:
    data = b"damaged and hidden" * 100_000
    package_id = hidden.push("writer", {"producer": "p", "external_id": "damaged"}, {"big.bin": data})
    digest = blake3(data).hexdigest()
    objects = [path for path in (hidden.server.home / "objects").rglob("*") if digest in path.name]
    flip_byte(objects[0], 5)
    verified = hidden.server.ask("POST", f"/packages/{package_id}/verification", token="writer")

    seen = {
        token: hidden.server.ask("GET", f"/events?limit=1&subject=blake3:{digest}", token=token).json
        for token in ("admin", "other")
    }

    assert "damaged" == verified.json["status"]
    assert 1 == len(seen["admin"]["events"])
    assert {"events": [], "next_after": None} == seen["other"]


def test_verifying_ones_own_package_names_no_other_that_shares_its_bytes(hidden: Hidden) -> None:
    data = b"damaged and shared" * 100_000
    theirs = hidden.push("writer", {"producer": "p", "external_id": "sharing-p"}, {"theirs.bin": data})
    own = hidden.push("other", {"producer": "q", "external_id": "sharing-q"}, {"own.bin": data})
    digest = blake3(data).hexdigest()
    for path in (hidden.server.home / "objects").rglob(f"*{digest}*"):
        flip_byte(path, 5)

    report = hidden.server.ask("POST", f"/packages/{own}/verification", token="other")

    assert "damaged" == report.json["status"]
    assert [(own, "own.bin", f"blake3:{digest}")] == [
        (damage["package_id"], damage["path"], damage["expected_blake3"]) for damage in report.json["damage"]
    ]
    assert theirs not in report.body.decode()


# known bytes and unknown ones


SIZES = {"small": 3_000, "large": 1_500_000}
_HEX = re.compile(r"[0-9a-f]{64}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_BASE64 = re.compile(r"sha-256=:[^:]+:")
_EACH_ITS_OWN = {"seq", "opened_at", "finalized_at", "expires_at", "next_after"}
_VALUES_DIFFER = {"crc32s", "chunks", "files"}


def shape(value: Any, name: str = "") -> Any:
    """A document without what differs from package to package: ids, digests, times and checksums."""
    match value:
        case dict():
            return {key: shape(each, key) for key, each in value.items()}
        case list():
            return [shape(each, name) for each in value]
        case str():
            text = _BASE64.sub("<sha256>", _TIME.sub("<time>", _UUID.sub("<id>", _HEX.sub("<hex>", value))))
            return "<bytes>" if name in _VALUES_DIFFER and re.fullmatch(r"[0-9a-f]{8,}", text) else text
        case int() if name in _EACH_ITS_OWN or name == "crc32s":
            return "<number>"
        case _:
            return value


def by_put(hidden: Hidden, package_id: str, data: bytes) -> Answer:
    return hidden.server.ask("PUT", f"/packages/{package_id}/files/f.bin", token="other", body=data)


def by_pack(hidden: Hidden, package_id: str, data: bytes) -> Answer:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("f.bin"), data)
    path, headers = f"/packages/{package_id}/packs", {"Content-Type": "application/zip"}
    return hidden.server.ask("POST", path, token="other", headers=headers, body=buffer.getvalue())


def by_form(hidden: Hidden, package_id: str, data: bytes) -> Answer:
    body = b'--x\r\nContent-Disposition: form-data; name="f.bin"\r\n\r\n' + data + b"\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    return hidden.server.ask("POST", f"/packages/{package_id}/files", token="other", headers=headers, body=body)


def by_upload(hidden: Hidden, package_id: str, data: bytes) -> Answer:
    begin = {"path": "f.bin", "size": len(data)}
    begun = hidden.server.ask("POST", f"/packages/{package_id}/uploads", token="other", json_body=begin)
    headers = {"Content-Type": "application/partial-upload", "Upload-Offset": "0", "Upload-Complete": "?1"}
    path = f"/packages/{package_id}/uploads/{begun.json['upload_id']}"
    return hidden.server.ask("PATCH", path, token="other", headers=headers, body=data)


WAYS = {"put": by_put, "pack": by_pack, "form": by_form, "upload": by_upload}


def declaration(data: bytes) -> dict[str, Any]:
    return {
        "path": "f.bin",
        "size": len(data),
        "blake3": f"blake3:{blake3(data).hexdigest()}",
        "sha256": f"sha256:{sha256(data).hexdigest()}",
    }


def whole_push(hidden: Hidden, way: str, data: bytes, *, declared: bool) -> list[Any]:
    """Everything that q's token is told while it pushes these bytes, and afterwards."""
    ask = hidden.server.ask
    opening = {"producer": "q", "external_id": f"push-{hidden.number():04}"}
    opened = ask(
        "POST", "/packages", token="other", json_body={**opening, "files": [declaration(data)]} if declared else opening
    )
    package_id = opened.json["package_id"]
    path = f"/packages/{package_id}"
    answers = [
        opened,
        ask("GET", f"{path}/missing", token="other"),
        ask("POST", f"{path}/finalize", token="other") if declared else opened,
        WAYS[way](hidden, package_id, data),
        ask("GET", f"{path}/missing", token="other"),
        ask("POST", f"{path}/finalize", token="other"),
        ask("GET", f"{path}/missing", token="other"),
        ask("POST", f"{path}/finalize", token="other"),
        *(ask("GET", path + what, token="other") for what in ("", "/files", "/retention", "/holds", "/manifest.json")),
        ask("GET", f"/packages?digest=blake3:{blake3(data).hexdigest()}", token="other"),
        ask("GET", f"/events?payload=true&subject={package_id}", token="other"),
        ask("HEAD", f"{path}/files/f.bin", token="other"),
        ask("POST", f"{path}/verification", token="other"),
    ]
    return [_told(answer, opening["external_id"]) for answer in answers]


def _told(answer: Answer, external_id: str) -> Any:
    text = answer.body.decode().replace(external_id, "<external>").replace(answer.headers["x-request-id"], "<request>")
    dropped = _LASTING | ({"content-length"} if text else set())  # checksums are written in more digits or fewer
    kept = {name.lower(): shape(value) for name, value in answer.headers.items() if name.lower() not in dropped}
    return answer.status, kept, shape(json.loads(text)) if text else ""


def some_bytes(number: int, size: int) -> bytes:
    return blake3(b"some bytes %d" % number).digest(length=size)


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "undeclared"])
@pytest.mark.parametrize("size", list(SIZES))
@pytest.mark.parametrize("way", list(WAYS))
def test_sending_bytes_that_only_another_producer_has_shows_nothing_of_it(
    hidden: Hidden, way: str, size: str, declared: bool
) -> None:
    known, unknown = (some_bytes(hidden.number(), SIZES[size]) for _ in range(2))
    hidden.push("writer", {"producer": "p", "external_id": f"known-{hidden.number()}"}, {"g.bin": known})

    first_time = whole_push(hidden, way, unknown, declared=declared)
    known_elsewhere = whole_push(hidden, way, known, declared=declared)

    assert {200, 201} >= {status for status, _, _ in first_time} - ({409} if declared else set())
    assert first_time == known_elsewhere


@pytest.mark.parametrize("size", list(SIZES))
def test_a_blob_that_only_another_producer_has_is_asked_for(hidden: Hidden, size: str) -> None:
    data = some_bytes(hidden.number(), SIZES[size])
    hidden.push("writer", {"producer": "p", "external_id": f"asked-{hidden.number()}"}, {"g.bin": data})
    own = some_bytes(hidden.number(), SIZES[size])
    hidden.push("other", {"producer": "q", "external_id": f"asked-{hidden.number()}"}, {"g.bin": own})
    files = [declaration(data), {**declaration(own), "path": "own.bin"}]

    opened = hidden.server.ask("POST", "/packages", token="other", json_body={"producer": "q", "files": files})

    assert [declaration(data)["blake3"]] == opened.json["missing"]


def test_a_blob_is_not_to_be_had_by_declaring_its_digest(hidden: Hidden) -> None:
    files = [{**declaration(SECRET), "path": "stolen.txt"}]
    opened = hidden.server.ask("POST", "/packages", token="other", json_body={"producer": "q", "files": files})

    finalized = hidden.server.ask("POST", f"/packages/{opened.json['package_id']}/finalize", token="other")

    assert (409, "PACKAGE_INCOMPLETE") == (finalized.status, finalized.json["code"])


@pytest.mark.parametrize("wrong", [{"size": 1}, {"sha256": "sha256:" + "0" * 64}])
def test_a_wrong_declaration_is_not_corrected_from_what_another_producer_has(
    hidden: Hidden, wrong: dict[str, Any]
) -> None:
    unknown = some_bytes(hidden.number(), len(SECRET))
    asked = [{"producer": "q", "files": [{**declaration(data), **wrong}]} for data in (SECRET, unknown)]

    known_elsewhere, first_time = (
        _told(hidden.server.ask("POST", "/packages", token="other", json_body=body), "none") for body in asked
    )

    assert 201 == first_time[0]
    assert first_time == known_elsewhere


@pytest.mark.parametrize("path", ["/packages", "/packages:preflight"])
def test_the_name_of_another_producers_run_makes_no_difference(hidden: Hidden, path: str) -> None:
    bodies = [{"producer": "p", "external_id": name} for name in ("hidden-run", "unheard-of")]

    known, unknown = (_told(hidden.server.ask("POST", path, token="other", json_body=body), "none") for body in bodies)

    assert known == unknown


def test_an_idempotency_key_is_its_callers_own(hidden: Hidden) -> None:
    headers = {"Idempotency-Key": f"key-{hidden.number()}"}
    first = hidden.server.ask("POST", "/packages", token="writer", headers=headers, json_body={"producer": "p"})

    second = hidden.server.ask("POST", "/packages", token="other", headers=headers, json_body={"producer": "q"})

    assert (201, 201) == (first.status, second.status)
    assert first.json["package_id"] != second.json["package_id"]


def test_a_hold_of_another_package_is_not_to_be_released_through_ones_own(hidden: Hidden) -> None:
    own = hidden.server.ask("GET", "/packages?external_id=own-run", token="admin").json["packages"][0]["package_id"]
    absent_id = new_uuid7()

    elsewhere, absent = (
        impersonal(
            hidden.server.ask("POST", f"/packages/{own}/holds/{hold_id}/release", json_body={"reason": "r"}), hold_id
        )
        for hold_id in (hidden.hold_id, absent_id)
    )

    assert absent == elsewhere
    assert 404 == absent[0]  # type: ignore[index]


def test_an_upload_of_another_package_is_not_to_be_reached_through_ones_own(hidden: Hidden) -> None:
    own = hidden.server.ask("POST", "/packages", token="other", json_body={"producer": "q"}).json["package_id"]

    statuses = [
        hidden.server.ask(method, f"/packages/{own}/uploads/{hidden.upload_id}", token="other").status
        for method in ("HEAD", "DELETE")
    ]

    assert [404, 404] == statuses
    begun = hidden.server.ask("HEAD", f"/packages/{hidden.open}/uploads/{hidden.upload_id}", token="writer")
    assert 204 == begun.status


# mass assignment


MEMBERS = ("status", "digest", "manifest_digest", "package_id", "created_at", "opened_at", "opened_by", "expires_at")
WITH_A_BODY = sorted(name for name, row in TABLE.items() if row.json is not None)
ASKED_FOR = {"POST /storage:heal": "package_id"}
"""Operations of which one of these is a member."""


@pytest.mark.parametrize("operation", WITH_A_BODY)
def test_members_that_are_not_the_callers_to_say_are_refused(hidden: Hidden, operation: str) -> None:
    method, _, template = operation.partition(" ")
    package_id = hidden.open if "uploads" in template else hidden.recorded
    path = template.format(package_id=package_id, hold_id=hidden.hold_id, plan_digest="blake3:" + "0" * 64)

    for member in (member for member in MEMBERS if member != ASKED_FOR.get(operation)):
        answer = hidden.server.ask(method, path, json_body={**TABLE[operation].json, member: "x"})

        assert 400 == answer.status
        assert [f"/{member}"] == [problem["where"] for problem in answer.json["problems"]]


@pytest.mark.parametrize("path", ["/packages", "/packages:preflight"])
def test_members_of_a_file_that_are_not_the_callers_to_say_are_refused(hidden: Hidden, path: str) -> None:
    body = {"producer": "p", "files": [{**declaration(SECRET), "file_id": "x", "status": "live"}]}

    answer = hidden.server.ask("POST", path, token="writer", json_body=body)

    assert 400 == answer.status
    assert {"/files/0/file_id", "/files/0/status"} == {problem["where"] for problem in answer.json["problems"]}


def test_a_query_says_nothing_that_a_body_may_not(hidden: Hidden) -> None:
    query = "?" + "&".join(f"{member}={quote('x')}" for member in MEMBERS)

    opened = hidden.server.ask("POST", f"/packages{query}", token="writer", json_body={"producer": "p"})
    shown = hidden.server.ask("GET", f"/packages/{opened.json['package_id']}", token="writer").json

    assert ("open", "token:writer", None) == (shown["status"], shown["opened_by"], shown["manifest_digest"])
