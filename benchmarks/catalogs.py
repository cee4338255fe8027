"""A catalog that holds many blobs already, made without ingesting them.

Their one pack does not exist as a file: an ingest looks blobs up and writes rows among theirs, and never opens it. Rows
are written in sorted batches of the size of a package, so that the indexes grow as they would have grown.
"""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from artifactstore.bootstrap import open_registry
from artifactstore.catalog.blobs import address_prefix
from artifactstore.config import Settings
from artifactstore.registry.ingest import ingest
from artifactstore.testing.builders import package_draft
from benchmarks.ours import prepare
from benchmarks.processes import answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.processes import Measures, Request

_BATCH = 10_000
_BLOB_BYTES = 4096


def fill(request: Request) -> Measures:
    """A new home whose catalog holds ``count`` blobs."""
    home, count, seed = Path(str(request["home"])), int(request["count"]), int(request["seed"])
    prepare(request)
    _make_the_newest_object_real(home)
    connection = sqlite3.connect(home / "artifactstore.db")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -500000")
    with connection:
        _insert(connection, count, random.Random(f"{seed}/catalog"))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return {}


def _make_the_newest_object_real(home: Path) -> None:
    """An ingest looks whether the object recorded last is in storage; the synthetic pack is not."""
    registry = open_registry(Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)}))
    ingest(registry, package_draft({"newest": b"newest"}, external_id="newest"))
    registry.close()


def _insert(connection: sqlite3.Connection, count: int, numbers: random.Random) -> None:
    pack = (0, "default", "pack", numbers.randbytes(32), count * _BLOB_BYTES, "live")
    connection.execute(
        "INSERT INTO stored_object (id, backend, kind, blake3, size_bytes, status) VALUES (?,?,?,?,?,?)", pack
    )
    for first in range(2, count + 2, _BATCH):
        connection.executemany(
            "INSERT INTO blob (id, address_prefix, address_ordinal, blake3, sha256, size_bytes, crc32)"
            " VALUES (?, ?, 0, ?, ?, ?, ?)",
            _blobs(first, min(_BATCH, count + 2 - first), numbers),
        )
    connection.execute(
        "INSERT INTO blob_location (blob_id, object_id, start, status)"
        " SELECT id, 0, id * ?, 'live' FROM blob WHERE id > 1 ORDER BY id",
        (_BLOB_BYTES,),
    )


def _blobs(first: int, count: int, numbers: random.Random) -> Iterator[tuple[object, ...]]:
    addresses = sorted((address_prefix(address), address) for address in (numbers.randbytes(32) for _ in range(count)))
    for row_id, (prefix, address) in enumerate(addresses, start=first):
        yield row_id, prefix, address, numbers.randbytes(32), _BLOB_BYTES, numbers.getrandbits(32)


if __name__ == "__main__":
    answer({"fill": fill})
