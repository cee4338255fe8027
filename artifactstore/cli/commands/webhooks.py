"""Webhooks: list, deliveries, test. On the host of the store only; they are configured in a file."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.cli.door import door_of
from artifactstore.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from artifactstore.cli.door import Door
    from artifactstore.config import Settings
    from artifactstore.errors import ArtifactStoreError
    from artifactstore.registry.registry import Registry
    from artifactstore.webhooks import Webhook

app = typer.Typer(no_args_is_help=False, rich_markup_mode=None)


@app.command("list")
def list_(context: typer.Context) -> None:
    """List the webhooks of ARTIFACTSTORE_WEBHOOKS_CONFIG_PATH, each with its last attempt; never their secrets.

    What a server would refuse of them is refused here, too. How far each has been told is what
    `artifactstore subscription list` shows.
    """
    from artifactstore.webhooks import recent_deliveries, webhook_document

    door, settings = door_of(context), _settings()
    webhooks = settings.webhook_configuration()
    with door.registry() as registry:
        _check(door, registry, settings, webhooks)
        found = [
            {**webhook_document(webhook), "last_attempt": next(iter(recent_deliveries(registry, name, limit=1)), None)}
            for name, webhook in webhooks.items()
        ]
    door.answer({"webhooks": found})


@app.command()
def deliveries(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A webhook's name.", show_default=False)],
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)] = 20,
) -> None:
    """List the last attempts to deliver an event to a webhook, the newest first.

    "seq" is the event's number in the log, 0 for a test; "error" is null where the webhook has taken it. Attempts
    are kept for 30 days.
    """
    from artifactstore.webhooks import recent_deliveries

    door = door_of(context)
    webhooks = _configured()
    with door.registry() as registry:
        found = recent_deliveries(registry, name, limit=limit)
    if not found:
        _named(webhooks, name)
    door.answer({"webhook": name, "deliveries": found})


@app.command()
def test(
    context: typer.Context, name: Annotated[str, typer.Argument(help="A webhook's name.", show_default=False)]
) -> None:
    """Send a webhook a signed event of the type webhook.test, which is in no event log.

    Exit code 2 if it is not taken. Only for webhooks of the standard format.
    """
    from artifactstore.webhooks import send_test

    door = door_of(context)
    webhook = _named(_configured(), name)
    with door.registry() as registry:
        door.answer(send_test(registry, webhook))


def _check(door: Door, registry: Registry, settings: Settings, webhooks: Mapping[str, Webhook]) -> None:
    """Formats and options, which plug-ins know. Raises ``ConfigurationError``."""
    from artifactstore.bootstrap import host_of
    from artifactstore.subscribers import subscribers_of

    def left_out(error: ArtifactStoreError) -> None:
        door.say(f"left out: {error.code}: {error.message}")

    if webhooks:
        with redirect_stdout(sys.stderr):  # what plug-ins print is no part of the answer
            subscribers_of(host_of(registry, settings), webhooks, trouble=left_out)


def _configured() -> Mapping[str, Webhook]:
    return _settings().webhook_configuration()


def _settings() -> Settings:
    """With the events of our own pilots known, which webhooks may name."""
    from artifactstore.built_in import register_contributions
    from artifactstore.config import Settings

    register_contributions()
    return Settings.from_environment()


def _named(webhooks: Mapping[str, Webhook], name: str) -> Webhook:
    if name not in webhooks:
        raise UsageError(f"no webhook is named {name[:80]!r}", hint=f"Configured: {', '.join(webhooks) or 'none'}.")
    return webhooks[name]
