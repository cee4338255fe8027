"""What is recorded, written as the original's tree: records that are not there yet, and the indexes.

A record is written once and never replaced. The indexes are read while the tree's lock is held, so an older state never
follows a newer one, and every record that they name is written before them, whoever has recorded it: what a killed
writer has left out is made good by the next.

A tree belongs to one store. One whose indexes name what is not recorded here is refused: to write ours over them would
take away what nobody else has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.errors import ArtifactStoreError, ConflictError, CorruptionError
from artifactstore.pilots.testing_os import records
from artifactstore.pilots.testing_os.index_documents import STALE_DAYS, documents
from artifactstore.pilots.testing_os.package import RECORD_FILE
from artifactstore.pilots.testing_os.tree import MOST_RECORDS, Written, locked_tree
from artifactstore.pilots.testing_os.tree_reading import Indexed, read_indexed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from artifactstore.domain.instant import Instant
    from artifactstore.pilots.testing_os.index_documents import IndexDocuments, Surface
    from artifactstore.pilots.testing_os.records import StoredRecord
    from artifactstore.pilots.testing_os.tree import RecordTree
    from artifactstore.plugins.contributed import Contributed

LOCK_WAIT_S = 60.0
_PAGE = 500


class Corrupted(NamedTuple):
    """A record whose bytes the store does not have as they were: the others are written all the same."""

    path: str
    package_id: str
    why: str


@dataclass(slots=True)
class Exported:
    """What was done to a tree."""

    written: list[str] = field(default_factory=list)
    """Records that were not there."""
    present: int = 0
    differing: list[str] = field(default_factory=list)
    """Records whose name something else has, which keeps it."""
    corrupted: list[Corrupted] = field(default_factory=list)
    indexes_changed: bool = False
    error: ArtifactStoreError | None = None
    """Why it was broken off."""


class TreeForeignError(ConflictError):
    """A tree has records that this store does not have."""

    code = "TREE_FOREIGN"
    default_hint = "Is this the store you mean? If it is: artifactstore testing-os import DIR, then the same again."


def check_tree(contributed: Contributed, root: Path) -> Indexed:
    """What a tree's index names. Raises ``FileUnreadableError`` for what is no directory, and ``TreeForeignError``."""
    indexed = read_indexed(root)
    with contributed.look() as connection:
        _check(root, indexed, records.indexed(connection))
    return indexed


def export(
    contributed: Contributed,
    root: Path,
    *,
    as_of: Instant,
    package_ids: Iterable[str] | None = None,
    known: Indexed | None = None,
) -> Exported:
    """Write the records of these packages, or all, and the indexes with what they name, under the tree's lock.

    ``known`` is what ``check_tree`` has found a moment ago. Raises ``TreeForeignError``, ``TreeBusyError``,
    ``DestinationInvalidError``, ``FileUnreadableError``, ``StorageError``.
    """
    done = Exported()
    with locked_tree(root, wait_s=LOCK_WAIT_S) as tree:
        surfaces = _surfaces(contributed)
        indexed = read_indexed(root, known)
        _check(root, indexed, {(each.repo, each.surface) for each in surfaces})
        found = _all(contributed) if package_ids is None else _named(contributed, package_ids)
        _write_all(contributed, tree, found, done)
        news = [each for each in surfaces if indexed.paths.get((each.repo, each.surface)) != each.path]
        absent = dict.fromkeys(each.package_id for each in news if not tree.has_record(each.path))
        _write_all(contributed, tree, _named(contributed, absent), done)
        done.indexes_changed = tree.write_indexes(documents(surfaces, as_of=as_of).files(), started_at=as_of)
    return done


def index_documents(contributed: Contributed, *, as_of: Instant, stale_days: float = STALE_DAYS) -> IndexDocuments:
    """The three indexes over all that is recorded."""
    return documents(_surfaces(contributed), as_of=as_of, stale_days=stale_days)


def _surfaces(contributed: Contributed) -> list[Surface]:
    with contributed.look() as connection:
        return records.surfaces(connection)


def _check(root: Path, indexed: Indexed, recorded: AbstractSet[tuple[str, str]]) -> None:
    foreign = sorted(indexed.paths.keys() - recorded)
    if foreign:
        repo, surface = foreign[0]
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise TreeForeignError(f"{root} has records of {repo} ({surface}){more} that this store does not have")


def _write_all(contributed: Contributed, tree: RecordTree, found: Iterator[StoredRecord], done: Exported) -> None:
    while some := list(islice(found, MOST_RECORDS)):
        _write(contributed, tree, some, done)


def _write(contributed: Contributed, tree: RecordTree, some: list[StoredRecord], done: Exported) -> None:
    content: dict[str, bytes] = {}
    for record in some:
        try:
            content[record.path] = contributed.read_file(record.package_id, RECORD_FILE)
        except CorruptionError as error:
            done.corrupted.append(Corrupted(record.path, record.package_id, error.message))
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
