"""Bad input as those who send it meet it, in a shell and over HTTP.

Each has its documented answer (code, message, hint, exit code or status), none shows a trace of the program, none
leaves anything half done, and none uses the run id up: with the fault gone the same run is recorded.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.registry.packages import list_packages
from artifactstore.registry.tokens import create_token
from tests.pilots.testing_os.golden import write_policies
from tests.pilots.testing_os.judging import REPO, submission
from tests.pilots.testing_os.store import RecordStore
from tests.pilots.testing_os.test_github import GitHub, answering_nothing
from tests.pilots.testing_os.test_github import serving as serving_github
from tests.service import clean_environment, serving, settings_of
from tests.support import tree_contents

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

    from tests.service import Server

AS_OF = "2026-03-20T00:00:00Z"
RUN_ID = str(submission()["run_id"])
SHA = str(submission()["ref"]["commit_sha"])
RECORD = f"{REPO}/2026/03/19/run-{RUN_ID}.json"
_HURRY = """
import sys
from artifactstore.cli.main import run
from artifactstore.pilots.testing_os.github_api import GitHubApi
GitHubApi.__init__.__kwdefaults__["timeout_s"] = 0.5
sys.exit(run(sys.argv[1:]))
"""
PATIENT, IMPATIENT = ("-m", "artifactstore"), ("-c", _HURRY)
"""The program, and the program waiting for GitHub no longer than a test can."""
FOUND: Any = {"id": 9123456789, "status": "completed", "head_sha": SHA}


class Said(NamedTuple):
    """What a command has said."""

    exit_code: int
    answer: Any
    stderr: str

    def is_error(self, code: str, exit_code: int, *words: str) -> bool:
        """Whether it is this error and nothing but it: code and message, a hint, no answer."""
        told = [line for line in self.stderr.splitlines() if not line.startswith("{")]
        assert (exit_code, None) == (self.exit_code, self.answer), self
        assert told[0].startswith(f"error: {code}: "), told
        assert told[-1].startswith("hint: "), told
        assert [word for word in words if word not in self.stderr] == []
        return "Traceback" not in self.stderr

    def is_rejection(self, *texts: str, written: bool) -> bool:
        """Whether it is a rejection for these reasons (as each begins), recorded or not."""
        assert (1, "rejected", written) == (self.exit_code, self.answer["status"], self.answer["written"]), self
        told = self.answer["rejection_reasons"]
        assert len(texts) == len(told), told
        assert [text for text, found in zip(texts, told, strict=True) if not found.startswith(text)] == [], told
        return "Traceback" not in self.stderr


class Shell:
    """A repository with policies, and a store, for those who type commands."""

    def __init__(self, folder: Path) -> None:
        self.root, self.home = folder / "root", folder / "home"
        self.policies = write_policies(self.root / "policies", "none")

    def ingest(
        self,
        given: bytes | dict[str, Any] | None = None,
        *arguments: str,
        settings: dict[str, str] | None = None,
        program: tuple[str, ...] = PATIENT,
    ) -> Said:
        without = {name: text for name, text in clean_environment().items() if name not in {"CI", "GITHUB_ACTIONS"}}
        answer = subprocess.run(
            [
                sys.executable, *program, "testing-os", "ingest", "--repo-root", str(self.root), "--as-of", AS_OF,
                *(arguments or ("--provenance", "stub")),
            ],
            env={**without, "ARTIFACTSTORE_HOME": str(self.home), **(settings or {})},
            input=given if isinstance(given, bytes) else json.dumps(given or submission()).encode(),
            capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        return Said(answer.returncode, json.loads(answer.stdout or b"null"), answer.stderr.decode())

    def feed(self, documents: list[Any]) -> list[dict[str, Any]]:
        """Many at once, a line each: what is answered to each of them."""
        lines = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in documents]
        said = self.ingest(b"\n".join(lines), "--provenance", "stub", "--ndjson")
        assert "Traceback" not in said.stderr
        assert len(documents) == len(said.answer["results"])
        return said.answer["results"]

    def policy_of(self, repo: str, text: str = "") -> Path:
        file = self.policies / "repos" / f"{repo}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        if text:
            file.write_text(text)
        return file

    def has_nothing(self) -> bool:
        """No record is in the store or in the tree, and nothing beside them."""
        with closing(open_registry(settings_of(self.home))) as registry:
            assert [] == list_packages(registry, limit=9)
        return not any(path.startswith("records") for path in tree_contents(self.root))

    def is_recorded_now(self, changes: dict[str, Any] | None = None, *, revision: int = 1) -> bool:
        """The same run without its fault is accepted and recorded."""
        with closing(open_registry(settings_of(self.home))) as registry:
            outcome = RecordStore(registry, settings_of(self.home)).ingest(submission(changes))
        assert ("accepted", revision, True) == (outcome.answer, outcome.revision, outcome.was_written)
        return True


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


# what is no submission


NO_JSON = {
    "words": (b"not json", "is not valid JSON"),
    "a key twice": (b'{"a": 1, "a": 2}', "'a' stands twice"),
    "latin": (b"\xff\xfe{}", "is not UTF-8"),
    "half a character": (b'{"notes": "\\ud800"}', "unpaired surrogate"),
    "no number": (b'{"notes": NaN}', "NaN is not a JSON number"),
    "lists": (b"[" * 10_000 + b"]" * 10_000, "nested deeper than 64 levels"),
    "maps": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "nested deeper than 64 levels"),
    "within a string": (json.dumps("{broken").encode(), "is not valid JSON"),
}


@pytest.mark.parametrize("name", ["words", "a key twice", "lists", "maps"])
def test_what_is_not_json_is_refused(shell: Shell, name: str) -> None:
    given, words = NO_JSON[name]

    assert shell.ingest(given).is_error("SUBMISSION_INVALID", 1, words)
    assert shell.has_nothing()


def test_nothing_at_all_is_refused(shell: Shell) -> None:
    assert shell.ingest(b"").is_error("SUBMISSION_INVALID", 1, "is not valid JSON")


def test_what_is_not_json_does_not_keep_the_other_lines_from_being_recorded(shell: Shell) -> None:
    results = shell.feed([*(given for given, _ in NO_JSON.values()), submission()])

    *refused, recorded = results
    assert "accepted" == recorded["status"]
    for (_, words), result in zip(NO_JSON.values(), refused, strict=True):
        error = result["error"]
        assert ("error", "SUBMISSION_INVALID") == (result["status"], error["code"])
        assert words in error["message"]
        assert error["hint"]


def test_ten_megabytes_are_refused(shell: Shell) -> None:
    large = json.dumps(submission({"/notes": "x" * 10_000_000})).encode()

    assert shell.ingest(large).is_error("LIMIT_EXCEEDED", 1, "the submission has", "more than 8388608")
    assert shell.has_nothing()
    assert shell.is_recorded_now()


def test_what_is_no_object_is_rejected_and_kept_nowhere(shell: Shell) -> None:
    given = [b"[]", b"null", b"5", b"true", b'"hello"', json.dumps(json.dumps("{}")).encode()]

    said, results = shell.ingest(b"[]"), shell.feed(given)

    assert said.is_rejection("submission-malformed: submission is null or not an object", written=False)
    assert [("rejected", False, said.answer["rejection_reasons"])] * len(given) == [
        (each["status"], each["written"], each["rejection_reasons"]) for each in results
    ]
    assert shell.has_nothing()


def test_a_submission_within_a_string_is_the_submission(shell: Shell) -> None:
    said = shell.ingest(json.dumps(json.dumps(submission())).encode())

    assert (0, "accepted", RUN_ID) == (said.exit_code, said.answer["status"], said.answer["run_id"])


# what a submission must not say


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"/policy_version": "9.9.9"}, ["submission-contains-verifier-field: policy_version"]),
        ({"/verification": {"status": "accepted"}}, ["submission-contains-verifier-field: verification"]),
    ],
    ids=["policy version", "verification"],
)
def test_a_field_of_the_verifiers_is_rejected_and_can_be_taken_away(
    shell: Shell, changes: dict[str, Any], reasons: list[str]
) -> None:
    said = shell.ingest(submission(changes))

    assert said.is_rejection("schema: / must NOT have additional properties", *reasons, written=True)
    assert "fail" == said.answer["verdict"]
    assert shell.is_recorded_now(revision=2)


def test_a_verdict_of_the_verifiers_own_form_is_kept_nowhere(shell: Shell) -> None:
    said = shell.ingest(submission({"/overall_verdict": {"proposed": "pass", "verified": "pass"}}))

    assert said.is_rejection(
        "schema: /overall_verdict must be string",
        "schema: /overall_verdict must be equal to one of the allowed values",
        "submission-contains-verifier-field: overall_verdict must be a string in submissions",
        written=False,
    )
    assert shell.is_recorded_now()


def test_a_repository_that_leads_elsewhere_is_rejected_and_leads_nowhere(shell: Shell, tmp_path: Path) -> None:
    repos = ["../../etc/passwd", "..", "../etc", "a/..", "a/../b", "./x", "a\\b/c", "/etc/passwd", "a/b/c", "a/b\n", ""]

    results = shell.feed([submission({"/repo": repo}) for repo in [*repos, "a/\0", 5, None]])

    assert {("rejected", False, None)} == {(each["status"], each["written"], each["path"]) for each in results}
    assert {"home", "root"} == {path.name for path in tmp_path.iterdir()}
    assert shell.has_nothing()
    assert shell.is_recorded_now()


def test_a_run_id_that_is_none_is_rejected_and_kept_nowhere(shell: Shell) -> None:
    run_ids = ["abc\n", "\nabc", "../x", "a/b", "a b", "a\0b", "", "x" * 201, 5, None, ["a"]]

    results = shell.feed([submission({"/run_id": run_id}) for run_id in run_ids])

    assert {("rejected", False, None)} == {(each["status"], each["written"], each["path"]) for each in results}
    assert all(each["rejection_reasons"][0].startswith("schema: /run_id must ") for each in results)
    assert shell.has_nothing()


NO_DATE = 'schema: /timing/finished_at must match format "date-time"'
NOT_FILED = "unsafe-record-path: record passed schema validation but its path could not be safely computed"
DATES = {
    "2026-02-30T00:00:00Z": (NO_DATE, False),
    "2026-03-19T25:00:00Z": (NO_DATE, False),
    "2026-03-19": (NO_DATE, False),
    "2026-03-19T00:00:00": (NO_DATE, False),
    "yesterday": (NO_DATE, False),
    "2026-03-19T23:59:60Z": (NOT_FILED, False),
    "2026-03-19T12:00:00+05": (NOT_FILED, False),
    "0000-01-01T00:00:00Z": (NOT_FILED, False),
    "0001-01-01T00:00:00+23:59": (NOT_FILED, False),
    "9999-12-31T23:59:59-23:59": (NOT_FILED, False),
    "9999-12-31T23:59:59Z": ("policy: finished_at 9999-12-31T23:59:59Z is in the future", True),
    "1600-01-01T00:00:00Z": ("policy: surface[cli]: finished 155", True),
}
"""What is said of each, and whether that is recorded."""


def test_an_impossible_date_is_rejected(shell: Shell) -> None:
    results = shell.feed([submission({"/timing/finished_at": finished_at}) for finished_at in DATES])

    for finished_at, (reason, is_recorded), result in zip(DATES, DATES.values(), results, strict=True):
        assert ("rejected", is_recorded) == (result["status"], result["written"]), finished_at
        assert any(text.startswith(reason) for text in result["rejection_reasons"]), finished_at
    assert shell.is_recorded_now()


# policies


ALIAS_BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
UNREADABLE = {
    "no yaml": ("a: [unclosed", "is not valid YAML"),
    "a list": ("[1]", "schema-invalid — / must be object"),
    "nothing": ("", "schema-invalid — / must be object"),
    "without a version": ("repo: a/b", "schema-invalid — / must have required property 'policy_version'"),
    "an unknown member": ("policy_version: 1.0.0\nenforcment: {}", "schema-invalid — / must NOT have additional"),
    "an exception for ever": (
        "policy_version: 1.0.0\nenforcement: {mode: exempt, reason: r}",
        "schema-invalid — /enforcement must have required property 'review_after'",
    ),
    "another repository's": ("policy_version: 1.0.0\nrepo: some/other", "it is the policy of some/other"),
    "yes": (
        "policy_version: 1.0.0\nsurfaces: {cli: {ci_requirements: {tests_must_pass: yes}}}",
        "schema-invalid — /surfaces/cli/ci_requirements/tests_must_pass must be boolean",
    ),
    "a date without quotes": (
        "policy_version: 1.0.0\nenforcement: {mode: exempt, reason: r, review_after: 2026-12-31}",
        "schema-invalid — /enforcement/review_after must be string",
    ),
    "a version that is a number": ("policy_version: 1.0", "schema-invalid — /policy_version must be string"),
    "a key twice": ("policy_version: 1.0.0\npolicy_version: 1.0.1", "the key 'policy_version' twice"),
    "a tag": ("policy_version: !!python/object/apply:os.system [id]", "which is not read here"),
    "a bomb": (ALIAS_BOMB, "once its aliases are followed"),
    "depth": ("a: " + "[" * 10_000, "is nested deeper than 32 levels"),
    "two mebibytes": ("# " + "x" * 2 * 1024 * 1024, "has 1048577 bytes, more than 1048576"),
}


def of_repository(number: int) -> dict[str, Any]:
    """A submission's changes: one of many repositories."""
    repo = f"org/repo-{number}"
    return {"/repo": repo, "/source/run_url": f"https://github.com/{repo}/actions/runs/1"}


def test_a_repositorys_policy_that_cannot_be_read_rejects_and_can_be_mended(shell: Shell) -> None:
    for number, (text, _) in enumerate(UNREADABLE.values()):
        shell.policy_of(f"org/repo-{number}", text or "#")

    results = shell.feed([submission(of_repository(number)) for number in range(len(UNREADABLE))])

    for number, ((name, (_, why)), result) in enumerate(zip(UNREADABLE.items(), results, strict=True)):
        assert ("rejected", True, "fail") == (result["status"], result["written"], result["verdict"]), name
        (reason,) = result["rejection_reasons"]
        assert reason.startswith("policy: repo policy unreadable — "), name
        assert why in reason, name
        assert shell.is_recorded_now(of_repository(number), revision=2)


def test_one_unreadable_policy_is_a_rejection_and_exits_1(shell: Shell) -> None:
    shell.policy_of(REPO, "a: [unclosed")

    said = shell.ingest()

    assert said.is_rejection("policy: repo policy unreadable — ", written=True)


@pytest.mark.parametrize("link", ["file", "directory"])
def test_a_repositorys_policy_that_leads_out_of_the_directory_rejects(shell: Shell, tmp_path: Path, link: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "mcp-tool-shop-org").mkdir(parents=True)
    (elsewhere / f"{REPO}.yaml").write_text("policy_version: 6.6.6")
    if link == "file":
        shell.policy_of(REPO).symlink_to(elsewhere / f"{REPO}.yaml")
    else:
        (shell.policies / "repos").symlink_to(elsewhere)

    said = shell.ingest()

    assert said.is_rejection("policy: repo policy unreadable — ", written=True)
    assert "it is a link that does not stay inside" in said.answer["rejection_reasons"][0]
    assert "elsewhere" not in json.dumps(said.answer["rejection_reasons"])
    assert shell.is_recorded_now(revision=2)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "there is no global-policy.yaml"),
        ("a: [unclosed", "is not valid YAML"),
        ("[1]", "is not a mapping"),
        ("policy_version: one", "the global policy is invalid"),
        (ALIAS_BOMB, "once its aliases are followed"),
        (
            "policy_version: 1.0.0\nglobal_rules: [{id: no-fridays, severity: reject, description: d}]",
            "rejects by the rule 'no-fridays', which is not known here",
        ),
        ("link", "it is a link that does not stay inside"),
    ],
    ids=["missing", "no yaml", "a list", "invalid", "a bomb", "an unknown rule", "a link"],
)
def test_a_global_policy_that_cannot_be_read_is_the_systems_failure(
    shell: Shell, tmp_path: Path, text: str | None, why: str
) -> None:
    file = shell.policies / "global-policy.yaml"
    file.rename(tmp_path / "global-policy.yaml")
    if text == "link":
        file.symlink_to(tmp_path / "global-policy.yaml")
    elif text is not None:
        file.write_text(text)

    said = shell.ingest()

    assert said.is_error("CONFIGURATION_INVALID", 2, why)
    assert shell.has_nothing()
    assert shell.is_recorded_now()


# GitHub


def github_settings(url: str) -> dict[str, str]:
    return {"GITHUB_TOKEN": "ghp_secret", "GH_TOKEN": "", "ARTIFACTSTORE_GITHUB_API_URL": url}


def run_is(status: int, body: Any = b"", **headers: str) -> Any:
    """What GitHub says of the run; it has no definitions of scenarios."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    def respond(handler: BaseHTTPRequestHandler, _ended: threading.Event) -> None:
        is_run = "/actions/runs/" in handler.path
        handler.send_response(status if is_run else 404)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(data)

    return respond


UNAVAILABLE = "PROVENANCE_UNAVAILABLE"
FAULTS = {
    "401": (run_is(401), "PROVENANCE_FAULT", "GitHub API returned 401"),
    "403": (run_is(403), "PROVENANCE_FAULT", "GitHub API returned 403"),
    "403, limited": (run_is(403, X_RateLimit_Remaining="0"), UNAVAILABLE, "GitHub API returned 403"),
    "429": (run_is(429), UNAVAILABLE, "GitHub API returned 429"),
    "429, later": (run_is(429, Retry_After="3600"), UNAVAILABLE, "GitHub asks to wait 3600 s"),
    "500": (run_is(500), UNAVAILABLE, "GitHub API returned 500"),
    "no json": (run_is(200, b"<html>"), "PROVENANCE_FAULT", "something that is no JSON"),
    "elsewhere": (run_is(302, Location="https://example.org/"), "PROVENANCE_FAULT", "where the token must not go"),
    "slow": (answering_nothing, UNAVAILABLE, "timeout after 500ms"),
}


@pytest.fixture(scope="module")
def github() -> Iterator[GitHub]:
    with serving_github() as found:
        yield found


IN_A_SHELL = [name for name in FAULTS if name not in {"500", "403, limited"}]  # as 429


@pytest.mark.parametrize(("responds", "code", "why"), [FAULTS[name] for name in IN_A_SHELL], ids=IN_A_SHELL)
def test_github_that_cannot_be_asked_is_a_fault_and_nothing_is_recorded(
    shell: Shell, github: GitHub, responds: Any, code: str, why: str
) -> None:
    github.does(responds)

    program = IMPATIENT if responds is answering_nothing else PATIENT
    said = shell.ingest(None, "--provenance", "github", settings=github_settings(github.url), program=program)

    assert said.is_error(code, 2, why)
    assert "ghp_secret" not in said.stderr
    assert shell.has_nothing()
    assert shell.is_recorded_now()


def test_github_that_is_down_is_a_fault_and_nothing_is_recorded(shell: Shell) -> None:
    said = shell.ingest(None, "--provenance", "github", settings=github_settings("http://127.0.0.1:9"))

    assert said.is_error(UNAVAILABLE, 2, "network error: Connection refused")
    assert shell.has_nothing()
    assert shell.is_recorded_now()


@pytest.mark.parametrize(
    "responds", [run_is(404), run_is(200, {**FOUND, "status": "in_progress"})], ids=["404", "not over"]
)
def test_a_run_that_github_does_not_confirm_is_rejected_and_can_be_sent_again_when_it_does(
    shell: Shell, github: GitHub, responds: Any
) -> None:
    asked = ("--provenance", "github")
    github.does(responds)
    first = shell.ingest(None, *asked, settings=github_settings(github.url))

    github.does(run_is(200, FOUND))
    second = shell.ingest(None, *asked, settings=github_settings(github.url))

    assert first.is_rejection("provenance: source run could not be confirmed", written=True)
    assert (0, "accepted") == (second.exit_code, second.answer["status"])
    assert {f"records/_rejected/{RECORD}", f"records/{RECORD}"} <= {*tree_contents(shell.root)}


def test_github_without_a_token_is_the_systems_failure(shell: Shell) -> None:
    said = shell.ingest(None, "--provenance", "github", settings={"GITHUB_TOKEN": "", "GH_TOKEN": ""})

    assert said.is_error("CONFIGURATION_INVALID", 2, "without a token")
    assert shell.is_recorded_now()


@pytest.mark.parametrize(
    "found",
    [{**FOUND, "status": "in_progress"}, {**FOUND, "head_sha": "b" * 40}],
    ids=["not over", "of another commit"],
)
def test_definitions_are_asked_for_only_of_a_run_that_is_confirmed(shell: Shell, github: GitHub, found: Any) -> None:
    github.requests.clear()
    github.does(run_is(200, found))

    said = shell.ingest(None, "--provenance", "github", settings=github_settings(github.url))

    assert said.is_rejection("provenance: source run could not be confirmed", written=True)
    assert 1 == len(github.paths)
    assert "/actions/runs/" in github.paths[0]


def test_definitions_of_a_repository_that_the_run_is_not_of_are_not_asked_for(shell: Shell, github: GitHub) -> None:
    github.requests.clear()
    github.does(run_is(200, FOUND))
    stranger = submission({"/repo": "octo-org/private"})

    said = shell.ingest(stranger, "--provenance", "github", settings=github_settings(github.url))

    assert said.is_rejection("repo:mismatch: ", written=True)
    assert [] == [path for path in github.paths if "/contents/" in path]


def test_an_unreadable_definition_rejects_and_a_bomb_is_one(shell: Shell, github: GitHub) -> None:
    def respond(handler: BaseHTTPRequestHandler, ended: threading.Event) -> None:
        if "/contents/" in handler.path:
            data = ALIAS_BOMB.encode()
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data)
        else:
            run_is(200, FOUND)(handler, ended)

    github.does(respond)

    said = shell.ingest(None, "--provenance", "github", settings=github_settings(github.url))

    assert said.is_rejection("scenario-load: scenario ", written=True)
    assert "(reason: too_large)" in said.answer["rejection_reasons"][0]


# over HTTP


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, github: GitHub) -> Iterator[Server]:
    with judging(tmp_path_factory.mktemp("served"), github.url) as running:
        yield running


@contextmanager
def judging(folder: Path, github_url: str, *, program: tuple[str, ...] = PATIENT) -> Iterator[Server]:
    """A server that judges by the policies of a directory."""
    write_policies(folder / "root" / "policies", "none")
    environment = {"ARTIFACTSTORE_TESTING_OS_REPO_ROOT": str(folder / "root"), **github_settings(github_url)}
    with serving(folder / "home", environment=environment, program=program) as running:
        with closing(running.registry()) as registry:
            running.tokens["dispatch"] = create_token(registry, "dispatch", ["write:testing-os"])[0]
        yield running


def recent(run_id: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    yesterday = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return submission({"/run_id": run_id, "/timing/finished_at": yesterday, **(changes or {})})


def posted(server: Server, body: Any) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return server.ask(
        "POST", "/pilots/testing-os/submissions", token="dispatch", body=data,
        headers={"Content-Type": "application/json"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"not json", 400, "SUBMISSION_INVALID"),
        (b"", 400, "SUBMISSION_INVALID"),
        (b'{"a": 1, "a": 2}', 400, "SUBMISSION_INVALID"),
        (b"[" * 10_000 + b"]" * 10_000, 400, "SUBMISSION_INVALID"),
        (b'{"notes": "\\ud800"}', 400, "SUBMISSION_INVALID"),
        (b'"' + b"x" * 10_000_000 + b'"', 413, "LIMIT_EXCEEDED"),
    ],
    ids=["words", "nothing", "a key twice", "depth", "half a character", "ten megabytes"],
)
def test_over_http_what_is_not_json_is_a_problem_document(server: Server, body: bytes, status: int, code: str) -> None:
    answer = posted(server, body)

    assert (status, code) == (answer.status, answer.json["code"])
    assert "application/problem+json" == answer.headers["Content-Type"]
    assert answer.json["detail"]
    assert b"Traceback" not in answer.body


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"/repo": "../../etc/passwd"}, "repo:mismatch: "),
        ({"/run_id": "abc\n"}, "schema: /run_id must match pattern"),
        ({"/timing/finished_at": "2026-02-30T00:00:00Z"}, "schema: /timing/finished_at must match format"),
        ({"/overall_verdict": {"verified": "pass"}}, "schema: /overall_verdict must be string"),
    ],
    ids=["traversal", "newline", "date", "verdict"],
)
def test_over_http_what_cannot_be_filed_is_answered_as_rejected(
    server: Server, github: GitHub, changes: dict[str, Any], reason: str
) -> None:
    github.does(run_is(200, FOUND))

    answer = posted(server, recent("unfiled", changes))

    assert (200, "rejected", False) == (answer.status, answer.json["status"], answer.json["written"])
    assert answer.json["rejection_reasons"][0].startswith(reason)


def test_over_http_a_submission_within_a_string_is_the_submission(server: Server, github: GitHub) -> None:
    github.does(run_is(200, FOUND))

    answer = posted(server, json.dumps(recent("within")))

    assert (201, "accepted", "within") == (answer.status, answer.json["status"], answer.json["run_id"])


@pytest.mark.parametrize(("responds", "code", "why"), [*FAULTS.values()][:-1], ids=[*FAULTS][:-1])
def test_over_http_a_fault_of_github_is_503_and_the_run_can_be_sent_again(
    request: pytest.FixtureRequest, server: Server, github: GitHub, responds: Any, code: str, why: str
) -> None:
    document = recent("".join(each for each in request.node.callspec.id if each.isalnum()))
    github.does(responds)
    fault = posted(server, document)

    github.does(run_is(200, FOUND))
    again = posted(server, document)

    assert (503, code) == (fault.status, fault.json["code"])
    assert why in fault.json["detail"] + fault.json["hint"]
    assert b"ghp_secret" not in fault.body
    assert (201, "accepted") == (again.status, again.json["status"])


def test_over_http_github_that_is_slow_or_down_is_503_and_the_run_can_be_sent_again(tmp_path: Path) -> None:
    document = recent("slow")
    with serving_github() as github, judging(tmp_path, github.url, program=IMPATIENT) as server:
        github.does(answering_nothing)
        slow = posted(server, document)

        github.does(run_is(200, FOUND))
        again = posted(server, document)
    with serving(server.home, tokens=server.tokens, environment=server.settings) as restarted:
        down = posted(restarted, recent("down"))

    assert (503, UNAVAILABLE, True) == (slow.status, slow.json["code"], slow.json["retryable"])
    assert (201, "accepted") == (again.status, again.json["status"])
    assert (503, UNAVAILABLE, True) == (down.status, down.json["code"], down.json["retryable"])


@pytest.mark.parametrize(
    "broken", ["a: [unclosed", ALIAS_BOMB, "policy_version: 1.0"], ids=["no yaml", "a bomb", "a number"]
)
def test_over_http_a_repositorys_broken_policy_rejects_and_can_be_mended(
    request: pytest.FixtureRequest, server: Server, github: GitHub, broken: str
) -> None:
    document = recent("policy-" + request.node.callspec.id.replace(" ", "-"))
    file = server.home.parent / "root" / "policies" / "repos" / f"{REPO}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    github.does(run_is(200, FOUND))
    file.write_text(broken)
    first = posted(server, document)

    file.unlink()
    second = posted(server, document)

    assert (201, "rejected") == (first.status, first.json["status"])
    assert first.json["rejection_reasons"][0].startswith("policy: repo policy unreadable — ")
    assert (201, "accepted") == (second.status, second.json["status"])


def test_over_http_a_broken_global_policy_is_the_servers_failure(server: Server, github: GitHub) -> None:
    document = recent("global")
    file = server.home.parent / "root" / "policies" / "global-policy.yaml"
    text = file.read_text()
    github.does(run_is(200, FOUND))
    file.write_text("a: [unclosed")
    first = posted(server, document)

    file.write_text(text)
    second = posted(server, document)

    assert (500, "CONFIGURATION_INVALID") == (first.status, first.json["code"])
    assert (201, "accepted") == (second.status, second.json["status"])
