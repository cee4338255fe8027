"""Stored objects: list, verify."""

from __future__ import annotations

from typing import Annotated

import typer

from artifactstore.cli.commands.packages import answer_verification
from artifactstore.cli.door import door_of

app = typer.Typer(no_args_is_help=False, rich_markup_mode=None)


@app.command("list")
def list_(
    context: typer.Context,
    after: Annotated[int, typer.Option(metavar="N", help="Start after this position.", min=0, max=2**63 - 1)] = 0,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)] = 100,
) -> None:
    """List the objects the catalog knows: large blobs, packs, manifests.

    "next_after" in the answer is what to give --after for the next page; null at the end.
    """
    door = door_of(context)
    with door.store() as store:
        door.answer(store.list_objects(after=after, limit=limit))


@app.command()
def verify(context: typer.Context) -> None:
    """Read every object back and compare it with its digest and with those of the blobs in it."""
    door = door_of(context)
    with door.store() as store, door.progress() as progress:
        report = store.verify_objects(progress=progress)
    answer_verification(context, report)
