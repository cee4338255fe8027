"""Our ingest by the library in a warm process, on the database and storage that the environment names.

Run as a child. Before the clock runs it has ingested something small, so connections are open and plans are made, as in
a process that goes on; a command pays for that each time, and is measured as a whole process.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from benchmarks.ours import ingest_directory
from benchmarks.over_http.rounds import timed_rounds
from benchmarks.processes import FailedError, answer, stopwatch

if TYPE_CHECKING:
    from artifactstore.registry.registry import Registry
    from benchmarks.processes import Measures, Request


def prepare(_: Request) -> Measures:
    """Bring the database to head."""
    _open().close()
    return {}


def ingest(request: Request) -> Measures:
    """A directory once, from the first look at a name to the receipt."""
    source, small = Path(str(request["source"])), Path(str(request["small"]))
    with closing(_open()) as registry:
        ingest_directory(registry, small, "small")
        with stopwatch() as measures:
            receipt = ingest_directory(registry, source, "measured")
    if receipt.reused_existing or receipt.file_count != int(request["files"]):
        raise FailedError("the ingest stored something else")
    return measures


def ingest_series(request: Request) -> Measures:
    """The files of a run again and again, every file changed each time."""
    folder = Path(str(request["folder"]))
    with closing(_open()) as registry:

        def store(number: int, names: list[str]) -> None:
            receipt = ingest_directory(registry, folder, f"run-{number}")
            if receipt.reused_existing or receipt.file_count != len(names):
                raise FailedError("the ingest stored something else")

        return timed_rounds(Path(str(request["source"])), folder, rounds=int(request["rounds"]), store=store)


def _open() -> Registry:
    return open_registry(Settings.from_environment())


if __name__ == "__main__":
    answer({"prepare": prepare, "ingest": ingest, "ingest_series": ingest_series})
