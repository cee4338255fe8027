"""Rebuilding a catalog, and then its floor: the same rows written by bare statements. Run as a child.

The floor lists and decodes every manifest, reads the directory of every pack, and then writes every row that the
rebuilt database has, event log and indexes included, a statement of many rows at a time in one transaction by the
connection that ours has. The rows are in memory before its clock runs.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.domain.manifest import Manifest
from artifactstore.registry.rebuilding import rebuild
from artifactstore.storage.pack import members_of
from artifactstore.storage.port import ObjectKind
from benchmarks.on_servers.growing import environment_of_other
from benchmarks.processes import FailedError, answer, stopwatch

if TYPE_CHECKING:
    from artifactstore.catalog.database import Connection, Row
    from artifactstore.registry.registry import Registry
    from benchmarks.processes import Measures, Request

_NOT_REBUILT = ("alembic_version", "lease")


def rebuilding(request: Request) -> Measures:
    """Ours into one empty database, and the same rows into another."""
    packages, is_sealed = int(request["packages"]), bool(request["sealed"])
    with closing(open_registry(Settings.from_environment())) as registry:
        with stopwatch() as measures:
            report = rebuild(registry)
        by_log = packages if is_sealed else 0
        if not report.is_whole or (report.packages, len(report.recovered)) != (by_log, packages - by_log):
            raise FailedError(f"{report.packages} and {len(report.recovered)} packages are back, not {packages}")
        rows = _rows(registry)
    with closing(open_registry(Settings.from_environment(environment_of_other(request)))) as bare:
        with stopwatch() as floor:
            files, members = _read(bare)
            _write(bare, rows)
        _expect_same(rows, _rows(bare))
    if files != packages * int(request["files"]) or members != files:
        raise FailedError(f"the floor has read of {files} files in manifests and of {members} in packs")
    counted = float(sum(len(each) for each in rows.values()))
    return {**measures, "bare_s": floor["wall_s"], "bare_cpu_s": floor["cpu_s"], "rows": counted}


def _read(registry: Registry) -> tuple[int, int]:
    store, files, members = registry.store, 0, 0
    for info in store.list(ObjectKind.MANIFEST):
        files += len(Manifest.decode(store.read(info.key)).files)
    for info in store.list(ObjectKind.PACK):
        members += len(members_of(store, info))
    return files, members


def _write(registry: Registry, rows: dict[str, list[Row]]) -> None:
    with registry.transaction() as tx:
        list(tx.connection.execute("PRAGMA defer_foreign_keys = ON"))
        for table, found in rows.items():
            columns = ", ".join(_columns(tx.connection, table))
            list(tx.connection.execute(f"DELETE FROM {table}"))  # what every new database has
            tx.connection.insert(f"{table} ({columns})", found)


def _rows(registry: Registry) -> dict[str, list[Row]]:
    """Everything, by table, in the order in which it was written."""
    with registry.catalog.snapshot() as queries:
        connection = queries.connection
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
        names = [str(name) for (name,) in tables if name not in _NOT_REBUILT]
        found = {}
        for name in names:
            columns = ", ".join(_columns(connection, name))
            found[name] = list(connection.execute(f"SELECT {columns} FROM {name}"))
    return {name: rows for name, rows in found.items() if rows}


def _columns(connection: Connection, table: str) -> list[str]:
    return [str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")]


def _expect_same(ours: dict[str, list[Row]], floor: dict[str, list[Row]]) -> None:
    if ours != floor:
        raise FailedError("the floor wrote other rows than ours")


if __name__ == "__main__":
    answer({"rebuild": rebuilding})
