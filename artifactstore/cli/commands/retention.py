"""Retention: show, extend, hold, release, sweep."""

from __future__ import annotations

from typing import Annotated

import typer

from artifactstore.cli.commands.packages import PackageId
from artifactstore.cli.door import door_of

app = typer.Typer(no_args_is_help=False, rich_markup_mode=None)

Reason = Annotated[str, typer.Option(help="Why; it goes into the event log.", show_default=False)]


@app.command()
def show(context: typer.Context, package_id: PackageId) -> None:
    """Show what decides how long a package stays."""
    door = door_of(context)
    with door.store() as store:
        door.answer(store.retention(package_id))


@app.command()
def extend(
    context: typer.Context,
    package_id: PackageId,
    until: Annotated[str, typer.Option(metavar="TIME", help="Such as 2027-01-31T00:00:00Z.", show_default=False)],
    reason: Reason,
) -> None:
    """Keep a package longer. Nothing ever shortens retention."""
    from artifactstore.domain.instant import parse_instant

    door = door_of(context)
    expires_at = parse_instant(until)
    with door.store() as store:
        door.answer(store.extend_retention(package_id, expires_at, reason=reason))


@app.command()
def hold(context: typer.Context, package_id: PackageId, reason: Reason) -> None:
    """Keep a package, whatever its class says, until the hold is released.

    "hold_id" in the answer is what `retention release` takes.
    """
    door = door_of(context)
    with door.store() as store:
        door.answer(store.place_hold(package_id, reason=reason))


@app.command()
def release(
    context: typer.Context,
    package_id: PackageId,
    hold_id: Annotated[str, typer.Argument(help="The hold to end; `retention show` lists them.", show_default=False)],
    reason: Reason,
) -> None:
    """End a hold."""
    door = door_of(context)
    with door.store() as store:
        door.answer(store.release_hold(package_id, hold_id, reason=reason))


@app.command()
def sweep(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be marked.")] = False,
) -> None:
    """Mark the packages whose retention has ended as expired. No byte is removed."""
    door = door_of(context)
    with door.store() as store:
        door.answer(store.due_packages() if dry_run else store.sweep())
