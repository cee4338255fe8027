"""The guide-board pilot: one run directory becomes one package. docs/pilots/guide-board.md is its contract.

::

    with closing(open_registry(settings)) as registry:
        context = EmbeddedContext(host_of(registry, settings), load_plugin("guide-board"))
        result = ingest_run(Path("runs/2026-06-01"), context)

Importing this package loads nothing slow; reading a run and the commands are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.plugins import LocationKind, Plugin, RetentionClass, Words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import typer

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.pilots.guide_board.run import Run
    from artifactstore.plugins import CommandDoor, IngestResult, PluginContext, WebhookFormat

__all__ = ["PLUGIN", "ingest_run"]


def ingest_run(
    path: Path,
    context: PluginContext,
    *,
    retention_class: RetentionClass = RetentionClass.RAW_EVIDENCE,
    as_revision: bool = False,
    include_undeclared: bool = False,
) -> IngestResult:
    """Record a run directory as one package, and where it was observed. The same run again is answered the same.

    Files that nothing declares are left out unless ``include_undeclared``. ``as_revision`` records a run whose files
    have changed as the next revision; without it that is ``RunChangedError``. Raises ``RunDirectoryError`` for a run
    that is incomplete or contradicts itself, and what ``PluginContext.ingest`` raises; nothing is recorded then.
    """
    from artifactstore.pilots.guide_board.run import open_run

    with open_run(path, max_files=context.max_files) as run:
        return ingest_open_run(
            run, context, retention_class, as_revision=as_revision, include_undeclared=include_undeclared
        )


def ingest_open_run(
    run: Run, context: PluginContext, retention_class: RetentionClass, *, as_revision: bool, include_undeclared: bool
) -> IngestResult:
    """The same for a run that has been read."""
    from artifactstore.pilots.guide_board.draft import package_draft
    from artifactstore.pilots.guide_board.observation import envelope_of, source_of

    return context.ingest(
        source=source_of(run.facts),
        envelope=envelope_of(run.facts, run.observation),
        parties=run.observation.parties,
        package=package_draft(run, retention_class, include_undeclared=include_undeclared),
        as_revision=as_revision,
    )


def _words() -> Words:
    return Words(location_kinds=(LocationKind("guide-board.run", "The run id of an assessment run."),))


def _schemas() -> Mapping[str, JsonValue]:
    from artifactstore.pilots.guide_board.schema import run_schemas

    return run_schemas()


def _webhook_formats() -> Sequence[WebhookFormat]:
    from artifactstore.pilots.guide_board.state_hub import FORMAT

    return (FORMAT,)


def _add_commands(group: typer.Typer, door: CommandDoor) -> None:
    from artifactstore.pilots.guide_board.commands import add_commands

    add_commands(group, door)


PLUGIN = Plugin(
    name="guide-board",
    summary="Assessment runs of guide-board.",
    schemas=_schemas,
    words=_words,
    webhook_formats=_webhook_formats,
    add_commands=_add_commands,
)
