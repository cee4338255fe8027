"""How this pilot says no: one error that names everything wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.plugins import RunDirectoryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.errors import Problem


def refusal(problems: Sequence[Problem], *, hint: str) -> RunDirectoryError:
    """An error whose message is the only problem, or counts them; all of them are in ``problems``."""
    message = f"{problems[0].where} {problems[0].what}"
    if len(problems) > 1:
        message = f"{len(problems)} things are wrong with the run"
    return RunDirectoryError(message, hint=hint, problems=tuple(problems))
