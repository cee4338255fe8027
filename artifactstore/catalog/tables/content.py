"""Projected tables: packages, their files, the blobs of these and where their bytes are."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, SmallInteger, text
from sqlmodel import Field, SQLModel

from artifactstore.catalog.tables.columns import TEXT, key_of, reference, required, row_id


class MetadataSchema(SQLModel, table=True):
    """A registered JSON Schema; immutable."""

    __tablename__ = "metadata_schema"

    slug: str = Field(sa_column=Column(TEXT, primary_key=True))
    json_schema: str = Field(sa_column=required(TEXT))
    registered_at: int = Field(sa_column=required(BigInteger))
    registered_by: str = Field(sa_column=required(TEXT))


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
        Index(
            "package_by_manifest", "manifest_digest", "id",
            sqlite_where=text("manifest_digest IS NOT NULL"), postgresql_where=text("manifest_digest IS NOT NULL"),
        ),
        Index("package_by_schema", "schema_slug", "id"),
        Index("package_by_retention_class", "retention_class", "id"),
        Index(
            "package_due", "status", "expires_at",
            sqlite_where=text("expires_at IS NOT NULL"), postgresql_where=text("expires_at IS NOT NULL"),
        ),
        Index(
            "package_expired", "status", "package_id",
            sqlite_where=text("status = 'expired'"), postgresql_where=text("status = 'expired'"),
        ),
    )  # fmt: skip

    id: int | None = Field(default=None, sa_column=row_id())
    package_id: str = Field(sa_column=Column(TEXT, nullable=False, unique=True))
    producer: str = Field(sa_column=required(TEXT))
    external_id: str | None = Field(default=None, sa_column=Column(TEXT))
    subject: str | None = Field(default=None, sa_column=Column(TEXT))
    schema_slug: str | None = Field(default=None, sa_column=Column(TEXT, ForeignKey("metadata_schema.slug")))
    metadata_json: str | None = Field(default=None, sa_column=Column(TEXT))
    revision: int = Field(sa_column=required(BigInteger))
    supersedes: str | None = Field(default=None, sa_column=Column(TEXT))
    status: str = Field(sa_column=required(TEXT))
    opened_at: int = Field(sa_column=required(BigInteger))
    opened_by: str = Field(sa_column=required(TEXT))
    finalized_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    manifest_digest: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    file_count: int = Field(sa_column=required(BigInteger))
    total_bytes: int = Field(sa_column=required(BigInteger))
    stored_bytes: int = Field(sa_column=required(BigInteger))
    retention_class: str | None = Field(default=None, sa_column=Column(TEXT))
    duration_days: int | None = Field(default=None, sa_column=Column(BigInteger))
    expires_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    expired_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    deleted_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    deleted_by: str | None = Field(default=None, sa_column=Column(TEXT))
    deletion_plan: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    deletion_rule: str | None = Field(default=None, sa_column=Column(TEXT))
    deletion_reason: str | None = Field(default=None, sa_column=Column(TEXT))
    pinned_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    pinned_by: str | None = Field(default=None, sa_column=Column(TEXT))
    pin_reason: str | None = Field(default=None, sa_column=Column(TEXT))


class PackageMetadata(SQLModel, table=True):
    """A package's metadata by key and value, to find it by: top-level members that are short text, numbers or true."""

    __tablename__ = "package_metadata"
    __table_args__ = (
        Index("package_metadata_by_producer", "producer", "key", "value", "package"),
        {"sqlite_with_rowid": False},
    )

    key: str = Field(sa_column=Column(TEXT, primary_key=True))
    value: str = Field(sa_column=Column(TEXT, primary_key=True))
    package: int = Field(sa_column=key_of("package.id"))
    producer: str = Field(sa_column=required(TEXT))


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

    id: int | None = Field(default=None, sa_column=row_id())
    address_prefix: int = Field(sa_column=required(BigInteger))
    address_ordinal: int = Field(sa_column=required(SmallInteger))
    blake3: bytes = Field(sa_column=required(LargeBinary))
    sha256: bytes = Field(sa_column=required(LargeBinary))
    size_bytes: int = Field(sa_column=required(BigInteger))
    crc32: int = Field(sa_column=required(BigInteger))
    chunks: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    files: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    """How many files of packages have it, those that are deleted left out."""
    producer: int | None = Field(default=None, sa_column=Column(BigInteger))
    """The only one whose packages have it, a row of ``producer_usage``; null if none has, or several."""


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

    id: int | None = Field(default=None, sa_column=row_id())
    backend: str = Field(sa_column=required(TEXT))
    kind: str = Field(sa_column=required(TEXT))
    blake3: bytes = Field(sa_column=required(LargeBinary))
    size_bytes: int = Field(sa_column=required(BigInteger))
    status: str = Field(sa_column=required(TEXT))


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

    blob_id: int = Field(sa_column=key_of("blob.id"))
    object_id: int = Field(sa_column=key_of("stored_object.id"))
    start: int = Field(sa_column=required(BigInteger))
    status: str = Field(sa_column=required(TEXT))


class PackageFile(SQLModel, table=True):
    """One file of a package; ``file_index`` counts in path order and is the second half of its public id."""

    __tablename__ = "package_file"
    __table_args__ = (
        Index("package_file_path", "package", "path", unique=True),
        Index("package_file_by_blob", "blob_id"),
        {"sqlite_with_rowid": False},
    )

    package: int = Field(sa_column=key_of("package.id"))
    file_index: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    path: str = Field(sa_column=required(TEXT))
    role: str = Field(sa_column=required(TEXT))
    media_type: str = Field(sa_column=required(TEXT))
    blob_id: int = Field(sa_column=reference("blob.id"))


class Hold(SQLModel, table=True):
    """A hold on a package; in force until it is released."""

    __tablename__ = "hold"
    __table_args__ = (
        Index(
            "hold_in_force", "package",
            sqlite_where=text("released_at IS NULL"), postgresql_where=text("released_at IS NULL"),
        ),
    )  # fmt: skip

    id: int | None = Field(default=None, sa_column=row_id())
    hold_id: str = Field(sa_column=Column(TEXT, nullable=False, unique=True))
    package: int = Field(sa_column=Column(BigInteger, ForeignKey("package.id"), nullable=False, index=True))
    reason: str = Field(sa_column=required(TEXT))
    placed_at: int = Field(sa_column=required(BigInteger))
    placed_by: str = Field(sa_column=required(TEXT))
    released_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    released_by: str | None = Field(default=None, sa_column=Column(TEXT))
    release_reason: str | None = Field(default=None, sa_column=Column(TEXT))
