"""Requests where the server, or something between us and it, does not behave."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from artifactstore import errors
from artifactstore.api.errors import problem_answer
from artifactstore.client import Client
from artifactstore.client.answers import error_of
from artifactstore.client.connection import TRIES
from artifactstore.errors import (
    AccessError,
    ArtifactStoreError,
    ConfigurationError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PackageUnknownError,
    Problem,
    ServiceBusyError,
    ServiceError,
    ServiceUnavailableError,
)
from tests.client.certificates import make_certificate
from tests.client.scripted_server import NO_ANSWER, Answer, Asked, serving

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "secret"


class Clock:
    """Remembers how long it was told to sleep, and does not."""

    def __init__(self):
        self.naps = []

    def sleep(self, seconds):
        self.naps.append(seconds)


def all_errors(kind=ArtifactStoreError):
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from all_errors(below)


def in_turn(*answers: Answer):
    """A script: each answer once, the last one for ever."""
    ahead = list(answers)
    return lambda _: ahead.pop(0) if len(ahead) > 1 else ahead[0]


# errors


@pytest.mark.parametrize("kind", list(all_errors()), ids=lambda kind: kind.code)
def test_an_error_arrives_as_what_it_was_raised_as(kind):
    error = kind("the message")
    error.hint, error.problems = "the hint", (Problem("/a", "is wrong"), Problem("", "too"))
    status, headers, body = problem_answer(error, request_id="1")

    arrived = error_of(status, {k.decode().title(): v.decode() for k, v in headers}, body, server="http://s")

    assert type(arrived) is kind
    assert (arrived.message, arrived.hint, arrived.problems) == ("the message", "the hint", error.problems)


def test_the_offset_of_an_upload_comes_with_its_error():
    status, headers, body = problem_answer(errors.UploadOffsetError("elsewhere", offset=7), request_id="1")

    arrived = error_of(status, {k.decode().title(): v.decode() for k, v in headers}, body, server="http://s")

    assert isinstance(arrived, errors.UploadOffsetError)
    assert arrived.offset == 7


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequestError),
        (401, AccessError),
        (403, AccessError),
        (404, NotFoundError),
        (409, ConflictError),
        (422, InvalidRequestError),
        (429, ServiceBusyError),
        (500, ServiceError),
        (503, ServiceUnavailableError),
    ],
)
def test_a_code_from_the_future_counts_as_what_its_status_says(status, kind):
    with (
        serving(lambda _: Answer.problem(status, "NEVER_HEARD_OF")) as server,
        client_of(server) as client,
        pytest.raises(ArtifactStoreError, match="NEVER_HEARD_OF") as caught,
    ):
        client.health()

    assert type(caught.value) is kind


def test_a_page_of_a_proxy_is_no_answer():
    page = Answer(404, b"<html>Not here</html>", {"Content-Type": "text/html"})
    with (
        serving(lambda _: page) as server,
        client_of(server) as client,
        pytest.raises(ServiceError, match="answered 404") as caught,
    ):
        client.package("1")

    assert not isinstance(caught.value, NotFoundError)


@pytest.mark.parametrize("body", [b'{"a": ', b"[1]", b"\xff", b"[" * 100_000])
def test_an_answer_that_makes_no_sense_is_said_to_make_none(body):
    with (
        serving(lambda _: Answer(200, body)) as server,
        client_of(server) as client,
        pytest.raises(ServiceError, match="JSON"),
    ):
        client.health()


def test_members_that_are_missing_or_of_another_type_are_said_to_make_no_sense():
    with (
        serving(lambda _: Answer.json({"packages": "many"})) as server,
        client_of(server) as client,
        pytest.raises(ServiceError, match="packages"),
    ):
        client.list_packages()


# redirects, tokens, proxies


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_the_token_does_not_follow_it(status):
    with serving(lambda _: Answer.json({})) as elsewhere:
        redirect = Answer(status, b"", {"Location": f"{elsewhere.url}/health"})
        with (
            serving(lambda _: redirect) as server,
            client_of(server, TOKEN) as client,
            pytest.raises(ServiceError, match="redirect") as caught,
        ):
            client.health()

        assert elsewhere.url in caught.value.message
        assert elsewhere.asked == []


@pytest.mark.parametrize("url", ["http://example.org", "http://192.0.2.1:8000", "http://localhost.example.org"])
def test_a_token_is_not_sent_in_the_clear_to_another_host(url):
    with pytest.raises(ConfigurationError, match="not encrypted") as caught:
        Client(url, TOKEN)

    assert "https" in caught.value.hint


@pytest.mark.parametrize(
    ("url", "token"),
    [
        ("http://127.0.0.1:1", TOKEN),
        ("http://127.8.9.10", TOKEN),
        ("http://[::1]:1", TOKEN),
        ("http://localhost:1", TOKEN),
        ("https://example.org", TOKEN),
        ("http://example.org", None),
    ],
)
def test_a_token_may_go_to_loopback_or_encrypted_and_no_token_anywhere(url, token):
    Client(url, token).close()


@pytest.mark.parametrize("token", ["a b", "a\r\nX: y", "ä", "\x00"])
def test_a_token_cannot_hold_what_would_change_the_request(token):
    with pytest.raises(ConfigurationError) as caught:
        Client("http://127.0.0.1:1", token)

    assert token not in caught.value.message


@pytest.mark.parametrize("url", ["ftp://host", "127.0.0.1:8000", "http://", "http://u:p@host", "http://h?a=b", ""])
def test_what_is_no_address_of_a_server_is_refused(url):
    with pytest.raises(ConfigurationError):
        Client(url)


def test_each_request_says_who_asks_and_with_what():
    with serving(lambda _: Answer.json({})) as server, client_of(server, TOKEN) as client:
        client.health()

    (asked,) = server.asked
    assert asked.headers["Authorization"] == f"Bearer {TOKEN}"
    assert asked.headers["User-Agent"].startswith("artifactstore/")


def test_an_address_may_have_a_path():
    with serving(lambda _: Answer.json({})) as server, Client(f"{server.url}/store/") as client:
        client.health()

    assert ["GET /store/health"] == server.targets


def test_proxies_of_the_environment_are_not_asked(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with serving(lambda _: Answer.json({"status": "ok"})) as server, client_of(server) as client:
        assert client.health() == {"status": "ok"}


def test_a_certificate_that_nobody_vouches_for_is_refused_before_the_token_is_sent(tmp_path: Path) -> None:
    with (
        serving(lambda _: Answer.json({}), certificate=make_certificate(tmp_path)) as server,
        client_of(server, TOKEN) as client,
        pytest.raises(ServiceError, match="certificate cannot be trusted"),
    ):
        client.health()

    assert server.asked == []


def test_an_id_cannot_lead_elsewhere():
    with serving(lambda _: Answer.json({})) as server, client_of(server) as client:
        for package_id in ("../metrics", "..", "", "a/b", "a?b", "a#b", "%2e%2e", "ä"):
            with pytest.raises(PackageUnknownError):
                client.package(package_id)

    assert server.asked == []


# patience


def test_a_busy_server_is_asked_again_when_it_says():
    clock = Clock()
    busy = Answer.problem(503, "SERVICE_BUSY", retryable=True, **{"Retry-After": "7"})
    with (
        serving(in_turn(busy, busy, Answer.json({"status": "ok"}))) as server,
        client_of(server, clock=clock) as client,
    ):
        answer = client.health()

    assert answer == {"status": "ok"}
    assert clock.naps == [7, 7]


def test_patience_ends():
    clock = Clock()
    busy = Answer.problem(503, "SERVICE_BUSY", retryable=True)
    with serving(lambda _: busy) as server, client_of(server, clock=clock) as client, pytest.raises(ServiceBusyError):
        client.health()

    assert len(server.asked) == TRIES
    assert len(clock.naps) == TRIES - 1
    assert all(later > earlier / 3 for earlier, later in zip(clock.naps, clock.naps[1:], strict=False))


def test_an_error_that_repeating_cannot_mend_is_not_repeated():
    with (
        serving(lambda _: Answer.problem(500, "BLOB_CORRUPT")) as server,
        client_of(server) as client,
        pytest.raises(errors.BlobCorruptError),
    ):
        client.health()

    assert len(server.asked) == 1


@pytest.mark.parametrize("cut", [NO_ANSWER, Answer(200, b'{"status": "ok"}', cut=5)])
def test_a_connection_that_is_cut_is_tried_again(cut):
    with serving(in_turn(cut, cut, Answer.json({"status": "ok"}))) as server, client_of(server) as client:
        assert client.health() == {"status": "ok"}

    assert len(server.asked) == 3


def test_what_must_not_happen_twice_is_not_sent_twice():
    with serving(lambda _: NO_ANSWER) as server, client_of(server) as client:
        with pytest.raises(ServiceUnavailableError):
            client.release_hold("1", "2", reason="over")
        with pytest.raises(ServiceUnavailableError):
            client.sweep()

    assert ["POST /packages/1/holds/2/release", "POST /retention:sweep"] == server.targets


def test_a_hold_is_placed_once_however_often_it_is_sent():
    with serving(in_turn(NO_ANSWER, Answer.json({}))) as server, client_of(server) as client:
        client.place_hold("1", reason="audit")
        client.place_hold("1", reason="audit")

    first, again, another = (asked.headers["Idempotency-Key"] for asked in server.asked)
    assert first == again
    assert another != first


def test_a_server_that_is_not_there_is_named_after_some_tries():
    clock = Clock()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"

    with Client(url, sleep=clock.sleep) as client, pytest.raises(ServiceUnavailableError, match="refused") as caught:
        client.health()

    assert url in caught.value.message
    assert len(clock.naps) == TRIES - 1


def test_an_unsent_request_is_tried_again_even_if_it_must_not_happen_twice():
    clock = Clock()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"

    with Client(url, sleep=clock.sleep) as client, pytest.raises(ServiceUnavailableError):
        client.sweep()

    assert len(clock.naps) == TRIES - 1


# lists


def test_a_long_list_comes_in_several_pages():
    def script(asked: Asked) -> Answer:
        number = 0 if "after=" not in asked.target else int(asked.target.partition("after=")[2].partition("&")[0])
        limit = int(asked.target.partition("limit=")[2].partition("&")[0])
        return Answer.json({"objects": [{"n": number + n} for n in range(limit)], "next_after": number + limit})

    with serving(script) as server, client_of(server) as client:
        page = client.objects(limit=2_500)

    assert [each["n"] for each in page["objects"]] == list(range(2_500))
    assert page["next_after"] == 2_500
    assert len(server.asked) == 3


def test_short_pages_in_the_middle_are_gone_past():
    pages = [
        Answer.json({"events": [], "next_after": 5}),
        Answer.json({"events": [{"seq": 6}], "next_after": 9}),
        Answer.json({"events": [{"seq": 10}], "next_after": None}),
    ]
    with serving(in_turn(*pages)) as server, client_of(server) as client:
        assert client.events(limit=10) == {"events": [{"seq": 6}, {"seq": 10}], "next_after": None}


def test_a_list_that_does_not_go_on_is_not_followed_for_ever():
    page = Answer.json({"events": [], "files": [], "schemas": [], "next_after": 5})
    with serving(lambda _: page) as server, client_of(server) as client:
        for ask in (lambda: client.events(after=5), lambda: list(client.files("1")), lambda: list(client.schemas())):
            with pytest.raises(ServiceError, match="does not go on"):
                ask()


def test_a_server_may_be_at_an_address_of_ipv6():
    with serving(lambda _: Answer.json({"status": "ok"}), host="::1") as server, client_of(server, TOKEN) as client:
        assert client.health() == {"status": "ok"}

    assert server.asked[0].headers["Host"] == server.url.removeprefix("http://")


def test_the_client_loads_no_web_framework_and_no_database():
    program = "import sys, artifactstore.client.client, artifactstore.client.context\nprint(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert set() == {"sqlite3", "sqlalchemy", "pydantic", "fastapi", "typer", "rich"} & set(done.stdout.split())


def client_of(server, token: str | None = None, clock: Clock | None = None) -> Client:
    return Client(server.url, token, sleep=(clock or Clock()).sleep)
