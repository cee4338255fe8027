"""The three indexes: what they say, from one row per surface, in the original's shapes and to its bytes.

The original reads every record at every ingest. Its answer depends on so little of them that two values per repository
and surface are enough, and one more record costs the same however many there are:

- the least ``scan_order`` of any accepted record with that surface: the place of the keys;
- the latest of those records: the greatest ``finished_ms``, then the least ``scan_order``.

Both are a minimum or a maximum, so records may come in any order. The table ``testing_os_latest`` keeps one for each
repository and surface, and is read whole (``records.surfaces``). An accepted record is never taken away, so nothing is
ever looked for anew.

``stale.json`` depends on the clock. It is built when it is asked for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.instant import Instant

STALE_DAYS = 30
ACCEPTED = "accepted"
"""The status of records that count."""
MS_PER_DAY = 86_400_000
MAX_SURFACES = 10
NO_INSTANT = -(2**53)
"""When text that is no instant finished: before all that JavaScript knows."""

_REJECTED = "records/_rejected/"


class Surface(NamedTuple):
    """A repository's surface: its place in the indexes, and the latest accepted record of it."""

    repo: str
    surface: str
    first_order: str
    """The least ``scan_order`` of any of its accepted records."""
    run_id: str
    verified: str
    finished_at: str
    finished_ms: int
    """Milliseconds since 1970, or ``NO_INSTANT``."""
    path: str
    package_id: str
    failing_since_ms: int | None
    """None if it passes."""


@dataclass(frozen=True, slots=True)
class IndexDocuments:
    """The three indexes, as files and as values."""

    surfaces: list[Surface]
    """As the original has them."""
    as_of: Instant
    stale_days: float

    def files(self) -> dict[str, bytes]:
        """Each by the name of its file: two-space JSON, one newline at the end."""
        texts = {"latest-by-repo.json": self._latest(), "failing.json": self._failing(), "stale.json": self._stale()}
        return {name: text.encode() for name, text in texts.items()}

    @property
    def latest_by_repo(self) -> dict[str, Any]:
        """The value of ``latest-by-repo.json``."""
        found: dict[str, Any] = json.loads(self._latest())
        return found

    @property
    def failing(self) -> list[Any]:
        """The value of ``failing.json``."""
        found: list[Any] = json.loads(self._failing())
        return found

    @property
    def stale(self) -> list[Any]:
        """The value of ``stale.json``."""
        found: list[Any] = json.loads(self._stale())
        return found

    def _latest(self) -> str:
        by_repo: dict[str, list[str]] = {}
        for each in self.surfaces:
            entry = _object(
                "    ",
                run_id=_text(each.run_id),
                verified=_text(each.verified),
                verification_status=_text(ACCEPTED),
                finished_at=_text(each.finished_at),
                path=_text(each.path),
            )
            by_repo.setdefault(each.repo, []).append(f"    {_text(each.surface)}: {entry}")
        repositories = (f"  {_text(repo)}: {{\n" + ",\n".join(entries) + "\n  }" for repo, entries in by_repo.items())
        return _document("{}", repositories)

    def _failing(self) -> str:
        found = (
            _object(
                "  ",
                **_place(each),
                verified=_text(each.verified),
                finished_at=_text(each.finished_at),
                path=_text(each.path),
            )
            for each in self.surfaces
            if each.verified != "pass"
        )
        return _document("[]", (f"  {entry}" for entry in found))

    def _stale(self) -> str:
        """What is older than the threshold, to the millisecond, or of an age that nobody can tell."""
        oldest_ms = self.as_of // 1000 - self.stale_days * MS_PER_DAY
        found = (
            _object(
                "  ",
                **_place(each),
                finished_at=_text(each.finished_at),
                age_days="null" if each.finished_ms == NO_INSTANT else str(age_days(each.finished_ms, self.as_of)),
                path=_text(each.path),
            )
            for each in self.surfaces
            if each.finished_ms < oldest_ms
        )
        return _document("[]", (f"  {entry}" for entry in found))


def documents(surfaces: Iterable[Surface], *, as_of: Instant, stale_days: float = STALE_DAYS) -> IndexDocuments:
    """The indexes over these. ``as_of`` is the instant that ages are told at."""
    return IndexDocuments(in_scan_order(surfaces), as_of, stale_days)


def in_scan_order(surfaces: Iterable[Surface]) -> list[Surface]:
    """Repositories by what comes first of theirs, surfaces the same."""
    by_first = sorted(surfaces, key=lambda each: each.first_order)
    first_of_repo: dict[str, str] = {}
    for each in by_first:
        first_of_repo.setdefault(each.repo, each.first_order)
    return sorted(by_first, key=lambda each: first_of_repo[each.repo])


def scan_key(path: str) -> str:
    """A text that sorts records' paths by its bytes as the original scans them.

    What is accepted comes first, and a directory's name ends before any other character: ``org/repo`` comes before
    ``org/repo-2``, though "-" sorts before "/".
    """
    return ("1" if path.startswith(_REJECTED) else "0") + path.replace("/", " ")


def scan_order(path: str, position: int) -> str:
    """When the original's scan comes to the surface of this number in a record: texts that sort by their bytes."""
    assert position < MAX_SURFACES, "the schema of records knows eight surfaces"
    return f"{scan_key(path)} {position}"


def surfaces_of(record: Mapping[str, JsonValue]) -> tuple[str, ...]:
    """The surfaces of a record that its schema allows, each once, in the order of its results."""
    results = record["scenario_results"]
    assert isinstance(results, list), "the results of a record are a list"
    return tuple(dict.fromkeys(str(result["product_surface"]) for result in results if isinstance(result, dict)))


def age_days(finished_ms: int, as_of: Instant) -> int:
    """Whole days since, rounded down; negative for what is still to come."""
    return (as_of // 1000 - finished_ms) // MS_PER_DAY


_text = encode_basestring


def _place(surface: Surface) -> dict[str, str]:
    return {"repo": _text(surface.repo), "surface": _text(surface.surface), "run_id": _text(surface.run_id)}


def _object(indent: str, **members: str) -> str:
    inner = ",\n".join([f'{indent}  "{name}": {text}' for name, text in members.items()])
    return f"{{\n{inner}\n{indent}}}"


def _document(brackets: str, members: Iterable[str]) -> str:
    inner = ",\n".join(members)
    return f"{brackets[0]}\n{inner}\n{brackets[1]}\n" if inner else f"{brackets}\n"
