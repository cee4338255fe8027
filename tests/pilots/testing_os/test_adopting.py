"""Policies in the store: what is adopted is judged by, exactly as if the same files were in a directory."""

from __future__ import annotations

import itertools
import shutil
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from artifactstore import failpoints
from artifactstore.bootstrap import open_registry, scratch_database
from artifactstore.config import Settings
from artifactstore.domain.instant import Instant
from artifactstore.errors import BlobCorruptError, ConfigurationError, ReplayMismatchError
from artifactstore.pilots.testing_os.adopting import AdoptedPolicies, Adoption, adopt, find_adopted
from artifactstore.pilots.testing_os.policy_files import load_policies, read_all_policies
from artifactstore.pilots.testing_os.policy_sets import read_policy_set
from artifactstore.pilots.testing_os.policy_sources import DirectoryPolicies, policies_of
from artifactstore.plugins.contributed import Contributed
from artifactstore.registry.events import check_replay
from artifactstore.registry.packages import find_package
from tests.at_once import at_once
from tests.pilots.testing_os.golden import write_policies
from tests.pilots.testing_os.judging import AS_OF, REPO, submission
from tests.pilots.testing_os.store import RecordStore
from tests.pilots.testing_os.test_policy_sets import written
from tests.support import event_types, replay_is_exact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry

STRICT = 'policy_version: "2.0.0"\nsurfaces: { cli: { evidence_requirements: { min_evidence_count: 99 } } }\n'
LAX = 'policy_version: "3.0.0"\n'
ADOPTED = "v1.testing_os.policies_adopted"


@pytest.fixture
def store(registry: Registry, home: Path) -> RecordStore:
    return RecordStore(registry, Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)}))


@pytest.fixture
def strict(tmp_path: Path) -> Path:
    return written(tmp_path / "strict", {f"repos/{REPO}.yaml": STRICT})


@pytest.fixture
def lax(tmp_path: Path) -> Path:
    return written(tmp_path / "lax", {f"repos/{REPO}.yaml": LAX})


def adopt_from(store: RecordStore, directory: Path, *, at: int = 1) -> Adoption:
    return adopt(store.context.contributed(), read_policy_set(directory), clock=lambda: Instant(at))


def version_of(store: RecordStore, repo: str = REPO) -> object:
    """Of what a repository is judged by now."""
    return policies_of(store.context.contributed(), None).of(repo).version


@contextmanager
def counted_reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The paths that are read from packages meanwhile."""
    read: list[str] = []
    really = Contributed.read_file

    def counting(self: Contributed, package_id: str, path: str) -> bytes:
        read.append(path)
        return really(self, package_id, path)

    with monkeypatch.context() as patched:
        patched.setattr(Contributed, "read_file", counting)
        yield read


def test_adopted_policies_are_one_package_and_one_event(store: RecordStore, strict: Path) -> None:
    policies = read_policy_set(strict)

    done = adopt_from(store, strict, at=1_700_000_000_000_000)

    package, _ = find_package(store.registry, done.adopted.package_id)
    assert done.is_new
    assert (str(policies.digest), 1_700_000_000_000_000) == done.adopted[1:3]
    assert done.adopted.adopted_by.startswith("plugin:testing-os@")
    assert ("testing-os", f"policies/{policies.digest.raw.hex()}", "testing-os.policies.v1", "permanent-record") == (
        package.producer, package.external_id, package.schema_slug, package.retention_class,
    )  # fmt: skip
    assert {"digest": str(policies.digest), "policy_version": "1.0.0", "repositories": 1} == (
        store.context.package(package.package_id)["metadata"]
    )
    assert policies.files == {path: store.file(package.package_id, path) for path in policies.files}
    assert 1 == event_types(store.registry).count(ADOPTED)
    replay_is_exact(store.registry)


def test_adopting_what_is_adopted_changes_nothing(store: RecordStore, strict: Path) -> None:
    first = adopt_from(store, strict, at=1)
    before = event_types(store.registry)

    again = adopt_from(store, strict, at=2)

    assert (first.adopted, False) == again
    assert before == event_types(store.registry)


def test_the_newest_adoption_decides_and_an_older_set_comes_back(store: RecordStore, strict: Path, lax: Path) -> None:
    first = adopt_from(store, strict, at=3)
    versions = [version_of(store)]
    adopt_from(store, lax, at=2)
    versions.append(version_of(store))
    third = adopt_from(store, strict, at=1)
    versions.append(version_of(store))

    assert ["2.0.0", "3.0.0", "2.0.0"] == versions
    assert (first.adopted.package_id, True) == (third.adopted.package_id, third.is_new)
    assert (2, 3) == (store.package_count(), event_types(store.registry).count(ADOPTED))
    replay_is_exact(store.registry)


def test_those_who_adopt_at_once_leave_the_last_of_the_log(store: RecordStore, strict: Path, lax: Path) -> None:
    answers = at_once(6, lambda number: adopt_from(store, (strict, lax)[number % 2], at=number + 1))

    assert all(isinstance(answer, Adoption) for answer in answers), answers
    assert 2 == store.package_count()
    replay_is_exact(store.registry)


def test_the_digest_of_a_verdict_is_the_same_from_the_store_and_from_a_directory(
    store: RecordStore, strict: Path
) -> None:
    adopted = adopt_from(store, strict).adopted
    from_store, from_directory = AdoptedPolicies(store.context.contributed(), adopted.package_id), strict

    for repo in (REPO, "o/other", None, 7, "../x", "o/a\0", "a/b/c"):
        assert load_policies(from_directory, repo) == from_store.of(repo)
        assert load_policies(from_directory, repo).digest == from_store.of(repo).digest
    assert read_all_policies(from_directory) == from_store.everything()


def test_a_submission_is_judged_by_what_is_adopted(store: RecordStore, strict: Path) -> None:
    adopt_from(store, strict)
    policies = policies_of(store.context.contributed(), None).of

    rejected = store.ingest(submission({"/run_id": "a"}), policies=policies)
    other = store.ingest(submission({"/run_id": "b"}), policies=lambda _: policies("o/other"))

    assert ("rejected", "accepted") == (rejected.answer, other.answer)
    assert any("requires 99 evidence items" in reason for reason in rejected.rejection_reasons)
    assert "2.0.0" == store.record(str(rejected.package_id))["policy_version"]


def test_a_policy_is_read_once_in_a_process(store: RecordStore, strict: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adopt_from(store, strict)

    with counted_reads(monkeypatch) as read:
        for _ in range(3):
            assert "2.0.0" == version_of(store)
            assert "1.0.0" == version_of(store, "o/other")

    assert ["global-policy.yaml", f"repos/{REPO}.yaml"] == read


def test_what_is_damaged_is_never_judged_by(store: RecordStore, strict: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adopt_from(store, strict)

    def damaged(_self: Contributed, _package_id: str, _path: str) -> bytes:
        raise BlobCorruptError("altered")

    with monkeypatch.context() as patched:
        patched.setattr(Contributed, "read_file", damaged)
        with pytest.raises(BlobCorruptError):
            version_of(store)

    assert "2.0.0" == version_of(store)


def test_a_set_that_is_invalid_is_recorded_nowhere(store: RecordStore, strict: Path) -> None:
    adopt_from(store, strict)
    (strict / "repos" / f"{REPO}.yaml").write_text("enforcement: { mode: exempt }\n")

    with pytest.raises(ConfigurationError):
        adopt_from(store, strict)

    assert (1, "2.0.0") == (store.package_count(), version_of(store))


def test_the_directory_below_the_root_comes_before_what_is_adopted(
    store: RecordStore, strict: Path, tmp_path: Path
) -> None:
    contributed = store.context.contributed()
    adopt_from(store, strict)
    root = tmp_path / "root"
    write_policies(root / "policies", "none")

    by_root = policies_of(contributed, root)
    named = policies_of(contributed, root, "store")
    shutil.rmtree(root / "policies")
    by_store = policies_of(contributed, root)

    assert DirectoryPolicies(root / "policies") == by_root
    assert ("2.0.0", "2.0.0") == (named.of(REPO).version, by_store.of(REPO).version)
    assert DirectoryPolicies(strict) == policies_of(contributed, root, str(strict))


def test_where_there_are_no_policies_both_ways_to_some_are_named(store: RecordStore, tmp_path: Path) -> None:
    contributed = store.context.contributed()

    with pytest.raises(ConfigurationError, match=r"there is no global-policy\.yaml to judge by") as caught:
        policies_of(contributed, tmp_path)

    assert str(tmp_path / "policies") in caught.value.message
    assert "--policies" in caught.value.hint
    assert "policies adopt DIR" in caught.value.hint
    assert find_adopted(contributed) is None


def test_replay_notices_who_alters_what_is_adopted(store: RecordStore, strict: Path) -> None:
    adopt_from(store, strict)

    with store.registry.transaction() as tx:
        tx.connection.execute("UPDATE testing_os_policies SET digest = 'x'")

    with scratch_database() as scratch, pytest.raises(ReplayMismatchError) as caught:
        check_replay(store.registry, scratch)
    assert {"testing_os_policies"} == {problem.where for problem in caught.value.problems}


def test_records_and_adoptions_stand_in_one_log(store: RecordStore, strict: Path, lax: Path) -> None:
    adopt_from(store, lax)
    first = store.ingest(submission({"/run_id": "a"}), policies=policies_of(store.context.contributed(), None).of)
    adopt_from(store, strict)
    second = store.ingest(submission({"/run_id": "b"}), policies=policies_of(store.context.contributed(), None).of)

    assert ("accepted", "rejected") == (first.answer, second.answer)
    assert store.indexes(as_of=AS_OF).latest_by_repo.keys() == {REPO}
    replay_is_exact(store.registry)


class _Stopped(BaseException):
    pass


@contextmanager
def stopped_at(hit: int) -> Iterator[None]:
    """Nothing is done after so many failpoints; what is behind the last is done."""
    passed = 0

    def pass_by(_name: str) -> None:
        nonlocal passed
        passed += 1
        if passed == hit:
            raise _Stopped

    failpoints.arm(pass_by)
    try:
        yield
    except _Stopped:
        return
    finally:
        failpoints.arm(None)


def test_stopped_at_every_step_a_set_is_adopted_wholly_or_not_at_all(tmp_path: Path, strict: Path) -> None:
    seen = []
    for hit in itertools.count(1):
        home = tmp_path / str(hit)
        settings = Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)})
        with closing(open_registry(settings, actor="local:tester")) as registry:
            store, done = RecordStore(registry, settings), False
            with stopped_at(hit):
                adopt_from(store, strict)
                done = True
            seen.append(find_adopted(store.context.contributed()) is not None)
            again = adopt_from(store, strict)

            assert again.is_new != seen[-1]
            assert (1, 1) == (store.package_count(), event_types(registry).count(ADOPTED))
            assert "2.0.0" == version_of(store)
            replay_is_exact(registry)
        if done:
            break

    assert {False, True} == {*seen[:-1]}
    assert sorted(seen) == seen
