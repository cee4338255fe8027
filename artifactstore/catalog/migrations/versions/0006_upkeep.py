"""What the upkeep of a store needs: packages by their manifest, and duties that somebody has paused."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Text in the order of its bytes, on either database."""


def upgrade() -> None:
    """Add the index that a manifest's packages are found by, and who has paused a duty, and when."""
    op.create_index(
        "package_by_manifest",
        "package",
        ["manifest_digest", "id"],
        unique=False,
        sqlite_where=sa.text("manifest_digest IS NOT NULL"),
        postgresql_where=sa.text("manifest_digest IS NOT NULL"),
    )
    op.add_column("duty", sa.Column("paused_at", sa.BigInteger(), nullable=True))
    op.add_column("duty", sa.Column("paused_by", TEXT, nullable=True))
