"""Status: the store at a glance."""

from __future__ import annotations

from typing import Annotated

import typer

from artifactstore.cli.door import door_of
from artifactstore.cli.status_text import lines_of, what_is_left_out, what_is_wrong


def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="The JSON document, on a terminal too.")] = False,
) -> None:
    """Show the state of the store: what is wrong, duties, subscriptions, backlog, damage, scrub.

    On a terminal it is told in lines, what is wrong first; elsewhere it is a JSON document. Duties are what the store
    does by itself, in whichever server has claimed them: "overdue" is true where nobody does. Without a server they
    run by hand: `artifactstore duties run`.
    """
    door = door_of(context)
    with door.store() as store:
        document = store.status()
    if door.stdout_is_a_terminal and not as_json:
        door.tell(lines_of(document))
        return
    door.answer(document)
    for line in what_is_wrong(document) if door.someone_is_watching else what_is_left_out(document):
        door.say(line)
