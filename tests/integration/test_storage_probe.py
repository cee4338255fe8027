"""What a probe finds of each backend, exactly; that it notices every misbehaviour; and that it leaves nothing."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from artifactstore.errors import BackendRefusedError, StorageDeniedError, StorageFullError, StorageUnavailableError
from artifactstore.registry.ingest import ingest
from artifactstore.registry.probing import probe_backend, require_usable, stored_reports
from artifactstore.storage.local import LocalStore
from artifactstore.storage.memory import MemoryStore
from artifactstore.storage.port import ObjectStore, PutOutcome
from artifactstore.storage.probing import probe as probing_of_stores
from artifactstore.storage.probing import through_port
from artifactstore.storage.probing.probe import FAILED, NOT_MEASURED, Capability, Finding, Probed, probe
from artifactstore.storage.probing.verdict import MEANINGS, Verdict, judge
from artifactstore.storage.s3 import S3Store
from artifactstore.testing.builders import package_draft, put_bytes
from artifactstore.testing.faults import FaultyStore, Operation
from tests.at_once import at_once
from tests.bad_s3 import BadS3, Misbehaviour, bad_s3
from tests.s3_servers import BUCKET, S3Server, aws_environment, moto, rclone  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.registry.registry import Registry

C, M = Capability, Misbehaviour
NOTHING_TO_ASK = dict.fromkeys(
    [
        C.OVERWRITE, C.TORN_OVERWRITE, C.DELETE_LEAVES, C.CONDITIONAL_COMPLETE, C.MULTIPART, C.MULTIPART_PART_SIZE,
        C.MULTIPART_UNFINISHED, C.CHECKSUM_SHA256, C.CHECKSUM_CRC32, C.CONTENT_MD5, C.CHECKSUM_KEPT,
        C.CHECKSUM_TRAILER, C.PRESIGNED_EXPIRY, C.PRESIGNED_BINDING, C.VERSIONING, C.OBJECT_LOCK, C.CLOCK_SKEW,
    ],
    NOT_MEASURED,
)  # fmt: skip
SOUND = {
    C.ROUND_TRIP: "exact",
    C.READ_AFTER_WRITE: "at once",
    C.ADAPTER: "works",
    C.TORN_WRITE: "invisible",
    C.RANGES: "exact",
    C.LISTING_ORDER: "ascending",
    C.LISTING_COMPLETE: "complete",
    C.LISTING_FRESH: "at once",
    C.DELETE: "gone at once",
    C.CONDITIONAL_CREATE: "honoured",
    C.LATENCY: "measured",
}
THROUGH_THE_PORT = {**NOTHING_TO_ASK, **SOUND, C.PRESIGNED: "none"}
AS_S3_DOES = {
    **SOUND,
    C.OVERWRITE: "the last put wins",
    C.TORN_OVERWRITE: "keeps the old object",
    C.DELETE_LEAVES: "nothing",
    C.CONDITIONAL_COMPLETE: "honoured",
    C.MULTIPART: "works",
    C.MULTIPART_PART_SIZE: "5 MiB at least",
    C.MULTIPART_UNFINISHED: "listed and aborted",
    C.CHECKSUM_SHA256: "verified",
    C.CHECKSUM_CRC32: "verified",
    C.CONTENT_MD5: "verified",
    C.CHECKSUM_KEPT: "given back",
    C.CHECKSUM_TRAILER: "decoded",
    C.PRESIGNED: "works",
    C.PRESIGNED_EXPIRY: "expires",
    C.PRESIGNED_BINDING: "bound",
    C.VERSIONING: "off",
    C.OBJECT_LOCK: "absent",
    C.CLOCK_SKEW: "small",
}
MOTO = {
    **AS_S3_DOES,
    **dict.fromkeys([C.CHECKSUM_SHA256, C.CHECKSUM_CRC32, C.CONTENT_MD5], "not verified"),
    C.CHECKSUM_KEPT: "not given back",
    C.PRESIGNED_EXPIRY: "does not expire",
    C.PRESIGNED_BINDING: "not bound",
}
RCLONE = {
    **AS_S3_DOES,
    C.CONDITIONAL_CREATE: "ignored",
    C.CONDITIONAL_COMPLETE: "ignored",
    C.DELETE_LEAVES: NOT_MEASURED,
    C.MULTIPART_PART_SIZE: "any",
    C.CHECKSUM_SHA256: "not verified",
    C.CHECKSUM_CRC32: "not verified",
}
OURS = {
    **AS_S3_DOES,
    C.DELETE_LEAVES: NOT_MEASURED,
    C.CHECKSUM_KEPT: "not given back",
    C.PRESIGNED_BINDING: "not bound",  # it checks no signatures
}
SAME_BYTES = "harmless because keys are digests: two writers at once write the same bytes"
NO_LOCK = (
    "no Object Lock: retention is enforced by the registry only: whoever may delete in the backend can delete sooner"
)

# ruff: noqa: F811 - fixtures that are imported are named as arguments


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What never comes is waited for less long."""
    monkeypatch.setattr("artifactstore.storage.probing.probe._PATIENCE_S", 0.3)


def opened(server: BadS3) -> S3Store:
    return S3Store.from_url(f"s3://{BUCKET}/a", server.options())


def measured(store: ObjectStore, capability: Capability) -> dict[str, str]:
    """The values that one measurement finds."""
    probing = store.probing()
    steps = (*probing.measurements(), *through_port.PortProbe(probing.store).measurements())
    step = next(step for step in steps if capability in step.capabilities)
    try:
        return {finding.capability: finding.value for finding in step.measure()}
    finally:
        probing.clear()


def verdict_with(capability: Capability, value: str) -> Verdict:
    """The verdict of a backend that is as it should be but for this."""
    sound = {**AS_S3_DOES, C.OBJECT_LOCK: "kept", capability: value}
    return judge(Finding(each, found, "") for each, found in sound.items()).verdict


def differences(found: Probed, table: dict[str, str]) -> dict[str, Finding]:
    """What is not as in the table; of moto, what it does by chance is left out."""
    by_chance = {(each, "not atomic") for each in (C.CONDITIONAL_CREATE, C.CONDITIONAL_COMPLETE) if table is MOTO}
    return {
        each.capability: each
        for each in found.findings
        if table[each.capability] != each.value and (each.capability, each.value) not in by_chance
    }


# the tables


def test_a_store_in_memory_does_what_the_port_promises() -> None:
    found = probe(MemoryStore())

    assert (THROUGH_THE_PORT, Verdict.LIMITED) == (found.table, judge(found.findings).verdict)


def test_a_directory_does_what_the_port_promises_and_is_as_it_was(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "objects")
    put_bytes(store, b"somebody's")
    before = sorted(tmp_path.rglob("*"))

    found = probe(store)

    assert (THROUGH_THE_PORT, 0, before) == (found.table, found.left_behind, sorted(tmp_path.rglob("*")))


def test_moto_verifies_no_checksum_and_no_signature(moto: S3Server) -> None:
    """Its threads look and then write: on a busy machine it lets several writers win, and the probe says so."""
    store = moto.new_store()

    found = probe(store)

    assert ({}, 0, []) == (differences(found, MOTO), found.left_behind, moto.keys_below(store, ""))
    assert Verdict.LIMITED is judge(found.findings).verdict


def files_below(rclone: S3Server, store: S3Store) -> list[Path]:
    """What it keeps; it may go on to list what was written by several at once and then deleted."""
    assert rclone.folder is not None
    below = rclone.folder / BUCKET / store._bucket.prefix
    return [path for path in below.rglob("*") if path.is_file()]


def test_rclone_knows_no_conditional_create(rclone: S3Server) -> None:
    store = rclone.new_store()

    found = probe(store)

    assert ({}, 0) == (differences(found, RCLONE), found.left_behind)
    assert [] == files_below(rclone, store)
    assert judge(found.findings).limits == (
        f"no conditional create: {SAME_BYTES}",
        f"no conditional create of uploads in parts: {SAME_BYTES}",
        NO_LOCK,
    )


def test_a_bucket_with_versions_keeps_what_is_deleted_and_the_probe_clears_it(moto: S3Server) -> None:
    moto.client.create_bucket(Bucket="versioned")
    moto.client.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    store = S3Store.from_url("s3://versioned", moto.options())

    found = probe(store)

    left = moto.client.list_object_versions(Bucket="versioned")
    assert {C.VERSIONING: "on", C.DELETE_LEAVES: "an older version"} == {
        each: found.table[each] for each in (C.VERSIONING, C.DELETE_LEAVES)
    }
    assert (0, [], []) == (found.left_behind, left.get("Versions", []), left.get("DeleteMarkers", []))


def test_a_lock_that_can_be_shortened_is_said_to_be(moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    moto.client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    store = S3Store.from_url("s3://locked", moto.options())

    found = measured(store, C.OBJECT_LOCK)

    assert {C.OBJECT_LOCK: "can be shortened"} == found


# a server that misbehaves


def test_our_server_does_as_s3_does_when_it_is_not_told_otherwise(aws_environment: None) -> None:
    with bad_s3() as server:
        found = probe(opened(server))

    assert (OURS, {}, {}, 0) == (found.table, server.objects, server.uploads, found.left_behind)


MISBEHAVIOURS = [
    (M.ALTERS, C.ROUND_TRIP, "altered", Verdict.REFUSED),
    (M.ALTERS, C.MULTIPART, "altered", Verdict.REFUSED),
    (M.ALTERS, C.ADAPTER, "altered", Verdict.REFUSED),
    (M.FORGETS, C.ROUND_TRIP, "lost", Verdict.REFUSED),
    (M.FORGETS, C.READ_AFTER_WRITE, "never", Verdict.REFUSED),
    (M.FORGETS, C.LISTING_FRESH, "never", Verdict.REFUSED),
    (M.SLOW_TO_SHOW, C.READ_AFTER_WRITE, "late", Verdict.REFUSED),
    (M.SLOW_TO_SHOW, C.OVERWRITE, "the last put wins, late", Verdict.LIMITED),
    (M.TORN, C.TORN_WRITE, "visible", Verdict.REFUSED),
    (M.TORN, C.TORN_OVERWRITE, "loses the old object", Verdict.LIMITED),
    (M.IGNORES_RANGES, C.RANGES, "ignored", Verdict.REFUSED),
    (M.SHIFTS_RANGES, C.RANGES, "wrong", Verdict.REFUSED),
    (M.LISTS_OUT_OF_ORDER, C.LISTING_ORDER, "out of order", Verdict.REFUSED),
    (M.LISTS_HALF, C.LISTING_COMPLETE, "incomplete", Verdict.REFUSED),
    (M.LISTS_OLD, C.LISTING_FRESH, "never", Verdict.REFUSED),
    (M.LOSES_OVERWRITTEN, C.OVERWRITE, "lost", Verdict.REFUSED),
    (M.KEEPS_DELETED, C.DELETE, "not gone", Verdict.REFUSED),
    (M.KEEPS_DELETED, C.ADAPTER, "altered", Verdict.REFUSED),
    (M.DELETES_BY_PREFIX, C.DELETE, "removes more", Verdict.REFUSED),
    (M.DELETES_ONCE, C.DELETE, "once only", Verdict.REFUSED),
    (M.IGNORES_CONDITIONS, C.CONDITIONAL_CREATE, "ignored", Verdict.LIMITED),
    (M.IGNORES_CONDITIONS, C.CONDITIONAL_COMPLETE, "ignored", Verdict.LIMITED),
    (M.SEVERAL_WINNERS, C.CONDITIONAL_CREATE, "not atomic", Verdict.LIMITED),
    (M.SEVERAL_WINNERS, C.CONDITIONAL_COMPLETE, "not atomic", Verdict.LIMITED),
    (M.REFUSES_CONDITIONS, C.CONDITIONAL_CREATE, "refused", Verdict.LIMITED),
    (M.IGNORES_CHECKSUMS, C.CHECKSUM_SHA256, "not verified", Verdict.USABLE),
    (M.IGNORES_CHECKSUMS, C.CHECKSUM_CRC32, "not verified", Verdict.USABLE),
    (M.IGNORES_CHECKSUMS, C.CONTENT_MD5, "not verified", Verdict.USABLE),
    (M.KEEPS_REFUSED, C.CHECKSUM_CRC32, "kept all the same", Verdict.REFUSED),
    (M.STORES_TRAILERS, C.CHECKSUM_TRAILER, "framing stored", Verdict.LIMITED),
    (M.NO_PARTS, C.MULTIPART, "refused", Verdict.LIMITED),
    (M.SHOWS_UNFINISHED, C.MULTIPART_UNFINISHED, "visible", Verdict.REFUSED),
    (M.URLS_FOR_EVER, C.PRESIGNED_EXPIRY, "does not expire", Verdict.LIMITED),
    (M.WRONG_CLOCK, C.CLOCK_SKEW, "large", Verdict.LIMITED),
]


@pytest.mark.parametrize(
    ("how", "capability", "value", "verdict"),
    [pytest.param(*case, id=f"{case[0].name}-{case[1]}") for case in MISBEHAVIOURS],
)
def test_a_server_that_misbehaves_is_found_out(
    aws_environment: None, how: Misbehaviour, capability: Capability, value: str, verdict: Verdict
) -> None:
    with bad_s3(how) as server:
        found = measured(opened(server), capability)

    assert (value, verdict) == (found[capability], verdict_with(capability, found[capability]))


def test_every_misbehaviour_is_tried() -> None:
    assert set(M) == {case[0] for case in MISBEHAVIOURS} | {M.FAILS_LISTING, M.LISTS_DELETED}


def test_a_measurement_that_the_server_refuses_has_failed_and_so_has_the_backend(aws_environment: None) -> None:
    with bad_s3(M.FAILS_LISTING) as server:
        found = probe(opened(server))

    judgement = judge(found.findings)
    assert (FAILED, Verdict.REFUSED) == (found.table[C.LISTING_ORDER], judgement.verdict)
    assert any("listing_order must hold, and it failed" in reason for reason in judgement.reasons)


def test_what_a_server_does_not_let_be_removed_is_counted(aws_environment: None) -> None:
    with bad_s3(M.KEEPS_DELETED) as server:
        found = probe(opened(server))

    assert len(server.objects) == found.left_behind > 0


def test_what_is_listed_and_not_there_is_not_left_behind(aws_environment: None) -> None:
    with bad_s3(M.LISTS_DELETED) as server:
        found = probe(opened(server))

    assert ({}, 0) == (server.objects, found.left_behind)


def test_no_checksum_that_is_verified_is_a_limit_and_one_that_is_suffices() -> None:
    neither = {C.CONTENT_MD5: "not verified", C.CHECKSUM_CRC32: "not verified"}
    one = {**neither, C.CHECKSUM_CRC32: "verified"}

    judged = [
        judge(Finding(each, value, "") for each, value in {**AS_S3_DOES, C.OBJECT_LOCK: "kept", **sums}.items())
        for sums in (neither, one)
    ]

    assert [1, 0] == [len(judgement.limits) for judgement in judged]


# a backend that only the port knows


class _Shifted(MemoryStore):
    """Every range begins one byte late."""

    def read(self, key, start=0, length=None):  # type: ignore[no-untyped-def]
        return super().read(key, start + 1, length) if length == 1 and start < 999 else super().read(key, start, length)


class _Unsorted(MemoryStore):
    def list(self, kind):  # type: ignore[no-untyped-def]
        return iter(reversed(list(super().list(kind))))


class _Forgetful(MemoryStore):
    def list(self, kind):  # type: ignore[no-untyped-def]
        return iter(list(super().list(kind))[::2])


class _Sticky(MemoryStore):
    def delete(self, key):  # type: ignore[no-untyped-def]
        pass


class _Sweeping(MemoryStore):
    def delete(self, key):  # type: ignore[no-untyped-def]
        self._objects.clear()


class _Careless(MemoryStore):
    def _insert(self, key, value):  # type: ignore[no-untyped-def]
        super()._insert(key, value)
        return PutOutcome.CREATED


class _Stuck(MemoryStore):
    def quarantine(self, key):  # type: ignore[no-untyped-def]
        pass


def _altered() -> ObjectStore:
    store = FaultyStore(MemoryStore())
    store.flip_byte(at=0)
    return store


@pytest.mark.parametrize(
    ("make", "capability", "value"),
    [
        (_altered, C.ROUND_TRIP, "altered"),
        (_Shifted, C.RANGES, "wrong"),
        (_Unsorted, C.LISTING_ORDER, "out of order"),
        (_Forgetful, C.LISTING_COMPLETE, "incomplete"),
        (_Sticky, C.LISTING_FRESH, "never"),
        (_Sticky, C.DELETE, "not gone"),
        (_Sweeping, C.DELETE, "removes more"),
        (_Careless, C.CONDITIONAL_CREATE, "not atomic"),
        (_Stuck, C.ADAPTER, "altered"),
    ],
)
def test_a_store_that_breaks_a_promise_of_the_port_is_found_out(
    make: type[MemoryStore], capability: Capability, value: str
) -> None:
    found = probe(make())

    assert value == found.table[capability]


class _Hasty(MemoryStore):
    """Once anything was staged, something is there under every key."""

    staged = False

    def stage(self, hasher):  # type: ignore[no-untyped-def]
        self.staged = True
        return super().stage(hasher)

    def read(self, key, start=0, length=None):  # type: ignore[no-untyped-def]
        return b"half" if self.staged else super().read(key, start, length)


def test_an_object_that_was_given_up_and_is_there_is_torn() -> None:
    assert {C.TORN_WRITE: "visible"} == measured(_Hasty(), C.TORN_WRITE)


def test_a_store_that_is_full_is_not_refused_for_it() -> None:
    store = FaultyStore(MemoryStore())
    store.fill_after(100_000)

    with pytest.raises(StorageFullError):
        probe(store)


def test_what_may_be_tried_again_is(tmp_path: Path) -> None:
    store = FaultyStore(MemoryStore())
    store.fail(Operation.COMMIT, StorageUnavailableError("a moment, please"), call=3)

    found = probe(store)

    assert THROUGH_THE_PORT == found.table


def test_a_backend_that_goes_away_meanwhile_is_unavailable() -> None:
    store = FaultyStore(MemoryStore())
    for operation in Operation:
        store.fail(operation, StorageUnavailableError("gone"), call=5, times=10_000)

    with pytest.raises(StorageUnavailableError, match="gone"):
        probe(store)


# the verdict


def test_every_capability_has_its_meanings() -> None:
    assert set(Capability) == set(MEANINGS)


@pytest.mark.parametrize("value", [NOT_MEASURED, FAILED])
@pytest.mark.parametrize(
    "capability",
    [C.ROUND_TRIP, C.READ_AFTER_WRITE, C.ADAPTER, C.RANGES, C.LISTING_ORDER, C.LISTING_COMPLETE, C.DELETE],
)
def test_what_must_hold_is_not_taken_for_granted(capability: Capability, value: str) -> None:
    assert Verdict.REFUSED is verdict_with(capability, value)


def test_a_backend_that_does_everything_is_usable() -> None:
    assert Verdict.USABLE is verdict_with(C.VERSIONING, "on")


def test_the_page_of_the_probe_names_every_capability_and_every_value_that_is_not_as_it_should_be() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "reference", "storage-probe.md").read_text()

    values = {
        value
        for meanings in MEANINGS.values()
        for value, meaning in meanings.items()
        if meaning.verdict is not Verdict.USABLE
    }
    assert [] == [word for word in (*Capability, *values, *Verdict) if f"`{word}`" not in page]


@pytest.mark.parametrize(("column", "table"), [(1, AS_S3_DOES), (2, MOTO), (3, RCLONE), (4, THROUGH_THE_PORT)])
def test_the_page_of_the_probe_has_what_is_measured_here(column: int, table: dict[str, str]) -> None:
    page = Path(__file__).parents[2].joinpath("docs", "reference", "storage-probe.md").read_text()
    lines = page.partition("## What was measured")[2].splitlines()
    rows = [line.strip("|").split("|") for line in lines if line.startswith("| `")]

    for cells in rows:
        names = re.findall("`([a-z0-9_]+)`", cells[0])
        values = re.findall("`([^`]+)`", cells[column].strip() or cells[1])
        assert [table[name] for name in names] == (values * len(names))[: len(names)], cells


# reports are kept, and heeded


@contextmanager
def on_bucket(registry: Registry, server: BadS3) -> Iterator[Registry]:
    """The registry with its objects on a server."""
    yield replace(registry, backends={"default": opened(server)})


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_the_last_report_of_a_backend_is_kept_as_it_was(registry: Registry) -> None:
    store = MemoryStore()
    probe_backend(registry, store)

    report = probe_backend(registry, store)

    assert [report] == stored_reports(registry)


def test_the_first_ingest_into_a_bucket_probes_it_and_later_ones_do_not(
    aws_environment: None, registry: Registry
) -> None:
    with bad_s3() as server, on_bucket(registry, server) as bucketed:
        ingest(bucketed, package_draft({"a": b"1"}))
        first = server.requests
        ingest(bucketed, package_draft({"a": b"2"}, external_id="run-2"))

        assert server.requests - first < 20 < first
        assert ["usable with limits"] == [report.judgement.verdict for report in stored_reports(registry)]


class Unseen(LocalStore):
    """A directory that is not taken to be usable unseen."""

    must_be_probed = True


def probes_counted(monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> list[ObjectStore]:
    """The stores that are probed from now on; each probe fails with ``error``, if it is given."""
    probed: list[ObjectStore] = []

    def counted(store: ObjectStore) -> Probed:
        probed.append(store)
        time.sleep(0.2)
        if error is not None:
            raise error
        return probe(store)

    monkeypatch.setattr(probing_of_stores, "probe", counted)
    return probed


def test_requests_that_come_at_the_same_time_start_one_probe(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed = probes_counted(monkeypatch)
    unknown = replace(registry, backends={"default": Unseen(tmp_path / "objects")})

    answers = at_once(16, lambda _: require_usable(unknown, "default"))

    assert ([None] * 16, 1) == (answers, len(probed))


def test_a_probe_that_fails_fails_those_that_waited_for_it_and_is_tried_again(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed = probes_counted(monkeypatch, StorageUnavailableError("no answer"))
    unknown = replace(registry, backends={"default": Unseen(tmp_path / "objects")})

    answers = at_once(16, lambda _: require_usable(unknown, "default"))
    monkeypatch.undo()
    require_usable(unknown, "default")

    assert (["no answer"] * 16, 1) == ([str(answer) for answer in answers], len(probed))


def test_nothing_is_stored_in_a_backend_that_was_refused_until_it_is_mended(
    aws_environment: None, registry: Registry
) -> None:
    with bad_s3(M.TORN) as server, on_bucket(registry, server) as bucketed:
        with pytest.raises(BackendRefusedError, match="would lose or alter data"):
            ingest(bucketed, package_draft({"a": b"1"}))
        assert {} == server.objects
        with pytest.raises(BackendRefusedError):  # by the report that was kept
            require_usable(bucketed, "default")
        server.how = None

        probe_backend(bucketed, bucketed.store)

        assert ingest(bucketed, package_draft({"a": b"1"})).package_id


def test_what_only_one_probe_finds_refuses_nothing(
    aws_environment: None, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a fault on the way looks like once is not what the backend is."""
    with bad_s3(M.TORN) as server, on_bucket(registry, server) as bucketed:

        def mended_after_one(store: ObjectStore) -> Probed:
            probed = probe(store)
            server.how = None
            return probed

        monkeypatch.setattr("artifactstore.storage.probing.probe.probe", mended_after_one)

        report = probe_backend(bucketed, bucketed.store)

        assert "usable with limits" == report.judgement.verdict
        assert [report] == stored_reports(registry)


def test_a_bucket_that_is_not_there_is_no_report(aws_environment: None, registry: Registry) -> None:
    with bad_s3() as server:
        bucketed = replace(registry, backends={"default": S3Store.from_url("s3://other", server.options())})

        with pytest.raises(StorageDeniedError, match="NoSuchBucket"):
            require_usable(bucketed, "default")

    assert [] == stored_reports(registry)


def test_a_directory_costs_no_question(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artifactstore.catalog.probes.verdict_of", None)

    receipt = ingest(registry, package_draft({"a": b"1"}))

    assert (receipt.file_count, []) == (1, stored_reports(registry))


def test_an_interrupted_probe_leaves_nothing(aws_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("artifactstore.storage.s3.probing.access.versioning", interrupted)
    with bad_s3() as server:
        put_bytes(opened(server), b"somebody's")
        before = dict(server.objects)

        with pytest.raises(KeyboardInterrupt):
            probe(opened(server))

        assert (before, {}) == (server.objects, server.uploads)


def test_the_identity_of_a_backend_names_its_endpoint_and_no_secret(
    aws_environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://somebody:secret@s3.example.org")

    stores = [S3Store.from_url("s3://evidence/a/b", {"REGION": "us-east-1"}), LocalStore(tmp_path), MemoryStore()]

    assert ["s3://evidence/a/b/ at https://s3.example.org", tmp_path.as_uri(), "memory://"] == [
        store.identity for store in stores
    ]
