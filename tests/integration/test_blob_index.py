"""Blobs are looked up by the first eight bytes of their address; blobs that share them stay apart (docs/adr/0005)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import scratch_database
from artifactstore.catalog import blobs
from artifactstore.domain.digest import BlobMeasure
from artifactstore.errors import CatalogCorruptError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.catalog.database import Connection

PREFIX = bytes(range(0xF8, 0x100))
ALIKE = [BlobMeasure(PREFIX + bytes([number]) * 24, bytes(32), number, 0, b"") for number in range(3)]
ADDRESSES = [blob.blake3 for blob in ALIKE]
MEASURES = {blob.blake3: blob for blob in ALIKE}


@pytest.fixture
def connection() -> Iterator[Connection]:
    with scratch_database() as database, database.write() as connection:
        yield connection


def test_blobs_with_one_prefix_stay_apart(connection: Connection) -> None:
    first = blobs.add(connection, ADDRESSES[:1], MEASURES)[0]
    everything = blobs.add(connection, ADDRESSES, MEASURES)[0]

    assert everything == {**everything, **first}
    assert 3 == len(set(everything.values()))
    rows = connection.execute("SELECT address_ordinal, size_bytes FROM blob ORDER BY address_ordinal")
    assert [0, 1, 2] == [ordinal for ordinal, _ in rows]


def test_a_known_blob_is_not_added_again(connection: Connection) -> None:
    before = blobs.add(connection, ADDRESSES, MEASURES)[0]

    after = blobs.add(connection, ADDRESSES, MEASURES)[0]

    assert before == after
    assert [(3,)] == list(connection.execute("SELECT count(*) FROM blob"))


def test_a_blob_that_only_shares_its_prefix_is_not_known(connection: Connection) -> None:
    blobs.add(connection, ADDRESSES[:1], MEASURES)[0]

    assert {ADDRESSES[0]: False} == blobs.presence(connection, ADDRESSES)
    with pytest.raises(CatalogCorruptError):
        blobs.resolve(connection, ADDRESSES[1:2])
