"""Projected tables: where things were observed, and who took part."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, SmallInteger
from sqlmodel import Field, SQLModel

from artifactstore.catalog.tables.columns import TEXT, key_of, reference, required, row_id


class Source(SQLModel, table=True):
    """Where something was observed. Its id follows from its kind and path; who found it first says the rest."""

    __tablename__ = "source"

    id: int | None = Field(default=None, sa_column=row_id())
    source_id: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    location_kind: str = Field(sa_column=required(TEXT))
    path_id: str = Field(sa_column=required(TEXT))
    owner_host_id: str | None = Field(default=None, sa_column=Column(TEXT))
    content_type: str | None = Field(default=None, sa_column=Column(TEXT))
    display_name: str | None = Field(default=None, sa_column=Column(TEXT))
    metadata_json: str | None = Field(default=None, sa_column=Column(TEXT))
    plugin_name: str = Field(sa_column=required(TEXT))
    plugin_version: str | None = Field(default=None, sa_column=Column(TEXT))
    contract_version: str = Field(sa_column=required(TEXT))
    is_declared: int = Field(sa_column=required(SmallInteger))
    indexed_at: int = Field(sa_column=required(BigInteger))
    indexed_by: str = Field(sa_column=required(TEXT))


class Envelope(SQLModel, table=True):
    """One observation of a source. ``is_declared``: the plug-in's name is what a caller over HTTP said."""

    __tablename__ = "envelope"
    __table_args__ = (
        Index("envelope_by_source", "source", "id"),
        Index("envelope_by_source_and_actor", "source", "indexed_by", "id"),
    )

    id: int | None = Field(default=None, sa_column=row_id())
    envelope_id: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    source: int = Field(sa_column=reference("source.id"))
    transport: str = Field(sa_column=required(TEXT))
    received_at: int = Field(sa_column=required(BigInteger))
    raw_payload: bytes = Field(sa_column=required(LargeBinary))
    plugin_name: str = Field(sa_column=required(TEXT))
    plugin_version: str | None = Field(default=None, sa_column=Column(TEXT))
    contract_version: str = Field(sa_column=required(TEXT))
    is_declared: int = Field(sa_column=required(SmallInteger))
    indexed_at: int = Field(sa_column=required(BigInteger))
    indexed_by: str = Field(sa_column=required(TEXT))


class Party(SQLModel, table=True):
    """Who took part in what an envelope observed; ``ordinal`` counts as the plug-in named them."""

    __tablename__ = "party"
    __table_args__ = {"sqlite_with_rowid": False}

    envelope: int = Field(sa_column=key_of("envelope.id"))
    ordinal: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    identifier_kind: str = Field(sa_column=required(TEXT))
    identifier_scope: str | None = Field(default=None, sa_column=Column(TEXT))
    identifier_value: str = Field(sa_column=required(TEXT))
    role: str = Field(sa_column=required(TEXT))
    trust: str = Field(sa_column=required(TEXT))


class PackageObservation(SQLModel, table=True):
    """An envelope that observed a package."""

    __tablename__ = "package_observation"
    __table_args__ = (
        Index("package_observation_by_envelope", "envelope", "producer", "package"),
        {"sqlite_with_rowid": False},
    )

    package: int = Field(sa_column=key_of("package.id"))
    envelope: int = Field(sa_column=key_of("envelope.id"))
    observed_at: int = Field(sa_column=required(BigInteger))
    observed_by: str = Field(sa_column=required(TEXT))
    producer: str = Field(sa_column=required(TEXT))
