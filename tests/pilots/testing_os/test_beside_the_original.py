"""The published ingest of testing-os over our trees, and ours over its: what either writes the other takes as its own.

It is run by Node, on files, and installed by nobody here: `make original` does that.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from benchmarks.processes import UnavailableError
from benchmarks.testing_os.original import ask_original, found
from tests.pilots.testing_os.judging import submission
from tests.pilots.testing_os.test_commands import Command
from tests.support import tree_contents

if TYPE_CHECKING:
    from pathlib import Path

AS_OF = "2026-03-20T00:00:00Z"
INDEXES = ("indexes/latest-by-repo.json", "indexes/failing.json", "indexes/stale.json")
REPOSITORIES = ("o/foo", "o/foo-bar", "o/foo.js", "O/foo", "o/Foo", "o-p/x", "o/foo_x", "z/z", "_rejected/q", "9/9")
SURFACES = ("cli", "web", "api", "desktop", "library")
POLICY = """\
policy_version: "1.2.0"
defaults: { execution_mode_policy: { allowed: [bot, human, mixed] } }
global_rules:
  - { id: scenario-minimum, severity: reject, description: "At least one scenario_result required" }
  - { id: blocked-needs-reason, severity: reject, description: "Verdict blocked requires blocking_reason" }
"""
ODD = {
    "/notes": 'é \U0001f600 \u2028 \x7f \x01 \\ / " \ufeff',
    "/ci_checks": [
        {"id": f"n{number}", "kind": "other", "status": "pass", "value": value}
        for number, value in enumerate((1e21, 1e20, 123456789012345680000, 1e-7, 0.000001, 5e-324, 0.1, 1.0, -0.0))
    ],
}
"""Changes: text and numbers that are written in more than one way."""
RETRYABLE = {"/policy_version": "1.0.0"}
"""A rejection that gives way to a resubmission."""


def of_repository(repo: str, run_id: str, finished_at: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    url = f"https://github.com/{repo}/actions/runs/1"
    place = {"/repo": repo, "/run_id": run_id, "/timing/finished_at": finished_at}
    return submission({**place, "/source/run_url": url, "/source/provider_run_id": "1", **(changes or {})})


def on_surfaces(*surfaces: str, verdict: str = "pass") -> dict[str, Any]:
    """Changes: a result for each, of this verdict, which says what blocks it if anything does."""
    result = submission()["scenario_results"][0]
    status = "pass" if verdict == "pass" else "fail"
    steps = [{"step_id": "only", "status": status}]
    reason = {"blocking_reason": "waits"} if verdict == "blocked" else {}
    results = [
        {**result, "product_surface": surface, "verdict": verdict, "step_results": steps, **reason}
        for surface in surfaces
    ]
    return {"/scenario_results": results, "/overall_verdict": verdict}


def chosen() -> list[dict[str, Any]]:
    """Ties in other words, the edge of what is stale, zones that change the day, what is rejected and what follows."""
    unexplained = on_surfaces("cli", verdict="blocked")
    del unexplained["/scenario_results"][0]["blocking_reason"]
    return [
        of_repository("tie/same", "b", "2026-03-19T15:45:00Z", on_surfaces("web", "cli", "web")),
        of_repository("tie/same", "a", "2026-03-19T16:45:00+01:00", on_surfaces("cli", "api", verdict="fail")),
        of_repository("tie/same", "c", "2026-03-19T15:45:00.000999Z", on_surfaces("api")),
        of_repository("tie/days", "1", "2026-03-19T00:30:00+01:00", on_surfaces("cli")),
        of_repository("tie/days", "0", "2026-03-18T23:30:00Z", on_surfaces("cli", verdict="partial")),
        of_repository("fraction/later", "1", "2026-03-19T15:45:12.500Z"),
        of_repository("fraction/later", "2", "2026-03-19T15:45:12Z"),
        of_repository("edge/at", "1", "2026-02-18T00:00:00Z"),
        of_repository("edge/over", "1", "2026-02-17T23:59:59.999Z"),
        of_repository("edge/under", "1", "2026-02-18T00:00:00.001Z"),
        of_repository("edge/space", "1", "2026-01-05 07:00:00-08:00"),
        of_repository("text/odd", "1", "2026-03-19T09:00:00Z", ODD),
        of_repository("rejected/only", "1", "2026-03-19T10:00:00Z", unexplained),
        of_repository("rejected/first", "1", "2026-03-19T10:00:00Z", RETRYABLE),
        of_repository("rejected/first", "1", "2026-03-19T10:00:00Z"),
        of_repository("rejected/later", "1", "2026-03-18T10:00:00Z"),
        of_repository("rejected/later", "2", "2026-03-19T10:00:00Z", unexplained),
    ]


def mixed(count: int) -> list[dict[str, Any]]:
    """As many by lot: names whose order differs by their bytes, surfaces, verdicts, instants in several notations."""
    lots, last = random.Random("beside the original"), datetime(2026, 3, 19, tzinfo=UTC)
    found = []
    for number in range(count):
        moment = last - timedelta(seconds=lots.randrange(80 * 86_400), milliseconds=lots.randrange(1_000))
        if lots.random() < 0.3:
            moment = moment.replace(minute=0, second=0, microsecond=0)
        verdict, surfaces = lots.choice(("pass", "pass", "fail", "partial", "blocked")), lots.sample(SURFACES, 2)
        run_id = f"{lots.choice('abAB_-09')}{lots.randrange(1_000)}-{number}"
        changes = {**on_surfaces(*surfaces[: lots.randrange(1, 3)], verdict=verdict)}
        if lots.random() < 0.1:
            changes |= RETRYABLE
        found.append(of_repository(lots.choice(REPOSITORIES), run_id, lots.choice(NOTATIONS)(moment), changes))
    return found


def _shifted(moment: datetime) -> str:
    return f"{(moment + timedelta(minutes=330)).strftime('%Y-%m-%dT%H:%M:%S')}+05:30"


NOTATIONS = (
    lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
    lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
    lambda moment: moment.strftime("%Y-%m-%d %H:%M:%S+00:00"),
    _shifted,
)


class Recorded(NamedTuple):
    """A store, the tree that it exports, what was submitted, and what was answered to each."""

    command: Command
    tree: Path
    feed: Path
    answers: list[dict[str, Any]]


@pytest.fixture(scope="module", autouse=True)
def _there_is_an_original() -> None:
    try:
        found()
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("beside")
    command, feed = store_in(folder), folder / "feed.ndjson"
    feed.write_text("".join(f"{json.dumps(each)}\n" for each in [*chosen(), *mixed(150)]))
    answers = command.ingest("--payload", str(feed))[1]["results"]
    return Recorded(command, exported(command, folder / "tree"), feed, answers)


class Adopted(NamedTuple):
    """A tree that the original has written, what it answered, and a store that has imported it."""

    tree: Path
    answers: list[dict[str, Any]]
    command: Command
    imported: tuple[int, dict[str, Any]]


@pytest.fixture(scope="module")
def adopted(recorded: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Adopted:
    command = store_in(tmp_path_factory.mktemp("adopted"))
    answers = ask_original("ingest", root=command.root, feed=recorded.feed, now=AS_OF)
    code, answer, _ = command("import", str(command.root))
    return Adopted(command.root, answers, command, (code, answer))


def store_in(folder: Path) -> Command:
    folder.mkdir(exist_ok=True)
    command = Command(folder)
    (command.root / "policies" / "global-policy.yaml").write_text(POLICY)
    return command


def exported(command: Command, tree: Path) -> Path:
    """All that a store has, written to a new tree with the policies."""
    shutil.copytree(command.root / "policies", tree / "policies")
    code, _, stderr = command("export", "--repo-root", str(tree), "--as-of", AS_OF)
    assert 0 == code, stderr
    return tree


def records_of(tree: Path) -> dict[str, bytes]:
    return {path: data for path, data in tree_contents(tree).items() if path.startswith("records/")}


def indexes_of(tree: Path) -> dict[str, bytes]:
    return {name: (tree / name).read_bytes() for name in INDEXES}


def rebuilt(tree: Path) -> dict[str, bytes]:
    """The indexes that the original writes over a tree, which had none."""
    for name in INDEXES:
        (tree / name).unlink()
    ask_original("rebuild", root=tree, now=AS_OF)
    return indexes_of(tree)


def comparable(record: bytes) -> bytes:
    """Without when it was judged, and without the place in a ledger, which only the original has."""
    without = re.sub(rb',\n  "integrity": \{[^}]*\}', b"", record)
    return re.sub(rb'"verified_at": "[^"]*"', b"", without)


# our trees


def test_the_original_rebuilds_the_very_indexes_that_were_exported(recorded: Recorded, tmp_path: Path) -> None:
    tree = shutil.copytree(recorded.tree, tmp_path / "tree")
    ours = indexes_of(tree)

    theirs = rebuilt(tree)

    assert ours == theirs
    latest, failing, stale = (json.loads(data) for data in theirs.values())
    surfaces = {(repo, surface) for repo, surfaces in latest.items() for surface in surfaces}
    assert len(REPOSITORIES) + 10 == len(latest)
    assert 0 < len(failing) < len(surfaces)
    assert 0 < len(stale) < len(surfaces)
    assert {"edge/over", "edge/space"} == {each["repo"] for each in stale if each["repo"].startswith("edge/")}
    assert {"cli": "a", "web": "b", "api": "a"} == {key: each["run_id"] for key, each in latest["tie/same"].items()}


def test_the_original_takes_every_exported_record_for_one_of_its_own(recorded: Recorded, tmp_path: Path) -> None:
    tree = shutil.copytree(recorded.tree, tmp_path / "tree")

    counts = ask_original("rebuild", root=tree, now=AS_OF)
    checked = ask_original("validate", root=tree)

    written = [each for each in recorded.answers if each.get("written")]
    assert {"records": len(written), "invalid": []} == checked
    assert ([], [], None) == (counts["corrupted"], counts["skipped"], counts["skippedCommit"])
    assert len(written) == counts["accepted"] + counts["rejected"]


def test_the_original_judges_every_submission_the_same(recorded: Recorded) -> None:
    keys = ("run_id", "status", "path", "verified", "reasons")

    theirs = ask_original("verify", root=recorded.tree, feed=recorded.feed, now=AS_OF)

    root = f"{recorded.command.root.absolute()}/"
    ours = [
        (each["run_id"], each["status"], each["path"].removeprefix(root), each["verdict"], each["rejection_reasons"])
        for each in recorded.answers
    ]
    assert ours == [tuple(each[key] for key in keys) for each in theirs]
    assert {"accepted", "rejected"} == {status for _, status, *_ in ours}


def test_the_original_goes_on_in_an_exported_tree_and_ours_after_it(recorded: Recorded, tmp_path: Path) -> None:
    tree = shutil.copytree(recorded.tree, tmp_path / "tree")
    known, new = chosen()[0], of_repository("o/foo", "after", "2026-03-19T23:00:00Z", on_surfaces("cli"))
    feed = tmp_path / "feed.ndjson"
    feed.write_text(f"{json.dumps(known)}\n{json.dumps(new)}\n")

    first, second = ask_original("ingest", root=tree, feed=feed, now=AS_OF)
    code, answer, _ = recorded.command("import", str(tree))
    again = exported(recorded.command, tmp_path / "again")

    assert (True, False) == (first["duplicate"], second["duplicate"])
    assert "records/o/foo/2026/03/19/run-after.json" == second["path"]
    assert (0, 1, len(records_of(recorded.tree))) == (code, answer["records_recorded"], answer["records_present"])
    assert records_of(tree) == records_of(again)
    assert indexes_of(tree) == indexes_of(again)


# its trees


def test_a_tree_that_the_original_has_written_is_exported_the_same(adopted: Adopted, tmp_path: Path) -> None:
    code, answer = adopted.imported

    again = exported(adopted.command, tmp_path / "again")

    assert all(each["written"] for each in adopted.answers)
    assert (0, len(adopted.answers), []) == (code, answer["records_recorded"], answer["left_out"])
    assert records_of(adopted.tree) == records_of(again)
    assert indexes_of(adopted.tree) == indexes_of(again)


def test_our_records_are_the_originals_but_for_the_instant_and_its_ledger(recorded: Recorded, adopted: Adopted) -> None:
    theirs, ours = records_of(adopted.tree), records_of(recorded.tree)

    assert {path: comparable(data) for path, data in theirs.items()} == {
        path: comparable(data) for path, data in ours.items()
    }
    assert all(b'"integrity"' in data for data in theirs.values())


def test_what_the_original_has_recorded_is_a_duplicate_here(recorded: Recorded, adopted: Adopted) -> None:
    code, answer, _ = adopted.command.ingest("--payload", str(recorded.feed))

    assert 0 == code
    assert {"duplicate"} == {each["status"] for each in answer["results"]}
    assert [] == answer["persisted_records"]
