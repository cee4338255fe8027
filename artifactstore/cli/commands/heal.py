"""Heal: what is damaged or missing, stored afresh."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from artifactstore.cli.door import door_of
from artifactstore.cli.exit_codes import PARTLY_DONE
from artifactstore.errors import UsageError

if TYPE_CHECKING:
    from artifactstore.documents import Document


def heal(
    context: typer.Context,
    package_id: Annotated[str | None, typer.Argument(help="A package id.", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="Whatever is recorded as damaged.")] = False,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="Where the files of the package still are.")
    ] = None,
) -> None:
    """Store what is damaged or missing afresh, from wherever its bytes still are.

    They come from another backend or another pack. With --from they may also come from a directory: a file
    counts if it is at its path in the package and both digests match; any other is refused and named. With a package id
    the package is read back first; --all relies on what `verify` and the scrub have recorded. What was bad is kept in
    quarantine. The exit code is 3 if something could not be healed: "not_healed" names it.

    Example: artifactstore heal ID --from /runs/2026-11-20
    """
    if everything == (package_id is not None):
        raise UsageError("heal needs a package id or --all")
    if everything and source is not None:
        raise UsageError("--from has the files of one package", hint="Name the package instead of --all.")
    door = door_of(context)
    with door.store() as store, door.progress() as progress:
        document = store.heal(package_id, folder=source, progress=progress)
    door.answer(document)
    for refused in cast("list[Document]", document["refused"]):
        door.say(f"refused: {refused['path']}: {refused['why']}")
    for lost in cast("list[Document]", document["not_healed"]):
        where = f"package {lost['package_id']}, file {lost['path']}" if lost["path"] else lost["object_key"]
        door.say(f"not healed: {where}: {lost['finding']}")
    if document["status"] != "healed":
        raise typer.Exit(PARTLY_DONE)
