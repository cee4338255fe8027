"""Retention: show, extend, hold, release, pin, sweep; plan, apply, certificate."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from artifactstore.cli.commands.packages import PackageId
from artifactstore.cli.door import door_of
from artifactstore.cli.exit_codes import PARTLY_DONE
from artifactstore.errors import UsageError

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
def pin(context: typer.Context, package_id: PackageId, reason: Reason) -> None:
    """Keep a package out of every plan, until it is unpinned."""
    door = door_of(context)
    with door.store() as store:
        door.answer(store.pin_package(package_id, reason=reason))


@app.command()
def unpin(context: typer.Context, package_id: PackageId, reason: Reason) -> None:
    """End a pin."""
    door = door_of(context)
    with door.store() as store:
        door.answer(store.unpin_package(package_id, reason=reason))


@app.command()
def plan(context: typer.Context) -> None:
    """Plan what can be deleted: which packages, by which rule, and the exact bytes that come free. Nothing changes.

    Of what has ended, what `retention sweep` or its duty has marked stands in it.

    "plan_digest" in the answer is what `retention apply` takes; `get` the plan's "package_id" to read it.
    """
    door = door_of(context)
    with door.store() as store:
        made = store.make_plan()
        if made["packages_due"]:
            door.say(
                f"{made['packages_due']} more are due and not marked yet: `artifactstore retention sweep` marks them."
            )
        door.answer(made)


@app.command()
def apply(
    context: typer.Context,
    plan_digest: Annotated[str, typer.Argument(metavar="PLAN_DIGEST", help="Of a plan.", show_default=False)],
    reason: Annotated[str, typer.Option(help="Why; tombstones say it.")] = "its retention has ended",
    approve: Annotated[bool, typer.Option("--approve", help="Only agree to it, for another to apply it.")] = False,
) -> None:
    """Delete the packages that a plan says, if nothing has happened to them since. No byte is removed: `collect` does.

    The exit code is 3 if any were passed over: "skipped_first" says why. Stopped, it goes on when it is run again.

    Example: artifactstore retention apply blake3:... --reason "the project has ended"
    """
    door = door_of(context)
    with door.store() as store:
        document = store.approve_plan(plan_digest) if approve else store.apply_plan(plan_digest, reason=reason)
    door.answer(document)
    if document.get("skipped"):
        raise typer.Exit(PARTLY_DONE)


@app.command()
def certificate(
    context: typer.Context,
    package_id: PackageId,
    as_json: Annotated[bool, typer.Option("--json", help="The JSON view instead of the CBOR bytes.")] = False,
) -> None:
    """Write a deleted package's certificate of destruction to standard output, once its last byte is gone.

    Example: artifactstore retention certificate ID > certificate.cbor
    """
    from artifactstore.documents.retention import certificate_document

    if not as_json and sys.stdout.isatty():
        raise UsageError("a certificate is binary", hint="Redirect it to a file, or use --json.")
    door = door_of(context)
    with door.store() as store:
        encoded = store.certificate(package_id)
    if as_json:
        door.answer(certificate_document(encoded))
    else:
        sys.stdout.buffer.write(encoded)


@app.command()
def sweep(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be marked.")] = False,
    clock_is_right: Annotated[
        bool, typer.Option("--clock-is-right", help="Believe this host's clock, however far it has leapt.")
    ] = False,
) -> None:
    """Mark the packages whose retention has ended as expired. No byte is removed.

    Nothing is marked by a clock that other clocks, the log or the last sweep speak against (CLOCKS_DISAGREE).
    """
    door = door_of(context)
    with door.store() as store:
        door.answer(store.due_packages() if dry_run else store.sweep(clock_is_right=clock_is_right))
