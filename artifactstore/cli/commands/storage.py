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
    from artifactstore.documents import object_document
    from artifactstore.registry.objects import list_objects

    door = door_of(context)
    with door.registry() as registry:
        page = list_objects(registry, after=after, limit=limit)
    next_after = page[-1].row_id if len(page) == limit else None
    door.answer({"objects": [object_document(found) for found in page], "next_after": next_after})


@app.command()
def verify(context: typer.Context) -> None:
    """Read every object back and compare it with its digest and with those of the blobs in it."""
    from artifactstore.registry.verify import verify_objects

    door = door_of(context)
    with door.registry() as registry, door.progress() as progress:
        report = verify_objects(registry, progress=progress)
    answer_verification(context, report)
