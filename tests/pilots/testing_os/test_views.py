"""What a repository's records say: history, what fails since when, the indexes and the portfolio, as commands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.errors import DestinationInvalidError
from artifactstore.pilots.testing_os.whole_file import write_whole
from tests.pilots.testing_os.command import Command, encoded
from tests.pilots.testing_os.judging import REPO
from tests.support import tree_contents

if TYPE_CHECKING:
    from pathlib import Path

AS_OF = ("--as-of", "2026-03-20T00:00:00Z")
FAILING, PASSING, OLD = (
    {"/run_id": "failing", "/overall_verdict": "fail", "/timing/finished_at": "2026-03-18T10:00:00+02:00"},
    {"/run_id": "passing", "/repo": "o/web", "/source/run_url": "https://github.com/o/web/actions/runs/9123456789",
     "/timing/finished_at": "2026-03-19T10:00:00Z"},
    {"/run_id": "old", "/timing/finished_at": "2026-03-01T00:00:00Z"},
)  # fmt: skip
REJECTED = {"/run_id": "rejected", "/policy_version": "1.0.0", "/timing/finished_at": "2026-03-17T00:00:00Z"}


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Four records: one rejected, and of one surface that fails since the 18th of March."""
    command = Command(tmp_path_factory.mktemp("views"))
    lines = b"\n".join(encoded(each) for each in (OLD, FAILING, REJECTED, PASSING))
    code, answer, stderr = command.ingest("--ndjson", given=lines)
    assert (3, ["accepted", "accepted", "rejected", "accepted"]) == (
        code, [each["status"] for each in answer["results"]],
    ), stderr  # fmt: skip
    return command


def test_history_is_in_pages_the_latest_to_finish_first(command: Command) -> None:
    code, first, _ = command("history", REPO, "--limit", "2")
    _, second, _ = command("history", REPO, "--limit", "2", "--after", first["next_after"])

    assert 0 == code
    assert [("failing", "accepted", "fail"), ("rejected", "rejected", "fail"), ("old", "accepted", "pass")] == [
        (each["run_id"], each["status"], each["verified"]) for each in (*first["records"], *second["records"])
    ]
    assert (first["records"][-1]["package_id"], None) == (first["next_after"], second["next_after"])
    assert {
        "package_id", "revision", "run_id", "status", "verified", "profile", "finished_at", "recorded_at", "path",
    } == first["records"][0].keys()  # fmt: skip


def test_a_repository_that_has_none_has_an_empty_history(command: Command) -> None:
    assert {"records": [], "next_after": None} == command("history", "nobody/nothing")[1]


def test_a_page_begins_after_a_record_of_the_same_repository(command: Command) -> None:
    elsewhere = command("history", "o/web")[1]["records"][0]["package_id"]

    for after in (elsewhere, "x"):
        code, answer, stderr = command("history", REPO, "--after", after)
        assert (1, None) == (code, answer)
        assert f"error: PACKAGE_UNKNOWN: {REPO} has no record that is package" in stderr


def test_a_surface_fails_since_the_first_that_did_not_pass(command: Command) -> None:
    code, answer, _ = command("failing")
    of_another = command("failing", "--repo", "o/web")[1]

    (found,) = answer["failing"]
    package_id = found.pop("package_id")
    assert (0, {
        "repo": REPO, "surface": "cli", "verified": "fail", "failing_since": "2026-03-18T08:00:00.000Z",
        "run_id": "failing", "finished_at": "2026-03-18T10:00:00+02:00",
        "path": f"records/{REPO}/2026/03/18/run-failing.json",
    }) == (code, found)  # fmt: skip
    assert "accepted" == command("explain", package_id)[1]["status"]
    assert {"failing": []} == of_another


def test_an_index_is_printed_as_its_file_has_it(command: Command) -> None:
    for name in ("latest-by-repo", "failing", "stale"):
        shown = command.run("indexes", name, *AS_OF)
        assert (0, command.tree()[f"indexes/{name}.json"]) == (shown.returncode, shown.stdout)


def test_all_indexes_are_printed_as_one_document(command: Command) -> None:
    _, answer, _ = command("indexes", *AS_OF, "--days", "1")

    assert {"latest-by-repo", "failing", "stale"} == answer.keys()
    assert [("failing", 1)] == [(each["run_id"], each["age_days"]) for each in answer["stale"]]


def test_stale_is_told_by_a_threshold(command: Command) -> None:
    stale = {days: command("indexes", "stale", "--days", days, *AS_OF)[1] for days in ("0", "1.5", "30")}

    assert {"0": 2, "1.5": 1, "30": 0} == {days: len(found) for days, found in stale.items()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("indexes", "newest"), "there is no index 'newest'"),
        (("indexes", "failing", "--days", "3"), "no other index has a threshold"),
        (("indexes", "stale", "--days", "-1"), "--days"),
        (("history", REPO, "--limit", "0"), "--limit"),
        (("history",), "ORG/REPO"),
        (("portfolio", "--policies", "store"), "no policies are adopted"),
        (("portfolio", "--repo-root", "/nowhere"), "no policies are adopted"),
        (("policies", "show"), "no policies are adopted"),
        (("policies", "adopt", "/nowhere"), "/nowhere"),
        (("failing", "--server", "http://127.0.0.1:9"), "works on the host of the store"),
    ],
)
def test_what_makes_no_sense_is_said(command: Command, arguments: tuple[str, ...], message: str) -> None:
    code, answer, stderr = command(*arguments)

    assert (1, None) == (code, answer)
    assert message in stderr
    assert "Traceback" not in stderr


# the portfolio


def own_policy(command: Command, repo: str, text: str) -> Path:
    path = command.root / "policies" / "repos" / f"{repo}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def with_policies(command: Command) -> Any:
    """Freshness as real policies nest it, and one that cannot be judged by."""
    freshness = "{ freshness: { max_age_days: 1 }, required_scenarios: [first, second] }"
    written = [
        own_policy(command, REPO, f'policy_version: "2.0.0"\nsurfaces: {{ cli: {freshness}, web: {{}} }}\n'),
        own_policy(command, "o/torn", "repo: ["),
    ]
    yield command
    for path in written:
        path.unlink()


def test_the_portfolio_reads_the_freshness_where_policies_have_it(with_policies: Command) -> None:
    later = ("--as-of", "2026-03-20T12:00:00Z")

    code, answer, stderr = with_policies("portfolio", "--repo-root", str(with_policies.root), *later)

    assert 0 == code
    assert {
        "generatedAt": "2026-03-20T12:00:00.000Z",
        "coverage": {"total_repos": 2, "surfaces_covered": 1, "surfaces_total": 8},
        "repos": [
            {
                "repo": REPO, "surface": "cli", "verified": "fail", "enforcement": "required", "freshness_days": 2,
                "scenario": "first", "scenarios": ["first", "second"], "run_id": "failing",
                "finished_at": "2026-03-18T10:00:00+02:00",
            },
            {
                "repo": "o/web", "surface": "cli", "verified": "pass", "enforcement": "required", "freshness_days": 1,
                "scenario": None, "scenarios": [], "run_id": "passing",
                "finished_at": "2026-03-19T10:00:00Z",
            },
        ],
        "stale": [{"repo": REPO, "surface": "cli", "freshness_days": 2, "max_age_days": 1}],
        "missing": [{"repo": REPO, "surface": "web", "enforcement": "required"}],
        "unknown_freshness": [],
    } == answer  # fmt: skip
    assert "warning: o/torn: its policy is passed over:" in stderr


def test_the_portfolio_is_written_whole_and_says_what_it_has(with_policies: Command, tmp_path: Path) -> None:
    output = tmp_path / "portfolio.json"
    output.write_text("what was there before")
    arguments = ("portfolio", "--repo-root", str(with_policies.root), "--as-of", "2026-03-20T12:00:00Z")

    printed = with_policies.run(*arguments).stdout
    code, answer, _ = with_policies(*arguments, "--output", str(output))

    assert printed == output.read_bytes()
    assert ["portfolio.json"] == [path.name for path in tmp_path.iterdir()]
    assert (0, {
        "output": str(output), "coverage": json.loads(printed)["coverage"], "stale": 1, "missing": 1,
        "unknown_freshness": 0, "passed_over": ["o/torn"],
    }) == (code, answer)  # fmt: skip


def test_a_report_that_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("as it was")

    for path in (tmp_path / "folder", tmp_path / "file" / "report.json"):
        with pytest.raises(DestinationInvalidError, match="cannot be written"):
            write_whole(path, b"x")

    assert {"file": b"as it was"} == tree_contents(tmp_path)


def test_a_report_is_written_where_no_directory_is_yet(tmp_path: Path) -> None:
    write_whole(tmp_path / "reports" / "2026" / "portfolio.json", b"x")

    assert {"reports/2026/portfolio.json": b"x"} == tree_contents(tmp_path)


# policies in the store, as commands


def test_adopted_policies_are_shown_judged_by_and_reported_by(command: Command, tmp_path: Path) -> None:
    home = {"ARTIFACTSTORE_HOME": str(tmp_path / "home")}
    policies, root = command.root / "policies", tmp_path / "elsewhere"
    root.mkdir()
    (policies / "README.md").write_text("not one of them")

    def ask(*arguments: str, **options: Any) -> Any:
        return command(*arguments, settings=home, **options)

    code, adopted, _ = ask("policies", "adopt", str(policies))
    again = ask("policies", "adopt", str(policies))[1]
    (policies / "README.md").unlink()
    shown = ask("policies", "show")[1]
    judge = ("ingest", "--repo-root", str(root), "--provenance=stub", *AS_OF)
    from_store = ask(*judge, given=encoded(PASSING))[1]
    from_directory = ask(*judge, "--policies", str(policies), given=encoded(OLD))[1]
    report = ask("portfolio", "--repo-root", str(root), *AS_OF)

    assert (0, True, ["README.md"], False) == (code, adopted["changed"], adopted["left_out"], again["changed"])
    assert {"package_id", "digest", "adopted_at", "adopted_by", "policy_version", "repositories"} == shown.keys()
    assert shown.items() <= adopted.items()
    digests = {ask("explain", each["package_id"])[1]["policy"]["digest"] for each in (from_store, from_directory)}
    assert 1 == len(digests)
    assert (0, 2) == (report[0], len(report[1]["repos"]))


def test_policies_that_are_invalid_are_refused_with_all_that_is_wrong(command: Command, tmp_path: Path) -> None:
    (tmp_path / "repos" / "o").mkdir(parents=True)
    (tmp_path / "global-policy.yaml").write_text("policy_version: 1\n")
    (tmp_path / "repos" / "o" / "r.yaml").write_text("repo: [")

    code, answer, stderr = command("policies", "adopt", str(tmp_path))

    assert (1, None) == (code, answer)
    assert "global-policy.yaml/policy_version: must be string" in stderr
    assert "repos/o/r.yaml: " in stderr
    assert 1 == command("policies", "show")[0]
