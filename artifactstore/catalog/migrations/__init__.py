"""Schema migrations, by Alembic. ``HEAD`` lets others know the newest revision without importing it."""

from typing import NamedTuple

HEAD = "0006"
REVISIONS = ("0001", "0002", "0003", "0004", "0006")
"""Every revision there has been, oldest first."""


class Branch(NamedTuple):
    """A line of migrations with a beginning of its own; ``alembic_version`` has a row for each."""

    package: str
    """Has them in ``versions``, and what they come to in ``head.sql``."""
    revisions: tuple[str, ...]
    """Every one there has been, oldest first."""

    @property
    def head(self) -> str:
        """The newest."""
        return self.revisions[-1]


CORE = Branch(__name__, REVISIONS)
