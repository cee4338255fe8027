"""Write each branch's ``head.sql``: what its migrations come to, for new SQLite databases.

Run it after adding a migration; a test compares the files with what the migrations give.
"""

from __future__ import annotations

import sqlite3
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from artifactstore.built_in import register_contributions
from artifactstore.catalog.contributions import branches
from artifactstore.catalog.upgrade import migrate

if TYPE_CHECKING:
    from artifactstore.catalog.migrations import Branch

_STATEMENTS = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"


def head_schemas() -> dict[Path, str]:
    """For each branch's file the statements that make its tables, in the order the migrations made them."""
    register_contributions()
    connection = sqlite3.connect(":memory:", isolation_level=None)
    found: dict[Path, str] = {}
    made = 0
    for branch in branches():
        migrate(connection, branch)
        statements = [statement.strip() for (statement,) in connection.execute(_STATEMENTS)]
        version = f"INSERT INTO alembic_version (version_num) VALUES ('{branch.head}')"
        found[head_file(branch)] = ";\n".join([*statements[made:], version]) + "\n"
        made = len(statements)
    connection.close()
    return found


def head_file(branch: Branch) -> Path:
    """Where a branch has it."""
    return Path(str(import_module(branch.package).__file__)).with_name("head.sql")


if __name__ == "__main__":
    for file, statements in head_schemas().items():
        file.write_text(statements, encoding="utf-8")
