"""The verdict is confirmed or lowered, and never raised: over everything there is, in both profiles."""

from __future__ import annotations

import json
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from artifactstore.pilots.testing_os.ingesting import Answer
from artifactstore.pilots.testing_os.profiles import DEFAULT, V1_1
from artifactstore.pilots.testing_os.provenance import Confirmation
from artifactstore.pilots.testing_os.scenarios import ScenarioDefinition, UnreadableScenario
from artifactstore.pilots.testing_os.verdict import decide, without_definitions
from artifactstore.pilots.testing_os.verifier import Status
from tests.pilots.testing_os.judging import SCENARIO, judge, policies, repository_policy, submission
from tests.pilots.testing_os.store import store_in_memory

WORST_FIRST = ["fail", "blocked", "partial", "pass"]
VALID = {"evidence_valid": True, "policy_valid": True, "forced_to_fail": False}


@pytest.mark.parametrize(("proposed", "floor"), list(product(WORST_FIRST, WORST_FIRST)))
def test_the_worse_of_claim_and_evidence_holds(proposed, floor):
    verdict = decide(proposed, ["pass", floor, "pass"], **VALID)

    is_lower = WORST_FIRST.index(floor) < WORST_FIRST.index(proposed)
    assert verdict.verified == (floor if is_lower else proposed)
    assert verdict.downgraded is is_lower
    said = f'scenario/policy evidence requires "{floor}" but source proposed "{proposed}"'
    assert verdict.reasons == ((said,) if is_lower else ())


def test_no_scenario_lowers_nothing():
    assert decide("pass", [], **VALID).verified == "pass"


@pytest.mark.parametrize(
    ("proposed", "reasons"), [("pass", ("schema or provenance validation failed",)), ("fail", ()), (None, ())]
)
def test_without_valid_evidence_it_fails(proposed, reasons):
    verdict = decide(proposed, ["pass"], **{**VALID, "evidence_valid": False})

    assert (verdict.verified, verdict.reasons) == ("fail", reasons)


def test_an_invalid_policy_is_told_even_when_nothing_is_lowered():
    verdict = decide("fail", ["pass"], **{**VALID, "policy_valid": False})

    assert (verdict.verified, verdict.downgraded) == ("fail", False)
    assert verdict.reasons == ("policy validation failed",)


def test_what_is_not_known_counts_as_fail():
    assert decide("great", ["pass"], **VALID).reasons == (
        'verdict: unrecognized proposed verdict "great", treating as fail',
    )
    assert decide(None, [], **VALID).reasons == ("verdict: no proposed verdict provided, defaulting to fail",)
    assert decide("pass", ["odd"], **VALID).reasons == (
        'verdict: unrecognized scenario verdict "odd", treating as fail',
        'scenario/policy evidence requires "fail" but source proposed "pass"',
    )


_VERDICTS = [*WORST_FIRST, "great", "", None, 5, {"proposed": "pass"}]
_FLAGS = ("evidence_valid", "policy_valid", "forced_to_fail")


@pytest.mark.parametrize("flags", [dict(zip(_FLAGS, given, strict=True)) for given in product([True, False], repeat=3)])
def test_a_verdict_is_never_raised(flags):
    for proposed, scenarios in product(
        _VERDICTS, [[], *([each] for each in _VERDICTS), ["pass", "blocked", "partial"]]
    ):
        verdict = decide(proposed, scenarios, **flags)
        without = without_definitions(verdict)

        is_failed = flags["forced_to_fail"] or not (flags["evidence_valid"] and flags["policy_valid"])
        worst = min(map(rank, [proposed, *scenarios]))
        assert verdict.verified == WORST_FIRST[0 if is_failed else worst]
        assert verdict.downgraded is (is_known(proposed) and rank(verdict.verified) < rank(proposed))
        assert without.verified == ("fail" if verdict.verified == "pass" else verdict.verified)
        assert without.downgraded is (verdict.downgraded or verdict.verified == "pass")


def rank(verdict):
    """What is not known is as bad as a failure."""
    return WORST_FIRST.index(verdict) if is_known(verdict) else 0


def is_known(verdict):
    return isinstance(verdict, str) and verdict in WORST_FIRST


_MODES = [
    None,
    {"mode": "required"},
    {"mode": "warn-only", "reason": "r", "review_after": "2026-12-31"},
    {"mode": "exempt", "reason": "r", "review_after": "2026-12-31"},
    {"mode": "exempt", "reason": "r", "review_after": "2026-01-01"},
    {"mode": "exempt"},
]
_REQUIREMENTS = [
    {},
    {"execution_mode_policy": {"allowed": ["human"]}},
    {"execution_mode_policy": {"allowed": []}},
    {"required_scenarios": ["another"]},
    {"freshness": {"max_age_days": 0}},
    {"freshness": {"max_age_days": 400, "warn_age_days": 0}},
    {"evidence_requirements": {"required_kinds": ["recording"], "min_evidence_count": 3}},
    {"ci_requirements": {"tests_must_pass": True, "coverage_min": 101}},
    {"required_scenarios": 5},
]


def mostly(good, *others):
    """As often this as anything else: what only shows when all else is well must be tried, too."""
    return st.sampled_from([good] * len(others) + [*others])


_RESULTS = st.tuples(
    mostly("pass", *WORST_FIRST, "odd"),
    mostly("pass", "fail", "blocked", "skip", "partial", "odd"),
    mostly("bot", "human"),
)


@settings(max_examples=500)
@given(
    profile=st.sampled_from([DEFAULT, V1_1]),
    proposed=mostly("pass", *WORST_FIRST, "great", None),
    results=st.lists(_RESULTS, min_size=1, max_size=3),
    extra=mostly({}, {"policy_version": "9"}, {"schema_version": "2.0.0"}, {"zzz": 1}),
    enforcement=mostly(*_MODES),
    requirements=mostly(*_REQUIREMENTS),
    confirmed=mostly(True, False),
    head_sha=mostly("c5d6c4e0000000000000000000000000deadbeef", None, "0" * 40),
    definition=st.sampled_from([None, ScenarioDefinition(("write-record",)), UnreadableScenario("parse_error")]),
    repo=mostly("mcp-tool-shop-org/golden", "other/repo", "./x"),
)
@example(
    profile=V1_1, proposed="pass", results=[("pass", "pass", "bot")], extra={}, enforcement=None, requirements={},
    confirmed=True, head_sha=None, definition=UnreadableScenario("parse_error"), repo="mcp-tool-shop-org/golden",
)  # fmt: skip
def test_no_submission_comes_out_better_than_it_went_in(
    profile, proposed, results, extra, enforcement, requirements, confirmed, head_sha, definition, repo
):
    members = {} if enforcement is None else {"enforcement": enforcement}
    repository = repository_policy(surfaces={"cli": requirements}, **members)
    document = {
        **submission({"/overall_verdict": proposed, "/repo": repo}),
        "scenario_results": [scenario_result(*each) for each in results],
        **extra,
    }

    found = judge(
        document,
        profile=profile,
        policies=policies(repository),
        scenarios={SCENARIO: definition} if definition else None,
        provenance=lambda _source, _ref: Confirmation(confirmed, head_sha),
    )

    assert found.verdict is not None
    kept = json.loads(found.record_text)
    assert kept["overall_verdict"]["verified"] == found.verdict.verified
    assert kept["verification"]["status"] == found.status
    assert rank(found.verdict.verified) <= rank(proposed)
    for verdict, _, _ in results:
        assert rank(found.verdict.verified) <= rank(verdict)
    assert found.verdict.verified == expected_verdict(found, proposed, [verdict for verdict, _, _ in results])
    assert found.verdict.downgraded is (proposed in WORST_FIRST and rank(found.verdict.verified) < rank(proposed))
    assert (found.status is Status.REJECTED) is bool(found.reasons)


def scenario_result(verdict, status, mode):
    base = submission()["scenario_results"][0]
    steps = [{**base["step_results"][0], "status": status}, *base["step_results"][1:]]
    return {**base, "verdict": verdict, "execution_mode": mode, "step_results": steps}


def expected_verdict(found, proposed, verdicts):
    """The published rules once more, told from the reasons alone."""
    prefixes = {reason.text.partition(":")[0] for reason in found.reasons}
    if prefixes & {"schema", "provenance", "policy", "validator error"} or (found.profile == "default" and prefixes):
        return "fail"
    worst = WORST_FIRST[min(map(rank, [proposed, *verdicts]))]
    return "fail" if prefixes == {"scenario-load"} and worst == "pass" else worst


@pytest.mark.parametrize("profile", [DEFAULT, V1_1], ids=lambda profile: profile.name)
def test_no_record_in_a_store_says_better_than_was_proposed_or_than_its_worst_scenario(tmp_path, profile):
    cases = list(product(WORST_FIRST, WORST_FIRST, _MODES[:-1], _REQUIREMENTS[:3]))

    with store_in_memory(tmp_path) as store:
        outcomes = [
            store.ingest(
                {
                    **submission({"/run_id": f"r-{number}", "/overall_verdict": proposed}),
                    "scenario_results": [scenario_result(*each, "bot") for each in (("pass", "pass"), (floor, "skip"))],
                },
                profile=profile,
                policies=lambda _, mode=mode, wanted=wanted: policies(
                    repository_policy(surfaces={"cli": wanted}, **({"enforcement": mode} if mode else {}))
                ),
            )
            for number, (proposed, floor, mode, wanted) in enumerate(cases)
        ]

        assert all(outcome.was_written for outcome in outcomes)
        assert {outcome.answer for outcome in outcomes} == {Answer.ACCEPTED, Answer.REJECTED}
        rows = {row.package_id: row for row in store.history("mcp-tool-shop-org/golden", limit=1000)}
        for outcome, (proposed, floor, _, _) in zip(outcomes, cases, strict=True):
            kept = store.record(outcome.package_id)["overall_verdict"]
            assert kept["proposed"] == proposed
            assert rank(kept["verified"]) <= min(rank(proposed), rank(floor))
            assert rows[outcome.package_id].verified == kept["verified"]
