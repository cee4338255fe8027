"""What the columns of all tables are made of."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, LargeBinary, SmallInteger, Text

ID = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER PRIMARY KEY is SQLite's own row number
TEXT = Text().with_variant(Text(collation="C"), "postgresql")
"""Text in the order of its bytes, on either database: lists are paged by it, and replay compares in it."""


def row_id() -> Column[int]:
    """A surrogate key, which replay may give otherwise."""
    return Column(ID, primary_key=True, autoincrement=True)


def reference(target: str) -> Column[int]:
    """A row of another table."""
    return Column(BigInteger, ForeignKey(target), nullable=False)


def key_of(target: str) -> Column[int]:
    """Another table's row, as part of the primary key."""
    return Column(BigInteger, ForeignKey(target), primary_key=True, autoincrement=False)


def required(kind: Text | type[BigInteger | LargeBinary | SmallInteger]) -> Column[object]:
    """A column that is never null."""
    return Column(kind, nullable=False)
