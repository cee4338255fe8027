"""A store against a dictionary: any sequence of calls, with crashes between, gives equal answers."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.domain.instant import MICROSECONDS_PER_DAY, Instant
from artifactstore.domain.retention import RetentionClass
from artifactstore.errors import PackageExpiredError, RunChangedError, StorageError
from artifactstore.registry.files import get_package
from artifactstore.registry.ingest import ingest
from artifactstore.registry.objects import list_objects
from artifactstore.registry.packages import find_package, list_packages
from artifactstore.registry.retention import extend_retention, place_hold, release_hold, sweep
from artifactstore.registry.verify import verify_all
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import package_draft
from artifactstore.testing.faults import FaultyStore, Operation
from tests.support import flip_byte, objects_of_kind, replay_is_exact, tree_contents

if TYPE_CHECKING:
    from artifactstore.registry.registry import Registry

NAMES = st.sampled_from(["run-1", "run-2", "run-3"])
CONTENTS = st.dictionaries(
    st.sampled_from(["a", "b/c", "b/d", "e"]), st.sampled_from([b"", b"1", b"22", b"3" * 5000]), min_size=1
)
CLASSES = st.sampled_from([RetentionClass.TRANSIENT, RetentionClass.RAW_EVIDENCE, RetentionClass.PERMANENT_RECORD])


class Model:
    """What a package should be."""

    def __init__(self, files: dict[str, bytes], expires_at: int | None) -> None:
        self.files = files
        self.expires_at = expires_at
        self.status = "finalized"
        self.holds: list[str] = []


class StoreMachine(RuleBasedStateMachine):
    """Rules are what users do; the model is a dictionary."""

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="model-"))
        self.now = 1_800_000_000_000_000
        self.packages: dict[str, Model] = {}
        self.revisions: dict[str, list[str]] = {}
        self.damaged = False
        self.registry = self.reopened()

    def reopened(self) -> Registry:
        registry = open_registry(Settings.from_environment({"ARTIFACTSTORE_HOME": str(self.folder / "home")}))
        return replace(registry, clock=lambda: Instant(self.now), pack_threshold_bytes=1000)

    @rule(name=NAMES, files=CONTENTS, kind=CLASSES, as_revision=st.booleans())
    def ingest(self, name: str, files: dict[str, bytes], kind: RetentionClass, as_revision: bool) -> None:
        draft = replace(package_draft(files, external_id=name), retention_class=kind)
        known = self.revisions.get(name, [])
        same = [key for key in known if self.packages[key].files == files]
        alive = [key for key in same if self.packages[key].status == "finalized"]

        try:
            receipt = ingest(self.registry, draft, as_revision=as_revision)
        except PackageExpiredError:
            assert same
            assert not alive
            assert not as_revision
        except RunChangedError:
            assert known
            assert not same
            assert not as_revision
        else:
            assert receipt.reused_existing == bool(alive)
            if alive:
                assert receipt.package_id == alive[-1]
            else:
                assert (receipt.revision, as_revision or not known) == (len(known) + 1, True)
                days = self.registry.retention.duration_days(kind)
                expires_at = None if days is None else self.now + days * MICROSECONDS_PER_DAY
                self.packages[receipt.package_id] = Model(files, expires_at)
                self.revisions.setdefault(name, []).append(receipt.package_id)

    @rule(
        name=NAMES,
        files=CONTENTS,
        operation=st.sampled_from([Operation.STAGE, Operation.COMMIT]),
        call=st.integers(1, 3),
    )
    def ingest_that_fails_in_storage(self, name: str, files: dict[str, bytes], operation: Operation, call: int) -> None:
        if name in self.revisions:
            return
        faulty = FaultyStore(self.registry.store)
        faulty.fail(operation, StorageError("planted"), call=call, times=100)
        try:
            receipt = ingest(
                replace(self.registry, backends={"default": faulty}), package_draft(files, external_id=name)
            )
        except StorageError:
            return
        self.packages[receipt.package_id] = Model(files, self.now + 30 * MICROSECONDS_PER_DAY)
        self.revisions[name] = [receipt.package_id]

    @rule(days=st.integers(1, 40))
    def time_passes(self, days: int) -> None:
        self.now += days * MICROSECONDS_PER_DAY

    @rule()
    def sweep(self) -> None:
        due = {
            key
            for key, model in self.packages.items()
            if model.status == "finalized" and not model.holds and model.expires_at and model.expires_at <= self.now
        }
        assert due == set(sweep(self.registry))
        for key in due:
            self.packages[key].status = "expired"

    @precondition(lambda self: self.packages)
    @rule(data=st.data())
    def hold_or_release(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.packages)))
        model = self.packages[key]
        if model.holds:
            release_hold(self.registry, key, model.holds.pop(), reason="done")
        else:
            model.holds.append(place_hold(self.registry, key, reason="wait"))

    @precondition(
        lambda self: any(model.status == "finalized" and model.expires_at for model in self.packages.values())
    )
    @rule(data=st.data(), days=st.integers(1, 50))
    def extend(self, data: st.DataObject, days: int) -> None:
        may = [key for key, model in self.packages.items() if model.status == "finalized" and model.expires_at]
        model = self.packages[key := data.draw(st.sampled_from(sorted(may)))]
        assert model.expires_at is not None
        model.expires_at += days * MICROSECONDS_PER_DAY
        extend_retention(self.registry, key, Instant(model.expires_at), reason="longer")

    @precondition(lambda self: not self.damaged)
    @rule(data=st.data())
    def rot(self, data: st.DataObject) -> None:
        """Of what counts: an object whose blobs all lie elsewhere since it was found damaged is not read any more."""
        found = list_objects(self.registry, limit=1000)
        recorded = {each.blake3.hex() for each in found if each.status == "live"}
        everything = [path for kind in ObjectKind for path in objects_of_kind(self.folder / "home", kind)]
        paths = [path for path in everything if path.name.partition(".")[0] in recorded]
        if paths:
            flip_byte(data.draw(st.sampled_from(paths)), 0)
            assert verify_all(self.registry).damage
            self.damaged = True

    @precondition(lambda self: self.damaged)
    @rule()
    def heal_by_ingesting_everything_again(self) -> None:
        for name, keys in self.revisions.items():
            for key in keys:
                if self.packages[key].status == "finalized":
                    files = self.packages[key].files
                    assert ingest(self.registry, package_draft(files, external_id=name)).package_id == key
        if all(model.status == "finalized" for model in self.packages.values()):
            assert [] == verify_all(self.registry).damage
            self.damaged = False

    @rule()
    def reopen(self) -> None:
        self.registry.close()
        self.registry = self.reopened()

    @precondition(lambda self: self.packages and not self.damaged)
    @rule(data=st.data())
    def fetch(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.packages)))
        out = self.folder / "out"
        get_package(self.registry, key, out)
        assert tree_contents(out) == self.packages[key].files
        shutil.rmtree(out)

    @invariant()
    def the_store_says_what_the_model_says(self) -> None:
        if not hasattr(self, "registry"):
            return
        found = {package.package_id: package for package in list_packages(self.registry, limit=1000)}
        assert found.keys() == self.packages.keys()
        for key, model in self.packages.items():
            assert (found[key].status, found[key].expires_at) == (model.status, model.expires_at)
            _, holds = find_package(self.registry, key)
            assert model.holds == [hold.hold_id for hold in holds if hold.released_at is None]

    def teardown(self) -> None:
        if hasattr(self, "registry"):
            replay_is_exact(self.registry)
            self.registry.close()
            shutil.rmtree(self.folder)


TestModel = StoreMachine.TestCase
TestModel.settings = settings(
    max_examples=1_000 if os.environ.get("LONG") else 100,
    stateful_step_count=60 if os.environ.get("LONG") else 30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
