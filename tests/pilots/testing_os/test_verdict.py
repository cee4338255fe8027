"""The verdict is confirmed or lowered, and never raised: over everything there is, in both profiles."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.pilots.testing_os.profiles import DEFAULT, V1_1
from artifactstore.pilots.testing_os.provenance import Confirmation
from artifactstore.pilots.testing_os.scenarios import ScenarioDefinition, UnreadableScenario
from artifactstore.pilots.testing_os.verdict import decide, without_definitions
from artifactstore.pilots.testing_os.verifier import Status
from tests.pilots.testing_os.judging import SCENARIO, judge, policies, repository_policy, submission

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


_VERDICTS = st.sampled_from([*WORST_FIRST, "great", "", None, 5, {"proposed": "pass"}])


@given(
    proposed=_VERDICTS,
    scenarios=st.lists(_VERDICTS, max_size=5),
    evidence_valid=st.booleans(),
    policy_valid=st.booleans(),
    forced_to_fail=st.booleans(),
    definitions_missing=st.booleans(),
)
def test_a_verdict_is_never_raised(proposed, scenarios, definitions_missing, **flags):
    verdict = decide(proposed, scenarios, **flags)
    if definitions_missing:
        verdict = without_definitions(verdict)

    rank = WORST_FIRST.index
    claimed = proposed if isinstance(proposed, str) and proposed in WORST_FIRST else "fail"
    assert rank(verdict.verified) <= rank(claimed)
    for found in scenarios:
        known = found if isinstance(found, str) and found in WORST_FIRST else "fail"
        assert rank(verdict.verified) <= rank(known) or not flags["evidence_valid"]
    if not all(flags[name] for name in ("evidence_valid", "policy_valid")) or flags["forced_to_fail"]:
        assert verdict.verified == "fail"
    assert verdict.downgraded is (claimed == proposed and rank(verdict.verified) < rank(claimed))


_MODES = [
    None,
    {"mode": "required"},
    {"mode": "warn-only", "reason": "r", "review_after": "2026-12-31"},
    {"mode": "exempt", "reason": "r", "review_after": "2026-12-31"},
    {"mode": "exempt", "reason": "r", "review_after": "2026-01-01"},
    {"mode": "exempt"},
]


@settings(max_examples=300)
@given(
    profile=st.sampled_from([DEFAULT, V1_1]),
    proposed=st.sampled_from([*WORST_FIRST, "great", None]),
    verdict=st.sampled_from([*WORST_FIRST, "odd"]),
    status=st.sampled_from(["pass", "fail", "blocked", "skip", "partial", "odd"]),
    enforcement=st.sampled_from(_MODES),
    allowed=st.sampled_from([["bot"], ["human"], []]),
    confirmed=st.booleans(),
    head_sha=st.sampled_from([None, "c5d6c4e0000000000000000000000000deadbeef", "0" * 40]),
    definition=st.sampled_from([None, ScenarioDefinition(("write-record",)), UnreadableScenario("parse_error")]),
    repo=st.sampled_from(["mcp-tool-shop-org/golden", "other/repo", "./x"]),
)
def test_no_submission_comes_out_better_than_it_went_in(
    profile, proposed, verdict, status, enforcement, allowed, confirmed, head_sha, definition, repo
):
    document = submission(
        {
            "/overall_verdict": proposed,
            "/repo": repo,
            "/scenario_results/0/verdict": verdict,
            "/scenario_results/0/step_results/0/status": status,
        }
    )
    members = {} if enforcement is None else {"enforcement": enforcement}
    repository = repository_policy(surfaces={"cli": {"execution_mode_policy": {"allowed": allowed}}}, **members)

    found = judge(
        document,
        profile=profile,
        policies=policies(repository),
        scenarios={SCENARIO: definition} if definition else None,
        provenance=lambda _source, _ref: Confirmation(confirmed, head_sha),
    )

    assert found.verdict is not None
    rank = WORST_FIRST.index
    claimed = proposed if proposed in WORST_FIRST else "fail"
    assert rank(found.verdict.verified) <= rank(claimed)
    assert rank(found.verdict.verified) <= rank(verdict) if verdict in WORST_FIRST else found.verdict.verified == "fail"
    assert (found.status is Status.REJECTED) is bool(found.reasons)
    if profile is DEFAULT and found.status is Status.REJECTED:
        assert found.verdict.verified == "fail"
