"""GitHub's API as it answers, fails and misbehaves: a real HTTP server on loopback, told what to do."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import traceback
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from artifactstore.errors import ConfigurationError, LimitExceededError
from artifactstore.pilots.testing_os.faults import ProvenanceFaultError, ProvenanceUnavailableError
from artifactstore.pilots.testing_os.github import (
    ScenarioFetchFaultError,
    ScenarioFetchUnavailableError,
    github_provenance,
    github_provenance_1_1,
    scenario_definition,
    scenario_definitions,
)
from artifactstore.pilots.testing_os.github_api import GitHubApi
from artifactstore.pilots.testing_os.provenance import Confirmation
from artifactstore.pilots.testing_os.scenarios import ScenarioDefinition, UnreadableScenario
from artifactstore.pilots.testing_os.submission import Ref, Source
from tests.pilots.testing_os.judging import judge, submission, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Respond = Callable[[BaseHTTPRequestHandler, threading.Event], object]

TOKEN = "ghp_secret"
COMMIT = "c5d6c4e0000000000000000000000000deadbeef"
SOURCE = Source("github", "dogfood.yml", "77", "https://github.com/org/repo/actions/runs/77", None, None)
REF = Ref(COMMIT, None, None)
RUN = {"id": 77, "status": "completed", "conclusion": "failure", "head_sha": COMMIT}
CONFIRMED = Confirmation(confirmed=True, head_sha=COMMIT)
NOT_CONFIRMED = Confirmation(confirmed=False)
SCENARIO = b"scenario_id: s\nsuccess_criteria:\n  required_steps: [one, two]\n"
IMPATIENT_S = 0.3
PATIENT_S = 20.0


@dataclass
class GitHub:
    """A server that notes what it is asked and answers in turn; the last answer is for all that follow."""

    url: str = ""
    answers: list[tuple[int, bytes, dict[str, str]]] = field(default_factory=list)
    respond: Respond | None = None
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def says(self, status: int, body: Any = b"", **headers: str) -> GitHub:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers.append((status, data, {name.replace("_", "-"): value for name, value in headers.items()}))
        return self

    def does(self, respond: Respond) -> GitHub:
        self.respond = respond
        return self

    def api(self, **options: Any) -> GitHubApi:
        return GitHubApi(TOKEN, **{"base_url": self.url, "timeout_s": PATIENT_S, "sleep": self.waits.append, **options})

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]


@contextmanager
def serving(certificate: trustme.LeafCert | None = None) -> Iterator[GitHub]:
    ended = threading.Event()
    github = GitHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            github.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            self.close_connection = True
            if github.respond is not None:
                with suppress(OSError):
                    github.respond(self, ended)
                return
            status, body, headers = github.answers[0] if len(github.answers) == 1 else github.answers.pop(0)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that goes away is what some tests are about."""

    with Server(("127.0.0.1", 0), Handler) as server:
        github.url = f"http://127.0.0.1:{server.server_address[1]}"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            github.url = github.url.replace("http:", "https:")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield github
        finally:
            ended.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def github() -> Iterator[GitHub]:
    with serving() as server:
        yield server


def answering_nothing(_handler: BaseHTTPRequestHandler, ended: threading.Event) -> None:
    ended.wait(PATIENT_S)


def dripping_headers(handler: BaseHTTPRequestHandler, ended: threading.Event) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    drip(handler, ended)


def dripping_body(handler: BaseHTTPRequestHandler, ended: threading.Event) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    drip(handler, ended)


def drip(handler: BaseHTTPRequestHandler, ended: threading.Event) -> None:
    while not ended.wait(0.02):
        handler.wfile.write(b" ")


def closing_at_once(handler: BaseHTTPRequestHandler, _ended: threading.Event) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def closing_within_the_body(handler: BaseHTTPRequestHandler, _ended: threading.Event) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + json.dumps(RUN).encode())


def closing_within_a_chunk(handler: BaseHTTPRequestHandler, _ended: threading.Event) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n" + json.dumps(RUN).encode())


def speaking_something_else(handler: BaseHTTPRequestHandler, _ended: threading.Event) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


CUT = (closing_at_once, closing_within_the_body, closing_within_a_chunk, speaking_something_else)
SLOW = (answering_nothing, dripping_headers, dripping_body)
NO_RUNS = {
    "html": b"<html>log in</html>",
    "nothing": b"",
    "not UTF-8": b'{"id": "\xff"}',
    "a repeated key": b'{"id": 78, "id": 77}',
    "deep": b"[" * 5000 + b"]" * 5000,
    "huge": b'{"id": 77, "filler": "' + b"x" * 2_000_000 + b'"}',
}


# runs


def test_a_run_that_is_over_is_confirmed_with_the_commit_it_ran_on(github):
    github.says(200, RUN)

    assert CONFIRMED == github_provenance(github.api())(SOURCE, REF)

    ((path, headers),) = github.requests
    assert path == "/repos/org/repo/actions/runs/77"
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert headers["accept"] == "application/vnd.github+json"
    assert headers["x-github-api-version"] == "2022-11-28"
    assert [] == github.waits


def test_the_api_may_be_below_a_path(github):
    github.says(200, RUN)

    assert CONFIRMED == github_provenance(github.api(base_url=github.url + "/api/v3/"))(SOURCE, REF)

    assert github.paths == ["/api/v3/repos/org/repo/actions/runs/77"]


@pytest.mark.parametrize(
    "found",
    [
        {**RUN, "id": 78},
        {**RUN, "id": "77"},
        {**RUN, "id": True},
        {**RUN, "id": 77.0},
        {**RUN, "status": "in_progress"},
        {**RUN, "head_sha": None},
        {**RUN, "repository": {"full_name": "ORG/repo"}},
        {**RUN, "head_sha": "c5d6"},
        {},
        [],
        None,
        77,
    ],
    ids=str,
)
def test_another_run_is_not_confirmed(github, found):
    github.says(200, found)

    assert NOT_CONFIRMED == github_provenance(github.api())(SOURCE, REF)


@pytest.mark.parametrize(
    "changes",
    [
        {"provider_run_id": "78"},
        {"provider_run_id": "077"},
        {"run_url": "https://github.com/org/repo/actions/runs/77/attempts/1"},
        {"run_url": "https://github.com/org/repo/actions/runs/77\n"},
        {"run_url": "https://github.com/org/repo/actions/runs/77?x=1"},
        {"run_url": "https://github.com/../repo/actions/runs/77"},
        {"run_url": "https://github.com/org/../actions/runs/77"},
        {"run_url": "https://github.com/or%2fg/repo/actions/runs/77"},
        {"run_url": "https://github.com/org/re po/actions/runs/77"},
        {"run_url": "https://github.com.evil.example/org/repo/actions/runs/77"},
        {"run_url": "http://github.com/org/repo/actions/runs/77"},
        {"run_url": "https://github.com/org/repo/actions/runs/\u0667\u0667", "provider_run_id": "\u0667\u0667"},
    ],
    ids=str,
)
@pytest.mark.parametrize("adapter", [github_provenance, github_provenance_1_1])
def test_a_source_that_names_no_run_is_not_confirmed_and_nobody_is_asked(github, adapter, changes):
    assert NOT_CONFIRMED == adapter(github.api())(replace(SOURCE, **changes), REF)

    assert [] == github.requests


def test_a_run_that_is_not_there_is_not_confirmed_and_asked_for_once(github):
    github.says(404, {"message": "Not Found"})

    assert NOT_CONFIRMED == github_provenance(github.api())(SOURCE, REF)

    assert len(github.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 410, 422, 451])
def test_a_refusal_is_a_fault_for_good(github, status):
    github.says(status, {"message": "no"})

    with pytest.raises(ProvenanceFaultError, match=f"^provenance: GitHub API returned {status}$") as caught:
        github_provenance(github.api())(SOURCE, REF)

    assert not caught.value.retryable
    assert len(github.requests) == 1


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (408, {}),
        (429, {}),
        (500, {}),
        (502, {}),
        (503, {}),
        (403, {"X_RateLimit_Remaining": "0"}),
        (403, {"Retry_After": "0"}),
    ],
)
def test_a_failure_that_passes_is_tried_twice_more_and_then_a_fault_that_passes(github, status, headers):
    github.says(status, b"", **headers)

    with pytest.raises(ProvenanceUnavailableError, match=f"GitHub API returned {status}$") as caught:
        github_provenance(github.api())(SOURCE, REF)

    assert caught.value.retryable
    assert len(github.requests) == 3
    assert [0.25, 0.5] == github.waits


def test_a_run_is_confirmed_once_the_failure_has_passed(github):
    github.says(503).says(429, b"", Retry_After="7").says(200, RUN)

    assert CONFIRMED == github_provenance(github.api())(SOURCE, REF)

    assert [0.25, 7.0] == github.waits


def test_github_is_not_waited_for_longer_than_half_a_minute_at_a_time(github):
    github.says(429, b"", Retry_After="31")

    with pytest.raises(ProvenanceUnavailableError) as caught:
        github_provenance(github.api())(SOURCE, REF)

    assert ([], 1) == (github.waits, len(github.requests))
    assert "31 s" in caught.value.hint


def test_what_would_end_after_the_deadline_is_not_begun(github):
    github.says(429, b"", Retry_After="20")

    with pytest.raises(ProvenanceUnavailableError):
        github_provenance(github.api(deadline_s=10.0))(SOURCE, REF)

    assert [] == github.waits
    assert len(github.requests) == 1


@pytest.mark.parametrize("respond", SLOW)
def test_a_time_out_is_a_fault_that_passes(github, respond):
    github.does(respond)

    with pytest.raises(ProvenanceUnavailableError, match=r"^provenance: GitHub API timeout after 300ms$"):
        github_provenance(github.api(timeout_s=IMPATIENT_S))(SOURCE, REF)

    assert len(github.requests) == 3
    assert not [thread for thread in threading.enumerate() if thread.name == "ask GitHub" and still_asks(thread)]


def still_asks(thread: threading.Thread) -> bool:
    """Whether it goes on although nobody waits for it any more."""
    thread.join(5)
    return thread.is_alive()


@pytest.mark.parametrize("respond", CUT)
def test_a_connection_that_is_cut_is_a_fault_that_passes(github, respond):
    github.does(respond)

    with pytest.raises(ProvenanceUnavailableError, match=r"^provenance: network error: "):
        github_provenance(github.api())(SOURCE, REF)

    assert len(github.requests) == 3


def test_a_server_that_is_not_there_is_a_fault_that_passes():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    waits: list[float] = []
    api = GitHubApi(TOKEN, base_url=f"http://127.0.0.1:{port}", sleep=waits.append)

    with pytest.raises(ProvenanceUnavailableError, match="network error: Connection refused"):
        github_provenance(api)(SOURCE, REF)

    assert [0.25, 0.5] == waits


def test_a_name_that_leads_nowhere_is_a_fault_that_passes():
    no_label = "x" * 64  # what needs no resolver to be refused
    api = GitHubApi(TOKEN, base_url=f"https://{no_label}.example", sleep=lambda _: None)

    with pytest.raises(ProvenanceUnavailableError, match="network error: "):
        github_provenance(api)(SOURCE, REF)


@pytest.mark.parametrize("body", NO_RUNS.values(), ids=NO_RUNS)
def test_an_answer_that_makes_no_sense_is_a_fault_for_good(github, body):
    github.says(200, body)

    with pytest.raises(ProvenanceFaultError, match="GitHub API answered with ") as caught:
        github_provenance(github.api())(SOURCE, REF)

    assert not caught.value.retryable
    assert len(github.requests) == 1


def test_an_answer_without_end_is_read_no_further_than_it_is_wanted(github):
    def pour(handler: BaseHTTPRequestHandler, ended: threading.Event) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        while not ended.is_set():
            handler.wfile.write(b" " * 65536)

    github.does(pour)

    with pytest.raises(ProvenanceFaultError, match="more than 1048576 bytes"):
        github_provenance(github.api(timeout_s=3.0))(SOURCE, REF)
    assert UnreadableScenario("too_large") == scenario_definition(github.api(timeout_s=3.0), "org/repo", COMMIT, "s")


@pytest.mark.parametrize("adapter", [github_provenance, github_provenance_1_1])
def test_runs_of_another_provider_are_a_fault(github, adapter):
    with pytest.raises(ProvenanceFaultError, match=r"^unsupported provider: gitlab$"):
        adapter(github.api())(replace(SOURCE, provider="gitlab"), REF)


# redirects


def test_a_renamed_repository_is_found_where_it_is_now(github):
    github.says(301, b"", Location="/repositories/5/actions/runs/77").says(200, RUN)

    assert CONFIRMED == github_provenance(github.api())(SOURCE, REF)

    assert github.paths[1] == "/repositories/5/actions/runs/77"


@pytest.mark.parametrize("adapter", [github_provenance, github_provenance_1_1])
def test_the_token_goes_to_no_other_server(github, adapter):
    with serving() as other:
        other.says(200, RUN)
        github.says(302, b"", Location=other.url + "/repos/org/repo/actions/runs/77")

        with suppress(ProvenanceFaultError):
            assert NOT_CONFIRMED == adapter(github.api())(SOURCE, REF)

        assert [] == other.requests
        assert len(github.requests) == 1


@pytest.mark.parametrize("location", ["", "//evil.example/x", "https://[/x", "/a b", "ftp://x/"])
def test_a_redirect_that_leads_elsewhere_is_a_fault_for_good(github, location):
    github.says(307, b"", Location=location)

    with pytest.raises(ProvenanceFaultError, match="redirects to where the token must not go") as caught:
        github_provenance(github.api())(SOURCE, REF)

    assert not caught.value.retryable


def test_redirects_without_end_are_a_fault(github):
    github.says(302, b"", Location="/again")

    with pytest.raises(ProvenanceFaultError, match="redirects again and again"):
        github_provenance(github.api())(SOURCE, REF)

    assert len(github.requests) == 4


# as 1.1.7


def test_in_profile_1_1_any_commit_will_do(github):
    github.says(200, {"id": 77, "status": "completed"})

    assert Confirmation(confirmed=True) == github_provenance_1_1(github.api())(SOURCE, REF)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
def test_in_profile_1_1_whatever_is_no_success_is_not_confirmed(github, status):
    github.says(status)

    assert NOT_CONFIRMED == github_provenance_1_1(github.api())(SOURCE, REF)

    assert len(github.requests) == 1


@pytest.mark.parametrize("respond", CUT)
def test_in_profile_1_1_a_network_error_is_not_confirmed(github, respond):
    github.does(respond)

    assert NOT_CONFIRMED == github_provenance_1_1(github.api())(SOURCE, REF)


@pytest.mark.parametrize("respond", SLOW)
def test_in_profile_1_1_a_time_out_is_a_fault(github, respond):
    github.does(respond)

    with pytest.raises(ProvenanceFaultError, match=r"^provenance: GitHub API timeout after 300ms$"):
        github_provenance_1_1(github.api(timeout_s=IMPATIENT_S))(SOURCE, REF)

    assert len(github.requests) == 1


# within a judgement


def test_a_run_of_another_commit_is_a_rejection(github):
    github.says(200, {**RUN, "id": 9123456789, "head_sha": "b" * 40})

    verification = judge(submission(), provenance=github_provenance(github.api()))

    assert any("it ran on " + "b" * 40 in text for text in texts(verification))


def test_an_outage_is_no_judgement(github):
    github.says(503)

    with pytest.raises(ProvenanceUnavailableError, match=r"^provenance-fault: verification failed: provenance: GitHub"):
        judge(submission(), provenance=github_provenance(github.api()))


# the token and the address


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "t\u00f6ken", "nul\0"])
def test_what_can_be_no_token_is_refused_and_not_repeated(token):
    with pytest.raises(ConfigurationError) as caught:
        GitHubApi(token)

    assert not token or token not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.github.com",
        "ftp://127.0.0.1",
        "https://",
        "https://user:secret@api.github.com",
        "https://api.github.com/?secret",
        "https://api.github.com:0",
        "https://api.github.com:secret",
        "https://[secret",
        "https://api.github.com/a secret",
        "",
    ],
)
def test_what_can_be_no_address_is_refused_and_not_repeated(url):
    with pytest.raises(ConfigurationError) as caught:
        GitHubApi(TOKEN, base_url=url)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("respond", [*CUT, answering_nothing])
def test_the_token_is_in_no_error(github, respond):
    api = github.does(respond).api(timeout_s=IMPATIENT_S)

    with pytest.raises(ProvenanceFaultError) as caught:
        github_provenance(api)(SOURCE, REF)

    assert TOKEN not in "".join(traceback.format_exception(caught.value)) + repr(api) + caught.value.hint


def test_tls_is_spoken_with_whom_the_system_trusts_and_with_no_other():
    authority = trustme.CA()

    def trusting() -> ssl.SSLContext:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        return context

    with serving(authority.issue_cert("127.0.0.1")) as github:
        github.says(200, RUN)
        assert CONFIRMED == github_provenance(github.api(make_trust=trusting))(SOURCE, REF)

        with pytest.raises(ProvenanceFaultError, match="certificate of the GitHub API cannot be trusted") as caught:
            github_provenance(github.api())(SOURCE, REF)
        assert not caught.value.retryable
        assert len(github.requests) == 1

    with serving(authority.issue_cert("other.example")) as github:
        with pytest.raises(ProvenanceFaultError, match="cannot be trusted"):
            github_provenance(github.api(make_trust=trusting))(SOURCE, REF)
        assert [] == github.requests


# scenario definitions


def test_a_definition_is_read_at_the_commit(github):
    github.says(200, SCENARIO)

    assert ScenarioDefinition(("one", "two")) == scenario_definition(github.api(), "org/repo", COMMIT, "s")

    ((path, headers),) = github.requests
    assert path == f"/repos/org/repo/contents/dogfood/scenarios/s.yaml?ref={COMMIT}"
    assert headers["accept"] == "application/vnd.github.raw+json"


def test_a_definition_that_is_not_there_is_none(github):
    github.says(404)

    assert scenario_definition(github.api(), "org/repo", COMMIT, "s") is None


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"a: [", "parse_error"),
        (b"[]", "schema_invalid"),
        (b"success_criteria: {required_steps: [" + b"s" * 201 + b"]}", "schema_invalid"),
        (b"\xff", "parse_error"),
        (b"# " + b"x" * (1024 * 1024), "too_large"),
        (b'[{"name": "s.yaml", "type": "file"}]', "schema_invalid"),
    ],
    ids=["no YAML", "a list", "a long step", "not UTF-8", "huge", "a directory"],
)
def test_a_definition_that_cannot_be_used_says_why(github, body, why):
    github.says(200, body)

    assert UnreadableScenario(why) == scenario_definition(github.api(), "org/repo", COMMIT, "s")


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "", "x?ref=main", "a#b", "a%2fb", "x" * 201, "a\n"])
def test_an_id_that_names_no_file_is_asked_for_nowhere(github, name):
    assert UnreadableScenario("invalid_id") == scenario_definition(github.api(), "org/repo", COMMIT, name)

    assert [] == github.requests


@pytest.mark.parametrize(
    ("repo", "commit"),
    [
        ("org/..", COMMIT),
        ("../org", COMMIT),
        ("org", COMMIT),
        ("a/b/c", COMMIT),
        ("o/r", "main"),
        ("o/r", COMMIT + "\n"),
    ],
)
def test_what_is_no_repository_or_commit_is_asked_for_nowhere(github, repo, commit):
    with pytest.raises(ScenarioFetchFaultError):
        scenario_definition(github.api(), repo, commit, "s")

    assert [] == github.requests


@pytest.mark.parametrize(("status", "kind"), [(401, ScenarioFetchFaultError), (500, ScenarioFetchUnavailableError)])
def test_that_definitions_cannot_be_asked_for_is_a_fault(github, status, kind):
    github.says(status)

    with pytest.raises(
        ScenarioFetchFaultError, match=f"^scenario-fetch-fault: GitHub API returned {status}$"
    ) as caught:
        scenario_definitions(github.api(), "org/repo", COMMIT, ["s"])

    assert type(caught.value) is kind


def test_each_definition_is_asked_for_once_and_what_is_missing_is_left_out(github):
    def respond(handler: BaseHTTPRequestHandler, _ended: threading.Event) -> None:
        known = "/s1.yaml" in handler.path or "/s3.yaml" in handler.path
        handler.send_response(200 if known else 404)
        handler.send_header("Content-Length", str(len(SCENARIO) if known else 0))
        handler.end_headers()
        handler.wfile.write(SCENARIO if known else b"")

    github.does(respond)

    found = scenario_definitions(github.api(), "org/repo", COMMIT, ["s1", "s2", "s3", "s1", "../s4"])

    assert list(found) == ["s1", "s3", "../s4"]
    assert found["../s4"] == UnreadableScenario("invalid_id")
    assert len(github.requests) == 3


def test_all_definitions_share_one_deadline(github):
    def respond(handler: BaseHTTPRequestHandler, ended: threading.Event) -> None:
        ended.wait(0.2)
        handler.send_error(404)

    github.does(respond)

    with pytest.raises(ScenarioFetchUnavailableError, match=r"^scenario-fetch-fault: GitHub API timeout"):
        scenario_definitions(github.api(deadline_s=0.5), "org/repo", COMMIT, [f"s{n}" for n in range(200)])

    assert len(github.requests) < 100


def test_more_than_a_thousand_definitions_are_not_asked_for(github):
    with pytest.raises(LimitExceededError):
        scenario_definitions(github.api(), "org/repo", COMMIT, [f"s{n}" for n in range(1001)])

    assert [] == github.requests
