"""The published ingest of testing-os in a process of Node's: where it is, and asking it.

It is where ``make original`` installs it, or where ``TESTING_OS_ORIGINAL`` says; nothing is installed here.
"""

from __future__ import annotations

import json
import os
import shutil
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.processes import ROOT, UnavailableError, run

VERSION = "1.14.0"
ELSEWHERE = "TESTING_OS_ORIGINAL"
"""The environment variable that names the directory with its ``node_modules``."""
DRIVER = Path(__file__).parent / "original" / "driver.mjs"
_PLACE = ROOT / ".local" / "original"
_MISSING = "testing-os's own ingest is not here: run `make original`, which needs Node with npm"


def ask_original(do: str, /, **request: str | int | Path) -> Any:
    """What the driver answers. Raises ``UnavailableError`` where one of them is missing, and ``FailedError``."""
    node, place = found()
    document = json.dumps({"do": do, **{name: _plain(value) for name, value in request.items()}})
    return json.loads(run([node, str(DRIVER), str(place), document]).stdout)


def found() -> tuple[str, Path]:
    """Node, and the directory with the original. Raises ``UnavailableError`` where one of them is missing."""
    node, place = shutil.which("node"), Path(os.environ.get(ELSEWHERE) or _PLACE)
    described = place / "node_modules" / "@dogfood-lab" / "ingest" / "package.json"
    if node is None or not described.is_file():
        raise UnavailableError(_MISSING)
    if (there := json.loads(described.read_text())["version"]) != VERSION:
        raise UnavailableError(
            f"{place} has version {there} of testing-os's ingest, not {VERSION}: run `make original`"
        )
    return node, place


def description() -> str:
    """Its name and version, and Node's."""
    try:
        node, _ = found()
    except UnavailableError:
        return f"@dogfood-lab/ingest {VERSION}"
    return f"@dogfood-lab/ingest {VERSION} in Node {_node_version(node)}"


@cache
def _node_version(node: str) -> str:
    return run([node, "--version"]).stdout.strip().removeprefix("v")


def _plain(value: str | int | Path) -> str | int:
    return value if isinstance(value, int) else str(value)
