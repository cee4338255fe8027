"""Schema migrations, by Alembic. ``HEAD`` lets others know the newest revision without importing it."""

HEAD = "0002"
REVISIONS = ("0001", "0002")
"""Every revision there has been, oldest first."""
