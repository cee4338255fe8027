"""``artifactstore testing-os export`` and ``import``: between the store and a tree on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from artifactstore.pilots.testing_os.command_options import DONE, MIXED, AsOf, RepoRoot, instant_or_now, recording
from artifactstore.plugins import RetentionClass

if TYPE_CHECKING:
    from artifactstore.domain.canonical import JsonValue
    from artifactstore.plugins import CommandDoor


def add_tree_commands(group: typer.Typer, door: CommandDoor) -> None:
    """Add them."""

    @group.command("export")
    def _export(repo_root: RepoRoot = Path(), as_of: AsOf = None) -> int:
        """Write every record that is not there yet, and the indexes, to a tree on disk.

        Example: artifactstore testing-os export --repo-root .
        """
        return export_command(door, repo_root, as_of)

    @group.command("import")
    def _import(
        directory: Annotated[Path, typer.Argument(metavar="DIR", help="Has records/.", show_default=False)],
        retention: Annotated[
            str, typer.Option(metavar="CLASS", help=f"How long to keep them: {', '.join(RetentionClass)}.")
        ] = RetentionClass.PERMANENT_RECORD.value,
    ) -> int:
        """Record every record of a tree on disk. What is there already stays as it is.

        Exits 3 if a file was left out; the answer says which and why.

        Example: artifactstore testing-os import ../dogfood
        """
        return import_command(door, directory, RetentionClass.parse(retention))


def import_command(door: CommandDoor, directory: Path, retention_class: RetentionClass) -> int:
    """Answer what was recorded, what was there, and what was left out and why."""
    from artifactstore.pilots.testing_os.importing import import_tree

    with door.context() as context:
        done = import_tree(recording(context).contributed(), directory, retention_class)
    left_out: list[JsonValue] = [{"path": path, "why": why} for path, why in done.left_out]
    door.answer({"records_recorded": len(done.recorded), "records_present": done.present, "left_out": left_out})
    return MIXED if left_out else DONE


def export_command(door: CommandDoor, repo_root: Path, as_of: str | None) -> int:
    """Answer what was done; 3 if something else has the name of a record."""
    from artifactstore.pilots.testing_os.exporting import export

    with door.context() as context:
        done = export(recording(context).contributed(), repo_root, as_of=instant_or_now(as_of))
    differing = cast("list[JsonValue]", done.differing)
    written = {"records_written": len(done.written), "records_present": done.present}
    corrupted: list[JsonValue] = [each._asdict() for each in done.corrupted]
    wrong: dict[str, JsonValue] = {"records_differing": differing, "records_corrupted": corrupted}
    door.answer({**written, **wrong, "indexes_rebuilt": done.indexes_changed})
    return MIXED if differing or corrupted else DONE
