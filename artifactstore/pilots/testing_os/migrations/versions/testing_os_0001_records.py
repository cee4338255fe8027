"""Records, their surfaces, the latest of each, how many there are, and the policies that are adopted.

It rests on the core's ``package``. That is not said as ``depends_on``: Alembic would keep one row for both branches.
"""

import sqlalchemy as sa
from alembic import op

revision = "testing_os_0001"
down_revision = None
branch_labels = ("testing_os",)
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Text in the order of its bytes, on either database."""
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "testing_os_record",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("package", sa.BigInteger(), nullable=False),
        *(sa.Column(name, TEXT, nullable=False) for name in ("external_id", "repo", "run_id", "profile", "status")),
        sa.Column("verified", TEXT, nullable=False),
        sa.Column("may_be_replaced", sa.SmallInteger(), nullable=False),
        sa.Column("contract_major", sa.BigInteger()),
        sa.Column("finished_at", TEXT, nullable=False),
        sa.Column("finished_ms", sa.BigInteger(), nullable=False),
        sa.Column("path", TEXT, nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["package"], ["package.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("package"),
    )
    op.create_index("testing_os_record_by_external_id", "testing_os_record", ["external_id", "id"], unique=False)
    op.create_index("testing_os_record_by_repo", "testing_os_record", ["repo", "finished_ms", "package"], unique=False)
    op.create_table(
        "testing_os_surface",
        sa.Column("record", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("repo", TEXT, nullable=False),
        sa.Column("surface", TEXT, nullable=False),
        sa.Column("is_passing", sa.SmallInteger(), nullable=False),
        sa.Column("finished_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["record"], ["testing_os_record.id"]),
        sa.PrimaryKeyConstraint("record", "position"),
        sqlite_with_rowid=False,
    )
    by_outcome = ["repo", "surface", "is_passing", "finished_ms"]
    op.create_index("testing_os_surface_by_outcome", "testing_os_surface", by_outcome, unique=False)
    op.create_table(
        "testing_os_latest",
        sa.Column("repo", TEXT, nullable=False),
        sa.Column("surface", TEXT, nullable=False),
        sa.Column("first_order", TEXT, nullable=False),
        sa.Column("latest_ms", sa.BigInteger(), nullable=False),
        sa.Column("latest_order", TEXT, nullable=False),
        sa.Column("record", sa.BigInteger(), nullable=False),
        sa.Column("failing_since_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["record"], ["testing_os_record.id"]),
        sa.PrimaryKeyConstraint("repo", "surface"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "testing_os_totals",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("accepted", sa.BigInteger(), nullable=False),
        sa.Column("rejected", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "testing_os_policies",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("package", sa.BigInteger(), nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("adopted_at", sa.BigInteger(), nullable=False),
        sa.Column("adopted_by", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["package"], ["package.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
