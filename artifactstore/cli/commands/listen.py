"""Listen, and subscriptions: list, replay. On the host of the store only; a server listens by itself."""

from __future__ import annotations

import json
import signal
import sys
import time
from typing import TYPE_CHECKING, Annotated, NamedTuple, cast

import typer

from artifactstore.cli.door import door_of
from artifactstore.cli.exit_codes import DONE, PARTLY_DONE, SYSTEM_FAILED

if TYPE_CHECKING:
    from collections.abc import Callable

    from artifactstore.cli.door import Door
    from artifactstore.documents import Document
    from artifactstore.errors import ArtifactStoreError
    from artifactstore.registry.registry import Registry
    from artifactstore.registry.subscriptions import Delivery, Subscriber

app = typer.Typer(no_args_is_help=False, rich_markup_mode=None)
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def listen(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Deliver what waits, and end.")] = False,
) -> None:
    """Tell subscribers what happens: listeners of installed plug-ins, and webhooks. Until Ctrl-C or SIGTERM.

    A running server does it by itself; of any number of processes one tells a subscriber. One JSON line on standard
    output says which there are. With --once the answer says what was delivered: exit code 2 if every subscriber
    has an error, 3 if some have. A plug-in that cannot be loaded is said, and the others are told.
    """
    door = door_of(context)
    with door.registry() as registry:
        installed = _installed(door, registry)
        if once:
            _deliver_once(door, registry, installed)
        _listen(door, registry, installed.subscribers)


@app.command("list")
def list_(context: typer.Context) -> None:
    """List who is told what happens: how far each was told, how much waits, and what stops it."""
    from artifactstore.documents import subscription_document
    from artifactstore.registry.status import subscription_statuses

    door = door_of(context)
    with door.registry() as registry:
        found = subscription_statuses(registry, _installed(door, registry).subscribers)
    door.answer({"subscriptions": [subscription_document(each) for each in found]})


@app.command()
def replay(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A subscription, as `list` names it.", show_default=False)],
    after: Annotated[int, typer.Option(help="The number of the event before the first one.", show_default=False)],
) -> None:
    """Tell a subscriber again what happened after an event, and forget its error.

    --after 0 is everything. With its own position, what it did not take is tried at once. With a higher
    one, what lies between is left out.
    """
    from artifactstore.registry.subscriptions import replay as replay_subscription

    door = door_of(context)
    with door.registry() as registry:
        replay_subscription(registry, name, after=after)
    door.answer({"name": name, "position": after})


class _Installed(NamedTuple):
    subscribers: list[Subscriber]
    left_out: list[ArtifactStoreError]
    """Why plug-ins are not among them."""


def _installed(door: Door, registry: Registry) -> _Installed:
    from artifactstore.bootstrap import host_of
    from artifactstore.config import Settings
    from artifactstore.subscribers import subscribers_of

    left_out: list[ArtifactStoreError] = []
    settings = Settings.from_environment()
    subscribers = subscribers_of(host_of(registry, settings), settings.webhooks, trouble=left_out.append)
    for error in left_out:
        door.say(f"left out: {error.code}: {error.message}")
    return _Installed(subscribers, left_out)


def _deliver_once(door: Door, registry: Registry, installed: _Installed) -> None:
    from artifactstore.documents import deliveries_document
    from artifactstore.registry.status import subscription_statuses
    from artifactstore.registry.subscription_runner import deliver_once

    deliveries = deliver_once(registry, installed.subscribers)
    document = deliveries_document(deliveries, subscription_statuses(registry, installed.subscribers))
    door.answer(document)
    found = cast("list[Document]", document["subscriptions"])
    failed = [each for each in found if each["error"] is not None]
    for each in failed:
        _say_that_it_failed(door, str(each["name"]), cast("dict[str, str]", each["error"]))
    bad = len(failed) + len(installed.left_out)
    raise typer.Exit(DONE if not bad else SYSTEM_FAILED if len(failed) == len(found) else PARTLY_DONE)


def _listen(door: Door, registry: Registry, subscribers: list[Subscriber]) -> None:
    from artifactstore.registry.duties import told
    from artifactstore.registry.subscription_runner import SubscriptionRunner

    def tell(delivery: Delivery) -> None:
        if delivery.error is not None:
            _say_that_it_failed(door, delivery.name, delivery.error)

    runner = SubscriptionRunner(
        registry, subscribers, tell=tell, trouble=lambda error: _say_that_it_failed(door, "a look", told(error))
    )

    def begin() -> None:
        runner.start()
        _say_that_it_listens(subscribers)

    _go_on_until_asked_to_end(begin)
    if not runner.stop():
        door.say("a listener did not return in time; its event will come again")


def _say_that_it_failed(door: Door, name: str, error: dict[str, str]) -> None:
    door.say(f"{name} failed: {error['code']}: {error['message']}")


def _say_that_it_listens(subscribers: list[Subscriber]) -> None:
    names = sorted(subscriber.name for subscriber in subscribers)
    sys.stdout.write(f"{json.dumps({'status': 'listening', 'subscriptions': names})}\n")
    sys.stdout.flush()


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
