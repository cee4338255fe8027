"""Policies and scenario definitions in directories: read strictly, and never outside."""

from __future__ import annotations

import shutil

import pytest

from artifactstore.errors import ConfigurationError, FileUnreadableError
from artifactstore.pilots.testing_os.policy_files import load_policies, read_scenarios
from artifactstore.pilots.testing_os.profiles import V1_1
from artifactstore.pilots.testing_os.scenarios import ScenarioDefinition, UnreadableScenario, parse_scenario
from artifactstore.pilots.testing_os.yaml_core import MAX_YAML_BYTES
from tests.pilots.testing_os.golden import policy_texts, write_policies
from tests.pilots.testing_os.judging import REPO, judge, submission, texts


@pytest.fixture
def directory(tmp_path):
    return write_policies(tmp_path / "policies", "tests")


def repository_file(directory):
    return directory / "repos" / "mcp-tool-shop-org" / "golden.yaml"


def test_the_global_policy_and_the_repositorys_are_read(directory):
    found = load_policies(directory, REPO)

    assert found.version == "2.3.4"
    assert found.requirements("cli").tests_must_pass
    assert found.requirements("web").max_age_days == 30


@pytest.mark.parametrize(
    "repo",
    [
        "other/repo",
        "mcp-tool-shop-org",
        "a/b/c",
        "../repos/x",
        "../global-policy",
        "a/..",
        "./x",
        "a/\0",
        "a\\b/c",
        "",
        None,
        5,
        {},
    ],
)
def test_a_repository_without_a_policy_is_judged_by_the_global_one(directory, repo):
    found = load_policies(directory, repo)

    assert found.repository is None
    assert found.version == "1.0.0"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "there is no global-policy.yaml"),
        ("repo: [unclosed\n", "not valid YAML"),
        ("a: 1\na: 2\n", "the key 'a' twice"),
        ("", "is not a mapping"),
        ("- a\n", "is not a mapping"),
        ("a: " + "x" * MAX_YAML_BYTES, "more than"),
    ],
)
def test_a_global_policy_that_is_none_is_the_operators_error(directory, text, said):
    path = directory / "global-policy.yaml"
    path.unlink()
    if text is not None:
        path.write_text(text)

    with pytest.raises(ConfigurationError, match=said):
        load_policies(directory, REPO)


def test_a_missing_directory_is_the_operators_error(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_policies(tmp_path / "nowhere", REPO)


@pytest.mark.parametrize("member", ["bogus: 1", "policy_version: 1.0.0\nglobal_rules: [{id: x}]"])
def test_an_invalid_global_policy_is_an_error_and_no_rejection(directory, member):
    (directory / "global-policy.yaml").write_text(member + "\n")

    with pytest.raises(ConfigurationError, match="the global policy is invalid") as refused:
        judge(submission(), policies=load_policies(directory, REPO))

    assert refused.value.problems


@pytest.mark.parametrize("name", ["badyaml", "dupkey", "empty", "extra", "nover", "exempt_noreason"])
def test_a_repository_policy_that_is_none_rejects_and_leaves_the_run_id_free(tmp_path, name):
    found = judge(submission(), policies=load_policies(write_policies(tmp_path / "policies", name), REPO))

    (text,) = texts(found)
    assert text.startswith("policy: repo policy unreadable — ")
    assert found.verdict is not None
    assert found.verdict.verified == "fail"
    assert found.record["verification"]["policy_valid"] is False
    assert found.may_be_replaced


def test_an_unquoted_date_is_no_text_and_makes_a_policy_invalid(directory):
    repository_file(directory).write_text(
        "policy_version: '1.0.0'\nenforcement: {mode: exempt, reason: x, review_after: 2026-12-31}\n"
    )

    found = judge(submission(), policies=load_policies(directory, REPO))

    assert texts(found) == [
        "policy: repo policy unreadable — schema-invalid — /enforcement/review_after must be string"
    ]


def test_a_policy_of_another_repository_is_not_judged_by(directory):
    repository_file(directory).write_text("repo: other/repo\npolicy_version: '1.0.0'\n")

    found = judge(submission(), policies=load_policies(directory, REPO))

    assert texts(found) == ["policy: repo policy unreadable — it is the policy of other/repo"]


def test_a_policy_link_that_leaves_the_directory_is_not_followed(directory, tmp_path):
    outside = tmp_path / "outside.yaml"
    outside.write_text("policy_version: '9.9.9'\n")
    repository_file(directory).unlink()
    repository_file(directory).symlink_to(outside)

    found = load_policies(directory, REPO)

    assert found.version == "1.0.0"
    assert found.repository is not None
    assert (
        found.repository.problem
        == "repos/mcp-tool-shop-org/golden.yaml cannot be read: it is a link that does not stay inside"
    )
    assert texts(judge(submission(), policies=found))[0].startswith("policy: repo policy unreadable — ")


def test_a_directory_link_that_leaves_the_directory_is_not_followed(directory, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "repo.yaml").write_text("policy_version: '9.9.9'\n")
    (directory / "repos" / "org").symlink_to(outside, target_is_directory=True)

    assert load_policies(directory, "org/repo").repository.problem


@pytest.mark.parametrize("link", ["repos/mcp-tool-shop-org/golden.yaml", "repos/mcp-tool-shop-org", "repos"])
def test_a_policy_link_to_nothing_rejects(directory, link):
    shutil.rmtree(directory / "repos")
    (directory / link).parent.mkdir(parents=True, exist_ok=True)
    (directory / link).symlink_to("gone")

    found = judge(submission(), policies=load_policies(directory, REPO))

    assert len(texts(found)) == 1
    assert "is a link to nothing" in texts(found)[0]


def test_a_repository_without_a_policy_below_a_linked_directory_has_none(directory):
    (directory / "kept").mkdir()
    (directory / "repos" / "other").symlink_to("../kept")

    assert load_policies(directory, "other/repo").repository is None


def test_a_definition_that_is_a_link_to_nothing_is_unreadable(tmp_path):
    (tmp_path / "s.yaml").symlink_to("gone")

    assert {"s": UnreadableScenario("parse_error")} == read_scenarios(tmp_path, ["s"])


def test_a_policy_link_within_the_directory_is_followed(directory):
    shared = directory / "shared.yaml"
    shared.write_text("policy_version: '3.0.0'\n")
    repository_file(directory).unlink()
    repository_file(directory).symlink_to("../../shared.yaml")

    assert load_policies(directory, REPO).version == "3.0.0"


def test_a_global_policy_link_that_leaves_the_directory_is_refused(directory, tmp_path):
    path = directory / "global-policy.yaml"
    path.rename(tmp_path / "outside.yaml")
    path.symlink_to(tmp_path / "outside.yaml")

    with pytest.raises(ConfigurationError, match=r"global-policy\.yaml cannot be read: it is a link"):
        load_policies(directory, REPO)


def test_in_profile_1_1_an_unreadable_repository_policy_is_none(tmp_path):
    found = judge(
        submission(), policies=load_policies(write_policies(tmp_path / "policies", "badyaml"), REPO), profile=V1_1
    )

    assert texts(found) == []
    assert found.policy_version == "1.0.0"


def test_the_global_policy_of_the_original_is_valid_here(directory):
    assert policy_texts()["global"] == (directory / "global-policy.yaml").read_text()
    assert texts(judge(submission(), policies=load_policies(directory, "other/repo"))) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"success_criteria: {required_steps: [a, b, a]}", ScenarioDefinition(("a", "b"))),
        (b"success_criteria: {}", ScenarioDefinition(())),
        (b"id: x", ScenarioDefinition(())),
        (b"success_criteria: {required_steps: [1]}", UnreadableScenario("schema_invalid")),
        (b"success_criteria: {required_steps: a}", UnreadableScenario("schema_invalid")),
        (b"success_criteria: [a]", UnreadableScenario("schema_invalid")),
        (b"", UnreadableScenario("schema_invalid")),
        (b"a: [", UnreadableScenario("parse_error")),
        (b"x" * (MAX_YAML_BYTES + 1), UnreadableScenario("too_large")),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_scenario_definition_is_read_or_says_why_not(text, found):
    assert parse_scenario(text) == found


def test_scenario_definitions_are_found_by_their_ids(tmp_path):
    (tmp_path / "a.yaml").write_text("success_criteria: {required_steps: [x]}")
    (tmp_path / "b.yaml").write_text("a: [")
    (tmp_path / "out.yaml").symlink_to("/etc/hostname")

    found = read_scenarios(tmp_path, ["a", "b", "c", "../a", "out", ".a", ""])

    assert found == {
        "a": ScenarioDefinition(("x",)),
        "b": UnreadableScenario("parse_error"),
        "../a": UnreadableScenario("invalid_id"),
        "out": UnreadableScenario("parse_error"),
        ".a": UnreadableScenario("invalid_id"),
        "": UnreadableScenario("invalid_id"),
    }


def test_a_missing_directory_of_scenarios_is_an_error(tmp_path):
    with pytest.raises(FileUnreadableError):
        read_scenarios(tmp_path / "nowhere", ["a"])
