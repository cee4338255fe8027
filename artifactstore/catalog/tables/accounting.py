"""Projected tables of what is counted: who has how much, what is shared, what of an object is used.

They refer to rows of other tables without foreign keys: these would take locks on rows that others hold while they wait
for the log, and be checked for every blob.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, SmallInteger, text
from sqlmodel import Field, SQLModel

from artifactstore.catalog.tables.columns import ID, TEXT, required, row_id


class ProducerUsage(SQLModel, table=True):
    """What a producer's packages come to, those that are deleted left out."""

    __tablename__ = "producer_usage"

    id: int | None = Field(default=None, sa_column=row_id())
    producer: str = Field(sa_column=Column(TEXT, nullable=False, unique=True))
    packages: int = Field(sa_column=required(BigInteger))
    files: int = Field(sa_column=required(BigInteger))
    logical_bytes: int = Field(sa_column=required(BigInteger))
    unique_bytes: int = Field(sa_column=required(BigInteger))
    shared_bytes: int = Field(sa_column=required(BigInteger))


class SharedBlob(SQLModel, table=True):
    """A blob that several producers have: for each of them, in how many files."""

    __tablename__ = "shared_blob"
    __table_args__ = ({"sqlite_with_rowid": False},)

    blob: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    producer: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    files: int = Field(sa_column=required(BigInteger))


class ObjectUsage(SQLModel, table=True):
    """What of an object is used; written under the lock of the log only, unlike the object's own row."""

    __tablename__ = "object_usage"
    __table_args__ = (
        Index(
            "object_usage_dead", "backend", "object",
            sqlite_where=text("dead_bytes > 0"), postgresql_where=text("dead_bytes > 0"),
        ),
    )  # fmt: skip

    object: int | None = Field(default=None, sa_column=Column(ID, primary_key=True, autoincrement=False))
    backend: str = Field(sa_column=required(TEXT))
    kind: str = Field(sa_column=required(TEXT))
    size_bytes: int = Field(sa_column=required(BigInteger))
    used: int = Field(sa_column=required(BigInteger))
    used_bytes: int = Field(sa_column=required(BigInteger))
    dead_bytes: int = Field(sa_column=required(BigInteger))
    is_condemned: int = Field(sa_column=required(SmallInteger))


class BackendUsage(SQLModel, table=True):
    """What lies in a backend, by kind of object: all of it, what nothing uses, what is condemned."""

    __tablename__ = "backend_usage"
    __table_args__ = ({"sqlite_with_rowid": False},)

    backend: str = Field(sa_column=Column(TEXT, primary_key=True))
    kind: str = Field(sa_column=Column(TEXT, primary_key=True))
    objects: int = Field(sa_column=required(BigInteger))
    size_bytes: int = Field(sa_column=required(BigInteger))
    dead_objects: int = Field(sa_column=required(BigInteger))
    dead_object_bytes: int = Field(sa_column=required(BigInteger))
    dead_in_use_bytes: int = Field(sa_column=required(BigInteger))
    condemned_objects: int = Field(sa_column=required(BigInteger))
    condemned_bytes: int = Field(sa_column=required(BigInteger))
