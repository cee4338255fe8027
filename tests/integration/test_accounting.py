"""What is counted is what a recount says, after anything that can happen, whoever else is writing."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.bootstrap import open_registry
from artifactstore.catalog import usage
from artifactstore.catalog.contributions import branches
from artifactstore.catalog.upgrade import migrate
from artifactstore.config import Settings
from artifactstore.domain.collection import CollectionPolicy
from artifactstore.domain.retention import RetentionClass
from artifactstore.registry.applying import apply_plan
from artifactstore.registry.collecting import collect, space
from artifactstore.registry.copying import copy_backend
from artifactstore.registry.ingest import ingest
from artifactstore.registry.planning import make_plan
from artifactstore.registry.registry import DEFAULT_BACKEND
from artifactstore.registry.sealing import seal_log
from artifactstore.registry.verify import verify_all
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import package_draft, some_bytes
from tests.at_once import at_once
from tests.counted import assert_counted
from tests.first_version import take_back_to_0001
from tests.retention import FILES, delete_all_expired, expire, push, soon_over
from tests.service import settings_of
from tests.support import flip_byte, objects_of_kind, replay_is_exact, stored_objects
from tests.two_backends import ARCHIVE, DISK, settings_from, two_directories

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.registry.registry import Registry

PRODUCERS = ("red", "green", "blue")
CONTENTS = {"0": b"", "1": b"1", "2": some_bytes(700, 2), "3": some_bytes(3_000, 3), "4": some_bytes(9_000, 4)}
FEW_FILES = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(sorted(CONTENTS)), min_size=1)
STEPS = st.one_of(
    st.tuples(st.just("push"), st.sampled_from(PRODUCERS), FEW_FILES, st.booleans()),
    st.tuples(st.sampled_from(["delete", "collect", "copy", "seal", "lose"])),
)


@pytest.fixture
def registry(home: Path, database: dict[str, str]) -> Iterator[Registry]:
    """A store whose readers are given no time; its counters and its tables are exact when the test is over."""
    with closing(open_registry(Settings.from_environment({"ARTIFACTSTORE_HOME": str(home), **database}))) as opened:
        yield replace(opened, collection=CollectionPolicy(grace_s=0, repack_percent=1))
        assert_counted(opened)
        replay_is_exact(opened)


def put(registry: Registry, files: dict[str, bytes], name: str, producer: str, *, for_long: bool = False) -> str:
    """A package that is past its retention as soon as it is there, or not soon."""
    kind = RetentionClass.RAW_EVIDENCE if for_long else RetentionClass.TRANSIENT
    draft = replace(package_draft(files, external_id=name), producer=producer, retention_class=kind)
    return ingest(soon_over(registry), draft).package_id


def of(registry: Registry, producer: str) -> usage.ProducerUsageRecord:
    with registry.catalog.snapshot() as queries:
        (found,) = usage.of_producers(queries.connection, [producer], limit=1)
    return found


class TestBytes:
    def test_content_of_one_producer_is_its_own_however_often_it_has_it(self, registry: Registry) -> None:
        put(registry, {"a": b"123", "b": b"123"}, "one", "red")
        put(registry, {"c": b"123", "d": b"45"}, "two", "red")

        assert ("red", 2, 4, 11, 5, 0) == of(registry, "red")

    def test_content_of_two_is_shared_until_one_of_them_has_it_no_more(self, registry: Registry) -> None:
        put(registry, {"a": b"123", "b": b"4"}, "one", "red")
        put(registry, {"c": b"123"}, "two", "green", for_long=True)
        shared = of(registry, "red"), of(registry, "green")

        delete_all_expired(registry)

        assert (("red", 1, 2, 4, 1, 3), ("green", 1, 1, 3, 0, 3)) == shared
        assert (("red", 0, 0, 0, 0, 0), ("green", 1, 1, 3, 3, 0)) == (of(registry, "red"), of(registry, "green"))

    def test_of_a_package_it_is_said_what_no_other_has(self, registry: Registry) -> None:
        one = put(registry, {"a": b"123", "b": b"4", "again": b"4"}, "one", "red")
        put(registry, {"c": b"123"}, "two", "red")

        with registry.catalog.snapshot() as queries:
            package = queries.package(one)
            assert package is not None
            assert (1, 3) == usage.of_package(queries.connection, package.row_id)

    def test_what_lies_in_a_backend_is_what_its_directory_holds(self, registry: Registry, home: Path) -> None:
        push(registry)
        delete_all_expired(registry)

        with registry.catalog.snapshot() as queries:
            found = usage.of_backend(queries.connection, DEFAULT_BACKEND)

        files = stored_objects(home)
        assert (len(files), sum(map(len, files.values()))) == (found.objects, found.size_bytes)
        assert space(registry).backends[DEFAULT_BACKEND].dead_bytes == found.dead_object_bytes > 0


def test_segments_of_the_log_are_never_collected(registry: Registry, home: Path) -> None:
    push(registry)
    seal_log(registry)
    sealed = objects_of_kind(home, ObjectKind.SEGMENT)

    report = collect(registry, wait_s=0, unrecorded=True)

    assert sealed
    assert sealed == objects_of_kind(home, ObjectKind.SEGMENT)
    assert 0 == report.backends[DEFAULT_BACKEND].dead_objects


def test_a_database_of_before_counts_what_it_holds_when_it_is_upgraded(home: Path) -> None:
    with closing(open_registry(settings_of(home))) as made:
        push(made, name="one", producer="red")
        push(made, {**FILES, "own": b"green"}, name="two", producer="green")
        seal_log(made)
    with closing(sqlite3.connect(home / "artifactstore.db", isolation_level=None)) as connection:
        take_back_to_0001(connection.execute)
        migrate(connection, *branches())

    with closing(open_registry(settings_of(home))) as again:
        assert_counted(again)
        replay_is_exact(again)


@settings(max_examples=25, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=10))
def test_after_every_step_a_recount_says_the_same(steps: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with closing(open_registry(settings_from(two_directories(home)))) as opened:
            registry = replace(opened, collection=CollectionPolicy(grace_s=0, repack_percent=1))
            for number, step in enumerate(steps):
                take(registry, home, step, number)
                assert_counted(registry)
            replay_is_exact(registry)


def take(registry: Registry, home: Path, step: tuple[Any, ...], number: int) -> None:
    """One step."""
    match step:
        case ("push", producer, files, for_long):
            contents = {path: CONTENTS[key] for path, key in files.items()}
            put(registry, contents, f"run-{number}", producer, for_long=for_long)
        case ("delete",):
            delete_all_expired(registry)
        case ("collect",):
            expected = {name: each.expected_bytes_after for name, each in space(registry).backends.items()}
            after = collect(registry, wait_s=0).backends
            assert expected == {name: each.bytes_after for name, each in after.items()}
        case ("copy",):
            copy_backend(registry, DISK, ARCHIVE)
        case ("seal",):
            seal_log(registry)
        case _:
            for pack in sorted((home / DISK / "packs").rglob("*.zip"))[:1]:
                flip_byte(pack, 100)
                verify_all(registry)


def test_many_at_once_who_write_delete_and_collect_are_counted_exactly(registry: Registry) -> None:
    for n in range(4):
        put(registry, shared_files(n), f"old-{n}", PRODUCERS[n % 3])
    expire(registry)
    plan = make_plan(registry).digest

    def act(n: int) -> object:
        if n < 8:
            return put(registry, shared_files(n), f"new-{n}", PRODUCERS[n % 3], for_long=True)
        return apply_plan(registry, plan) if n == 8 else collect(registry, wait_s=0)

    answers = at_once(10, act)

    assert [] == [answer for answer in answers if isinstance(answer, BaseException)]
    assert_counted(registry)
    collect(registry, wait_s=0)


def shared_files(n: int) -> dict[str, bytes]:
    """Most of them others have too, in another order."""
    some = {f"f{i}": some_bytes(300 + i, i) for i in range(n % 3, 40, 1 + n % 2)}
    return {**some, "own": b"%d" % n, "large": some_bytes(2**20, 5)}
