"""The first tables. There is no way back from here: before this revision there was no store."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Text in the order of its bytes, on either database."""


def upgrade() -> None:
    """Create everything."""
    op.create_table(
        "blob",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("address_prefix", sa.BigInteger(), nullable=False),
        sa.Column("address_ordinal", sa.SmallInteger(), nullable=False),
        sa.Column("blake3", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("crc32", sa.BigInteger(), nullable=False),
        sa.Column("chunks", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("blob_address", "blob", ["address_prefix", "address_ordinal"], unique=True)
    op.create_index(
        "blob_large",
        "blob",
        ["size_bytes"],
        unique=False,
        sqlite_where=sa.text("size_bytes >= 1048576"),
        postgresql_where=sa.text("size_bytes >= 1048576"),
    )
    op.create_table(
        "event",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("type", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("header", sa.LargeBinary(), nullable=False),
        sa.Column("chain", sa.LargeBinary(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("event_by_subject", "event", ["subject", "seq"], unique=False)
    op.create_index("event_by_type", "event", ["type", "seq"], unique=False)
    op.create_table(
        "event_log",
        sa.Column("log_id", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("log_id"),
    )
    op.create_table(
        "lease",
        sa.Column("lease_id", TEXT, nullable=False),
        sa.Column("purpose", TEXT, nullable=False),
        sa.Column("owner", TEXT, nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("heartbeat_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("lease_id"),
    )
    op.create_table(
        "metadata_schema",
        sa.Column("slug", TEXT, nullable=False),
        sa.Column("json_schema", TEXT, nullable=False),
        sa.Column("registered_at", sa.BigInteger(), nullable=False),
        sa.Column("registered_by", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("slug"),
    )
    op.create_table(
        "stored_object",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("backend", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("blake3", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("stored_object_key", "stored_object", ["blake3", "kind", "backend"], unique=True)
    op.create_index(
        "stored_object_lost",
        "stored_object",
        ["id"],
        unique=False,
        sqlite_where=sa.text("status <> 'live'"),
        postgresql_where=sa.text("status <> 'live'"),
    )
    op.create_table(
        "blob_location",
        sa.Column("blob_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("object_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("status", TEXT, nullable=False),
        *_references(blob_id="blob.id", object_id="stored_object.id"),
        sa.PrimaryKeyConstraint("blob_id", "object_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("blob_location_by_object", "blob_location", ["object_id", "start"], unique=False)
    op.create_index(
        "blob_location_lost",
        "blob_location",
        ["object_id"],
        unique=False,
        sqlite_where=sa.text("status <> 'live'"),
        postgresql_where=sa.text("status <> 'live'"),
    )
    op.create_table(
        "package",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("package_id", TEXT, nullable=False),
        sa.Column("producer", TEXT, nullable=False),
        sa.Column("external_id", TEXT, nullable=True),
        sa.Column("subject", TEXT, nullable=True),
        sa.Column("schema_slug", TEXT, nullable=True),
        sa.Column("metadata_json", TEXT, nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("supersedes", TEXT, nullable=True),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("opened_by", TEXT, nullable=False),
        sa.Column("finalized_at", sa.BigInteger(), nullable=True),
        sa.Column("manifest_digest", sa.LargeBinary(), nullable=True),
        sa.Column("file_count", sa.BigInteger(), nullable=False),
        sa.Column("total_bytes", sa.BigInteger(), nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False),
        sa.Column("retention_class", TEXT, nullable=True),
        sa.Column("duration_days", sa.BigInteger(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("expired_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["schema_slug"],
            ["metadata_schema.slug"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("package_id"),
    )
    op.create_index("package_by_producer", "package", ["producer", "id"], unique=False)
    op.create_index("package_by_subject", "package", ["subject", "id"], unique=False)
    op.create_index("package_by_external_id", "package", ["external_id", "id"], unique=False)
    op.create_index("package_by_status", "package", ["status", "id"], unique=False)
    op.create_index(
        "package_content",
        "package",
        ["producer", "manifest_digest", "revision"],
        unique=True,
        sqlite_where=sa.text("external_id IS NULL AND status <> 'open'"),
        postgresql_where=sa.text("external_id IS NULL AND status <> 'open'"),
    )
    op.create_index(
        "package_due",
        "package",
        ["expires_at"],
        unique=False,
        sqlite_where=sa.text("status = 'finalized' AND expires_at IS NOT NULL"),
        postgresql_where=sa.text("status = 'finalized' AND expires_at IS NOT NULL"),
    )
    op.create_index(
        "package_revision",
        "package",
        ["producer", "external_id", "revision"],
        unique=True,
        sqlite_where=sa.text("external_id IS NOT NULL AND status <> 'open'"),
        postgresql_where=sa.text("external_id IS NOT NULL AND status <> 'open'"),
    )
    op.create_table(
        "hold",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("hold_id", TEXT, nullable=False),
        sa.Column("package", sa.BigInteger(), nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("placed_at", sa.BigInteger(), nullable=False),
        sa.Column("placed_by", TEXT, nullable=False),
        sa.Column("released_at", sa.BigInteger(), nullable=True),
        sa.Column("released_by", TEXT, nullable=True),
        sa.Column("release_reason", TEXT, nullable=True),
        sa.ForeignKeyConstraint(
            ["package"],
            ["package.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hold_id"),
    )
    op.create_index(op.f("ix_hold_package"), "hold", ["package"], unique=False)
    op.create_table(
        "package_file",
        sa.Column("package", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("file_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("path", TEXT, nullable=False),
        sa.Column("role", TEXT, nullable=False),
        sa.Column("media_type", TEXT, nullable=False),
        sa.Column("blob_id", sa.BigInteger(), nullable=False),
        *_references(blob_id="blob.id", package="package.id"),
        sa.PrimaryKeyConstraint("package", "file_index"),
        sqlite_with_rowid=False,
    )
    # A table of SQLite's in the order of its key has the key in every index.
    key = ["package", "file_index"] if _is_postgresql() else []
    op.create_index("package_file_by_blob", "package_file", ["blob_id", *key], unique=False)
    op.create_index("package_file_path", "package_file", ["package", "path"], unique=True)


def _is_postgresql() -> bool:
    return bool(op.get_bind().dialect.name == "postgresql")


def _references(**targets: str) -> list[sa.ForeignKeyConstraint]:
    """Foreign keys of the tables with a row for every file; none on PostgreSQL.

    It would look up and lock what each row refers to one by one, which takes longer than to store them.
    """
    if _is_postgresql():
        return []
    return [sa.ForeignKeyConstraint([column], [target]) for column, target in targets.items()]
