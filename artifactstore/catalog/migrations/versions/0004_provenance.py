"""Where things were observed and by whom, and who is told what happens: sources, envelopes, parties, subscriptions."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Text in the order of its bytes, on either database."""
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the tables."""
    _create_source()
    _create_envelope()
    _create_subscription()


def _create_source() -> None:
    op.create_table(
        "source",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("source_id", sa.LargeBinary(), nullable=False),
        sa.Column("location_kind", TEXT, nullable=False),
        sa.Column("path_id", TEXT, nullable=False),
        sa.Column("owner_host_id", TEXT, nullable=True),
        sa.Column("content_type", TEXT, nullable=True),
        sa.Column("display_name", TEXT, nullable=True),
        sa.Column("metadata_json", TEXT, nullable=True),
        *_provenance(),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("source_id"),
    )


def _create_envelope() -> None:
    op.create_table(
        "envelope",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("envelope_id", sa.LargeBinary(), nullable=False),
        sa.Column("source", sa.BigInteger(), nullable=False),
        sa.Column("transport", TEXT, nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("raw_payload", sa.LargeBinary(), nullable=False),
        *_provenance(),
        sa.ForeignKeyConstraint(["source"], ["source.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("envelope_id"),
    )
    op.create_index("envelope_by_source", "envelope", ["source", "id"], unique=False)
    op.create_index("envelope_by_source_and_actor", "envelope", ["source", "indexed_by", "id"], unique=False)
    op.create_table(
        "party",
        sa.Column("envelope", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ordinal", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("identifier_kind", TEXT, nullable=False),
        sa.Column("identifier_scope", TEXT, nullable=True),
        sa.Column("identifier_value", TEXT, nullable=False),
        sa.Column("role", TEXT, nullable=False),
        sa.Column("trust", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["envelope"], ["envelope.id"]),
        sa.PrimaryKeyConstraint("envelope", "ordinal"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "package_observation",
        sa.Column("package", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("envelope", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("observed_at", sa.BigInteger(), nullable=False),
        sa.Column("observed_by", TEXT, nullable=False),
        sa.Column("producer", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["package"], ["package.id"]),
        sa.ForeignKeyConstraint(["envelope"], ["envelope.id"]),
        sa.PrimaryKeyConstraint("package", "envelope"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "package_observation_by_envelope", "package_observation", ["envelope", "producer", "package"], unique=False
    )


def _provenance() -> "tuple[sa.Column[str | int], ...]":
    return (
        sa.Column("plugin_name", TEXT, nullable=False),
        sa.Column("plugin_version", TEXT, nullable=True),
        sa.Column("contract_version", TEXT, nullable=False),
        sa.Column("is_declared", sa.SmallInteger(), nullable=False),
        sa.Column("indexed_at", sa.BigInteger(), nullable=False),
        sa.Column("indexed_by", TEXT, nullable=False),
    )


def _create_subscription() -> None:
    op.create_table(
        "subscription",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("delivered_at", sa.BigInteger(), nullable=True),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("next_attempt_at", sa.BigInteger(), nullable=False),
        sa.Column("error", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "webhook_delivery",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("webhook", TEXT, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("attempted_at", sa.BigInteger(), nullable=False),
        sa.Column("took_us", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.BigInteger(), nullable=True),
        sa.Column("error", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("webhook_delivery_by_webhook", "webhook_delivery", ["webhook", "id"], unique=False)
    op.create_index("webhook_delivery_age", "webhook_delivery", ["attempted_at"], unique=False)
