"""What the end of packages needs: tombstones, pins, what collection is about to remove, what is counted; paused duties.

What is counted is filled from what there is, once.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Text in the order of its bytes, on either database."""
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


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
    _create_counters()
    for statement in COUNT:
        op.execute(statement)


COUNT = (
    (
        "INSERT INTO producer_usage (producer, packages, files, logical_bytes, unique_bytes, shared_bytes)"
        " SELECT producer, sum(CASE WHEN status <> 'deleted' THEN 1 ELSE 0 END),"
        " sum(CASE WHEN status <> 'deleted' THEN file_count ELSE 0 END),"
        " sum(CASE WHEN status <> 'deleted' THEN total_bytes ELSE 0 END), 0, 0 FROM package GROUP BY producer"
    ),
    # everyone's, until it is known which are shared
    (
        "INSERT INTO shared_blob (blob, producer, files) SELECT package_file.blob_id, producer_usage.id, count(*)"
        " FROM package_file JOIN package ON package.id = package_file.package"
        " JOIN producer_usage ON producer_usage.producer = package.producer"
        " GROUP BY package_file.blob_id, producer_usage.id"
    ),
    (
        "UPDATE blob SET files = (SELECT coalesce(sum(files), 0) FROM shared_blob WHERE shared_blob.blob = blob.id),"
        " producer = (SELECT min(producer) FROM shared_blob WHERE shared_blob.blob = blob.id HAVING count(*) = 1)"
    ),
    "DELETE FROM shared_blob WHERE (SELECT producer FROM blob WHERE blob.id = shared_blob.blob) IS NOT NULL",
    (
        "UPDATE producer_usage SET unique_bytes ="
        " (SELECT coalesce(sum(blob.size_bytes), 0) FROM blob WHERE blob.producer = producer_usage.id), shared_bytes ="
        " (SELECT coalesce(sum(blob.size_bytes), 0) FROM shared_blob JOIN blob ON blob.id = shared_blob.blob"
        " WHERE shared_blob.producer = producer_usage.id)"
    ),
    (
        "INSERT INTO object_usage (object, backend, kind, size_bytes, used, used_bytes, dead_bytes, is_condemned)"
        " SELECT id, backend, kind, size_bytes, 0, 0, 0, CASE WHEN status = 'condemned' THEN 1 ELSE 0 END"
        " FROM stored_object"
    ),
    (
        "UPDATE object_usage SET used = (SELECT count(*) FROM blob_location"
        "  JOIN blob ON blob.id = blob_location.blob_id"
        "  WHERE blob_location.object_id = object_usage.object AND blob.files > 0),"
        " used_bytes = (SELECT coalesce(sum(blob.size_bytes), 0) FROM blob_location"
        "  JOIN blob ON blob.id = blob_location.blob_id"
        "  WHERE blob_location.object_id = object_usage.object AND blob.files > 0)"
    ),
    (
        "UPDATE object_usage SET used = (SELECT count(*) FROM stored_object"
        "  JOIN package ON package.manifest_digest = stored_object.blake3 AND package.status <> 'deleted'"
        "  WHERE stored_object.id = object_usage.object) WHERE kind = 'manifest'"
    ),
    "UPDATE object_usage SET used_bytes = used * size_bytes WHERE kind = 'manifest'",
    # a pack of so many members: headers of 30 and 46 bytes with a name of 64 each, an end of 22, or 98 from 65,535 on
    (
        "UPDATE object_usage SET dead_bytes = CASE WHEN used = 0 THEN size_bytes WHEN kind = 'pack'"
        " AND size_bytes > used_bytes + used * 204 + CASE WHEN used >= 65535 THEN 98 ELSE 22 END"
        " THEN size_bytes - used_bytes - used * 204 - CASE WHEN used >= 65535 THEN 98 ELSE 22 END ELSE 0 END"
        " WHERE is_condemned = 0 AND kind <> 'segment'"
    ),
    (
        "INSERT INTO backend_usage (backend, kind, objects, size_bytes, dead_objects, dead_object_bytes,"
        " dead_in_use_bytes, condemned_objects, condemned_bytes)"
        " SELECT backend, kind, count(*), sum(size_bytes),"
        " sum(CASE WHEN used = 0 AND dead_bytes > 0 THEN 1 ELSE 0 END),"
        " sum(CASE WHEN used = 0 THEN dead_bytes ELSE 0 END), sum(CASE WHEN used > 0 THEN dead_bytes ELSE 0 END),"
        " sum(is_condemned), sum(CASE WHEN is_condemned = 1 THEN size_bytes ELSE 0 END)"
        " FROM object_usage GROUP BY backend, kind"
    ),
)


def _create_counters() -> None:
    op.add_column("blob", sa.Column("files", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("blob", sa.Column("producer", sa.BigInteger(), nullable=True))
    op.create_table(
        "producer_usage",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("producer", TEXT, nullable=False),
        *_counters("packages", "files", "logical_bytes", "unique_bytes", "shared_bytes"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("producer"),
    )
    op.create_table(
        "shared_blob",
        sa.Column("blob", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("producer", sa.BigInteger(), autoincrement=False, nullable=False),
        *_counters("files"),
        sa.PrimaryKeyConstraint("blob", "producer"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "object_usage",
        sa.Column("object", ID, autoincrement=False, nullable=False),
        sa.Column("backend", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        *_counters("size_bytes", "used", "used_bytes", "dead_bytes"),
        sa.Column("is_condemned", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("object"),
    )
    op.create_index(
        "object_usage_dead",
        "object_usage",
        ["backend", "object"],
        unique=False,
        sqlite_where=sa.text("dead_bytes > 0"),
        postgresql_where=sa.text("dead_bytes > 0"),
    )
    op.create_table(
        "backend_usage",
        sa.Column("backend", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        *_counters("objects", "size_bytes", "dead_objects", "dead_object_bytes", "dead_in_use_bytes"),
        *_counters("condemned_objects", "condemned_bytes"),
        sa.PrimaryKeyConstraint("backend", "kind"),
        sqlite_with_rowid=False,
    )


def _counters(*names: str) -> "tuple[sa.Column[int], ...]":
    return tuple(sa.Column(name, sa.BigInteger(), nullable=False) for name in names)


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
