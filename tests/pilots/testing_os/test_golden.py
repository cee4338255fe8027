"""Profile 1.1 on every golden case of the original: the same verdict, reasons, record, place and indexes."""

from __future__ import annotations

import json

import pytest

from tests.pilots.testing_os.golden import World, differing_records, golden_cases, policy_texts, write_policies

CASES = 647
THREW = 279
OTHER_ERRORS = {
    "r1/228/sr_null_item+two_scen_fail+v_blocked_reason": "a TypeError of the original over a scenario result of null; "
    "here the record's schema names that value",
    "r1/250/same_id_twice+sr_null_item+v_fail": "the same",
}
"""Cases in which both refuse to record anything, and ours says why in other words."""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Each case with what we answer, and the indexes after it."""
    directories = {
        name: write_policies(tmp_path_factory.mktemp("golden") / "policies", name)
        for name in policy_texts()["golden_yaml"]
    }
    found = {}
    for case in golden_cases():
        world = World(directories[case["policy"]])
        if before := case.get("preexisting"):
            first = {**case, "provenance": before.get("prov", case["provenance"])}
            world.ingest(first, before["sub"])
        found[case["id"]] = (case, world.ingest(case, case["submission"]), world.latest(), world.failing())
    return found


def test_all_cases_are_there(answers):
    assert len(answers) == CASES
    assert sum("threw" in case["outcome"] for case, *_ in answers.values()) == THREW


def test_every_record_place_and_answer_is_equal(answers):
    assert {} == differing_records(answers)


def test_what_the_original_throws_is_a_structured_error_and_nothing_is_stored(answers):
    differing = {}
    for name, (case, answer, latest, _) in answers.items():
        if "threw" not in case["outcome"]:
            continue
        assert "threw" in answer, name
        assert latest == {}, name
        wanted = {key: case["outcome"]["threw"][key] for key in ("code", "message")}
        if wanted != answer["threw"]:
            differing[name] = (wanted, answer["threw"])

    assert OTHER_ERRORS.keys() == differing.keys(), differing


def test_the_indexes_after_every_case_are_equal(answers):
    differing = {}
    for name, (case, _, latest, failing) in answers.items():
        wanted = case["outcome"]
        if "threw" in wanted or wanted["latest"] is None:  # nothing was ever written: there are no files
            continue
        if json.dumps([wanted["latest"], wanted["failing"]]) != json.dumps([latest, failing]):
            differing[name] = ([wanted["latest"], wanted["failing"]], [latest, failing])

    assert {} == differing
