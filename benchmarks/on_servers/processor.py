"""How much processor time servers have used: a process with all that it has started, by Linux's own account."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import UnavailableError

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class _Process(NamedTuple):
    parent: int
    cpu_s: float
    """Its own, and that of its children which have ended."""


def tree_cpu_s(process_id: int) -> float:
    """Of a process and its descendants so far. Raises ``UnavailableError`` where the system does not tell."""
    processes = _processes()
    if process_id not in processes:
        raise UnavailableError("the processor time of another process is told by Linux only")
    found, new = set[int](), {process_id}
    while new:
        found |= new
        new = {number for number, process in processes.items() if process.parent in new}
    return sum(processes[number].cpu_s for number in found)


def machine_cpu_s() -> float:
    """Of everybody so far: all that was not idle."""
    user, nice, system, _, _, interrupts, soft, *_ = (
        int(ticks) for ticks in Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    )
    return (user + nice + system + interrupts + soft) / _TICKS_PER_S


def _processes() -> dict[int, _Process]:
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        found[int(folder.name)] = _Process(int(fields[1]), sum(map(int, fields[11:15])) / _TICKS_PER_S)
    return found
