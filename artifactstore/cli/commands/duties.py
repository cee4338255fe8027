"""Duties: run, on the host of the store only; a server runs them by itself. Pause and resume, from anywhere."""

from __future__ import annotations

from typing import Annotated

import typer

from artifactstore.cli.door import door_of
from artifactstore.cli.exit_codes import DONE, PARTLY_DONE, SYSTEM_FAILED

app = typer.Typer(no_args_is_help=False, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """What the store does by itself: sweep, verify, seal, collect, clean up."""


@app.command()
def run(context: typer.Context) -> None:
    """Run the duties that are due, once: for a store without a server, from cron.

    A running server does it by itself. What another process is at, or has just done, is left to it.
    Exit code 2 if all of them failed, 3 if some did; `artifactstore status` shows them.
    """
    from artifactstore.documents.status import runs_document
    from artifactstore.registry.duties import FAILED, run_due, told
    from artifactstore.registry.store_duties import duties_of

    door = door_of(context)
    with door.registry() as registry:
        runs = run_due(registry, duties_of(registry))
    door.answer(runs_document(runs))
    failed = [run for run in runs if run.outcome == FAILED]
    for run in failed:
        error = told(run.error) if run.error is not None else {"code": "", "message": ""}
        door.say(f"{run.duty} failed: {error['code']}: {error['message']}")
    raise typer.Exit(DONE if not failed else SYSTEM_FAILED if len(failed) == len(runs) else PARTLY_DONE)


DutyName = Annotated[str, typer.Argument(metavar="DUTY", help="As `status` names it.", show_default=False)]


@app.command()
def pause(context: typer.Context, duty: DutyName) -> None:
    """Let no server run a duty by itself until `resume`. A run that is under way ends within seconds.

    By hand it is run all the same, such as by `retention sweep` or `collect --apply`.
    """
    door = door_of(context)
    with door.store() as store:
        door.answer(store.pause_duty(duty))


@app.command()
def resume(context: typer.Context, duty: DutyName) -> None:
    """Have a duty run again when it is due."""
    door = door_of(context)
    with door.store() as store:
        door.answer(store.resume_duty(duty))
