"""Listen, and subscriptions: list, replay. On the host of the store only; a server listens by itself."""

from __future__ import annotations

import json
import signal
import sys
import time
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated, TextIO, cast

import typer

from artifactstore.cli.door import door_of
from artifactstore.cli.exit_codes import DONE, PARTLY_DONE, SYSTEM_FAILED

if TYPE_CHECKING:
    from collections.abc import Callable

    from artifactstore.cli.door import Door
    from artifactstore.documents import Document
    from artifactstore.errors import ArtifactStoreError
    from artifactstore.registry.registry import Registry
    from artifactstore.registry.subscriptions import DeliveryRun, Subscriber
    from artifactstore.subscribers import Installed

app = typer.Typer(no_args_is_help=False, rich_markup_mode=None)
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def listen(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Deliver what waits, and end.")] = False,
) -> None:
    """Tell subscribers what happens: listeners of installed plug-ins, and webhooks. Until Ctrl-C or SIGTERM.

    A running server does it by itself; of any number of processes one tells a subscriber. One JSON line on standard
    output says which there are; what listeners print goes to standard error. With --once the answer says what was
    delivered: exit code 2 if every subscriber has an error, 3 if some have, or are being told by another process. A
    plug-in that cannot be loaded is said, and the others are told; a webhook that is configured wrongly is refused.
    """
    door = door_of(context)
    with door.registry() as registry:
        installed = _installed(door, registry)
        for error in installed.webhooks_left_out:
            raise error
        if once:
            _deliver_once(door, registry, installed)
        _listen(door, registry, installed.subscribers)


@app.command("list")
def list_(context: typer.Context) -> None:
    """List who is told what happens: how far each was told, how much waits, and what stops it."""
    from artifactstore.documents.status import subscription_document
    from artifactstore.registry.status import subscription_statuses

    door = door_of(context)
    with door.registry() as registry:
        installed = _installed(door, registry)
        for error in installed.webhooks_left_out:
            _say_that_it_is_left_out(door, error)
        found = subscription_statuses(registry, installed.subscribers)
    door.answer({"subscriptions": [subscription_document(each) for each in found]})


@app.command()
def replay(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A subscription, as `list` names it.", show_default=False)],
    after: Annotated[int, typer.Option(help="The number of the event before the first one.", show_default=False)],
) -> None:
    """Tell a subscriber again what happened after an event, and forget its error. Nothing is recorded.

    --after 0 is everything. With its own position, what it did not take is tried at once. With a higher
    one, what lies between is left out.
    """
    from artifactstore.registry.subscriptions import replay as replay_subscription

    door = door_of(context)
    with door.registry() as registry:
        replay_subscription(registry, name, after=after)
    door.answer({"name": name, "position": after})


def _installed(door: Door, registry: Registry) -> Installed:
    """Who is to be told. Of plug-ins that are left out a person is told."""
    from artifactstore.bootstrap import host_of
    from artifactstore.config import Settings
    from artifactstore.subscribers import installed

    settings = Settings.from_environment()
    with redirect_stdout(sys.stderr):
        found = installed(host_of(registry, settings), settings.webhook_configuration)
    for error in found.plugins_left_out:
        _say_that_it_is_left_out(door, error)
    return found


def _deliver_once(door: Door, registry: Registry, installed: Installed) -> None:
    from artifactstore.documents.status import deliveries_document
    from artifactstore.registry.status import subscription_statuses
    from artifactstore.registry.subscription_runner import deliver_once

    with redirect_stdout(sys.stderr):
        deliveries = deliver_once(registry, installed.subscribers)
    document = deliveries_document(deliveries, subscription_statuses(registry, installed.subscribers))
    door.answer(document)
    found = cast("list[Document]", document["subscriptions"])
    failed = [each for each in found if each["error"] is not None]
    for each in failed:
        _say_that_it_failed(door, str(each["name"]), cast("dict[str, str]", each["error"]))
    elsewhere = [each for each in found if each["running_by"] is not None and each["behind"]]
    for each in elsewhere:
        door.say(f"{each['name']} is being told by {each['running_by']}")
    bad = len(failed) + len(elsewhere) + len(installed.plugins_left_out)
    raise typer.Exit(DONE if not bad else SYSTEM_FAILED if len(failed) == len(found) else PARTLY_DONE)


def _listen(door: Door, registry: Registry, subscribers: list[Subscriber]) -> None:
    from artifactstore.registry.duties import told
    from artifactstore.registry.subscription_runner import SubscriptionRunner

    def tell(run: DeliveryRun) -> None:
        if run.error is not None:
            _say_that_it_failed(door, run.name, run.error)

    runner = SubscriptionRunner(
        registry, subscribers, tell=tell, trouble=lambda error: _say_that_it_failed(door, "a look", told(error))
    )

    output = sys.stdout

    def begin() -> None:
        runner.start()
        _say_that_it_listens(subscribers, output)

    with redirect_stdout(sys.stderr):
        _go_on_until_asked_to_end(begin)
    if not runner.stop():
        door.say("a listener did not return in time; its event will come again")


def _say_that_it_failed(door: Door, name: str, error: dict[str, str]) -> None:
    door.say(f"{name} failed: {_in_words(error)}")


def _say_that_it_is_left_out(door: Door, error: ArtifactStoreError) -> None:
    from artifactstore.registry.duties import told

    door.say(f"left out: {_in_words(told(error))}")


def _in_words(error: dict[str, str]) -> str:
    hint = f"\nhint: {error['hint']}" if "hint" in error else ""
    return f"{error['code']}: {error['message']}{hint}"


def _say_that_it_listens(subscribers: list[Subscriber], output: TextIO) -> None:
    names = sorted(subscriber.name for subscriber in subscribers)
    output.write(f"{json.dumps({'status': 'listening', 'subscriptions': names})}\n")
    output.flush()


class _AskedToEndError(BaseException):
    pass


def _go_on_until_asked_to_end(begin: Callable[[], None]) -> None:
    """Return when a signal comes, as something that was asked for; the next signal means what it meant before."""

    def end(*_: object) -> None:
        raise _AskedToEndError

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        for number in _SIGNALS:
            signal.signal(number, end)
        begin()
        while True:
            time.sleep(3_600)
    except _AskedToEndError:
        return
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
