"""Named places where a test may stop the process or make the next step fail.

``failpoint("catalog.before-commit")`` does nothing unless a test has put a function in its place with ``arm``. A test
walks through all of them and kills the process at each; docs/ARCHITECTURE.md has the table of what is left then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_armed: Callable[[str], None] | None = None


def failpoint(name: str) -> None:
    """Call the armed function, if there is one, with this step's name."""
    if _armed is not None:
        _armed(name)


def arm(action: Callable[[str], None] | None) -> None:
    """Have ``action`` called at every failpoint; None disarms. For tests only."""
    global _armed  # noqa: PLW0603 - one switch for the process, like a signal handler
    _armed = action
