"""Directories that nobody here made: every byte back, unzip agrees, the second push is reused."""

from __future__ import annotations

import os
import subprocess
import sysconfig
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from blake3 import blake3

from artifactstore.domain.media_type import media_type_of
from artifactstore.domain.package import DEFAULT_ROLE, FileDraft, PackageDraft
from artifactstore.domain.retention import RetentionClass
from artifactstore.errors import LinkInvalidError
from artifactstore.registry.directory import DirectoryTree
from artifactstore.registry.files import get_package
from artifactstore.registry.ingest import ingest
from artifactstore.registry.verify import verify_package
from artifactstore.storage.port import ObjectKind
from tests.support import objects_of_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from artifactstore.registry.registry import Registry


def standard_library(folder: Path) -> Path:
    return Path(sysconfig.get_path("stdlib"))


def site_packages(folder: Path) -> Path:
    return Path(sysconfig.get_path("purelib"))


def git_checkout(folder: Path) -> Path:
    repository = folder / "checkout"
    clone = ["git", "clone", "--quiet", "--no-hardlinks", str(Path(__file__).parents[2]), str(repository)]
    subprocess.run(clone, check=True, capture_output=True, timeout=120)
    return repository


@contextmanager
def draft_of(folder: Path) -> Iterator[PackageDraft]:
    """Every file, links to files included; what leaves the directory (its own tests refuse that) is left out here.

    Byte code is left out, because running tests writes it; other packages below a standard library are, too.
    """
    with DirectoryTree(folder) as tree:
        yield PackageDraft("tester", tuple(_files(folder, tree)), RetentionClass.RAW_EVIDENCE, external_id="tree")


def _files(folder: Path, tree: DirectoryTree) -> Iterator[FileDraft]:
    for above, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in {"__pycache__", "site-packages", "dist-packages"}]
        for name in names:
            path = (Path(above) / name).relative_to(folder).as_posix()
            with suppress(LinkInvalidError):
                if (file := tree.file(path)) is not None:
                    yield FileDraft(path, file, DEFAULT_ROLE, media_type_of(path))


@pytest.fixture
def out() -> Iterator[Path]:
    """In memory where there is such a place: writing thousands of files is not what is tested."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with TemporaryDirectory(dir=memory) as folder:
        yield Path(folder) / "out"


@pytest.mark.parametrize("make", [standard_library, site_packages, git_checkout])
def test_a_tree_that_nobody_here_made(
    registry: Registry, home: Path, tmp_path: Path, out: Path, make: Callable[[Path], Path]
) -> None:
    folder = make(tmp_path)

    with draft_of(folder) as draft:
        receipt = ingest(registry, draft)
        again = ingest(registry, draft)

    print(f"{make.__name__}: {receipt.file_count} files, {receipt.total_bytes} bytes")
    assert receipt.file_count == get_package(registry, receipt.package_id, out)
    differing = [
        file.path for file in draft.files if (folder / file.path).read_bytes() != (out / file.path).read_bytes()
    ]
    assert [] == differing
    assert (again.reused_existing, again.package_id) == (True, receipt.package_id)
    assert [] == verify_package(registry, receipt.package_id).damage
    for pack in objects_of_kind(home, ObjectKind.PACK):
        with zipfile.ZipFile(pack) as archive:
            assert archive.testzip() is None
            assert all(blake3(archive.read(name)).hexdigest() == name for name in archive.namelist())
