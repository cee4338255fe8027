"""Many submissions one after the other: each is answered as it is alone, and many are one transaction."""

from __future__ import annotations

import json
import os
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore import failpoints
from artifactstore.bootstrap import host_of, open_registry
from artifactstore.config import Settings
from artifactstore.errors import ConfigurationError, StorageFullError
from artifactstore.pilots.testing_os import feed
from artifactstore.pilots.testing_os.faults import ProvenanceFaultError
from artifactstore.pilots.testing_os.feed import Failed, Submitted, ingest_each
from artifactstore.pilots.testing_os.provenance import rejecting_provenance, stub_provenance
from artifactstore.plugins.context import EmbeddedContext
from artifactstore.registry.ingest import ingest
from artifactstore.registry.verify import verify_all
from artifactstore.testing.builders import package_draft
from tests.at_once import at_once
from tests.killed_children import killing
from tests.pilots.testing_os.judging import REPO, policies, submission
from tests.pilots.testing_os.recording_process import PROGRAM, numbered
from tests.pilots.testing_os.store import RecordStore, rules
from tests.pilots.testing_os.test_recording import EXTERNAL_ID, RETRYABLE, first_at
from tests.service import settings_of
from tests.support import SIGKILLED, event_types, replay_is_exact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from artifactstore.pilots.testing_os.ingesting import Outcome
    from artifactstore.registry.registry import Registry

RECORDED = "v1.testing_os.recorded"


@pytest.fixture
def store(registry: Registry, home: Path) -> RecordStore:
    return RecordStore(registry, Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)}))


def submitted(documents: Iterable[Any]) -> list[Submitted]:
    texts = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in documents]
    return [Submitted(f"number {number}", lambda text=text: text) for number, text in enumerate(texts)]  # type: ignore[misc]


def fed(store: RecordStore, *documents: Any, **options: Any) -> list[Outcome | Failed]:
    write = lambda line: store.log.append(json.loads(line))  # noqa: E731
    return list(ingest_each(store.context, submitted(documents), rules(**options), write))


def run_of(run_id: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    return submission({"/run_id": run_id, **(changes or {})})


def answers(found: list[Outcome | Failed]) -> list[str]:
    return [type(each.error).__name__ if isinstance(each, Failed) else each.answer.value for each in found]


@contextmanager
def counted_commits() -> Iterator[list[str]]:
    commits: list[str] = []
    failpoints.arm(lambda name: commits.append(name) if name == "catalog.before-commit" else None)
    try:
        yield commits
    finally:
        failpoints.arm(None)


def test_a_feed_says_of_each_what_is_said_of_it_alone(store: RecordStore) -> None:
    documents = [numbered("n", number) for number in range(12)]

    together = fed(store, *documents)

    assert ["accepted"] * 12 == answers(together)
    for document, outcome in zip(documents, together, strict=True):
        assert not isinstance(outcome, Failed)
        again = store.ingest(document)
        assert ("duplicate", outcome.package_id) == (again.answer, again.package_id)
        assert outcome.package_id is not None
        assert document["run_id"] == store.record(outcome.package_id)["run_id"] == outcome.run_id
        assert (1, "pass") == (outcome.revision, outcome.verdict) or document["overall_verdict"] == "fail"
    assert [] == verify_all(store.registry).damage
    replay_is_exact(store.registry)


def test_many_are_one_transaction(store: RecordStore) -> None:
    fed(store, run_of("warm"), run_of("up"))

    with counted_commits() as commits:
        fed(store, *(run_of(f"n-{number}") for number in range(30)))

    assert 2 == len(commits), "the lease, and all of them"


@pytest.mark.parametrize(("limit", "value"), [("_MOST", 4), ("_MOST_BYTES", 4_000), ("LONGEST_S", 0.0)])
def test_a_batch_ends_when_it_is_large_or_old(
    store: RecordStore, monkeypatch: pytest.MonkeyPatch, limit: str, value: float
) -> None:
    monkeypatch.setattr(feed, limit, value)

    with counted_commits() as commits:
        found = fed(store, *(run_of(f"n-{number}") for number in range(12)))

    assert ["accepted"] * 12 == answers(found)
    assert len(commits) > 4
    assert [f"n-{number}" for number in range(12)] == [each.run_id for each in found]


def test_answers_come_in_the_order_of_the_submissions(store: RecordStore) -> None:
    store.ingest(run_of("known"))

    found = fed(
        store, run_of("a"), b"{", run_of("known"), run_of("b", RETRYABLE), b"7", run_of("c"), run_of("d/../e"),
        run_of("a"),
    )  # fmt: skip

    assert [
        "accepted", "SubmissionInvalidError", "duplicate", "rejected", "rejected", "accepted", "rejected", "duplicate",
    ] == answers(found)  # fmt: skip
    assert ["a", None, "known", "b", None, "c", "d/../e", "a"] == [each.run_id for each in found]
    written = [each.path is not None for each in found if not isinstance(each, Failed)]
    assert [True, False, True, False, True, False, False] == written
    assert 4 == event_types(store.registry).count(RECORDED)
    replay_is_exact(store.registry)


def test_a_submission_that_comes_twice_in_a_feed_is_recorded_once(store: RecordStore) -> None:
    found = fed(store, run_of("a"), run_of("a", {"/notes": "other"}), run_of("b"), run_of("a"))

    assert ["accepted", "duplicate", "accepted", "duplicate"] == answers(found)
    packages = [each.package_id for each in found if not isinstance(each, Failed)]
    assert packages[0] == packages[1] == packages[3] != packages[2]


def test_a_rejection_gives_way_to_what_follows_it_in_the_feed(store: RecordStore) -> None:
    found = fed(store, run_of("a", RETRYABLE), run_of("b"), run_of("a"), run_of("a"))

    assert ["rejected", "accepted", "accepted", "duplicate"] == answers(found)
    assert [1, 1, 2, 2] == [each.revision for each in found if not isinstance(each, Failed)]
    replay_is_exact(store.registry)


def test_rejections_of_before_give_way_within_one_batch(store: RecordStore) -> None:
    fed(store, run_of("a", RETRYABLE), run_of("b", RETRYABLE))

    found = fed(store, run_of("a"), run_of("b"), run_of("c"))

    assert [("accepted", 2), ("accepted", 2), ("accepted", 1)] == [
        (each.answer, each.revision) for each in found if not isinstance(each, Failed)
    ]
    replay_is_exact(store.registry)


def test_whoever_comes_between_makes_one_of_them_a_duplicate_and_no_more(store: RecordStore) -> None:
    won: list[Any] = []

    with first_at("submission.before-record", lambda: won.append(store.ingest(run_of("b", {"/notes": "rival"})))):
        found = fed(store, run_of("a"), run_of("b"), run_of("c"))

    assert ["accepted", "duplicate", "accepted"] == answers(found)
    assert won[0].package_id == [each.package_id for each in found if not isinstance(each, Failed)][1]
    assert 3 == event_types(store.registry).count(RECORDED)
    replay_is_exact(store.registry)


def test_what_cannot_be_looked_up_fails_alone_and_burns_no_run_id(store: RecordStore) -> None:
    def provenance(source: Any, _: Any) -> Any:
        if source.provider_run_id == "13":
            raise ProvenanceFaultError("GitHub says 403")
        return stub_provenance(source, _)

    url = f"https://github.com/{REPO}/actions/runs/13"
    unlucky = run_of("b", {"/source/provider_run_id": "13", "/source/run_url": url})

    found = fed(store, run_of("a"), unlucky, run_of("c"), provenance=provenance)

    assert ["accepted", "ProvenanceFaultError", "accepted"] == answers(found)
    assert ["accepted"] == answers(fed(store, unlucky))


def test_a_store_that_is_full_fails_all_of_a_batch_and_burns_no_run_id(
    store: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Any, __: Any) -> Any:
        raise StorageFullError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(type(store.registry.store), "stage", full)
        found = fed(store, run_of("a"), run_of("b"))

    assert ["StorageFullError"] * 2 == answers(found)
    assert ["a", "b"] == [each.run_id for each in found]
    assert [] == [event for event in event_types(store.registry) if event == RECORDED]
    assert ["accepted"] * 2 == answers(fed(store, run_of("a"), run_of("b")))
    replay_is_exact(store.registry)


def test_policies_that_break_on_the_way_keep_what_follows_from_being_judged(store: RecordStore) -> None:
    seen: list[Any] = []

    def breaking(repo: Any) -> Any:
        seen.append(repo)
        if len(seen) > 1:
            raise ConfigurationError("the global policy is invalid")
        return policies()

    found = fed(store, run_of("a"), run_of("b"), run_of("c"), policies=breaking)

    assert ["accepted", "ConfigurationError", "ConfigurationError"] == answers(found)
    assert ["accepted"] * 2 == answers(fed(store, run_of("b"), run_of("c")))


def test_each_run_is_looked_up_for_itself(store: RecordStore) -> None:
    asked: list[str] = []

    def provenance(source: Any, ref: Any) -> Any:
        asked.append(source.provider_run_id)
        return (rejecting_provenance if source.provider_run_id == "2" else stub_provenance)(source, ref)

    documents = [
        run_of(
            name, {"/source/provider_run_id": name, "/source/run_url": f"https://github.com/{REPO}/actions/runs/{name}"}
        )
        for name in "123"
    ]

    found = fed(store, *documents, *documents[1:2], provenance=provenance)

    assert ["accepted", "rejected", "accepted", "duplicate"] == answers(found)
    assert ["1", "2", "3"] == asked[:3]


def test_a_feed_is_asked_for_its_capability(store: RecordStore, home: Path) -> None:
    settings = {"ARTIFACTSTORE_HOME": str(home), "ARTIFACTSTORE_PLUGIN_CAPABILITIES": "testing-os="}
    host = host_of(store.registry, Settings.from_environment(settings))
    store.context = EmbeddedContext(host, store.context._loaded)

    assert ["CapabilityDeniedError"] * 2 == answers(fed(store, run_of("a"), run_of("b")))
    assert [] == event_types(store.registry)


def test_one_that_cannot_be_recorded_keeps_the_others_from_nothing(store: RecordStore) -> None:
    ingest(store.registry, replace(package_draft({"a": b"a"}, external_id=f"{EXTERNAL_ID}b"), producer="testing-os"))

    found = fed(store, run_of("a"), run_of("b"), run_of("c"))

    assert ["accepted", "LostRaceError", "accepted"] == answers(found)
    replay_is_exact(store.registry)


def test_the_log_tells_each_submission_by_its_own_id(store: RecordStore) -> None:
    fed(store, run_of("a"), run_of("b"), provenance=rejecting_provenance)

    for name in "ab":
        stages = [line["stage"] for line in store.log if line["correlation_id"] == name]
        assert ["dispatch_received", "context_loaded", "verify_complete", "persist_complete"] == stages


def test_feeds_of_the_same_submissions_at_once_record_each_once(store: RecordStore) -> None:
    documents = [numbered("n", number) for number in range(20)]

    told: list[Any] = at_once(4, lambda number: fed(store, *documents[:: 1 if number % 2 else -1]))

    flat = [answer for each in told for answer in answers(each)]
    assert (20, 60) == (flat.count("accepted"), flat.count("duplicate"))
    assert 20 == event_types(store.registry).count(RECORDED)
    replay_is_exact(store.registry)


def test_a_feed_that_is_killed_at_every_step_and_sent_again_is_recorded_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    open_registry(settings_of(home)).close()

    with killing(home, {}, PROGRAM, "killed-feed") as feed:
        feed(0, "warm")
        passed, _ = feed(0, "names")
        assert passed is not None
        hits = range(1, len(passed) + 1) if os.environ.get("LONG") else range(1, len(passed) + 1, 2)
        for hit in hits:
            assert (None, SIGKILLED) == feed(hit, f"feed{hit}")

    assert {"submission.before-record", "store.before-manifest", "catalog.before-commit"} <= {*passed}
    with closing(open_registry(settings_of(home))) as registry:
        store = RecordStore(registry, settings_of(home))
        for hit in hits:
            documents = [numbered(f"feed{hit}", number) for number in range(3)]
            recorded = {each.run_id for number in range(3) for each in store.history(f"org/repo-{number}", limit=1_000)}
            there = [document["run_id"] in recorded for document in documents]
            assert len(set(there)) == 1, passed[hit - 1]
            assert ["duplicate" if each else "accepted" for each in there] == answers(fed(store, *documents))
        assert 3 * (len(hits) + 2) == event_types(registry).count(RECORDED)
        assert [] == verify_all(registry).damage
        replay_is_exact(registry)
