"""One request to a webhook, over real connections: where it goes, whom it trusts, and that nothing holds it up."""

from __future__ import annotations

import logging
import socket
import ssl
import subprocess
import sys
import threading
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from artifactstore.errors import WebhookFailedError, WebhookRefusedError
from artifactstore.webhooks import Network
from artifactstore.webhooks.sending import MAX_ANSWER_BYTES, Answer, post
from tests.webhook_receiver import dripping, names_lead_to, receiving, webhook_to

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler

    from tests.webhook_receiver import Receiver

SHORT_S = 0.5


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def send(receiver: Receiver, network: Network | None = None, body: bytes = b"{}", **members: Any) -> Answer:
    return post(webhook_to(receiver, **members), {"x-test": "1"}, body, network or names_lead_to("127.0.0.1"))


def at_the_name(receiver: Receiver) -> str:
    return f"{receiver.scheme}://hub.test:{receiver.port}/hooks?key=7"


# what is sent


def test_a_body_arrives_at_path_and_query_under_the_name_of_the_url(receiver: Receiver) -> None:
    answer = send(receiver, body=b'{"a": 1}', url=at_the_name(receiver))

    ((path, headers, body),) = receiver.requests
    assert (204, "") == answer
    assert ("/hooks?key=7", b'{"a": 1}') == (path, body)
    assert f"hub.test:{receiver.port}" == headers["host"]
    assert {"host", "x-test", "content-length", "accept-encoding", "user-agent"} >= headers.keys()


def test_the_status_is_answered_whatever_it_is(receiver: Receiver) -> None:
    receiver.statuses, receiver.headers = [503], {"Retry-After": "120"}

    assert Answer(503, "120") == send(receiver)


@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 103 Early Hints\r\nLink: </x.css>; rel=preload\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
    ids=["one", "several", "one with headers that it may not have"],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_answers_that_announce_another_are_passed_over(receiver: Receiver, interim: bytes, at_once: bool) -> None:
    final = b"HTTP/1.1 503 Later\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n"

    def respond(handler: BaseHTTPRequestHandler, ended: threading.Event) -> None:
        for part in (interim + final,) if at_once else (interim, final):
            handler.wfile.write(part)
            ended.wait(0.1)

    receiver.respond = respond

    assert Answer(503, "9") == send(receiver)


def test_another_protocol_is_an_answer_of_its_own(receiver: Receiver) -> None:
    receiver.statuses = [101]

    assert 101 == send(receiver).status


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    receiver.statuses, receiver.headers = [status], {"Location": "/elsewhere"}

    answer = send(receiver)

    assert (status, ["/hooks"]) == (answer.status, [request.path for request in receiver.requests])


def test_proxies_of_the_environment_are_not_asked(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")

        send(receiver)

        assert (1, []) == (len(receiver.requests), proxy.requests)


# where it goes


def test_a_name_that_leads_elsewhere_the_second_time_is_asked_once() -> None:
    with receiving("127.0.0.2") as meant, receiving("127.0.0.1", meant.port) as trap:
        answers = [["127.0.0.2"], ["127.0.0.1"], ["127.0.0.1"]]
        network = Network(resolve=lambda _host, _port: answers.pop(0))

        send(meant, network, url=at_the_name(meant), allow_networks=webhook_to(meant).allow_networks)

        assert (1, 0, 2) == (len(meant.requests), len(trap.requests), len(answers))


def test_a_name_that_is_public_first_and_private_then_reaches_nothing_private(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is made to the public address that was checked; here nothing is behind it."""
    answers = [["1.1.1.1"], ["127.0.0.1"], ["127.0.0.1"]]
    network = Network(resolve=lambda _host, _port: answers.pop(0), trust=ssl.create_default_context)
    asked = note_connections(monkeypatch)
    url = f"https://hub.test:{receiver.port}/"

    with pytest.raises(WebhookFailedError):
        send(receiver, network, url=url, allow_networks=(), timeout_s=SHORT_S)

    assert ([("1.1.1.1", receiver.port)], [], 2) == (asked, receiver.requests, len(answers))


def note_connections(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Where connections were to go; none to other hosts than this one is made."""
    asked: list[tuple[str, int]] = []

    class Nowhere(socket.socket):
        def connect(self, address: Any) -> None:
            asked.append(address[:2])
            raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "socket", Nowhere)
    return asked


def test_nothing_is_sent_if_one_of_the_addresses_is_not_allowed(receiver: Receiver) -> None:
    with pytest.raises(WebhookRefusedError, match=r"hub\.test is at 10\.0\.0\.1, which is neither public nor"):
        send(receiver, names_lead_to("127.0.0.1", "10.0.0.1"), url=at_the_name(receiver))

    assert [] == receiver.requests


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1"])
def test_this_host_is_refused_unless_it_is_allowed(receiver: Receiver, address: str) -> None:
    with pytest.raises(WebhookRefusedError):
        send(receiver, names_lead_to(address), url=f"https://hub.test:{receiver.port}/", allow_networks=())

    assert [] == receiver.requests


def test_by_itself_a_name_is_looked_up_by_the_system(receiver: Receiver) -> None:
    with pytest.raises(WebhookRefusedError, match="localhost is at"):
        send(receiver, Network(), url=f"https://localhost:{receiver.port}/", allow_networks=())

    assert 204 == send(receiver, Network()).status


def test_the_next_address_is_tried_where_one_accepts_no_connection(receiver: Receiver) -> None:
    answer = send(receiver, names_lead_to("127.0.0.3", "127.0.0.1"), url=at_the_name(receiver))

    assert (204, 1) == (answer.status, len(receiver.requests))


def test_an_address_of_ipv6_is_reached_by_itself_and_by_a_name() -> None:
    try:
        with receiving("::1") as receiver:
            allowed = (ip_network("::1/128"),)

            send(receiver, Network(), allow_networks=allowed)
            send(receiver, names_lead_to("::1"), url=at_the_name(receiver), allow_networks=allowed)

            hosts = [request.headers["host"] for request in receiver.requests]
    except OSError as error:
        pytest.skip(f"this host has no IPv6: {error}")

    assert [f"[::1]:{receiver.port}", f"hub.test:{receiver.port}"] == hosts


def test_an_address_that_stands_for_another_is_connected_to_if_that_is_allowed(receiver: Receiver) -> None:
    answer = send(receiver, names_lead_to("::ffff:127.0.0.1"), url=at_the_name(receiver))

    assert (204, 1) == (answer.status, len(receiver.requests))


# TLS


def test_the_certificate_is_that_of_the_name_and_not_of_the_address(authority: trustme.CA) -> None:
    network = Network(resolve=names_lead_to("127.0.0.1").resolve, trust=lambda: trusting(authority))
    with receiving(certificate=authority.issue_cert("hub.test")) as receiver:
        answer = send(receiver, network, url=at_the_name(receiver))

        assert (204, ["hub.test"]) == (answer.status, receiver.names)
        assert f"hub.test:{receiver.port}" == receiver.requests[0].headers["host"]


@pytest.mark.parametrize(
    ("names", "is_trusted", "why"),
    [
        (["127.0.0.1", "other.test"], True, "Hostname mismatch"),
        (["hub.test"], False, "certificate"),
    ],
)
def test_a_certificate_of_others_is_not_trusted(
    authority: trustme.CA, names: list[str], is_trusted: bool, why: str
) -> None:
    trust = (lambda: trusting(authority)) if is_trusted else Network().trust
    network = Network(resolve=names_lead_to("127.0.0.1").resolve, trust=trust)
    with receiving(certificate=authority.issue_cert(*names)) as receiver:
        with pytest.raises(WebhookFailedError, match=f"its certificate cannot be trusted: .*{why}"):
            send(receiver, network, url=at_the_name(receiver))

        assert [] == receiver.requests


def test_an_address_may_have_a_certificate_too(authority: trustme.CA) -> None:
    network = Network(trust=lambda: trusting(authority))
    with receiving(certificate=authority.issue_cert("127.0.0.1")) as receiver:
        assert 204 == send(receiver, network).status


# what does not answer


def silent(_: BaseHTTPRequestHandler, ended: threading.Event) -> None:
    ended.wait(20)


SLOW = {
    "nothing": silent,
    "a status line, byte by byte": dripping(first=b"HTTP/1.1 200 ", drop=b"O"),
    "headers, one after the other": dripping(first=b"HTTP/1.1 200 OK\r\n", drop=b"x"),
    "103 Early Hints, again and again": dripping(first=b"", drop=b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "100 Continue, again and again": dripping(first=b"", drop=b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("what", SLOW)
def test_a_slow_answer_is_cut_at_the_deadline(receiver: Receiver, what: str) -> None:
    receiver.respond = SLOW[what]

    with pytest.raises(WebhookFailedError, match=r"127\.0\.0\.1:\d+: no answer within 0\.5 s"):
        send(receiver, timeout_s=SHORT_S)


def test_a_server_that_never_ends_its_handshake_is_cut_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, receiving() as other:
        url = f"https://127.0.0.1:{mute.getsockname()[1]}/"

        with pytest.raises(WebhookFailedError, match="no answer within"):
            send(other, Network(), url=url, timeout_s=SHORT_S)


def test_a_handshake_that_drips_is_cut_at_the_deadline() -> None:
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_drip_a_handshake, args=(server, ended))
        thread.start()
        with receiving() as other, pytest.raises(WebhookFailedError, match="no answer within"):
            send(other, Network(), url=f"https://127.0.0.1:{server.getsockname()[1]}/", timeout_s=SHORT_S)
        ended.set()
        thread.join()


def _drip_a_handshake(server: socket.socket, ended: threading.Event) -> None:
    """A record of TLS that announces 16,000 bytes and takes 20 seconds to get nowhere."""
    connected, _ = server.accept()
    with connected:
        data = bytes.fromhex("160303") + (16_000).to_bytes(2, "big") + bytes(400)
        for at in range(len(data)):
            if ended.wait(0.05):
                return
            try:
                connected.sendall(data[at : at + 1])
            except OSError:
                return


def test_a_resolver_that_does_not_answer_is_not_waited_for(receiver: Receiver) -> None:
    until = threading.Event()

    def resolve(_host: str, _port: int) -> list[str]:
        until.wait(20)
        return ["127.0.0.1"]

    with pytest.raises(WebhookFailedError, match="no answer within"):
        send(receiver, Network(resolve=resolve), timeout_s=SHORT_S)
    until.set()

    assert [] == receiver.requests


def test_an_answer_whose_body_never_ends_is_an_answer(receiver: Receiver) -> None:
    receiver.respond = dripping(first=b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", drop=b"x")

    assert 200 == send(receiver, timeout_s=2.0).status


def test_of_a_huge_answer_only_the_beginning_is_read(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    def respond(handler: BaseHTTPRequestHandler, ended: threading.Event) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for _ in range(1_000):
            handler.wfile.write(bytes(64 * 1024))

    receiver.respond = respond
    taken = count_what_is_taken(monkeypatch)

    assert 200 == send(receiver).status
    assert MAX_ANSWER_BYTES <= sum(taken) <= 2 * MAX_ANSWER_BYTES


def count_what_is_taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes that are taken from sockets by whoever reads them as files; request and headers are among them."""
    taken: list[int] = []
    take = socket.SocketIO.readinto

    def readinto(self: socket.SocketIO, buffer: Any) -> int | None:
        count = take(self, buffer)
        taken.append(count or 0)
        return count

    monkeypatch.setattr(socket.SocketIO, "readinto", readinto)
    return taken


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "the connection was closed without an answer"),
        (b"SSH-2.0-OpenSSH_9.2 secret-banner\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"secret" * 20_000 + b"\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: secret\r\n" * 2_000 + b"\r\n", "the answer is not HTTP"),
    ],
    ids=["nothing", "another protocol", "a huge header", "very many headers"],
)
def test_an_answer_that_makes_no_sense_is_a_failure_that_does_not_repeat_it(
    receiver: Receiver, answer: bytes, why: str
) -> None:
    receiver.respond = lambda handler, _: handler.wfile.write(answer)

    with pytest.raises(WebhookFailedError) as caught:
        send(receiver)

    assert f"127.0.0.1:{receiver.port}: {why}" == caught.value.message


def test_a_connection_that_is_refused_says_so(receiver: Receiver) -> None:
    with pytest.raises(WebhookFailedError, match=r"127\.0\.0\.1:\d+: Connection refused"):
        send(receiver, url="http://127.0.0.1:1/")


def test_a_name_that_nobody_has_says_so(receiver: Receiver) -> None:
    def resolve(_host: str, _port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(WebhookFailedError, match=r"hub\.test:\d+: its name cannot be resolved"):
        send(receiver, Network(resolve=resolve), url=at_the_name(receiver))


def test_attempts_that_were_cut_leave_no_thread_behind(receiver: Receiver) -> None:
    receiver.respond = silent

    for _ in range(3):
        with pytest.raises(WebhookFailedError):
            send(receiver, timeout_s=SHORT_S)

    ours = [each for each in threading.enumerate() if isinstance(each, threading.Timer) or "resolve" in each.name]
    assert [] == ours


def test_no_query_and_no_answer_gets_into_a_log(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.headers = {"X-Secret": "from-the-receiver"}

    send(receiver, url=at_the_name(receiver))

    assert not any(part in caplog.text for part in ("key=7", "from-the-receiver"))


def test_the_client_library_is_loaded_when_something_is_sent() -> None:
    program = "import sys, artifactstore.webhooks, artifactstore.config; print(*sys.modules)"

    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert not {"urllib3", "ssl"} & set(answer.stdout.split())
