"""With the database gone, storage alone brings back what was sealed, and most of what was not; the rest is named."""

from __future__ import annotations

import io
import os
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.catalog.replay import NATURAL_ROWS
from artifactstore.config import Settings
from artifactstore.domain.canonical import decode, encode
from artifactstore.domain.segment import Segment, segment_digest
from artifactstore.errors import ConcurrentUpdateError, ConfigurationError, EventLogCorruptError, UsageError
from artifactstore.registry.copying import copy_backend
from artifactstore.registry.emptying import migrate
from artifactstore.registry.events import list_events
from artifactstore.registry.healing import heal_all
from artifactstore.registry.ingest import ingest
from artifactstore.registry.metadata_schemas import register_schema
from artifactstore.registry.packages import list_packages
from artifactstore.registry.rebuilding import rebuild
from artifactstore.registry.reconciling import Kind, reconcile
from artifactstore.registry.retention import place_hold
from artifactstore.registry.sealing import seal_if_due, seal_log, unsealed
from artifactstore.registry.verify import verify_all
from artifactstore.storage.port import ObjectKey, ObjectKind
from artifactstore.testing.builders import package_draft, some_bytes
from tests.support import event_types, fetch, flip_byte, objects_of_kind, replay_is_exact
from tests.two_backends import ARCHIVE, DISK, paths_of, two_directories

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.registry.registry import Registry
    from tests.postgres_server import PostgresServer

FILES = {"a.txt": b"A" * 1000, "b.txt": b"B" * 1000, "empty": b"", "large.bin": some_bytes(5 * 2**20)}


@contextmanager
def without_database(home: Path) -> Iterator[Registry]:
    """The same storage, and a database that is new."""
    (home / "new.db").unlink(missing_ok=True)
    settings = {"ARTIFACTSTORE_HOME": str(home), "ARTIFACTSTORE_DATABASE_URL": f"sqlite:///{home}/new.db"}
    with closing(open_registry(Settings.from_environment(settings), actor="local:rescuer")) as registry:
        yield registry


def rows_of(registry: Registry) -> dict[str, list[tuple[object, ...]]]:
    with registry.catalog.snapshot() as queries:
        return {table: list(queries.connection.execute(sql)) for table, sql in NATURAL_ROWS.items()}


def a_full_life(registry: Registry) -> list[str]:
    """Packages that share bytes, revisions, a schema, a hold."""
    register_schema(registry, "a.schema.v1", {"type": "object"})
    ids = [
        ingest(registry, package_draft({**FILES, "n": b"%d" % number}, external_id=f"run-{number}")).package_id
        for number in range(3)
    ]
    draft = replace(package_draft({"x": b"changed"}, external_id="run-0", metadata={"k": 1}), schema="a.schema.v1")
    ids.append(ingest(registry, draft, as_revision=True).package_id)
    place_hold(registry, ids[0], reason="evidence")
    return ids


def test_what_was_sealed_comes_back_row_by_row(registry: Registry, home: Path, tmp_path: Path) -> None:
    ids = a_full_life(registry)
    before = rows_of(registry)
    events_before = list_events(registry, limit=1_000)
    sealed = seal_log(registry)

    with without_database(home) as rebuilt:
        report = rebuild(rebuilt)

        after = rows_of(rebuilt)
        segments = [row for row in after["stored_object"] if row[1] == "segment"]
        assert 1 == len(segments) == sealed.segments
        for table in ("stored_object", "object_usage", "backend_usage"):
            after[table] = [row for row in after[table] if row[1] != "segment"]
        assert before == after
        assert events_before == list_events(rebuilt, limit=len(events_before))
        assert (4, [], [], True) == (report.packages, report.recovered, report.lost, report.is_whole)
        replay_is_exact(rebuilt)
        assert not verify_all(rebuilt).damage
        assert {**FILES, "n": b"1"} == fetch(rebuilt, ids[1], tmp_path / "back")


def test_what_was_not_sealed_comes_back_by_its_manifests_under_new_ids(
    registry: Registry, home: Path, tmp_path: Path
) -> None:
    first = ingest(registry, package_draft(FILES, external_id="sealed")).package_id
    seal_log(registry)
    shared = {**FILES, "more.txt": b"more", "other.bin": some_bytes(2**20, seed=9)}
    draft = package_draft(shared, external_id="later", metadata={"k": [1, "x"]})
    later = ingest(registry, replace(draft, subject="s"))

    with without_database(home) as rebuilt:
        report = rebuild(rebuilt)

        (package_id,) = report.recovered
        packages = {package.external_id: package for package in list_packages(rebuilt, limit=10)}
        back = packages["later"]
        assert (1, True) == (report.packages, report.is_whole)
        assert first == packages["sealed"].package_id
        assert package_id == back.package_id != later.package_id
        assert later.manifest_digest.removeprefix("blake3:") == (back.manifest_digest or b"").hex()
        assert ("local:rescuer", "s") == (back.opened_by, back.subject)
        assert shared == fetch(rebuilt, package_id, tmp_path / "back")
        assert ["v1.log.rebuilt"] == event_types(rebuilt)[-1:]
        replay_is_exact(rebuilt)
        assert not verify_all(rebuilt).damage


def test_a_store_of_which_nothing_was_sealed_comes_back_by_its_manifests(
    registry: Registry, home: Path, tmp_path: Path
) -> None:
    a_full_life(registry)

    with without_database(home) as rebuilt:
        report = rebuild(rebuilt, schemas={"a.schema.v1": {"type": "object"}})

        assert (0, 4, []) == (report.packages, len(report.recovered), report.lost)
        for package in list_packages(rebuilt, limit=10):
            assert fetch(rebuilt, package.package_id, tmp_path / package.package_id)
        replay_is_exact(rebuilt)
        assert not verify_all(rebuilt).damage


def test_revisions_come_back_in_the_order_they_were_stored(registry: Registry, home: Path) -> None:
    contents = [b"one", b"two", b"three"]
    for data in contents:
        ingest(registry, package_draft({"x": data}, external_id="run"), as_revision=True)
        for path in objects_of_kind(home, ObjectKind.MANIFEST):
            _older(path)

    with without_database(home) as rebuilt:
        rebuild(rebuilt)

        packages = sorted(list_packages(rebuilt, limit=10), key=lambda package: package.revision)
        manifests = [next(iter(files_of(rebuilt, package.package_id).values())) for package in packages]
        assert contents == manifests
        assert [1, 2, 3] == [package.revision for package in packages]


def _older(path: Path) -> None:
    then = path.stat().st_mtime - 100
    os.utime(path, (then, then))


def files_of(registry: Registry, package_id: str) -> dict[str, bytes]:
    with TemporaryDirectory() as folder:
        return fetch(registry, package_id, Path(folder) / "x")


def test_nobody_begins_another_log_beside_what_a_lost_database_has_left(registry: Registry, home: Path) -> None:
    a_full_life(registry)
    seal_log(registry)

    with without_database(home) as rebuilt:
        with pytest.raises(ConfigurationError, match="not this database's") as refused:
            ingest(rebuilt, package_draft({"new": b"run"}, external_id="new"))
        began = event_types(rebuilt)
        rebuild(rebuilt)
        ingest(rebuilt, package_draft({"new": b"run"}, external_id="new"))

        assert "rebuild --from-storage" in (refused.value.hint or "")
        assert [] == began
        assert 5 == len(list_packages(rebuilt, limit=10))


@pytest.mark.parametrize("kind", [ObjectKind.PACK, ObjectKind.BLOB])
def test_a_package_of_which_something_is_missing_is_named_as_lost(
    registry: Registry, home: Path, kind: ObjectKind
) -> None:
    ingest(registry, package_draft(FILES))
    objects_of_kind(home, kind)[0].unlink()

    with without_database(home) as rebuilt:
        report = rebuild(rebuilt)

        (lost,) = report.lost
        paths = ("large.bin",) if kind is ObjectKind.BLOB else ("a.txt", "b.txt", "empty")
        assert ("builder", paths) == (lost.producer, lost.missing)
        assert ([], False) == (report.recovered, report.is_whole)
        replay_is_exact(rebuilt)


def test_a_package_whose_schema_nobody_has_is_named_as_lost(registry: Registry, home: Path) -> None:
    a_full_life(registry)

    with without_database(home) as rebuilt:
        report = rebuild(rebuilt)

        assert 3 == len(report.recovered)
        assert "a.schema.v1" in report.lost[0].why


def test_a_manifest_that_was_altered_is_named_as_lost(registry: Registry, home: Path) -> None:
    ingest(registry, package_draft(FILES))
    flip_byte(objects_of_kind(home, ObjectKind.MANIFEST)[0], 10)

    with without_database(home) as rebuilt:
        report = rebuild(rebuilt)

        assert (1, []) == (len(report.lost), report.recovered)


def test_what_was_sealed_and_is_missing_now_is_named(registry: Registry, home: Path) -> None:
    ingest(registry, package_draft(FILES))
    seal_log(registry)
    pack = objects_of_kind(home, ObjectKind.PACK)[0]
    pack.unlink()

    with without_database(home) as rebuilt:
        report = rebuild(rebuilt)

        assert report.comparison is not None
        assert [pack.relative_to(home / "objects").as_posix()] == [each.path for each in report.comparison.differences]
        assert not report.is_whole


def test_a_database_that_is_in_use_is_not_rebuilt_over(registry: Registry) -> None:
    ingest(registry, package_draft(FILES))
    before = rows_of(registry)

    with pytest.raises(UsageError, match="has a log already"):
        rebuild(registry)

    assert before == rows_of(registry)


def test_an_empty_storage_gives_an_empty_store(home: Path) -> None:
    with without_database(home) as rebuilt:
        report = rebuild(rebuilt)

        assert (0, 0, True) == (report.segments, report.packages, report.is_whole)
        replay_is_exact(rebuilt)


def sealed_in_parts(registry: Registry, parts: int) -> list[str]:
    ids = []
    for number in range(parts):
        ids.append(ingest(registry, package_draft({"x": b"%d" % number}, external_id=f"run-{number}")).package_id)
        seal_log(registry)
    return ids


def segments_in_order(registry: Registry, home: Path) -> list[Path]:
    return sorted(
        objects_of_kind(home, ObjectKind.SEGMENT), key=lambda path: Segment.decode(path.read_bytes()).first_seq
    )


def test_many_segments_are_put_in_order_by_the_chain(registry: Registry, home: Path) -> None:
    ids = sealed_in_parts(registry, 7)

    with without_database(home) as rebuilt:
        report = rebuild(rebuilt)

        assert (7, 7, True) == (report.segments, report.packages, report.is_whole)
        assert set(ids) == {package.package_id for package in list_packages(rebuilt, limit=100)}
        replay_is_exact(rebuilt)


@pytest.mark.parametrize("how", ["missing", "altered", "emptied", "of another log"])
def test_behind_a_segment_that_is_lost_packages_come_back_by_their_manifests(
    registry: Registry, home: Path, how: str
) -> None:
    ids = sealed_in_parts(registry, 5)
    third = segments_in_order(registry, home)[2]
    if how == "missing":
        third.unlink()
    elif how == "altered":
        flip_byte(third, third.stat().st_size // 2)
    else:
        third.chmod(0o644)
        third.write_bytes(b"" if how == "emptied" else b"\xa0")

    with without_database(home) as rebuilt:
        report = rebuild(rebuilt)

        assert (2, 2, 3) == (report.segments, report.packages, len(report.recovered))
        assert 2 == len(report.not_followed)
        assert (how != "missing") == (len(report.damaged_segments) == 1)
        assert not report.is_whole
        assert set(ids[:2]) < {package.package_id for package in list_packages(rebuilt, limit=100)}
        replay_is_exact(rebuilt)


LIES = {
    "a payload": lambda it: replace(it, events=((it.events[0][0], it.events[0][1] + b"x"), *it.events[1:])),
    "an event left out": lambda it: replace(it, events=it.events[:-1]),
    "two events exchanged": lambda it: replace(it, events=(*it.events[1::-1], *it.events[2:])),
    "a number": lambda it: replace(it, first_seq=it.first_seq + 1),
    "the chain before": lambda it: replace(it, chain_before=bytes(32)),
    "the chain after": lambda it: replace(it, chain_after=bytes(32)),
    "a header": lambda it: replace(it, events=((b"\xa0", b""), *it.events[1:])),
}


@pytest.mark.parametrize("what", LIES)
def test_a_segment_that_was_made_up_is_not_followed(registry: Registry, home: Path, what: str) -> None:
    """Its name is right, so nothing but the chain gives it away."""
    sealed_in_parts(registry, 2)
    second = segments_in_order(registry, home)[1]
    lie = LIES[what](Segment.decode(second.read_bytes())).encode()
    second.unlink()
    key = ObjectKey(ObjectKind.SEGMENT, segment_digest(lie))
    registry.store.put(key, io.BytesIO(lie), len(lie))

    with without_database(home) as rebuilt:
        report = rebuild(rebuilt)

        assert (1, 1, 1) == (report.segments, report.packages, len(report.recovered))
        assert [key.path] == list(report.damaged_segments)
        replay_is_exact(rebuilt)


def test_events_that_were_sealed_twice_count_once(registry: Registry, home: Path) -> None:
    """A sealing that was killed before it was recorded leaves a segment; the next has its events and more."""
    ingest(registry, package_draft({"x": b"1"}, external_id="run-1"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("artifactstore.registry.sealing.last_sealed", _first_right_then_wrong())
        with pytest.raises(ConcurrentUpdateError):
            seal_log(registry)
    ingest(registry, package_draft({"x": b"2"}, external_id="run-2"))
    seal_log(registry)
    assert 2 == len(objects_of_kind(home, ObjectKind.SEGMENT))

    with without_database(home) as rebuilt:
        report = rebuild(rebuilt)

        assert (1, 2, []) == (report.segments, report.packages, report.not_followed)
        replay_is_exact(rebuilt)


def _first_right_then_wrong():  # type: ignore[no-untyped-def]
    answers = iter((0, 99))
    return lambda _: next(answers)


def test_segments_of_several_logs_are_told_apart(registry: Registry, home: Path) -> None:
    ours = ingest(registry, package_draft({"x": b"1"}, external_id="run-1")).package_id
    with without_database(home) as other:
        ingest(other, package_draft({"x": b"2"}, external_id="run-2"))
        seal_log(registry)
        seal_log(other)
    with registry.catalog.snapshot() as queries:
        log_id = queries.log_id()

    with without_database(home) as rebuilt:
        with pytest.raises(UsageError, match="several logs"):
            rebuild(rebuilt)
        with pytest.raises(UsageError, match="no segment of the log"):
            rebuild(rebuilt, log_id=bytes(32))
        report = rebuild(rebuilt, log_id=log_id)

        assert (log_id, 1, 1) == (report.log_id, report.packages, len(report.recovered))
        assert ours in {package.package_id for package in list_packages(rebuilt, limit=10)}
        replay_is_exact(rebuilt)


def test_a_rebuilt_store_goes_on(registry: Registry, home: Path) -> None:
    sealed_in_parts(registry, 2)
    ingest(registry, package_draft({"x": b"tail"}, external_id="tail"))

    with without_database(home) as rebuilt:
        rebuild(rebuilt)
        ingest(rebuilt, package_draft({"x": b"new"}, external_id="new"))
        seal_log(rebuilt)
        assert reconcile(rebuilt, limit=10).is_clean
        before = rows_of(rebuilt)

    (home / "new.db").rename(home / "gone.db")
    with without_database(home) as again:
        report = rebuild(again)

        after = rows_of(again)
        assert (4, [], True) == (report.packages, report.recovered, report.is_whole)
        assert before["package"] == after["package"]
        replay_is_exact(again)


def test_a_log_that_says_nothing_new_is_not_sealed_for_ever(registry: Registry, home: Path) -> None:
    ingest(registry, package_draft(FILES))

    reports = [seal_log(registry) for _ in range(3)]

    assert [1, 0, 0] == [report.segments for report in reports]
    assert 1 == len(objects_of_kind(home, ObjectKind.SEGMENT))


def test_events_are_sealed_when_they_are_many_or_old(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    ingest(registry, package_draft(FILES))

    young = seal_if_due(registry)
    monkeypatch.setattr("artifactstore.registry.sealing.SEAL_EVENTS", 4)
    many = seal_if_due(registry)
    monkeypatch.setattr("artifactstore.registry.sealing.SEAL_EVENTS", 1_000)
    ingest(registry, package_draft(FILES, external_id="another"))
    still_young = seal_if_due(registry)
    now = registry.clock()
    old = seal_if_due(replace(registry, clock=lambda: type(now)(now + 16 * 60 * 1_000_000)))

    assert [0, 1, 0, 1] == [report.segments for report in (young, many, still_young, old)]
    assert None is unsealed(registry).oldest_at


def test_a_large_log_is_sealed_in_parts(registry: Registry, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artifactstore.registry.sealing._MOST_BYTES", 3_000)
    for number in range(6):
        ingest(registry, package_draft({"x": b"%d" % number}, external_id=f"run-{number}"))

    report = seal_log(registry)

    assert report.segments > 2
    with without_database(home) as rebuilt:
        found = rebuild(rebuilt)
        assert (report.segments, 6) == (found.segments, found.packages)
        replay_is_exact(rebuilt)


def test_two_who_seal_at_once_seal_the_same_events_once(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    ingest(registry, package_draft(FILES))
    armed = iter((True,))

    def other(name: str) -> None:
        if name == "seal.before-record" and next(armed, False):
            seal_log(registry)

    monkeypatch.setattr("artifactstore.registry.sealing.failpoint", other)

    with pytest.raises(ConcurrentUpdateError):
        seal_log(registry)

    assert 1 == event_types(registry).count("v1.log.sealed")


@pytest.mark.parametrize("damage", [lambda path: flip_byte(path, 20), lambda path: path.unlink()])
def test_a_damaged_segment_is_found_and_healed_from_the_log(registry: Registry, home: Path, damage) -> None:  # type: ignore[no-untyped-def]
    sealed_in_parts(registry, 3)
    path = segments_in_order(registry, home)[1]
    sound = path.read_bytes()
    damage(path)
    found = verify_all(registry)

    report = heal_all(registry)

    assert 1 == len(found.damage)
    assert (1, []) == (report.objects, report.not_healed)
    assert sound == path.read_bytes()
    assert not verify_all(registry).damage


SEGMENT = Segment(b"l" * 32, 1, b"b" * 32, b"a" * 32, ((b"h", b"p"), (b"h2", b"")))


def test_a_segment_is_what_it_was_when_it_is_decoded() -> None:
    assert SEGMENT == Segment.decode(SEGMENT.encode())
    assert SEGMENT.encode() == SEGMENT.encode()
    assert 2 == SEGMENT.last_seq


@pytest.mark.parametrize("at", range(0, len(SEGMENT.encode()), 7))
def test_a_segment_that_is_cut_off_is_none(at: int) -> None:
    with pytest.raises(EventLogCorruptError):
        Segment.decode(SEGMENT.encode()[:at])


def test_what_is_canonical_and_no_segment_is_none() -> None:
    document = decode(SEGMENT.encode())
    wrong = [
        {**document, "version": 2}, {**document, "events": []}, {**document, "events": [[b"h"]]},
        {**document, "events": [[b"h", "p"]]}, {**document, "first_seq": "1"}, {**document, "more": 1}, [], 7,
        dict(islice(document.items(), 3)),
    ]  # fmt: skip

    for each in wrong:
        with pytest.raises(EventLogCorruptError):
            Segment.decode(encode(each))


# several backends, and a log that divides


@contextmanager
def on_two_backends(home: Path, database: str) -> Iterator[Registry]:
    settings = {**two_directories(home), "ARTIFACTSTORE_DATABASE_URL": f"sqlite:///{home}/{database}"}
    with closing(open_registry(Settings.from_environment(settings), actor="local:rescuer")) as registry:
        yield registry


def test_a_store_comes_back_if_either_backend_has_the_segment(home: Path, tmp_path: Path) -> None:
    with on_two_backends(home, "old.db") as registry:
        package_id = ingest(registry, package_draft(FILES)).package_id
        seal_log(registry)
        copy_backend(registry, DISK, ARCHIVE)
    flip_byte(paths_of(home, DISK, ObjectKind.SEGMENT)[0], 50)

    with on_two_backends(home, "new.db") as rebuilt:
        report = rebuild(rebuilt)

        assert (1, {}) == (report.packages, report.damaged_segments)
        assert FILES == fetch(rebuilt, package_id, tmp_path / "back")
        replay_is_exact(rebuilt)
        assert report.comparison is not None
        assert {Kind.UNREFERENCED} >= {each.kind for each in report.comparison.differences}


def test_packages_of_the_tail_come_back_from_whichever_backend_they_are_in(home: Path, tmp_path: Path) -> None:
    with on_two_backends(home, "old.db") as registry:
        ingest(registry, package_draft({**FILES, "n": b"1"}, external_id="1"))
        elsewhere = replace(registry, default_backend=ARCHIVE)
        ingest(elsewhere, package_draft({**FILES, "n": b"2"}, external_id="2"))

    with on_two_backends(home, "new.db") as rebuilt:
        report = rebuild(rebuilt)

        assert (2, []) == (len(report.recovered), report.lost)
        for package in list_packages(rebuilt, limit=10):
            number = (package.external_id or "").encode()
            assert {**FILES, "n": number} == fetch(rebuilt, package.package_id, tmp_path / package.package_id)
        replay_is_exact(rebuilt)


def test_of_a_log_that_divides_the_course_that_was_written_to_last_is_followed(
    registry: Registry, home: Path, tmp_path: Path
) -> None:
    """A database was set back to a backup, and the store went on from there."""
    ingest(registry, package_draft({"x": b"1"}, external_id="before"))
    seal_log(registry)
    registry.close()
    backup = (home / "artifactstore.db").read_bytes()
    for name in ("abandoned", "followed"):
        (home / "artifactstore.db").write_bytes(backup)
        for left in ("artifactstore.db-wal", "artifactstore.db-shm"):
            (home / left).unlink(missing_ok=True)
        with closing(open_registry(Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)}))) as course:
            ids = {name: ingest(course, package_draft({"x": name.encode()}, external_id=name)).package_id}
            seal_log(course)

    with without_database(home) as rebuilt:
        report = rebuild(rebuilt)

        packages = {package.external_id: package.package_id for package in list_packages(rebuilt, limit=10)}
        assert (2, 2, 1, 1) == (report.segments, report.packages, len(report.recovered), len(report.not_followed))
        assert ids["followed"] == packages["followed"]
        assert {"before", "followed", "abandoned"} == packages.keys(), "the other came back by its manifest"
        replay_is_exact(rebuilt)


def test_a_pack_whose_directory_cannot_be_read_loses_its_packages_and_no_others(registry: Registry, home: Path) -> None:
    ingest(registry, package_draft({"x": b"1"}, external_id="1"))
    (pack,) = objects_of_kind(home, ObjectKind.PACK)
    ingest(registry, package_draft({"x": b"2"}, external_id="2"))
    flip_byte(pack, -1)

    with without_database(home) as rebuilt:
        report = rebuild(rebuilt)

        assert (1, ["1"]) == (len(report.recovered), [lost.external_id for lost in report.lost])


def test_a_rebuilding_into_postgresql(registry: Registry, home: Path, postgres: PostgresServer) -> None:
    ids = a_full_life(registry)
    seal_log(registry)
    before = rows_of(registry)
    ingest(registry, package_draft({"x": b"tail"}, external_id="tail"))
    settings = {"ARTIFACTSTORE_HOME": str(home), "ARTIFACTSTORE_DATABASE_URL": postgres.empty_database()}

    with closing(open_registry(Settings.from_environment(settings), actor="local:rescuer")) as rebuilt:
        report = rebuild(rebuilt)

        assert (len(ids), 1, True) == (report.packages, len(report.recovered), report.is_whole)
        assert before["package"] == [row for row in rows_of(rebuilt)["package"] if row[0] in ids]
        assert before["hold"] == rows_of(rebuilt)["hold"]
        replay_is_exact(rebuilt)
        assert not verify_all(rebuilt).damage


def test_segments_move_with_the_rest_when_a_backend_is_emptied(home: Path, tmp_path: Path) -> None:
    with on_two_backends(home, "old.db") as registry:
        package_id = ingest(registry, package_draft(FILES)).package_id
        seal_log(registry)
        assert migrate(registry, DISK, ARCHIVE, wait_s=0, grace_s=0).is_done
        seal_log(registry)
        assert [] == paths_of(home, DISK, ObjectKind.SEGMENT)

    with on_two_backends(home, "new.db") as rebuilt:
        report = rebuild(rebuilt)

        assert (2, 1, True) == (report.segments, report.packages, report.is_whole)
        assert FILES == fetch(rebuilt, package_id, tmp_path / "back")
        replay_is_exact(rebuilt)
