"""The guide-board pilot: one run directory becomes one package. docs/pilots/guide-board.md is its contract.

::

    with closing(open_registry()) as registry:
        receipt = ingest_run(Path("runs/2026-06-01"), EmbeddedContext(registry, PLUGIN))

Importing this package loads nothing slow; reading a run and the commands are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.plugins import Plugin, RetentionClass

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import typer

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.plugins import CommandDoor, PackageReceipt, PluginContext

__all__ = ["PLUGIN", "ingest_run"]


def ingest_run(
    path: Path,
    context: PluginContext,
    *,
    retention_class: RetentionClass = RetentionClass.RAW_EVIDENCE,
    as_revision: bool = False,
    include_undeclared: bool = False,
) -> PackageReceipt:
    """Record a run directory as one package. The same run again is answered with the same package.

    Files that nothing declares are left out unless ``include_undeclared``. ``as_revision`` records a run whose files
    have changed as the next revision; without it that is ``RunChangedError``. Raises ``RunDirectoryError`` for a run
    that is incomplete or contradicts itself, and what ``registry.ingest`` raises; nothing is recorded then.
    """
    from artifactstore.pilots.guide_board.draft import package_draft
    from artifactstore.pilots.guide_board.run import open_run

    with open_run(path, max_files=context.max_files) as run:
        draft = package_draft(run, retention_class, include_undeclared=include_undeclared)
        return context.ingest_package(draft, as_revision=as_revision)


def _schemas() -> Mapping[str, JsonValue]:
    from artifactstore.pilots.guide_board.schema import run_schemas

    return run_schemas()


def _add_commands(group: typer.Typer, door: CommandDoor) -> None:
    from artifactstore.pilots.guide_board.commands import add_commands

    add_commands(group, door)


PLUGIN = Plugin(
    name="guide-board",
    version="1.0",
    summary="Assessment runs of guide-board.",
    schemas=_schemas,
    add_commands=_add_commands,
)
