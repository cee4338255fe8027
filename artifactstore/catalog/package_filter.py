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

_COLUMNS = ("producer", "external_id", "subject", "schema_slug", "retention_class", "status")
_WITH_METADATA = (
    "package_metadata AS found JOIN package ON package.id = found.package WHERE found.key = ? AND found.value = ?"
)
_WITH_BLOB = (
    "package_file AS found JOIN package ON package.id = found.package"
    " WHERE found.blob_id = (SELECT id FROM blob WHERE address_prefix = ? AND blake3 = ?)"
    " AND NOT EXISTS (SELECT 1 FROM package_file AS earlier WHERE earlier.blob_id = found.blob_id"
    " AND earlier.package = found.package AND earlier.file_index < found.file_index)"
)
_HAS_BLOB = (
    " AND EXISTS (SELECT 1 FROM package_file WHERE package_file.package = package.id AND package_file.blob_id ="
    " (SELECT id FROM blob WHERE address_prefix = ? AND blake3 = ?))"
)


def page_of_packages(wanted: PackageFilter, *, after: int, limit: int) -> tuple[str, list[SqlValue]]:
    """What follows FROM, and its parameters: a page in the order of ``package.id``, after one.

    With a producer only that producer's packages are gone through: who may not see the others' must not find out, by
    the time it takes, that they have such metadata or such a file.
    """
    blob: list[SqlValue] = [] if wanted.blob is None else [address_prefix(wanted.blob), wanted.blob]
    parameters: list[SqlValue]
    if wanted.metadata is not None:
        source, position, parameters = _WITH_METADATA, "found.package", [*wanted.metadata]
    elif blob and wanted.producer is None:
        source, position, parameters = _WITH_BLOB, "found.package", [*blob]
    else:
        source, position, parameters = "package WHERE TRUE", "package.id", []
    sql = f"{source} AND {position} > ?"
    parameters.append(after)
    for column in _COLUMNS:
        if (value := getattr(wanted, column)) is not None:
            sql += f" AND package.{column} = ?"
            parameters.append(value)
    if wanted.metadata is not None and wanted.producer is not None:
        sql += " AND found.producer = ?"
        parameters.append(wanted.producer)
    if blob and (wanted.metadata is not None or wanted.producer is not None):
        sql += _HAS_BLOB
        parameters += blob
    return f"{sql} ORDER BY {position} LIMIT ?", [*parameters, limit]
