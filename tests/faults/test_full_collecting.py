"""A real file system that is full while collection makes packs smaller: dead bytes go, nothing else does."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.errors import StorageFullError
from artifactstore.registry.applying import apply_plan
from artifactstore.registry.collecting import collect, space
from artifactstore.registry.planning import make_plan
from artifactstore.registry.verify import verify_all
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import some_bytes
from tests.faults.support import tmpfs
from tests.retention import expire, push, without_grace
from tests.support import event_types, fetch, replay_is_exact

if TYPE_CHECKING:
    from pathlib import Path

DISK_BYTES = 16 * 2**20
PACKED = {f"small-{number}": some_bytes(100_000, number) for number in range(60)}
KEPT = dict(list(PACKED.items())[:20])
LARGE = {"large.bin": some_bytes(2**20, 99)}


def fill(folder: Path, leave_bytes: int) -> Path:
    """A file that takes all room but so much."""
    filler = folder / "filler"
    free = os.statvfs(folder)
    filler.write_bytes(bytes(free.f_bavail * free.f_frsize - leave_bytes))
    return filler


@pytest.mark.parametrize("leave_bytes", [0, 64 * 1024, 1_000_000])
def test_a_disk_without_room_for_a_smaller_pack(tmp_path: Path, leave_bytes: int) -> None:
    disk = tmp_path / "disk"
    place = {"ARTIFACTSTORE_HOME": str(tmp_path / "home"), "ARTIFACTSTORE_STORAGE_URL": (disk / "objects").as_uri()}
    with (
        tmpfs(disk, size_bytes=DISK_BYTES, inodes=1_000),
        closing(open_registry(Settings.from_environment(place), actor="local:tester")) as opened,
    ):
        registry = without_grace(opened)
        push(registry, {**PACKED, **LARGE})
        expire(registry)
        kept = push(registry, KEPT, "run-2")
        apply_plan(registry, make_plan(registry).digest)
        filler = fill(disk, leave_bytes)

        with pytest.raises(StorageFullError):
            collect(registry, wait_s=0)

        assert "v1.pack.repacked" not in event_types(registry)
        assert 2 == event_types(registry).count("v1.object.deleted"), "the large blob and the manifest"
        assert [] == os.listdir(disk / "objects" / "staging")
        assert KEPT == fetch(registry, kept, tmp_path / "full")

        filler.unlink()
        assert collect(registry, wait_s=0).is_done
        assert KEPT == fetch(registry, kept, tmp_path / "out")
        assert [] == verify_all(registry).damage
        there = sum(info.size_bytes for kind in ObjectKind for info in registry.store.list(kind))
        left = space(registry, unrecorded=True).backends["default"]
        assert (there, there, 0) == (left.bytes_before, left.expected_bytes_after, left.unrecorded_objects)
        replay_is_exact(registry)
