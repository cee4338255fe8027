"""The workloads: which files, how large, and their bytes, the same for the same seed.

W1 is a run as guide-board leaves it. The others' bytes are random, so nobody gains by deduplicating within a run; W6 is
W3 with every hundredth file changed.
"""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.testing.guide_board_runs import OPENCMIS_RUN, write_run

if TYPE_CHECKING:
    from pathlib import Path

SEED = 20261120
KIB, MIB = 1024, 1024 * 1024
_PIECE_BYTES = MIB

_RUN_LOG_BYTES = 493_000


class FileSpec(NamedTuple):
    """One file: its path, its size, and what its bytes are drawn from beside the seed."""

    path: str
    size_bytes: int
    origin: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """A workload's files on disk."""

    name: str
    what: str
    folder: Path
    file_count: int
    total_bytes: int
    changed_bytes: int
    """Bytes of the files that differ from the workload this one follows; all of them if it follows none."""
    follows: str | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload by its name: full size, and the size of a quick run."""

    name: str
    what: str
    count: int
    size_bytes: int
    quick_count: int
    quick_size_bytes: int
    follows: str | None = None

    def files(self, *, quick: bool) -> list[FileSpec]:
        """Every file, in no order that matters."""
        if self.follows:
            return _changed(WORKLOADS[self.follows].files(quick=quick), self.name)
        count, size_bytes = (self.quick_count, self.quick_size_bytes) if quick else (self.count, self.size_bytes)
        if count <= 20:
            return [FileSpec(f"image-{n:02}.bin", size_bytes, self.name) for n in range(count)]
        return [FileSpec(_nested(n), size_bytes, self.name) for n in range(count)]

    def write(self, folder: Path, *, seed: int, quick: bool) -> None:
        """Every file below ``folder``. W1 is a run as guide-board leaves it, with logs that bring it to 1 MB."""
        if self.name == "W1":
            write_run(folder, replace(OPENCMIS_RUN, log_bytes=_RUN_LOG_BYTES), run_id="benchmark", seed=seed)
        else:
            _write_all(folder, self.files(quick=quick), seed)

    def changed_bytes(self, *, quick: bool) -> int:
        """Bytes of the files that the workload before it does not have."""
        return sum(file.size_bytes for file in self.files(quick=quick) if file.origin == self.name)


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("W1", "23 files, 1 MB in all: a guide-board run", 23, 43_478, 23, 43_478),
        Workload("W2", "1,000 files of 10 KB", 1_000, 10_000, 60, 10_000),
        Workload("W3", "10,000 files of 4 KiB in nested folders", 10_000, 4 * KIB, 200, 4 * KIB),
        Workload("W4", "one file of 2 GiB", 1, 2048 * MIB, 1, 12 * MIB),
        Workload("W5", "20 files of 64 MiB", 20, 64 * MIB, 3, 3 * MIB),
        Workload("W6", "W3 again, 1 % of its files changed, under a new run id", 10_000, 4 * KIB, 200, 4 * KIB, "W3"),
    )
}


def dataset(workload: Workload, work: Path, *, seed: int, quick: bool) -> Dataset:
    """The workload's files below ``work``, written now unless they are there already."""
    folder = work / "data" / workload.name
    marker = folder.with_suffix(".json")
    made_from = json.dumps({"seed": seed, "quick": quick})
    if not marker.exists() or marker.read_text() != made_from:
        shutil.rmtree(folder, ignore_errors=True)
        workload.write(folder, seed=seed, quick=quick)
        marker.write_text(made_from)
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return Dataset(
        name=workload.name,
        what=workload.what,
        folder=folder,
        file_count=len(sizes),
        total_bytes=sum(sizes),
        changed_bytes=workload.changed_bytes(quick=quick) if workload.follows else sum(sizes),
        follows=workload.follows,
    )


def _nested(n: int) -> str:
    return f"part-{n // 1000:02}/case-{n // 50 % 20:02}/item-{n:05}.json"


def _changed(files: list[FileSpec], origin: str) -> list[FileSpec]:
    return [file._replace(origin=origin) if n % 100 == 50 else file for n, file in enumerate(files)]


def _write_all(folder: Path, files: list[FileSpec], seed: int) -> None:
    for file in files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        numbers = random.Random(f"{seed}/{file.origin}/{file.path}")
        with path.open("wb") as output:
            for at in range(0, file.size_bytes, _PIECE_BYTES):
                output.write(numbers.randbytes(min(_PIECE_BYTES, file.size_bytes - at)))
