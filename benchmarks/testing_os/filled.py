"""Stores and trees that hold many records already: made once in a measurement, and gone on with by each run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.processes import FailedError, ask
from benchmarks.testing_os.original import ask_original, found
from benchmarks.testing_os.submissions import write_feed, write_root

if TYPE_CHECKING:
    from pathlib import Path

OURS = "benchmarks.testing_os.ours"


@dataclass(slots=True)
class Filled:
    """A directory with a root, ours with a home beside it; the submissions below ``next_number`` are recorded."""

    place: Path
    repositories: int
    next_number: int

    def next_feed(self, path: Path, count: int) -> Path:
        """The submissions that follow, in a file; whoever asks for them records them."""
        numbers = range(self.next_number, self.next_number + count)
        self.next_number = numbers.stop
        return write_feed(path, numbers, repositories=self.repositories)


@dataclass(slots=True)
class AllFilled:
    """What the cases that need many records share."""

    stores: Path
    count: int
    _made: dict[str, Filled] = field(default_factory=dict)

    def ours(self, repositories: int) -> Filled:
        """A store with its tree, by one call of ``run``."""
        name = f"testing-os-{self.count}-of-{repositories}"
        if name not in self._made:
            place, feed = self._place(name, repositories)
            ask(OURS, "feed", home=place / "home", root=place / "root", feed=feed)
            self._made[name] = Filled(place, repositories, self.count)
        return self._made[name]

    def original(self, repositories: int) -> Filled:
        """A tree with records, ledger and indexes as the original's own ingests leave them."""
        name = f"testing-os-original-{self.count}-of-{repositories}"
        if name not in self._made:
            found()
            place, feed = self._place(name, repositories)
            counts = ask_original("fill", root=place / "root", feed=feed)
            if counts["accepted"] + counts["rejected"] != self.count or counts["corrupted"] or counts["skipped"]:
                raise FailedError(f"the original's tree has {counts}, not {self.count} records")
            self._made[name] = Filled(place, repositories, self.count)
        return self._made[name]

    def _place(self, name: str, repositories: int) -> tuple[Path, Path]:
        place = self.stores / name
        write_root(place / "root")
        return place, write_feed(place / "feed.ndjson", range(self.count), repositories=repositories)
