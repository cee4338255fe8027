"""The same files, changed in every round, and the times of the rounds: for warm processes that store again and again.

Only the standard library is used here: boto3's interpreter need not have what ours has.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.processes import Measures

WARM_ROUNDS = 3


def timed_rounds(source: Path, folder: Path, *, rounds: int, store: Callable[[int, list[str]], None]) -> Measures:
    """Let ``store`` put a tree away ``rounds`` times, with every file changed before each; the median of its times.

    It is given the round's number and the files' relative paths; the files are below ``folder``. Rounds to become warm
    come first and are not counted.
    """
    contents = {
        path.relative_to(source).as_posix(): path.read_bytes() for path in sorted(source.rglob("*")) if path.is_file()
    }
    times = []
    for number in range(WARM_ROUNDS + rounds):
        _write(folder, contents, f"\nround {number}\n".encode())
        began = time.perf_counter()
        store(number, list(contents))
        times.append(time.perf_counter() - began)
    counted = times[WARM_ROUNDS:]
    return {"wall_s": statistics.median(counted), "slowest_s": max(counted), "rounds": len(counted)}


def _write(folder: Path, contents: dict[str, bytes], end: bytes) -> None:
    for name, data in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data + end)
