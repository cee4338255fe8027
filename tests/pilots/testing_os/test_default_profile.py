"""The default profile: the architecture page's rules, stage by stage."""

from __future__ import annotations

import json

import pytest

from artifactstore.domain.instant import parse_instant
from artifactstore.errors import ConfigurationError, UsageError
from artifactstore.pilots.testing_os.faults import ProvenanceFaultError, ProvenanceUnavailableError
from artifactstore.pilots.testing_os.profiles import DEFAULT, V1_1, profile_named
from artifactstore.pilots.testing_os.provenance import Confirmation, rejecting_provenance
from artifactstore.pilots.testing_os.scenarios import ScenarioDefinition, UnreadableScenario
from artifactstore.pilots.testing_os.verifier import Status
from tests.pilots.testing_os.judging import (
    MISSING,
    REPO,
    SCENARIO,
    codes,
    judge,
    policies,
    repository_policy,
    submission,
    texts,
    warning_texts,
)

STEP = "/scenario_results/0/step_results/0/status"
VERDICT = "/scenario_results/0/verdict"
TOO_NEW = "recordSubmission schema v2.0.0 but this build supports v1.0.0"
TOO_OLD = "recordSubmission schema v0.9.0 is below the supported floor v1.0.0"
SHA = "c5d6c4e0000000000000000000000000deadbeef"
NOT_CONSISTENT = '[step-verdict-consistent] scenario verdict is "pass" but required step "emit-submission"'
UNEXPLAINED = '[step-verdict-consistent] scenario verdict is "partial" but no required step reports status fail/blocked'


def cli(**requirements):
    return policies(repository_policy(surfaces={"cli": requirements}))


def enforced(mode, *, review_after="2026-06-01", **requirements):
    asked = {"mode": mode, "reason": "tuning", "review_after": review_after}
    return policies(repository_policy(enforcement=asked, surfaces={"cli": requirements}))


HUMANS_ONLY = {"execution_mode_policy": {"allowed": ["human"]}}
NO_BOT = 'policy: surface[cli]: execution_mode "bot" not allowed (allowed: human)'


# the whole


def test_a_good_submission_is_accepted_and_filed_under_its_day():
    found = judge(submission({"/timing/finished_at": "2026-03-19T23:45:12-04:00"}))

    assert found.status is Status.ACCEPTED
    assert found.verdict is not None
    assert (found.verdict.verified, found.verdict.downgraded) == ("pass", False)
    assert found.path == "records/mcp-tool-shop-org/golden/2026/03/20/run-01HRTR6J6ZX9B5M3M5K8A9QY7T.json"
    assert found.external_id == "mcp-tool-shop-org/golden/2026-03-20/01HRTR6J6ZX9B5M3M5K8A9QY7T"
    assert found.unfilable is None


def test_the_record_has_its_keys_in_the_published_order():
    found = judge(submission({VERDICT: "fail", STEP: "fail", "/notes": ""}))

    assert list(json.loads(found.record_text)) == [
        "schema_version",
        "policy_version",
        "run_id",
        "repo",
        "ref",
        "source",
        "timing",
        "ci_checks",
        "scenario_results",
        "overall_verdict",
        "verification",
    ]
    assert list(found.record["overall_verdict"]) == ["proposed", "verified", "downgraded", "downgrade_reasons"]
    assert list(found.record["verification"]) == [
        "status",
        "verified_at",
        "provenance_confirmed",
        "schema_valid",
        "policy_valid",
        "rejection_reasons",
    ]
    assert found.record["verification"]["verified_at"] == "2026-03-20T12:00:00.000Z"
    assert found.record_text.endswith("\n  }\n}\n")


def test_every_stage_says_what_it_found():
    found = judge(submission(), provenance=lambda _source, _ref: Confirmation(confirmed=True, head_sha=SHA))

    assert list(found.findings) == [
        "repo-binding",
        "schema",
        "contract-version",
        "verifier-fields",
        "provenance",
        "steps",
        "policy",
        "scenario-definitions",
        "place",
    ]
    assert found.findings["provenance"].facts == {"confirmed": True, "head_sha": SHA}
    assert found.findings["policy"].facts["enforcement"] == "required"
    assert found.findings["policy"].facts["surfaces"]["cli"]["max_age_days"] == 30
    assert found.findings["scenario-definitions"].was_skipped
    assert json.dumps({name: dict(stage.facts) for name, stage in found.findings.items()})


def test_nothing_but_the_schema_keeps_a_stage_from_running():
    found = judge(
        submission({"/repo": "other/repo", STEP: "fail", "/scenario_results/0/execution_mode": "human"}),
        provenance=rejecting_provenance,
    )

    assert codes(found) == ["REPO_MISMATCH", "PROVENANCE_UNCONFIRMED", "STEP_CONTRADICTS_PASS", "NOT_ATTESTED"]
    assert [reason.is_retryable for reason in found.reasons] == [True, True, True, False]
    assert not found.may_be_replaced


def test_a_violated_schema_skips_what_needs_a_valid_submission():
    found = judge(submission({"/zzz": 1, "/verification": {}}), provenance=rejecting_provenance)

    assert texts(found) == [
        "schema: / must NOT have additional properties",
        "schema: / must NOT have additional properties",
        "submission-contains-verifier-field: verification",
    ]
    assert found.findings["provenance"].was_skipped
    assert found.path is not None
    assert found.path.startswith("records/_rejected/")
    assert found.may_be_replaced


# any reason forces fail


@pytest.mark.parametrize(
    "changes",
    [
        {"/repo": "other/repo"},
        {"/scenario_results/0/step_results/1/status": "fail"},
        {"/timing/finished_at": "2026-03-19T23:45:12-04"},
        {"/schema_version": "2.0.0"},
    ],
)
def test_no_rejected_submission_passes(changes):
    found = judge(submission(changes))

    assert found.status is Status.REJECTED
    assert found.verdict is not None
    assert found.verdict.verified == "fail"
    assert "non-empty rejection reasons force fail" in found.verdict.reasons


def test_in_profile_1_1_a_rejected_submission_may_pass():
    found = judge(submission({"/repo": "other/repo"}), profile=V1_1)

    assert (found.status, found.verdict.verified) == (Status.REJECTED, "pass")


# contract version


@pytest.mark.parametrize(
    ("version", "text", "retryable"),
    [
        (
            "2.0.0",
            f"CONTRACT_SCHEMA_TOO_NEW: {TOO_NEW} {{}} upgrade testing-os",
            False,
        ),
        (
            "0.9.0",
            f"CONTRACT_SCHEMA_TOO_OLD: {TOO_OLD} {{}} re-emit against the current contract",
            True,
        ),
    ],
)
def test_another_major_version_of_the_contract_is_rejected(version, text, retryable):
    found = judge(submission({"/schema_version": version}))

    assert texts(found) == [text.format("(major 1\N{EN DASH}1) \N{EM DASH}")]
    assert found.may_be_replaced is retryable


def test_a_minor_version_is_understood():
    assert texts(judge(submission({"/schema_version": "1.7.3"}))) == []


# what only a verifier may say


@pytest.mark.parametrize("verdict", [None, {"verified": "pass"}, ["pass"]])
def test_an_overall_verdict_that_is_no_text_is_the_verifiers(verdict):
    found = judge(submission({"/overall_verdict": verdict, "/policy_version": "9.9.9"}))

    assert texts(found)[-2:] == [
        "submission-contains-verifier-field: policy_version",
        "submission-contains-verifier-field: overall_verdict must be a string in submissions",
    ]
    assert found.unfilable is not None
    assert found.unfilable.code == "RECORD_SCHEMA_INVALID"


# provenance


def test_a_run_of_another_commit_confirms_nothing():
    found = judge(submission(), provenance=lambda _source, _ref: Confirmation(confirmed=True, head_sha="0" * 40))

    assert texts(found) == [
        f"provenance: source run could not be confirmed: it ran on {'0' * 40}, not on ref.commit_sha {SHA}"
    ]
    assert found.record["verification"]["provenance_confirmed"] is False


def test_in_profile_1_1_a_real_run_attests_any_commit():
    provenance = Confirmation(confirmed=True, head_sha="0" * 40)

    assert texts(judge(submission(), provenance=lambda _source, _ref: provenance, profile=V1_1)) == []


@pytest.mark.parametrize("kind", [ProvenanceFaultError, ProvenanceUnavailableError])
def test_a_fault_is_no_answer_and_nothing_is_recorded(kind):
    def failing(_source, _ref):
        raise kind("GitHub API timeout")

    with pytest.raises(kind, match="provenance-fault: verification failed: GitHub API timeout") as raised:
        judge(submission(), provenance=failing)

    assert raised.value.retryable is (kind is ProvenanceUnavailableError)
    assert raised.value.hint


# steps


def test_partial_is_a_status():
    assert texts(judge(submission({STEP: "partial", VERDICT: "partial"}))) == []


def test_reasons_beyond_two_hundred_are_counted():
    steps = [{"step_id": "again", "status": "pass"}] * 500

    found = judge(submission({"/scenario_results/0/step_results": steps}))

    assert len(found.reasons) == 201
    assert texts(found)[-1] == f"steps[{SCENARIO}]: (+299 more collapsed; 499 total)"
    assert found.may_be_replaced


def test_a_verdict_that_no_step_explains_is_rejected():
    assert texts(judge(submission({VERDICT: "fail"}))) == [
        f'steps[{SCENARIO}]: scenario verdict is "fail" but no step reports status fail/blocked'
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        (
            {"/scenario_results/0/step_results/0/step_id": "other"},
            [
                '[step-results-present] required step "emit-submission" has no matching step_result',
                f"{NOT_CONSISTENT} has no step_result",
            ],
        ),
        (
            {STEP: "skip"},
            [f'{NOT_CONSISTENT} has status "skip"'],
        ),
        (
            {VERDICT: "partial", "/scenario_results/0/step_results/2/status": "fail"},
            [UNEXPLAINED],
        ),
        ({VERDICT: "partial", STEP: "partial"}, []),
        ({VERDICT: "fail", STEP: "fail"}, []),
    ],
)
def test_required_steps_are_there_and_agree(changes, said):
    definitions = {SCENARIO: ScenarioDefinition(("emit-submission", "write-record"))}

    found = judge(submission(changes), scenarios=definitions)

    assert texts(found) == [f"steps[{SCENARIO}]: {text}" for text in said]


def test_an_unreadable_definition_rejects_and_a_missing_one_warns():
    unreadable = judge(submission(), scenarios={SCENARIO: UnreadableScenario("too_large")})
    missing = judge(submission(), scenarios={})

    assert texts(unreadable) == [
        f'scenario-load: scenario "{SCENARIO}" could not be loaded from source repo (reason: too_large)'
    ]
    assert missing.status is Status.ACCEPTED
    assert missing.record["verification"]["warnings"] == [
        f'scenario definition not found for "{SCENARIO}" — required_steps unenforced'
    ]


def test_a_definition_is_told_of_once_however_often_it_is_needed():
    result = submission()["scenario_results"][0]
    document = submission({"/scenario_results": [result, result]})

    assert len(judge(document, scenarios={}).warnings) == 1
    assert len(judge(document, scenarios={}, profile=V1_1).reasons) == 1


def test_many_unreadable_definitions_are_counted():
    result = submission()["scenario_results"][0]
    results = [{**result, "scenario_id": f"s{n}"} for n in range(25)]

    found = judge(
        submission({"/scenario_results": results}),
        scenarios={f"s{n}": UnreadableScenario("parse_error") for n in range(25)},
    )

    assert len(found.reasons) == 21
    assert texts(found)[-1] == "scenario-load: (+5 more scenario-load errors collapsed; 25 total)"


# policy: the enforcement tier


def test_without_a_policy_the_defaults_are_required():
    strict = policies(defaults=HUMANS_ONLY)

    assert texts(judge(submission(), policies=strict)) == [NO_BOT]


def test_warn_only_warns_and_says_until_when():
    found = judge(submission(), policies=enforced("warn-only", **HUMANS_ONLY))

    assert found.status is Status.ACCEPTED
    assert found.verdict is not None
    assert found.verdict.verified == "pass"
    assert warning_texts(found) == ['policy: enforcement "warn-only" (tuning) holds until 2026-06-01', NO_BOT]
    assert found.record["verification"]["warnings"] == warning_texts(found)
    assert list(found.record["verification"])[-1] == "warnings"


def test_exempt_does_not_look_and_says_so():
    found = judge(submission(), policies=enforced("exempt", **HUMANS_ONLY))

    assert found.status is Status.ACCEPTED
    assert warning_texts(found) == ['policy: enforcement "exempt" (tuning) holds until 2026-06-01']


@pytest.mark.parametrize("mode", ["warn-only", "exempt"])
@pytest.mark.parametrize(("as_of", "is_relaxed"), [("2026-06-01T23:59:59Z", True), ("2026-06-02T00:00:00Z", False)])
def test_an_exception_ends_with_its_review_date(mode, as_of, is_relaxed):
    relaxed = enforced(mode, freshness={"max_age_days": 1000, "warn_age_days": 1000}, **HUMANS_ONLY)

    found = judge(submission(), policies=relaxed, as_of=parse_instant(as_of))

    assert texts(found) == ([] if is_relaxed else [NO_BOT])
    ended = f'policy: enforcement "{mode}" (tuning) ended with its review date 2026-06-01, judged as required'
    assert (ended in warning_texts(found)) is not is_relaxed


@pytest.mark.parametrize("mode", ["warn-only", "exempt"])
def test_no_mode_softens_global_rules_or_other_stages(mode):
    document = submission({"/scenario_results/0/execution_mode": "human", STEP: "fail"})

    found = judge(document, policies=enforced(mode), provenance=rejecting_provenance)

    assert codes(found) == ["PROVENANCE_UNCONFIRMED", "STEP_CONTRADICTS_PASS", "NOT_ATTESTED"]


def test_a_global_rule_that_only_warns_warns():
    rule = {"id": "attested-if-human", "severity": "warn", "description": "d"}
    document = submission({"/scenario_results/0/execution_mode": "human"})

    found = judge(document, policies=policies(global_rules=[rule]))

    assert found.status is Status.ACCEPTED
    assert warning_texts(found) == [
        f'policy: [attested-if-human] scenario "{SCENARIO}": execution_mode is "human" but attested_by is missing'
    ]


def test_a_rule_to_reject_that_nobody_knows_is_the_operators_error():
    rule = {"id": "no-fridays", "severity": "reject", "description": "d"}

    with pytest.raises(ConfigurationError, match="'no-fridays'"):
        judge(submission(), policies=policies(global_rules=[rule]))


# policy: required scenarios, freshness, execution mode, checks


def test_a_required_scenario_must_be_run_on_its_surface():
    wanted = cli(required_scenarios=[SCENARIO, "second", "second"])

    assert texts(judge(submission(), policies=wanted)) == [
        'policy: surface[cli]: required scenario "second" is missing'
    ]


def test_a_scenario_of_another_surface_is_not_the_required_one():
    result = submission()["scenario_results"][0]
    both = [{**result, "scenario_id": "first"}, {**result, "product_surface": "web"}]

    found = judge(submission({"/scenario_results": both}), policies=cli(required_scenarios=[SCENARIO]))

    assert texts(found) == [f'policy: surface[cli]: required scenario "{SCENARIO}" is missing']


def test_a_surface_that_was_not_tested_requires_nothing():
    web = policies(repository_policy(surfaces={"web": {"required_scenarios": ["w"]}}))

    assert texts(judge(submission(), policies=web)) == []


@pytest.mark.parametrize(
    ("as_of", "reasons", "warnings"),
    [
        ("2026-03-26T15:45:11Z", 0, 0),
        ("2026-03-27T15:45:11Z", 0, 0),
        ("2026-03-27T15:45:12Z", 0, 1),
        ("2026-04-03T15:45:11Z", 0, 1),
        ("2026-04-03T15:45:12Z", 1, 0),
        ("2026-03-19T15:36:00Z", 0, 0),
        ("2026-03-19T15:35:00Z", 1, 0),
    ],
)
def test_freshness_counts_whole_days_and_no_future(as_of, reasons, warnings):
    fresh = cli(freshness={"max_age_days": 14, "warn_age_days": 7})

    found = judge(submission(), policies=fresh, as_of=parse_instant(as_of))

    assert (len(found.reasons), len(found.warnings)) == (reasons, warnings)


def test_a_stale_run_says_how_old_it_is():
    found = judge(submission(), as_of=parse_instant("2026-05-01T00:00:00Z"))

    assert texts(found) == ["policy: surface[cli]: finished 42 days ago, freshness allows at most 30"]


@pytest.mark.parametrize("mode", ["required", "warn-only", "exempt"])
def test_a_run_of_the_future_is_rejected_whatever_is_required(mode):
    enforcement = {"mode": mode, "reason": "new", "review_after": "2026-12-31"}
    found = judge(
        submission({"/timing/finished_at": "2027-01-01T00:00:00Z"}),
        policies=policies(repository_policy(enforcement=enforcement, surfaces={"cli": {"freshness": {}}}), defaults={}),
    )

    assert texts(found) == ["policy: finished_at 2027-01-01T00:00:00Z is in the future"]


@pytest.mark.parametrize(
    ("checks", "said"),
    [
        (MISSING, "tests_must_pass is true but no kind:test CI check provided"),
        ([], "tests_must_pass is true but no kind:test CI check provided"),
        ([{"id": "a", "kind": "test", "status": "fail"}], "CI tests must pass but [a] failed"),
        ([{"id": "a", "kind": "test", "status": "pass"}], None),
    ],
)
def test_tests_that_must_pass_must_be_there(checks, said):
    found = judge(submission({"/ci_checks": checks}), policies=cli(ci_requirements={"tests_must_pass": True}))

    assert texts(found) == ([f"policy: surface[cli]: {said}"] if said else [])


@pytest.mark.parametrize(
    ("checks", "said"),
    [
        ([], "coverage_min is 80% but no coverage data provided"),
        ([{"id": "c", "kind": "coverage", "status": "pass"}], "coverage_min is 80% but no coverage data provided"),
        ([{"id": "c", "kind": "coverage", "status": "pass", "value": 79.5}], "coverage 79.5% is below minimum 80%"),
        ([{"id": "c", "kind": "coverage", "status": "pass", "value": 80.0}], None),
    ],
)
def test_coverage_is_enough_or_says_how_much_it_is(checks, said):
    found = judge(submission({"/ci_checks": checks}), policies=cli(ci_requirements={"coverage_min": 80}))

    assert texts(found) == ([f"policy: surface[cli]: {said}"] if said else [])


def test_requirements_are_merged_deeply_and_a_repositorys_defaults_are_nobodys():
    own = repository_policy(
        surfaces={"cli": {"freshness": {"max_age_days": 5}, "execution_mode_policy": {"allowed": ["human"]}}},
        defaults={"evidence_requirements": {"min_evidence_count": 9}},
    )

    requirements = policies(own).requirements("cli")

    assert (requirements.max_age_days, requirements.warn_age_days) == (5, 14)
    assert requirements.allowed_modes == ("human",)
    assert requirements.min_evidence_count == 0


# filing


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"/timing/finished_at": "2026-03-19T15:45:12-04"}, "Invalid finished_at timestamp"),
        ({"/timing/finished_at": "2026-03-19T23:59:60Z"}, "Invalid finished_at timestamp"),
        ({"/repo": "./x"}, "unsafe repo segment: ./x"),
        ({"/repo": "../etc"}, "unsafe repo segment: ../etc"),
        ({"/repo": "a..b/c"}, "unsafe repo segment: a..b/c"),
    ],
)
def test_what_cannot_be_filed_is_rejected_and_not_recorded(changes, cause):
    document = submission({**changes, "/source/run_url": "https://example.com/x"})

    found = judge(document)

    told = f"(repo: {document['repo']}, run_id: {document['run_id']})"
    assert texts(found)[-1] == (
        f"unsafe-record-path: record passed schema validation but its path could not be safely computed {told}: {cause}"
    )
    assert (found.path, found.external_id) == (None, None)
    assert found.unfilable is not None
    assert (found.unfilable.code, found.unfilable.message) == ("UNSAFE_RECORD_PATH", cause)


@pytest.mark.parametrize(
    ("changes", "violation"),
    [
        ({"/run_id": "abc\n"}, '/run_id must match pattern "^[A-Za-z0-9_-]+$"'),
        ({"/repo": "a/b/c"}, '/repo must match pattern "^[a-zA-Z0-9_.-]+/[a-zA-Z0-9_.-]+$"'),
        ({"/timing/finished_at": "2026-02-30T00:00:00Z"}, '/timing/finished_at must match format "date-time"'),
        ({"/timing": MISSING}, "/ must have required property 'timing'"),
    ],
)
def test_a_record_that_is_none_is_rejected_and_says_every_violation(changes, violation):
    found = judge(submission(changes))

    assert f"schema: {violation}" in texts(found)
    assert found.path is None
    assert found.unfilable is not None
    assert found.unfilable.code == "RECORD_SCHEMA_INVALID"
    assert [str(item) for item in found.unfilable.violations] == [violation]


def test_an_empty_object_is_a_rejection_and_no_crash():
    found = judge({})

    assert len(found.reasons) == 8
    assert found.unfilable is not None


# what it was judged by


def test_the_digest_is_of_what_the_policies_say():
    plain = judge(submission()).policy_digest

    assert plain == judge(submission()).policy_digest
    assert str(plain).startswith("blake3:")
    assert judge(submission(), policies=policies(repository_policy())).policy_digest != plain
    assert judge(submission(), policies=policies(policy_version="1.0.1")).policy_digest != plain


def test_the_records_policy_version_is_the_repositorys_else_the_global_one():
    assert judge(submission()).record["policy_version"] == "1.0.0"
    assert judge(submission(), policies=policies(repository_policy())).record["policy_version"] == "2.3.4"


def test_a_profile_has_a_name():
    assert profile_named("default") is DEFAULT
    assert profile_named("1.1") is V1_1
    with pytest.raises(UsageError, match=r"'1\.14'"):
        profile_named("1.14")


def test_in_profile_1_1_a_policy_of_the_wrong_shape_rejects():
    found = judge(submission(), policies=cli(required_scenarios=5), profile=V1_1)

    assert texts(found) == ["validator error: required_scenarios is not a list"]


def test_judging_twice_gives_the_same_text():
    document = submission({"/repo": REPO, "/notes": "naïve \u2028"})

    assert judge(document).record_text == judge(document).record_text
