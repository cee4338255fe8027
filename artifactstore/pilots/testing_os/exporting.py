"""What is recorded, written as the original's tree: records that are not there yet, and the indexes.

Whatever was killed on the way is made good by the next export of the same records: a record is written once and never
replaced, and the indexes are read while the tree's lock is held, so an older state never follows a newer one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from artifactstore.pilots.testing_os import records
from artifactstore.pilots.testing_os.index_documents import STALE_DAYS, documents
from artifactstore.pilots.testing_os.package import RECORD_FILE
from artifactstore.pilots.testing_os.tree import MOST_RECORDS, Written, locked_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from artifactstore.domain.instant import Instant
    from artifactstore.pilots.testing_os.index_documents import IndexDocuments
    from artifactstore.pilots.testing_os.records import StoredRecord
    from artifactstore.pilots.testing_os.tree import RecordTree
    from artifactstore.plugins.contributed import Contributed

LOCK_WAIT_S = 60.0
_PAGE = 500


@dataclass(slots=True)
class Exported:
    """What was done to a tree."""

    written: list[str] = field(default_factory=list)
    """Records that were not there."""
    present: int = 0
    differing: list[str] = field(default_factory=list)
    """Records whose name something else has, which keeps it."""
    indexes_changed: bool = False


def export(
    contributed: Contributed, root: Path, *, as_of: Instant, package_ids: Iterable[str] | None = None
) -> Exported:
    """Write the records of these packages, or all, and the indexes, under the tree's lock.

    Raises ``TreeBusyError``, ``DestinationInvalidError``, ``FileUnreadableError``, ``StorageError``.
    """
    done = Exported()
    with locked_tree(root, wait_s=LOCK_WAIT_S) as tree:
        found = _all(contributed) if package_ids is None else _named(contributed, package_ids)
        while some := list(islice(found, MOST_RECORDS)):
            _write(contributed, tree, some, done)
        indexes = index_documents(contributed, as_of=as_of)
        done.indexes_changed = tree.write_indexes(indexes.files(), started_at=as_of)
    return done


def index_documents(contributed: Contributed, *, as_of: Instant, stale_days: float = STALE_DAYS) -> IndexDocuments:
    """The three indexes over all that is recorded."""
    with contributed.look() as connection:
        found = records.surfaces(connection)
    return documents(found, as_of=as_of, stale_days=stale_days)


def _write(contributed: Contributed, tree: RecordTree, some: list[StoredRecord], done: Exported) -> None:
    content = {record.path: contributed.read_file(record.package_id, RECORD_FILE) for record in some}
    for path, written in tree.write_records(content).items():
        match written:
            case Written.NEW:
                done.written.append(path)
            case Written.PRESENT:
                done.present += 1
            case Written.OTHER:
                done.differing.append(path)


def _named(contributed: Contributed, package_ids: Iterable[str]) -> Iterator[StoredRecord]:
    names = iter(package_ids)
    while some := list(islice(names, _PAGE)):
        with contributed.look() as connection:
            found = [records.of_package(connection, package_id) for package_id in some]
        yield from filter(None, found)


def _all(contributed: Contributed) -> Iterator[StoredRecord]:
    after = 0
    while True:
        with contributed.look() as connection:
            page = records.page(connection, after=after, limit=_PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].package_row
