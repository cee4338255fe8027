"""The testing-os pilot: one submission is judged and becomes one immutable package, its record.

A submission's path id is ``<org>/<repo>/<UTC date>/<run id>``: what makes it another submission or the same. ``run`` is
the programmatic way in, ``artifactstore testing-os`` the command line's. Importing this package loads nothing slow.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from artifactstore.plugins import LocationKind, Plugin, Words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import typer

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.pilots.testing_os.running import run
    from artifactstore.plugins import CommandDoor
    from artifactstore.plugins.contract import Route

__all__ = ["PLUGIN", "run"]

_PATH_ID = re.compile(r"[^/\s]+/[^/\s]+/[0-9]{4}-[0-9]{2}-[0-9]{2}/[A-Za-z0-9_-]+")
_POLICIES_ID = re.compile(r"policies/[0-9a-f]{64}")


def _problem(path_id: str) -> str | None:
    return None if _PATH_ID.fullmatch(path_id) else "must be <org>/<repo>/<YYYY-MM-DD>/<run id>"


def _problem_of_policies(path_id: str) -> str | None:
    return None if _POLICIES_ID.fullmatch(path_id) else "must be policies/<64 hex digits>"


def _words() -> Words:
    submission = LocationKind(
        "testing-os.submission", "<org>/<repo>/<UTC date>/<run id> of a submission.", problem=_problem
    )
    policies = LocationKind(
        "testing-os.policies", "policies/<BLAKE3 in hex> of a set of policies.", problem=_problem_of_policies
    )
    return Words(location_kinds=(submission, policies))


def _schemas() -> Mapping[str, JsonValue]:
    from artifactstore.pilots.testing_os.schemas import schemas

    return schemas()


def _add_commands(group: typer.Typer, door: CommandDoor) -> None:
    from artifactstore.pilots.testing_os.commands import add_commands

    add_commands(group, door)


def _routes() -> Sequence[Route]:
    from artifactstore.pilots.testing_os.routes import routes

    return routes()


def __getattr__(name: str) -> object:
    if name == "run":
        from artifactstore.pilots.testing_os.running import run

        return run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


PLUGIN = Plugin(
    name="testing-os",
    summary="Submissions of testing-os.",
    schemas=_schemas,
    words=_words,
    add_commands=_add_commands,
    routes=_routes,
)
