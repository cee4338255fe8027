"""Who may do what: every operation that is served, asked by everyone there is, against one table."""

from __future__ import annotations

import io
import json
import time
import zipfile
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import urllib3

from artifactstore.domain.collection import CollectionPolicy
from artifactstore.domain.instant import MICROSECONDS_PER_DAY, Instant
from artifactstore.registry.applying import apply_plan
from artifactstore.registry.collecting import collect
from artifactstore.registry.planning import make_plan
from artifactstore.registry.tokens import create_token, revoke_token
from tests.pilots.testing_os.golden import write_policies
from tests.retention import expire, later
from tests.service import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service import Answer, Server

SOME_TIME_AGO = Instant(1_700_000_000_000_000)

OPEN = "needs no token"
ANYONE = "any valid token"
READ_ALL = "read"
READ = "read:<producer>"
READ_IT_AND_ALL = "read, and 404 for whoever may not read the package"
WRITE = "write:<producer>, of a package that is recorded"
BEGIN = "write:<producer>, of one that is not there yet"
WRITE_SOME = "write:<producer>, whichever"
OWN = "whoever opened the package"
RECORDED = "read, or whoever recorded it"
ADMIN = "admin"
READ_RUNS = "read, or read:testing-os, which none of these has"
RECORD_RUNS = "write:testing-os, which none of these has but admin"

CALLERS: dict[str, dict[str, int]] = {
    #                  everything that is not 2xx
    "admin": {},
    "reader": {WRITE: 403, BEGIN: 403, WRITE_SOME: 403, OWN: 404, ADMIN: 403},
    "producer-reader": {
        WRITE: 403, BEGIN: 403, WRITE_SOME: 403, OWN: 404, ADMIN: 403, READ_ALL: 403, RECORDED: 404,
    },
    "writer": {ADMIN: 403, READ_ALL: 403},
    "fellow": {OWN: 404, ADMIN: 403, READ_ALL: 403, RECORDED: 404},
    "other": {READ: 404, WRITE: 404, BEGIN: 403, OWN: 404, ADMIN: 403, READ_ALL: 403, RECORDED: 404},
    "other-reader": {
        READ: 404, WRITE: 404, BEGIN: 403, WRITE_SOME: 403, OWN: 404, ADMIN: 403, READ_ALL: 403, RECORDED: 404,
    },
}  # fmt: skip
for _refused in CALLERS.values():
    if ADMIN in _refused:
        _refused[RECORD_RUNS] = 403
    if READ in _refused or READ_ALL in _refused:
        _refused[READ_IT_AND_ALL] = 404 if READ in _refused else 403
    if READ_ALL in _refused:
        _refused[READ_RUNS] = 404
"""What each token is answered where it lacks the right. The package is producer p's, opened by ``writer``."""


@dataclass(frozen=True)
class Row:
    """What an operation needs, and a request that does it."""

    needs: str
    json: Any = None
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


def _archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("b.txt", "two")
    return buffer.getvalue()


FORM = {"Content-Type": "multipart/form-data; boundary=x"}
FORM_BODY = b'--x\r\nContent-Disposition: form-data; name="c.txt"\r\n\r\nthree\r\n--x--\r\n'
PART = {"Content-Type": "application/partial-upload", "Upload-Offset": "0", "Upload-Complete": "?0"}
LATER = {"new_expires_at": "2999-01-01T00:00:00Z", "reason": "r"}

OBSERVATION = {
    "plugin": {"name": "ci-reporter"},
    "source": {"location_kind": "url", "path_id": "https://ci.example.org/builds/1"},
    "envelope": {"transport": "webhook", "raw_payload": "e30=", "received_at": "2026-11-20T10:00:00Z"},
}

TABLE = {
    "POST /packages": Row(BEGIN, json={"producer": "p"}),
    "POST /packages:preflight": Row(ANYONE, json={"producer": "p"}),
    "GET /packages": Row(ANYONE),
    "GET /usage": Row(ANYONE),
    "GET /packages/{package_id}": Row(READ),
    "DELETE /packages/{package_id}": Row(OWN),
    "GET /packages/{package_id}/missing": Row(OWN),
    "POST /packages/{package_id}/packs": Row(OWN, body=_archive(), headers={"Content-Type": "application/zip"}),
    "POST /packages/{package_id}/files": Row(OWN, body=FORM_BODY, headers=FORM),
    "PUT /packages/{package_id}/files/{path}": Row(OWN, body=b"one"),
    "POST /packages/{package_id}/uploads": Row(OWN, json={"path": "d.txt", "size": 4}),
    "HEAD /packages/{package_id}/uploads/{upload_id}": Row(OWN),
    "PATCH /packages/{package_id}/uploads/{upload_id}": Row(OWN, body=b"f", headers=PART),
    "DELETE /packages/{package_id}/uploads/{upload_id}": Row(OWN),
    "POST /packages/{package_id}/finalize": Row(OWN, json=OBSERVATION),
    "POST /packages/{package_id}/observations": Row(WRITE, json=OBSERVATION),
    "GET /packages/{package_id}/observations": Row(READ),
    "POST /ingests": Row(WRITE_SOME, json=OBSERVATION),
    "GET /sources/{source_id}": Row(RECORDED),
    "GET /sources/{source_id}/envelopes": Row(RECORDED),
    "GET /envelopes/{envelope_id}": Row(READ),
    "GET /packages/{package_id}/manifest": Row(READ),
    "GET /packages/{package_id}/manifest.json": Row(READ),
    "GET /packages/{package_id}/files": Row(READ),
    "GET /packages/{package_id}/files/{path}": Row(READ),
    "HEAD /packages/{package_id}/files/{path}": Row(READ),
    "GET /packages/{package_id}/archive.zip": Row(READ),
    "GET /files/{file_id}": Row(READ),
    "GET /files/{file_id}/download": Row(READ),
    "HEAD /files/{file_id}/download": Row(READ),
    "GET /packages/{package_id}/retention": Row(READ),
    "GET /packages/{package_id}/holds": Row(READ),
    "POST /packages/{package_id}/verification": Row(WRITE),
    "POST /packages/{package_id}/retention/extensions": Row(WRITE, json=LATER),
    "POST /packages/{package_id}/holds": Row(WRITE, json={"reason": "r"}),
    "POST /packages/{package_id}/holds/{hold_id}/release": Row(ADMIN, json={"reason": "r"}),
    "POST /packages/{package_id}/pin": Row(WRITE, json={"reason": "r"}),
    "POST /packages/{package_id}/unpin": Row(ADMIN, json={"reason": "r"}),
    "GET /packages/{package_id}/certificate": Row(READ_IT_AND_ALL),
    "POST /retention/plans": Row(ADMIN),
    "POST /retention/plans/{plan_digest}/approval": Row(ADMIN),
    "POST /retention/plans/{plan_digest}/application": Row(ADMIN, json={"reason": "r"}),
    "POST /retention:sweep": Row(ADMIN, json={"dry_run": True}),
    "POST /metadata-schemas": Row(ADMIN, json={"slug": "rights.v1", "json_schema": {"type": "object"}}),
    "GET /metadata-schemas": Row(ANYONE),
    "GET /metadata-schemas/{slug}": Row(ANYONE),
    "GET /pilots/testing-os/indexes/latest-by-repo.json": Row(ANYONE),
    "GET /pilots/testing-os/indexes/failing.json": Row(ANYONE),
    "GET /pilots/testing-os/indexes/stale.json": Row(ANYONE),
    "GET /pilots/testing-os/repos/{org}/{repo}/history": Row(ANYONE),
    "GET /pilots/testing-os/failing": Row(ANYONE),
    "GET /pilots/testing-os/portfolio.json": Row(READ_RUNS),
    "POST /pilots/testing-os/submissions": Row(RECORD_RUNS, body=b"[]", headers={"Content-Type": "application/json"}),
    "GET /events": Row(ANYONE),
    "GET /events/stream": Row(ANYONE),
    "GET /health": Row(OPEN),
    "GET /ready": Row(OPEN),
    "GET /metrics": Row(READ_ALL),
    "GET /whoami": Row(ANYONE),
    "GET /status": Row(ADMIN),
    "GET /objects": Row(ADMIN),
    "POST /verification": Row(ADMIN, json={"what": "objects"}),
    "POST /replay:check": Row(ADMIN),
    "POST /duties/{duty}/pause": Row(ADMIN),
    "POST /duties/{duty}/resume": Row(ADMIN),
    "POST /log:seal": Row(ADMIN),
    "POST /storage:reconcile": Row(ADMIN, json={"limit": 1}),
    "POST /storage:heal": Row(ADMIN, json={}),
}
OPERATIONS = sorted(TABLE)


class World:
    """A server with what the operations are about."""

    def __init__(self, server: Server, *, opener: str = "writer") -> None:
        self.server = server
        self._opener = opener
        self.bad_headers = {"a wrong token": ["Bearer as_0123456789abcdef_" + "x" * 43]}
        self._make_tokens()
        schema = {"slug": "rights.v1", "json_schema": {"type": "object"}}
        assert server.ask("POST", "/metadata-schemas", json_body=schema).status in {200, 201}
        self.recorded = self.record_package()
        self.destroyed = self.record_package("transient")
        self._destroy()
        self.plan_digest = server.ask("POST", "/retention/plans").json["plan_digest"]
        observed = server.ask(
            "POST", f"/packages/{self.recorded}/observations", token=self._opener, json_body=OBSERVATION
        )
        self.source_id, self.envelope_id = (observed.json[name]["id"] for name in ("source", "envelope"))

    def _make_tokens(self) -> None:
        registry = self.server.registry()
        try:
            for name, scope in (("fellow", "write:p"), ("producer-reader", "read:p")):
                self.server.tokens[name] = create_token(registry, name, [scope])[0]
            revoked, _ = create_token(registry, "revoked", ["admin"])
            revoke_token(registry, "revoked")
            then = replace(registry, clock=lambda: SOME_TIME_AGO)
            next_day = Instant(SOME_TIME_AGO + MICROSECONDS_PER_DAY)
            expired, _ = create_token(then, "expired", ["admin"], expires_at=next_day)
        finally:
            registry.close()
        admin = self.server.tokens["admin"]
        self.bad_headers |= {
            "a revoked token": [f"Bearer {revoked}"],
            "an expired token": [f"Bearer {expired}"],
            "another scheme": [f"Basic {admin}"],
            "no scheme": [admin],
            "no token": ["Bearer "],
            "a token cut short": [f"Bearer {admin[:-1]}"],
            "a token with more behind it": [f"Bearer {admin} {admin}"],
            "two headers": [f"Bearer {admin}", f"Bearer {admin}"],
        }

    def _destroy(self) -> None:
        """What is transient."""
        with closing(self.server.registry()) as registry:
            expire(registry)
            next_week = replace(later(registry, 8), sweep_max_leap_hours=0)
            apply_plan(next_week, make_plan(registry).digest)
            policy = CollectionPolicy(grace_s=0)
            assert collect(replace(registry, collection=policy), wait_s=0).is_done

    def open_package(self) -> str:
        opened = self.server.ask("POST", "/packages", token=self._opener, json_body={"producer": "p"})
        package_id: str = opened.json["package_id"]
        sent = self.server.ask("PUT", f"/packages/{package_id}/files/a.txt", token=self._opener, body=b"one")
        assert (201, 201) == (opened.status, sent.status)
        return package_id

    def record_package(self, retention_class: str = "raw-evidence") -> str:
        """Another one each time; without an external id the same content would be the same package."""
        said = {"producer": "p", "external_id": uuid4().hex, "retention_class": retention_class}
        opened = self.server.ask("POST", "/packages", token=self._opener, json_body=said)
        package_id: str = opened.json["package_id"]
        self.server.ask("PUT", f"/packages/{package_id}/files/a.txt", token=self._opener, body=b"one")
        assert 200 == self.server.ask("POST", f"/packages/{package_id}/finalize", token=self._opener).status
        return package_id

    def path_of(self, operation: str) -> str:
        """A fresh target for an operation."""
        template = operation.partition(" ")[2]
        kinds = {OWN: self.open_package, WRITE: self.record_package, READ_IT_AND_ALL: lambda: self.destroyed}
        package_id = kinds.get(TABLE[operation].needs, lambda: self.recorded)()
        values = {
            "package_id": package_id,
            "path": "b/new.txt" if operation.startswith("PUT") else "a.txt",
            "file_id": f"{package_id}:0",
            "slug": "rights.v1",
            "org": "o",
            "repo": "r",
            "duty": "clean-backends",
            "plan_digest": self.plan_digest,
            "source_id": self.source_id,
            "envelope_id": self.envelope_id,
        }
        if "{upload_id}" in template:
            begun = self.server.ask(
                "POST", f"/packages/{package_id}/uploads", token=self._opener, json_body={"path": "e.txt", "size": 5}
            )
            values["upload_id"] = begun.json["upload_id"]
        if template.endswith("/unpin"):
            package_id = values["package_id"] = self.record_package()
            self.server.ask("POST", f"/packages/{package_id}/pin", json_body={"reason": "r"})
        if "{hold_id}" in template:
            placed = self.server.ask("POST", f"/packages/{package_id}/holds", json_body={"reason": "r"})
            values["hold_id"] = placed.json["hold_id"]
        return template.format_map(values)

    def do(self, operation: str, path: str, authorization: list[str]) -> tuple[int, str, dict[str, Any]]:
        """Status, ``WWW-Authenticate`` and problem document of an operation."""
        row = TABLE[operation]
        headers = urllib3.HTTPHeaderDict(row.headers)
        body = row.body
        if row.json is not None:
            body, headers["Content-Type"] = json.dumps(row.json).encode(), "application/json"
        for value in authorization:
            headers.add("Authorization", value)
        method = operation.partition(" ")[0]
        with urllib3.PoolManager(retries=False, timeout=60) as http:
            answer = http.request(
                method, self.server.url + path, body=body, headers=headers, redirect=False, preload_content=False
            )
            is_problem = answer.headers.get("content-type") == "application/problem+json" and method != "HEAD"
            document = json.loads(answer.read()) if is_problem else {}
            answer.close()
            return answer.status, answer.headers.get("www-authenticate", ""), document

    def token(self, name: str) -> list[str]:
        return [f"Bearer {self.server.tokens[name]}"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(tmp_path_factory.mktemp("rights") / "home", environment=judging(tmp_path_factory)) as server:
        yield World(server)


def judging(folders: pytest.TempPathFactory) -> dict[str, str]:
    """Lets a server judge submissions; those here are rejected before a run is looked up."""
    root = folders.mktemp("root")
    write_policies(root / "policies", "none")
    return {"ARTIFACTSTORE_TESTING_OS_REPO_ROOT": str(root), "GITHUB_TOKEN": "unused"}


STATIC_SECRET = "a-static-secret-of-some-length"


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server where everyone may read, and with a token from its settings."""
    environment = {
        **judging(tmp_path_factory),
        "ARTIFACTSTORE_ANON_READ": "true",
        "ARTIFACTSTORE_AUTH_TOKENS": f"robot write:p {STATIC_SECRET}",
    }
    with serving(tmp_path_factory.mktemp("public") / "home", environment=environment) as server:
        yield World(server)


def test_every_operation_that_is_served_is_in_the_table(world: World) -> None:
    document = world.server.ask("GET", "/openapi.json", token=None).json

    served = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}

    assert set(TABLE) == served


def test_the_document_says_which_operations_need_a_token(world: World) -> None:
    document = world.server.ask("GET", "/openapi.json", token=None).json

    without = {
        f"{method.upper()} {path}"
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if not operation.get("security")
    }

    assert {operation for operation, row in TABLE.items() if row.needs == OPEN} == without


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_token_is_answered_by_its_scopes(world: World, operation: str) -> None:
    needs = TABLE[operation].needs

    answered = {name: _or_done(world.do(operation, world.path_of(operation), world.token(name))[0]) for name in CALLERS}

    assert {name: refused.get(needs, "done") for name, refused in CALLERS.items()} == answered


def _or_done(status: int) -> int | str:
    return "done" if 200 <= status < 300 else status


@pytest.mark.parametrize("operation", OPERATIONS)
def test_without_a_valid_token_nothing_is_answered(world: World, operation: str) -> None:
    path, open_to_all = world.path_of(operation), TABLE[operation].needs == OPEN
    shown: dict[str, list[str]] = {"no header": [], **world.bad_headers}

    answers = {what: world.do(operation, path, headers) for what, headers in shown.items()}

    if open_to_all:
        assert dict.fromkeys(shown, 200) == {what: answer[0] for what, answer in answers.items()}
        return
    assert dict.fromkeys(shown, 401) == {what: answer[0] for what, answer in answers.items()}
    assert {'Bearer realm="artifactstore"'} == {challenge for _, challenge, _ in answers.values()}
    if not operation.startswith("HEAD"):
        assert {"UNAUTHENTICATED"} == {document["code"] for _, _, document in answers.values()}


def test_an_invalid_token_is_refused_in_the_same_words_whatever_is_wrong_with_it(world: World) -> None:
    wrong = ("a wrong token", "a revoked token", "an expired token", "a token cut short")

    documents = [world.do("GET /whoami", "/whoami", world.bad_headers[what])[2] for what in wrong]

    assert 1 == len({json.dumps({**document, "request_id": ""}) for document in documents})


@pytest.mark.parametrize("operation", OPERATIONS)
def test_where_everyone_may_read_only_reading_is_free(public: World, operation: str) -> None:
    path, needs = public.path_of(operation), TABLE[operation].needs

    status, _, _ = public.do(operation, path, [])

    assert (2 if needs in {OPEN, ANYONE, READ, READ_ALL, READ_IT_AND_ALL, READ_RUNS, RECORDED} else 4) == status // 100
    assert 4 != status // 100 or 401 == status


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if TABLE[name].needs in {WRITE, OWN}])
def test_where_everyone_may_read_a_write_to_what_is_not_there_needs_a_token_first(
    public: World, operation: str
) -> None:
    path = operation.partition(" ")[2].format(
        package_id="none", upload_id="none", hold_id="none", path="a.txt", plan_digest="none"
    )

    status, _, _ = public.do(operation, path, [])

    assert 401 == status


@pytest.mark.parametrize("operation", ["GET /whoami", "GET /packages", "POST /packages"])
def test_where_everyone_may_read_a_bad_token_is_still_refused(public: World, operation: str) -> None:
    statuses = {public.do(operation, public.path_of(operation), headers)[0] for headers in public.bad_headers.values()}

    assert {401} == statuses


def test_where_everyone_may_read_a_token_of_one_producer_reads_everything_and_writes_its_own(public: World) -> None:
    read = public.do("GET /packages/{package_id}", f"/packages/{public.recorded}", public.token("other"))
    held = public.do("POST /packages/{package_id}/holds", f"/packages/{public.recorded}/holds", public.token("other"))

    assert (200, 403) == (read[0], held[0])


def test_a_token_from_the_settings_has_its_scopes_and_no_more(public: World) -> None:
    known = public.server.ask("GET", "/whoami", token=STATIC_SECRET)
    opened = public.server.ask("POST", "/packages", token=STATIC_SECRET, json_body={"producer": "p"})
    elsewhere = public.server.ask("POST", "/packages", token=STATIC_SECRET, json_body={"producer": "q"})
    wrong = public.server.ask("GET", "/whoami", token=STATIC_SECRET + "x")

    assert {"read": "*", "write": ["p"], "admin": False} == known.json["can"]
    assert ("robot", None) == (known.json["name"], known.json["expires_at"])
    assert (201, 403, 401) == (opened.status, elsewhere.status, wrong.status)


def test_revoking_a_token_ends_it_with_the_next_request(world: World) -> None:
    registry = world.server.registry()
    text, _ = create_token(registry, "short-lived", ["admin"])
    before = world.server.ask("GET", "/whoami", token=text)

    revoke_token(registry, "short-lived")
    after = world.server.ask("GET", "/whoami", token=text)
    registry.close()

    assert (200, 401) == (before.status, after.status)


def test_a_new_token_of_a_revoked_ones_name_does_not_bring_the_old_one_back(world: World) -> None:
    registry = world.server.registry()
    first, _ = create_token(registry, "rotated", ["read"])
    revoke_token(registry, "rotated")
    second, _ = create_token(registry, "rotated", ["read"])
    registry.close()

    statuses = [world.server.ask("GET", "/whoami", token=text).status for text in (first, second)]

    assert [401, 200] == statuses


@pytest.mark.parametrize(
    ("name", "scopes", "can"),
    [
        ("admin", ["admin"], {"read": "*", "write": "*", "admin": True}),
        ("reader", ["read"], {"read": "*", "write": [], "admin": False}),
        ("producer-reader", ["read:p"], {"read": ["p"], "write": [], "admin": False}),
        ("writer", ["write:p"], {"read": ["p"], "write": ["p"], "admin": False}),
        ("other", ["write:q"], {"read": ["q"], "write": ["q"], "admin": False}),
        ("other-reader", ["read:q"], {"read": ["q"], "write": [], "admin": False}),
    ],
)
def test_whoami_says_what_the_token_allows(world: World, name: str, scopes: list[str], can: dict[str, Any]) -> None:
    answer = world.server.ask("GET", "/whoami", token=name)

    assert {"name": name, "scopes": scopes, "can": can, "expires_at": None} == answer.json


def test_whoami_of_nobody_where_everyone_may_read(public: World) -> None:
    answer = public.server.ask("GET", "/whoami", token=None)

    assert {"read": "*", "write": [], "admin": False} == answer.json["can"]
    assert "anonymous" == answer.json["name"]


def test_whoami_says_when_the_token_ends(world: World) -> None:
    registry = world.server.registry()
    text, _ = create_token(registry, "ending", ["read"], expires_at=Instant(4_000_000_000_000_000))
    registry.close()

    answer = world.server.ask("GET", "/whoami", token=text)

    assert "2096-10-02T07:06:40.000000Z" == answer.json["expires_at"]


def test_tokens_are_in_no_answer_and_not_in_the_log(world: World) -> None:
    answers: list[Answer] = [
        world.server.ask("GET", path, token=name)
        for path in ("/whoami", "/packages/none", "/events?payload=true", "/metrics", "/objects")
        for name in ("admin", "other")
    ]

    said = "".join(world.server.log) + "".join(answer.body.decode() + str(answer.headers) for answer in answers)

    assert "GET" in said
    for text in world.server.tokens.values():
        assert text not in said
        assert text.split("_", 2)[2] not in said


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/packages/{package_id}/"),
        ("GET", "//packages/{package_id}"),
        ("GET", "/packages//{package_id}"),
        ("GET", "/PACKAGES/{package_id}"),
        ("GET", "/packages/./{package_id}"),
        ("POST", "/packages/{package_id}"),
        ("PUT", "/packages/{package_id}/finalize"),
        ("TRACE", "/packages/{package_id}"),
    ],
)
def test_no_other_spelling_of_a_path_or_method_gets_around_the_rights(world: World, method: str, path: str) -> None:
    answer = world.server.ask(method, path.format(package_id=world.recorded), token=None)

    assert answer.status in {401, 404, 405}
    assert "a.txt" not in answer.body.decode()


def test_a_method_cannot_be_changed_by_a_header(world: World) -> None:
    package_id = world.open_package()
    headers = {"X-HTTP-Method-Override": "DELETE", "X-Original-URL": "/health", "X-Rewrite-URL": "/health"}

    world.server.ask("GET", f"/packages/{package_id}?_method=DELETE", token="writer", headers=headers)

    assert "open" == world.server.ask("GET", f"/packages/{package_id}", token="writer").json["status"]


def test_the_server_says_who_asks_in_its_log(world: World) -> None:
    world.server.ask("GET", "/whoami", token="reader", headers={"X-Request-Id": "who-asks"})

    line = _log_line(world.server, "who-asks")

    assert ("reader", 200) == (line["caller"], line["status"])


def _log_line(server: Server, request_id: str) -> dict[str, Any]:
    while True:
        for line in list(server.log):
            if request_id in line:
                document: dict[str, Any] = json.loads(line)
                return document
        time.sleep(0.01)
