"""Schema migrations, by Alembic. ``HEAD`` lets others know the newest revision without importing it."""

HEAD = "0001"
REVISIONS = ("0001",)
"""Every revision there has been, oldest first."""
