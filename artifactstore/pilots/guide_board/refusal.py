"""How this pilot says no: one error that names everything wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.plugins import RunDirectoryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.errors import Problem


def refusal(problems: Sequence[Problem], *, hint: str) -> RunDirectoryError:
    """An error whose message is the first problem and the number of others; all of them are in ``problems``."""
    first, *others = problems
    more = f" (and {len(others)} more)" if others else ""
    return RunDirectoryError(f"{first.where} {first.what}{more}", hint=hint, problems=tuple(problems))
