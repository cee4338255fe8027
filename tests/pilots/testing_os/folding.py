"""The indexes as one reads them from the rules: over the rows of all records, in whatever order they come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from artifactstore.pilots.testing_os.formats import instant_ms
from artifactstore.pilots.testing_os.index_documents import NO_INSTANT, Surface, scan_key, scan_order, surfaces_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Row:
    """One surface of one record."""

    repo: str
    surface: str
    run_id: str
    verified: str
    status: str
    finished_at: str
    path: str
    position: int

    @property
    def finished_ms(self) -> int:
        found = instant_ms(self.finished_at)
        return NO_INSTANT if found is None else found

    @property
    def order(self) -> tuple[str, int]:
        return scan_key(self.path), self.position


def rows_of(record: Mapping[str, Any], path: str) -> Iterator[Row]:
    for position, surface in enumerate(surfaces_of(record)):
        yield Row(
            repo=record["repo"],
            surface=surface,
            run_id=record["run_id"],
            verified=record["overall_verdict"]["verified"],
            status=record["verification"]["status"],
            finished_at=record["timing"]["finished_at"],
            path=path,
            position=position,
        )


def rows_of_tree(files: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    return [row for path, each in files.items() for row in rows_of(each, path)]


def folded(rows: Iterable[Row]) -> list[Surface]:
    """Only accepted records count; the latest to finish wins, of those the first of a scan."""
    by_surface: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.status == "accepted":
            by_surface.setdefault((row.repo, row.surface), []).append(row)
    return [_surface(each) for each in by_surface.values()]


def _surface(rows: list[Row]) -> Surface:
    latest = min(rows, key=lambda row: (-row.finished_ms, row.order))
    first = min(rows, key=lambda row: row.order)
    return Surface(
        latest.repo, latest.surface, scan_order(first.path, first.position), latest.run_id, latest.verified,
        latest.finished_at, latest.finished_ms, latest.path, "", None,
    )  # fmt: skip
