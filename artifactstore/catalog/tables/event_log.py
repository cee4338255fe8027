"""The record: the event log, from which the projected tables follow."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary
from sqlmodel import Field, SQLModel

from artifactstore.catalog.tables.columns import ID, TEXT, required


class EventLog(SQLModel, table=True):
    """The log's random identity, from which its chain starts. One row."""

    __tablename__ = "event_log"

    log_id: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    created_at: int = Field(sa_column=required(BigInteger))


class EventRow(SQLModel, table=True):
    """One event. ``header`` is the chained record; type, subject, actor and at repeat it for queries."""

    __tablename__ = "event"
    __table_args__ = (Index("event_by_subject", "subject", "seq"), Index("event_by_type", "type", "seq"))

    seq: int = Field(sa_column=Column(ID, primary_key=True, autoincrement=False))
    at: int = Field(sa_column=required(BigInteger))
    type: str = Field(sa_column=required(TEXT))
    subject: str = Field(sa_column=required(TEXT))
    actor: str = Field(sa_column=required(TEXT))
    header: bytes = Field(sa_column=required(LargeBinary))
    chain: bytes = Field(sa_column=required(LargeBinary))
    payload: bytes = Field(sa_column=required(LargeBinary))
