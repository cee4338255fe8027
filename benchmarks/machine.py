"""The machine in words: enough to judge the figures by, nothing that tells whose it is."""

from __future__ import annotations

import os
import platform
import sqlite3
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from benchmarks.commands import PEERS, version
from benchmarks.on_servers.postgres import version as postgres_version
from benchmarks.over_http.peers import versions as http_peers

if TYPE_CHECKING:
    from collections.abc import Mapping

_LIBRARIES = (
    "artifactstore", "blake3", "cbor2", "sqlmodel", "SQLAlchemy", "alembic", "typer", "rich", "jsonschema-rs",
    "uvicorn", "uvloop", "httptools", "fastapi", "urllib3", "psycopg",
)  # fmt: skip


class Machine(TypedDict):
    """What the figures were measured on, and with."""

    cpu: str
    cores: int
    memory_bytes: int
    disk: str
    file_system: str
    system: str
    python: str
    sqlite: str
    libraries: dict[str, str]
    peers: dict[str, str]


def describe(work: Path) -> Machine:
    """This machine, and the disk that ``work`` is on."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count() or 0,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "disk": _disk(work),
        "file_system": _file_system(work),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "libraries": {name: _library(name) for name in _LIBRARIES},
        "peers": dict(_peers(os.environ.get("PATH", os.defpath))),
    }


@cache
def _peers(_path: str) -> Mapping[str, str]:
    """What each says of itself; asked once for each PATH they are looked for on."""
    return {
        **{peer.name: version(peer.name) or "not installed" for peer in PEERS},
        **http_peers(),
        "PostgreSQL": postgres_version() or "not installed",
    }


def _cpu() -> str:
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _file_system(work: Path) -> str:
    """By the mount table: the last line whose device is that of ``work``."""
    device = _device(work)
    kinds = [
        line.partition(" - ")[2].split()[0] for line in _lines("/proc/self/mountinfo") if line.split()[2] == device
    ]
    return kinds[-1] if kinds else "unknown"


def _disk(work: Path) -> str:
    block = Path("/sys/dev/block") / _device(work)
    if not block.exists():
        return "unknown"
    queue = next((folder / "queue" for folder in (block, block.resolve().parent) if (folder / "queue").exists()), None)
    rotates = queue is not None and _lines(str(queue / "rotational"))[:1] == ["1"]
    kind = "virtual disk (virtio)" if block.resolve().name.startswith("vd") else "disk"
    return f"{kind}, {'rotating' if rotates else 'not rotating'} by its own account"


def _device(work: Path) -> str:
    device = work.stat().st_dev
    return f"{os.major(device)}:{os.minor(device)}"


def _library(name: str) -> str:
    try:
        return installed_version(name)
    except PackageNotFoundError:
        return "not installed"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
