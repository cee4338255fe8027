"""What the end of packages needs: tombstones, pins, what collection is about to remove; and duties that are paused."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Text in the order of its bytes, on either database."""


def upgrade() -> None:
    """Add the columns, the indexes and the table."""
    op.add_column("duty", sa.Column("paused_at", sa.BigInteger(), nullable=True))
    op.add_column("duty", sa.Column("paused_by", TEXT, nullable=True))
    for name, kind in (
        ("deleted_at", sa.BigInteger()),
        ("deleted_by", TEXT),
        ("deletion_plan", sa.LargeBinary()),
        ("deletion_rule", TEXT),
        ("deletion_reason", TEXT),
        ("pinned_at", sa.BigInteger()),
        ("pinned_by", TEXT),
        ("pin_reason", TEXT),
    ):
        op.add_column("package", sa.Column(name, kind, nullable=True))
    _create_indexes()
    op.create_table(
        "removal",
        sa.Column("blake3", sa.LargeBinary(), nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("backend", TEXT, nullable=False),
        sa.Column("condemned_at", sa.BigInteger(), nullable=False),
        sa.Column("begun_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("blake3", "kind", "backend"),
    )


def _create_indexes() -> None:
    op.create_index(  # with the state in it SQLite prefers it to the key
        "package_expired",
        "package",
        ["status", "package_id"],
        unique=False,
        sqlite_where=sa.text("status = 'expired'"),
        postgresql_where=sa.text("status = 'expired'"),
    )
    op.create_index(
        "package_by_manifest",
        "package",
        ["manifest_digest", "id"],
        unique=False,
        sqlite_where=sa.text("manifest_digest IS NOT NULL"),
        postgresql_where=sa.text("manifest_digest IS NOT NULL"),
    )
    op.create_index(
        "hold_in_force",
        "hold",
        ["package"],
        unique=False,
        sqlite_where=sa.text("released_at IS NULL"),
        postgresql_where=sa.text("released_at IS NULL"),
    )
    op.create_index("upload_part_by_digest", "upload_part", ["blake3"], unique=False)
    op.create_index("received_object_by_digest", "received_object", ["blake3", "kind"], unique=False)
