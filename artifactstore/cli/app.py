"""The tree of commands. What a command imports to work, it imports itself: ``--help`` is something people wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from artifactstore import __version__
from artifactstore.built_in import ENTRY_POINTS, PLUGINS, load_entry_point
from artifactstore.cli.commands import (
    backup,
    collect,
    database,
    duties,
    events,
    heal,
    listen,
    packages,
    plugins,
    rebuild,
    retention,
    schemas,
    serve,
    status,
    storage,
    tokens,
    usage,
    webhooks,
)
from artifactstore.cli.door import PluginDoor

if TYPE_CHECKING:
    from artifactstore.cli.door import Door
    from artifactstore.plugins import Plugin

HELP = """A store for what runs leave behind.

A directory becomes one immutable package: every file with two digests, a manifest
whose digest identifies the content, a retention decision, and an event log.

Answers are JSON on standard output; words go to standard error. Exit codes:
0 done, 1 you can mend it, 2 the system failed or damage was found, 3 partly done.

It works on the store of this host, or on a server: --server URL, or ARTIFACTSTORE_API_URL.
--backend NAME puts new packages into that backend of the store, if there are several.
--server, --backend, --debug, --quiet and --no-progress may stand anywhere on the line,
for `plugin run` before the plug-in's name.
"""


def build_app(door: Door) -> typer.Typer:
    """The whole command line, with what the built-in pilots contribute."""
    app = typer.Typer(
        name="artifactstore", help=HELP, no_args_is_help=False, rich_markup_mode=None, add_completion=False
    )
    app.callback()(_root)
    _add_pilots(app, door)
    for command in (packages.push, packages.show, packages.manifest, packages.get, packages.verify):
        app.command()(command)
    app.command()(heal.heal)
    app.command("list")(packages.list_)
    app.command()(events.events)
    app.command()(events.replay)
    app.command()(rebuild.rebuild)
    app.command()(backup.backup)
    app.command()(backup.restore)
    app.add_typer(schemas.app, name="schema", help="Metadata schemas: what a package's metadata must satisfy.")
    app.add_typer(retention.app, name="retention", help="How long packages stay.")
    app.command()(collect.collect)
    app.add_typer(storage.app, name="storage", help="Stored objects.")
    app.command()(status.status)
    app.command()(usage.usage)
    app.add_typer(
        duties.app, name="duties", help="What the store does by itself: sweep, verify, seal, collect, clean up."
    )
    app.add_typer(plugins.app, name="plugin", help="Plug-ins: what is installed, and running one.")
    app.command()(listen.listen)
    app.add_typer(listen.app, name="subscription", help="Who is told what happens, and how far.")
    app.add_typer(webhooks.app, name="webhook", help="Servers that are told what happens.")
    app.add_typer(tokens.app, name="token", help="Tokens of the HTTP API.")
    app.add_typer(database.app, name="db", help="The database's schema.")
    app.command()(serve.serve)
    return app


def _version(given: bool) -> None:
    if given:
        typer.echo(__version__)
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Only carries the options."""


def _add_pilots(app: typer.Typer, door: Door) -> None:
    for name in ENTRY_POINTS[PLUGINS]:
        plugin = cast("Plugin", load_entry_point(PLUGINS, name))
        if plugin.add_commands is not None:
            group = typer.Typer(no_args_is_help=False, rich_markup_mode=None)
            plugin.add_commands(group, PluginDoor(door, name))
            app.add_typer(group, name=plugin.name, help=plugin.summary)
