"""The portfolio over indexes and policies, by the thresholds that submissions are judged by."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.domain.instant import parse_instant
from artifactstore.errors import ConfigurationError, Problem
from artifactstore.pilots.testing_os.policy import Policies, RepositoryPolicy
from artifactstore.pilots.testing_os.policy_files import AllPolicies, read_all_policies
from artifactstore.pilots.testing_os.portfolio import SURFACES, portfolio
from artifactstore.pilots.testing_os.schemas import SUBMISSION_SCHEMA, schemas
from artifactstore.pilots.testing_os.yaml_core import load_yaml
from tests.pilots.testing_os.golden import policy_texts

if TYPE_CHECKING:
    from pathlib import Path

AS_OF = parse_instant("2026-12-01T12:00:00.5Z")
GLOBAL = load_yaml(policy_texts()["global"].encode(), what="the global policy")
SHIPCHECK = """
repo: org/shipcheck
policy_version: "1.0.0"
enforcement: { mode: required }
surfaces:
  cli:
    required_scenarios: [self-gate, second]
    freshness: { max_age_days: 14, warn_age_days: 7 }
  npm-package:
    freshness: { max_age_days: 14, warn_age_days: 7 }
"""


def entry(finished_at: Any = "2026-11-16T12:00:00Z", verified: str = "pass", run_id: str = "r1") -> dict[str, Any]:
    return {"run_id": run_id, "verified": verified, "verification_status": "accepted", "finished_at": finished_at,
            "path": "records/x"}  # fmt: skip


def policies(global_document: Any = None, **repositories: Any) -> AllPolicies:
    """Policies by repository; ``org__repo`` is ``org/repo``."""
    document = GLOBAL if global_document is None else global_document
    by_repo = {
        name.replace("__", "/"): Policies(document, RepositoryPolicy({"policy_version": "1.0.0", **members}))
        for name, members in repositories.items()
    }
    return AllPolicies(Policies(document), by_repo)


def report(latest: dict[str, Any], known: AllPolicies | None = None) -> Any:
    return portfolio(latest, policies() if known is None else known, as_of=AS_OF).document


def write(directory: Path, **texts: str) -> Path:
    """A policy directory; ``org__repo`` is repos/org/repo.yaml."""
    directory.mkdir(parents=True)
    (directory / "global-policy.yaml").write_text(policy_texts()["global"])
    for name, text in texts.items():
        path = directory / "repos" / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


def test_the_report_has_the_originals_shape(tmp_path):
    known = read_all_policies(write(tmp_path / "policies", org__shipcheck=SHIPCHECK))
    latest = {"org/shipcheck": {"cli": entry()}, "org/other": {"web": entry(None, "fail", "r2")}}

    found = portfolio(latest, known, as_of=AS_OF)

    assert () == found.problems
    assert {
        "generatedAt": "2026-12-01T12:00:00.500Z",
        "coverage": {"total_repos": 2, "surfaces_covered": 2, "surfaces_total": 8},
        "repos": [
            {
                "repo": "org/other",
                "surface": "web",
                "verified": "fail",
                "enforcement": "required",
                "freshness_days": None,
                "scenario": None,
                "scenarios": [],
                "run_id": "r2",
                "finished_at": None,
            },
            {
                "repo": "org/shipcheck",
                "surface": "cli",
                "verified": "pass",
                "enforcement": "required",
                "freshness_days": 15,
                "scenario": "self-gate",
                "scenarios": ["self-gate", "second"],
                "run_id": "r1",
                "finished_at": "2026-11-16T12:00:00Z",
            },
        ],
        "stale": [{"repo": "org/shipcheck", "surface": "cli", "freshness_days": 15, "max_age_days": 14}],
        "missing": [{"repo": "org/shipcheck", "surface": "npm-package", "enforcement": "required"}],
        "unknown_freshness": [{"repo": "org/other", "surface": "web", "raw_finished_at": None}],
    } == found.document
    assert found.file() == (json.dumps(found.document, indent=2) + "\n").encode()


def test_without_anything_it_is_empty():
    assert {
        "coverage": {"total_repos": 0, "surfaces_covered": 0, "surfaces_total": 8},
        "repos": [],
        "stale": [],
        "missing": [],
        "unknown_freshness": [],
    } == {key: value for key, value in report({}).items() if key != "generatedAt"}


@pytest.mark.parametrize(
    ("finished_at", "is_stale"),
    [("2026-11-17T12:00:00.500Z", False), ("2026-11-16T12:00:00.501Z", False), ("2026-11-16T12:00:00.500Z", True)],
)
def test_stale_is_what_is_older_in_whole_days_than_the_surfaces_own_freshness_allows(finished_at, is_stale):
    known = policies(org__r={"surfaces": {"cli": {"freshness": {"max_age_days": 14}}}})

    assert is_stale == bool(report({"org/r": {"cli": entry(finished_at)}}, known)["stale"])


def test_a_surface_without_freshness_of_its_own_has_the_global_one():
    known = policies({**GLOBAL, "defaults": {"freshness": {"max_age_days": 5}}}, org__r={"surfaces": {"cli": {}}})
    old = entry("2026-11-25T00:00:00Z")

    found = report({"org/r": {"cli": old, "web": old}, "org/s": {"cli": old}}, known)["stale"]

    assert [("org/r", "cli", 5), ("org/r", "web", 5), ("org/s", "cli", 5)] == [
        (each["repo"], each["surface"], each["max_age_days"]) for each in found
    ]


def test_where_nothing_is_said_it_is_thirty_days():
    known = policies({"policy_version": "1.0.0"})
    latest = {"o/a": {"cli": entry("2026-11-01T12:00:00Z")}, "o/b": {"cli": entry("2026-10-31T12:00:00Z")}}

    (found,) = report(latest, known)["stale"]

    assert {"repo": "o/b", "surface": "cli", "freshness_days": 31, "max_age_days": 30} == found


@pytest.mark.parametrize(
    ("enforcement", "told"),
    [
        ({"mode": "required"}, "required"),
        ({"mode": "warn-only", "reason": "tuning", "review_after": "2026-12-01"}, "warn-only"),
        ({"mode": "exempt", "reason": "archived", "review_after": "2027-01-01"}, "exempt"),
        ({"mode": "exempt", "reason": "archived", "review_after": "2026-11-30"}, "required"),
    ],
)
def test_enforcement_is_the_mode_in_force(enforcement, told):
    known = policies(org__r={"enforcement": enforcement, "surfaces": {"web": {}}})

    found = report({"org/r": {"cli": entry()}}, known)

    assert told == found["repos"][0]["enforcement"]
    assert [{"repo": "org/r", "surface": "web", "enforcement": told}] == found["missing"]


@pytest.mark.parametrize("finished_at", [None, 7, "nonsense", "2026-11-16T12:00:00+05"])
def test_what_has_no_age_is_told_and_not_stale(finished_at):
    found = report({"o/r": {"cli": entry(finished_at)}})

    assert [] == found["stale"]
    assert [{"repo": "o/r", "surface": "cli", "raw_finished_at": finished_at}] == found["unknown_freshness"]


def test_repositories_are_sorted_as_the_original_sorts_them():
    """Observed of ``localeCompare``."""
    ordered = [
        *("9/9", "o_p/x", "o-p/x", "o.p/x", "o/foo", "o/Foo", "O/foo", "o/foo_x", "o/foo-bar", "o/foo.js"),
        *("o/foo1", "o/foo10", "o/foo2", "o/fooa", "o/fooA", "o/fooB", "OP/v", "oP/w", "op/x", "Z/a", "z/z"),
    ]

    found = report({repo: {"cli": entry(), "api": entry()} for repo in ordered[::-1]})["repos"]

    assert [(repo, surface) for repo in ordered for surface in ("cli", "api")] == [
        (each["repo"], each["surface"]) for each in found
    ]


def test_a_policy_that_cannot_be_judged_by_is_told_and_passed_over(tmp_path):
    directory = write(
        tmp_path / "policies",
        org__lax='policy_version: "1.0.0"\nenforcement: { mode: exempt }\nsurfaces: { cli: {} }\n',
        org__torn="repo: [",
        org__wrong="policy_version: 1\n",
        org__others='repo: org/another\npolicy_version: "1.0.0"\n',
        org__sound='policy_version: "1.0.0"\nsurfaces: { web: {} }\n',
    )
    outside = tmp_path / "secret.yaml"
    outside.write_text('policy_version: "1.0.0"\nenforcement: { mode: exempt }\n')
    (directory / "repos" / "org" / "linked.yaml").symlink_to(outside)

    found = portfolio({"org/torn": {"cli": entry()}}, read_all_policies(directory), as_of=AS_OF)

    assert ["org/lax", "org/linked", "org/others", "org/torn", "org/wrong"] == [
        problem.where for problem in found.problems
    ]
    assert all(problem.what.startswith("its policy is passed over: ") for problem in found.problems)
    assert [("org/torn", "required")] == [(each["repo"], each["enforcement"]) for each in found.document["repos"]]
    assert ["org/sound"] == [each["repo"] for each in found.document["missing"]]


def test_files_that_are_no_policies_are_not_read(tmp_path):
    directory = write(tmp_path / "policies", org__r='policy_version: "1.0.0"\n')
    for name in ("repos/stray.yaml", "repos/org/notes.txt", "repos/org/.yaml", "repos/org/a b.yaml"):
        (directory / name).write_text("repo: [")

    assert ["org/r"] == list(read_all_policies(directory).by_repo)


def test_without_policies_of_repositories_there_is_the_global_one(tmp_path):
    known = read_all_policies(write(tmp_path / "policies"))

    assert {} == known.by_repo
    assert GLOBAL == known.of("org/r").global_document


def test_without_a_valid_global_policy_there_is_no_report(tmp_path):
    with pytest.raises(ConfigurationError, match="there is no global-policy"):
        read_all_policies(tmp_path)
    with pytest.raises(ConfigurationError, match="the global policy is invalid"):
        report({}, policies({"policy_version": 7}))


def test_an_index_that_is_damaged_is_told_where_it_is():
    latest = {"o/a": None, "o/b": {"cli": "x", "web": entry()}}

    found = portfolio(latest, policies(o__a={"surfaces": {"cli": {}}}), as_of=AS_OF)

    assert (
        Problem("o/a", "its entry in the index is no object"),
        Problem("o/b/cli", "its entry in the index is no object"),
    ) == found.problems
    assert ["o/b"] == [each["repo"] for each in found.document["repos"]]
    assert ["o/a"] == [each["repo"] for each in found.document["missing"]]


def test_the_surfaces_are_those_of_the_submission_schema():
    schema: Any = schemas()[SUBMISSION_SCHEMA]

    assert list(SURFACES) == schema["properties"]["scenario_results"]["items"]["properties"]["product_surface"]["enum"]
