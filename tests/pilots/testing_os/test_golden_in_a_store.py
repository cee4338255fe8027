"""Profile 1.1 on every golden case, through a store: what is recorded, answered and indexed is the original's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from artifactstore.pilots.testing_os.faults import RecordUnfilableError
from artifactstore.pilots.testing_os.ingesting import Answer
from artifactstore.pilots.testing_os.policy_files import load_policies
from artifactstore.pilots.testing_os.profiles import V1_1
from artifactstore.pilots.testing_os.scenarios import definition_of
from artifactstore.pilots.testing_os.submission import receive
from tests.pilots.testing_os.golden import (
    AS_OF,
    PROVENANCE,
    differing_records,
    golden_cases,
    policy_texts,
    write_policies,
)
from tests.pilots.testing_os.store import RecordStore, store_in_memory
from tests.pilots.testing_os.test_golden import OTHER_ERRORS
from tests.support import replay_is_exact

CASES, THREW = 647, 279


class GoldenStore:
    """Ingests as a case says, into a store of its own."""

    def __init__(self, store: RecordStore, case: dict[str, Any], policies: Any) -> None:
        self.store = store
        self._case = case
        self._policies = policies

    def ingest(self, submission: Any, provenance: str) -> dict[str, Any]:
        definitions = policy_texts()["scenarios"][self._case["scenarios"]]
        try:
            outcome = self.store.ingest(
                receive(submission),
                policies=lambda repo: load_policies(self._policies, repo),
                scenarios=lambda *_: (
                    None if definitions is None else {k: definition_of(v) for k, v in definitions.items()}
                ),
                provenance=PROVENANCE[provenance],
                profile=V1_1,
                clock=lambda: AS_OF,
            )
        except RecordUnfilableError as error:
            known = error.reason if error.reason == "RECORD_SCHEMA_INVALID" else None
            return {"threw": {"code": known, "message": error.message}}
        record = None if outcome.verification is None else outcome.verification.record
        if outcome.was_written:
            assert outcome.package_id is not None
            assert json.dumps(record) == json.dumps(self.store.record(outcome.package_id))
        is_duplicate = outcome.answer is Answer.DUPLICATE
        return {"record": record, "path": outcome.path, "written": outcome.was_written, "duplicate": is_duplicate}

    def after(self) -> dict[str, Any]:
        found = self.store.indexes(as_of=AS_OF)
        return {"latest": found.latest_by_repo, "failing": found.failing}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Each case with what is answered, the indexes after it, and how many packages there are."""
    home = tmp_path_factory.mktemp("golden")
    directories = {name: write_policies(home / name, name) for name in policy_texts()["golden_yaml"]}
    found = {}
    for number, case in enumerate(golden_cases()):
        with store_in_memory(home) as store:
            golden = GoldenStore(store, case, directories[case["policy"]])
            if before := case.get("preexisting"):
                golden.ingest(before["sub"], before.get("prov", case["provenance"]))
            answer = golden.ingest(case["submission"], case["provenance"])
            found[case["id"]] = (case, answer, golden.after(), store.package_count())
            if number % 20 == 0:
                replay_is_exact(store.registry)
    return found


def test_every_record_place_and_answer_is_equal(answers):
    assert len(answers) == CASES
    assert {} == differing_records(answers)


def test_what_the_original_throws_is_a_structured_error_and_no_package(answers):
    threw = {name: answer for name, answer in answers.items() if "threw" in answer[0]["outcome"]}
    differing = {
        name: answer
        for name, (case, answer, *_) in threw.items()
        if {key: case["outcome"]["threw"][key] for key in ("code", "message")} != answer.get("threw")
    }

    assert len(threw) == THREW
    assert OTHER_ERRORS.keys() == differing.keys(), differing
    assert {(0, "{}")} == {(count, json.dumps(after["latest"])) for *_, after, count in threw.values()}


def test_the_indexes_after_every_case_are_equal(answers):
    compared, differing = 0, {}
    for name, (case, _, after, _) in answers.items():
        wanted = case["outcome"]
        if "threw" in wanted or wanted["latest"] is None:  # nothing was ever written: there are no files
            continue
        compared += 1
        told = {"latest": wanted["latest"], "failing": wanted["failing"]}
        if json.dumps(told) != json.dumps(after):
            differing[name] = (told, after)

    assert {} == differing
    assert compared >= 300
