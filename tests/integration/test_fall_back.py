"""Reads from several locations: whatever fails in one backend comes from another, and that is said."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest

from artifactstore.catalog import backends
from artifactstore.domain.digest import CHUNK_BYTES
from artifactstore.domain.event import ObjectRef
from artifactstore.domain.object_events import ObjectCondemned, ObjectCopied, ObjectDeleted
from artifactstore.errors import (
    ArtifactStoreError,
    BlobCorruptError,
    BlobMissingError,
    ConfigurationError,
    ObjectNotFoundError,
    StorageDeniedError,
    StorageUnavailableError,
)
from artifactstore.registry import fall_backs
from artifactstore.registry.downloads import archive, download
from artifactstore.registry.fall_backs import EVENT_EVERY_S, FallBack, FallBacks, Reason
from artifactstore.registry.files import get_file, send_file
from artifactstore.registry.ingest import ingest
from artifactstore.registry.packages import read_manifest
from artifactstore.registry.verify import verify_all, verify_package
from artifactstore.storage.local import LocalStore
from artifactstore.storage.port import ObjectKey, ObjectKind
from artifactstore.testing.builders import package_draft, some_bytes
from artifactstore.testing.faults import FaultyStore, Operation
from tests.conftest import DATABASES
from tests.failing_backends import RECORDED_WITHIN_S, TwoBackends, two_backends
from tests.support import fetch, flip_byte, overwrite, replay_is_exact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from artifactstore.catalog.records import ObjectRecord
    from artifactstore.registry.registry import Registry

SMALL = {f"small/{number:02}": some_bytes(1_000, seed=number) for number in range(20)}
BLOB = some_bytes(1_200_000, seed=21)
LARGE = some_bytes(2 * CHUNK_BYTES + 777, seed=22)
CHUNKS = range(3)
FILES = {**SMALL, "blob": BLOB, "large": LARGE}
ALWAYS = 1_000_000


@pytest.fixture
def two(registry: Registry, tmp_path: Path) -> Iterator[TwoBackends]:
    yield from two_backends(registry, tmp_path / "backends")


@pytest.fixture
def package_id(two: TwoBackends) -> str:
    """A package that lies in both."""
    package_id = ingest(two.registry, package_draft(FILES)).package_id
    two.copy_everything()
    return package_id


def read_everything(two: TwoBackends, package_id: str, folder: Path) -> dict[str, bytes]:
    """The files by each of the ways they are handed out; they agree."""
    at_once = fetch(two.registry, package_id, folder)
    assert at_once == {path: two.read(package_id, path) for path in at_once}
    assert at_once == {path: two.read(package_id, path, 0, len(data)) for path, data in at_once.items()}
    sink = io.BytesIO()
    send_file(two.registry, package_id, "large", sink)
    assert sink.getvalue() == at_once["large"]
    zipped = archive(two.registry, package_id)
    assert zipped.size_bytes == sum(map(len, zipped.pieces))
    return at_once


# one object fails


def altered(path: Path) -> None:
    flip_byte(path, path.stat().st_size // 2 + 200)


def cut_off(path: Path) -> None:
    overwrite(path, path.read_bytes()[:90])


def emptied(path: Path) -> None:
    overwrite(path, b"")


def removed(path: Path) -> None:
    path.unlink()


DAMAGE: list[tuple[Callable[[Path], None], Reason]] = [
    (altered, Reason.ALTERED),
    (cut_off, Reason.ALTERED),
    (emptied, Reason.ALTERED),
    (removed, Reason.MISSING),
]


@pytest.mark.parametrize("kind", [ObjectKind.PACK, ObjectKind.BLOB])
@pytest.mark.parametrize(("damage", "reason"), DAMAGE)
def test_damaged_objects_are_served_from_elsewhere_and_recorded(
    two: TwoBackends,
    package_id: str,
    tmp_path: Path,
    kind: ObjectKind,
    damage: Callable[[Path], None],
    reason: Reason,
) -> None:
    planted = two.objects("first", kind)
    for found in planted:
        damage(two.path_of(found))

    contents = read_everything(two, package_id, tmp_path / "out")

    assert contents == FILES
    assert {("first", reason, "second")} == {(told.backend, told.reason, told.served_by) for told in two.told}
    assert {found.blake3 for found in planted} == {told.key.digest for told in two.told}
    events = two.recorded()
    assert {found.blake3 for found in planted} == {payload["object"][2] for _, payload in events}
    assert {"v1.blob.damaged", "v1.object.damaged"} == {type_ for type_, _ in events}
    assert len(planted) == sum(type_ == "v1.object.damaged" for type_, _ in events)
    assert [] == two.not_recorded
    assert replay_is_exact(two.registry)


@pytest.mark.parametrize(("damage", "reason"), DAMAGE)
def test_a_damaged_manifest_is_served_from_elsewhere_and_recorded(
    two: TwoBackends, package_id: str, damage: Callable[[Path], None], reason: Reason
) -> None:
    right = read_manifest(two.registry, package_id)
    [manifest] = two.objects("first", ObjectKind.MANIFEST)
    damage(two.path_of(manifest))

    assert right == read_manifest(two.registry, package_id)
    assert [reason] == [told.reason for told in two.told]
    assert ["v1.object.damaged"] == two.recorded_types()


def test_the_next_read_goes_straight_to_the_good_location(two: TwoBackends, package_id: str, tmp_path: Path) -> None:
    for found in two.objects("first"):
        altered(two.path_of(found))
    read_everything(two, package_id, tmp_path / "out")
    read_manifest(two.registry, package_id)
    two.recorded()
    two.told.clear()
    before = two.first.calls[Operation.OPEN]

    read_manifest(two.registry, package_id)
    for path in ("blob", "large"):
        two.read(package_id, path)

    assert ([], before) == (two.told, two.first.calls[Operation.OPEN])


def test_the_event_is_the_one_that_verify_writes(two: TwoBackends, package_id: str) -> None:
    """A read of one blob finds all that is wrong with its object, and nothing else of it."""
    [pack] = two.objects("first", ObjectKind.PACK)
    data = bytearray(two.path_of(pack).read_bytes())
    for path in ("small/03", "small/07"):
        data[data.index(FILES[path])] ^= 1
    overwrite(two.path_of(pack), bytes(data))

    two.read(package_id, "small/03")

    by_read = two.recorded()
    assert ["v1.blob.damaged", "v1.object.damaged"] == [type_ for type_, _ in by_read]
    assert {two.file(package_id, path).blake3 for path in ("small/03", "small/07")} == set(by_read[0][1]["blobs"])
    verify_package(two.registry, package_id)
    assert by_read == two.recorded(), "verify has nothing to add"


# a backend fails


def unavailable(two: TwoBackends) -> None:
    two.first.fail(Operation.OPEN, StorageUnavailableError("no answer"), times=ALWAYS)


def denied(two: TwoBackends) -> None:
    two.first.fail(Operation.OPEN, StorageDeniedError("the key has expired"), times=ALWAYS)


def not_configured(two: TwoBackends) -> None:
    two.registry = replace(two.registry, backends={"second": two.second})


OUTAGES: list[tuple[Callable[[TwoBackends], None], Reason, type[ArtifactStoreError]]] = [
    (unavailable, Reason.UNAVAILABLE, StorageUnavailableError),
    (denied, Reason.DENIED, StorageDeniedError),
    (not_configured, Reason.NOT_CONFIGURED, ConfigurationError),
]


@pytest.mark.parametrize(("strike", "reason", "_error"), OUTAGES)
@pytest.mark.parametrize("path", ["small/00", "blob", "large"])
def test_a_failing_backend_is_told_and_recorded_as_no_damage(
    two: TwoBackends,
    package_id: str,
    path: str,
    strike: Callable[[TwoBackends], None],
    reason: Reason,
    _error: object,
) -> None:
    strike(two)

    assert FILES[path] == two.read(package_id, path)

    place = two.file(package_id, path).locations[0]
    assert [("first", reason, "second")] == [(told.backend, told.reason, told.served_by) for told in two.told]
    [(type_, payload)] = two.recorded()
    assert ("v1.read.fell_back", "second", reason) == (type_, payload["served_by"], payload["finding"])
    assert ("first", place[1], place[2]) == tuple(payload["object"][:3])
    assert replay_is_exact(two.registry)


@pytest.mark.parametrize(("strike", "_reason", "error"), OUTAGES)
@pytest.mark.parametrize("path", ["small/00", "blob", "large"])
def test_alone_a_failing_backend_is_its_own_error(
    two: TwoBackends,
    path: str,
    tmp_path: Path,
    strike: Callable[[TwoBackends], None],
    _reason: object,
    error: type[ArtifactStoreError],
) -> None:
    """And not that the blob is missing, which nobody knows."""
    package_id = ingest(two.registry, package_draft(FILES)).package_id
    strike(two)

    with pytest.raises(error):
        two.read(package_id, path)
    with pytest.raises(error):
        get_file(two.registry, package_id, path, tmp_path / "out")
    with pytest.raises(error):
        fetch(two.registry, package_id, tmp_path / "all")
    with pytest.raises(error):
        read_manifest(two.registry, package_id)

    assert ([], []) == (two.told, two.recorded())


@pytest.mark.parametrize("path", ["small/00", "blob", "large"])
def test_damage_here_and_an_outage_there_may_be_retried(two: TwoBackends, package_id: str, path: str) -> None:
    [found] = [each for each in two.objects("first") if each.blake3 == two.file(package_id, path).locations[0][2]]
    altered(two.path_of(found)) if path != "small/00" else emptied(two.path_of(found))
    two.second.fail(Operation.OPEN, StorageUnavailableError("no answer"), times=ALWAYS)

    with pytest.raises(StorageUnavailableError):
        two.read(package_id, path)

    two.second.mend()
    assert FILES[path] == two.read(package_id, path)


def test_an_outage_costs_one_try_and_not_one_for_every_file(two: TwoBackends, package_id: str, tmp_path: Path) -> None:
    unavailable(two)
    before = two.first.calls[Operation.OPEN]

    contents = read_everything(two, package_id, tmp_path / "out")

    assert contents == FILES
    assert 1 == two.first.calls[Operation.OPEN] - before == len(two.told)


def test_a_backend_is_tried_again_after_a_while_and_used_when_it_answers(
    two: TwoBackends, package_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fall_backs, "TRIED_LAST_S", 0.0)
    unavailable(two)
    for _ in range(3):
        two.read(package_id, "blob")
    assert 3 == len(two.told), "its time is over at once"

    two.first.mend()
    before = two.second.calls[Operation.OPEN]
    two.read(package_id, "blob")

    assert before == two.second.calls[Operation.OPEN]
    assert not two.registry.fall_backs.is_failing("first")


def test_while_one_read_tries_a_failing_backend_the_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    found, now = FallBacks(), [1_000.0]
    monkeypatch.setattr(fall_backs.time, "monotonic", lambda: now[0])
    found.failed("first")

    soon = found.is_failing("first")
    now[0] += fall_backs.TRIED_LAST_S
    first_to_ask, next_to_ask = found.is_failing("first"), found.is_failing("first")
    found.answered("first")

    assert (True, False, True) == (soon, first_to_ask, next_to_ask)
    assert not found.is_failing("first")


def test_a_storage_that_is_not_mounted_is_an_outage_and_no_damage(
    two: TwoBackends, package_id: str, tmp_path: Path
) -> None:
    """Every object of it seems to be missing."""
    (two.root / "first").rename(two.root / "unmounted")

    contents = read_everything(two, package_id, tmp_path / "out")

    assert contents == FILES
    [(type_, payload)] = two.recorded()
    assert ("v1.read.fell_back", "unavailable") == (type_, payload["finding"])


# in the middle of a file


def damaged_chunks(two: TwoBackends, backend: str, chunks: set[int], random: Random) -> None:
    [large] = [found for found in two.objects(backend, ObjectKind.BLOB) if found.size_bytes == len(LARGE)]
    for index in chunks:
        at = random.randrange(index * CHUNK_BYTES, min((index + 1) * CHUNK_BYTES, len(LARGE)))
        flip_byte(two.path_of(large), at)


@pytest.mark.parametrize("seed", range(8))
def test_each_chunk_comes_from_where_it_is_right(two: TwoBackends, package_id: str, seed: int) -> None:
    """No location has all of the file, and all of it is served."""
    random = Random(seed)
    in_first = {index for index in CHUNKS if random.random() < 0.5}
    damaged_chunks(two, "first", in_first, random)
    damaged_chunks(two, "second", set(CHUNKS) - in_first, random)
    start = random.randrange(len(LARGE) - 1)
    end = random.randrange(start + 1, len(LARGE) + 1)
    large = two.file(package_id, "large")

    whole, part = (b"".join(download(two.registry, large, *each)) for each in [(0, None), (start, end - start)])

    assert LARGE == whole
    assert LARGE[start:end] == part


@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_chunk_that_is_wrong_everywhere_ends_the_answer_before_it(
    two: TwoBackends, package_id: str, chunk: int
) -> None:
    for backend in ("first", "second"):
        damaged_chunks(two, backend, {chunk}, Random(chunk))
    given: list[bytes] = []

    with pytest.raises(BlobCorruptError):
        given.extend(download(two.registry, two.file(package_id, "large")))

    assert LARGE[: chunk * CHUNK_BYTES] == b"".join(given)


def test_a_chunk_of_an_object_that_is_cut_off_further_on_is_still_good(two: TwoBackends, package_id: str) -> None:
    [large] = [found for found in two.objects("first", ObjectKind.BLOB) if found.size_bytes == len(LARGE)]
    overwrite(two.path_of(large), LARGE[: 2 * CHUNK_BYTES])
    damaged_chunks(two, "second", {0, 1}, Random(1))

    assert LARGE == two.read(package_id, "large")


@pytest.mark.parametrize("call", range(1, 4))
def test_a_stream_that_breaks_goes_on_from_elsewhere(two: TwoBackends, package_id: str, call: int) -> None:
    two.first.fail(Operation.READ, StorageUnavailableError("connection lost"), call=call)

    assert LARGE == two.read(package_id, "large")
    assert [Reason.UNAVAILABLE] == [told.reason for told in two.told]


def test_the_rest_of_a_pack_is_read_from_the_other_one_as_one_stream(
    two: TwoBackends, package_id: str, tmp_path: Path
) -> None:
    [pack] = two.objects("first", ObjectKind.PACK)
    two.path_of(pack).unlink()
    large_ones = 2
    before = two.second.calls[Operation.OPEN]

    fetch(two.registry, package_id, tmp_path / "out")

    assert 1 == len(two.told)
    assert two.second.calls[Operation.OPEN] - before <= 1 + large_ones


def test_no_descriptor_is_left_open(two: TwoBackends, package_id: str, tmp_path: Path) -> None:
    for found in two.objects("first"):
        altered(two.path_of(found))
    two.registry.fall_backs.close()
    before = len(os.listdir("/proc/self/fd"))

    read_everything(two, package_id, tmp_path / "out")

    assert before == len(os.listdir("/proc/self/fd"))


# while another process moves objects


def move(two: TwoBackends, *found: ObjectRecord) -> None:
    """As ``storage migrate`` does it."""
    for each in found:
        two.copy(each)
        with two.registry.transaction() as tx:
            tx.record(ObjectDeleted(object=ObjectRef("first", each.kind, each.blake3, each.size_bytes)))
        two.path_of(each).unlink()


@pytest.mark.parametrize("path", ["small/00", "blob", "large"])
@pytest.mark.parametrize("start", [0, 1])
def test_what_was_moved_after_it_was_looked_up_is_found_where_it_is_now(
    two: TwoBackends, path: str, start: int
) -> None:
    package_id = ingest(two.registry, package_draft(FILES)).package_id
    looked_up = two.file(package_id, path)
    move(two, *two.objects("first"))

    data = b"".join(download(two.registry, looked_up, start, len(FILES[path]) - start))

    assert FILES[path][start:] == data
    assert ([], []) == (two.told, two.recorded()), "nothing has failed"


def test_what_is_moved_while_it_is_read_is_read_on(two: TwoBackends) -> None:
    """As from a bucket, where the next request finds nothing."""
    package_id = ingest(two.registry, package_draft(FILES)).package_id
    [large] = [found for found in two.objects("first", ObjectKind.BLOB) if found.size_bytes == len(LARGE)]
    two.first.pause(Operation.READ, lambda: move(two, large), call=6)
    two.first.fail(Operation.READ, ObjectNotFoundError("there is no such object"), call=6)

    assert LARGE == two.read(package_id, "large")


@pytest.mark.parametrize("path", ["small/00", "blob", "large"])
def test_what_is_nowhere_is_missing(two: TwoBackends, package_id: str, path: str) -> None:
    for backend in ("first", "second"):
        for found in two.objects(backend, ObjectKind.PACK, ObjectKind.BLOB):
            two.path_of(found).unlink()

    with pytest.raises(BlobMissingError):
        two.read(package_id, path)

    assert ([], []) == (two.told, two.recorded()), "no read was served"


# what is recorded


def test_bytes_that_were_altered_on_their_way_are_no_damage(two: TwoBackends, package_id: str) -> None:
    two.first.flip_byte(at=1_000_000)
    two.first.pause(Operation.OPEN, two.first.mend, call=2)

    data = two.read(package_id, "blob")

    assert data == BLOB
    assert ([Reason.ALTERED], []) == ([told.reason for told in two.told], two.recorded())


@pytest.mark.parametrize("of", [ObjectKind.PACK, ObjectKind.BLOB, ObjectKind.MANIFEST])
def test_verify_reads_twice_before_it_says_damaged(two: TwoBackends, of: ObjectKind) -> None:
    package_id = ingest(two.registry, package_draft({"a": b"a" * 100, "b": BLOB})).package_id
    order = [ObjectKind.MANIFEST, ObjectKind.PACK, ObjectKind.BLOB]
    two.first.pause(Operation.OPEN, lambda: two.first.flip_byte(at=99), call=1 + order.index(of))
    two.first.pause(Operation.OPEN, two.first.mend, call=2 + order.index(of))

    report = verify_package(two.registry, package_id)

    once, twice = 3, 4 + (of is ObjectKind.PACK)  # a pack that is bad is read again for each of its blobs
    assert once < two.first.calls[Operation.OPEN] == twice
    assert ([], []) == (report.damage, two.recorded())


def test_a_failure_to_record_fails_no_read(two: TwoBackends, package_id: str) -> None:
    with two.registry.transaction() as tx:
        tx.connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'no room for an event'); END"
        )
    [pack] = two.objects("first", ObjectKind.PACK)
    emptied(two.path_of(pack))

    for _ in range(3):
        assert FILES["small/00"] == two.read(package_id, "small/00")
        assert [] == two.recorded()

    assert 3 == len(two.told)
    assert ["no room for an event"] == [str(error.__cause__) for error in two.not_recorded]


def test_a_listener_that_fails_fails_no_read(two: TwoBackends, package_id: str) -> None:
    def told(_: FallBack) -> None:
        raise ZeroDivisionError

    two.registry.fall_backs.attend(actor="service", told=told, not_recorded=lambda _, __: None)
    unavailable(two)

    assert BLOB == two.read(package_id, "blob")
    assert ["v1.read.fell_back"] == two.recorded_types()


def test_closing_the_store_waits_for_what_is_to_be_recorded(two: TwoBackends, package_id: str) -> None:
    for found in two.objects("first", ObjectKind.BLOB):
        altered(two.path_of(found))
    for path in ("blob", "large"):
        two.read(package_id, path)

    two.registry.fall_backs.close()

    with two.registry.catalog.snapshot() as queries:
        assert 2 == sum(event.type == "v1.object.damaged" for event in queries.events(after=0, limit=1_000))


@pytest.mark.parametrize("database", DATABASES, indirect=True)
def test_of_all_servers_one_records_an_outage_every_quarter_of_an_hour(two: TwoBackends, package_id: str) -> None:
    now = [two.registry.clock()]
    unavailable(two)

    def five_servers_read() -> None:
        servers = [replace(two.registry, fall_backs=FallBacks(), clock=lambda: now[0]) for _ in range(5)]
        for server in servers:
            assert BLOB == b"".join(download(server, two.file(package_id, "blob")))
        for server in servers:
            server.fall_backs.wait(RECORDED_WITHIN_S)

    five_servers_read()
    five_servers_read()
    once = two.recorded_types()
    now[0] += EVENT_EVERY_S * 1_000_000  # type: ignore[assignment]
    five_servers_read()

    assert ["v1.read.fell_back"] == once
    assert ["v1.read.fell_back"] * 2 == two.recorded_types()


def test_another_backend_has_a_quarter_of_an_hour_of_its_own(two: TwoBackends) -> None:
    now = two.registry.clock()
    with two.registry.transaction() as tx:
        noted = [backends.note_fall_back(tx.connection, name, now=now, before=now - 1) for name in ("a", "a", "b")]

    assert [True, False, True] == noted


# condemned objects


def condemn(two: TwoBackends, *found: ObjectRecord) -> None:
    """As ``storage migrate`` does it, killed before it deletes."""
    with two.registry.transaction() as tx:
        for each in found:
            tx.record(ObjectCondemned(object=ObjectRef("first", each.kind, each.blake3, each.size_bytes)))


@pytest.mark.parametrize("failing", ["gone", "silent", "not configured"])
def test_what_only_condemned_objects_have_is_read_from_them(
    two: TwoBackends, package_id: str, tmp_path: Path, failing: str
) -> None:
    condemn(two, *two.objects("first"))
    if failing == "gone":
        for found in two.objects("second"):
            two.path_of(found).unlink()
    elif failing == "silent":
        two.second.fail(Operation.OPEN, StorageUnavailableError("no answer"), times=ALWAYS)
    else:
        two.registry = replace(two.registry, backends={"first": two.first})

    assert FILES == read_everything(two, package_id, tmp_path / "out")
    assert read_manifest(two.registry, package_id)


def test_a_condemned_object_is_not_touched_while_another_serves(
    two: TwoBackends, package_id: str, tmp_path: Path
) -> None:
    condemn(two, *two.objects("first"))
    before = two.first.calls[Operation.OPEN]

    read_everything(two, package_id, tmp_path / "out")

    assert before == two.first.calls[Operation.OPEN]


def test_what_condemned_objects_do_not_have_either_is_missing(two: TwoBackends, package_id: str) -> None:
    condemn(two, *two.objects("first"))
    for backend in ("first", "second"):
        for found in two.objects(backend, ObjectKind.BLOB, ObjectKind.PACK):
            two.path_of(found).unlink()

    for path in ("small/00", "blob", "large"):
        with pytest.raises(BlobMissingError):
            two.read(package_id, path)


@pytest.mark.parametrize("path", ["small/00", "blob", "large"])
def test_what_is_bad_in_one_backend_and_was_moved_from_the_other_is_found(
    two: TwoBackends, package_id: str, path: str
) -> None:
    third = FaultyStore(LocalStore(two.root / "third"))
    two.registry = replace(two.registry, backends={"first": two.first, "second": two.second, "third": third})
    file = two.file(package_id, path)
    for found in two.objects("first", ObjectKind.BLOB, ObjectKind.PACK):
        emptied(two.path_of(found))
    for found in two.objects("second"):
        key = ObjectKey(ObjectKind(found.kind), found.blake3)
        data = two.path_of(found).read_bytes()
        third.put(key, io.BytesIO(data), len(data))
        reference = ObjectRef("second", found.kind, found.blake3, found.size_bytes)
        with two.registry.transaction() as tx:
            tx.record(ObjectCopied(object=reference._replace(backend="third"), source="second"))
            tx.record(ObjectDeleted(object=reference))
        two.path_of(found).unlink()

    assert FILES[path] == b"".join(download(two.registry, file))


# verify


def test_verify_names_the_backend_where_it_is_bad_and_the_package_still_reads(
    two: TwoBackends, package_id: str, tmp_path: Path
) -> None:
    [pack] = two.objects("second", ObjectKind.PACK)
    emptied(two.path_of(pack))
    [manifest] = two.objects("first", ObjectKind.MANIFEST)
    removed(two.path_of(manifest))

    of_package, of_all = verify_package(two.registry, package_id), verify_all(two.registry)

    assert {("first", None), *(("second", path) for path in SMALL)} == {
        (found.backend, found.path) for found in of_package.damage
    }
    assert {("first", None)} == {(found.backend, found.path) for found in of_all.damage}
    assert 1 == of_all.superseded, "what is sound elsewhere"
    assert read_everything(two, package_id, tmp_path / "out") == FILES
    assert [] == two.told


def test_what_is_removed_while_verify_runs_is_not_damaged(two: TwoBackends) -> None:
    package_id = ingest(two.registry, package_draft(FILES)).package_id
    objects = two.objects("first")
    two.first.pause(Operation.OPEN, lambda: move(two, *objects))

    report = verify_package(two.registry, package_id)

    assert ([], []) == (report.damage, two.recorded())
