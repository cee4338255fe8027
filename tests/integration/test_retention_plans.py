"""Plans say exactly what is deleted and what comes free; applying does that and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING

import pytest
from blake3 import blake3

from artifactstore.domain.digest import Digest
from artifactstore.domain.package import PackageStatus
from artifactstore.domain.retention import RetentionPolicy
from artifactstore.domain.retention_plan import PLAN_PATH, PLAN_PRODUCER, PLAN_SCHEMA
from artifactstore.errors import PackageDeletedError, PlanInvalidError, PlanNotApprovedError, PlanUnknownError
from artifactstore.registry.applying import ApplyReport, apply_plan, approve_plan, find_plan, read_plan
from artifactstore.registry.ingest import ingest
from artifactstore.registry.packages import find_package
from artifactstore.registry.planning import MadePlan, make_plan
from artifactstore.registry.retention import pin_package, place_hold, release_hold, unpin_package
from artifactstore.testing.builders import package_draft, some_bytes
from tests.retention import FILES, PRODUCER, delete_all_expired, expire, later, push
from tests.support import event_types, fetch, replay_is_exact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artifactstore.domain.retention_plan import PlanItem
    from artifactstore.registry.registry import Registry


@pytest.fixture(autouse=True)
def what_the_log_says(registry: Registry) -> Iterator[None]:
    """The tables are what the log says when the test is over."""
    yield
    replay_is_exact(registry)


def items_of(registry: Registry, made: MadePlan) -> dict[str, PlanItem]:
    reader = read_plan(registry, find_plan(registry, made.digest))
    return {item.package_id: item for item in reader.items()}


def status_of(registry: Registry, package_id: str) -> str:
    return find_package(registry, package_id)[0].status


class TestPlanning:
    def test_nothing_is_planned_where_nothing_is_expired(self, registry: Registry) -> None:
        push(registry)

        made = make_plan(registry)

        assert (0, 0, 0) == (made.totals.delete, made.totals.keep, made.totals.frees_bytes)

    def test_the_same_state_makes_the_same_plan(self, registry: Registry) -> None:
        push(registry)
        expire(registry)
        first = make_plan(registry)
        before = event_types(registry)

        again = make_plan(registry)

        assert (first.receipt.package_id, True) == (again.receipt.package_id, again.receipt.reused_existing)
        assert before == event_types(registry)

    def test_another_state_makes_another_plan(self, registry: Registry) -> None:
        package_id = push(registry)
        expire(registry)
        first = make_plan(registry)

        place_hold(registry, package_id, reason="audit")

        assert first.digest != make_plan(registry).digest

    def test_what_is_due_and_not_marked_is_in_no_plan_and_is_counted(self, registry: Registry) -> None:
        push(registry)

        before = make_plan(registry)
        expire(registry)

        assert (0, 1) == (before.totals.delete, before.packages_due)
        after = make_plan(registry)
        assert (1, 0) == (after.totals.delete, after.packages_due)

    def test_packages_stand_in_order_of_their_ids(self, registry: Registry) -> None:
        ids = [push(registry, {"a": b"a", "n": str(n).encode()}, f"run-{n}") for n in range(5)]
        expire(registry)

        made = make_plan(registry)

        assert sorted(ids) == list(items_of(registry, made))

    def test_what_two_share_comes_free_with_the_last(self, registry: Registry) -> None:
        shared, own = {"shared": some_bytes(2**20, 1)}, {"own": some_bytes(2**20, 2)}
        first = push(registry, shared, "run-1")
        second = push(registry, {**shared, **own}, "run-2")
        expire(registry)

        made = make_plan(registry)

        items = items_of(registry, made)
        assert items[first].frees_bytes < 2**20
        assert 2 * 2**20 < items[second].frees_bytes
        assert made.totals.frees_bytes == sum(item.frees_bytes for item in items.values())

    def test_what_is_shared_with_one_that_stays_does_not_come_free(self, registry: Registry) -> None:
        first = push(registry, {"shared": some_bytes(2**20, 1)}, "run-1")
        expire(registry)
        push(registry, {"shared": some_bytes(2**20, 1), "own": b"own"}, "run-2")

        made = make_plan(registry)

        assert ("delete", True) == (items_of(registry, made)[first].decision, made.totals.frees_bytes < 2**20)

    def test_every_blob_of_what_goes_is_named_with_what_becomes_of_it(self, registry: Registry, tmp_path: Path) -> None:
        push(registry, {"shared": b"shared", "own": b"own", "again": b"own"}, "run-1")
        expire(registry)
        push(registry, {"one": b"shared", "two": b"shared"}, "run-2")

        made = make_plan(registry)

        lines = fetch(registry, made.receipt.package_id, tmp_path / "plan")["blobs.jsonl"].splitlines()
        own, shared = (str(Digest.blake3(blake3(data).digest())) for data in (b"own", b"shared"))
        assert [
            {"blob": own, "size_bytes": 3, "decision": "delete", "rule": "unreferenced", "files": 2},
            {"blob": shared, "size_bytes": 6, "decision": "keep", "rule": "shared", "files": 1, "files_kept": 2},
        ] == sorted(map(json.loads, lines), key=itemgetter("size_bytes"))
        assert (1, 3, 1, 6) == attrgetter("blobs", "blob_bytes", "shared_blobs", "shared_bytes")(made.totals)

    def test_holds_keep_and_are_named(self, registry: Registry) -> None:
        expired, due = push(registry, name="run-1"), push(later(registry, -30), {"b": b"b"}, "run-2")
        held = place_hold(registry, due, reason="audit")
        expire(registry)
        late = place_hold(registry, expired, reason="audit")

        items = items_of(registry, make_plan(registry))

        assert {expired: ("keep", "hold", (late,)), due: ("keep", "hold", (held,))} == {
            package_id: (item.decision, item.rule, item.holds) for package_id, item in items.items()
        }

    def test_pins_keep_until_they_end(self, registry: Registry) -> None:
        package_id = push(registry)
        pin_package(registry, package_id, reason="reference run")
        expire(registry)

        pinned = items_of(registry, make_plan(registry))[package_id]
        unpin_package(registry, package_id, reason="superseded")
        unpinned = items_of(registry, make_plan(registry))[package_id]

        assert [("keep", "pin"), ("delete", "expired")] == [(each.decision, each.rule) for each in (pinned, unpinned)]

    def test_the_newest_of_a_subject_are_kept(self, registry: Registry) -> None:
        ids = [push(registry, {"n": str(n).encode()}, f"run-{n}", subject="urn:x") for n in range(4)]
        push(registry, {"n": b"other"}, "other", subject="urn:y")
        keeping = replace(registry, retention=RetentionPolicy(keep_newest={PRODUCER: 2}))
        expire(registry)

        items = items_of(registry, make_plan(keeping))

        assert ["expired", "expired", "newest", "newest"] == [items[each].rule for each in ids]
        assert 3 == sum(item.rule == "newest" for item in items.values())

    def test_nothing_is_read_from_storage(self, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
        push(registry)
        expire(registry)
        monkeypatch.setattr(type(registry.store), "open", lambda *_: pytest.fail("it was read"))

        assert 1 == make_plan(registry).totals.delete


class TestApplying:
    def test_a_deleted_package_is_a_tombstone(self, registry: Registry, tmp_path: Path) -> None:
        package_id = push(registry)
        expire(registry)
        made = make_plan(registry)

        report = apply_plan(registry, made.digest, reason="space")

        package, _ = find_package(registry, package_id)
        assert (1, 0, 0) == (report.deleted, report.skipped, report.kept)
        assert (PackageStatus.DELETED, "local:tester", "space") == (
            package.status, package.deleted_by, package.deletion_reason,
        )  # fmt: skip
        assert made.digest.removeprefix("blake3:") == (package.deletion_plan or b"").hex()
        assert package.manifest_digest
        with pytest.raises(PackageDeletedError, match="space"):
            fetch(registry, package_id, tmp_path / "out")

    def test_a_second_apply_does_nothing(self, registry: Registry) -> None:
        push(registry)
        made = delete_all_expired(registry)
        before = event_types(registry)

        again = apply_plan(registry, made.digest)

        assert (0, 1) == (again.deleted, again.already_deleted)
        assert before == event_types(registry)

    def test_a_hold_between_plan_and_apply_wins(self, registry: Registry) -> None:
        package_id = push(registry)
        expire(registry)
        made = make_plan(registry)

        hold_id = place_hold(registry, package_id, reason="audit")
        report = apply_plan(registry, made.digest)

        assert [(package_id, f"hold: {hold_id}")] == report.skipped_first
        assert PackageStatus.EXPIRED == status_of(registry, package_id)

    def test_a_hold_that_came_and_went_needs_a_new_plan(self, registry: Registry) -> None:
        package_id = push(registry)
        expire(registry)
        made = make_plan(registry)
        hold_id = place_hold(registry, package_id, reason="audit")
        release_hold(registry, package_id, hold_id, reason="over")

        stale = apply_plan(registry, made.digest)
        fresh = apply_plan(registry, make_plan(registry).digest)

        assert ((0, 1), (1, 0)) == ((stale.deleted, stale.skipped), (fresh.deleted, fresh.skipped))
        assert "v1.hold.placed has happened to it since the plan" == stale.skipped_first[0].reason

    def test_a_pin_between_plan_and_apply_wins(self, registry: Registry) -> None:
        package_id = push(registry)
        expire(registry)
        made = make_plan(registry)

        pin_package(registry, package_id, reason="reference")

        assert [(package_id, "pin")] == apply_plan(registry, made.digest).skipped_first

    def test_the_newest_are_looked_for_once_more(self, registry: Registry) -> None:
        package_id = push(registry, subject="urn:x")
        expire(registry)
        made = make_plan(registry)
        keeping = replace(registry, retention=RetentionPolicy(keep_newest={PRODUCER: 1}))

        report = apply_plan(keeping, made.digest)

        assert [(package_id, "newest: 1")] == report.skipped_first

    def test_what_is_not_in_the_plan_stays(self, registry: Registry) -> None:
        push(registry)
        expire(registry)
        made = make_plan(registry)
        other = push(registry, {"b": b"b"}, "run-2")
        expire(registry)

        report = apply_plan(registry, made.digest)

        assert (1, PackageStatus.EXPIRED) == (report.deleted, status_of(registry, other))

    def test_an_unknown_plan_is_refused(self, registry: Registry) -> None:
        package_id = push(registry)
        digest = f"blake3:{(find_package(registry, package_id)[0].manifest_digest or b'').hex()}"

        for unknown in (digest, "blake3:" + "0" * 64):
            with pytest.raises(PlanUnknownError):
                apply_plan(registry, unknown)

    def test_a_plan_that_does_not_add_up_deletes_nothing(self, registry: Registry, tmp_path: Path) -> None:
        packages = [push(registry, {"a": b"a"}), push(registry, {"b": b"b"}, "run-2")]
        expire(registry)
        lines = lines_of(registry, make_plan(registry), tmp_path)

        for broken in (lines[:-1], lines[:1] + lines[2:], lines[:2] + lines[1:]):
            with pytest.raises(PlanInvalidError):
                apply_plan(registry, as_a_plan(registry, broken))

        assert [PackageStatus.EXPIRED] * 2 == [status_of(registry, package_id) for package_id in packages]

    @pytest.mark.parametrize(
        ("index", "member", "value"),
        [
            (0, "log_seq", "9"), (0, "log_seq", 2**70), (0, "log_seq", 10**6), (0, "log_seq", -1),
            (0, "keep_newest", {"a": "b"}), (1, "package_id", ["x"]), (1, "file_count", "1"), (1, "decision", []),
            (1, "manifest_digest", None), (1, "holds", [1]), (-1, "delete", "1"),
        ],
    )  # fmt: skip
    def test_a_plan_is_not_believed_what_no_plan_says(
        self, registry: Registry, tmp_path: Path, index: int, member: str, value: object
    ) -> None:
        """With a log that ends later than it was made, nothing would count that has happened since."""
        package_id = push(registry)
        expire(registry)
        lines = lines_of(registry, make_plan(registry), tmp_path)
        lines[index] = json.dumps({**json.loads(lines[index]), member: value}).encode() + b"\n"
        release_hold(registry, package_id, place_hold(registry, package_id, reason="looked at"), reason="it is well")

        with pytest.raises(PlanInvalidError):
            apply_plan(registry, as_a_plan(registry, lines))

        assert PackageStatus.EXPIRED == status_of(registry, package_id)

    def test_a_package_with_another_manifest_than_the_plan_says_stays(self, registry: Registry, tmp_path: Path) -> None:
        package_id = push(registry)
        expire(registry)
        lines = lines_of(registry, make_plan(registry), tmp_path)
        digest = f"blake3:{(find_package(registry, package_id)[0].manifest_digest or b'').hex()}".encode()
        other = [line.replace(digest, b"blake3:" + b"0" * 64) for line in lines]

        report = apply_plan(registry, as_a_plan(registry, other))

        assert (0, PackageStatus.EXPIRED) == (report.deleted, status_of(registry, package_id))
        assert "its manifest is another than the plan says" == report.skipped_first[0].reason


def lines_of(registry: Registry, made: MadePlan, tmp_path: Path) -> list[bytes]:
    return fetch(registry, made.receipt.package_id, tmp_path / "plan")[PLAN_PATH].splitlines(keepends=True)


def as_a_plan(registry: Registry, lines: list[bytes]) -> str:
    """What somebody else wrote and calls a plan; its digest."""
    header = json.loads(lines[0])
    said = {"as_of": header["as_of"], "log_seq": 0, "delete": 1}
    draft = package_draft({PLAN_PATH: b"".join(lines)}, external_id=None, metadata=said)
    return ingest(registry, replace(draft, producer=PLAN_PRODUCER, schema=PLAN_SCHEMA)).manifest_digest


class TestApproving:
    @pytest.fixture
    def made(self, registry: Registry) -> MadePlan:
        push(registry)
        expire(registry)
        return make_plan(registry)

    def apply(self, registry: Registry, made: MadePlan) -> ApplyReport:
        return apply_plan(replace(registry, retention_approvals=2), made.digest)

    def test_nobody_approves_alone(self, registry: Registry, made: MadePlan) -> None:
        approve_plan(registry, made.digest)

        with pytest.raises(PlanNotApprovedError):
            self.apply(registry, made)

    def test_another_ones_approval_lets_it_be_applied(self, registry: Registry, made: MadePlan) -> None:
        approved_by = approve_plan(registry.acting_as("token:auditor"), made.digest)

        assert (["token:auditor"], 1) == (approved_by, self.apply(registry, made).deleted)

    def test_an_approval_is_recorded_once(self, registry: Registry, made: MadePlan) -> None:
        approve_plan(registry.acting_as("token:auditor"), made.digest)
        approve_plan(registry.acting_as("token:auditor"), made.digest)

        assert 1 == event_types(registry).count("v1.retention.plan_approved")

    def test_an_approval_is_of_one_plan(self, registry: Registry, made: MadePlan) -> None:
        approve_plan(registry.acting_as("token:auditor"), made.digest)
        push(registry, {"b": b"b"}, "run-2")
        expire(registry)

        with pytest.raises(PlanNotApprovedError):
            self.apply(registry, make_plan(registry))


def test_the_files_that_are_kept_are_as_they_were(registry: Registry, tmp_path: Path) -> None:
    push(registry)
    expire(registry)
    kept = push(registry, {**FILES, "more": b"more"}, "run-2")

    apply_plan(registry, make_plan(registry).digest)

    assert {**FILES, "more": b"more"} == fetch(registry, kept, tmp_path / "out")
