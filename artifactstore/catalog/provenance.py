"""Statements on sources, envelopes and parties: what is known, and what was observed where and by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.catalog.database import Connection


class Known(NamedTuple):
    """What is recorded of an observation already."""

    source: bool
    envelope: bool
    link: bool
    """Whether the envelope is known to have observed the package that was asked for."""
    source_by_actor: bool
    """Whether the actor that was asked for has recorded an observation of the source; anyone, if none was."""


class SourceRecord(NamedTuple):
    """A row of ``source``."""

    row_id: int
    source_id: bytes
    location_kind: str
    path_id: str
    owner_host_id: str | None
    content_type: str | None
    display_name: str | None
    metadata_json: str | None
    plugin_name: str
    plugin_version: str | None
    contract_version: str
    is_declared: int
    indexed_at: int
    indexed_by: str


class EnvelopeRecord(NamedTuple):
    """A row of ``envelope`` without its payload, and where it was observed.

    ``display_name`` is the source's if the same witness has said it: what others said of a source is not this
    observation's.
    """

    row_id: int
    envelope_id: bytes
    source_id: bytes
    location_kind: str
    path_id: str
    display_name: str | None
    transport: str
    received_at: int
    payload_bytes: int
    plugin_name: str
    plugin_version: str | None
    contract_version: str
    is_declared: int
    indexed_at: int
    indexed_by: str


class ObservationRecord(NamedTuple):
    """A row of ``package_observation`` with its envelope."""

    envelope: EnvelopeRecord
    observed_at: int
    observed_by: str


class PartyRecord(NamedTuple):
    """A row of ``party``."""

    identifier_kind: str
    identifier_scope: str | None
    identifier_value: str
    role: str
    trust: str


_LAST_ID = 2**63 - 1
_RANGES_PER_STATEMENT = 100
"""SQLite takes 500 at most."""
_SOURCE = ", ".join(("id", *SourceRecord._fields[1:]))
_ENVELOPE = (
    "SELECT envelope.id, envelope.envelope_id, source.source_id, source.location_kind, source.path_id,"
    " CASE WHEN source.plugin_name = envelope.plugin_name AND source.is_declared = envelope.is_declared"
    " AND (envelope.is_declared = 0 OR source.indexed_by = envelope.indexed_by) THEN source.display_name END,"
    " envelope.transport, envelope.received_at, length(envelope.raw_payload),"
    " envelope.plugin_name, envelope.plugin_version, envelope.contract_version, envelope.is_declared,"
    " envelope.indexed_at, envelope.indexed_by"
)
_THERE = "EXISTS (SELECT 1 FROM {} WHERE {} LIMIT 1 OFFSET 0)"
_SOURCE_THERE = _THERE.format("source", "source_id = ?")
_ENVELOPE_THERE = _THERE.format("envelope", "envelope_id = ?")
_LINK_THERE = _THERE.format(
    "package_observation JOIN envelope ON envelope.id = package_observation.envelope"
    " JOIN package ON package.id = package_observation.package",
    "envelope.envelope_id = ? AND package.package_id = ?",
)
_SOURCE_THERE_BY_ACTOR = _THERE.format(
    "source JOIN envelope ON envelope.source = source.id", "source.source_id = ? AND envelope.indexed_by = ?"
)


def known(
    connection: Connection,
    source_id: bytes,
    envelope_id: bytes,
    package_id: str | None = None,
    *,
    actor: str | None = None,
) -> Known:
    """What is recorded of an observation already, of its package if one is named, and of an actor's if one is."""
    asked = [_SOURCE_THERE, _ENVELOPE_THERE]
    parameters: list[str | bytes] = [source_id, envelope_id]
    if package_id is not None:
        asked.append(_LINK_THERE)
        parameters += [envelope_id, package_id]
    if actor is not None:
        asked.append(_SOURCE_THERE_BY_ACTOR)
        parameters += [source_id, actor]
    (row,) = connection.execute(f"SELECT {', '.join(asked)}", parameters)
    source, envelope, *others = map(bool, row)
    link = package_id is None or others[0]
    return Known(source, envelope, link, source_by_actor=source if actor is None else others[-1])


def is_observed_by(connection: Connection, source_id: bytes, actor: str) -> bool:
    """Whether this actor has recorded an observation of the source."""
    ((is_there,),) = connection.execute(f"SELECT {_SOURCE_THERE_BY_ACTOR}", (source_id, actor))
    return bool(is_there)


def source(connection: Connection, source_id: bytes) -> SourceRecord | None:
    """A source by its id."""
    rows = connection.execute(f"SELECT {_SOURCE} FROM source WHERE source_id = ?", (source_id,))
    return next(map(SourceRecord._make, rows), None)


def envelopes(
    connection: Connection, source_row: int, *, after: int, limit: int, actor: str | None = None
) -> list[EnvelopeRecord]:
    """A page of a source's envelopes in the order they were recorded, after a row id; those of one actor, or all."""
    # tuples, so that only the index can serve that has them in this order
    by, whose = ("", ()) if actor is None else (" envelope.indexed_by,", (actor,))
    key, marks = f"envelope.source,{by} envelope.id", ", ".join("?" * (2 + len(whose)))
    rows = connection.execute(
        f"{_ENVELOPE} FROM envelope JOIN source ON source.id = envelope.source"
        f" WHERE ({key}) > ({marks}) AND ({key}) <= ({marks}) ORDER BY {key} LIMIT ?",
        (source_row, *whose, after, source_row, *whose, _LAST_ID, limit),
    )
    return list(map(EnvelopeRecord._make, rows))


def envelope(connection: Connection, envelope_id: bytes) -> EnvelopeRecord | None:
    """An envelope by its id."""
    rows = connection.execute(
        f"{_ENVELOPE} FROM envelope JOIN source ON source.id = envelope.source WHERE envelope.envelope_id = ?",
        (envelope_id,),
    )
    return next(map(EnvelopeRecord._make, rows), None)


def raw_payload(connection: Connection, envelope_row: int) -> bytes:
    """What an envelope observed, as it came."""
    ((payload,),) = connection.execute("SELECT raw_payload FROM envelope WHERE id = ?", (envelope_row,))
    return bytes(payload)


def parties(connection: Connection, envelope_rows: Sequence[int], *, limit: int) -> dict[int, list[PartyRecord]]:
    """Who took part, by envelope, in the order they were named; of each envelope the first ones."""
    if not envelope_rows:
        return {}
    found: dict[int, list[PartyRecord]] = {row: [] for row in envelope_rows}
    rows = connection.execute(
        "SELECT envelope, identifier_kind, identifier_scope, identifier_value, role, trust FROM party"
        f" WHERE envelope IN ({', '.join('?' * len(envelope_rows))}) AND ordinal < ? ORDER BY envelope, ordinal",
        (*envelope_rows, limit),
    )
    for row, *party in rows:
        found[row].append(PartyRecord(*party))
    return found


def observations(connection: Connection, package_row: int, *, after: int, limit: int) -> list[ObservationRecord]:
    """A page of the envelopes that observed a package, in these envelopes' order, after an envelope's row id."""
    rows = connection.execute(
        f"{_ENVELOPE}, package_observation.observed_at, package_observation.observed_by FROM package_observation"
        " JOIN envelope ON envelope.id = package_observation.envelope"
        " JOIN source ON source.id = envelope.source WHERE package_observation.package = ?"
        " AND package_observation.envelope > ? ORDER BY package_observation.envelope LIMIT ?",
        (package_row, after, limit),
    )
    return [ObservationRecord(EnvelopeRecord._make(row[:-2]), *row[-2:]) for row in rows]


def has_observed(connection: Connection, envelope_row: int, package_row: int) -> bool:
    """Whether an envelope is known to have observed a package."""
    rows = connection.execute(
        "SELECT 1 FROM package_observation WHERE package = ? AND envelope = ?", (package_row, envelope_row)
    )
    return bool(list(rows))


def observed_packages(
    connection: Connection, envelope_row: int, *, limit: int, producers: Sequence[str] | None = None
) -> list[tuple[str, str]]:
    """(package id, producer) of packages an envelope observed, the first by producer; of these producers, or all."""
    if producers is None:
        return _observed_packages(connection, [(envelope_row, "", 0, envelope_row + 1, "", 0)], limit)
    found: list[tuple[str, str]] = []
    names = sorted(set(producers))
    for at in range(0, len(names), _RANGES_PER_STATEMENT):
        some = names[at : at + _RANGES_PER_STATEMENT]
        ranges = [(envelope_row, producer, 0, envelope_row, producer, _LAST_ID) for producer in some]
        found += _observed_packages(connection, ranges, limit - len(found))
    return found


def _observed_packages(
    connection: Connection, ranges: Sequence[tuple[int, str, int, int, str, int]], limit: int
) -> list[tuple[str, str]]:
    # tuples, so that only the index can serve that has them in this order
    key = "package_observation.envelope, package_observation.producer, package_observation.package"
    one_range = (
        "SELECT * FROM (SELECT package.package_id, package.producer, package.id FROM package_observation"
        " JOIN package ON package.id = package_observation.package"
        f" WHERE ({key}) > (?, ?, ?) AND ({key}) <= (?, ?, ?) ORDER BY {key} LIMIT ?) AS one"
    )
    parameters = [value for bounds in ranges for value in (*bounds, limit)]
    sql = f"{' UNION ALL '.join([one_range] * len(ranges))} ORDER BY 2, 3 LIMIT ?"
    return [(package_id, producer) for package_id, producer, _ in connection.execute(sql, (*parameters, limit))]
