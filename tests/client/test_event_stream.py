"""Following the event log through cut connections."""

from __future__ import annotations

import json
from itertools import islice

import pytest

from artifactstore.client import Client
from artifactstore.client.connection import TRIES
from artifactstore.errors import ForbiddenError, ServiceError
from tests.client.scripted_server import NO_ANSWER, Answer, serving


def message(seq: int, *, ends: bytes = b"\n") -> bytes:
    data = json.dumps({"seq": seq, "type": "x"}).encode()
    return b"id: %d" % seq + ends + b"event: x" + ends + b"data: " + data + ends + ends


def stream(*pieces: bytes, cut: int | None = None) -> Answer:
    return Answer(200, b"".join(pieces), {"Content-Type": "text/event-stream"}, cut)


def in_turn(*answers: Answer):
    ahead = list(answers)
    return lambda _: ahead.pop(0) if len(ahead) > 1 else ahead[0]


def followed(answers, *, after: int, count: int) -> tuple[list[int], list[str]]:
    """The numbers that came, and from where the client asked for them."""
    with serving(in_turn(*answers)) as server, Client(server.url, sleep=lambda _: None) as client:
        found = [event["seq"] for event in islice(client.stream_events(after), count)]
    return found, [asked.headers["Last-Event-ID"] for asked in server.asked]


def test_events_come_in_order_and_comments_do_not():
    found, asked = followed([stream(b": here\n\n", message(4), b":\n", message(5))], after=3, count=2)

    assert found == [4, 5]
    assert asked == ["3"]


def test_a_cut_within_an_event_loses_nothing_and_doubles_nothing():
    whole = message(1) + message(2)
    for cut in range(1, len(whole)):
        found, _ = followed([stream(whole, cut=cut), stream(message(1), message(2))], after=0, count=2)

        assert found == [1, 2]


def test_a_stream_that_is_cut_goes_on_after_the_last_event():
    found, asked = followed([stream(message(1), message(2)), NO_ANSWER, stream(message(3))], after=0, count=3)

    assert found == [1, 2, 3]
    assert asked == ["0", "2", "2"]


def test_what_a_server_sends_again_is_passed_over():
    found, _ = followed([stream(message(1), message(2)), stream(message(1), message(2), message(3))], after=0, count=3)

    assert found == [1, 2, 3]


def test_lines_may_end_as_the_standard_allows_and_come_in_any_pieces():
    text = message(1, ends=b"\r\n") + message(2)
    for at in range(1, len(text) - 1):
        found, _ = followed([stream(text[:at], text[at:])], after=0, count=2)

        assert found == [1, 2]


def test_a_server_that_only_ever_ends_the_stream_is_given_up():
    with (
        serving(lambda _: stream(b"")) as server,
        Client(server.url, sleep=lambda _: None) as client,
        pytest.raises(ServiceError, match="ended the stream"),
    ):
        next(client.stream_events(0))

    assert len(server.asked) == TRIES


def test_a_stream_that_is_not_allowed_is_an_error_at_once():
    with (
        serving(lambda _: Answer.problem(403, "FORBIDDEN")) as server,
        Client(server.url) as client,
        pytest.raises(ForbiddenError),
    ):
        next(client.stream_events(0))

    assert len(server.asked) == 1


@pytest.mark.parametrize("data", [b"data: {\n\n", b"data: []\n\n", b'data: {"seq": "1"}\n\n'])
def test_an_event_that_makes_no_sense_is_said_to_make_none(data):
    with (
        serving(lambda _: stream(data)) as server,
        Client(server.url, sleep=lambda _: None) as client,
        pytest.raises(ServiceError),
    ):
        next(client.stream_events(0))
