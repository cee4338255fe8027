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
    from artifactstore.documents import schema_document
    from artifactstore.cli.input_files import read_json_object
    from artifactstore.registry.metadata_schemas import register_schema

    door = door_of(context)
    document = read_json_object(file)
    with door.registry() as registry:
        door.answer(schema_document(register_schema(registry, slug, document), with_schema=False))


@app.command("list")
def list_(context: typer.Context) -> None:
    """List the registered schemas."""
    from artifactstore.documents import schema_document
    from artifactstore.registry.metadata_schemas import list_schemas

    door = door_of(context)
    with door.registry() as registry:
        found = list_schemas(registry)
    door.answer({"schemas": [schema_document(schema, with_schema=False) for schema in found]})


@app.command()
def show(
    context: typer.Context, slug: Annotated[str, typer.Argument(help="A schema's slug.", show_default=False)]
) -> None:
    """Show one schema."""
    from artifactstore.documents import schema_document
    from artifactstore.registry.metadata_schemas import find_schema

    door = door_of(context)
    with door.registry() as registry:
        door.answer(schema_document(find_schema(registry, slug), with_schema=True))
