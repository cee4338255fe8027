"""The parts of the measurement, and the documents each is written to, JSON and Markdown.

A part may be measured in pieces: a workload that is measured again takes its own place in the part's document. Ratios
are within one workload, so every ratio still is from one run; a document's figures must have been measured on one
machine with the same options.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.data import WORKLOADS
from benchmarks.life_cycle.cases import LIFE_CYCLE_WORKLOADS
from benchmarks.on_servers.cases import SERVER_WORKLOADS
from benchmarks.over_http.cases import HTTP_WORKLOADS
from benchmarks.provenance.cases import PROVENANCE_WORKLOADS
from benchmarks.runner import FORMAT
from benchmarks.targets import judge
from benchmarks.testing_os.cases import TESTING_OS_WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.machine import Machine
    from benchmarks.runner import Results, WorkloadResult


@dataclass(frozen=True, slots=True)
class Part:
    """Its workloads, in the order in which they are measured and shown."""

    name: str
    workloads: tuple[str, ...]
    ending: str

    def results(self, folder: Path) -> Path:
        """The JSON."""
        return folder / f"results{self.ending}.json"

    def report(self, folder: Path) -> Path:
        """The Markdown."""
        return folder / f"RESULTS{self.ending.upper()}.md"


PARTS = (
    Part("embedded", tuple(WORKLOADS), ""),
    Part("http", tuple(HTTP_WORKLOADS), "-http"),
    Part("servers", tuple(SERVER_WORKLOADS), "-servers"),
    Part("provenance", tuple(PROVENANCE_WORKLOADS), "-provenance"),
    Part("testing-os", tuple(TESTING_OS_WORKLOADS), "-testing-os"),
    Part("life-cycle", tuple(LIFE_CYCLE_WORKLOADS), "-life-cycle"),
)


class OtherRunError(Exception):
    """What is to be added to a document was measured otherwise than what is there. Says so in plain words."""


def workloads_to_keep(
    part: Part, measured: Sequence[str], options: Mapping[str, object], machine: Machine, folder: Path
) -> dict[str, WorkloadResult]:
    """Those of the part's document that are not measured now. Raises ``OtherRunError``: ask before you measure."""
    others, path = [name for name in part.workloads if name not in measured], part.results(folder)
    if not others or not path.exists():
        return {}
    old: Results = json.loads(path.read_text())
    if (old["format"], old.get("options"), old.get("machine")) != (FORMAT, options, machine):
        raise OtherRunError(
            f"{path.name} was measured on another machine, by another version or with other options:"
            f" measure {', '.join(others)} too, or write elsewhere (--output)"
        )
    return {name: old["workloads"][name] for name in others if name in old["workloads"]}


def joined(part: Part, kept: Mapping[str, WorkloadResult], results: Results) -> Results:
    """The results with the workloads that are kept, in the part's order, and every target judged."""
    workloads = {**kept, **results["workloads"]}
    ordered = {name: workloads[name] for name in part.workloads if name in workloads}
    return {**results, "workloads": ordered, "targets": judge(ordered)}


def named(words: Sequence[str]) -> list[str]:
    """Workloads by their own names and by those of parts, each once. Raises ``ValueError`` naming the unknown."""
    by_part = {part.name: part.workloads for part in PARTS}
    known = {name for part in PARTS for name in part.workloads}
    if unknown := [word for word in words if word not in known and word not in by_part]:
        raise ValueError(", ".join(unknown))
    return list(dict.fromkeys(name for word in words for name in by_part.get(word, (word,))))
