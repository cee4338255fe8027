"""Write artifactstore/catalog/migrations/head.sql: what all migrations come to, for new SQLite databases.

Run it after adding a migration; a test compares the file with what the migrations give.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from artifactstore.catalog import migrations
from artifactstore.catalog.upgrade import migrate

HEAD_SQL = Path(migrations.__file__).with_name("head.sql")


def head_schema() -> str:
    """The statements that make a migrated database's tables, in the order the migrations made them."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    rows = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid").fetchall()
    statements = [statement.strip() for (statement,) in rows]
    statements.append(f"INSERT INTO alembic_version (version_num) VALUES ('{migrations.HEAD}')")
    connection.close()
    return ";\n".join(statements) + "\n"


if __name__ == "__main__":
    HEAD_SQL.write_text(head_schema(), encoding="utf-8")
