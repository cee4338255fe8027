"""Looking at what was observed: sources, envelopes, and where a package was observed.

A viewer sees everything, or what concerns it: a source that it has recorded an observation of, the envelopes that it
recorded itself, and those that observed a package it may read. Anything else answers as what is not there. A source
keeps what was said of it first, whoever said that; so a viewer who does not see everything is told its kind and path
only, whether it was the first or not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.catalog import provenance as rows
from artifactstore.domain.provenance import MAX_PARTIES
from artifactstore.errors import EnvelopeUnknownError, SourceUnknownError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.catalog.provenance import EnvelopeRecord, PartyRecord, SourceRecord
    from artifactstore.catalog.queries import Queries
    from artifactstore.registry.registry import Registry

FIRST_OBSERVATIONS = 20
"""Of a package, as many as are shown with it."""
MAX_PACKAGES = 100
"""Packages that are named with an envelope which observed them."""
FIRST_PARTIES = 20
"""Of an envelope in a list, as many as are shown with it: an envelope may name a thousand."""
_ID = re.compile("[0-9a-f]{64}")


class Viewer(NamedTuple):
    """Who looks: an actor, and whose packages it may read; None if everyone's, and then it sees everything."""

    actor: str
    readable_producers: Sequence[str] | None

    @property
    def sees_everything(self) -> bool:
        """Whether nothing is hidden."""
        return self.readable_producers is None


SEES_EVERYTHING = Viewer("", None)


class SeenSource(NamedTuple):
    """A source, and whether what was said of it first may be told."""

    record: SourceRecord
    is_whole: bool


class SeenEnvelope(NamedTuple):
    """An envelope and who took part: all, or the first of them."""

    record: EnvelopeRecord
    parties: list[PartyRecord]
    has_more_parties: bool


class SeenObservation(NamedTuple):
    """An envelope that observed a package, and who said so when."""

    envelope: SeenEnvelope
    observed_at: int
    observed_by: str


class EnvelopeDetails(NamedTuple):
    """An envelope with its payload, and (package id, producer) of what it observed that may be read."""

    envelope: SeenEnvelope
    raw_payload: bytes
    packages: list[tuple[str, str]]
    has_more_packages: bool


def find_source(registry: Registry, source_id: str, *, viewer: Viewer = SEES_EVERYTHING) -> SeenSource:
    """A source. Raises ``SourceUnknownError``."""
    with registry.catalog.snapshot() as queries:
        return SeenSource(_require_source(queries, source_id, viewer), viewer.sees_everything)


def list_envelopes(
    registry: Registry, source_id: str, *, after: str | None = None, limit: int, viewer: Viewer = SEES_EVERYTHING
) -> list[SeenEnvelope]:
    """A page of a source's envelopes in the order they were recorded, after an envelope's id.

    No feed: of two that are recorded at the same time, the one that is listed first may appear last. Of a viewer who
    does not see everything, its own. Raises ``SourceUnknownError``, ``EnvelopeUnknownError``.
    """
    actor = None if viewer.sees_everything else viewer.actor
    with registry.catalog.snapshot() as queries:
        source = _require_source(queries, source_id, viewer)
        start = 0
        if after is not None:
            last = _envelope(queries, after)
            if last is None or last.source_id != source.source_id or actor not in {None, last.indexed_by}:
                raise _envelope_unknown(after)
            start = last.row_id
        page = rows.envelopes(queries.connection, source.row_id, after=start, limit=limit, actor=actor)
        return _with_parties(queries, page, viewer, shown=FIRST_PARTIES)


def find_envelope(registry: Registry, envelope_id: str, *, viewer: Viewer = SEES_EVERYTHING) -> EnvelopeDetails:
    """An envelope with all there is of it. Raises ``EnvelopeUnknownError``."""
    with registry.catalog.snapshot() as queries:
        record = _envelope(queries, envelope_id)
        if record is None:
            raise _envelope_unknown(envelope_id)
        packages = rows.observed_packages(
            queries.connection, record.row_id, limit=MAX_PACKAGES + 1, producers=viewer.readable_producers
        )
        if not (viewer.sees_everything or packages or record.indexed_by == viewer.actor):
            raise _envelope_unknown(envelope_id)
        (seen,) = _with_parties(queries, [record], viewer, shown=MAX_PARTIES)
        payload = rows.raw_payload(queries.connection, record.row_id)
    return EnvelopeDetails(seen, payload, packages[:MAX_PACKAGES], len(packages) > MAX_PACKAGES)


def list_observations(
    registry: Registry, package_row: int, *, after: str | None = None, limit: int, viewer: Viewer = SEES_EVERYTHING
) -> list[SeenObservation]:
    """A page of the envelopes that observed a package which the viewer may read, after an envelope's id.

    In the envelopes' own order: one that was recorded before may observe the package later. Raises
    ``EnvelopeUnknownError`` for one that did not observe the package.
    """
    with registry.catalog.snapshot() as queries:
        start = 0
        if after is not None:
            last = _envelope(queries, after)
            if last is None or not rows.has_observed(queries.connection, last.row_id, package_row):
                raise _envelope_unknown(after)
            start = last.row_id
        page = rows.observations(queries.connection, package_row, after=start, limit=limit)
        seen = _with_parties(queries, [each.envelope for each in page], viewer, shown=FIRST_PARTIES)
    return [
        SeenObservation(envelope, each.observed_at, each.observed_by) for envelope, each in zip(seen, page, strict=True)
    ]


def _require_source(queries: Queries, source_id: str, viewer: Viewer) -> SourceRecord:
    found = rows.source(queries.connection, bytes.fromhex(source_id)) if _ID.fullmatch(source_id) else None
    is_seen = found is not None and (
        viewer.sees_everything or rows.is_observed_by(queries.connection, found.source_id, viewer.actor)
    )
    if found is None or not is_seen:
        raise SourceUnknownError(f"there is no source {source_id[:80]!r}")
    return found


def _envelope(queries: Queries, envelope_id: str) -> EnvelopeRecord | None:
    return rows.envelope(queries.connection, bytes.fromhex(envelope_id)) if _ID.fullmatch(envelope_id) else None


def _envelope_unknown(envelope_id: str) -> EnvelopeUnknownError:
    return EnvelopeUnknownError(f"there is no envelope {envelope_id[:80]!r}")


def _with_parties(queries: Queries, page: list[EnvelopeRecord], viewer: Viewer, *, shown: int) -> list[SeenEnvelope]:
    parties = rows.parties(queries.connection, [record.row_id for record in page], limit=shown + 1)
    told = page if viewer.sees_everything else [record._replace(display_name=None) for record in page]
    return [
        SeenEnvelope(record, parties[record.row_id][:shown], len(parties[record.row_id]) > shown) for record in told
    ]
