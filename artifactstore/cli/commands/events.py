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
    from artifactstore.documents import event_document
    from artifactstore.registry.events import list_events

    door = door_of(context)
    with door.registry() as registry:
        page = list_events(registry, after=after, limit=limit, subject=subject)
    next_after = page[-1].seq if len(page) == limit else None
    documents = [event_document(event, with_payload=payload) for event in page]
    door.answer({"events": documents, "next_after": next_after})


def replay(
    context: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Compare; nothing is changed.")] = False,
) -> None:
    """Check the event log's chain and show that the tables follow from it.

    Every event is replayed into a scratch database and the tables are compared row by row.
    """
    from artifactstore.bootstrap import scratch_database
    from artifactstore.registry.events import check_replay

    if not check:
        raise UsageError("replay only checks", hint="Use replay --check.")
    door = door_of(context)
    with door.registry() as registry, scratch_database() as scratch:
        report = check_replay(registry, scratch)
    door.answer(
        {
            "status": "reproduced",
            "events": report.events,
            "log_id": report.log_id.hex(),
            "chain": report.chain.hex(),
        }
    )
