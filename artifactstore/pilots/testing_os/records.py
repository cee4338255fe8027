"""Statements on what is recorded: a submission's record, the indexes, a repository's history."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from artifactstore.pilots.testing_os.index_documents import ACCEPTED, Surface

if TYPE_CHECKING:
    from artifactstore.catalog.database import Connection

_LAST = 2**62


class StoredRecord(NamedTuple):
    """A row of ``testing_os_record``, and the package it is."""

    package_row: int
    package_id: str
    revision: int
    external_id: str
    repo: str
    run_id: str
    profile: str
    status: str
    verified: str
    may_be_replaced: int
    contract_major: int | None
    finished_at: str
    finished_ms: int
    path: str
    recorded_at: int


class Counts(NamedTuple):
    """How many records there are."""

    accepted: int
    rejected: int


_RECORD = "SELECT record.package, package.package_id, package.revision, " + ", ".join(
    f"record.{column}" for column in StoredRecord._fields[3:]
)
_FROM = " FROM testing_os_record AS record JOIN package ON package.id = record.package"


_MAX_REVISIONS = 10
"""Of a run there are two at most: one rejected and one accepted."""


def newest(connection: Connection, external_id: str) -> StoredRecord | None:
    """The record that counts under an external id: the accepted one, also if a rejected one was imported after it."""
    found = of_external_id(connection, external_id)
    return next((record for record in found if record.status == ACCEPTED), next(iter(found), None))


def of_external_id(connection: Connection, external_id: str, *, limit: int = _MAX_REVISIONS) -> list[StoredRecord]:
    """The records under an external id, the last one first."""
    rows = connection.execute(
        f"{_RECORD}{_FROM} WHERE record.external_id = ? ORDER BY record.external_id DESC, record.id DESC LIMIT ?",
        (external_id, limit),
    )
    return list(map(StoredRecord._make, rows))


def of_package(connection: Connection, package_id: str) -> StoredRecord | None:
    """The record that a package is."""
    rows = connection.execute(f"{_RECORD}{_FROM} WHERE package.package_id = ?", (package_id,))
    return next(map(StoredRecord._make, rows), None)


def page(connection: Connection, *, after: int, limit: int) -> list[StoredRecord]:
    """A page of all records in the order of their packages, after a package's row."""
    rows = connection.execute(
        f"{_RECORD}{_FROM} WHERE record.package > ? ORDER BY record.package LIMIT ?", (after, limit)
    )
    return list(map(StoredRecord._make, rows))


def counts(connection: Connection) -> Counts:
    """How many records there are, revisions too: as many as a tree has files. It costs the same however many."""
    rows = connection.execute("SELECT accepted, rejected FROM testing_os_totals WHERE id = 1")
    return next(map(Counts._make, rows), Counts(0, 0))


def surfaces(connection: Connection, repo: str | None = None) -> list[Surface]:
    """Every surface of a repository that has an accepted record, or of all; in no order that says anything."""
    condition, parameters = ("", ()) if repo is None else (" WHERE latest.repo = ?", (repo,))
    rows = connection.execute(
        "SELECT latest.repo, latest.surface, latest.first_order, record.run_id, record.verified, record.finished_at,"
        " record.finished_ms, record.path, package.package_id, latest.failing_since_ms"
        " FROM testing_os_latest AS latest JOIN testing_os_record AS record ON record.id = latest.record"
        f" JOIN package ON package.id = record.package{condition} ORDER BY latest.repo, latest.surface",
        parameters,
    )
    return list(map(Surface._make, rows))


def indexed(connection: Connection) -> set[tuple[str, str]]:
    """Every repository and surface that has an accepted record."""
    return {(repo, surface) for repo, surface in connection.execute("SELECT repo, surface FROM testing_os_latest")}


def history(
    connection: Connection, repo: str, *, before: tuple[int, int] | None = None, limit: int
) -> list[StoredRecord]:
    """A page of a repository's records, rejected ones too, the latest to finish first.

    ``before`` is (finished_ms, package_row) of the last one of the page before.
    """
    # tuples, so that only the index can serve that has them in this order
    key = "record.repo, record.finished_ms, record.package"
    finished_ms, package_row = before or (_LAST, _LAST)
    rows = connection.execute(
        f"{_RECORD}{_FROM} WHERE ({key}) < (?, ?, ?) AND ({key}) >= (?, ?, ?)"
        f" ORDER BY {', '.join(f'{column} DESC' for column in key.split(', '))} LIMIT ?",
        (repo, finished_ms, package_row, repo, -_LAST, -_LAST, limit),
    )
    return list(map(StoredRecord._make, rows))
