"""Collect: say what nothing refers to, or remove it. On the host of the store only; a server does it by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from artifactstore.cli.door import door_of
from artifactstore.cli.exit_codes import PARTLY_DONE


def collect(
    context: typer.Context,
    apply: Annotated[bool, typer.Option("--apply", help="Remove it.")] = False,
    unrecorded: Annotated[
        bool, typer.Option("--unrecorded", help="List the backends too, for what writers that broke off have left.")
    ] = False,
    wait_s: Annotated[float, typer.Option(metavar="N", help="Seconds to wait for writers and readers.", min=0)] = 120,
    grace_s: Annotated[
        int | None,
        typer.Option(metavar="N", help="Seconds that readers have, instead of the setting.", min=0, show_default=False),
    ] = None,
) -> None:
    """Say what space nothing needs any more, backend by backend; with --apply remove it.

    Packages are deleted by `retention apply`; this removes their bytes. What is in use again meanwhile stays. The exit
    code is 3 if something is left because somebody may still need it: "waiting_for" says who; run it again.

    Example: artifactstore collect, artifactstore collect --apply
    """
    from artifactstore.documents.retention import collection_document
    from artifactstore.registry.collecting import space
    from artifactstore.registry.store_duties import collect_now

    door = door_of(context)
    with door.registry() as registry:
        if not apply:
            door.answer(collection_document(space(registry, unrecorded=unrecorded), is_plan=True))
            return
        policy = registry.collection if grace_s is None else replace(registry.collection, grace_s=grace_s)
        with door.progress() as progress:
            store = replace(registry, collection=policy)
            report = collect_now(store, wait_s=wait_s, unrecorded=unrecorded, progress=progress)
    door.answer(collection_document(report, is_plan=False))
    if not report.is_done:
        raise typer.Exit(PARTLY_DONE)
