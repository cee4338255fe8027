"""docs/pilots/testing-os.md: its tables say what the code does, and its commands run as they stand there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.pilots.testing_os import running
from artifactstore.pilots.testing_os.policy import check_global, repository_problem
from artifactstore.pilots.testing_os.policy_files import load_policies
from artifactstore.pilots.testing_os.profiles import DEFAULT, V1_1
from artifactstore.pilots.testing_os.provenance import Confirmation, stub_provenance
from artifactstore.pilots.testing_os.reasons import classify
from artifactstore.pilots.testing_os.submission import MAX_SUBMISSION_BYTES
from artifactstore.pilots.testing_os.verdict import decide
from artifactstore.registry.tokens import create_token
from tests.pilots.testing_os.golden import write_policies
from tests.pilots.testing_os.judging import AS_OF, judge, submission
from tests.pilots.testing_os.store import store_in_memory
from tests.pilots.testing_os.test_github import serving as serving_github
from tests.service import clean_environment, serving

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler

PAGE = (Path(__file__).parents[3] / "docs" / "pilots" / "testing-os.md").read_text()
FILES = dict(re.findall(r"^`([\w./-]+)`[^\n]*:\n\n```(?:json|yaml)\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL))
SHELL = re.findall(r"^```sh\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
CONSOLE = re.findall(r"^```console\n\$ (.*?)\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
VERDICTS = ["pass", "partial", "blocked", "fail"]


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


# what the tables say


def test_the_stages_stand_in_their_order() -> None:
    named = [row[0].strip("`") for row in rows(section("The stages"))[2:]]

    assert [stage.name for stage in DEFAULT.stages] == named


def test_every_reason_begins_as_its_stage_says() -> None:
    prefixes = {row[0].strip("`"): re.findall("`([^`]+)`", row[2]) for row in rows(section("The stages"))[2:]}
    faulty = {
        "/repo": "a..b/c", "/schema_version": "2.0.0", "/policy_version": "1.0.0",
        "/scenario_results/0/step_results/0/status": "fail", "/scenario_results/0/execution_mode": "human",
    }  # fmt: skip
    without_schema = {**faulty}
    del without_schema["/policy_version"]

    found = [judge(submission(changes), provenance=_confirms_nothing) for changes in (faulty, without_schema)]

    told = {name: stage.reasons for each in found for name, stage in each.findings.items() if stage.reasons}
    assert prefixes.keys() - {"scenario-definitions"} == told.keys()
    for name, reasons in told.items():
        begins = tuple(prefix.partition("<")[0] for prefix in prefixes[name])
        assert [] == [reason.text for reason in reasons if not reason.text.startswith(begins)]


def _confirms_nothing(_source: object, _ref: object) -> Any:
    return Confirmation(confirmed=False)


def test_the_table_of_verdicts_is_the_one_that_is_applied() -> None:
    table = rows(section("The verdict"))
    said = {(row[0].strip("*"), floor): row[n] for row in table[2:] for n, floor in enumerate(table[0][1:], start=1)}

    assert said == {
        (proposed, floor): decide(
            proposed, [floor], evidence_valid=True, policy_valid=True, forced_to_fail=False
        ).verified
        for proposed, floor in product(VERDICTS, VERDICTS)
    }


def test_what_gives_way_is_what_the_page_says() -> None:
    table = [
        row for row in rows(section("What is recorded")) if row[0].startswith("`") and row[1] in {"yes", "no", "later"}
    ]

    assert 16 == len(table)
    for prefix, gives_way, _ in table:
        text = prefix.strip("`").replace("<scenario>", "s") + " x"
        found = classify(text.replace("confirmed x", "confirmed"))
        assert (gives_way == "yes") is found.retryable, prefix


def test_the_limits_are_those_of_the_page() -> None:
    schema = json.loads((Path(__file__).parents[3] / "schemas" / "testing-os.submission.v1.json").read_text())
    results = schema["properties"]["scenario_results"]
    of_result = results["items"]["properties"]
    said = " ".join(section("A submission").split())

    assert f"{MAX_SUBMISSION_BYTES // 2**20} MiB" in said
    for limit, what in (
        (results["maxItems"], "scenario results"),
        (of_result["step_results"]["maxItems"], "steps"),
        (of_result["evidence"]["maxItems"], "pieces of evidence"),
        (schema["properties"]["ci_checks"]["maxItems"], "checks"),
        (schema["properties"]["run_id"]["maxLength"], "characters"),
    ):
        assert f"{limit:,} {what}" in said or f"names of {limit} {what}" in said


def test_the_examples_are_valid(tmp_path: Path) -> None:
    written(tmp_path)

    found = load_policies(tmp_path / "policies", "octo-org/widget")

    check_global(found)
    assert repository_problem(found, "octo-org/widget") is None
    example = json.loads(FILES["incoming.json"])
    for profile in (DEFAULT, V1_1):
        assert [] == [*judge(example, profile=profile, policies=found).reasons]


# what the commands do


def written(folder: Path) -> Path:
    """A directory with the files of the page."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def github() -> Iterator[str]:
    run = json.dumps({"id": 9123456789, "status": "completed", "head_sha": "c5d6c4e0000000000000000000000000deadbeef"})

    def respond(handler: BaseHTTPRequestHandler, _ended: threading.Event) -> None:
        handler.send_response(200 if "/actions/runs/" in handler.path else 404)
        handler.send_header("Content-Length", str(len(run)))
        handler.end_headers()
        handler.wfile.write(run.encode())

    with serving_github() as server:
        server.does(respond)
        yield server.url


def shell(text: str, folder: Path, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["sh", "-euc", text], cwd=folder, env={**clean_environment(), "PATH": path, **settings},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_the_first_command_answers_what_stands_below_it(tmp_path: Path, github: str) -> None:
    ((command, answer),) = CONSOLE
    settings = {
        "ARTIFACTSTORE_HOME": str(tmp_path / "home"),
        "GITHUB_TOKEN": "t",
        "ARTIFACTSTORE_GITHUB_API_URL": github,
    }

    said = shell(command, written(tmp_path / "dogfood"), settings)

    assert 0 == said.returncode, said.stderr
    told, expected = json.loads(said.stdout), json.loads(answer)
    assert told.keys() == expected.keys()
    assert told["path"] == expected["path"].replace("/srv", str(tmp_path))
    assert {**told, "path": "", "package_id": ""} == {**expected, "path": "", "package_id": ""}


def test_every_command_runs_as_it_is_pasted(tmp_path: Path, github: str) -> None:
    folder, home = written(tmp_path / "dogfood"), tmp_path / "home"
    the_originals_tree(folder, tmp_path)
    settings = {"GITHUB_TOKEN": "t", "ARTIFACTSTORE_GITHUB_API_URL": github}
    root = {"ARTIFACTSTORE_TESTING_OS_REPO_ROOT": str(folder)}

    with serving(home, environment={**settings, **root}) as server:
        with closing(server.registry()) as registry:
            token = create_token(registry, "page", ["write:testing-os", "read:testing-os"])[0]
        for text in SHELL:
            over_http = {"ARTIFACTSTORE_API_URL": server.url, "ARTIFACTSTORE_API_TOKEN": token}
            said = shell(
                text, folder, {**settings, "ARTIFACTSTORE_HOME": str(home), **(over_http if "curl" in text else {})}
            )

            assert 0 == said.returncode, (text, said.stdout, said.stderr)

    assert (folder / "records/octo-org/widget/2026/03/19/run-nightly-412.json").is_file()


def the_originals_tree(folder: Path, scratch: Path) -> None:
    """Records and indexes: one run that was accepted, one that was rejected, and one that was both."""
    write_policies(scratch / "theirs" / "policies", "none")
    rejected = {"/policy_version": "1.0.0"}
    with store_in_memory(scratch / "their-home") as store:
        for changes in ({"/run_id": "a"}, {"/run_id": "b", **rejected}, {"/run_id": "c", **rejected}, {"/run_id": "c"}):
            running.run(store.context, submission(changes), scratch / "theirs", stub_provenance, as_of=AS_OF)
    for name in ("records", "indexes"):
        (scratch / "theirs" / name).rename(folder / name)
