"""The floors of collection and of reading back: the least there is to do. Run as a child.

Collection's deletes the very files of the dead packs, and the rows that say where their blobs are, one statement for
each pack, in one transaction on the same database by the connection that ours has. It does not look what is dead.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.registry.read_back import key_of
from artifactstore.storage.port import ObjectKind
from benchmarks import floors
from benchmarks.processes import FailedError, answer, stopwatch

if TYPE_CHECKING:
    from artifactstore.catalog.records import ObjectRecord
    from artifactstore.registry.registry import Registry
    from benchmarks.processes import Measures, Request

_DEAD_PACKS = (
    "SELECT id FROM stored_object WHERE kind = 'pack' AND NOT EXISTS (SELECT 1 FROM blob_location"
    " JOIN package_file ON package_file.blob_id = blob_location.blob_id"
    " WHERE blob_location.object_id = stored_object.id)"
)


def deleting(request: Request) -> Measures:
    """The files of the dead packs and the rows of their blobs."""
    settings = Settings.from_environment()
    with closing(open_registry(settings)) as registry:
        packs = _dead_packs(registry)
        files = [settings.home / "objects" / key_of(found).path for found in packs]
        before = _locations(registry)
        with stopwatch() as measures:
            for path in files:
                path.unlink()
            with registry.transaction() as tx:
                tx.connection.executemany(
                    "DELETE FROM blob_location WHERE object_id = ?", [(found.row_id,) for found in packs]
                )
        rows = before - _locations(registry)
    if (len(files), rows) != (int(request["packs"]), int(request["blobs"])):
        raise FailedError(f"{len(files)} files and {rows} rows were deleted")
    return {**measures, "files": float(len(files)), "rows": float(rows)}


def reading(request: Request) -> Measures:
    """Every object read and hashed once by both algorithms, in two threads."""
    measures = floors.verify({"source": str(Settings.from_environment().home / "objects")})
    read_bytes = float(request["bytes"])
    return {**measures, "read_bytes": read_bytes, "read_bytes_per_s": read_bytes / measures["wall_s"]}


def _dead_packs(registry: Registry) -> list[ObjectRecord]:
    with registry.catalog.snapshot() as queries:
        ids = [int(row_id) for (row_id,) in queries.connection.execute(_DEAD_PACKS)]
        found = [queries.object(row_id) for row_id in ids]
    assert all(each.kind == ObjectKind.PACK for each in found), "they were asked for"
    return found


def _locations(registry: Registry) -> int:
    with registry.catalog.snapshot() as queries:
        ((count,),) = queries.connection.execute("SELECT count(*) FROM blob_location")
    return int(count)


if __name__ == "__main__":
    answer({"delete": deleting, "read": reading})
