"""108 damages of 16 kinds are planted: each is found, nothing else is, and all that has a good copy is healed."""

from __future__ import annotations

import os
import random
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.errors import ArtifactStoreError
from artifactstore.registry.copying import copy_backend
from artifactstore.registry.healing import heal_all
from artifactstore.registry.ingest import ingest
from artifactstore.registry.reconciling import Kind, reconcile
from artifactstore.registry.sealing import seal_log
from artifactstore.registry.verify import verify_all
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import package_draft, some_bytes
from tests.support import event_types, flip_byte, overwrite, replay_is_exact
from tests.two_backends import ARCHIVE, DISK, paths_of, two_directories

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry

PACKAGES = 45
SEEDS = range(5) if os.environ.get("LONG") else range(1)


def files_of(number: int) -> dict[str, bytes]:
    small = {f"{each}.txt": b"%d-%d " % (number, each) * 20 for each in range(20)}
    return {**small, "large.bin": some_bytes(3_000, seed=number)}


@pytest.fixture
def store(home: Path) -> Iterator[Registry]:
    with closing(open_registry(Settings.from_environment(two_directories(home)), actor="local:tester")) as registry:
        small = replace(registry, pack_threshold_bytes=1_000)
        for number in range(PACKAGES):
            ingest(small, package_draft(files_of(number), external_id=f"run-{number}"))
        seal_log(small)
        copy_backend(small, DISK, ARCHIVE)
        yield small


def flip(path: Path, chance: random.Random) -> None:
    flip_byte(path, chance.randrange(path.stat().st_size))


def cut(path: Path, chance: random.Random) -> None:
    overwrite(path, path.read_bytes()[: chance.randrange(path.stat().st_size)])


def extend(path: Path, chance: random.Random) -> None:
    overwrite(path, path.read_bytes() + chance.randbytes(chance.randrange(1, 100)))


def zero(path: Path, _: random.Random) -> None:
    overwrite(path, bytes(path.stat().st_size))


def delete(path: Path, _: random.Random) -> None:
    path.unlink()


def make_unreadable(path: Path, _: random.Random) -> None:
    """Whoever is root may read any file; nobody reads a pipe."""
    path.unlink()
    os.mkfifo(path)


def make_link(path: Path, _: random.Random) -> None:
    elsewhere = path.parents[5] / path.name
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def make_directory(path: Path, _: random.Random) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: list[tuple[Callable[[Path, random.Random], None], int, tuple[ObjectKind, ...]]] = [
    (flip, 20, (ObjectKind.PACK, ObjectKind.BLOB)),
    (cut, 10, (ObjectKind.PACK, ObjectKind.BLOB)),
    (extend, 10, (ObjectKind.PACK, ObjectKind.BLOB)),
    (zero, 5, (ObjectKind.PACK, ObjectKind.BLOB)),
    (delete, 10, (ObjectKind.PACK, ObjectKind.BLOB)),
    (make_unreadable, 5, (ObjectKind.PACK, ObjectKind.BLOB)),
    (make_link, 3, (ObjectKind.PACK, ObjectKind.BLOB)),
    (make_directory, 2, (ObjectKind.PACK, ObjectKind.BLOB)),
    (flip, 9, (ObjectKind.MANIFEST,)),
    (flip, 1, (ObjectKind.SEGMENT,)),
]
SWAPS = 5


def plant(home: Path, chance: random.Random) -> set[str]:
    """The objects that are damaged now, each by one thing."""
    damaged: list[Path] = []

    def sound(kinds: tuple[ObjectKind, ...]) -> Path:
        candidates = [path for kind in kinds for path in paths_of(home, DISK, kind) if path not in damaged]
        damaged.append(path := chance.choice(candidates))
        return path

    for _ in range(SWAPS):
        one, other = sound((ObjectKind.BLOB,)), sound((ObjectKind.BLOB,))
        data = one.read_bytes()
        overwrite(one, other.read_bytes())
        overwrite(other, data)
    for damage, count, kinds in DAMAGE:
        for _ in range(count):
            damage(sound(kinds), chance)
    assert 80 == sum(count for _, count, _ in DAMAGE) + SWAPS
    return {path.relative_to(home / DISK).as_posix() for path in damaged}


def contents(home: Path, backend: str) -> dict[str, bytes]:
    return {
        path.relative_to(home / backend).as_posix(): path.read_bytes()
        for kind in ObjectKind
        for path in paths_of(home, backend, kind)
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_80_damages_in_storage_are_found_nothing_else_is_and_all_are_healed(
    store: Registry, home: Path, seed: int
) -> None:
    before, copies = contents(home, DISK), contents(home, ARCHIVE)
    planted = plant(home, random.Random(seed))

    compared = reconcile(store, limit=10_000)
    found = verify_all(store)
    healed = heal_all(store)

    seen_without_reading = {each.path for each in compared.differences if each.kind is not Kind.FOREIGN}
    assert planted == {damage.object_key for damage in found.damage}
    assert {DISK} == {damage.backend for damage in found.damage}
    assert seen_without_reading <= planted
    assert 85 == len(planted) == healed.objects
    assert [] == healed.not_healed
    assert before == contents(home, DISK)
    assert copies == contents(home, ARCHIVE)
    assert [] == verify_all(store).damage
    replay_is_exact(store)


def test_what_has_a_good_copy_is_healed_and_the_rest_is_named_and_left(store: Registry, home: Path) -> None:
    chance = random.Random(7)
    before = contents(home, DISK)
    planted = plant(home, chance)
    without_copy = set(chance.sample(sorted(path for path in planted if path.startswith("blobs/")), 8))
    for path in without_copy:
        overwrite(home / ARCHIVE / path, bytes((home / ARCHIVE / path).stat().st_size))
    verify_all(store)
    damaged, copies = contents_or_nothing(home, DISK, without_copy), contents(home, ARCHIVE)

    healed = heal_all(store)

    named = {damage.object_key for damage in healed.not_healed}
    assert without_copy == named
    assert copies == contents(home, ARCHIVE)
    assert damaged == contents_or_nothing(home, DISK, without_copy)
    others = before.keys() - without_copy
    assert {path: before[path] for path in others} == contents_or_nothing(home, DISK, others)
    replay_is_exact(store)


def contents_or_nothing(home: Path, backend: str, paths: set[str]) -> dict[str, bytes | None]:
    """Of files; what is none has no bytes."""
    found = {path: home / backend / path for path in sorted(paths)}
    return {
        path: place.read_bytes() if place.is_file() and not place.is_symlink() else None
        for path, place in found.items()
    }


def test_a_store_without_damage_gives_no_alarm(store: Registry) -> None:
    events = event_types(store)

    for _ in range(10):
        assert reconcile(store, limit=10).is_clean
        assert [] == verify_all(store).damage
        assert 0 == heal_all(store).objects

    assert events == event_types(store)


ROWS = {
    "a package's external id": "UPDATE package SET external_id = 'other' WHERE id = 3",
    "a package's size": "UPDATE package SET total_bytes = total_bytes + 1 WHERE id = 4",
    "a package's expiry": "UPDATE package SET expires_at = expires_at + 1 WHERE id = 5",
    "a package that is gone": "DELETE FROM package_file WHERE package = 6",
    "a file's path": "UPDATE package_file SET path = 'zzz' WHERE package = 7 AND file_index = 3",
    "a file's blob": "UPDATE package_file SET blob_id = 1 WHERE package = 8 AND file_index = 3",
    "a blob's SHA-256": "UPDATE blob SET sha256 = (SELECT sha256 FROM blob WHERE id = 1) WHERE id = 9",
    "a blob's size": "UPDATE blob SET size_bytes = size_bytes + 1 WHERE id = 10",
    "where a blob begins": "UPDATE blob_location SET start = start + 1 WHERE blob_id = 11",
    "an object that is gone": "UPDATE stored_object SET backend = 'elsewhere' WHERE id = 12",
}
EVENTS = {
    "a payload": "UPDATE event SET payload = payload || x'00' WHERE seq = {seq}",
    "an actor": "UPDATE event SET actor = 'local:other' WHERE seq = {seq}",
    "a time": "UPDATE event SET at = at + 1 WHERE seq = {seq}",
    "a header": "UPDATE event SET header = header || x'00' WHERE seq = {seq}",
    "one that is removed": "DELETE FROM event WHERE seq = {seq}",
    "two that are exchanged": "UPDATE event SET seq = -1 WHERE seq = {seq}; UPDATE event SET seq = {seq}"
    " WHERE seq = {seq} + 1; UPDATE event SET seq = {seq} + 1 WHERE seq = -1",
}
SEQS = (1, 57, 130)
TAMPERED = {**ROWS, **{f"{what} of event {seq}": sql.format(seq=seq) for what, sql in EVENTS.items() for seq in SEQS}}


def test_28_changes_of_rows_and_events_are_found_each_by_itself(home: Path) -> None:
    settings = Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)})
    with closing(open_registry(settings, actor="local:tester")) as registry:
        small = replace(registry, pack_threshold_bytes=1_000)
        for number in range(PACKAGES):
            ingest(small, package_draft(files_of(number), external_id=f"run-{number}"))
    sound = {path.name: path.read_bytes() for path in home.glob("artifactstore.db*")}

    unnoticed = []
    for what, sql in TAMPERED.items():
        for path in home.glob("artifactstore.db*"):
            path.unlink()
        for name, data in sound.items():
            (home / name).write_bytes(data)
        with closing(open_registry(settings, actor="local:tester")) as registry:
            with registry.transaction() as tx:
                tx.connection.execute("PRAGMA defer_foreign_keys = ON")
                for statement in sql.split(";"):
                    tx.connection.execute(statement)
            try:
                replay_is_exact(registry)
            except ArtifactStoreError:
                continue
            unnoticed.append(what)

    assert (28, []) == (len(TAMPERED), unnoticed)
