"""Lists over HTTP: pages that miss and repeat nothing, and filters compared with the same question in Python."""

from __future__ import annotations

import itertools
import random
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

import pytest
from blake3 import blake3

from artifactstore.domain.retention import RetentionClass
from artifactstore.registry.ingest import ingest
from artifactstore.registry.metadata_schemas import register_schema
from tests.api.stored import draft_of, record, record_in
from tests.service import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.service import Server

SHARED = [b"shared one", b"shared two"]
CLASSES = [RetentionClass.TRANSIENT, RetentionClass.PERMANENT_RECORD]
METADATA: list[dict[str, Any]] = [
    {"branch": "main", "passed": True, "count": 7, "deep": {"branch": "main"}},
    {"branch": "topic", "passed": False, "ratio": 0.5, "nothing": None},
    {"branch": "7"},
]
PACKAGES = 120


class Known(NamedTuple):
    """What the oracle knows of a package."""

    package_id: str
    values: dict[str, Any]
    metadata: dict[str, Any]
    blobs: set[str]


class Store(NamedTuple):
    """A server and all that is in it, in the order it was opened."""

    server: Server
    known: list[Known]


def address(data: bytes) -> str:
    return f"blake3:{blake3(data).hexdigest()}"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    choose = random.Random(11)
    with serving(tmp_path_factory.mktemp("lists") / "home") as server, closing(server.registry()) as registry:
        for slug in ("ci.v1", "ci.v2"):
            register_schema(registry, slug, {"type": "object"})
        known = []
        for number in range(PACKAGES):
            values: dict[str, Any] = {
                "producer": choose.choice(["p", "q", "r"]),
                "external_id": choose.choice([None, f"run-{number}"]),
                "subject": choose.choice([None, "main", "söme other"]),
                "schema": choose.choice([None, "ci.v1", "ci.v2"]),
            }
            retention = choose.choice(CLASSES)
            metadata = choose.choice(METADATA)
            # the same bytes under two paths: a package is listed once however often it has a blob
            data = {f"f{number}": b"%d" % number} | {
                f"s{i}": choose.choice(SHARED) for i in range(choose.choice([0, 2]))
            }
            draft = draft_of(data, **values, metadata=metadata, retention=retention)
            values |= {"retention_class": str(retention), "status": "finalized"}
            known.append(Known(record_in(registry, draft), values, metadata, set(map(address, data.values()))))
        yield Store(server, known)


def listed(server: Server, token: str = "admin", **query: object) -> list[str]:
    """The ids on every page."""
    return [document["package_id"] for document in pages(server, "/packages", "packages", token=token, **query)]


def pages(server: Server, path: str, member: str, *, token: str = "admin", **query: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: dict[str, object] = {}
    while True:
        answer = server.ask("GET", f"{path}?{urlencode({**query, **after})}", token=token)
        assert answer.status == 200, answer.body
        assert len(answer.json[member]) <= int(str(query.get("limit", 100)))
        found += answer.json[member]
        if answer.json["next_after"] is None:
            return found
        assert after != {"after": answer.json["next_after"]}, "the same page for ever"
        after = {"after": answer.json["next_after"]}


# pages


@pytest.mark.parametrize("limit", [1, 7, 60, 120, 121, 1_000])
def test_pages_have_everything_once_in_the_order_of_opening(store: Store, limit: int) -> None:
    assert [known.package_id for known in store.known] == listed(store.server, limit=limit)


def test_pages_miss_and_repeat_nothing_while_packages_are_added(server: Server) -> None:
    before = {record(server, {"x": b"before %d" % number}, producer="paging") for number in range(20)}
    added: set[str] = set()

    def add() -> None:
        with closing(server.registry()) as registry:
            for number in range(60):
                draft = draft_of({"x": b"while %d" % number}, producer="paging")
                added.add(ingest(registry, draft).package_id)

    adding = threading.Thread(target=add)
    adding.start()
    found = listed(server, producer="paging", limit=2)
    adding.join()

    assert len(found) == len(set(found))
    assert before <= set(found) <= before | added
    assert sorted(before | added) == sorted(listed(server, producer="paging", limit=2))


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "1.5", ""])
def test_a_page_of_no_size_is_refused(server: Server, limit: str) -> None:
    answer = server.ask("GET", f"/packages?limit={limit}")

    assert (400, "REQUEST_INVALID") == (answer.status, answer.json["code"])


@pytest.mark.parametrize("after", ["nothing", "0", "%00", "%F0%9F%92%A9", "00000000-0000-7000-8000-000000000000"])
def test_a_cursor_that_is_no_package_is_404(server: Server, after: str) -> None:
    answer = server.ask("GET", f"/packages?after={after}")

    assert (404, "PACKAGE_UNKNOWN") == (answer.status, answer.json["code"])


def test_another_producers_package_is_no_cursor(server: Server) -> None:
    theirs, ours = record(server, {"x": b"1"}, producer="p"), record(server, {"x": b"1"}, producer="q")

    refused = server.ask("GET", f"/packages?after={theirs}", token="other-reader")

    assert (404, "PACKAGE_UNKNOWN") == (refused.status, refused.json["code"])
    assert 200 == server.ask("GET", f"/packages?after={ours}", token="other-reader").status


# filters

FILTERS: dict[str, list[str]] = {
    "producer": ["p", "q", "none"],
    "external_id": ["run-3", "run-4", "run-5", "none"],
    "subject": ["main", "söme other", "none"],
    "schema": ["ci.v1", "ci.v2", "none"],
    "retention_class": [str(each) for each in CLASSES],
    "status": ["finalized", "expired", "deleted"],
    "digest": [address(SHARED[0]), address(SHARED[1]), address(b"5"), address(b"nobody has it")],
}
TERMS = [
    ("branch", "main"), ("branch", "topic"), ("branch", "7"), ("passed", "true"), ("passed", "false"), ("count", "7"),
    ("ratio", "0.5"), ("nothing", "null"), ("deep", "main"), ("none", "none"), ("branch", "mai"), ("branch", ""),
]  # fmt: skip


def text_of(value: object) -> str | None:
    """A metadata value as it is searched for."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def expected(store: Store, query: dict[str, str], may_see: Callable[[Known], bool] = lambda _: True) -> list[str]:
    """The same question, asked of what was recorded."""

    def matches(known: Known) -> bool:
        for name, value in query.items():
            if name == "digest":
                if value not in known.blobs:
                    return False
            elif name == "metadata_key":
                if text_of(known.metadata.get(value)) != query["metadata_value"]:
                    return False
            elif name != "metadata_value" and known.values[name] != value:
                return False
        return may_see(known)

    return [known.package_id for known in store.known if matches(known)]


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in FILTERS.items() for value in values])
def test_each_filter_alone_is_what_python_says(store: Store, name: str, value: str) -> None:
    query = {name: value}

    assert expected(store, query) == listed(store.server, limit=9, **query)


@pytest.mark.parametrize(("key", "value"), TERMS)
def test_metadata_is_found_by_a_member_and_its_text(store: Store, key: str, value: str) -> None:
    query = {"metadata_key": key, "metadata_value": value}

    assert expected(store, query) == listed(store.server, limit=9, **query)


def test_the_filters_choose_some_and_leave_others(store: Store) -> None:
    """Values that all packages have, or none, would show nothing."""
    for name in FILTERS.keys() - {"status"}:
        found = [len(expected(store, {name: value})) for value in FILTERS[name]]
        assert 0 < max(found) < PACKAGES, name


def test_filters_together_are_what_python_says(store: Store) -> None:
    choose, sizes = random.Random(12), set()
    names = [*FILTERS, "metadata"]
    pairs = list(itertools.combinations(names, 2))
    combinations = pairs + [tuple(choose.sample(names, choose.choice([3, 3, 4]))) for _ in range(60)]

    for combination in combinations:
        query = {name: choose.choice(FILTERS[name][:2]) for name in combination if name != "metadata"}
        if "metadata" in combination:
            query["metadata_key"], query["metadata_value"] = choose.choice(TERMS[:6])
        if "status" in query:
            query["status"] = "finalized"
        wanted = expected(store, query)

        assert wanted == listed(store.server, limit=choose.choice([2, 5, 1_000]), **query), query
        sizes.add(len(wanted))

    assert len(sizes) >= 8


@pytest.mark.parametrize(
    ("token", "producers"), [("writer", {"p"}), ("other-reader", {"q"}), ("reader", {"p", "q", "r"})]
)
def test_a_caller_is_shown_what_they_may_read(store: Store, token: str, producers: set[str]) -> None:
    def may_see(known: Known) -> bool:
        return known.values["producer"] in producers

    assert expected(store, {}, may_see) == listed(store.server, token, limit=11)
    for query in ({"producer": "p"}, {"subject": "main"}, {"digest": address(SHARED[0])}):
        assert expected(store, query, may_see) == listed(store.server, token, limit=5, **query), query


def test_pages_of_several_producers_are_merged_in_order(store: Store) -> None:
    from artifactstore.registry.tokens import create_token

    with closing(store.server.registry()) as registry:
        text, _ = create_token(registry, "both", ["read:p", "read:r"])

    found = listed(store.server, text, limit=3)

    assert expected(store, {}, lambda known: known.values["producer"] in {"p", "r"}) == found


@pytest.mark.parametrize(
    "query",
    [
        "status=gone", "retention_class=forever", "metadata_key=a", "metadata_value=a", "digest=blake3:00",
        "digest=sha256:" + "0" * 64, "digest=x", "metadata_key=a&metadata_value=" + "x" * 257, "producer=" + "p" * 513,
    ],
)  # fmt: skip
def test_a_filter_that_is_none_is_refused(server: Server, query: str) -> None:
    assert 400 == server.ask("GET", f"/packages?{query}").status


# what is open


def opened(server: Server, token: str, **body: object) -> str:
    answer = server.ask("POST", "/packages", token=token, json_body=body)
    assert answer.status == 201, answer.body
    return str(answer.json["package_id"])


def test_open_packages_are_shown_to_whom_they_belong(server: Server) -> None:
    mine = opened(server, "writer", producer="p", external_id="mine")
    theirs = opened(server, "other", producer="q", external_id="theirs")

    assert mine in listed(server, "writer", status="open")
    assert theirs not in listed(server, "writer", status="open")
    assert {mine, theirs} <= set(listed(server, "admin", status="open"))
    assert {mine, theirs}.isdisjoint(listed(server, "reader", status="open"))
    assert {mine, theirs}.isdisjoint(listed(server, "admin"))


def test_filters_choose_among_open_packages_too(store: Store) -> None:
    server = store.server
    first = opened(
        server, "writer", producer="p", external_id="one", subject="main", schema="ci.v1", metadata={"n": 1, "t": "x"}
    )
    second = opened(server, "writer", producer="p", external_id="two", retention_class="transient")
    third = opened(server, "other", producer="q", external_id="one")

    def found(token: str = "admin", **query: str) -> list[str]:
        return listed(server, token, limit=1, status="open", **query)

    assert [first, second, third] == found()
    assert [first, second] == found("writer") == found(producer="p")
    assert [first, third] == found(external_id="one")
    assert [first] == found("writer", external_id="one") == found(subject="main") == found(schema="ci.v1")
    assert [second] == found(retention_class="transient")
    assert [first] == found(metadata_key="n", metadata_value="1")
    assert [] == found(metadata_key="n", metadata_value="2") == found(producer="r") == found(digest=address(b"x"))


# files and schemas


@pytest.mark.parametrize("limit", [1, 3, 10, 11])
def test_pages_of_files_have_each_file_once_in_path_order(server: Server, limit: int) -> None:
    files = {f"d/{number:02}": b"%d" % number for number in range(10)}
    package_id = record(server, files)

    found = pages(server, f"/packages/{package_id}/files", "files", limit=limit)

    assert [(path, address(data), len(data)) for path, data in files.items()] == [
        (file["path"], file["blake3"], file["size"]) for file in found
    ]
    assert [f"{package_id}:{index}" for index in range(10)] == [file["file_id"] for file in found]


def test_a_page_after_the_last_file_is_empty(server: Server) -> None:
    package_id = record(server, {"only": b"x"})

    assert {"files": [], "next_after": None} == server.ask("GET", f"/packages/{package_id}/files?after=0").json
    assert 400 == server.ask("GET", f"/packages/{package_id}/files?after=-2").status


def test_pages_of_objects_have_each_object_once(store: Store) -> None:
    every = pages(store.server, "/objects", "objects", limit=1_000)

    few = pages(store.server, "/objects", "objects", limit=17)

    assert every == few
    assert len(every) == len({(found["kind"], found["digest"]) for found in few}) > PACKAGES
