"""Status: the store at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import typer  # noqa: TC002 - read when the command runs

from artifactstore.cli.door import door_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.documents import Document


def status(context: typer.Context) -> None:
    """Show the state of the store: database, event log, backends, duties, subscriptions, counts.

    Duties are what the store does by itself, in whichever server has claimed them: "overdue" is true
    where nobody does. Without a server they run by hand: `artifactstore duties run`.
    """
    door = door_of(context)
    with door.store() as store:
        document = store.status()
    door.answer(document)
    for line in _of_what_is_left_out(document):
        door.say(line)
    if door.someone_is_watching:
        for line in _in_words(cast("list[Document]", document["duties"])):
            door.say(line)
        for line in _of_scrub(cast("Document", document.get("scrub", {}))):
            door.say(line)
        for line in _of_subscriptions(cast("list[Document]", document["subscriptions"])):
            door.say(line)


def _in_words(duties: list[Document]) -> Iterator[str]:
    """What is wrong, a line each."""
    for duty in duties:
        error = cast("dict[str, str] | None", duty["error"])
        if error is not None:
            yield f"{duty['name']} failed: {error['code']}: {error['message']}"
        if duty["overdue"]:
            yield f"{duty['name']} is overdue: no server runs, or none of them gets to it"
    if any(duty["overdue"] for duty in duties):
        yield "Duties run while a server runs; `artifactstore duties run` runs what is due."


def _of_scrub(scrub: Document) -> Iterator[str]:
    """What is wrong; a server of an older version says nothing of it."""
    if scrub.get("paused_at"):
        yield f"the scrub is paused, by {scrub['paused_by']}: `artifactstore storage scrub resume`"
    if scrub.get("overdue"):
        yield f"the scrub is overdue: {scrub['coverage']:.0%} was read within {scrub['every_days']} days"
    if scrub.get("damaged_objects"):
        yield f"damaged objects: {scrub['damaged_objects']}; `artifactstore heal --all` heals what it can"


def _of_what_is_left_out(document: Document) -> Iterator[str]:
    """Plug-ins and webhooks; a server of an older version says nothing of them."""
    for what in ("plugins_left_out", "webhooks_left_out"):
        for error in cast("list[dict[str, str]]", document.get(what, [])):
            hint = f"\nhint: {error['hint']}" if "hint" in error else ""
            yield f"left out: {error['code']}: {error['message']}{hint}"


def _of_subscriptions(subscriptions: list[Document]) -> Iterator[str]:
    """The same, of who is told what happens."""
    for subscription in subscriptions:
        error = cast("dict[str, str] | None", subscription["error"])
        if error is not None:
            yield f"{subscription['name']} failed: {error['code']}: {error['message']}"
        if not subscription["installed"]:
            yield f"{subscription['name']} is told nothing: no plug-in that is installed here listens under this name"
