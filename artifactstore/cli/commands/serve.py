"""Serve: the store over HTTP."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from artifactstore.cli.door import door_of
from artifactstore.errors import ConfigurationError


def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 for any that is free.", min=0, max=65535)] = 8000,
    workers: Annotated[int, typer.Option(help="How many processes.", min=1, max=64)] = 1,
) -> None:
    """Serve the store over HTTP until Ctrl-C or SIGTERM; requests that are under way then get a minute.

    One JSON line on standard output says when it is ready. The log goes to standard error.
    The database must be at head: `artifactstore db upgrade`.

    Example: artifactstore serve --port 8000
    """
    door = door_of(context)
    door.require_embedded()
    try:
        from artifactstore.api.serve import serve as run
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"this installation cannot serve: {error.name} is missing",
            hint="Install it with: pip install 'artifactstore[server]'",
        ) from error
    from artifactstore.config import Settings

    run(Settings.from_environment(), host=host, port=port, workers=workers, ready=_tell)


def _tell(url: str) -> None:
    sys.stdout.write(f'{{"status": "ready", "url": "{url}"}}\n')
    sys.stdout.flush()
