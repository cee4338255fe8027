"""The tables, as SQLModel classes: the one definition of the schema, from which migrations are made.

*Projected* tables follow from the event log: only ``projections`` writes them, and replay must reproduce them (compared
by natural keys; the surrogate integers ``id`` may differ). *Operational* tables are never authoritative for content.
The log itself is neither: it is the record.

On PostgreSQL ``package_file_by_blob`` also has the table's key, which SQLite adds to every index of such a table.

The program reads and writes through SQL text (``queries``, ``projections``, ``event_log``): see docs/adr/0004.
Instants are integer microseconds UTC, digests 32 raw bytes, JSON is canonical text.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, SmallInteger, Text, text
from sqlmodel import Field, SQLModel

_ID = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER PRIMARY KEY is SQLite's own row number
_TEXT = Text().with_variant(Text(collation="C"), "postgresql")
"""Text in the order of its bytes, on either database: lists are paged by it, and replay compares in it."""


def _id() -> Column[int]:
    return Column(_ID, primary_key=True, autoincrement=True)


def _reference(target: str) -> Column[int]:
    return Column(BigInteger, ForeignKey(target), nullable=False)


def _key(target: str) -> Column[int]:
    return Column(BigInteger, ForeignKey(target), primary_key=True, autoincrement=False)


def _required(kind: Text | type[BigInteger | LargeBinary | SmallInteger]) -> Column[object]:
    return Column(kind, nullable=False)


# --- projected -------------------------------------------------------------------------------------------------------


class MetadataSchema(SQLModel, table=True):
    """A registered JSON Schema; immutable."""

    __tablename__ = "metadata_schema"

    slug: str = Field(sa_column=Column(_TEXT, primary_key=True))
    json_schema: str = Field(sa_column=_required(_TEXT))
    registered_at: int = Field(sa_column=_required(BigInteger))
    registered_by: str = Field(sa_column=_required(_TEXT))


class Package(SQLModel, table=True):
    """One package, from open to tombstone."""

    __tablename__ = "package"
    __table_args__ = (
        Index(
            "package_revision", "producer", "external_id", "revision", unique=True,
            sqlite_where=text("external_id IS NOT NULL AND status <> 'open'"),
            postgresql_where=text("external_id IS NOT NULL AND status <> 'open'"),
        ),
        Index(
            "package_content", "producer", "manifest_digest", "revision", unique=True,
            sqlite_where=text("external_id IS NULL AND status <> 'open'"),
            postgresql_where=text("external_id IS NULL AND status <> 'open'"),
        ),
        Index("package_by_producer", "producer", "id"),
        Index("package_by_producer_and_subject", "producer", "subject", "id"),
        Index("package_by_subject", "subject", "id"),
        Index("package_by_external_id", "external_id", "id"),
        Index("package_by_status", "status", "id"),
        Index("package_by_schema", "schema_slug", "id"),
        Index("package_by_retention_class", "retention_class", "id"),
        Index(
            "package_due", "status", "expires_at",
            sqlite_where=text("expires_at IS NOT NULL"), postgresql_where=text("expires_at IS NOT NULL"),
        ),
    )  # fmt: skip

    id: int | None = Field(default=None, sa_column=_id())
    package_id: str = Field(sa_column=Column(_TEXT, nullable=False, unique=True))
    producer: str = Field(sa_column=_required(_TEXT))
    external_id: str | None = Field(default=None, sa_column=Column(_TEXT))
    subject: str | None = Field(default=None, sa_column=Column(_TEXT))
    schema_slug: str | None = Field(default=None, sa_column=Column(_TEXT, ForeignKey("metadata_schema.slug")))
    metadata_json: str | None = Field(default=None, sa_column=Column(_TEXT))
    revision: int = Field(sa_column=_required(BigInteger))
    supersedes: str | None = Field(default=None, sa_column=Column(_TEXT))
    status: str = Field(sa_column=_required(_TEXT))
    opened_at: int = Field(sa_column=_required(BigInteger))
    opened_by: str = Field(sa_column=_required(_TEXT))
    finalized_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    manifest_digest: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    file_count: int = Field(sa_column=_required(BigInteger))
    total_bytes: int = Field(sa_column=_required(BigInteger))
    stored_bytes: int = Field(sa_column=_required(BigInteger))
    retention_class: str | None = Field(default=None, sa_column=Column(_TEXT))
    duration_days: int | None = Field(default=None, sa_column=Column(BigInteger))
    expires_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    expired_at: int | None = Field(default=None, sa_column=Column(BigInteger))


class PackageMetadata(SQLModel, table=True):
    """A package's metadata by key and value, to find it by: top-level members that are short text, numbers or true."""

    __tablename__ = "package_metadata"
    __table_args__ = (
        Index("package_metadata_by_producer", "producer", "key", "value", "package"),
        {"sqlite_with_rowid": False},
    )

    key: str = Field(sa_column=Column(_TEXT, primary_key=True))
    value: str = Field(sa_column=Column(_TEXT, primary_key=True))
    package: int = Field(sa_column=_key("package.id"))
    producer: str = Field(sa_column=_required(_TEXT))


class Blob(SQLModel, table=True):
    """One blob.

    Found by the first eight bytes of its address as an integer, which keeps the index a third the size;
    ``address_ordinal`` tells blobs apart that share those eight bytes.
    """

    __tablename__ = "blob"
    __table_args__ = (
        Index("blob_address", "address_prefix", "address_ordinal", unique=True),
        Index(
            "blob_large", "size_bytes",
            sqlite_where=text("size_bytes >= 1048576"), postgresql_where=text("size_bytes >= 1048576"),
        ),
    )  # fmt: skip

    id: int | None = Field(default=None, sa_column=_id())
    address_prefix: int = Field(sa_column=_required(BigInteger))
    address_ordinal: int = Field(sa_column=_required(SmallInteger))
    blake3: bytes = Field(sa_column=_required(LargeBinary))
    sha256: bytes = Field(sa_column=_required(LargeBinary))
    size_bytes: int = Field(sa_column=_required(BigInteger))
    crc32: int = Field(sa_column=_required(BigInteger))
    chunks: bytes | None = Field(default=None, sa_column=Column(LargeBinary))


class StoredObject(SQLModel, table=True):
    """An object in a backend: a large blob, a pack or a manifest. Status live, damaged or condemned."""

    __tablename__ = "stored_object"
    __table_args__ = (
        Index("stored_object_key", "blake3", "kind", "backend", unique=True),
        Index(
            "stored_object_lost", "id",
            sqlite_where=text("status <> 'live'"), postgresql_where=text("status <> 'live'"),
        ),
        Index("stored_object_by_backend", "backend", "id"),
    )  # fmt: skip

    id: int | None = Field(default=None, sa_column=_id())
    backend: str = Field(sa_column=_required(_TEXT))
    kind: str = Field(sa_column=_required(_TEXT))
    blake3: bytes = Field(sa_column=_required(LargeBinary))
    size_bytes: int = Field(sa_column=_required(BigInteger))
    status: str = Field(sa_column=_required(_TEXT))


class BlobLocation(SQLModel, table=True):
    """Where a blob's bytes are: within which object, from which byte. Status live or damaged."""

    __tablename__ = "blob_location"
    __table_args__ = (
        Index("blob_location_by_object", "object_id", "start"),
        Index(
            "blob_location_lost", "object_id",
            sqlite_where=text("status <> 'live'"), postgresql_where=text("status <> 'live'"),
        ),
        {"sqlite_with_rowid": False},
    )  # fmt: skip

    blob_id: int = Field(sa_column=_key("blob.id"))
    object_id: int = Field(sa_column=_key("stored_object.id"))
    start: int = Field(sa_column=_required(BigInteger))
    status: str = Field(sa_column=_required(_TEXT))


class PackageFile(SQLModel, table=True):
    """One file of a package; ``file_index`` counts in path order and is the second half of its public id."""

    __tablename__ = "package_file"
    __table_args__ = (
        Index("package_file_path", "package", "path", unique=True),
        Index("package_file_by_blob", "blob_id"),
        {"sqlite_with_rowid": False},
    )

    package: int = Field(sa_column=_key("package.id"))
    file_index: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    path: str = Field(sa_column=_required(_TEXT))
    role: str = Field(sa_column=_required(_TEXT))
    media_type: str = Field(sa_column=_required(_TEXT))
    blob_id: int = Field(sa_column=_reference("blob.id"))


class Hold(SQLModel, table=True):
    """A hold on a package; in force until it is released."""

    __tablename__ = "hold"

    id: int | None = Field(default=None, sa_column=_id())
    hold_id: str = Field(sa_column=Column(_TEXT, nullable=False, unique=True))
    package: int = Field(sa_column=Column(BigInteger, ForeignKey("package.id"), nullable=False, index=True))
    reason: str = Field(sa_column=_required(_TEXT))
    placed_at: int = Field(sa_column=_required(BigInteger))
    placed_by: str = Field(sa_column=_required(_TEXT))
    released_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    released_by: str | None = Field(default=None, sa_column=Column(_TEXT))
    release_reason: str | None = Field(default=None, sa_column=Column(_TEXT))


class Source(SQLModel, table=True):
    """Where something was observed. Its id follows from its kind and path; who found it first says the rest."""

    __tablename__ = "source"

    id: int | None = Field(default=None, sa_column=_id())
    source_id: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    location_kind: str = Field(sa_column=_required(_TEXT))
    path_id: str = Field(sa_column=_required(_TEXT))
    owner_host_id: str | None = Field(default=None, sa_column=Column(_TEXT))
    content_type: str | None = Field(default=None, sa_column=Column(_TEXT))
    display_name: str | None = Field(default=None, sa_column=Column(_TEXT))
    metadata_json: str | None = Field(default=None, sa_column=Column(_TEXT))
    plugin_name: str = Field(sa_column=_required(_TEXT))
    plugin_version: str | None = Field(default=None, sa_column=Column(_TEXT))
    contract_version: str = Field(sa_column=_required(_TEXT))
    is_declared: int = Field(sa_column=_required(SmallInteger))
    indexed_at: int = Field(sa_column=_required(BigInteger))
    indexed_by: str = Field(sa_column=_required(_TEXT))


class Envelope(SQLModel, table=True):
    """One observation of a source. ``is_declared``: the plug-in's name is what a caller over HTTP said."""

    __tablename__ = "envelope"
    __table_args__ = (
        Index("envelope_by_source", "source", "id"),
        Index("envelope_by_source_and_actor", "source", "indexed_by", "id"),
    )

    id: int | None = Field(default=None, sa_column=_id())
    envelope_id: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    source: int = Field(sa_column=_reference("source.id"))
    transport: str = Field(sa_column=_required(_TEXT))
    received_at: int = Field(sa_column=_required(BigInteger))
    raw_payload: bytes = Field(sa_column=_required(LargeBinary))
    plugin_name: str = Field(sa_column=_required(_TEXT))
    plugin_version: str | None = Field(default=None, sa_column=Column(_TEXT))
    contract_version: str = Field(sa_column=_required(_TEXT))
    is_declared: int = Field(sa_column=_required(SmallInteger))
    indexed_at: int = Field(sa_column=_required(BigInteger))
    indexed_by: str = Field(sa_column=_required(_TEXT))


class Party(SQLModel, table=True):
    """Who took part in what an envelope observed; ``ordinal`` counts as the plug-in named them."""

    __tablename__ = "party"
    __table_args__ = {"sqlite_with_rowid": False}

    envelope: int = Field(sa_column=_key("envelope.id"))
    ordinal: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    identifier_kind: str = Field(sa_column=_required(_TEXT))
    identifier_scope: str | None = Field(default=None, sa_column=Column(_TEXT))
    identifier_value: str = Field(sa_column=_required(_TEXT))
    role: str = Field(sa_column=_required(_TEXT))
    trust: str = Field(sa_column=_required(_TEXT))


class PackageObservation(SQLModel, table=True):
    """An envelope that observed a package."""

    __tablename__ = "package_observation"
    __table_args__ = (Index("package_observation_by_envelope", "envelope", "package"), {"sqlite_with_rowid": False})

    package: int = Field(sa_column=_key("package.id"))
    envelope: int = Field(sa_column=_key("envelope.id"))
    observed_at: int = Field(sa_column=_required(BigInteger))
    observed_by: str = Field(sa_column=_required(_TEXT))


# --- the record ------------------------------------------------------------------------------------------------------


class EventLog(SQLModel, table=True):
    """The log's random identity, from which its chain starts. One row."""

    __tablename__ = "event_log"

    log_id: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    created_at: int = Field(sa_column=_required(BigInteger))


class EventRow(SQLModel, table=True):
    """One event. ``header`` is the chained record; type, subject, actor and at repeat it for queries."""

    __tablename__ = "event"
    __table_args__ = (Index("event_by_subject", "subject", "seq"), Index("event_by_type", "type", "seq"))

    seq: int = Field(sa_column=Column(_ID, primary_key=True, autoincrement=False))
    at: int = Field(sa_column=_required(BigInteger))
    type: str = Field(sa_column=_required(_TEXT))
    subject: str = Field(sa_column=_required(_TEXT))
    actor: str = Field(sa_column=_required(_TEXT))
    header: bytes = Field(sa_column=_required(LargeBinary))
    chain: bytes = Field(sa_column=_required(LargeBinary))
    payload: bytes = Field(sa_column=_required(LargeBinary))


# --- operational -----------------------------------------------------------------------------------------------------


class Lease(SQLModel, table=True):
    """A live ingest's or duty's claim. One without a recent heartbeat belongs to a process that is gone."""

    __tablename__ = "lease"

    lease_id: str = Field(sa_column=Column(_TEXT, primary_key=True))
    purpose: str = Field(sa_column=_required(_TEXT))
    owner: str = Field(sa_column=_required(_TEXT))
    opened_at: int = Field(sa_column=_required(BigInteger))
    heartbeat_at: int = Field(sa_column=_required(BigInteger))


class Token(SQLModel, table=True):
    """An access token: only the SHA-256 of its text. Unique by name among those that are not revoked."""

    __tablename__ = "token"
    __table_args__ = (
        Index(
            "token_name", "name", unique=True,
            sqlite_where=text("revoked_at IS NULL"), postgresql_where=text("revoked_at IS NULL"),
        ),
    )  # fmt: skip

    token_id: str = Field(sa_column=Column(_TEXT, primary_key=True))
    name: str = Field(sa_column=_required(_TEXT))
    secret_sha256: bytes = Field(sa_column=_required(LargeBinary))
    scopes: str = Field(sa_column=_required(_TEXT))
    created_at: int = Field(sa_column=_required(BigInteger))
    created_by: str = Field(sa_column=_required(_TEXT))
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

    package_id: str = Field(sa_column=Column(_TEXT, primary_key=True))
    producer: str = Field(sa_column=_required(_TEXT))
    opened_by: str = Field(sa_column=_required(_TEXT))
    opened_at: int = Field(sa_column=_required(BigInteger))
    expires_at: int = Field(sa_column=_required(BigInteger))
    draft: bytes = Field(sa_column=_required(LargeBinary))
    receipt: str | None = Field(default=None, sa_column=Column(_TEXT))
    backend: str | None = Field(default=None, sa_column=Column(_TEXT))


class DeclaredFiles(SQLModel, table=True):
    """The files that an open package is to have, as its manifest will say them; no row if they were not declared."""

    __tablename__ = "declared_files"

    package_id: str = Field(sa_column=Column(_TEXT, ForeignKey("open_package.package_id"), primary_key=True))
    files: bytes = Field(sa_column=_required(LargeBinary))


class ReceivedObject(SQLModel, table=True):
    """An object that holds bytes sent for an open package: as good as a reference to it."""

    __tablename__ = "received_object"

    package_id: str = Field(sa_column=Column(_TEXT, ForeignKey("open_package.package_id"), primary_key=True))
    blake3: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    kind: str = Field(sa_column=Column(_TEXT, primary_key=True))
    backend: str = Field(sa_column=_required(_TEXT))
    size_bytes: int = Field(sa_column=_required(BigInteger))
    blobs: bytes = Field(sa_column=_required(LargeBinary))


class ReceivedFile(SQLModel, table=True):
    """A file sent for an open package that did not declare its files."""

    __tablename__ = "received_file"

    package_id: str = Field(sa_column=Column(_TEXT, ForeignKey("open_package.package_id"), primary_key=True))
    path: str = Field(sa_column=Column(_TEXT, primary_key=True))
    role: str = Field(sa_column=_required(_TEXT))
    media_type: str = Field(sa_column=_required(_TEXT))
    blake3: bytes = Field(sa_column=_required(LargeBinary))
    sha256: bytes = Field(sa_column=_required(LargeBinary))
    size_bytes: int = Field(sa_column=_required(BigInteger))


class Upload(SQLModel, table=True):
    """A resumable upload of one file of an open package, until it is complete."""

    __tablename__ = "upload"
    __table_args__ = (Index("upload_path", "package_id", "path", unique=True),)

    upload_id: str = Field(sa_column=Column(_TEXT, primary_key=True))
    package_id: str = Field(sa_column=Column(_TEXT, ForeignKey("open_package.package_id"), nullable=False))
    path: str = Field(sa_column=_required(_TEXT))
    role: str = Field(sa_column=_required(_TEXT))
    media_type: str = Field(sa_column=_required(_TEXT))
    size_bytes: int = Field(sa_column=_required(BigInteger))
    received_bytes: int = Field(sa_column=_required(BigInteger))


class UploadPart(SQLModel, table=True):
    """A piece of an upload: an object of its own, which begins with ``upload_id`` so that no two uploads share one."""

    __tablename__ = "upload_part"

    upload_id: str = Field(sa_column=Column(_TEXT, ForeignKey("upload.upload_id"), primary_key=True))
    start: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    size_bytes: int = Field(sa_column=_required(BigInteger))
    backend: str = Field(sa_column=_required(_TEXT))
    blake3: bytes = Field(sa_column=_required(LargeBinary))


class IdempotencyKey(SQLModel, table=True):
    """What a request with this key answered, so that a retry is answered the same."""

    __tablename__ = "idempotency_key"
    __table_args__ = (Index("idempotency_key_age", "created_at"),)

    caller: str = Field(sa_column=Column(_TEXT, primary_key=True))
    key: str = Field(sa_column=Column(_TEXT, primary_key=True))
    request_digest: bytes = Field(sa_column=_required(LargeBinary))
    answer: str = Field(sa_column=_required(_TEXT))
    created_at: int = Field(sa_column=_required(BigInteger))


class BackendState(SQLModel, table=True):
    """What servers share about a backend: who takes its writes instead of it, and when its reads last fell back."""

    __tablename__ = "backend_state"

    name: str = Field(sa_column=Column(_TEXT, primary_key=True))
    successor: str | None = Field(default=None, sa_column=Column(_TEXT))
    succeeded_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    fell_back_at: int | None = Field(default=None, sa_column=Column(BigInteger))


class ProbeReport(SQLModel, table=True):
    """What was last measured of a backend, by its URL and endpoint."""

    __tablename__ = "probe_report"

    target: str = Field(sa_column=Column(_TEXT, primary_key=True))
    probed_at: int = Field(sa_column=_required(BigInteger))
    verdict: str = Field(sa_column=_required(_TEXT))
    report: str = Field(sa_column=_required(_TEXT))


class Duty(SQLModel, table=True):
    """Background work of the whole store: who holds it, when it last ran and runs next, and what it did."""

    __tablename__ = "duty"

    name: str = Field(sa_column=Column(_TEXT, primary_key=True))
    next_run_at: int = Field(sa_column=_required(BigInteger))
    holder: str | None = Field(default=None, sa_column=Column(_TEXT))
    heartbeat_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    started_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    finished_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    succeeded_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    outcome: str | None = Field(default=None, sa_column=Column(_TEXT))
    failures: int = Field(sa_column=_required(BigInteger))
    detail: str | None = Field(default=None, sa_column=Column(_TEXT))
    error: str | None = Field(default=None, sa_column=Column(_TEXT))
    position: int = Field(sa_column=_required(BigInteger))


class Subscription(SQLModel, table=True):
    """How far a subscriber has been given the event log, and what stops it if something does."""

    __tablename__ = "subscription"

    name: str = Field(sa_column=Column(_TEXT, primary_key=True))
    position: int = Field(sa_column=_required(BigInteger))
    created_at: int = Field(sa_column=_required(BigInteger))
    delivered_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    failures: int = Field(sa_column=_required(BigInteger))
    next_attempt_at: int = Field(sa_column=_required(BigInteger))
    error: str | None = Field(default=None, sa_column=Column(_TEXT))


class WebhookDelivery(SQLModel, table=True):
    """One attempt to deliver an event to a webhook, and what came of it."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        Index("webhook_delivery_by_webhook", "webhook", "id"),
        Index("webhook_delivery_age", "attempted_at"),
    )

    id: int | None = Field(default=None, sa_column=_id())
    webhook: str = Field(sa_column=_required(_TEXT))
    seq: int = Field(sa_column=_required(BigInteger))
    attempted_at: int = Field(sa_column=_required(BigInteger))
    took_us: int = Field(sa_column=_required(BigInteger))
    status: int | None = Field(default=None, sa_column=Column(BigInteger))
    error: str | None = Field(default=None, sa_column=Column(_TEXT))
