"""What the pilot tells of its records besides the indexes: a repository's history, and what fails since when."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from artifactstore.domain.instant import Instant, moment_of
from artifactstore.errors import PackageUnknownError
from artifactstore.pilots.testing_os import records
from artifactstore.pilots.testing_os.index_documents import NO_INSTANT
from artifactstore.pilots.testing_os.record import instant_text_ms

if TYPE_CHECKING:
    from artifactstore.catalog.database import Connection
    from artifactstore.domain.canonical import JsonValue
    from artifactstore.pilots.testing_os.index_documents import Surface
    from artifactstore.pilots.testing_os.records import StoredRecord
    from artifactstore.plugins.contributed import Contributed

MOST = 1_000
"""Records of a page."""
DEFAULT_LIMIT = 100
_REPO = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")
_ID = re.compile(r"[0-9a-f-]{36}")


def history(contributed: Contributed, repo: str, *, after: str | None, limit: int) -> dict[str, JsonValue]:
    """A page of a repository's records, rejected ones too, the latest to finish first, after a package of it.

    Raises ``PackageUnknownError`` if that is no record of the repository.
    """
    page: list[StoredRecord] = []
    if _REPO.fullmatch(repo):
        with contributed.look() as connection:
            before = None if after is None else _position(connection, repo, after)
            page = records.history(connection, repo, before=before, limit=limit)
    next_after = page[-1].package_id if len(page) == limit else None
    return {"records": [_record(each) for each in page], "next_after": next_after}


def failing(contributed: Contributed, repo: str | None = None) -> dict[str, JsonValue]:
    """Every surface whose latest accepted record has not passed, by repository, and since when it has not."""
    if repo is not None and not _REPO.fullmatch(repo):
        return {"failing": []}
    with contributed.look() as connection:
        found = records.surfaces(connection, repo)
    return {"failing": [_failing(each) for each in found if each.verified != "pass"]}


def _position(connection: Connection, repo: str, package_id: str) -> tuple[int, int]:
    found = records.of_package(connection, package_id) if _ID.fullmatch(package_id) else None
    if found is None or found.repo != repo:
        raise PackageUnknownError(f"{repo} has no record that is package {package_id[:64]!r}")
    return found.finished_ms, found.package_row


def _record(record: StoredRecord) -> dict[str, JsonValue]:
    return {
        "package_id": record.package_id,
        "revision": record.revision,
        "run_id": record.run_id,
        "status": record.status,
        "verified": record.verified,
        "profile": record.profile,
        "finished_at": record.finished_at,
        "recorded_at": instant_text_ms(Instant(record.recorded_at)),
        "path": record.path,
    }


def _failing(surface: Surface) -> dict[str, JsonValue]:
    return {
        "repo": surface.repo,
        "surface": surface.surface,
        "verified": surface.verified,
        "failing_since": _text(surface.failing_since_ms),
        "run_id": surface.run_id,
        "finished_at": surface.finished_at,
        "path": surface.path,
        "package_id": surface.package_id,
    }


def _text(milliseconds: int | None) -> str | None:
    """RFC 3339 in UTC; None for what says when it finished in words that are no instant."""
    if milliseconds is None or milliseconds == NO_INSTANT:
        return None
    return moment_of(milliseconds * 1000).isoformat(timespec="milliseconds").replace("+00:00", "Z")
