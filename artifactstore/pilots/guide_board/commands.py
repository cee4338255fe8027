"""``artifactstore guide-board ingest`` and ``check``. What they import to work, they import themselves."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.pilots.guide_board import ingest_open_run
from artifactstore.plugins import RetentionClass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.manifest import Manifest
    from artifactstore.pilots.guide_board.run import RunFile
    from artifactstore.plugins import CommandDoor

_NAMED_UNDECLARED = 20
"""Undeclared files that ``ingest`` names; ``check`` answers all of them."""

RunDirectory = Annotated[
    Path,
    typer.Argument(metavar="RUN_DIR", help="The directory of one finished run.", show_default=False),
]
Retention = Annotated[
    str,
    typer.Option(metavar="CLASS", help=f"How long to keep it: {', '.join(RetentionClass)}."),
]
AsRevision = Annotated[
    bool,
    typer.Option("--revision", help="If the run is known with other content, record this as its next revision."),
]
IncludeUndeclared = Annotated[
    bool,
    typer.Option("--include-undeclared", help="Take files too that neither guide-board nor the run declares."),
]


def add_commands(group: typer.Typer, door: CommandDoor) -> None:
    """Add the pilot's commands to its group."""

    @group.command("ingest")
    def _ingest(
        run_dir: RunDirectory,
        retention: Retention = RetentionClass.RAW_EVIDENCE.value,
        revision: AsRevision = False,
        include_undeclared: IncludeUndeclared = False,
    ) -> None:
        """Record a run directory as one immutable package.

        The same run again is answered with the package that is there.

        Example: artifactstore guide-board ingest runs/2026-05-18-quince-cmis-browser
        """
        ingest_command(
            door, run_dir, RetentionClass.parse(retention), as_revision=revision, include_undeclared=include_undeclared
        )

    @group.command("check")
    def _check(run_dir: RunDirectory, include_undeclared: IncludeUndeclared = False) -> None:
        """Check a run directory as ingest would, and store nothing.

        The answer has the manifest digest that ingest would give and the files it would leave out.
        """
        check_command(door, run_dir, include_undeclared=include_undeclared)


def ingest_command(
    door: CommandDoor, run_dir: Path, retention_class: RetentionClass, *, as_revision: bool, include_undeclared: bool
) -> None:
    """Answer the receipt of the run's package; tell which files were left out."""
    from artifactstore.pilots.guide_board.run import open_run

    with door.context() as context, open_run(run_dir, max_files=context.max_files) as run:
        result = ingest_open_run(
            run, context, retention_class, as_revision=as_revision, include_undeclared=include_undeclared
        )
    assert result.package is not None, "a run was handed in as a package"
    _tell_undeclared(door, run.undeclared, included=include_undeclared)
    door.answer(asdict(result.package.receipt))


def check_command(door: CommandDoor, run_dir: Path, *, include_undeclared: bool) -> None:
    """Answer what ingest would record and what it would leave out."""
    from artifactstore.pilots.guide_board.draft import package_draft
    from artifactstore.pilots.guide_board.run import open_run

    with door.context() as context, open_run(run_dir, max_files=context.max_files) as run:
        manifest = context.check_package(
            package_draft(run, RetentionClass.RAW_EVIDENCE, include_undeclared=include_undeclared)
        )
    _tell_undeclared(door, run.undeclared, included=include_undeclared)
    door.answer(_summary(manifest, run.undeclared))


def _summary(manifest: Manifest, undeclared: Sequence[RunFile]) -> dict[str, JsonValue]:
    from artifactstore.domain.digest import Digest
    from artifactstore.domain.manifest import manifest_digest
    from artifactstore.domain.paths import case_collisions

    return {
        "manifest_digest": str(Digest.blake3(manifest_digest(manifest.encode()))),
        "file_count": len(manifest.files),
        "total_bytes": sum(file.size_bytes for file in manifest.files),
        "external_id": manifest.external_id,
        "schema": manifest.schema,
        "undeclared": [_shown(file.path) for file in undeclared],
        "case_collisions": [[*group] for group in case_collisions(file.path for file in manifest.files)],
    }


def _tell_undeclared(door: CommandDoor, undeclared: Sequence[RunFile], *, included: bool) -> None:
    if not undeclared:
        return
    what = "taken too" if included else "left out; --include-undeclared takes them too"
    door.say(f"{len(undeclared)} file(s) that nothing declares, {what}:")
    for file in undeclared[:_NAMED_UNDECLARED]:
        door.say(f"  {_shown(file.path)!r}")
    if len(undeclared) > _NAMED_UNDECLARED:
        door.say(f"  and {len(undeclared) - _NAMED_UNDECLARED} more; `artifactstore guide-board check` lists them all")


def _shown(path: str) -> str:
    """A path as text, even if its name is not UTF-8."""
    return os.fsencode(path).decode(errors="backslashreplace")
