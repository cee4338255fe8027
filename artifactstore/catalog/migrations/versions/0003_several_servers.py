"""What several servers and several backends need: duties under a lease, successors of backends, probe reports."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Text in the order of its bytes, on either database."""


def upgrade() -> None:
    """Add the tables, the index that a backend's objects are found by, and the backend that a push has chosen."""
    op.create_index("stored_object_by_backend", "stored_object", ["backend", "id"], unique=False)
    op.drop_index("package_due", table_name="package")
    op.create_index(  # with the state in it SQLite prefers it to the index of states alone
        "package_due",
        "package",
        ["status", "expires_at"],
        unique=False,
        sqlite_where=sa.text("expires_at IS NOT NULL"),
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
    op.create_index("package_by_producer_and_subject", "package", ["producer", "subject", "id"], unique=False)
    op.create_index(
        "open_package_open",
        "open_package",
        ["package_id"],
        unique=False,
        sqlite_where=sa.text("receipt IS NULL"),
        postgresql_where=sa.text("receipt IS NULL"),
    )
    op.add_column("open_package", sa.Column("backend", TEXT, nullable=True))
    op.create_table(
        "backend_state",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("successor", TEXT, nullable=True),
        sa.Column("succeeded_at", sa.BigInteger(), nullable=True),
        sa.Column("fell_back_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "probe_report",
        sa.Column("target", TEXT, nullable=False),
        sa.Column("probed_at", sa.BigInteger(), nullable=False),
        sa.Column("verdict", TEXT, nullable=False),
        sa.Column("report", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("target"),
    )
    op.create_table(
        "duty",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("next_run_at", sa.BigInteger(), nullable=False),
        sa.Column("holder", TEXT, nullable=True),
        sa.Column("heartbeat_at", sa.BigInteger(), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("succeeded_at", sa.BigInteger(), nullable=True),
        sa.Column("outcome", TEXT, nullable=True),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("detail", TEXT, nullable=True),
        sa.Column("error", TEXT, nullable=True),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
