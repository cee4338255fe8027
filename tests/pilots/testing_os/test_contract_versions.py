"""A submission that is newer than this build is rejected, and gives way once a build understands it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.pilots.testing_os import reasons, stages
from artifactstore.pilots.testing_os.importing import import_tree
from artifactstore.pilots.testing_os.profiles import V1_1
from artifactstore.plugins import RetentionClass
from tests.pilots.testing_os.judging import REPO, judge, submission
from tests.pilots.testing_os.store import RecordStore, store_in_memory
from tests.support import replay_is_exact, write_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NEWER = {"/schema_version": "2.0.0"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RecordStore]:
    with store_in_memory(tmp_path) as found:
        yield found


@pytest.fixture
def upgrade(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A build that understands this major version, too."""

    def to(major: int) -> None:
        monkeypatch.setattr(reasons, "CONTRACT_MAJOR", major)
        monkeypatch.setattr(stages, "CONTRACT_MAJOR", major)

    return to


def test_what_is_too_new_stands_as_long_as_the_build_does_not_understand_it(store: RecordStore) -> None:
    rejected = store.ingest(submission(NEWER))

    again = [store.ingest(submission(changes)) for changes in (NEWER, {})]

    assert ("rejected", True) == (rejected.answer, rejected.was_written)
    assert [("duplicate", rejected.package_id)] * 2 == [(each.answer, each.package_id) for each in again]


def test_it_gives_way_to_the_same_submission_with_a_build_that_does(
    store: RecordStore, upgrade: Callable[[int], None]
) -> None:
    store.ingest(submission(NEWER))

    upgrade(2)
    accepted = store.ingest(submission(NEWER))

    assert ("accepted", 2) == (accepted.answer, accepted.revision)
    assert [REPO] == [*store.indexes().latest_by_repo]
    replay_is_exact(store.registry)


@pytest.mark.parametrize(("major", "answer"), [(3, "duplicate"), (4, "accepted"), (5, "accepted")])
def test_it_waits_for_the_version_that_it_names(
    store: RecordStore, upgrade: Callable[[int], None], major: int, answer: str
) -> None:
    store.ingest(submission({"/schema_version": "4.1.0"}))

    upgrade(major)

    assert answer == store.ingest(submission({"/schema_version": f"{major}.0.0"})).answer


def test_what_is_final_besides_stays_final(store: RecordStore, upgrade: Callable[[int], None]) -> None:
    store.ingest(submission({**NEWER, "/scenario_results/0/execution_mode": "human"}))

    upgrade(2)

    assert "duplicate" == store.ingest(submission(NEWER)).answer


def test_what_can_be_mended_besides_gives_way_too(store: RecordStore, upgrade: Callable[[int], None]) -> None:
    store.ingest(submission({**NEWER, "/policy_version": "1.0.0"}))

    upgrade(2)

    assert "accepted" == store.ingest(submission(NEWER)).answer


def test_in_profile_1_1_no_rejection_gives_way(store: RecordStore, upgrade: Callable[[int], None]) -> None:
    store.ingest(submission(NEWER))

    upgrade(2)

    assert "duplicate" == store.ingest(submission(NEWER), profile=V1_1).answer


def test_an_imported_rejection_gives_way_in_the_same_manner(
    store: RecordStore, tmp_path: Path, upgrade: Callable[[int], None]
) -> None:
    found = judge(submission(NEWER))
    write_tree(tmp_path / "tree", {str(found.path): found.record_text.encode()})
    import_tree(store.context.contributed(), tmp_path / "tree", RetentionClass.PERMANENT_RECORD)
    before = store.ingest(submission(NEWER)).answer

    upgrade(2)

    assert ("duplicate", "accepted") == (before, store.ingest(submission(NEWER)).answer)


@pytest.mark.parametrize("version", ["9" * 8 + ".0.0", "9" * 5000 + ".0.0"])
def test_a_version_of_any_length_is_too_new(store: RecordStore, version: str) -> None:
    first: Any = store.ingest(submission({"/schema_version": version}))

    assert ("rejected", True) == (first.answer, first.was_written)
    assert "duplicate" == store.ingest(submission()).answer
    replay_is_exact(store.registry)
