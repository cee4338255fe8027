"""Which packages a list is to have, and how that is said in SQL: every page is read along an index, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from artifactstore.catalog.blobs import address_prefix

if TYPE_CHECKING:
    from artifactstore.catalog.database import SqlValue


@dataclass(frozen=True, slots=True)
class PackageFilter:
    """What every package of the list has in common; a member that is None does not matter."""

    producer: str | None = None
    external_id: str | None = None
    subject: str | None = None
    schema_slug: str | None = None
    retention_class: str | None = None
    status: str | None = None
    metadata: tuple[str, str] | None = None
    """A top-level key and its value as text."""
    blob: bytes | None = None
    """The address of a blob that a file of the package has."""


EVERY_PACKAGE = PackageFilter()

_COLUMNS = ("external_id", "subject", "schema_slug", "retention_class", "status")
"""Those that have the most values come first."""
_WITH_METADATA = (
    "package_metadata AS found JOIN package ON package.id = found.package WHERE found.key = ? AND found.value = ?"
)
_WITH_BLOB = (
    "package_file AS found JOIN package ON package.id = found.package"
    " WHERE found.blob_id = (SELECT id FROM blob WHERE address_prefix = ? AND blake3 = ?)"
    " AND NOT EXISTS (SELECT 1 FROM package_file AS earlier WHERE earlier.blob_id = found.blob_id"
    " AND earlier.package = found.package AND earlier.file_index < found.file_index LIMIT 1 OFFSET 0)"
)
_HAS_BLOB = (
    " AND EXISTS (SELECT 1 FROM package_file WHERE package_file.package = package.id AND package_file.blob_id ="
    " (SELECT id FROM blob WHERE address_prefix = ? AND blake3 = ?) LIMIT 1 OFFSET 0)"
)
_ONE_RUN = ("producer", "external_id")
_REVISIONS = "package WHERE package.status <> 'open'"
"""What ``package_revision`` holds. There are few of one run: they are sorted, and no index is read for their order."""
_IS = " AND CASE package.{} WHEN ? THEN TRUE ELSE FALSE END"
"""A condition that no index is used for: a planner that may choose is wrong where what is looked for is rare."""


def page_of_packages(wanted: PackageFilter, *, after: int, limit: int) -> tuple[str, list[SqlValue]]:
    """What follows FROM, and its parameters: a page in the order of ``package.id``, after one.

    With a producer only that producer's packages are gone through: who may not see the others' must not find out, by
    the time it takes, that they have such metadata or such a file.
    """
    blob: list[SqlValue] = [] if wanted.blob is None else [address_prefix(wanted.blob), wanted.blob]
    by_index: tuple[str, ...] = ()
    parameters: list[SqlValue]
    if wanted.metadata is not None:
        source, position, parameters = _WITH_METADATA, "found.package", [*wanted.metadata]
    elif blob and wanted.producer is None:
        source, position, parameters = _WITH_BLOB, "found.package", [*blob]
    else:
        source, position, parameters = "package WHERE TRUE", "package.id", []
        by_index = _indexed(wanted)
        if by_index == _ONE_RUN:
            source, position = _REVISIONS, "package.id + 0"
    sql = f"{source} AND {position} > ?"
    parameters.append(after)
    for column in ("producer", *_COLUMNS):
        if (value := getattr(wanted, column)) is not None:
            sql += f" AND package.{column} = ?" if column in by_index else _IS.format(column)
            parameters.append(value)
    if wanted.metadata is not None and wanted.producer is not None:
        sql += " AND found.producer = ?"
        parameters.append(wanted.producer)
    if blob and (wanted.metadata is not None or wanted.producer is not None):
        sql += _HAS_BLOB
        parameters += blob
    return f"{sql} ORDER BY {position} LIMIT ?", [*parameters, limit]


def _indexed(wanted: PackageFilter) -> tuple[str, ...]:
    """The columns whose index is read, in the order of the list; the others are looked at on the way."""
    asked = tuple(column for column in _COLUMNS if getattr(wanted, column) is not None)
    if wanted.producer is None:
        return asked[:1]
    return ("producer", *asked[:1]) if asked and asked[0] in {"external_id", "subject"} else ("producer",)
