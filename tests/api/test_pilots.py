"""What the testing-os pilot serves: submissions are judged, and the indexes, under the rights of its packages."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.registry.packages import find_package
from artifactstore.registry.provenance import list_observations
from artifactstore.registry.tokens import create_token
from tests.pilots.testing_os.golden import write_policies
from tests.pilots.testing_os.judging import REPO, submission
from tests.pilots.testing_os.test_github import GitHub
from tests.pilots.testing_os.test_github import serving as serving_github
from tests.service import serving
from tests.support import replay_is_exact, run_cli

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

    from tests.service import Answer, Server

SUBMISSIONS = "/pilots/testing-os/submissions"
INDEXES = "/pilots/testing-os/indexes"
HISTORY = f"/pilots/testing-os/repos/{REPO}/history"
FAILING = "/pilots/testing-os/failing"
PORTFOLIO = "/pilots/testing-os/portfolio.json"
STRICT = 'policy_version: "2.0.0"\nsurfaces: { cli: { evidence_requirements: { min_evidence_count: 99 } } }\n'
RUN = {"id": 9123456789, "status": "completed", "head_sha": str(submission()["ref"]["commit_sha"])}
JSON = {"Content-Type": "application/json"}


class Provider:
    """GitHub, with one run and no definitions."""

    def __init__(self, github: GitHub) -> None:
        self.status = 200
        self.github = github.does(self._respond)

    def _respond(self, handler: BaseHTTPRequestHandler, _ended: threading.Event) -> None:
        is_run = "/actions/runs/" in handler.path
        body = json.dumps(RUN).encode()
        handler.send_response(self.status if is_run else 404)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with serving_github() as github:
        yield Provider(github)


@pytest.fixture
def server(tmp_path: Path, provider: Provider) -> Iterator[Server]:
    provider.status = 200
    write_policies(tmp_path / "root" / "policies", "none")
    environment = {
        "ARTIFACTSTORE_TESTING_OS_REPO_ROOT": str(tmp_path / "root"),
        "ARTIFACTSTORE_GITHUB_API_URL": provider.github.url,
        "GITHUB_TOKEN": "ghp_secret",
    }
    with serving(tmp_path / "home", environment=environment) as running:
        registry = running.registry()
        for name, scope in (("dispatch", "write:testing-os"), ("dashboard", "read:testing-os")):
            running.tokens[name] = create_token(registry, name, [scope])[0]
        registry.close()
        yield running


def submit(server: Server, changes: dict[str, Any] | None = None, *, token: str = "dispatch") -> Answer:
    document = submission({"/timing/finished_at": days_ago(0), **(changes or {})})
    return server.ask("POST", SUBMISSIONS, token=token, json_body=document)


def days_ago(days: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_submission_is_judged_recorded_and_in_the_index(server: Server) -> None:
    first = submit(server, {"/run_id": "r1"})
    again = submit(server, {"/run_id": "r1"})

    assert (201, "accepted", "pass", True, []) == (
        first.status, *(first.json[key] for key in ("status", "verdict", "written", "rejection_reasons")),
    )  # fmt: skip
    assert (200, "duplicate", first.json["package_id"]) == (
        again.status,
        again.json["status"],
        again.json["package_id"],
    )
    index = server.ask("GET", f"{INDEXES}/latest-by-repo.json", token="dashboard")
    assert [REPO] == list(index.json)
    assert index.body.endswith(b"}\n")
    assert [] == server.ask("GET", f"{INDEXES}/failing.json", token="dashboard").json
    registry = server.registry()
    package, _ = find_package(registry, first.json["package_id"])
    (seen,) = list_observations(registry, package.row_id, limit=9)
    assert ("token:dispatch", "sender", "verified") in {
        (party.identifier_value, party.role, party.trust) for party in seen.envelope.parties
    }
    replay_is_exact(registry)
    registry.close()


def test_a_rejection_is_recorded_and_what_cannot_be_filed_is_not(server: Server) -> None:
    rejected = submit(server, {"/policy_version": "1.0.0"})
    unfiled = server.ask("POST", SUBMISSIONS, token="dispatch", json_body=[])

    assert (201, "rejected", True) == (rejected.status, rejected.json["status"], rejected.json["written"])
    assert rejected.json["rejection_reasons"]
    assert (200, "rejected", False, None) == (
        unfiled.status,
        *(unfiled.json[key] for key in ("status", "written", "package_id")),
    )


@pytest.mark.parametrize(("provider_says", "retryable"), [(401, False), (503, True)])
def test_a_provider_that_cannot_be_asked_is_said_and_nothing_is_recorded(
    server: Server, provider: Provider, provider_says: int, retryable: bool
) -> None:
    provider.status = provider_says

    answer = submit(server)

    assert (503, retryable) == (answer.status, answer.json["retryable"])
    assert answer.json["code"] in {"PROVENANCE_FAULT", "PROVENANCE_UNAVAILABLE"}
    provider.status = 200
    assert 201 == submit(server).status


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": NaN}', b'{"a": 1, "a": 2}', b"[" * 10_000, b"\xff"])
def test_what_is_no_json_is_a_bad_request(server: Server, body: bytes) -> None:
    answer = server.ask("POST", SUBMISSIONS, token="dispatch", body=body, headers=JSON)

    assert (400, "SUBMISSION_INVALID") == (answer.status, answer.json["code"])


def test_ten_megabytes_are_too_much_and_another_type_is_refused(server: Server) -> None:
    large = server.ask("POST", SUBMISSIONS, token="dispatch", body=b'"' + b"x" * 10_000_000 + b'"', headers=JSON)
    other = server.ask("POST", SUBMISSIONS, token="dispatch", body=b"{}", headers={"Content-Type": "text/plain"})

    assert (413, 415) == (large.status, other.status)


def test_an_index_that_has_not_changed_is_not_sent_again(server: Server) -> None:
    first = server.ask("GET", f"{INDEXES}/latest-by-repo.json")
    same = server.ask("GET", f"{INDEXES}/latest-by-repo.json", headers={"If-None-Match": first.headers["etag"]})
    submit(server)
    changed = server.ask("GET", f"{INDEXES}/latest-by-repo.json", headers={"If-None-Match": first.headers["etag"]})

    assert (b"{}\n", 304, b"") == (first.body, same.status, same.body)
    assert (200, True) == (changed.status, first.headers["etag"] != changed.headers["etag"])


def test_stale_is_told_by_a_threshold_in_days(server: Server) -> None:
    assert submit(server, {"/timing/finished_at": days_ago(3)}).json["status"] == "accepted"

    answers = [server.ask("GET", f"{INDEXES}/stale.json{query}") for query in ("", "?days=36500", "?days=1.5")]
    wrong = [server.ask("GET", f"{INDEXES}/stale.json?days={days}") for days in ("x", "-1", "nan", "1e9", "")]

    assert [0, 0, 1] == [len(answer.json) for answer in answers]
    assert {(400, "USAGE")} == {(answer.status, answer.json["code"]) for answer in wrong}


def test_who_may_not_read_the_records_sees_none_and_who_may_not_write_them_sends_none(server: Server) -> None:
    submit(server)

    seen = {
        token: server.ask("GET", f"{INDEXES}/latest-by-repo.json", token=token).body != b"{}\n"
        for token in ("admin", "reader", "dashboard", "dispatch", "writer", "other")
    }
    sent = {token: submit(server, token=token).status for token in ("reader", "dashboard", "writer", "other")}

    assert {"admin": True, "reader": True, "dashboard": True, "dispatch": True, "writer": False, "other": False} == seen
    assert {403} == {*sent.values()}
    assert 401 == server.ask("POST", SUBMISSIONS, token=None, json_body={}).status
    assert 401 == server.ask("GET", f"{INDEXES}/failing.json", token=None).status


def test_a_repositorys_history_is_in_pages_the_latest_to_finish_first(server: Server) -> None:
    for number, finished in enumerate((3, 1, 2)):
        submit(server, {"/run_id": f"r{number}", "/timing/finished_at": days_ago(finished)})
    submit(server, {"/run_id": "r3", "/policy_version": "1.0.0"})

    first = server.ask("GET", f"{HISTORY}?limit=3", token="dashboard")
    second = server.ask("GET", f"{HISTORY}?limit=3&after={first.json['next_after']}", token="dashboard")

    assert [("r3", "rejected"), ("r1", "accepted"), ("r2", "accepted"), ("r0", "accepted")] == [
        (each["run_id"], each["status"]) for page in (first, second) for each in page.json["records"]
    ]
    assert (first.json["records"][-1]["package_id"], None) == (first.json["next_after"], second.json["next_after"])
    same = server.ask("GET", f"{HISTORY}?limit=3", headers={"If-None-Match": first.headers["etag"]})
    assert 304 == same.status


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=", "limit=1e2"])
def test_a_page_that_cannot_be_is_a_bad_request(anywhere: Server, query: str) -> None:
    answer = anywhere.ask("GET", f"{HISTORY}?{query}")

    assert (400, "USAGE") == (answer.status, answer.json["code"])


@pytest.mark.parametrize("after", ["nothing", "%00", "%FF", "01a1f8a3-4d11-7492-9ba4-2b658917fabe"])
def test_a_page_after_what_is_no_record_of_the_repository_is_not_found(anywhere: Server, after: str) -> None:
    answer = anywhere.ask("GET", f"{HISTORY}?after={after}")

    assert (404, "PACKAGE_UNKNOWN") == (answer.status, answer.json["code"])


@pytest.mark.parametrize("repo", ["nobody/nothing", "a%00/b", "%FF/b", "../..", "a%2Fb/c", "%27/%22"])
def test_a_repository_without_records_has_an_empty_history_whatever_it_is_called(anywhere: Server, repo: str) -> None:
    answer = anywhere.ask("GET", f"/pilots/testing-os/repos/{repo}/history")

    assert answer.status in {200, 400, 404}
    assert answer.status != 200 or {"records": [], "next_after": None} == answer.json


def test_what_fails_is_told_since_when(server: Server) -> None:
    for days, verdict in ((4, "pass"), (3, "fail"), (2, "partial")):
        submit(
            server,
            {"/run_id": f"d{days}", "/timing/finished_at": days_ago(days), "/overall_verdict": verdict},
        )

    found = server.ask("GET", FAILING, token="dashboard")
    of_it, of_another = (server.ask("GET", f"{FAILING}?repo={repo}").json for repo in (REPO, "o/other"))

    (entry,) = found.json["failing"]
    assert (REPO, "cli", "partial", "d2") == tuple(entry[key] for key in ("repo", "surface", "verified", "run_id"))
    assert days_ago(3)[:10] == entry["failing_since"][:10]
    assert (found.json, {"failing": []}) == (of_it, of_another)
    assert 304 == server.ask("GET", FAILING, headers={"If-None-Match": found.headers["etag"]}).status


def test_the_portfolio_is_told_by_the_policies_of_the_server(server: Server, tmp_path: Path) -> None:
    own = tmp_path / "root" / "policies" / "repos" / f"{REPO}.yaml"
    own.parent.mkdir(parents=True)
    own.write_text('policy_version: "2.0.0"\nsurfaces: { cli: { freshness: { max_age_days: 9 } }, web: {} }\n')
    submit(server, {"/timing/finished_at": days_ago(3)})
    own.write_text('policy_version: "2.0.0"\nsurfaces: { cli: { freshness: { max_age_days: 2 } }, web: {} }\n')

    found = server.ask("GET", PORTFOLIO, token="dashboard")

    assert [{"repo": REPO, "surface": "cli", "freshness_days": 3, "max_age_days": 2}] == found.json["stale"]
    assert [{"repo": REPO, "surface": "web", "enforcement": "required"}] == found.json["missing"]
    assert "NOT_FOUND" == server.ask("GET", PORTFOLIO, token="other").json["code"]


def test_who_may_not_read_the_records_is_told_of_none(server: Server) -> None:
    submit(server, {"/run_id": "a", "/overall_verdict": "fail"})

    seen = {
        token: [server.ask("GET", path, token=token).json for path in (HISTORY, FAILING)]
        for token in ("dashboard", "writer", "other")
    }

    nothing = [{"records": [], "next_after": None}, {"failing": []}]
    assert [False, True, True] == [nothing == answers for answers in seen.values()]


# a server by itself


@pytest.fixture(scope="module")
def anywhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("anywhere") / "home") as running:
        yield running


def test_a_server_without_policies_takes_none_and_has_no_portfolio(anywhere: Server) -> None:
    answers = [anywhere.ask("POST", SUBMISSIONS, json_body={}), anywhere.ask("GET", PORTFOLIO)]

    for answer in answers:
        assert (404, "NOT_FOUND") == (answer.status, answer.json["code"])
        assert "ARTIFACTSTORE_TESTING_OS_REPO_ROOT" in answer.json["hint"]
        assert "adopts policies" in answer.json["hint"]


def test_a_server_judges_by_what_is_adopted(tmp_path: Path, provider: Provider) -> None:
    policies = write_policies(tmp_path / "policies", "none")
    environment = {"ARTIFACTSTORE_GITHUB_API_URL": provider.github.url, "GITHUB_TOKEN": "ghp_secret"}
    with serving(tmp_path / "home", environment=environment) as running:
        before = submit(running, {"/run_id": "a"}, token="admin")
        adopt(tmp_path / "home", policies)
        accepted = submit(running, {"/run_id": "a"}, token="admin")
        strict = policies / "repos" / f"{REPO}.yaml"
        strict.parent.mkdir(parents=True)
        strict.write_text(STRICT)
        unchanged = submit(running, {"/run_id": "b"}, token="admin")
        adopt(tmp_path / "home", policies)
        rejected = submit(running, {"/run_id": "c"}, token="admin")
        report = running.ask("GET", PORTFOLIO)

    assert 404 == before.status
    assert ["accepted", "accepted", "rejected"] == [answer.json["status"] for answer in (accepted, unchanged, rejected)]
    assert "requires 99 evidence items" in rejected.json["rejection_reasons"][0]
    assert (200, 1) == (report.status, report.json["coverage"]["total_repos"])


def test_the_setting_wins_over_what_is_adopted(server: Server, tmp_path: Path) -> None:
    policies = write_policies(tmp_path / "others", "none")
    strict = policies / "repos" / f"{REPO}.yaml"
    strict.parent.mkdir(parents=True)
    strict.write_text(STRICT)
    adopt(tmp_path / "home", policies)

    assert "accepted" == submit(server).json["status"]
    shutil.rmtree(tmp_path / "root" / "policies")
    assert "CONFIGURATION_INVALID" == submit(server, {"/run_id": "x"}).json["code"]


def adopt(home: Path, policies: Path) -> None:
    """As the operator does it, beside the server."""
    answer = run_cli(home, "testing-os", "policies", "adopt", str(policies))
    assert 0 == answer.code, answer.stderr


def test_the_stages_of_a_submission_are_in_the_servers_log(server: Server) -> None:
    submit(server, {"/run_id": "r1"})

    lines = [json.loads(line) for line in server.log if '"pilot"' in line]
    assert ["dispatch_received", "context_loaded", "verify_complete", "persist_complete"] == [
        line["line"]["stage"] for line in lines
    ]
    assert {"r1"} == {line["line"]["correlation_id"] for line in lines}


def test_nobody_pushes_what_the_pilot_judges(server: Server) -> None:
    opened = server.ask(
        "POST", "/packages", token="dispatch", json_body={"producer": "testing-os", "external_id": "o/r/d/x"}
    )
    checked = server.ask("POST", "/packages:preflight", token="dispatch", json_body={"producer": "testing-os"})

    assert (403, "FORBIDDEN") == (opened.status, opened.json["code"])
    assert "/pilots/testing-os/" in opened.json["hint"]
    assert not checked.json["ok"]


def test_a_server_whose_policies_are_broken_does_not_say_where_they_are(server: Server, tmp_path: Path) -> None:
    (tmp_path / "root" / "policies" / "global-policy.yaml").write_text("defaults: [")

    answer = submit(server)

    assert (500, "CONFIGURATION_INVALID") == (answer.status, answer.json["code"])
    assert str(tmp_path) not in answer.body.decode()
    assert any(str(tmp_path) in line for line in server.log)
