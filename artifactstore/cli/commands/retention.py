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
    _answer(context, package_id)


@app.command()
def extend(
    context: typer.Context,
    package_id: PackageId,
    until: Annotated[str, typer.Option(metavar="TIME", help="Such as 2027-01-31T00:00:00Z.", show_default=False)],
    reason: Reason,
) -> None:
    """Keep a package longer. Nothing ever shortens retention."""
    from artifactstore.domain.instant import parse_instant
    from artifactstore.registry.retention import extend_retention

    with door_of(context).registry() as registry:
        extend_retention(registry, package_id, parse_instant(until), reason=reason)
    _answer(context, package_id)


@app.command()
def hold(context: typer.Context, package_id: PackageId, reason: Reason) -> None:
    """Keep a package, whatever its class says, until the hold is released.

    "hold_id" in the answer is what `retention release` takes.
    """
    from artifactstore.registry.retention import place_hold

    with door_of(context).registry() as registry:
        hold_id = place_hold(registry, package_id, reason=reason)
    _answer(context, package_id, hold_id=hold_id)


@app.command()
def release(
    context: typer.Context,
    package_id: PackageId,
    hold_id: Annotated[str, typer.Argument(help="The hold to end; `retention show` lists them.", show_default=False)],
    reason: Reason,
) -> None:
    """End a hold."""
    from artifactstore.registry.retention import release_hold

    with door_of(context).registry() as registry:
        release_hold(registry, package_id, hold_id, reason=reason)
    _answer(context, package_id)


@app.command()
def sweep(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be marked.")] = False,
) -> None:
    """Mark the packages whose retention has ended as expired. No byte is removed."""
    from artifactstore.registry.retention import due_packages, sweep

    door = door_of(context)
    with door.registry() as registry:
        if dry_run:
            due = [package.package_id for package in due_packages(registry)]
            return door.answer({"would_expire": due, "count": len(due)})
        swept = sweep(registry)
    return door.answer({"expired": swept, "count": len(swept)})


def _answer(context: typer.Context, package_id: str, **more: str) -> None:
    from artifactstore.documents import retention_document
    from artifactstore.registry.packages import find_package

    door = door_of(context)
    with door.registry() as registry:
        door.answer({**more, **retention_document(*find_package(registry, package_id))})
