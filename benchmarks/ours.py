"""Our own operations by the library. Run as a child: imports, opens the registry, times one operation, answers.

Every operation checks what it did before it answers: a benchmark of something that does not work is worth nothing.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.domain.media_type import media_type_of
from artifactstore.domain.package import DEFAULT_ROLE, FileDraft, PackageDraft, PackageReceipt
from artifactstore.domain.retention import RetentionClass
from artifactstore.registry.directory import DirectoryTree
from artifactstore.registry.files import get_package
from artifactstore.registry.ingest import ingest as ingest_draft
from artifactstore.registry.verify import verify_package
from benchmarks.processes import answer, peak_resident_bytes, resident_bytes, stopwatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.registry.registry import Registry
    from benchmarks.processes import Measures, Request

PRODUCER = "benchmark"
_CONTENT = ("packs", "blobs")


def prepare(request: Request) -> Measures:
    """A home that is created and empty, so that nobody's figures hold Alembic's."""
    open_home(str(request["home"])).close()
    return {}


def ingest(request: Request) -> tuple[Measures, dict[str, str]]:
    """A directory into a store, from the first look at a name to the receipt."""
    home, source, external_id = str(request["home"]), Path(str(request["source"])), str(request["external_id"])
    before, base_bytes = stored_bytes(home), resident_bytes()
    registry = open_home(home)
    with stopwatch() as measures:
        receipt = ingest_directory(registry, source, external_id)
    measures["memory_above_imports_bytes"] = peak_resident_bytes() - base_bytes
    registry.close()
    _expect(not receipt.reused_existing, "the package was there already")
    after = stored_bytes(home)
    measures |= {name: after[name] - before[name] for name in after}
    return measures, {"package_id": receipt.package_id}


def reingest(request: Request) -> Measures:
    """The same directory again: it must be reused, with no event and nothing written to storage."""
    home, source, external_id = str(request["home"]), Path(str(request["source"])), str(request["external_id"])
    base_bytes = resident_bytes()
    registry = open_home(home)
    before = _last_event(registry), _objects(home)
    with stopwatch() as measures:
        receipt = ingest_directory(registry, source, external_id)
    measures["memory_above_imports_bytes"] = peak_resident_bytes() - base_bytes
    _expect(receipt.reused_existing, "the package was not reused")
    _expect(before == (_last_event(registry), _objects(home)), "the repeated ingest left something behind")
    registry.close()
    return measures


def verify(request: Request) -> Measures:
    """Every byte of a package read back and hashed both ways."""
    base_bytes = resident_bytes()
    registry = open_home(str(request["home"]))
    with stopwatch() as measures:
        report = verify_package(registry, str(request["package_id"]))
    measures["memory_above_imports_bytes"] = peak_resident_bytes() - base_bytes
    registry.close()
    _expect(not report.damage, "verify found damage in a sound store")
    return measures


def get(request: Request) -> Measures:
    """A whole package written out, verified as it is written."""
    target = Path(str(request["target"]))
    base_bytes = resident_bytes()
    registry = open_home(str(request["home"]))
    with stopwatch() as measures:
        get_package(registry, str(request["package_id"]), target)
    measures["memory_above_imports_bytes"] = peak_resident_bytes() - base_bytes
    registry.close()
    check_same(Path(str(request["source"])), target)
    return measures


def open_home(home: str) -> Registry:
    """The store in a directory, created if need be."""
    return open_registry(Settings.from_environment({"ARTIFACTSTORE_HOME": home}))


def ingest_directory(registry: Registry, source: Path, external_id: str) -> PackageReceipt:
    """What ``artifactstore push`` does."""
    with drafts_in(source, max_files=registry.max_files) as files:
        return ingest_draft(registry, PackageDraft(PRODUCER, files, RetentionClass.RAW_EVIDENCE, external_id))


@contextmanager
def drafts_in(source: Path, *, max_files: int) -> Iterator[tuple[FileDraft, ...]]:
    """Every file of a directory, while it is open."""
    with DirectoryTree(source) as tree:
        found = tree.files(max_files=max_files)
        yield tuple(FileDraft(file.path, file, DEFAULT_ROLE, media_type_of(file.path)) for file in found)


def stored_bytes(home: str) -> dict[str, float]:
    """What a store holds, each kind by itself. To be asked while nobody has it open."""
    sizes = _objects(home)
    return {
        "content_bytes": sum(size for name, (size, _) in sizes.items() if name.partition("/")[0] in _CONTENT),
        "manifest_bytes": sum(size for name, (size, _) in sizes.items() if name.startswith("manifests/")),
        "object_count": len(sizes),
        "database_bytes": sum(path.stat().st_size for path in Path(home).glob("artifactstore.db*")),
    }


def check_same(source: Path, target: Path) -> None:
    """Raises unless both directories have the same files with the same bytes."""
    ours = {path.relative_to(target) for path in target.rglob("*") if path.is_file()}
    theirs = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    _expect(ours == theirs, "other files came back")
    _expect(all(_same_bytes(source / path, target / path) for path in theirs), "other bytes came back")


def _objects(home: str) -> dict[str, tuple[int, int]]:
    """Every file under the store's objects, with its size and time."""
    root = Path(home) / "objects"
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder) / name
            status = path.stat()
            found[path.relative_to(root).as_posix()] = status.st_size, status.st_mtime_ns
    return found


def _last_event(registry: Registry) -> int:
    with registry.catalog.snapshot() as queries:
        return queries.latest_seq()


def _same_bytes(one: Path, other: Path) -> bool:
    with one.open("rb") as left, other.open("rb") as right:
        while data := left.read(1024 * 1024):
            if data != right.read(len(data)):
                return False
        return not right.read(1)


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise AssertionError(otherwise)


if __name__ == "__main__":
    answer({"prepare": prepare, "ingest": ingest, "reingest": reingest, "verify": verify, "get": get})
