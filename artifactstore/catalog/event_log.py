"""The event log: append, read, check.

Each event is a header, a payload and a chain value::

    header   = canonical CBOR {seq, at, type, subject, actor, payload_digest}
    chain_0  = BLAKE3(LOG_TAG   || log id)
    chain_n  = BLAKE3(CHAIN_TAG || chain_{n-1} || header)

so that changing, removing or reordering any event breaks every chain value after it. ``seq`` counts from 1 without a
gap, in commit order; ``at`` (microseconds UTC) never runs backwards. docs/reference/events.md fixes these bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

from artifactstore.domain.canonical import decode, encode_ordered
from artifactstore.errors import EventLogCorruptError, ManifestInvalidError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from artifactstore.catalog.database import Connection, SqlValue
    from artifactstore.domain.event import Event
    from artifactstore.domain.instant import Instant

LOG_TAG = b"artifactstore event log v1\x00"
CHAIN_TAG = b"artifactstore event v1\x00"


class EventRecord(NamedTuple):
    """An event as the log holds it."""

    seq: int
    at: int
    type: str
    subject: str
    actor: str
    header: bytes
    chain: bytes
    payload: bytes


_COLUMNS = "seq, at, type, subject, actor, header, chain, payload"
_TYPES_PER_STATEMENT = 100
"""SQLite takes 500 at most."""
_AT_A_TIME = 16
"""Events in memory while the log is read: a payload may name 10,000 files."""


def create(connection: Connection, log_id: bytes, created_at: Instant) -> None:
    """Give a new database its log. Harmless where there is one."""
    if not list(connection.execute("SELECT 1 FROM event_log")):
        connection.execute("INSERT INTO event_log (log_id, created_at) VALUES (?, ?)", (log_id, created_at))


def log_id(connection: Connection) -> bytes:
    """The log's random identity."""
    ((found,),) = connection.execute("SELECT log_id FROM event_log")
    return bytes(found)


def append(connection: Connection, events: Sequence[Event], *, actor: str, at: Instant) -> None:
    """Append events. The caller holds the append lock."""
    seq, latest_at, chain = _tip(connection)
    now = max(at, latest_at)
    rows = []
    for event in events:
        seq += 1
        payload = event.payload()
        header = encode_header(seq, now, event.type, event.subject, actor, payload=payload)
        chain = next_chain(chain, header)
        rows.append(EventRecord(seq, now, event.type, event.subject, actor, header, chain, payload))
    connection.insert(f"event ({_COLUMNS})", rows)


def latest_seq(connection: Connection) -> int:
    """The sequence number of the newest event, 0 for an empty log."""
    return next((row[0] for row in connection.execute("SELECT seq FROM event ORDER BY seq DESC LIMIT 1")), 0)


def latest_at(connection: Connection) -> int:
    """When the newest event was, 0 for an empty log."""
    return _tip(connection)[1]


def latest_chain(connection: Connection) -> bytes:
    """The newest event's chain value, ``chain_0`` for an empty log."""
    return _tip(connection)[2]


def chain_at(connection: Connection, seq: int) -> bytes:
    """The chain value of an event, ``chain_0`` for 0. Raises ``EventLogCorruptError`` if there is no such event."""
    if seq == 0:
        return first_chain(log_id(connection))
    for (chain,) in connection.execute("SELECT chain FROM event WHERE seq = ?", (seq,)):
        return bytes(chain)
    raise EventLogCorruptError(f"event {seq} is missing")


def newest_of_type(connection: Connection, type_name: str) -> EventRecord | None:
    """The last event of a type."""
    sql = f"SELECT {_COLUMNS} FROM event WHERE type = ? ORDER BY type DESC, seq DESC LIMIT 1"
    return next(map(EventRecord._make, connection.execute(sql, (type_name,))), None)


def adopt(connection: Connection, identity: bytes) -> None:
    """Be the log of this identity from now on, instead of a new one. Only a log without an event may become another."""
    if latest_seq(connection):
        raise EventLogCorruptError("a log that has events cannot become another one")
    connection.execute("UPDATE event_log SET log_id = ?", (identity,))


def following(events: Iterable[tuple[bytes, bytes]], *, seq: int, chain: bytes) -> Iterator[EventRecord]:
    """Events as they stand in a log, each given as its header and its payload, and checked before it is given.

    They follow the event of this number and chain value. Raises ``EventLogCorruptError`` at the first bad one.
    """
    at = 0
    for header, payload in events:
        record = _from_header(header, payload, chain, seq + 1)
        check_record(record, seq + 1, at, chain)
        yield record
        seq, at, chain = record.seq, record.at, record.chain


def add(connection: Connection, records: Sequence[EventRecord]) -> None:
    """Put events into the log as they are. The caller holds the append lock and has checked that they follow."""
    connection.insert(f"event ({_COLUMNS})", records)


def read(
    connection: Connection,
    *,
    after: int = 0,
    limit: int | None = None,
    subject: str | None = None,
    with_payload: bool = True,
) -> Iterator[EventRecord]:
    """Events with a higher sequence number than ``after``, in order; all of them, or those of one subject.

    Without payloads, which may be large, each is empty.
    """
    condition, parameters = _from(after, subject)
    columns = _COLUMNS
    if not with_payload:
        columns, parameters = f"{_COLUMNS.removesuffix('payload')}?", (b"", *parameters)
    sql = f"SELECT {columns} FROM event WHERE {condition} ORDER BY seq"
    if limit is None:
        return map(EventRecord._make, connection.stream(sql, parameters, at_a_time=_AT_A_TIME))
    return map(EventRecord._make, connection.execute(f"{sql} LIMIT {int(limit)}", parameters))


def how_many_within(connection: Connection, max_bytes: int, *, after: int, limit: int, subject: str | None) -> int:
    """How many of a page's events come to at most so many bytes of payload; one at least."""
    condition, parameters = _from(after, subject)
    sql = f"SELECT length(payload) FROM event WHERE {condition} ORDER BY seq LIMIT {int(limit)}"
    count = total = 0
    for (size_bytes,) in connection.execute(sql, parameters):
        total += size_bytes
        if count and total > max_bytes:
            break
        count += 1
    return max(count, 1)


def next_of_types(connection: Connection, types: Sequence[str], *, after: int, limit: int) -> list[int]:
    """The sequence numbers of the next events of these types, in order. Those of other types are not looked at."""
    wanted = list(dict.fromkeys(types))
    found: list[int] = []
    for at in range(0, len(wanted), _TYPES_PER_STATEMENT):
        found += _next_of_types(connection, wanted[at : at + _TYPES_PER_STATEMENT], after, limit)
    return sorted(found)[:limit]


def _next_of_types(connection: Connection, types: Sequence[str], after: int, limit: int) -> list[int]:
    # not as pairs: SQLite compares no pair with the rowid of an index's entry, and would read the type from its start
    one_type = "SELECT seq FROM (SELECT seq FROM event WHERE type = ? AND seq > ? ORDER BY type, seq LIMIT ?) AS one"
    parameters: list[SqlValue] = [value for name in types for value in (name, after, limit)]
    sql = f"{' UNION ALL '.join([one_type] * len(types))} ORDER BY seq LIMIT ?"
    return [seq for (seq,) in connection.execute(sql, (*parameters, limit))]


def _from(after: int, subject: str | None) -> tuple[str, tuple[SqlValue, ...]]:
    return ("seq > ?", (after,)) if subject is None else ("subject = ? AND seq > ?", (subject, after))


def checked(connection: Connection) -> Iterator[EventRecord]:
    """Every event in order, each checked before it is given. Raises ``EventLogCorruptError`` at the first bad one."""
    chain, previous_at = first_chain(log_id(connection)), 0
    for expected_seq, record in enumerate(read(connection), start=1):
        check_record(record, expected_seq, previous_at, chain)
        chain, previous_at = record.chain, record.at
        yield record


def encode_header(seq: int, at: int, type_name: str, subject: str, actor: str, *, payload: bytes) -> bytes:
    """The chained bytes of an event."""
    fields = {
        "at": at,
        "seq": seq,
        "type": type_name,
        "actor": actor,
        "subject": subject,
        "payload_digest": blake3(payload).digest(),
    }
    return encode_ordered(fields)


def first_chain(identity: bytes) -> bytes:
    """``chain_0`` of a log."""
    return blake3(LOG_TAG + identity).digest()


def next_chain(previous: bytes, header: bytes) -> bytes:
    """``chain_n`` from ``chain_{n-1}``."""
    return blake3(CHAIN_TAG + previous + header).digest()


def _tip(connection: Connection) -> tuple[int, int, bytes]:
    for seq, at, chain in connection.execute("SELECT seq, at, chain FROM event ORDER BY seq DESC LIMIT 1"):
        return seq, at, bytes(chain)
    return 0, 0, first_chain(log_id(connection))


def _from_header(header: bytes, payload: bytes, previous_chain: bytes, expected_seq: int) -> EventRecord:
    try:
        members = decode(header)
        seq, at, texts = members["seq"], members["at"], (members["type"], members["subject"], members["actor"])
    except (ManifestInvalidError, KeyError, TypeError) as error:
        raise EventLogCorruptError(f"event {expected_seq}: the header is not one of an event") from error
    if not (isinstance(seq, int) and isinstance(at, int) and all(isinstance(text, str) for text in texts)):
        raise EventLogCorruptError(f"event {expected_seq}: the header is not one of an event")
    return EventRecord(seq, at, *texts, header=header, chain=next_chain(previous_chain, header), payload=payload)


def check_record(record: EventRecord, expected_seq: int, previous_at: int, previous_chain: bytes) -> None:
    """Raises ``EventLogCorruptError`` unless the event is whole and follows the one before it."""
    where = f"event {expected_seq}"
    if record.seq != expected_seq:
        raise EventLogCorruptError(f"{where} is missing; the next one is {record.seq}")
    if record.chain != next_chain(previous_chain, record.header):
        raise EventLogCorruptError(f"{where}: the chain does not hold here")
    try:
        decode(record.header)
    except ManifestInvalidError as error:
        raise EventLogCorruptError(f"{where}: the header is not canonical CBOR") from error
    if record.header != encode_header(*record[:5], payload=record.payload):
        raise EventLogCorruptError(f"{where}: the payload or a column is not what the header says")
    if record.at < previous_at:
        raise EventLogCorruptError(f"{where}: its time is before that of the event before it")
