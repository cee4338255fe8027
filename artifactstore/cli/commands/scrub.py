"""The scrub: pause, resume. What it does, and how far it is, says `artifactstore status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from artifactstore.cli.door import door_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from artifactstore.registry.registry import Registry
    from artifactstore.registry.scrubbing import ScrubStatus

app = typer.Typer(no_args_is_help=False, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Reading everything back, little by little."""


@app.command()
def pause(context: typer.Context) -> None:
    """Let no server read the store back until `resume`. A run that is under way ends within seconds.

    It keeps its place. The time goes on: a scrub that is paused for long is overdue.
    """
    from artifactstore.registry.scrubbing import pause_scrub

    _answer(context, pause_scrub)


@app.command()
def resume(context: typer.Context) -> None:
    """Have the store read back again, from where it stood."""
    from artifactstore.registry.scrubbing import resume_scrub

    _answer(context, resume_scrub)


def _answer(context: typer.Context, act: Callable[[Registry], ScrubStatus]) -> None:
    from artifactstore.upkeep_documents import scrub_document

    door = door_of(context)
    with door.registry() as registry:
        door.answer(scrub_document(act(registry)))
