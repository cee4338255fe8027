"""The event log: events, replay."""

from __future__ import annotations

from typing import Annotated

import typer

from artifactstore.cli.door import door_of
from artifactstore.errors import UsageError


def events(
    context: typer.Context,
    after: Annotated[
        int, typer.Option(metavar="SEQ", help="Start after this sequence number.", min=0, max=2**63 - 1)
    ] = 0,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)] = 100,
    subject: Annotated[str | None, typer.Option(help="Only of this package id, slug or object digest.")] = None,
    payload: Annotated[bool, typer.Option("--payload", help="With what each event says.")] = False,
) -> None:
    """List what happened, in order.

    "next_after" in the answer is what to give --after for the next page; null at the end.
    """
    door = door_of(context)
    with door.store() as store:
        door.answer(store.list_events(after=after, limit=limit, subject=subject, payload=payload))


def replay(
    context: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Compare; nothing is changed.")] = False,
) -> None:
    """Check the event log's chain and show that the tables follow from it.

    Every event is replayed into a scratch database and the tables are compared row by row.
    """
    if not check:
        raise UsageError("replay only checks", hint="Use replay --check.")
    door = door_of(context)
    with door.store() as store:
        door.answer(store.check_replay())
