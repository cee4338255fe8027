"""A catalog of very many packages, written by the database itself: rows as ingests leave them, and no bytes.

The same SQL fills either database from one table of numbers. In every column that a list may filter by there is what is
rare and what is common: 20 producers, of which one has five packages and one the oldest tenth; a blob that a tenth of
all packages have, a metadata value that nine tenths have; states, schemas and classes from few packages to most.
"""

from __future__ import annotations

import struct
from importlib import import_module
from typing import TYPE_CHECKING, Any

from artifactstore.catalog.postgres import PostgresConnection
from artifactstore.domain.canonical import encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.catalog.database import Connection
    from artifactstore.registry.registry import Registry

NOW = 1_800_000_000_000_000
"""What is due expires before it: 300 packages, of which 50 are held."""
DUE, HELD = 300, 50
RARE_PRODUCER, OLD_PRODUCER = "producer-rare", "producer-old"
BIG_PACKAGE = 2
"""The row id of a package with very many files, observed by very many envelopes; and of a source that has those."""
BUSY_ENVELOPE = 1
"""The row id of an envelope that observed very many packages."""
OPEN_OWNER = "token:ci-1"
BIG_REPO = "o/big"
"""A repository with half of all records, the most of them finished at different times, very many at one."""
SAME_MS = 1_790_000_000_000
_DRAFT = encode({"retention_class": "raw-evidence", "as_revision": False})
_NO_BLOBS = encode([])

_BYTES = {"draft": _DRAFT, "none": _NO_BLOBS, "digest": bytes(32)}
_SQLITE_LITERALS = {name: f"x'{data.hex()}'" for name, data in _BYTES.items()}
_POSTGRES_LITERALS = {name: f"'\\x{data.hex()}'::bytea" for name, data in _BYTES.items()}
_ROWS = """
INSERT INTO metadata_schema SELECT 'schema-' || (n - 1), '{{}}', {now}, 'local:x' FROM numbers WHERE n <= 10;
INSERT INTO package (id, package_id, producer, external_id, subject, schema_slug, metadata_json, revision, status,
    opened_at, opened_by, finalized_at, manifest_digest, file_count, total_bytes, stored_bytes, retention_class,
    duration_days, expires_at, expired_at) SELECT n, {package_id}, {producer}, CASE WHEN n % 1000 = 5 THEN 'nightly'
    WHEN n % 10 <> 0 THEN 'run-' || n END, CASE WHEN n % 4 <> 0 THEN 'subject-' || (n % 5000) END, CASE WHEN n %
    {fifth} = 1 THEN 'schema-9' WHEN n % 20 <> 0 THEN 'schema-' || (n % 9) END, '{{"branch":"main","build":' || n ||
    '}}', n / 1000 + 1, CASE WHEN n % 1000 = 3 THEN 'deleted' WHEN n % 7 = 0 AND n < {half} THEN 'expired' ELSE
    'finalized' END, {now} - n, 'token:ci', {now} - n, digest_of(2, n), 2, 8192, 8192, CASE n % 20 WHEN 0 THEN
    'permanent-record' WHEN 1 THEN 'release-evidence' WHEN 2 THEN 'transient' WHEN 3 THEN 'summary-evidence' ELSE
    'raw-evidence' END, 90, CASE WHEN n % 20 <> 0 THEN {now} + (n - {due}) * 1000000 END, NULL FROM numbers;
INSERT INTO package_metadata (key, value, package, producer) SELECT 'branch', CASE WHEN n % 10 = 0 THEN 'feature-'
    || (n % 500) ELSE 'main' END, n, {producer} FROM numbers;
INSERT INTO package_metadata (key, value, package, producer) SELECT 'build', '' || n, n, {producer} FROM numbers;
INSERT INTO blob (id, address_prefix, address_ordinal, blake3, sha256, size_bytes, crc32) SELECT n, prefix_of(n), 0,
    digest_of(0, n), digest_of(1, n), CASE WHEN n % 100 = 7 THEN 1048576 + n ELSE 4096 END, n FROM numbers;
INSERT INTO package_file (package, file_index, path, role, media_type, blob_id) SELECT n, 0, 'a-report.json',
    'report', 'application/json', n FROM numbers;
INSERT INTO package_file (package, file_index, path, role, media_type, blob_id) SELECT n, 1, 'b-data', 'artifact',
    'text/plain', n * 7919 % {count} + 1 FROM numbers;
INSERT INTO package_file (package, file_index, path, role, media_type, blob_id) SELECT n, 2, 'c-log', 'log',
    'text/plain', n * 104729 % {count} + 1 FROM numbers;
INSERT INTO package_file (package, file_index, path, role, media_type, blob_id) SELECT n, 3, 'd-license',
    'artifact', 'text/plain', 1 FROM numbers WHERE n % 10 = 0;
INSERT INTO package_file (package, file_index, path, role, media_type, blob_id) SELECT {big}, n + 3, 'e' ||
    (100000000 + n), 'artifact', 'text/plain', n FROM numbers WHERE n <= {few};
INSERT INTO stored_object (id, backend, kind, blake3, size_bytes, status) SELECT n, CASE WHEN n % {fifth} = 9 THEN
    'archive' ELSE 'default' END, 'pack', digest_of(3, n), 5000, CASE WHEN n % 10007 = 11 THEN 'damaged' ELSE 'live'
    END FROM numbers;
INSERT INTO stored_object (id, backend, kind, blake3, size_bytes, status) SELECT n + {count}, 'default', 'manifest',
    digest_of(2, n), 300, 'live' FROM numbers;
INSERT INTO blob_location (blob_id, object_id, start, status) SELECT n, n, 40, CASE WHEN n % 10007 = 11 THEN
    'damaged' ELSE 'live' END FROM numbers;
INSERT INTO blob_location (blob_id, object_id, start, status) SELECT n, n - 1, 4200, 'live' FROM numbers WHERE n %
    50 = 2;
INSERT INTO hold (id, hold_id, package, reason, placed_at, placed_by, released_at) SELECT n, 'hold-' || n, n,
    'audit', {now}, 'local:x', CASE WHEN n > {held} THEN {now} END FROM numbers WHERE n <= {held} OR n % 100 = 0;
INSERT INTO event (seq, at, type, subject, actor, header, chain, payload) SELECT 4 * n - 3, {now} - {count} + n,
    'v1.package.opened', {package_id}, 'token:ci', {digest}, {digest}, {digest} FROM numbers;
INSERT INTO event (seq, at, type, subject, actor, header, chain, payload) SELECT 4 * n - 2, {now} - {count} + n,
    'v1.package.files_added', {package_id}, 'token:ci', {digest}, {digest}, {digest} FROM
    numbers;
INSERT INTO event (seq, at, type, subject, actor, header, chain, payload) SELECT 4 * n - 1, {now} - {count} + n,
    'v1.retention.applied', {package_id}, 'token:ci', {digest}, {digest}, {digest} FROM numbers;
INSERT INTO event (seq, at, type, subject, actor, header, chain, payload) SELECT 4 * n - 0, {now} - {count} + n,
    'v1.package.finalized', {package_id}, 'token:ci', {digest}, {digest}, {digest} FROM numbers;
INSERT INTO lease (lease_id, purpose, owner, opened_at, heartbeat_at) SELECT 'lease-' || n, 'ingest', 'local:x',
    {now}, {now} FROM numbers WHERE n <= 100;
INSERT INTO token (token_id, name, secret_sha256, scopes, created_at, created_by, revoked_at) SELECT 'token-' || n,
    'ci-' || (n % 500), digest_of(5, n), 'read', {now} - n, 'local:x', CASE WHEN n > 500 THEN {now} END FROM numbers
    WHERE n <= 1000;
INSERT INTO open_package (package_id, producer, opened_by, opened_at, expires_at, draft, receipt) SELECT {open_id},
    'producer-1', 'token:ci-' || (n % 100), {now}, {now} + (n - 50) * 1000000, {draft}, CASE WHEN n % 50 <> 1 THEN
    '{{}}' END FROM numbers WHERE n <= {few};
INSERT INTO declared_files (package_id, files) SELECT {open_id}, {none} FROM numbers WHERE n <= {few} AND n % 50 = 1;
INSERT INTO received_object (package_id, blake3, kind, backend, size_bytes, blobs) SELECT {open_id}, digest_of(6,
    n), 'pack', 'default', 5000, {none} FROM numbers WHERE n <= {few};
INSERT INTO removal (blake3, kind, backend, condemned_at, begun_at) SELECT digest_of(3, n), 'pack', 'default',
    {now} - n, CASE WHEN n % 10 = 0 THEN {now} END FROM numbers WHERE n <= 100;
INSERT INTO received_file (package_id, path, role, media_type, blake3, sha256, size_bytes) SELECT {open_id}, 'a',
    'artifact', 'text/plain', digest_of(0, n), digest_of(1, n), 4096 FROM numbers WHERE n <= {few};
INSERT INTO upload (upload_id, package_id, path, role, media_type, size_bytes, received_bytes) SELECT 'upload-' ||
    n, {open_id}, 'large', 'artifact', 'text/plain', 9000000, 4000000 FROM numbers WHERE n <= {few};
INSERT INTO upload_part (upload_id, start, size_bytes, backend, blake3) SELECT 'upload-' || n, 0, 4000000,
    'default', digest_of(7, n) FROM numbers WHERE n <= {few};
INSERT INTO idempotency_key (caller, key, request_digest, answer, created_at) SELECT 'token:ci-' || (n % 100),
    'key-' || n, digest_of(8, n), 'x', {now} + (n - 50) * 1000000 FROM numbers WHERE n <= {few};
INSERT INTO webhook_delivery (webhook, seq, attempted_at, took_us, status, error) SELECT CASE WHEN n % {fifth} = 1
    THEN 'rare' ELSE 'common' END, 4 * n, {now} + (n - 2000) * 1000000, 900, 200, NULL FROM numbers;
INSERT INTO source (id, source_id, location_kind, path_id, plugin_name, contract_version, is_declared, indexed_at,
    indexed_by) SELECT n, digest_of(9, n), 'file', 'file:///' || n, 'mailbox', '1', 0, {now}, 'token:ci-1' FROM numbers;
INSERT INTO envelope (id, envelope_id, source, transport, received_at, raw_payload, plugin_name, contract_version,
    is_declared, indexed_at, indexed_by) SELECT n, digest_of(10, n), n, 'imap', {now}, {digest}, 'mailbox', '1', 0,
    {now}, 'token:ci-' || (n % 100) FROM numbers;
INSERT INTO envelope (id, envelope_id, source, transport, received_at, raw_payload, plugin_name, contract_version,
    is_declared, indexed_at, indexed_by) SELECT n + {count}, digest_of(10, n + {count}), {big}, 'imap', {now}, {digest},
    'mailbox', '1', 0, {now}, CASE WHEN n = 7 THEN 'token:rare' ELSE 'token:common' END FROM numbers WHERE n <= {few};
INSERT INTO party (envelope, ordinal, identifier_kind, identifier_value, role, trust) SELECT n, 0, 'email', n || '@x',
    'author', 'claimed' FROM numbers;
INSERT INTO party (envelope, ordinal, identifier_kind, identifier_value, role, trust) SELECT n, 1, 'email', 'a@x',
    'sender', 'claimed' FROM numbers;
INSERT INTO package_observation (package, envelope, observed_at, observed_by, producer) SELECT n, n, {now},
    'token:ci-1', {producer} FROM numbers;
INSERT INTO package_observation (package, envelope, observed_at, observed_by, producer) SELECT {big}, n +
    {count}, {now}, 'token:ci-1', 'producer-old' FROM numbers WHERE n <= {few};
INSERT INTO package_observation (package, envelope, observed_at, observed_by, producer) SELECT n, {busy},
    {now}, 'token:ci-1', {producer} FROM numbers WHERE n <= {few} AND n <> {busy};
INSERT INTO testing_os_record (id, package, external_id, repo, run_id, profile, status, verified, may_be_replaced,
    finished_at, finished_ms, path, recorded_at, recorded_by) SELECT n, n, CASE WHEN n % 4 = 0 THEN 'o/big/d/often' ELSE
    {repo} || '/d/' || n END, {repo}, '' || n, 'default', 'accepted', CASE WHEN n % 6 = 0 THEN 'pass' ELSE 'fail' END,
    0, 'x', {same_ms} - (n - n % 3) * (n % 3), 'records/' || n, {now}, 'local:x' FROM numbers WHERE n > 10;
INSERT INTO testing_os_surface (record, position, repo, surface, is_passing, finished_ms) SELECT n, 0, {repo}, CASE
    WHEN n % 6 <> 0 AND n % 5 = 0 THEN 'web' WHEN n % 12 = 0 THEN 'api' ELSE 'cli' END, CASE WHEN n % 6 = 0 THEN 1
    ELSE 0 END, {same_ms} - (n - n % 3) * (n % 3) FROM numbers WHERE n > 10;
INSERT INTO testing_os_latest (repo, surface, first_order, latest_ms, latest_order, record) SELECT {repo}, 'cli',
    '0r 0', {same_ms}, '0r 0', n FROM numbers WHERE n > 10 AND n % 2 = 1;
INSERT INTO testing_os_latest (repo, surface, first_order, latest_ms, latest_order, record) SELECT '{big_repo}',
    CASE n WHEN 12 THEN 'cli' WHEN 14 THEN 'web' ELSE 'api' END, '0r 0', {same_ms}, '0r 0', n FROM numbers WHERE n IN
    (12, 14, 16)
"""
"""One statement for each kind of row; ``n`` counts from 1."""
_COLUMNS = {
    "package_id": "'01a1f8b7-5d5e-7097-b1ac-' || (100000000000 + n)",
    "open_id": "'02a1f8b7-5d5e-7097-b1ac-' || (100000000000 + n)",
    "repo": "CASE WHEN n % 2 = 0 THEN '{big_repo}' ELSE 'o/r' || n END",
    "producer": "CASE WHEN n % {fifth} = 0 THEN 'producer-rare' WHEN n < {tenth} THEN 'producer-old'"
    " ELSE 'producer-' || (n % 18) END",
}


def fill(registry: Registry, packages: int) -> None:
    """Write so many packages into an empty catalog. Indexes are made afterwards, all at once."""
    few = max(packages // 20, 1_000)
    values = {
        "count": packages, "now": NOW, "due": DUE, "held": HELD, "big": BIG_PACKAGE, "busy": BUSY_ENVELOPE, "few": few,
        "big_repo": BIG_REPO, "same_ms": SAME_MS,
        "fifth": packages // 5, "tenth": packages // 10, "half": packages // 2,
    }  # fmt: skip
    with registry.transaction() as tx:
        connection = tx.connection
        on_postgres = isinstance(connection, PostgresConnection)
        _prepare(connection, packages)
        indexes = list(_dropped_indexes(connection))
        named = {name: column.format_map(values) for name, column in _COLUMNS.items()}
        literals = _POSTGRES_LITERALS if on_postgres else _SQLITE_LITERALS
        for sql in _ROWS.format_map({**values, **named, **literals}).split(";\n"):
            connection.execute(_in_pg_temp(sql) if on_postgres else sql)
        for sql in indexes:
            connection.execute(sql)
        for sql in import_module("artifactstore.catalog.migrations.versions.0005_the_end_of_packages").COUNT:
            connection.execute(sql)
        if on_postgres:
            for table in (
                "package",
                "blob",
                "stored_object",
                "hold",
                "source",
                "envelope",
                "testing_os_record",
                "producer_usage",
            ):
                connection.execute(f"SELECT setval('{table}_id_seq', (SELECT max(id) FROM {table}))")


def address(n: int) -> bytes:
    """The BLAKE3 digest that blob ``n`` is said to have."""
    return _digest(0, n)


def manifest_of(n: int) -> bytes:
    """The digest of package ``n``'s manifest."""
    return _digest(2, n)


def pack_of(n: int) -> bytes:
    """The digest of the pack that blob ``n`` is in."""
    return _digest(3, n)


def source_of(n: int) -> bytes:
    """The id of source ``n``."""
    return _digest(9, n)


def envelope_of(n: int) -> bytes:
    """The id of envelope ``n``, which is of the source of its number."""
    return _digest(10, n)


def package_id(n: int) -> str:
    """The public id of package ``n``."""
    return f"01a1f8b7-5d5e-7097-b1ac-{100_000_000_000 + n}"


def open_id(n: int) -> str:
    """The id of the open package ``n``; of 50 one is open still, the first."""
    return f"02a1f8b7-5d5e-7097-b1ac-{100_000_000_000 + n}"


def _in_pg_temp(sql: str) -> str:
    return sql.replace("digest_of(", "pg_temp.digest_of(").replace("prefix_of(", "pg_temp.prefix_of(")


def _prefix(n: int) -> int:
    """Scattered over the integers as digests are; no two the same."""
    return (n * 2_654_435_761 % 2**32 - 2**31) * 2**32 + n


def _digest(kind: int, n: int) -> bytes:
    return struct.pack(">qqqq", _prefix(n), kind, n, 0)


def _prepare(connection: Connection, count: int) -> None:
    """A table of numbers, and the two functions that give digests."""
    if isinstance(connection, PostgresConnection):
        connection.execute("SET LOCAL statement_timeout = 0")
        connection.execute(
            "CREATE FUNCTION pg_temp.prefix_of(n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS"
            " 'SELECT (n * 2654435761 % 4294967296 - 2147483648) * 4294967296 + n'"
        )
        connection.execute(
            "CREATE FUNCTION pg_temp.digest_of(kind bigint, n bigint) RETURNS bytea LANGUAGE sql IMMUTABLE AS"
            " 'SELECT int8send(pg_temp.prefix_of(n)) || int8send(kind) || int8send(n) || int8send(0)'"
        )
    else:
        driver: Any = connection
        driver._connection.create_function("prefix_of", 1, _prefix, deterministic=True)
        driver._connection.create_function("digest_of", 2, _digest, deterministic=True)
    connection.execute("CREATE TEMPORARY TABLE numbers (n BIGINT)")
    connection.execute(
        "INSERT INTO numbers WITH RECURSIVE counted (n) AS (SELECT CAST(1 AS BIGINT) UNION ALL"
        f" SELECT n + 1 FROM counted WHERE n < {count}) SELECT n FROM counted"
    )


def _dropped_indexes(connection: Connection) -> Iterator[str]:
    """Drop every index that is no key; what makes them again."""
    found = (
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND NOT EXISTS"
        " (SELECT 1 FROM pg_constraint WHERE conname = indexname)"
        if isinstance(connection, PostgresConnection)
        else "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    )
    for name, sql in list(connection.execute(found)):
        connection.execute(f"DROP INDEX {name}")
        yield sql
