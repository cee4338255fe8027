"""The scrub: pause, resume. What it does, and how far it is, says `artifactstore status`."""

from __future__ import annotations

import typer

from artifactstore.cli.door import door_of

app = typer.Typer(no_args_is_help=False, rich_markup_mode=None)
_DUTY = "verify"


@app.callback()
def _group() -> None:
    """Reading everything back, little by little."""


@app.command()
def pause(context: typer.Context) -> None:
    """Let no server read the store back until `resume`. A run that is under way ends within seconds.

    It keeps its place. The time goes on: a scrub that is paused for long is overdue.
    """
    door = door_of(context)
    with door.store() as store:
        store.pause_duty(_DUTY)
        door.answer(store.scrub())


@app.command()
def resume(context: typer.Context) -> None:
    """Have the store read back again, from where it stood."""
    door = door_of(context)
    with door.store() as store:
        store.resume_duty(_DUTY)
        door.answer(store.scrub())
