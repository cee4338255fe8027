"""Metadata schemas: register, list, show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from artifactstore.cli.door import door_of

app = typer.Typer(no_args_is_help=False, rich_markup_mode=None)


@app.command()
def register(
    context: typer.Context,
    slug: Annotated[str, typer.Argument(help="Its name, such as guide-board.run.v1.", show_default=False)],
    file: Annotated[Path, typer.Argument(help="The JSON Schema; - for standard input.", show_default=False)],
) -> None:
    """Register a JSON Schema under a slug, for good. The same schema again is harmless."""
    from artifactstore.cli.input_files import read_json_object

    door = door_of(context)
    document = read_json_object(file)
    with door.store() as store:
        door.answer(store.register_schema(slug, document))


@app.command("list")
def list_(context: typer.Context) -> None:
    """List the registered schemas."""
    door = door_of(context)
    with door.store() as store:
        door.answer(store.list_schemas())


@app.command()
def show(
    context: typer.Context, slug: Annotated[str, typer.Argument(help="A schema's slug.", show_default=False)]
) -> None:
    """Show one schema."""
    door = door_of(context)
    with door.store() as store:
        door.answer(store.show_schema(slug))
