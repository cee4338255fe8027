"""The database's schema: current, upgrade. On the host of the store only."""

from __future__ import annotations

import typer

from artifactstore.cli.door import door_of

app = typer.Typer(no_args_is_help=False, rich_markup_mode=None)


@app.command()
def current(context: typer.Context) -> None:
    """Show the revisions the database is at, and the newest. Nothing is made or upgraded.

    "revision" is null for a database that is not there yet.
    """
    from artifactstore.bootstrap import database_revision

    door = door_of(context)
    door.require_embedded()
    door.answer(_document(database_revision(_database_url())))


@app.command()
def upgrade(context: typer.Context) -> None:
    """Bring the database to the newest revision; make it if it is not there. Harmless if nothing is to be done.

    Other commands upgrade the SQLite file of this host by themselves. PostgreSQL they do not, and a server upgrades
    nothing: they ask for this.
    """
    from contextlib import closing

    from artifactstore.bootstrap import open_database
    from artifactstore.catalog.upgrade import current_revision

    door = door_of(context)
    door.require_embedded()
    with closing(open_database(_database_url(), is_asked_to_upgrade=True)) as database:
        revision = current_revision(database)
    door.answer(_document(revision))


def _database_url() -> str:
    from artifactstore.config import Settings

    return Settings.from_environment().database_url


def _document(revision: str | None) -> dict[str, object]:
    from artifactstore.catalog.contributions import head

    return {"revision": revision, "head": head(), "at_head": revision == head()}
