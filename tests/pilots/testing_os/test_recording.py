"""A submission becomes one package or none: what is recorded, what is a duplicate, what races and crashes leave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore import failpoints
from artifactstore.bootstrap import host_of, open_registry
from artifactstore.config import Settings
from artifactstore.domain.events import PackageExpired
from artifactstore.errors import CapabilityDeniedError, ConfigurationError, EmitGuardError
from artifactstore.pilots.testing_os.faults import ProvenanceFaultError
from artifactstore.pilots.testing_os.ingesting import Answer
from artifactstore.pilots.testing_os.profiles import V1_1
from artifactstore.pilots.testing_os.provenance import rejecting_provenance
from artifactstore.pilots.testing_os.recording import LostRaceError
from artifactstore.plugins.context import EmbeddedContext
from artifactstore.plugins.contributed import Recordable
from artifactstore.plugins.loaded import DISTRIBUTION, LoadedPlugin
from artifactstore.registry.ingest import ingest
from artifactstore.registry.packages import find_package, list_packages
from artifactstore.registry.provenance import list_observations
from artifactstore.registry.verify import verify_all
from artifactstore.testing.builders import package_draft
from tests.at_once import at_once
from tests.killed_children import killing
from tests.observing import ENVELOPE, MAILBOX, SOURCE, context_on, installed
from tests.pilots.testing_os.judging import AS_OF, REPO, submission
from tests.pilots.testing_os.recording_process import PROGRAM, SURFACES, numbered
from tests.pilots.testing_os.store import RecordStore
from tests.service import clean_environment, settings_of
from tests.support import SIGKILLED, event_types, replay_is_exact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry

EXTERNAL_ID = "mcp-tool-shop-org/golden/2026-03-19/"
RETRYABLE = {"/policy_version": "1.0.0"}
"""A member that only a verifier may give: whoever takes it away may send the run again."""
COUNT = 125 if os.environ.get("LONG") else 20
"""Submissions of each of eight processes."""


@pytest.fixture
def store(registry: Registry, home: Path) -> RecordStore:
    return RecordStore(registry, Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)}))


@contextmanager
def first_at(name: str, act: Callable[[], object]) -> Iterator[None]:
    """Somebody else acts when this failpoint is passed for the first time."""
    done: list[object] = []

    def pass_by(passed: str) -> None:
        if passed == name and not done:
            done.append(name)
            act()

    failpoints.arm(pass_by)
    try:
        yield
    finally:
        failpoints.arm(None)
    assert done


# one package


def test_a_submission_becomes_a_package_with_its_record_what_was_received_and_why(store: RecordStore) -> None:
    document = submission()

    outcome = store.ingest(document)

    assert (Answer.ACCEPTED, 1, True) == (outcome.answer, outcome.revision, outcome.was_written)
    assert outcome.verification is not None
    assert outcome.package_id is not None
    assert outcome.verification.record_text.encode() == store.file(outcome.package_id, "record.json")
    assert json.dumps(document).encode() == store.file(outcome.package_id, "submission.json")
    verdict = json.loads(store.file(outcome.package_id, "verdict.json"))
    assert str(outcome.verification.policy_digest) == verdict["policy"]["digest"]
    assert [*outcome.verification.findings] == [stage["stage"] for stage in verdict["stages"]]
    package, _ = find_package(store.registry, outcome.package_id)
    assert EXTERNAL_ID + str(document["run_id"]) == package.external_id
    assert ("testing-os", REPO, "testing-os.run.v1") == (package.producer, package.subject, package.schema_slug)
    assert "permanent-record" == package.retention_class
    metadata = json.loads(package.metadata_json or "{}")
    assert {"status": "accepted", "verified": "pass", "profile": "default"}.items() <= metadata.items()


def test_the_record_is_told_in_the_packages_transaction_before_the_signal(store: RecordStore) -> None:
    store.ingest(submission())

    assert [
        "v1.metadata_schema.registered", "v1.package.opened", "v1.package.files_added",
        "v1.package.retention_applied", "v1.package.finalized", "v1.testing_os.recorded", "v1.source.indexed",
        "v1.core.envelope_indexed", "v1.package.observed", "v1.core.ingested",
    ] == event_types(store.registry)  # fmt: skip
    replay_is_exact(store.registry)


def test_a_rejection_is_stored_with_its_reasons_and_counts_in_no_index(store: RecordStore) -> None:
    outcome = store.ingest(submission(), provenance=rejecting_provenance)

    assert outcome.package_id is not None
    assert (Answer.REJECTED, True) == (outcome.answer, outcome.was_written)
    told = store.record(outcome.package_id)["verification"]["rejection_reasons"]
    assert [*outcome.rejection_reasons] == told != []
    assert {} == store.indexes().latest_by_repo
    assert ["rejected"] == [each.status for each in store.history(REPO)]
    replay_is_exact(store.registry)


def test_the_stages_are_logged_under_one_correlation_id(store: RecordStore) -> None:
    store.ingest(submission({"/run_id": "r-1"}))
    store.ingest(submission({"/run_id": "r-1"}))

    stages = ["dispatch_received", "context_loaded", "verify_complete", "persist_complete"]
    assert [*stages, "dispatch_received", "rejected_pre_persist"] == [line["stage"] for line in store.log]
    assert {("r-1", "r-1", "ingest")} == {
        (line["correlation_id"], line["submission_id"], line["component"]) for line in store.log
    }


def test_what_cannot_be_filed_is_answered_as_rejected_and_stored_nowhere(store: RecordStore) -> None:
    answers = [store.ingest(document) for document in ([], submission({"/run_id": "../x"}))]

    assert {(Answer.REJECTED, False, None)} == {(each.answer, each.was_written, each.package_id) for each in answers}
    assert [] == event_types(store.registry)


def test_a_run_that_ended_before_1970_is_recorded(store: RecordStore) -> None:
    document = submission({"/timing/started_at": "1969-01-01T00:00:00Z", "/timing/finished_at": "1969-01-01T00:00:00Z"})

    outcome = store.ingest(document, profile=V1_1)

    assert outcome.was_written
    replay_is_exact(store.registry)


# faults


def fails(error: Exception) -> Callable[..., Any]:
    def fail(*_: object) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    "changed",
    [
        {"provenance": fails(ProvenanceFaultError("the provider is away"))},
        {"policies": fails(ConfigurationError("there is no policy"))},
        {"scenarios": fails(ProvenanceFaultError("the provider is away"))},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_fault_stores_nothing_and_uses_no_run_id_up(store: RecordStore, changed: dict[str, Any]) -> None:
    with pytest.raises((ProvenanceFaultError, ConfigurationError)):
        store.ingest(submission(), **changed)

    assert [] == event_types(store.registry)
    assert Answer.ACCEPTED is store.ingest(submission()).answer


# duplicates


def test_the_same_run_again_is_a_duplicate_of_the_first_before_it_is_judged(store: RecordStore) -> None:
    first = store.ingest(submission())
    before = event_types(store.registry)

    again = store.ingest(submission({"/notes": "other"}), policies=fails(AssertionError("it was judged")))

    assert (Answer.DUPLICATE, first.package_id, False) == (again.answer, again.package_id, again.was_written)
    assert before == event_types(store.registry)


def test_the_day_and_the_repository_make_another_run(store: RecordStore) -> None:
    other_repo = {"/repo": "o/r", "/source/run_url": "https://github.com/o/r/actions/runs/1"}
    for changes in ({}, {"/timing/finished_at": "2026-03-18T23:59:59Z"}, other_repo):
        assert Answer.ACCEPTED is store.ingest(submission(changes)).answer

    assert 3 == len(list_packages(store.registry, limit=10))


def test_who_loses_the_race_is_a_duplicate_of_who_won(store: RecordStore) -> None:
    won: list[Any] = []

    with first_at("submission.before-record", lambda: won.append(store.ingest(submission({"/notes": "rival"})))):
        outcome = store.ingest(submission())

    assert Answer.ACCEPTED is won[0].answer
    assert (Answer.DUPLICATE, won[0].package_id) == (outcome.answer, outcome.package_id)
    assert 1 == len(list_packages(store.registry, limit=10))
    replay_is_exact(store.registry)


def test_of_eight_at_once_one_is_recorded(store: RecordStore) -> None:
    answers: list[Any] = at_once(8, lambda number: store.ingest(submission({"/notes": str(number)})))

    assert [Answer.ACCEPTED] + [Answer.DUPLICATE] * 7 == sorted(each.answer for each in answers)
    assert 1 == len({each.package_id for each in answers})
    assert 1 == event_types(store.registry).count("v1.testing_os.recorded")


def test_a_package_that_is_no_record_makes_no_duplicate(store: RecordStore) -> None:
    run_id = submission()["run_id"]
    draft = package_draft({"a": b"a"}, external_id=f"{EXTERNAL_ID}{run_id}")
    ingest(store.registry, replace(draft, producer="testing-os"))
    before = event_types(store.registry)

    with pytest.raises(LostRaceError) as raised:
        store.ingest(submission())

    assert "it was not recorded by this pilot" in str(raised.value.hint)
    assert before == event_types(store.registry)


def test_each_verdict_is_an_observation_of_its_own(store: RecordStore) -> None:
    rejected = store.ingest(submission(RETRYABLE), submitted_by="alice", clock=lambda: AS_OF)
    accepted = store.ingest(submission(), submitted_by="bob", clock=lambda: AS_OF + 1)

    for outcome, sender in ((rejected, "token:alice"), (accepted, "token:bob")):
        assert outcome.package_id is not None
        package, _ = find_package(store.registry, outcome.package_id)
        (seen,) = list_observations(store.registry, package.row_id, limit=9)
        assert [sender] == [party.identifier_value for party in seen.envelope.parties if party.role == "sender"]
    assert 2 == event_types(store.registry).count("v1.core.ingested")


# rejections that give way


def test_a_retryable_rejection_gives_way_to_a_submission_that_is_accepted(store: RecordStore) -> None:
    rejected = store.ingest(submission(RETRYABLE))

    accepted = store.ingest(submission())
    again = store.ingest(submission())

    assert (Answer.REJECTED, 1) == (rejected.answer, rejected.revision)
    assert (Answer.ACCEPTED, 2, True) == (accepted.answer, accepted.revision, accepted.was_written)
    assert (Answer.DUPLICATE, accepted.package_id) == (again.answer, again.package_id)
    assert accepted.package_id is not None
    package, _ = find_package(store.registry, accepted.package_id)
    assert rejected.package_id == package.supersedes
    assert [REPO] == list(store.indexes().latest_by_repo)
    replay_is_exact(store.registry)


def test_a_retry_that_is_rejected_again_is_a_duplicate(store: RecordStore) -> None:
    first = store.ingest(submission(RETRYABLE))

    again = store.ingest(submission(RETRYABLE))

    assert (Answer.DUPLICATE, first.package_id) == (again.answer, again.package_id)


def test_a_rejection_that_is_final_stands(store: RecordStore) -> None:
    first = store.ingest(submission({"/scenario_results/0/execution_mode": "human"}))

    again = store.ingest(submission())

    assert (Answer.DUPLICATE, first.package_id) == (again.answer, again.package_id)


def test_in_profile_1_1_every_rejection_stands(store: RecordStore) -> None:
    first = store.ingest(submission(RETRYABLE), profile=V1_1)

    again = store.ingest(submission(), profile=V1_1)

    assert (Answer.DUPLICATE, first.package_id) == (again.answer, again.package_id)


def test_a_rejection_gives_way_once(store: RecordStore) -> None:
    store.ingest(submission(RETRYABLE))
    won: list[Any] = []

    with first_at("submission.before-record", lambda: won.append(store.ingest(submission({"/notes": "rival"})))):
        outcome = store.ingest(submission())

    assert (Answer.ACCEPTED, 2) == (won[0].answer, won[0].revision)
    assert (Answer.DUPLICATE, won[0].package_id) == (outcome.answer, outcome.package_id)
    assert 2 == len(list_packages(store.registry, limit=10))
    replay_is_exact(store.registry)


# who may


def test_only_a_pilot_that_comes_with_artifactstore_contributes(store: RecordStore) -> None:
    testing_os = store.context._loaded.plugin
    host = store.context._host

    for loaded in (installed(MAILBOX), LoadedPlugin(testing_os, "acme", "1"), LoadedPlugin(MAILBOX, DISTRIBUTION, "1")):
        with pytest.raises(CapabilityDeniedError, match="contributes nothing"):
            EmbeddedContext(host, loaded).contributed()


def test_a_pilot_records_its_own_events_and_no_others(store: RecordStore) -> None:
    contributed = store.context.contributed()
    draft = replace(package_draft({"a": b"a"}), producer="testing-os")
    source = replace(SOURCE, location_kind="testing-os.submission", path_id="o/r/2026-03-19/x")

    with pytest.raises(EmitGuardError, match="not an event that testing-os contributes"):
        contributed.ingest(
            Recordable(
                source=source,
                envelope=ENVELOPE,
                package=draft,
                events_of=lambda receipt: [PackageExpired(package_id=receipt.package_id, expired_at=1)],
            )
        )

    assert [] == event_types(store.registry)


def test_nobody_emits_a_contributed_event(store: RecordStore) -> None:
    with pytest.raises(EmitGuardError):
        context_on(store.registry).emit("v1.testing_os.recorded", {})
    with pytest.raises(EmitGuardError):
        store.context.emit("v1.testing_os.recorded", {})


def test_a_pilot_is_asked_for_its_capability(store: RecordStore, home: Path) -> None:
    settings = Settings.from_environment(
        {"ARTIFACTSTORE_HOME": str(home), "ARTIFACTSTORE_PLUGIN_CAPABILITIES": "testing-os="}
    )
    store.context = EmbeddedContext(host_of(store.registry, settings), store.context._loaded)

    with pytest.raises(CapabilityDeniedError):
        store.ingest(submission())

    assert [] == event_types(store.registry)


# processes


def test_eight_processes_at_once_record_each_submission_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    open_registry(settings_of(home)).close()
    processes = [started(home, "many", f"p{number}", str(COUNT)) for number in range(8)]
    for process in processes:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()

    answers = [json.loads(process.communicate("go\n", timeout=300)[0]) for process in processes]

    shared = [answer for each, _ in answers for answer in each]
    assert {"accepted"} == {answer for _, own in answers for answer in own}
    assert (COUNT // 5, 7 * (COUNT // 5)) == (shared.count("accepted"), shared.count("duplicate"))
    with closing(open_registry(settings_of(home))) as registry:
        store = RecordStore(registry, settings_of(home))
        records = [each for number in range(5) for each in store.history(f"org/repo-{number}", limit=10_000)]
        assert 8 * COUNT + COUNT // 5 == len(records) == len({each.external_id for each in records})
        assert expected_runs() == {
            (repo, surface): entry["finished_at"]
            for repo, surfaces in store.indexes().latest_by_repo.items()
            for surface, entry in surfaces.items()  # type: ignore[union-attr]
        }
        replay_is_exact(registry)


def expected_runs() -> dict[tuple[str, str], Any]:
    """When the latest run of each surface finished."""
    found: dict[tuple[str, str], str] = {}
    for number in range(COUNT):
        document: Any = numbered("x", number)
        key = (document["repo"], SURFACES[number % 3])
        found[key] = max(found.get(key, ""), document["timing"]["finished_at"])
    return found


def test_killed_at_every_step_and_sent_again_it_is_recorded_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    open_registry(settings_of(home)).close()

    with killing(home, {}, PROGRAM, "killed") as record:
        record(0, "warm")
        passed, _ = record(0, "names")
        assert passed is not None
        for hit in range(1, len(passed) + 1):
            assert (None, SIGKILLED) == record(hit, f"run-{hit}")

    assert {"submission.before-record", "catalog.after-v1.testing_os.recorded", "catalog.before-commit"} <= {*passed}
    with closing(open_registry(settings_of(home))) as registry:
        store = RecordStore(registry, settings_of(home))
        recorded = {each.run_id for each in store.history(REPO, limit=1_000)}
        for hit in range(1, len(passed) + 1):
            was_recorded = f"run-{hit}" in recorded
            again = store.ingest(submission({"/run_id": f"run-{hit}"}))
            assert (Answer.DUPLICATE if was_recorded else Answer.ACCEPTED) is again.answer
        after = [each.run_id for each in store.history(REPO, limit=1_000)]
        assert sorted(["warm", "names", *(f"run-{hit}" for hit in range(1, len(passed) + 1))]) == sorted(after)
        assert recorded > {"warm", "names"}
        assert [] == verify_all(registry).damage
        replay_is_exact(registry)


def started(home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", PROGRAM, *arguments],
        env={**clean_environment(), "ARTIFACTSTORE_HOME": str(home)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
