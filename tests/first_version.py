"""A database as the first version made it: what every revision since has added is taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

TABLES_SINCE_0001 = (
    "testing_os_policies",
    "testing_os_totals",
    "testing_os_latest",
    "testing_os_surface",
    "testing_os_record",
    "webhook_delivery",
    "subscription",
    "package_observation",
    "party",
    "envelope",
    "source",
    "backend_state",
    "probe_report",
    "duty",
    "upload_part",
    "upload",
    "received_file",
    "received_object",
    "removal",
    "producer_usage",
    "shared_blob",
    "object_usage",
    "backend_usage",
    "declared_files",
    "open_package",
    "idempotency_key",
    "token",
    "package_metadata",
)


_COLUMNS_OF_PACKAGE = (
    "deleted_at",
    "deleted_by",
    "deletion_plan",
    "deletion_rule",
    "deletion_reason",
    "pinned_at",
    "pinned_by",
    "pin_reason",
)

_INDEXES = (
    "stored_object_by_backend",
    "package_by_producer_and_subject",
    "package_by_schema",
    "package_by_retention_class",
    "package_by_manifest",
    "package_expired",
    "hold_in_force",
)


def take_back_to_0001(execute: Callable[[str], object]) -> None:
    """Take a database at head back; what it holds of the first version's tables stays."""
    for table in TABLES_SINCE_0001:
        execute(f"DROP TABLE {table}")
    for index in _INDEXES:
        execute(f"DROP INDEX {index}")
    for column in _COLUMNS_OF_PACKAGE:
        execute(f"ALTER TABLE package DROP COLUMN {column}")
    for column in ("files", "producer"):
        execute(f"ALTER TABLE blob DROP COLUMN {column}")
    execute("DELETE FROM alembic_version")
    execute("INSERT INTO alembic_version VALUES ('0001')")
