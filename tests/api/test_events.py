"""The event log over HTTP: pages, and the stream that goes on as things happen."""

from __future__ import annotations

import json
import threading
from contextlib import closing, contextmanager, suppress
from http.client import IncompleteRead
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from artifactstore.registry.ingest import ingest
from artifactstore.registry.metadata_schemas import register_schema
from artifactstore.registry.retention import place_hold
from artifactstore.registry.tokens import create_token, revoke_token
from tests.api.stored import begin_get, draft_of, record
from tests.service import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.client import HTTPResponse
    from pathlib import Path

    from tests.service import Server

PACKAGE_EVENTS = ["v1.package.opened", "v1.package.files_added", "v1.package.retention_applied", "v1.package.finalized"]


def all_events(server: Server, token: str = "admin", **query: object) -> list[dict[str, Any]]:
    """The events on every page."""
    found: list[dict[str, Any]] = []
    after: object = 0
    while after is not None:
        given = "&".join(f"{name}={value}" for name, value in {"limit": 1_000, **query, "after": after}.items())
        page = server.ask("GET", f"/events?{given}", token=token).json
        found += page["events"]
        after = page["next_after"]
    return found


# pages


def test_the_log_has_no_gap_and_says_who_did_what(server: Server) -> None:
    package_id = record(server, {"x": b"who"})

    events = all_events(server)
    ours = [event for event in events if event["subject"] == package_id]

    assert list(range(1, len(events) + 1)) == [event["seq"] for event in events]
    assert {"local:test"} == {event["actor"] for event in ours}
    assert {"seq", "at", "type", "subject", "actor", "payload_digest", "chain"} == set(ours[0])
    assert [event["seq"] for event in ours] == sorted(event["seq"] for event in ours)


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_pages_of_events_have_each_once(server: Server, limit: int) -> None:
    record(server, {"x": b"pages %d" % limit})
    every = all_events(server)

    assert every == all_events(server, limit=limit)[: len(every)]


def test_a_subject_chooses_what_happened_to_it(server: Server) -> None:
    package_id, _ = record(server, {"x": b"subject"}), record(server, {"x": b"another"})

    chosen = all_events(server, subject=package_id)

    assert [event for event in all_events(server) if event["subject"] == package_id] == chosen
    assert PACKAGE_EVENTS == [event["type"] for event in chosen]
    assert [] == all_events(server, subject="nobody")


def test_payloads_are_given_to_who_asks(server: Server) -> None:
    package_id = record(server, {"x": b"payload"})

    first, *_ = all_events(server, subject=package_id, payload="true")

    assert "p" == first["payload"]["producer"]
    assert package_id == first["payload"]["package_id"]
    assert "payload" not in all_events(server, subject=package_id)[0]


@pytest.mark.parametrize(
    "query", ["after=-1", "after=x", "after=9223372036854775808", "limit=0", "limit=1001", "payload=perhaps",
              "subject=" + "x" * 129],
)  # fmt: skip
def test_a_page_that_is_none_is_refused(server: Server, query: str) -> None:
    answer = server.ask("GET", f"/events?{query}")

    assert (400, "REQUEST_INVALID") == (answer.status, answer.json["code"])


def test_beyond_the_end_there_is_nothing(server: Server) -> None:
    assert {"events": [], "next_after": None} == server.ask("GET", f"/events?after={2**63 - 1}").json


def test_a_caller_sees_their_own_packages_events_and_schemas(server: Server) -> None:
    ours, theirs = record(server, {"x": b"o"}, producer="q"), record(server, {"x": b"t"}, producer="p")
    with closing(server.registry()) as registry:
        register_schema(registry, "events.v1", {})

    seen = all_events(server, "other-reader", limit=2)
    subjects = {event["subject"] for event in seen}

    assert {ours, "events.v1"} <= subjects
    assert theirs not in subjects
    assert [] == all_events(server, "other-reader", subject=theirs)
    mine = {
        event["payload"]["package_id"]
        for event in all_events(server, payload="true")
        if event["type"] == "v1.package.opened" and event["payload"]["producer"] == "q"
    }
    everyones = [
        event
        for event in all_events(server)
        if event["subject"] in mine or event["type"] == "v1.metadata_schema.registered"
    ]
    assert everyones == seen


# the stream


class Sent(NamedTuple):
    """One server-sent event."""

    seq: int
    type: str
    document: dict[str, Any]


@contextmanager
def stream(server: Server, query: str = "", *, token: str = "admin", **headers: str) -> Iterator[HTTPResponse]:
    connection, answer = begin_get(server, f"/events/stream{query}", token=token, headers=headers)
    try:
        yield answer
    finally:
        answer.close()
        connection.close()


def blocks(answer: HTTPResponse) -> Iterator[list[str]]:
    """What stands between empty lines."""
    lines: list[str] = []
    for line in iter(answer.readline, b""):
        text = line.decode().rstrip("\n")
        if text:
            lines.append(text)
        else:
            yield lines
            lines = []


def sent(answer: HTTPResponse) -> Iterator[Sent]:
    for lines in blocks(answer):
        if not lines[0].startswith(":"):
            members = dict(line.split(": ", 1) for line in lines)
            yield Sent(int(members["id"]), members["event"], json.loads(members["data"]))


def test_the_stream_says_what_the_pages_say(server: Server) -> None:
    record(server, {"x": b"stream"})
    every = all_events(server, payload="true")

    with stream(server, "?after=0&payload=true") as answer:
        assert "text/event-stream" == answer.headers["Content-Type"].partition(";")[0]
        assert "no-store" == answer.headers["Cache-Control"]
        events = list(islice(sent(answer), len(every)))

    assert every == [event.document for event in events]
    assert [(each["seq"], each["type"]) for each in every] == [(event.seq, event.type) for event in events]


def test_without_a_beginning_it_begins_with_the_next_event(server: Server) -> None:
    record(server, {"x": b"before the stream"})
    with stream(server) as answer:
        assert next(blocks(answer))[0].startswith(":")

        package_id = record(server, {"x": b"after it"})
        first = next(sent(answer))

    assert (package_id, "v1.package.opened") == (first.document["subject"], first.type)


def test_last_event_id_comes_before_after(server: Server) -> None:
    record(server, {"x": b"last event id"})

    with stream(server, "?after=0", **{"Last-Event-ID": "2"}) as answer:
        assert 3 == next(sent(answer)).seq


@pytest.mark.parametrize("header", ["x", "-1", "1.5", "9223372036854775808"])
def test_a_last_event_id_that_is_none_is_refused(server: Server, header: str) -> None:
    answer = server.ask("GET", "/events/stream", headers={"Last-Event-ID": header})

    assert (400, "REQUEST_INVALID") == (answer.status, answer.json["code"])


def test_the_stream_needs_a_token(server: Server) -> None:
    assert 401 == server.ask("GET", "/events/stream", token=None).status
    assert 401 == server.ask("GET", "/events/stream", token="as_0_wrong").status


def test_comments_come_while_nothing_happens(server: Server) -> None:
    with stream(server) as answer:
        first, second = (next(blocks(answer)) for _ in range(2))

    assert first[0].startswith(":")
    assert second[0].startswith(":")


WRITERS, EACH = 4, 12
THE_END = "the.end"
"""A schema that is registered last: everyone sees that."""


def follow(server: Server, token: str, at_once: int, found: list[Sent]) -> None:
    """Read the stream up to the event that ends it, going on with a new connection after so many events."""
    while not (found and found[-1].document["subject"] == THE_END):
        last = str(found[-1].seq if found else 0)
        with stream(server, token=token, **{"Last-Event-ID": last}) as answer:
            for event in islice(sent(answer), at_once):
                found.append(event)
                if event.document["subject"] == THE_END:
                    break


def push_many(server: Server, producer: str) -> None:
    with closing(server.registry()) as registry:
        for number in range(EACH):
            package_id = ingest(
                registry, draft_of({"x": f"{producer} {number}".encode()}, producer=producer)
            ).package_id
            if number % 4 == 0:
                place_hold(registry, package_id, reason="as an event between others")


def test_followers_miss_and_repeat_nothing_while_writers_push(tmp_path: Path) -> None:
    """Two who may read everything and two who may read one producer; of each, one reconnects all the time."""
    found: dict[tuple[str, int], list[Sent]] = {
        (token, at_once): [] for token in ("admin", "other-reader") for at_once in (5, 10_000)
    }
    with serving(tmp_path / "home") as server:
        followers = [
            threading.Thread(target=follow, args=(server, token, at_once, events), daemon=True)
            for (token, at_once), events in found.items()
        ]
        writers = [threading.Thread(target=push_many, args=(server, producer)) for producer in "pqrs"]
        for thread in (*followers, *writers):
            thread.start()
        for thread in writers:
            thread.join()
        with closing(server.registry()) as registry:
            register_schema(registry, THE_END, {})
        for thread in followers:
            thread.join(30)
        every, theirs = all_events(server), all_events(server, "other-reader")
        payloads = all_events(server, payload="true")

    q = {event["subject"] for event in payloads if event["payload"].get("producer") == "q"}
    assert WRITERS * EACH * len(PACKAGE_EVENTS) + 4 * 3 + 1 == len(every)
    assert [event for event in every if event["subject"] in q | {THE_END}] == theirs
    for (token, at_once), events in found.items():
        expected = every if token == "admin" else theirs
        assert expected == [event.document for event in events], (token, at_once)


def test_a_server_that_is_asked_to_end_ends_its_streams(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as server, stream(server, "?after=0") as answer:
        record(server, {"x": b"x"})
        assert 1 == next(sent(answer)).seq

        code = server.stop()

        assert 0 == code
        assert b"" == answer.read()[-1:].strip()  # the answer ends as chunked answers do


def test_a_revoked_tokens_stream_stops(server: Server) -> None:
    with closing(server.registry()) as registry:
        text, _ = create_token(registry, "leaving", ["read"])
        record(server, {"x": b"seen"})
        with stream(server, "?after=0", token=text) as answer:
            every = all_events(server)
            assert every == [event.document for event in islice(sent(answer), len(every))]

            revoke_token(registry, "leaving")
            after = record(server, {"x": b"not seen"})
            rest = blocks_before_the_end(answer)

    assert after not in str(rest)
    assert len(rest) <= 2  # comments
    assert 401 == server.ask("GET", "/events/stream", token=text).status
    assert not [line for line in server.log if "Traceback" in line or text in line]


def blocks_before_the_end(answer: HTTPResponse) -> list[list[str]]:
    """What comes before the connection is cut, or enough to see that it is not."""
    found: list[list[str]] = []
    with suppress(IncompleteRead):
        found.extend(islice(blocks(answer), 3))
    return found
