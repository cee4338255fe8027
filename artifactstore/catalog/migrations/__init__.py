"""Schema migrations, by Alembic. ``HEAD`` lets others know the newest revision without importing it."""

HEAD = "0004"
REVISIONS = ("0001", "0002", "0003", "0004")
"""Every revision there has been, oldest first."""
