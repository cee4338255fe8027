"""What a push does when the server's answers are not the usual ones, and what it never asks for."""

from __future__ import annotations

import io
import json
import re
import zipfile
from urllib.parse import unquote

import pytest
from blake3 import blake3

from artifactstore.client import Client
from artifactstore.client import draft as client_draft
from artifactstore.domain.package import BytesSource, FileDraft, PackageDraft
from artifactstore.domain.retention import RetentionClass
from artifactstore.errors import (
    FileChangedError,
    ForbiddenError,
    LimitExceededError,
    MetadataInvalidError,
    MetadataSchemaUnknownError,
    PackageIncompleteError,
    PackageInvalidError,
    PathInvalidError,
    Problem,
    ServiceError,
    ServiceUnavailableError,
)
from tests.client.scripted_server import NO_ANSWER, Answer, Asked, serving

LIMITS = {"max_files": 1_000, "max_file_bytes": 10_000_000, "pack_threshold_bytes": 1_000}
RECEIPT = {
    "package_id": "1",
    "manifest_digest": "blake3:" + "0" * 64,
    "file_count": 1,
    "total_bytes": 1,
    "stored_bytes": 1,
    "reused_existing": False,
    "revision": 1,
}


class Depot:
    """A server that remembers what it was sent; a test sets what is unusual about it."""

    def __init__(self) -> None:
        self.preflight = Answer.json({"ok": True, "problems": [], "limits": LIMITS})
        self.opened: list[Answer] = []
        self.finalized: list[Answer] = []
        self.has: set[str] = set()
        self.loses: list[str] = []
        self.wanted: list[str] = []
        self.received: dict[str, bytes] = {}
        self.keys: list[str] = []

    def __call__(self, asked: Asked) -> Answer:
        if asked.target == "/packages:preflight":
            return self.preflight
        if asked.target == "/packages":
            self.keys.append(asked.headers["Idempotency-Key"])
            self.wanted = [file["blake3"] for file in asked.document["files"]]
            return self.opened.pop(0) if self.opened else self.state()
        if asked.target == "/packages/1/missing":
            return self.state()
        if asked.target == "/packages/1/packs":
            with zipfile.ZipFile(io.BytesIO(asked.body)) as archive:
                for name in archive.namelist():
                    self.take(name, archive.read(name))
            return Answer.json({"files": 0, "bytes": 0})
        if found := re.fullmatch(r"/packages/1/files/(.+)", asked.target):
            self.take(unquote(found[1]), asked.body)
            return Answer.json({})
        assert asked.target == "/packages/1/finalize"
        return self.finalized.pop(0) if self.finalized else Answer.json(RECEIPT)

    def take(self, path: str, data: bytes) -> None:
        if path in self.loses:
            self.loses.remove(path)
            return
        self.received[path] = data
        self.has.add(f"blake3:{blake3(data).hexdigest()}")

    def state(self, **members: object) -> Answer:
        missing = [address for address in dict.fromkeys(self.wanted) if address not in self.has]
        state = {"package_id": "1", "status": "open", "missing": missing, "uploads": [], "receipt": None}
        return Answer.json({**state, "pack_threshold_bytes": 1_000, **members})


@pytest.fixture
def depot() -> Depot:
    return Depot()


@pytest.fixture
def server(depot):
    with serving(depot) as server:
        yield server


@pytest.fixture
def client(server):
    with Client(server.url, sleep=lambda _: None) as client:
        yield client


class Unreadable:
    """A file that nobody is to open."""

    def open(self):
        raise AssertionError("the file was opened")


class Fickle:
    """A file that has other bytes each time it is opened."""

    def __init__(self, *contents: bytes) -> None:
        self._ahead = list(contents)

    def open(self):
        return BytesSource(self._ahead.pop(0)).open()


def package(files: dict[str, object], **more: object) -> PackageDraft:
    drafts = tuple(
        FileDraft(path, BytesSource(source) if isinstance(source, bytes) else source, "content", "text/plain")
        for path, source in files.items()
    )
    return PackageDraft("ci", drafts, RetentionClass.TRANSIENT, **more)


FILES = {
    "b": b"two",
    "a": b"one",
    "folder/\u00e9 +?#%.txt": b"name",
    "again": b"one",
    "large": b"L" * 5_000,
    "empty": b"",
}


def test_each_blob_is_sent_once_small_ones_together_large_ones_alone(client, server, depot):
    client.push(package(FILES))

    assert depot.received == {path: data for path, data in FILES.items() if path != "again"}
    *begun, one, other, last = server.targets
    assert ["POST /packages:preflight", "POST /packages"] == begun
    assert {"POST /packages/1/packs", "PUT /packages/1/files/large"} == {one, other}, "these go side by side"
    assert "POST /packages/1/finalize" == last


def test_what_the_server_has_is_not_sent(client, server, depot):
    depot.has = {f"blake3:{blake3(data).hexdigest()}" for data in FILES.values()}

    client.push(package(FILES))

    assert depot.received == {}
    assert server.targets[-1] == "POST /packages/1/finalize"


def test_a_package_that_is_there_already_needs_no_finalize(client, server, depot):
    receipt = {**RECEIPT, "reused_existing": True, "stored_bytes": 0}
    depot.opened = [depot.state(status="finalized", receipt=receipt)]

    answer = client.push(package(FILES))

    assert (answer.reused_existing, answer.package_id) == (True, "1")
    assert server.targets[-1] == "POST /packages"
    assert len(depot.keys) == 1


def test_the_receipt_of_an_earlier_push_is_not_taken_for_this_one(client, depot):
    now = {**RECEIPT, "reused_existing": True, "stored_bytes": 0}
    depot.opened = [
        depot.state(status="finalized", receipt=RECEIPT),
        depot.state(status="finalized", receipt=now),
    ]

    answer = client.push(package(FILES))

    first, second = depot.keys
    assert (answer.reused_existing, answer.stored_bytes) == (True, 0)
    assert first != second


def test_the_same_push_has_the_same_key_and_another_has_another(client, depot):
    client.push(package(FILES))
    client.push(package(dict(reversed(FILES.items()))))
    client.push(package(FILES), as_revision=True)
    client.push(package({**FILES, "a": b"changed"}))

    first, same, revision, other = depot.keys
    assert first == same
    assert len({first, revision, other}) == 3


def test_what_got_lost_on_the_server_is_sent_again(client, server, depot):
    depot.loses = ["a", "large"]
    depot.finalized = [Answer.problem(409, "PACKAGE_INCOMPLETE")]

    receipt = client.push(package(FILES))

    assert receipt.package_id == "1"
    assert {"a", "large"} < set(depot.received)
    assert 2 == server.targets.count("POST /packages/1/finalize")


def test_a_server_that_never_has_enough_is_given_up(client, server, depot):
    depot.finalized = [Answer.problem(409, "PACKAGE_INCOMPLETE")] * 10

    with pytest.raises(PackageIncompleteError):
        client.push(package(FILES))

    assert 3 == server.targets.count("POST /packages/1/finalize")


def test_bytes_that_were_not_announced_are_not_given_away(client, depot):
    depot.opened = [depot.state(missing=["blake3:" + "1" * 64])]

    with pytest.raises(ServiceError, match="not announced"):
        client.push(package(FILES))
    assert depot.received == {}


def test_a_package_that_another_push_has_finalized_meanwhile_is_the_answer(depot):
    def script(asked: Asked) -> Answer:
        return Answer.problem(409, "PACKAGE_STATE") if asked.target.endswith("/packs") else depot(asked)

    with serving(script) as server, Client(server.url) as client:
        receipt = client.push(package(FILES))

    assert receipt.package_id == "1"


@pytest.mark.parametrize("missing", [["nonsense"], [7], [None]])
def test_a_list_of_what_is_missing_that_makes_no_sense_is_said_to_make_none(client, depot, missing):
    depot.opened = [depot.state(missing=missing)]

    with pytest.raises(ServiceError):
        client.push(package(FILES))


@pytest.mark.parametrize("problems", [[], ["nonsense"], [None]])
def test_a_refusal_without_a_reason_is_said_to_have_none(client, depot, problems):
    depot.preflight = Answer.json({"ok": False, "problems": problems, "limits": LIMITS})

    with pytest.raises(ServiceError, match="does not say why"):
        client.push(package(FILES))


def test_a_cut_while_sending_is_mended(depot):
    cuts = ["/packages:preflight", "/packages", "/packages/1/packs", "/packages/1/files/large", "/packages/1/finalize"]

    def script(asked: Asked) -> Answer:
        answer = depot(asked)
        if asked.target in cuts:
            cuts.remove(asked.target)
            return NO_ANSWER
        return answer

    with serving(script) as server, Client(server.url, sleep=lambda _: None) as client:
        receipt = client.push(package(FILES))

    assert receipt.package_id == "1"
    assert cuts == []


# before anything is read


def obstacle(code: str, *problems: tuple[str, str]) -> Answer:
    found = [{"code": code, "where": where, "what": what} for where, what in problems]
    return Answer.json({"ok": False, "problems": found, "limits": LIMITS})


def test_metadata_that_violates_its_schema_is_the_same_error_as_in_the_process(client, depot):
    problems = (Problem("", '"commit" is a required property'), Problem("/branch", "is not of type"))
    depot.preflight = obstacle("METADATA_INVALID", *problems)

    with pytest.raises(MetadataInvalidError) as caught:
        client.push(package({"a": Unreadable()}, schema="s.v1", metadata={"branch": 1}))

    assert caught.value.message == "metadata violates schema s.v1 in 2 place(s)"
    assert caught.value.problems == problems


@pytest.mark.parametrize(
    ("code", "kind"), [("SCHEMA_UNKNOWN", MetadataSchemaUnknownError), ("FORBIDDEN", ForbiddenError)]
)
def test_what_stands_in_the_way_is_said_in_the_servers_words(client, depot, code, kind):
    depot.preflight = obstacle(code, ("", "what the server says"))

    with pytest.raises(kind, match=r"^what the server says$"):
        client.push(package({"a": Unreadable()}))


def test_the_rules_that_need_no_server_are_checked_without_one(client, server):
    with pytest.raises(PathInvalidError):
        client.push(package({"../a": Unreadable()}))
    with pytest.raises(PackageInvalidError):
        client.push(package({"a": Unreadable()}, external_id=""))

    assert server.asked == []


def test_more_files_than_the_server_takes_are_refused_before_one_is_read(client):
    with pytest.raises(LimitExceededError, match="1001 files are more than 1000"):
        client.push(package({f"{n}": Unreadable() for n in range(1_001)}))


def test_a_file_larger_than_the_server_takes_is_refused(client, depot):
    depot.preflight = Answer.json({"ok": True, "problems": [], "limits": {**LIMITS, "max_file_bytes": 4_000}})

    with pytest.raises(LimitExceededError, match="large"):
        client.push(package(FILES))


def test_a_description_is_json_whatever_it_holds(client, server):
    odd = {"text": 'a "quoted" \u2028 \U0001f600', "number": 1.5, "none": None}
    draft = PackageDraft(
        "ci",
        (FileDraft('a"b\u00e9.log', BytesSource(b"1"), "role.x", "application/x"),),
        RetentionClass.TRANSIENT,
        external_id='x"y',
        metadata=odd,
    )

    client.push(draft)

    opened = next(asked for asked in server.asked if asked.target == "/packages")
    document = json.loads(opened.body)
    (file,) = document["files"]
    assert (document["metadata"], document["external_id"]) == (odd, 'x"y')
    assert (file["path"], file["role"], file["media_type"]) == ('a"b\u00e9.log', "role.x", "application/x")


# files that change


def test_a_large_file_that_changed_since_it_was_hashed_never_becomes_complete(client, server, depot):
    with pytest.raises(FileChangedError, match="large"):
        client.push(package({"large": Fickle(b"L" * 5_000, b"M" * 5_000)}))

    assert depot.received == {}
    assert not any("finalize" in target for target in server.targets)


@pytest.mark.parametrize("now", [b"short", b"L" * 5_001, b""])
def test_a_file_that_has_another_size_now_has_changed(client, now):
    with pytest.raises(FileChangedError, match="large"):
        client.push(package({"large": Fickle(b"L" * 5_000, now)}))


def test_small_files_beyond_the_budget_are_read_again_and_compared(client, depot, monkeypatch):
    monkeypatch.setattr(client_draft.HashedDraft, "__init__", without_room(client_draft.HashedDraft.__init__))

    client.push(package({"a": Fickle(b"one", b"one")}))
    with pytest.raises(FileChangedError, match="b"):
        client.push(package({"b": Fickle(b"two", b"owt")}))

    assert depot.received == {"a": b"one"}


def without_room(make):
    def made(self, draft):
        make(self, draft, _room_bytes=0)

    return made


def test_a_file_is_compared_with_the_checksum_it_came_with(client, server):
    file = FileDraft("a", BytesSource(b"1"), "content", "text/plain", expected_sha256=bytes(32))

    with pytest.raises(FileChangedError, match="checksum"):
        client.push(PackageDraft("ci", (file,), RetentionClass.TRANSIENT))

    assert ["POST /packages:preflight"] == server.targets


def test_one_file_that_fails_stops_the_others(client, server):
    files = {f"{n}": b"%d" % n * 5_000 for n in range(8)}
    files["bad"] = Fickle(b"L" * 5_000, b"M" * 5_000)

    with pytest.raises(FileChangedError, match="bad"):
        client.push(package(files))

    assert not any("finalize" in target for target in server.targets)


def test_a_push_to_a_server_that_goes_away_ends_with_its_error(depot):
    def script(asked: Asked) -> Answer:
        return NO_ANSWER if "/files/" in asked.target else depot(asked)

    files = {f"{n}": b"%d" % n * 5_000 for n in range(8)}
    with (
        serving(script) as server,
        Client(server.url, sleep=lambda _: None) as client,
        pytest.raises(ServiceUnavailableError),
    ):
        client.push(package(files))
