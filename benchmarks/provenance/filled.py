"""A catalog that holds many observations already, made by a few statements of SQL.

The rows are those of ``observations``, of the same sizes, in the order in which they would have been recorded and with
ids as random as real ones, so that indexes are as they would have become. Headers, chain values and payloads of events
are only as long as real ones: nothing that is measured reads one, but the newest chain value.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.bootstrap import is_postgresql
from benchmarks.provenance.bare import TABLES
from benchmarks.provenance.observations import NAME, PAYLOAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_AT_ONCE = 100_000
_AT = 1_767_225_600_000_000
_METADATA = '{"folder":"INBOX","size":12345}'
_BY = f"'{NAME}', '1.0', '1', 0, {_AT}, 'plugin:{NAME}@1.0'"


class _Dialect(NamedTuple):
    """What the databases write differently."""

    random: Callable[[int], str]
    """So many bytes."""
    hexadecimal: str
    digits: str
    """A number as text."""


_SQLITE = _Dialect("randomblob({})".format, "lower(hex({}))", "cast({} AS text)")
_POSTGRESQL = _Dialect(
    lambda count: f"substr(decode(repeat(md5(random()::text), {-(-count // 16)}), 'hex'), 1, {count})",
    "encode({}, 'hex')",
    "({})::text",
)


def fill(database_url: str, count: int) -> None:
    """Fill an empty database at head, which nobody has open, with ``count`` observations."""
    if is_postgresql(database_url):
        import psycopg

        with psycopg.connect(database_url) as postgresql:
            for sql in [*_statements(_POSTGRESQL, count), *_sequences(count)]:
                postgresql.execute(sql)
        return
    with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -1000000")
        for sql in _statements(_SQLITE, count):
            connection.execute(sql)


def _statements(dialect: _Dialect, count: int) -> Iterator[str]:
    for first in range(1, count + 1, _AT_ONCE):
        last = min(count, first + _AT_ONCE - 1)
        yield from _batch(dialect, first, last)


def _batch(dialect: _Dialect, first: int, last: int) -> Iterator[str]:
    numbers = f"WITH RECURSIVE numbers (n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n < {last})"
    within = f"BETWEEN {first} AND {last}"
    address = dialect.random(32)
    message, name = (dialect.hexadecimal.format(dialect.random(count)) for count in (16, 4))
    yield (
        f"INSERT INTO source ({TABLES['source']}) {numbers} SELECT n, {address}, 'url',"
        f" 'imaps://mail.example.org/INBOX/' || {message}, NULL, 'message/rfc822', 'Message ' || {name},"
        f" '{_METADATA}', {_BY} FROM numbers"
    )
    yield (
        f"INSERT INTO envelope ({TABLES['envelope']}) {numbers} SELECT n, {address}, n, 'imap', {_AT} + n,"
        f" {dialect.random(PAYLOAD_BYTES)}, {_BY} FROM numbers"
    )
    for ordinal, (role, trust) in enumerate((("sender", "claimed"), ("recipient", "verified"))):
        yield (
            f"INSERT INTO party ({TABLES['party']}) {numbers} SELECT n, {ordinal}, 'email', NULL,"
            f" '{role}-' || {dialect.digits.format('n % 1000')} || '@example.org', '{role}', '{trust}' FROM numbers"
        )
    for place, (kind, table, payload_bytes) in enumerate(_EVENTS):
        subject = dialect.hexadecimal.format(f"{table}_id")
        yield (
            f"INSERT INTO event ({TABLES['event']}) SELECT 3 * id - {2 - place}, {_AT}, '{kind}', {subject},"
            f" 'plugin:{NAME}@1.0', {dialect.random(_HEADER_BYTES)}, {address}, {dialect.random(payload_bytes)}"
            f" FROM {table} WHERE id {within} ORDER BY id"
        )


_EVENTS = (
    ("v1.source.indexed", "source", 324),
    ("v1.core.envelope_indexed", "envelope", 349 + PAYLOAD_BYTES),
    ("v1.core.ingested", "envelope", 107),
)
_HEADER_BYTES = 201


def _sequences(count: int) -> Iterator[str]:
    for table in ("source", "envelope"):
        yield f"SELECT setval('{table}_id_seq', {count})"
