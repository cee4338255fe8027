"""The three indexes: what they say, from one row per surface, in the original's shapes and to its bytes.

The original reads every record at every ingest. Its answer depends on so little of them that two values per repository
and surface are enough, and one more record costs the same however many there are:

- ``first``, the smallest ``order`` of any accepted record with that surface: the place of the keys;
- ``row``, the latest of those records: the greatest ``finished_ms``, then the smallest ``order``.

Both are a minimum or a maximum, so records may come in any order, or many times (``with_row``), and the documents are
built from these entries alone (``documents``). The table ``testing_os_latest`` keeps one for each repository and
surface, an order as the text that sorts alike (by its bytes), and is read whole (``records.entries``). An accepted
record is never taken away, so nothing is ever looked for anew.

``stale.json`` depends on the clock. It is built when it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.pilots.testing_os.ecmascript import json_text
from artifactstore.pilots.testing_os.formats import instant_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.instant import Instant

STALE_DAYS = 30
ACCEPTED = "accepted"
MS_PER_DAY = 86_400_000
MAX_SURFACES = 10

_REJECTED = "records/_rejected/"


class ScanOrder(NamedTuple):
    """When the original's scan comes to a surface: to its record's file, and within that to the result."""

    key: str
    position: int

    @property
    def text(self) -> str:
        """Sorts as the pair does: a record has fewer than ten surfaces."""
        return f"{self.key} {self.position}"

    @classmethod
    def of_text(cls, text: str) -> ScanOrder:
        """The inverse of ``text``."""
        key, _, position = text.rpartition(" ")
        return cls(key, int(position))


@dataclass(frozen=True, slots=True)
class Row:
    """One surface of one record."""

    repo: str
    surface: str
    run_id: str
    verified: str
    verification_status: str
    finished_at: str
    path: str
    order: ScanOrder

    @property
    def finished_ms(self) -> int | None:
        """Milliseconds since 1970; None for text that is no instant."""
        return instant_ms(self.finished_at)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one surface of one repository."""

    first: ScanOrder
    row: Row


@dataclass(frozen=True, slots=True)
class IndexDocuments:
    """The three indexes as values."""

    latest_by_repo: dict[str, JsonValue]
    failing: list[JsonValue]
    stale: list[JsonValue]

    def files(self) -> dict[str, bytes]:
        """Each by the name of its file: two-space JSON, one newline at the end."""
        found: Mapping[str, JsonValue] = {
            "latest-by-repo.json": self.latest_by_repo,
            "failing.json": self.failing,
            "stale.json": self.stale,
        }
        return {name: (json_text(value) + "\n").encode() for name, value in found.items()}


def scan_key(path: str) -> str:
    """A text that sorts records' paths by its bytes as the original scans them.

    What is accepted comes first, and a directory's name ends before any other character: ``org/repo`` comes before
    ``org/repo-2``, though "-" sorts before "/".
    """
    return ("1" if path.startswith(_REJECTED) else "0") + path.replace("/", " ")


def scan_order(path: str, position: int) -> ScanOrder:
    """When a surface is come to that is the one of this number in a record."""
    assert position < MAX_SURFACES, "the schema of records knows eight surfaces"
    return ScanOrder(scan_key(path), position)


def rows_of(record: Mapping[str, JsonValue], path: str) -> Iterator[Row]:
    """A row for each surface of a record that its schema allows, in the order of its results."""
    verification, overall, timing = (_object(record, key) for key in ("verification", "overall_verdict", "timing"))
    results = record["scenario_results"]
    assert isinstance(results, list), "the results of a record are a list"
    surfaces = [str(result["product_surface"]) for result in results if isinstance(result, dict)]
    for position, surface in enumerate(dict.fromkeys(surfaces)):
        yield Row(
            repo=str(record["repo"]),
            surface=surface,
            run_id=str(record["run_id"]),
            verified=str(overall["verified"]),
            verification_status=str(verification["status"]),
            finished_at=str(timing["finished_at"]),
            path=path,
            order=scan_order(path, position),
        )


def with_row(entry: Entry | None, row: Row) -> Entry | None:
    """What is known once this row has come; only accepted records count."""
    if row.verification_status != ACCEPTED:
        return entry
    if entry is None:
        return Entry(row.order, row)
    return Entry(min(entry.first, row.order), row if _is_later(row, entry.row) else entry.row)


def entries_of(rows: Iterable[Row]) -> list[Entry]:
    """What is known from these rows, in whatever order they come."""
    known: dict[tuple[str, str], Entry | None] = {}
    for row in rows:
        key = (row.repo, row.surface)
        known[key] = with_row(known.get(key), row)
    return [entry for entry in known.values() if entry is not None]


def documents(entries: Iterable[Entry], *, as_of: Instant, stale_days: float = STALE_DAYS) -> IndexDocuments:
    """The indexes. ``as_of`` is the instant that ages are told at."""
    ordered = in_scan_order(entries)
    latest: dict[str, JsonValue] = {}
    for row in ordered:
        surfaces = latest.setdefault(row.repo, {})
        assert isinstance(surfaces, dict)
        surfaces[row.surface] = _latest(row)
    return IndexDocuments(
        latest, [_failing(row) for row in ordered if row.verified != "pass"], list(_stale(ordered, as_of, stale_days))
    )


def in_scan_order(entries: Iterable[Entry]) -> list[Row]:
    """The latest rows where the original has them: repositories by what comes first of theirs, surfaces the same."""
    by_first = sorted(entries, key=lambda entry: entry.first)
    first_of_repo: dict[str, int] = {}
    for entry in by_first:
        first_of_repo.setdefault(entry.row.repo, len(first_of_repo))
    return [entry.row for entry in sorted(by_first, key=lambda entry: first_of_repo[entry.row.repo])]


def age_days(finished_ms: int, as_of: Instant) -> int:
    """Whole days since, rounded down; negative for what is still to come."""
    return (as_of // 1000 - finished_ms) // MS_PER_DAY


def _is_later(row: Row, than: Row) -> bool:
    """Later, or as late and seen before."""
    ours, theirs = row.finished_ms, than.finished_ms
    if ours == theirs:
        return row.order < than.order
    return theirs is None or (ours is not None and ours > theirs)


def _latest(row: Row) -> JsonValue:
    return {
        "run_id": row.run_id,
        "verified": row.verified,
        "verification_status": row.verification_status,
        "finished_at": row.finished_at,
        "path": row.path,
    }


def _failing(row: Row) -> JsonValue:
    return {
        "repo": row.repo,
        "surface": row.surface,
        "run_id": row.run_id,
        "verified": row.verified,
        "finished_at": row.finished_at,
        "path": row.path,
    }


def _stale(rows: Iterable[Row], as_of: Instant, stale_days: float) -> Iterator[JsonValue]:
    """What is older than the threshold, to the millisecond, or of an age that nobody can tell."""
    for row in rows:
        finished_ms = row.finished_ms
        if finished_ms is None or as_of // 1000 - finished_ms > stale_days * MS_PER_DAY:
            yield {
                "repo": row.repo,
                "surface": row.surface,
                "run_id": row.run_id,
                "finished_at": row.finished_at,
                "age_days": None if finished_ms is None else age_days(finished_ms, as_of),
                "path": row.path,
            }


def _object(record: Mapping[str, JsonValue], key: str) -> Mapping[str, JsonValue]:
    found = record[key]
    assert isinstance(found, dict), f"{key} of a record is an object"
    return found
