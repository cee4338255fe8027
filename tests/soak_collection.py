"""A process of the soak of collection: ``python -m tests.soak_collection ROLE LABEL SECONDS CYCLES FOLDER``.

The store is the one that its environment names. Writers store packages that stay and packages that end, most with
content that others have too, and place holds; a deleter plans and applies; a collector collects every two seconds;
readers read what was acknowledged. What a writer was answered it notes in FOLDER, line by line, and only after the
answer; what it is about to let go, before. All go on for so many seconds and until so many collections are done. At the
end a process prints what it has counted.
"""

from __future__ import annotations

import io
import json
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from artifactstore.bootstrap import open_registry
from artifactstore.domain.collection import CollectionPolicy
from artifactstore.domain.retention import RetentionClass
from artifactstore.errors import ConcurrentUpdateError, DutyRunningError, PackageDeletedError, PackageStateError
from artifactstore.registry import collecting
from artifactstore.registry.applying import apply_plan
from artifactstore.registry.finalizing import finalize
from artifactstore.registry.ingest import ingest
from artifactstore.registry.open_packages import open_package
from artifactstore.registry.planning import make_plan
from artifactstore.registry.progress import SILENT
from artifactstore.registry.receiving import Announced, receive_file
from artifactstore.registry.retention import place_hold, release_hold
from artifactstore.registry.store_duties import collect_now
from artifactstore.testing.builders import package_draft, some_bytes
from tests.ledger import LONG
from tests.retention import expire, soon_over
from tests.support import fetch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from artifactstore.domain.package import PackageDraft
    from artifactstore.registry.registry import Registry

T = TypeVar("T")

COLLECT_EVERY_S = 1.9
"""So that ten minutes have more than 300 collections."""
GRACE_S = 3
"""What readers have: as long as the slowest of them may need for one small package on a busy machine."""
_PAUSE_S = 0.5 if LONG else 0.25
_ENOUGH = "enough collections"
_CATCHES_UP_S = 20
_SHARED = 60
_LARGE_BYTES = 2**20


def files_of(name: str) -> dict[str, bytes]:
    """Ten files: three of some that many packages share, and now and then a large one, shared or not."""
    drawn = random.Random(name)
    files = {f"own/{number}": drawn.randbytes(800) for number in range(7)}
    files |= {f"shared/{number}": some_bytes(900, number) for number in drawn.sample(range(_SHARED), 3)}
    if drawn.random() < 0.15:
        files["large.bin"] = some_bytes(_LARGE_BYTES, drawn.randrange(4))
    if drawn.random() < 0.05:
        files["own.bin"] = drawn.randbytes(_LARGE_BYTES + 7)
    return files


def stays(name: str) -> bool:
    """Whether a package of this name is one that is kept for ever."""
    return random.Random(f"{name} stays").random() < 0.3


@dataclass
class Ledger:
    """What writers have noted, as far as it was read."""

    names: dict[str, str] = field(default_factory=dict)
    """Every acknowledged package, and the name that its files follow from."""
    held: set[str] = field(default_factory=set)
    _read: Counter[Path] = field(default_factory=Counter)

    def read_on(self, folder: Path) -> None:
        """Take in what was noted since."""
        for path in sorted(folder.glob("*.jsonl")):
            with path.open("rb") as file:
                file.seek(self._read[path])
                lines = [line for line in file if line.endswith(b"\n")]
            self._read[path] += sum(map(len, lines))
            for line in lines:
                self._take(*json.loads(line))

    def must_be_there(self, package_id: str) -> bool:
        """Whether nobody may delete it."""
        return stays(self.names[package_id]) or package_id in self.held

    def _take(self, what: str, package_id: str, name: str) -> None:
        if what == "stored":
            self.names[package_id] = name
        elif what == "held":
            self.held.add(package_id)
        else:
            self.held.discard(package_id)


class _Process:
    def __init__(self, registry: Registry, label: str, seconds: float, cycles: int, folder: Path) -> None:
        self.counted = Counter[str]()
        self._registry = registry
        self._label = label
        self._folder = folder
        self._cycles = cycles
        self._until = time.monotonic() + seconds
        self._at_latest = time.monotonic() + 3 * seconds
        self._drawn = random.Random()

    # writers

    def write(self) -> None:
        """One package after the other; now and then a hold, which now and then is released later."""
        held: list[tuple[str, str]] = []
        with (self._folder / f"{self._label}.jsonl").open("a", buffering=1) as self._notes:
            for number in self._turns(_PAUSE_S):
                name = f"{self._label}-{number}"
                package_id = self._store(name)
                self._note("stored", package_id, name)
                if not stays(name) and self._drawn.random() < 0.3:
                    self._hold(package_id, name, held)
                if len(held) > 3 and self._drawn.random() < 0.5:
                    self._release(*held.pop(self._drawn.randrange(len(held))))

    def _store(self, name: str) -> str:
        files = files_of(name)
        kept = RetentionClass.PERMANENT_RECORD if stays(name) else RetentionClass.TRANSIENT
        draft = replace(package_draft(files, external_id=name), retention_class=kept)
        in_pieces = self._drawn.random() < 0.3
        self.counted["stored in pieces" if in_pieces else "stored at once"] += 1
        if in_pieces:
            return self._in_pieces(replace(draft, files=()), files)
        return self._again(lambda: ingest(soon_over(self._registry), draft).package_id)

    def _in_pieces(self, draft: PackageDraft, files: dict[str, bytes]) -> str:
        registry = soon_over(self._registry)
        opened = self._again(lambda: open_package(registry, draft, None, as_revision=False, readable_producers=None))
        for path, data in files.items():
            self._again(
                lambda path=path, data=data: receive_file(  # type: ignore[misc]
                    registry, opened.package_id, Announced(path), io.BytesIO(data).read
                )
            )
        return self._again(lambda: finalize(registry, opened.package_id, readable_producers=None).package_id)

    def _hold(self, package_id: str, name: str, held: list[tuple[str, str]]) -> None:
        try:
            held.append((package_id, place_hold(self._registry, package_id, reason="needed")))
        except PackageStateError:
            self.counted["holds that came too late"] += 1
            return
        self._note("held", package_id, name)

    def _release(self, package_id: str, hold_id: str) -> None:
        self._note("released", package_id, "")
        release_hold(self._registry, package_id, hold_id, reason="not needed")
        self.counted["holds released"] += 1

    # those who delete

    def delete(self) -> None:
        """What is past its retention, by plans."""
        for _ in self._turns(1.0):
            expire(self._registry)
            report = apply_plan(self._registry, make_plan(self._registry).digest)
            self.counted += Counter(deleted=report.deleted, skipped=report.skipped, kept=report.kept, plans=1)

    def collect(self) -> None:
        """Everything that nothing refers to. These processes are on one host, so no lease is older than it says."""
        collecting.CLOCKS_DIFFER_BY_S = 0  # type: ignore[misc]
        policy = replace(self._registry, collection=CollectionPolicy(grace_s=GRACE_S))
        for number in self._turns(COLLECT_EVERY_S):
            try:
                report = collect_now(policy, wait_s=0, unrecorded=number % 5 == 4, progress=SILENT)
            except (ConcurrentUpdateError, DutyRunningError) as error:
                self.counted[f"refused: {type(error).__name__}"] += 1
                continue
            here = report.backends["default"]
            self.counted += Counter(
                cycles=1, objects=here.deleted, bytes=here.deleted_bytes, unrecorded=here.unrecorded_objects
            )
            if self.counted["cycles"] == self._cycles:
                (self._folder / _ENOUGH).touch()
            self.counted["repacked"] += bool(here.grown_bytes)
            self.counted["cycles that deleted"] += bool(here.deleted)

    # readers

    def read(self) -> None:
        """Whatever was acknowledged is there, byte for byte; what may be deleted says that it is."""
        ledger = Ledger()
        for _ in self._turns(0.05):
            ledger.read_on(self._folder)
            if not ledger.names:
                continue
            package_id = self._drawn.choice(list(ledger.names)[-500:])
            must_be_there = ledger.must_be_there(package_id)
            with tempfile.TemporaryDirectory() as folder:
                try:
                    found = fetch(self._registry, package_id, Path(folder) / "copy")
                except PackageDeletedError:
                    ledger.read_on(self._folder)
                    assert not (must_be_there and ledger.must_be_there(package_id)), f"{package_id} was deleted"
                    self.counted["read as deleted"] += 1
                    continue
            assert files_of(ledger.names[package_id]) == found, package_id
            self.counted["read"] += 1

    # the rest

    def _turns(self, every_s: float) -> Iterator[int]:
        number, start = 0, time.monotonic()
        while self._goes_on():
            yield number
            number += 1
            start = max(start + every_s, time.monotonic() - _CATCHES_UP_S)
            time.sleep(max(0.0, start - time.monotonic()))

    def _goes_on(self) -> bool:
        now = time.monotonic()
        return now < self._until or (now < self._at_latest and not (self._folder / _ENOUGH).exists())

    def _again(self, call: Callable[[], T]) -> T:
        while True:
            try:
                return call()
            except ConcurrentUpdateError:
                self.counted["asked again"] += 1

    def _note(self, what: str, package_id: str, name: str) -> None:
        self._notes.write(f"{json.dumps([what, package_id, name])}\n")


def main() -> None:
    role, label, seconds, cycles, folder = sys.argv[1:]
    with closing(open_registry(actor=f"local:{label}")) as registry:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        process = _Process(registry, label, float(seconds), int(cycles), Path(folder))
        {"write": process.write, "delete": process.delete, "collect": process.collect, "read": process.read}[role]()
    json.dump(process.counted, sys.stdout)


if __name__ == "__main__":
    main()
