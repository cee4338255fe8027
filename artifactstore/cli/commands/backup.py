"""Backup and restore."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.cli.door import door_of
from artifactstore.cli.exit_codes import PARTLY_DONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.cli.door import Door
    from artifactstore.registry.backing_up import Missed
    from artifactstore.storage.port import ObjectStore

Place = Annotated[str, typer.Argument(metavar="DIR|URL", help="A directory, or a URL as backends have.")]


def backup(
    context: typer.Context,
    target: Place,
    listing: Annotated[bool, typer.Option("--list", help="Only say which snapshots are there.")] = False,
    reference: Annotated[bool, typer.Option("--reference", help="Leave the bytes where they are.")] = False,
    read_back: Annotated[
        bool, typer.Option("--verify", help="Read what is there already, and replace what is bad.")
    ] = False,
) -> None:
    """Add a snapshot of the store, and the bytes it needs, to a place that is not the store's. It stays in use.

    Only what is not there yet is copied. A snapshot counts once it is whole: stopped before, the same command goes on.
    With --reference the bytes are not copied, for buckets that keep what is deleted: a restore then needs the backends
    as they were. What is in the backup is in storage-format.md: tokens too, by their hashes, so keep it as you keep the
    database. The exit code is 3 if the bytes of an object are right nowhere: "not_backed_up" says which.

    Examples: artifactstore backup /mnt/backup, artifactstore backup s3://bucket/backup --verify
    """
    from artifactstore.documents.backup import backup_document, snapshot_list_document
    from artifactstore.registry.backing_up import backup
    from artifactstore.registry.snapshots import list_snapshots

    door = door_of(context)
    if listing:
        found = list_snapshots(_opened(target))
        door.answer(snapshot_list_document(found))
        if found.damaged:
            raise typer.Exit(PARTLY_DONE)
        return
    with door.registry() as registry, door.progress() as progress:
        report = backup(registry, _opened(target), with_bytes=not reference, read_back=read_back, progress=progress)
    door.answer(backup_document(report))
    _name(door, "not backed up", report.missed)
    if report.missed:
        raise typer.Exit(PARTLY_DONE)


def restore(
    context: typer.Context,
    source: Place,
    snapshot: Annotated[
        str | None, typer.Option(metavar="ID", help="Which, by the beginning of its id; else the newest.")
    ] = None,
) -> None:
    """Make an empty store what another was when a snapshot of it was made.

    Bytes go to the default backend, then the database is filled in one transaction. Ids, digests, events, times, holds
    and tokens are those of then; pushes that were under way are not. Stopped, the same command goes on. What is bad in
    the backup is named, and the rest is restored: the exit code is then 3. `replay --check` and `verify --all` show
    that all is right.

    Example: ARTIFACTSTORE_HOME=/srv/new artifactstore restore /mnt/backup
    """
    from artifactstore.documents.backup import restore_document
    from artifactstore.registry.restoring import restore

    door = door_of(context)
    with door.registry() as registry, door.progress() as progress:
        report = restore(registry, _opened(source), snapshot_id=snapshot, progress=progress)
    door.answer(restore_document(report))
    _name(door, "not restored", report.missed)
    if report.comparison is not None and not report.comparison.is_clean:
        door.say("storage and catalog differ: see `comparison`, or run `artifactstore storage reconcile`")
    if not report.is_whole:
        raise typer.Exit(PARTLY_DONE)


def _opened(place: str) -> ObjectStore:
    from artifactstore.bootstrap import open_store
    from artifactstore.config import backend_at

    configured = backend_at(place if "://" in place else Path(place).absolute().as_uri())
    return open_store(configured.url, configured.options)


def _name(door: Door, what: str, missed: Sequence[Missed]) -> None:
    for each in missed:
        where = ", ".join(f"package {package_id}, file {path}" for package_id, path in each.concerns[:3] if path)
        name = f"{each.left_out.kind} {each.left_out.blake3.hex()}"
        door.say(f"{what}: {name}: {each.left_out.finding}{f' ({where})' if where else ''}")
