"""What the service needs: tokens, open packages and uploads, and finding packages by schema, class and metadata."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Text in the order of its bytes, on either database."""

_MAX_CHARACTERS = 256


def upgrade() -> None:
    """Add the tables, and the metadata of the packages that are there."""
    op.create_index("package_by_schema", "package", ["schema_slug", "id"], unique=False)
    op.create_index("package_by_retention_class", "package", ["retention_class", "id"], unique=False)
    package_metadata = op.create_table(
        "package_metadata",
        sa.Column("key", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.Column("package", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("producer", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["package"], ["package.id"]),
        sa.PrimaryKeyConstraint("key", "value", "package"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "package_metadata_by_producer", "package_metadata", ["producer", "key", "value", "package"], unique=False
    )
    _fill(package_metadata)
    _create_token()
    _create_open_package()
    _create_upload()
    op.create_table(
        "idempotency_key",
        sa.Column("caller", TEXT, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("request_digest", sa.LargeBinary(), nullable=False),
        sa.Column("answer", TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "key"),
    )
    op.create_index("idempotency_key_age", "idempotency_key", ["created_at"], unique=False)


def _fill(package_metadata: sa.Table) -> None:
    """As the projection does it; written out here, because a migration must not change with the program."""
    connection = op.get_bind()
    packages = connection.execute(
        sa.text("SELECT id, producer, metadata_json FROM package WHERE metadata_json IS NOT NULL ORDER BY id")
    )
    for row_id, producer, metadata in packages.fetchall():
        rows = [
            {"key": key, "value": text, "package": row_id, "producer": producer}
            for key, value in json.loads(metadata).items()
            if isinstance(value, str | int | float)
            and _is_searched(key)
            and _is_searched(text := value if isinstance(value, str) else json.dumps(value))
        ]
        if rows:
            connection.execute(package_metadata.insert(), rows)


def _is_searched(text: str) -> bool:
    return len(text) <= _MAX_CHARACTERS and "\0" not in text


def _create_token() -> None:
    op.create_table(
        "token",
        sa.Column("token_id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", TEXT, nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("token_id"),
    )
    op.create_index(
        "token_name",
        "token",
        ["name"],
        unique=True,
        sqlite_where=sa.text("revoked_at IS NULL"),
        postgresql_where=sa.text("revoked_at IS NULL"),
    )


def _create_open_package() -> None:
    op.create_table(
        "open_package",
        sa.Column("package_id", TEXT, nullable=False),
        sa.Column("producer", TEXT, nullable=False),
        sa.Column("opened_by", TEXT, nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("draft", sa.LargeBinary(), nullable=False),
        sa.Column("receipt", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("package_id"),
    )
    op.create_index("open_package_expiry", "open_package", ["expires_at"], unique=False)
    op.create_index(
        "open_package_by_owner",
        "open_package",
        ["opened_by", "package_id"],
        unique=False,
        sqlite_where=sa.text("receipt IS NULL"),
        postgresql_where=sa.text("receipt IS NULL"),
    )
    op.create_table(
        "declared_files",
        sa.Column("package_id", TEXT, nullable=False),
        sa.Column("files", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["package_id"], ["open_package.package_id"]),
        sa.PrimaryKeyConstraint("package_id"),
    )
    op.create_table(
        "received_object",
        sa.Column("package_id", TEXT, nullable=False),
        sa.Column("blake3", sa.LargeBinary(), nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("backend", TEXT, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("blobs", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["package_id"], ["open_package.package_id"]),
        sa.PrimaryKeyConstraint("package_id", "blake3", "kind"),
    )
    op.create_table(
        "received_file",
        sa.Column("package_id", TEXT, nullable=False),
        sa.Column("path", TEXT, nullable=False),
        sa.Column("role", TEXT, nullable=False),
        sa.Column("media_type", TEXT, nullable=False),
        sa.Column("blake3", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["package_id"], ["open_package.package_id"]),
        sa.PrimaryKeyConstraint("package_id", "path"),
    )


def _create_upload() -> None:
    op.create_table(
        "upload",
        sa.Column("upload_id", TEXT, nullable=False),
        sa.Column("package_id", TEXT, nullable=False),
        sa.Column("path", TEXT, nullable=False),
        sa.Column("role", TEXT, nullable=False),
        sa.Column("media_type", TEXT, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("received_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["package_id"], ["open_package.package_id"]),
        sa.PrimaryKeyConstraint("upload_id"),
    )
    op.create_index("upload_path", "upload", ["package_id", "path"], unique=True)
    op.create_table(
        "upload_part",
        sa.Column("upload_id", TEXT, nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("backend", TEXT, nullable=False),
        sa.Column("blake3", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["upload_id"], ["upload.upload_id"]),
        sa.PrimaryKeyConstraint("upload_id", "start"),
    )
