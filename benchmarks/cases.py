"""What is measured for a workload: each case with how it is prepared, what must be warm, and how it is run.

A case's name says who does what: ``floor …``, ``ours …`` (the library, in-process), ``command …`` (our command line, as
a whole process), ``borg …``, ``restic …``, ``beside …`` (reported, nothing is divided by it).
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.commands import IMPORT_LINE, PEERS, artifactstore, copy_and_sync, imports, record
from benchmarks.processes import ask, memory_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.commands import Peer
    from benchmarks.data import Dataset
    from benchmarks.processes import Measures

OURS, FLOORS, CATALOGS = "benchmarks.ours", "benchmarks.floors", "benchmarks.catalogs"
FULL_CATALOG_BLOBS, QUICK_CATALOG_BLOBS = 1_000_000, 2_000
_PACKED_BELOW_BYTES = 1024 * 1024


def _nothing(_: Path) -> None:
    """No preparation."""


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is measured. ``prepare`` and ``run`` are given a fresh, empty scratch directory on disk."""

    name: str
    what: str
    run: Callable[[Path], Measures]
    prepare: Callable[[Path], object] = _nothing
    warm: tuple[Path, ...] = ()
    floors: tuple[str, ...] = ()
    """The cases whose sum this one is divided by in the tables; none, if nothing is comparable."""
    most_repeats: int | None = None
    """For what takes long and is only reported."""


@dataclass(slots=True)
class Stores:
    """Stores made once and copied, or read, by the cases that need one that is not empty."""

    work: Path
    seed: int
    catalog_blobs: int
    _packages: dict[str, str] = field(default_factory=dict)

    def empty(self) -> Path:
        """A home that has just been created."""
        home = self.work / "stores" / "empty"
        if not home.exists():
            ask(OURS, "prepare", home=home)
        return home

    def home_of(self, data: Dataset) -> Path:
        """Where ``holding`` puts it."""
        return self.work / "stores" / data.name

    def holding(self, data: Dataset) -> str:
        """Make a home that holds a workload, once; answers the package's id."""
        if data.name not in self._packages:
            home = self.home_of(data)
            shutil.rmtree(home, ignore_errors=True)
            shutil.copytree(self.empty(), home)
            _, words = ask(OURS, "ingest", home=home, source=data.folder, external_id=data.name)
            self._packages[data.name] = words["package_id"]
        return self._packages[data.name]

    def full(self) -> Path:
        """A home whose catalog holds many blobs already."""
        home = self.work / "stores" / f"full-{self.catalog_blobs}"
        if not home.exists():
            ask(CATALOGS, "fill", home=home, count=self.catalog_blobs, seed=self.seed)
        return home


def cases_of(data: Dataset, stores: Stores, before: Dataset | None) -> list[Case]:
    """Every case of a workload; ``before`` is the one it follows, already in the store."""
    if before is not None:
        return list(_following(data, stores, before))
    found = [
        *_floors(data, stores),
        *_ours(data, stores),
        *_commands(data, stores),
        *_peers(data),
        *_beside(data, stores),
    ]
    if data.name == "W1":
        found += _only_with_w1(data, stores)
    if data.name == "W3":
        found.append(_into_full(data, stores))
    return found


# floors


def _floors(data: Dataset, stores: Stores) -> Iterator[Case]:
    source, objects = data.folder, stores.home_of(data) / "objects"
    yield Case(
        "floor ingest",
        "read, both hashes in two threads, one sequential file, one fsync",
        lambda scratch: _asked(FLOORS, "ingest", source=source, scratch=scratch),
        warm=(source,),
    )
    yield _hash_floor(data)
    yield Case(
        "floor verify",
        "read the stored objects, both hashes of each in two threads",
        lambda _: _asked(FLOORS, "verify", source=objects),
        lambda _: stores.holding(data),
        (objects,),
    )
    for medium, folder in _media():
        yield Case(
            f"floor write {medium}",
            f"create files of the same names and sizes, no sync, {medium}",
            partial(_written, data, folder),
        )


def _hash_floor(data: Dataset) -> Case:
    return Case(
        "floor hash",
        "read, both hashes in two threads",
        lambda _: _asked(FLOORS, "hash", source=data.folder),
        warm=(data.folder,),
    )


def _written(data: Dataset, folder: Path | None, scratch: Path) -> Measures:
    if folder is None:
        return _asked(FLOORS, "write", source=data.folder, target=scratch / "tree")
    with tempfile.TemporaryDirectory(prefix="artifactstore-bench-", dir=folder) as place:
        return _asked(FLOORS, "write", source=data.folder, target=Path(place) / "tree")


# the library


def _ours(data: Dataset, stores: Stores) -> Iterator[Case]:
    home = stores.home_of(data)
    yield Case(
        "ours ingest",
        "into an empty store, from the first look at a name to the receipt",
        partial(_ingested, data),
        partial(_copy_home, stores.empty),
        (data.folder,),
        ("floor ingest",),
    )
    yield Case(
        "ours re-ingest",
        "the same run again: no event, nothing written to storage (asserted)",
        lambda _: _asked(OURS, "reingest", home=home, source=data.folder, external_id=data.name),
        lambda _: stores.holding(data),
        (data.folder,),
        ("floor hash",),
    )
    yield Case(
        "ours verify",
        "every byte of the package read back and hashed",
        lambda _: _asked(OURS, "verify", home=home, package_id=stores.holding(data)),
        lambda _: stores.holding(data),
        (home / "objects",),
        ("floor verify",),
    )
    for medium, folder in _media():
        yield Case(
            f"ours get {medium}",
            f"every file written out, verified, {medium} (compared with the source afterwards)",
            partial(_got, data, stores, folder),
            lambda _: stores.holding(data),
            (home / "objects",),
            (f"floor write {medium}", "floor verify"),
        )


def _into_full(data: Dataset, stores: Stores) -> Case:
    return Case(
        "ours ingest into a full store",
        f"into a store that holds {stores.catalog_blobs:,} blobs already",
        partial(_ingested, data),
        partial(_copy_home, stores.full),
        (data.folder,),
        ("floor ingest",),
    )


def _ingested(data: Dataset, scratch: Path) -> Measures:
    measures = _asked(OURS, "ingest", home=scratch / "home", source=data.folder, external_id=f"{data.name}-again")
    return measures | {"changed_bytes": data.changed_bytes}


def _got(data: Dataset, stores: Stores, folder: Path | None, scratch: Path) -> Measures:
    if folder is None:
        return _got_at(data, stores, scratch / "tree")
    with tempfile.TemporaryDirectory(prefix="artifactstore-bench-", dir=folder) as place:
        return _got_at(data, stores, Path(place) / "tree")


def _got_at(data: Dataset, stores: Stores, target: Path) -> Measures:
    home, package_id = stores.home_of(data), stores.holding(data)
    return _asked(OURS, "get", home=home, package_id=package_id, target=target, source=data.folder)


# whole processes


def _commands(data: Dataset, stores: Stores) -> Iterator[Case]:
    home = stores.home_of(data)
    yield Case(
        "command push",
        "artifactstore push, into an empty store",
        partial(_pushed, data),
        partial(_copy_home, stores.empty),
        (data.folder,),
    )
    yield Case(
        "command push again",
        "artifactstore push of what is stored already",
        partial(_pushed, data),
        partial(_copy_home_and_push, stores.empty, data),
        (data.folder,),
    )
    yield Case(
        "command verify",
        "artifactstore verify of the package",
        lambda _: artifactstore("verify", stores.holding(data), home=home).measures,
        lambda _: stores.holding(data),
        (home / "objects",),
    )
    yield Case(
        "command get",
        "artifactstore get of the package, on disk",
        lambda scratch: artifactstore("get", stores.holding(data), "-o", str(scratch / "tree"), home=home).measures,
        lambda _: stores.holding(data),
        (home / "objects",),
    )


def _copy_home_and_push(home: Callable[[], Path], data: Dataset, scratch: Path) -> None:
    _copy_home(home, scratch)
    _pushed(data, scratch)


def _only_with_w1(data: Dataset, stores: Stores) -> Iterator[Case]:
    """The main job itself, and what a start costs: a small run is where it counts."""
    yield Case(
        "command guide-board ingest",
        "artifactstore guide-board ingest, into an empty store",
        lambda scratch: record("guide-board", "ingest", str(data.folder), home=scratch / "home"),
        partial(_copy_home, stores.empty),
        (data.folder,),
    )
    yield Case(
        "command first use",
        "artifactstore push where there is no store yet: it is created first",
        partial(_pushed, data),
        warm=(data.folder,),
    )
    yield Case(
        "command help",
        "artifactstore --help",
        lambda scratch: artifactstore("--help", home=scratch / "home").measures,
        partial(_copy_home, stores.empty),
    )
    yield Case("beside imports", f"python -c '{IMPORT_LINE}'", lambda _: imports())


def _pushed(data: Dataset, scratch: Path) -> Measures:
    arguments = ("--producer", "benchmark", "--external-id", "pushed")
    return record("push", str(data.folder), *arguments, home=scratch / "home")


def _peers(data: Dataset) -> Iterator[Case]:
    for peer in PEERS:
        yield Case(
            f"{peer.name} store",
            f"{peer.what}, into an empty repository",
            partial(_stored_by_peer, peer, data),
            partial(_create_repository, peer),
            (data.folder,),
        )


def _stored_by_peer(peer: Peer, data: Dataset, scratch: Path) -> Measures:
    return peer.at(scratch).store(data.folder, data.name)


def _create_repository(peer: Peer, scratch: Path) -> None:
    peer.at(scratch).create()


def _create_repository_holding(peer: Peer, data: Dataset, scratch: Path) -> None:
    peer.at(scratch).create().store(data.folder, data.name)


# reported, not divided by


def _beside(data: Dataset, stores: Stores) -> Iterator[Case]:
    objects = stores.home_of(data) / "objects"
    file_bytes = data.total_bytes // data.file_count
    yield Case(
        "beside cp",
        "cp -r, then one sync of the file system",
        lambda scratch: copy_and_sync(data.folder, scratch / "copy"),
        warm=(data.folder,),
    )
    if file_bytes < _PACKED_BELOW_BYTES:
        yield Case(
            "beside loose objects",
            "one object per file, each with its own fsync",
            lambda scratch: _asked(FLOORS, "loose", source=data.folder, scratch=scratch),
            warm=(data.folder,),
        )
        yield Case(
            "beside verify by file",
            "the verify floor with both hashes made anew for every piece as long as a file",
            lambda _: _asked(FLOORS, "verify", source=objects, piece_bytes=file_bytes),
            lambda _: stores.holding(data),
            (objects,),
        )


# a workload that follows another


def _following(data: Dataset, stores: Stores, before: Dataset) -> Iterator[Case]:
    def held() -> Path:
        stores.holding(before)
        return stores.home_of(before)

    yield _hash_floor(data)
    yield Case(
        "ours ingest",
        f"into a store that holds {before.name}",
        partial(_ingested, data),
        partial(_copy_home, held),
        (data.folder,),
        ("floor hash",),
    )
    yield Case(
        "command push",
        f"artifactstore push, into a store that holds {before.name}",
        partial(_pushed, data),
        partial(_copy_home, held),
        (data.folder,),
    )
    for peer in PEERS:
        yield Case(
            f"{peer.name} store",
            f"{peer.what}, into a repository that holds {before.name}",
            partial(_stored_by_peer, peer, data),
            partial(_create_repository_holding, peer, before),
            (data.folder,),
        )


# what they share


def _asked(module: str, do: str, **request: str | int | Path) -> Measures:
    return ask(module, do, **request)[0]


def _copy_home(home: Callable[[], Path], scratch: Path) -> None:
    shutil.copytree(home(), scratch / "home")


def _media() -> list[tuple[str, Path | None]]:
    """Where files are written out: memory, if there is such a file system, and the work folder's disk (None)."""
    memory = memory_folder()
    return [*([("on tmpfs", memory)] if memory else []), ("on disk", None)]
