"""Operational tables: never authoritative for content."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, text
from sqlmodel import Field, SQLModel

from artifactstore.catalog.tables.columns import TEXT, required, row_id


class Lease(SQLModel, table=True):
    """A live ingest's or duty's claim. One without a recent heartbeat belongs to a process that is gone."""

    __tablename__ = "lease"

    lease_id: str = Field(sa_column=Column(TEXT, primary_key=True))
    purpose: str = Field(sa_column=required(TEXT))
    owner: str = Field(sa_column=required(TEXT))
    opened_at: int = Field(sa_column=required(BigInteger))
    heartbeat_at: int = Field(sa_column=required(BigInteger))


class Token(SQLModel, table=True):
    """An access token: only the SHA-256 of its text. Unique by name among those that are not revoked."""

    __tablename__ = "token"
    __table_args__ = (
        Index(
            "token_name", "name", unique=True,
            sqlite_where=text("revoked_at IS NULL"), postgresql_where=text("revoked_at IS NULL"),
        ),
    )  # fmt: skip

    token_id: str = Field(sa_column=Column(TEXT, primary_key=True))
    name: str = Field(sa_column=required(TEXT))
    secret_sha256: bytes = Field(sa_column=required(LargeBinary))
    scopes: str = Field(sa_column=required(TEXT))
    created_at: int = Field(sa_column=required(BigInteger))
    created_by: str = Field(sa_column=required(TEXT))
    expires_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    revoked_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    last_used_at: int | None = Field(default=None, sa_column=Column(BigInteger))


class OpenPackage(SQLModel, table=True):
    """A package that is being pushed. Nothing of it is in the log until it is finalized; then ``receipt`` is set."""

    __tablename__ = "open_package"
    __table_args__ = (
        Index("open_package_expiry", "expires_at"),
        Index(
            "open_package_open", "package_id",
            sqlite_where=text("receipt IS NULL"), postgresql_where=text("receipt IS NULL"),
        ),
        Index(
            "open_package_by_owner", "opened_by", "package_id",
            sqlite_where=text("receipt IS NULL"), postgresql_where=text("receipt IS NULL"),
        ),
    )  # fmt: skip

    package_id: str = Field(sa_column=Column(TEXT, primary_key=True))
    producer: str = Field(sa_column=required(TEXT))
    opened_by: str = Field(sa_column=required(TEXT))
    opened_at: int = Field(sa_column=required(BigInteger))
    expires_at: int = Field(sa_column=required(BigInteger))
    draft: bytes = Field(sa_column=required(LargeBinary))
    receipt: str | None = Field(default=None, sa_column=Column(TEXT))
    backend: str | None = Field(default=None, sa_column=Column(TEXT))


class DeclaredFiles(SQLModel, table=True):
    """The files that an open package is to have, as its manifest will say them; no row if they were not declared."""

    __tablename__ = "declared_files"

    package_id: str = Field(sa_column=Column(TEXT, ForeignKey("open_package.package_id"), primary_key=True))
    files: bytes = Field(sa_column=required(LargeBinary))


class ReceivedObject(SQLModel, table=True):
    """An object that holds bytes sent for an open package: as good as a reference to it."""

    __tablename__ = "received_object"
    __table_args__ = (Index("received_object_by_digest", "blake3", "kind"),)

    package_id: str = Field(sa_column=Column(TEXT, ForeignKey("open_package.package_id"), primary_key=True))
    blake3: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    kind: str = Field(sa_column=Column(TEXT, primary_key=True))
    backend: str = Field(sa_column=required(TEXT))
    size_bytes: int = Field(sa_column=required(BigInteger))
    blobs: bytes = Field(sa_column=required(LargeBinary))


class ReceivedFile(SQLModel, table=True):
    """A file sent for an open package that did not declare its files."""

    __tablename__ = "received_file"

    package_id: str = Field(sa_column=Column(TEXT, ForeignKey("open_package.package_id"), primary_key=True))
    path: str = Field(sa_column=Column(TEXT, primary_key=True))
    role: str = Field(sa_column=required(TEXT))
    media_type: str = Field(sa_column=required(TEXT))
    blake3: bytes = Field(sa_column=required(LargeBinary))
    sha256: bytes = Field(sa_column=required(LargeBinary))
    size_bytes: int = Field(sa_column=required(BigInteger))


class Upload(SQLModel, table=True):
    """A resumable upload of one file of an open package, until it is complete."""

    __tablename__ = "upload"
    __table_args__ = (Index("upload_path", "package_id", "path", unique=True),)

    upload_id: str = Field(sa_column=Column(TEXT, primary_key=True))
    package_id: str = Field(sa_column=Column(TEXT, ForeignKey("open_package.package_id"), nullable=False))
    path: str = Field(sa_column=required(TEXT))
    role: str = Field(sa_column=required(TEXT))
    media_type: str = Field(sa_column=required(TEXT))
    size_bytes: int = Field(sa_column=required(BigInteger))
    received_bytes: int = Field(sa_column=required(BigInteger))


class UploadPart(SQLModel, table=True):
    """A piece of an upload: an object of its own, which begins with ``upload_id`` so that no two uploads share one."""

    __tablename__ = "upload_part"
    __table_args__ = (Index("upload_part_by_digest", "blake3"),)

    upload_id: str = Field(sa_column=Column(TEXT, ForeignKey("upload.upload_id"), primary_key=True))
    start: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    size_bytes: int = Field(sa_column=required(BigInteger))
    backend: str = Field(sa_column=required(TEXT))
    blake3: bytes = Field(sa_column=required(LargeBinary))


class IdempotencyKey(SQLModel, table=True):
    """What a request with this key answered, so that a retry is answered the same."""

    __tablename__ = "idempotency_key"
    __table_args__ = (Index("idempotency_key_age", "created_at"),)

    caller: str = Field(sa_column=Column(TEXT, primary_key=True))
    key: str = Field(sa_column=Column(TEXT, primary_key=True))
    request_digest: bytes = Field(sa_column=required(LargeBinary))
    answer: str = Field(sa_column=required(TEXT))
    created_at: int = Field(sa_column=required(BigInteger))


class BackendState(SQLModel, table=True):
    """What servers share about a backend: who takes its writes instead of it, and when its reads last fell back."""

    __tablename__ = "backend_state"

    name: str = Field(sa_column=Column(TEXT, primary_key=True))
    successor: str | None = Field(default=None, sa_column=Column(TEXT))
    succeeded_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    fell_back_at: int | None = Field(default=None, sa_column=Column(BigInteger))


class Removal(SQLModel, table=True):
    """An object that collection has condemned, since when, and since when its bytes are being deleted, if they are."""

    __tablename__ = "removal"

    blake3: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    kind: str = Field(sa_column=Column(TEXT, primary_key=True))
    backend: str = Field(sa_column=Column(TEXT, primary_key=True))
    condemned_at: int = Field(sa_column=required(BigInteger))
    begun_at: int | None = Field(default=None, sa_column=Column(BigInteger))


class ProbeReport(SQLModel, table=True):
    """What was last measured of a backend, by its URL and endpoint."""

    __tablename__ = "probe_report"

    target: str = Field(sa_column=Column(TEXT, primary_key=True))
    probed_at: int = Field(sa_column=required(BigInteger))
    verdict: str = Field(sa_column=required(TEXT))
    report: str = Field(sa_column=required(TEXT))


class Duty(SQLModel, table=True):
    """Background work of the whole store: who holds it, when it last ran and runs next, and what it did."""

    __tablename__ = "duty"

    name: str = Field(sa_column=Column(TEXT, primary_key=True))
    next_run_at: int = Field(sa_column=required(BigInteger))
    holder: str | None = Field(default=None, sa_column=Column(TEXT))
    heartbeat_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    started_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    finished_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    succeeded_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    outcome: str | None = Field(default=None, sa_column=Column(TEXT))
    failures: int = Field(sa_column=required(BigInteger))
    detail: str | None = Field(default=None, sa_column=Column(TEXT))
    error: str | None = Field(default=None, sa_column=Column(TEXT))
    position: int = Field(sa_column=required(BigInteger))
    paused_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    paused_by: str | None = Field(default=None, sa_column=Column(TEXT))


class Subscription(SQLModel, table=True):
    """How far a subscriber has been given the event log, and what stops it if something does."""

    __tablename__ = "subscription"

    name: str = Field(sa_column=Column(TEXT, primary_key=True))
    position: int = Field(sa_column=required(BigInteger))
    created_at: int = Field(sa_column=required(BigInteger))
    delivered_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    failures: int = Field(sa_column=required(BigInteger))
    next_attempt_at: int = Field(sa_column=required(BigInteger))
    error: str | None = Field(default=None, sa_column=Column(TEXT))


class WebhookDelivery(SQLModel, table=True):
    """One attempt to deliver an event to a webhook, and what came of it."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        Index("webhook_delivery_by_webhook", "webhook", "id"),
        Index("webhook_delivery_age", "attempted_at"),
    )

    id: int | None = Field(default=None, sa_column=row_id())
    webhook: str = Field(sa_column=required(TEXT))
    seq: int = Field(sa_column=required(BigInteger))
    attempted_at: int = Field(sa_column=required(BigInteger))
    took_us: int = Field(sa_column=required(BigInteger))
    status: int | None = Field(default=None, sa_column=Column(BigInteger))
    error: str | None = Field(default=None, sa_column=Column(TEXT))
