"""Packages that arrive in pieces, below HTTP: what is kept, what is forgotten, and what storage does to it."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from artifactstore import failpoints
from artifactstore.domain.instant import Instant
from artifactstore.domain.package import PackageDraft, PackageStatus
from artifactstore.domain.retention import RetentionClass
from artifactstore.errors import (
    BlobCorruptError,
    DigestMismatchError,
    LimitExceededError,
    PackageIncompleteError,
    PackageStateError,
    PackageUnknownError,
    RequestInvalidError,
    StorageError,
    StorageFullError,
    UploadOffsetError,
    UploadUnknownError,
)
from artifactstore.registry import open_packages, uploads
from artifactstore.registry.finalizing import finalize
from artifactstore.registry.idempotency import Attempt
from artifactstore.registry.ingest import ingest
from artifactstore.registry.open_packages import OPEN_FOR, abandon, expire_open_packages, open_package, push_state
from artifactstore.registry.packages import list_packages
from artifactstore.registry.receiving import Announced, receive_archive, receive_file
from artifactstore.registry.uploads import append, begin_upload, cancel_upload, complete_upload, find_upload
from artifactstore.registry.verify import verify_all
from artifactstore.storage import pack
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import file_entry, package_draft, some_bytes
from artifactstore.testing.faults import FaultyStore, Operation
from tests.support import event_types, fetch, flip_byte, objects_of_kind, replay_is_exact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from artifactstore.domain.package import PackageReceipt
    from artifactstore.registry.receiving import Read, Received
    from artifactstore.registry.registry import Registry

FILES = {f"d{number % 3}/f{number:02}": some_bytes(900, number) for number in range(30)} | {"same": some_bytes(900, 0)}
ROWS = ("open_package", "declared_files", "received_object", "received_file", "upload", "upload_part")


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    failpoints.arm(None)


def opened(
    registry: Registry,
    files: Mapping[str, bytes] | None = None,
    *,
    external_id: str | None = None,
    attempt: Attempt | None = None,
) -> str:
    draft = PackageDraft("builder", (), RetentionClass.RAW_EVIDENCE, external_id=external_id)
    declared = None if files is None else [file_entry(path, data) for path, data in files.items()]
    return open_package(
        registry, draft, declared, as_revision=False, readable_producers=None, attempt=attempt
    ).package_id  # fmt: skip


def concluded(registry: Registry, package_id: str) -> PackageReceipt:
    return finalize(registry, package_id, readable_producers=None)


def sent(data: bytes) -> Read:
    return io.BytesIO(data).read


def breaking_off(data: bytes) -> Read:
    """A client that vanishes after these bytes."""
    stream = io.BytesIO(data)

    def read(size: int) -> bytes:
        if piece := stream.read(min(size, 100)):
            return piece
        raise RequestInvalidError("the client has gone")

    return read


def archive_of(files: Mapping[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return target.getvalue()


def counted(registry: Registry, table: str) -> int:
    with registry.catalog.snapshot() as queries:
        ((count,),) = queries.connection.execute(f"SELECT count(*) FROM {table}")
        return int(count)


def sizes_of_objects(registry: Registry) -> int:
    with registry.catalog.snapshot() as queries:
        sql = "SELECT sum(size_bytes) FROM stored_object WHERE kind <> 'manifest'"
        ((total,),) = queries.connection.execute(sql)
        return int(total)


def is_sound(registry: Registry) -> None:
    assert [] == verify_all(registry).damage
    replay_is_exact(registry)


def staged(home: Path) -> list[Path]:
    folder = home / "objects" / "staging"
    return list(folder.iterdir()) if folder.is_dir() else []


def later(registry: Registry, microseconds: int) -> Registry:
    now = registry.clock()
    return replace(registry, clock=lambda: Instant(now + microseconds))


# expiry


def test_an_open_package_is_forgotten_when_its_time_is_over(registry: Registry, home: Path) -> None:
    package_id = opened(registry, FILES)
    receive_archive(registry, package_id, sent(archive_of({"same": FILES["same"]})))
    upload, _ = begin_upload(registry, package_id, Announced("d0/f00"), 900)
    append(registry, package_id, upload.upload_id, 0, sent(FILES["d0/f00"][:100]))
    undeclared = opened(registry)
    receive_file(registry, undeclared, Announced("a"), sent(b"one"))

    too_early = expire_open_packages(later(registry, OPEN_FOR - 60_000_000))
    assert (0, 2) == (too_early, counted(registry, "open_package"))
    count = expire_open_packages(later(registry, OPEN_FOR + 1))

    assert (2, [0] * len(ROWS)) == (count, [counted(registry, table) for table in ROWS])
    assert [] == objects_of_kind(home, ObjectKind.PART)
    assert [] == event_types(registry)
    with pytest.raises(PackageUnknownError):
        push_state(registry, package_id, readable_producers=None)


def test_a_finalized_package_outlives_the_memory_of_its_opening(registry: Registry, home: Path) -> None:
    package_id = opened(registry)
    receive_file(registry, package_id, Announced("a"), sent(b"one"))
    unfinished, _ = begin_upload(registry, package_id, Announced("b"), 10)
    append(registry, package_id, unfinished.upload_id, 0, sent(b"two"))
    receipt = concluded(registry, package_id)

    expire_open_packages(later(registry, OPEN_FOR + 1))

    assert [package_id] == [package.package_id for package in list_packages(registry, limit=10)]
    assert [0] * len(ROWS) == [counted(registry, table) for table in ROWS]
    assert [] == objects_of_kind(home, ObjectKind.PART), "an upload that was never completed left its parts"
    with pytest.raises(PackageStateError):
        concluded(registry, package_id)
    assert 1 == receipt.file_count
    is_sound(registry)


def test_idempotency_keys_are_forgotten_with_their_time(registry: Registry) -> None:
    attempt = Attempt("token:t", "key", bytes(32))
    first = opened(registry, attempt=attempt)
    expire_open_packages(later(registry, OPEN_FOR + 60_000_000))

    second = opened(registry, attempt=attempt._replace(request_digest=bytes([1]) * 32))

    assert first != second


def test_more_packages_than_a_page_expire_at_once(registry: Registry) -> None:
    for _ in range(open_packages._PAGE + 5):
        opened(registry)

    count = expire_open_packages(later(registry, OPEN_FOR + 1))

    assert (open_packages._PAGE + 5, 0) == (count, counted(registry, "open_package"))


def test_a_package_that_expires_while_it_is_sent_takes_nothing_more(registry: Registry) -> None:
    package_id = opened(registry)
    at_failpoint("receive.before-record", lambda: expire_open_packages(later(registry, OPEN_FOR + 1)))

    with pytest.raises(PackageUnknownError):
        receive_file(registry, package_id, Announced("a"), sent(b"one"))

    assert [0] * len(ROWS) == [counted(registry, table) for table in ROWS]


# giving up while something is under way


def at_failpoint(name: str, act: Callable[[], object]) -> None:
    """Do something once, when this step is passed."""

    def pass_by(passed: str) -> None:
        if passed == name:
            failpoints.arm(None)
            act()

    failpoints.arm(pass_by)


def test_a_package_given_up_while_it_is_finalized_is_not_recorded(registry: Registry) -> None:
    package_id = opened(registry)
    at_failpoint("finalize.before-transaction", lambda: abandon(registry, package_id))

    with pytest.raises(PackageUnknownError):
        concluded(registry, package_id)

    assert [] == event_types(registry)


def test_a_package_finalized_while_it_is_given_up_stays(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it may be given up is decided in the transaction that does it."""
    package_id = opened(registry)
    transaction = type(registry).transaction

    def after_another(self: Registry) -> object:
        monkeypatch.setattr(type(registry), "transaction", transaction)
        concluded(registry, package_id)
        return transaction(self)

    monkeypatch.setattr(type(registry), "transaction", after_another)

    with pytest.raises(PackageStateError):
        abandon(registry, package_id)

    assert package_id == concluded(registry, package_id).package_id


def test_a_package_finalized_by_another_meanwhile_gives_the_same_receipt(registry: Registry) -> None:
    package_id = opened(registry, FILES)
    receive_archive(registry, package_id, sent(archive_of(FILES)))
    receipts = []
    at_failpoint("finalize.before-transaction", lambda: receipts.append(concluded(registry, package_id)))

    receipts.append(concluded(registry, package_id))

    assert receipts[0] == receipts[1]
    assert 1 == event_types(registry).count("v1.package.finalized")


def test_a_file_of_a_package_finalized_meanwhile_is_refused(registry: Registry) -> None:
    package_id = opened(registry)
    at_failpoint("receive.before-record", lambda: concluded(registry, package_id))

    with pytest.raises(PackageStateError):
        receive_file(registry, package_id, Announced("a"), sent(b"one"))

    assert 0 == list_packages(registry, limit=1)[0].file_count


# where the bytes go


def test_an_archive_fills_several_packs(registry: Registry, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "PACK_TARGET_BYTES", 5_000)
    package_id = opened(registry, FILES, external_id="e")

    receive_archive(registry, package_id, sent(archive_of(FILES)))
    receipt = concluded(registry, package_id)

    assert 5 <= len(objects_of_kind(home, ObjectKind.PACK)) <= 7
    assert FILES == fetch(registry, receipt.package_id, home / "out")
    is_sound(registry)


def test_a_blob_that_came_in_several_objects_is_placed_once(registry: Registry, home: Path) -> None:
    package_id = opened(registry, FILES)
    receive_archive(registry, package_id, sent(archive_of(FILES)))
    receive_archive(registry, package_id, sent(archive_of(dict(reversed(FILES.items())))))
    for path in ("same", "d0/f00", "d1/f01"):
        receive_file(registry, package_id, Announced(path), sent(FILES[path]))

    receipt = concluded(registry, package_id)

    assert counted(registry, "blob") == counted(registry, "blob_location") == 30
    assert sizes_of_objects(registry) == receipt.stored_bytes, "an object counts that holds nothing of the package"
    assert FILES == fetch(registry, receipt.package_id, home / "out")
    is_sound(registry)


def test_what_another_package_has_is_stored_again_and_found_in_either(registry: Registry, home: Path) -> None:
    """Sending costs the same whether or not it was there, and both packages can be read."""
    first = ingest(registry, package_draft(FILES, external_id="first"))
    package_id = opened(registry)
    receive_archive(registry, package_id, sent(archive_of({**FILES, "more": b"more"})))

    second = concluded(registry, package_id)

    assert second.stored_bytes > first.stored_bytes
    assert FILES == fetch(registry, first.package_id, home / "one")
    assert {**FILES, "more": b"more"} == fetch(registry, second.package_id, home / "two")
    is_sound(registry)


def test_a_refused_archive_leaves_nothing_in_storage_but_whole_packs(
    registry: Registry, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pack that was full has been published; nothing refers to it."""
    monkeypatch.setattr(pack, "PACK_TARGET_BYTES", 5_000)
    package_id = opened(registry, FILES)

    with pytest.raises(RequestInvalidError):
        receive_archive(registry, package_id, breaking_off(archive_of(FILES)[:-50]))

    assert ([], 0) == (staged(home), counted(registry, "received_object"))
    assert 30 == len(push_state(registry, package_id, readable_producers=None).missing)


@pytest.mark.parametrize(
    ("operation", "after"),
    [(Operation.STAGE, False), (Operation.WRITE, False), (Operation.WRITE, True), (Operation.COMMIT, False),
     (Operation.COMMIT, True)],
)  # fmt: skip
@pytest.mark.parametrize("way", ["archive", "file", "upload", "finalize"])
def test_storage_that_fails_once_is_survived(
    registry: Registry, home: Path, operation: Operation, after: bool, way: str
) -> None:
    faulty = FaultyStore(registry.store)
    failing = replace(registry, backends={"default": faulty})
    package_id = opened(registry, {"a": FILES["same"]}, external_id="e")
    steps: dict[str, Callable[[Registry], object]] = {
        "archive": lambda it: receive_archive(it, package_id, sent(archive_of({"a": FILES["same"]}))),
        "file": lambda it: receive_file(it, package_id, Announced("a"), sent(FILES["same"])),
        "upload": lambda it: uploaded(it, package_id, "a", FILES["same"]),
        "finalize": lambda it: concluded(it, package_id),
    }
    if way == "finalize":
        steps["file"](registry)
    faulty.fail(operation, StorageError("planted"), after=after)

    with pytest.raises(StorageError, match="planted"):
        steps[way](failing)

    assert ([], []) == (event_types(registry), staged(home))
    steps[way](failing)
    assert 1 == concluded(registry, package_id).file_count
    is_sound(registry)


def uploaded(registry: Registry, package_id: str, path: str, data: bytes) -> None:
    upload, _ = begin_upload(registry, package_id, Announced(path), len(data))
    at = upload.received_bytes
    append(registry, package_id, upload.upload_id, at, sent(data[at:]))
    complete_upload(registry, package_id, upload.upload_id)


# damage


def test_a_blob_found_damaged_is_asked_for_again_and_healed_by_being_sent(registry: Registry, home: Path) -> None:
    ingest(registry, package_draft({"a": b"alpha", "b": some_bytes(2_000_000)}, external_id="first"))
    before = opened(registry, {"x": b"alpha"})
    assert () == push_state(registry, before, readable_producers=None).missing
    flip_byte(objects_of_kind(home, ObjectKind.PACK)[0], 100)
    assert verify_all(registry).damage

    assert 1 == len(push_state(registry, before, readable_producers=None).missing)
    with pytest.raises(PackageIncompleteError) as refused:
        concluded(registry, before)
    receive_archive(registry, before, sent(archive_of({"x": b"alpha"})))
    receipt = concluded(registry, before)

    assert ["x"] == [problem.where for problem in refused.value.problems]
    assert {"x": b"alpha"} == fetch(registry, receipt.package_id, home / "out")
    replay_is_exact(registry)


def test_a_blob_taken_away_while_finalizing_is_noticed(registry: Registry, home: Path) -> None:
    """What was relied on is looked up again in the transaction that records."""
    ingest(registry, package_draft({"a": b"alpha"}, external_id="first"))
    package_id = opened(registry, {"x": b"alpha"})

    def damage() -> None:
        flip_byte(objects_of_kind(home, ObjectKind.PACK)[0], 100)
        assert verify_all(registry).damage

    at_failpoint("finalize.before-transaction", damage)

    with pytest.raises(PackageIncompleteError):
        concluded(registry, package_id)

    assert PackageStatus.OPEN == push_state(registry, package_id, readable_producers=None).status


def test_pushing_a_damaged_package_again_makes_it_whole(registry: Registry, home: Path) -> None:
    files = {"a": b"alpha", "b": b"beta"}
    first = ingest(registry, package_draft(files, external_id="e"))
    flip_byte(objects_of_kind(home, ObjectKind.PACK)[0], 100)
    assert verify_all(registry).damage
    draft = PackageDraft("builder", (), RetentionClass.RAW_EVIDENCE, external_id="e")
    declared = [file_entry(path, data) for path, data in files.items()]

    state = open_package(registry, draft, declared, as_revision=False, readable_producers=None)
    receive_archive(registry, state.package_id, sent(archive_of(files)))
    receipt = concluded(registry, state.package_id)

    assert PackageStatus.OPEN == state.status
    assert (first.package_id, True) == (receipt.package_id, receipt.reused_existing)
    assert files == fetch(registry, first.package_id, home / "out")
    is_sound(registry)


# uploads


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> int:
    """Parts are closed at some thousand bytes instead of 64 MiB; reads are smaller, too."""
    monkeypatch.setattr(uploads, "PART_BYTES", 4_000)
    monkeypatch.setattr(uploads, "BUFFER_BYTES", 1_000)
    return 4_000


def test_a_long_piece_becomes_several_parts(registry: Registry, home: Path, small_parts: int) -> None:
    data = some_bytes(10 * small_parts + 77)
    package_id = opened(registry)
    upload, _ = begin_upload(registry, package_id, Announced("large"), len(data))

    append(registry, package_id, upload.upload_id, 0, sent(data))
    sizes = sorted(path.stat().st_size - len(upload.upload_id) for path in objects_of_kind(home, ObjectKind.PART))
    complete_upload(registry, package_id, upload.upload_id)

    assert [77, *[small_parts] * 10] == sizes
    assert [] == objects_of_kind(home, ObjectKind.PART)
    assert {"large": data} == fetch(registry, concluded(registry, package_id).package_id, home / "out")
    is_sound(registry)


def test_parts_with_the_same_bytes_are_put_together_in_full(registry: Registry, home: Path, small_parts: int) -> None:
    data = bytes(3 * small_parts)
    package_id = opened(registry)
    upload, _ = begin_upload(registry, package_id, Announced("zeros"), len(data))

    append(registry, package_id, upload.upload_id, 0, sent(data))
    complete_upload(registry, package_id, upload.upload_id)

    assert {"zeros": data} == fetch(registry, concluded(registry, package_id).package_id, home / "out")
    assert [] == objects_of_kind(home, ObjectKind.PART)


@pytest.mark.parametrize("arrived", [0, 1, 3_999, 4_000, 4_001, 11_999])
def test_a_piece_that_breaks_off_is_kept_to_its_last_byte(
    registry: Registry, home: Path, small_parts: int, arrived: int
) -> None:
    data = some_bytes(12_000)
    package_id = opened(registry)
    upload, _ = begin_upload(registry, package_id, Announced("large"), len(data))

    with pytest.raises(RequestInvalidError):
        append(registry, package_id, upload.upload_id, 0, breaking_off(data[:arrived]))

    assert arrived == find_upload(registry, package_id, upload.upload_id).received_bytes
    append(registry, package_id, upload.upload_id, arrived, sent(data[arrived:]))
    complete_upload(registry, package_id, upload.upload_id)
    assert {"large": data} == fetch(registry, concluded(registry, package_id).package_id, home / "out")


def test_a_piece_that_does_not_fit_is_kept_as_far_as_whole_parts_did(
    registry: Registry, home: Path, small_parts: int
) -> None:
    data = some_bytes(12_000)
    faulty = FaultyStore(registry.store)
    failing = replace(registry, backends={"default": faulty})
    package_id = opened(registry)
    upload, _ = begin_upload(registry, package_id, Announced("large"), len(data))
    faulty.fill_after(9_500)

    with pytest.raises(StorageFullError):
        append(failing, package_id, upload.upload_id, 0, sent(data))
    at = find_upload(registry, package_id, upload.upload_id).received_bytes
    faulty.mend()
    append(failing, package_id, upload.upload_id, at, sent(data[at:]))
    complete_upload(failing, package_id, upload.upload_id)

    assert 8_000 == at
    assert {"large": data} == fetch(registry, concluded(registry, package_id).package_id, home / "out")


def test_more_bytes_than_announced_are_not_taken(registry: Registry) -> None:
    package_id = opened(registry)
    upload, _ = begin_upload(registry, package_id, Announced("a"), 10)

    with pytest.raises(LimitExceededError):
        append(registry, package_id, upload.upload_id, 0, breaking_off(b"x" * 11))

    assert find_upload(registry, package_id, upload.upload_id).received_bytes <= 10


def test_a_part_whose_turn_another_took_is_refused(registry: Registry) -> None:
    package_id = opened(registry)
    upload, _ = begin_upload(registry, package_id, Announced("a"), 6)
    at_failpoint("upload.before-part-recorded", lambda: append(registry, package_id, upload.upload_id, 0, sent(b"abc")))

    with pytest.raises(UploadOffsetError) as refused:
        append(registry, package_id, upload.upload_id, 0, sent(b"xyz"))
    append(registry, package_id, upload.upload_id, 3, sent(b"def"))
    received = complete_upload(registry, package_id, upload.upload_id)

    assert 3 == refused.value.offset
    assert file_entry("a", b"abcdef")[3:] == received.file[3:]


def test_the_same_part_sent_twice_at_once_is_there_once(registry: Registry) -> None:
    package_id = opened(registry)
    upload, _ = begin_upload(registry, package_id, Announced("a"), 6)
    at_failpoint("upload.before-part-recorded", lambda: append(registry, package_id, upload.upload_id, 0, sent(b"abc")))

    with pytest.raises(UploadOffsetError):
        append(registry, package_id, upload.upload_id, 0, sent(b"abc"))
    append(registry, package_id, upload.upload_id, 3, sent(b"def"))

    assert file_entry("a", b"abcdef")[3:] == complete_upload(registry, package_id, upload.upload_id).file[3:]


def test_an_upload_that_is_cancelled_while_a_part_is_sent_is_no_more(registry: Registry) -> None:
    package_id = opened(registry)
    upload, _ = begin_upload(registry, package_id, Announced("a"), 6)
    at_failpoint("upload.before-part-recorded", lambda: cancel_upload(registry, package_id, upload.upload_id))

    with pytest.raises(UploadUnknownError):
        append(registry, package_id, upload.upload_id, 0, sent(b"abc"))

    assert 0 == counted(registry, "upload_part")


def test_a_complete_upload_with_a_wrong_digest_is_given_up_with_its_parts(registry: Registry, home: Path) -> None:
    package_id = opened(registry, {"a": b"abc"})
    upload, _ = begin_upload(registry, package_id, Announced("a"), 3)
    append(registry, package_id, upload.upload_id, 0, sent(b"xyz"))

    with pytest.raises(DigestMismatchError):
        complete_upload(registry, package_id, upload.upload_id)

    assert ([], 0) == (objects_of_kind(home, ObjectKind.PART), counted(registry, "upload"))
    assert [] == staged(home)


def test_a_file_that_arrives_while_its_package_is_finalized_is_in_it(registry: Registry) -> None:
    package_id = opened(registry)
    receive_file(registry, package_id, Announced("a"), sent(b"early"))

    def send_another(name: str) -> None:
        if name == "finalize.before-transaction":
            failpoints.arm(None)
            receive_file(registry, package_id, Announced("b"), sent(b"late"))

    failpoints.arm(send_another)

    receipt = concluded(registry, package_id)

    assert 2 == receipt.file_count


def test_an_unfinished_upload_ends_with_its_package(registry: Registry) -> None:
    package_id = opened(registry)
    receive_file(registry, package_id, Announced("a"), sent(b"whole"))
    upload, _ = begin_upload(registry, package_id, Announced("b"), 10)
    append(registry, package_id, upload.upload_id, 0, sent(b"half"))

    concluded(registry, package_id)

    assert [] == list(registry.store.list(ObjectKind.PART))


def test_a_part_that_rotted_is_not_taken_for_what_was_sent(registry: Registry, home: Path) -> None:
    package_id = opened(registry)
    upload, _ = begin_upload(registry, package_id, Announced("a"), 1_000)
    append(registry, package_id, upload.upload_id, 0, sent(bytes(1_000)))
    [part] = objects_of_kind(home, ObjectKind.PART)
    flip_byte(part, 500)

    with pytest.raises(BlobCorruptError, match="'a'"):
        complete_upload(registry, package_id, upload.upload_id)


@pytest.mark.parametrize("declared", [True, False])
def test_two_who_complete_one_upload_at_once_are_answered_the_same(registry: Registry, declared: bool) -> None:
    data = some_bytes(3_000, seed=9)
    package_id = opened(registry, {"a": data} if declared else None)
    upload, _ = begin_upload(registry, package_id, Announced("a"), len(data))
    append(registry, package_id, upload.upload_id, 0, sent(data))
    first: list[Received] = []

    def complete_first(name: str) -> None:
        if name == "store.before-publish":
            failpoints.arm(None)
            first.append(complete_upload(registry, package_id, upload.upload_id))

    failpoints.arm(complete_first)

    second = complete_upload(registry, package_id, upload.upload_id)

    assert first[0].file == second.file
    assert 1 == concluded(registry, package_id).file_count


def test_a_piece_that_came_second_leaves_no_object(registry: Registry) -> None:
    package_id = opened(registry)
    upload, _ = begin_upload(registry, package_id, Announced("a"), 100)

    def send_first(name: str) -> None:
        if name == "upload.before-part-recorded":
            failpoints.arm(None)
            append(registry, package_id, upload.upload_id, 0, sent(b"first"))

    failpoints.arm(send_first)
    with pytest.raises(UploadOffsetError):
        append(registry, package_id, upload.upload_id, 0, sent(b"second"))

    assert 1 == len(list(registry.store.list(ObjectKind.PART)))


def test_a_receipt_stays_for_a_day_after_finalize(registry: Registry) -> None:
    package_id = opened(registry)
    late = replace(registry, clock=lambda: Instant(registry.clock() + OPEN_FOR - 1_000_000))
    receipt = concluded(late, package_id)

    expire_open_packages(replace(registry, clock=lambda: Instant(registry.clock() + OPEN_FOR + 1_000_000)))

    assert receipt == concluded(registry, package_id)


def test_a_caller_cannot_open_packages_without_end(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_packages, "MAX_OPEN", 2)
    opened(registry)
    opened(registry)

    with pytest.raises(LimitExceededError, match="2 packages are open"):
        opened(registry)
