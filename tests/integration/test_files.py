"""Handing files back."""

from __future__ import annotations

import io
import os
import stat
from typing import TYPE_CHECKING

import pytest

from artifactstore.errors import (
    DestinationExistsError,
    DestinationInvalidError,
    FileUnknownError,
    PackageDeletedError,
    PackageUnknownError,
)
from artifactstore.registry.applying import apply_plan
from artifactstore.registry.downloads import archive
from artifactstore.registry.files import get_file, get_package, send_file
from artifactstore.registry.ingest import ingest
from artifactstore.registry.planning import make_plan
from artifactstore.testing.builders import package_draft, some_bytes
from tests.retention import expire, push
from tests.support import fetch, tree_contents

if TYPE_CHECKING:
    from pathlib import Path

    from artifactstore.registry.registry import Registry

FILES = {"a/b/c.txt": b"deep", "top": b"", "large": some_bytes(9 * 2**20)}


@pytest.fixture
def package_id(registry: Registry) -> str:
    return ingest(registry, package_draft(FILES)).package_id


def test_a_package_comes_back_whole(registry: Registry, package_id: str, tmp_path: Path) -> None:
    assert fetch(registry, package_id, tmp_path / "out") == FILES
    assert sorted(os.listdir(tmp_path)) == ["home", "out"]


def test_nothing_is_overwritten(registry: Registry, package_id: str, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir(mode=0o700)

    with pytest.raises(DestinationExistsError):
        get_package(registry, package_id, tmp_path / "full")
    with pytest.raises(DestinationExistsError):
        get_package(registry, package_id, tmp_path / "empty")
    with pytest.raises(DestinationExistsError):
        get_file(registry, package_id, "top", tmp_path / "file")

    assert {path: data for path, data in tree_contents(tmp_path).items() if not path.startswith("home")} == {
        "full/mine": b"mine",
        "file": b"mine",
    }


@pytest.mark.parametrize("target", ["nowhere", "elsewhere"])
def test_a_link_at_the_destination_is_never_followed(
    registry: Registry, package_id: str, tmp_path: Path, target: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / target)

    with pytest.raises(DestinationExistsError):
        get_package(registry, package_id, tmp_path / "out")
    with pytest.raises(DestinationExistsError):
        get_file(registry, package_id, "top", tmp_path / "out")

    assert os.listdir(tmp_path / "elsewhere") == []


def test_a_failure_leaves_nothing_behind(
    registry: Registry, package_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))

    with pytest.raises(Exception, match="No space left"):
        get_package(registry, package_id, tmp_path / "out")

    assert os.listdir(tmp_path) == ["home"]


def test_the_directory_above_must_exist(registry: Registry, package_id: str, tmp_path: Path) -> None:
    with pytest.raises(DestinationInvalidError):
        get_package(registry, package_id, tmp_path / "no" / "out")


def test_one_file_goes_to_a_stream(registry: Registry, package_id: str) -> None:
    for path, data in FILES.items():
        sink = io.BytesIO()

        assert len(data) == send_file(registry, package_id, path, sink)
        assert data == sink.getvalue()


def test_files_are_written_with_the_callers_permissions(registry: Registry, package_id: str, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        get_package(registry, package_id, tmp_path / "out")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "out" / "top").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o750


def test_unknown_names_are_said_to_be_unknown(registry: Registry, package_id: str, tmp_path: Path) -> None:
    with pytest.raises(FileUnknownError, match="'nope'"):
        get_file(registry, package_id, "nope", tmp_path / "out")
    with pytest.raises(PackageUnknownError, match="'nope'"):
        get_package(registry, "nope", tmp_path / "out")


def test_no_descriptor_is_left_open(registry: Registry, package_id: str, tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")

    fetch(registry, package_id, tmp_path / "out")

    assert len(before) == len(os.listdir("/proc/self/fd"))


class Deleting:
    """Deletes a package as soon as something of it was fetched."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.is_done = False

    def begin(self, what: str, total_bytes: int | None) -> None:
        pass

    def advance(self, count_bytes: int) -> None:
        if not self.is_done:
            self.is_done = True
            expire(self._registry)
            apply_plan(self._registry, make_plan(self._registry).digest)


def test_a_package_that_is_deleted_meanwhile_is_not_handed_out_in_part(registry: Registry, tmp_path: Path) -> None:
    package_id = push(registry, {f"{number}": b"%d" % number for number in range(1_001)})

    with pytest.raises(PackageDeletedError):
        get_package(registry, package_id, tmp_path / "out", progress=Deleting(registry))

    assert not (tmp_path / "out").exists()


def test_an_archive_of_a_package_that_is_deleted_meanwhile_breaks_off(registry: Registry) -> None:
    package_id = push(registry, {f"{number}": b"%d" % number for number in range(1_001)})
    pieces = archive(registry, package_id).pieces
    Deleting(registry).advance(0)

    with pytest.raises(PackageDeletedError):
        list(pieces)
