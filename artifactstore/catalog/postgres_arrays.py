"""Columns of many rows as PostgreSQL's binary arrays: a few thousand values are one parameter of a statement.

psycopg makes arrays value by value, which takes longer than the database takes to store them.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from psycopg.adapt import Dumper
from psycopg.pq import Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.catalog.database import SqlValue

_HEADER = struct.Struct(">iiiii")
_LENGTH = struct.Struct(">i")
_INT8 = struct.Struct(">iq")
_NULL = _LENGTH.pack(-1)


class _Array(bytes):
    """An encoded array."""

    __slots__ = ()


class _Integers(_Array):
    __slots__ = ()


class _Texts(_Array):
    __slots__ = ()


class _Binaries(_Array):
    __slots__ = ()


class _ArrayDumper(Dumper):
    """The bytes are what the server expects."""

    format = Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        """As it is."""
        return obj


class _IntegersDumper(_ArrayDumper):
    oid = 1016  # int8[]


class _TextsDumper(_ArrayDumper):
    oid = 1009  # text[]


class _BinariesDumper(_ArrayDumper):
    oid = 1001  # bytea[]


DUMPERS: dict[type[bytes], type[Dumper]] = {
    _Integers: _IntegersDumper,
    _Texts: _TextsDumper,
    _Binaries: _BinariesDumper,
}


def column_arrays(names: Sequence[str], rows: Sequence[Sequence[SqlValue]]) -> tuple[list[str], list[bytes]]:
    """The columns that have a value in some row, and an array for each; a column without is left to be null."""
    columns, arrays = [], list[bytes]()
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        sample = next((value for value in values if value is not None), None)
        if sample is not None:
            columns.append(name)
            arrays.append(_encode(sample, values))
    return columns, arrays


def _encode(sample: str | int | bytes, values: Sequence[SqlValue]) -> _Array:
    """An array of the sample's type."""
    if isinstance(sample, int):
        return _Integers(_head(20, values) + b"".join([_integer(value) for value in values]))  # type: ignore[arg-type]
    if isinstance(sample, str):
        return _Texts(_head(25, values) + b"".join([_text(value) for value in values]))  # type: ignore[arg-type]
    return _Binaries(_head(17, values) + b"".join([_binary(value) for value in values]))  # type: ignore[arg-type]


def _head(element_oid: int, values: Sequence[SqlValue]) -> bytes:
    dimensions, has_null, lower_bound = 1, 1, 1
    return _HEADER.pack(dimensions, has_null, element_oid, len(values), lower_bound)


def _integer(value: int | None) -> bytes:
    return _NULL if value is None else _INT8.pack(8, value)


def _text(value: str | None) -> bytes:
    return _NULL if value is None else _binary(value.encode())


def _binary(value: bytes | None) -> bytes:
    return _NULL if value is None else _LENGTH.pack(len(value)) + value
