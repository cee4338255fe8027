"""The pilot's tables, all projected: records, their surfaces, the latest of each, totals, and what is judged by."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, SmallInteger
from sqlmodel import Field, SQLModel

from artifactstore.catalog.tables.columns import TEXT, key_of, reference, required, row_id


class RecordRow(SQLModel, table=True):
    """A record, and the package that it is. Of two under one external id the accepted one counts."""

    __tablename__ = "testing_os_record"
    __table_args__ = (
        Index("testing_os_record_by_external_id", "external_id", "id"),
        Index("testing_os_record_by_repo", "repo", "finished_ms", "package"),
    )

    id: int | None = Field(default=None, sa_column=row_id())
    package: int = Field(sa_column=Column(BigInteger, ForeignKey("package.id"), nullable=False, unique=True))
    external_id: str = Field(sa_column=required(TEXT))
    repo: str = Field(sa_column=required(TEXT))
    run_id: str = Field(sa_column=required(TEXT))
    profile: str = Field(sa_column=required(TEXT))
    status: str = Field(sa_column=required(TEXT))
    verified: str = Field(sa_column=required(TEXT))
    may_be_replaced: int = Field(sa_column=required(SmallInteger))
    contract_major: int | None = Field(default=None, sa_column=Column(BigInteger))
    finished_at: str = Field(sa_column=required(TEXT))
    finished_ms: int = Field(sa_column=required(BigInteger))
    path: str = Field(sa_column=required(TEXT))
    recorded_at: int = Field(sa_column=required(BigInteger))
    recorded_by: str = Field(sa_column=required(TEXT))


class SurfaceRow(SQLModel, table=True):
    """A surface of an accepted record."""

    __tablename__ = "testing_os_surface"
    __table_args__ = (
        Index("testing_os_surface_by_outcome", "repo", "surface", "is_passing", "finished_ms"),
        {"sqlite_with_rowid": False},
    )

    record: int = Field(sa_column=key_of("testing_os_record.id"))
    position: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    repo: str = Field(sa_column=required(TEXT))
    surface: str = Field(sa_column=required(TEXT))
    is_passing: int = Field(sa_column=required(SmallInteger))
    finished_ms: int = Field(sa_column=required(BigInteger))


class LatestRow(SQLModel, table=True):
    """A surface of a repository: its place in the indexes, and the latest record of it."""

    __tablename__ = "testing_os_latest"
    __table_args__ = {"sqlite_with_rowid": False}

    repo: str = Field(sa_column=Column(TEXT, primary_key=True))
    surface: str = Field(sa_column=Column(TEXT, primary_key=True))
    first_order: str = Field(sa_column=required(TEXT))
    latest_ms: int = Field(sa_column=required(BigInteger))
    latest_order: str = Field(sa_column=required(TEXT))
    record: int = Field(sa_column=reference("testing_os_record.id"))
    failing_since_ms: int | None = Field(default=None, sa_column=Column(BigInteger))


class TotalsRow(SQLModel, table=True):
    """One row: how many records there are."""

    __tablename__ = "testing_os_totals"

    id: int = Field(sa_column=Column(SmallInteger, primary_key=True, autoincrement=False))
    accepted: int = Field(sa_column=required(BigInteger))
    rejected: int = Field(sa_column=required(BigInteger))


class PoliciesRow(SQLModel, table=True):
    """At most one row: the policies that are adopted, and the package that they are."""

    __tablename__ = "testing_os_policies"

    id: int = Field(sa_column=Column(SmallInteger, primary_key=True, autoincrement=False))
    package: int = Field(sa_column=reference("package.id"))
    digest: str = Field(sa_column=required(TEXT))
    adopted_at: int = Field(sa_column=required(BigInteger))
    adopted_by: str = Field(sa_column=required(TEXT))
