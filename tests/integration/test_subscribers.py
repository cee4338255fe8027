"""What plug-ins offer, and who is told: each plug-in with all that it has, or not at all."""

from __future__ import annotations

import inspect
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.bootstrap import host_of, open_registry
from artifactstore.errors import ArtifactStoreError, ConfigurationError, PluginFailedError
from artifactstore.plugins import Listener, Plugin, WebhookFormat
from artifactstore.plugins.loaded import LoadedPlugin
from artifactstore.registry.subscription_runner import deliver_once
from artifactstore.subscribers import checked_listeners, checked_webhook_formats, subscribers_of
from artifactstore.webhooks.configuration import parse_webhooks
from tests.integration.test_subscriptions import record
from tests.service import settings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from artifactstore.plugins.host import PluginHost
    from artifactstore.registry.subscriptions import Subscriber
    from artifactstore.webhooks.configuration import Webhook

GOOD = Listener("good", ("v1.package.finalized",), lambda *_: None)
STANDARD = WebhookFormat("standard-like", lambda *_: {}, lambda _: None)
HOOK = {"url": "https://hub.example.org", "events": ["v1.package.finalized"], "format": "trial.standard-like"}


async def _later(*_: object) -> None:
    """Nobody awaits it."""


class _Later:
    async def __call__(self, *_: object) -> None:
        """Nobody awaits it."""


def _raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object) -> Any:
        raise error

    return fail


def plugin(**members: Any) -> Plugin:
    return Plugin(name="trial", summary="Tries.", **members)


def loaded(**members: Any) -> LoadedPlugin:
    return LoadedPlugin(plugin(**members), "trial-plugin", "1.0")


# one plug-in


def test_what_is_as_the_contract_says_is_taken() -> None:
    other = replace(GOOD, name="other", event_types=["plugin.x.happened", "v1.core.ingested"])

    found = loaded(listeners=lambda: [GOOD, other], webhook_formats=lambda: iter([STANDARD]))

    assert ((GOOD, other), (STANDARD,)) == (checked_listeners(found), checked_webhook_formats(found))


@pytest.mark.parametrize(
    ("listeners", "said"),
    [
        (lambda: 42, "failed to say its listeners: TypeError"),
        (_raising(SystemExit(3)), "failed to say its listeners: SystemExit: 3"),
        (lambda: [GOOD, 42], "has a int among its listeners"),
        (lambda: [GOOD, GOOD], "names two of its listeners the same"),
        (lambda: [GOOD, replace(GOOD, name="No Slug")], "has a listener whose name must be"),
        (lambda: [replace(GOOD, name=7)], "has a listener whose name is no text"),
        (lambda: [replace(GOOD, event_types="v1.package.finalized")], "whose event_types are no tuple"),
        (lambda: [replace(GOOD, event_types=None)], "whose event_types are no tuple"),
        (lambda: [replace(GOOD, event_types=())], "whose event_types are no tuple"),
        (lambda: [replace(GOOD, event_types=(b"v1.package.finalized",))], "which is no type of event"),
        (lambda: [replace(GOOD, event_types=("v1.package.finalised",))], "name 'v1.package.finalised', which is no"),
        (lambda: [replace(GOOD, handle="print")], "whose handle cannot be called"),
        (lambda: [replace(GOOD, handle=_later)], "whose handle is a coroutine function"),
        (lambda: [replace(GOOD, handle=partial(_later, 1))], "whose handle is a coroutine function"),
        (lambda: [replace(GOOD, handle=_Later())], "whose handle is a coroutine function"),
    ],
)
def test_listeners_that_are_none_are_the_plug_ins_failure(listeners: Callable[[], Any], said: str) -> None:
    with pytest.raises(PluginFailedError) as found:
        checked_listeners(loaded(listeners=listeners))

    assert found.value.message.startswith("the plug-in 'trial' ")
    assert said in found.value.message


@pytest.mark.parametrize(
    ("formats", "said"),
    [
        (_raising(SystemExit(3)), "failed to say its webhook formats: SystemExit: 3"),
        (lambda: None, "failed to say its webhook formats: TypeError"),
        (lambda: ["standard"], "has a str among its webhook formats"),
        (lambda: [STANDARD, STANDARD], "names two of its webhook formats the same"),
        (lambda: [replace(STANDARD, name="No Slug")], "has a webhook format whose name must be"),
        (lambda: [replace(STANDARD, body=_later)], "whose body is a coroutine function"),
        (lambda: [replace(STANDARD, check_options=None)], "whose check_options cannot be called"),
    ],
)
def test_webhook_formats_that_are_none_are_the_plug_ins_failure(formats: Callable[[], Any], said: str) -> None:
    with pytest.raises(PluginFailedError) as found:
        checked_webhook_formats(loaded(webhook_formats=formats))

    assert said in found.value.message


# all of them


@pytest.fixture
def host(home: Path) -> Iterator[PluginHost]:
    with closing(open_registry(settings_of(home), actor="local:test")) as registry:
        yield host_of(registry, settings_of(home))


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[Plugin | Exception], None]:
    """Have a plug-in installed, or one that cannot be loaded."""

    def at(found: Plugin | Exception) -> None:
        def load(name: str) -> LoadedPlugin:
            if isinstance(found, Exception):
                raise found
            return LoadedPlugin(replace(found, name=name), f"{name}-plugin", "1.0")

        whole = LoadedPlugin(Plugin("whole", "", listeners=lambda: [GOOD]), "whole-plugin", "1.0")
        monkeypatch.setattr("artifactstore.subscribers.installed_plugins", lambda: ["trial", "whole"])
        monkeypatch.setattr(
            "artifactstore.subscribers.load_plugin", lambda name: whole if name == "whole" else load(name)
        )

    return at


def webhooks(tmp_path: Path) -> dict[str, Webhook]:
    standard = {**HOOK, "format": "standard", "secrets": ["whsec_" + "A" * 32]}
    return parse_webhooks({"webhooks": {"hub": HOOK, "plain": standard}}, tmp_path)


def names(found: list[Subscriber]) -> list[str]:
    return [each.name for each in found]


@pytest.mark.parametrize(
    "members",
    [
        {"listeners": lambda: [GOOD, 42]},
        {"listeners": lambda: [GOOD, GOOD]},
        {"listeners": lambda: [GOOD], "webhook_formats": _raising(RuntimeError("none today"))},
    ],
)
def test_a_plug_in_is_taken_whole_or_not_at_all_and_the_others_are_told(
    host: PluginHost, install: Callable[[Plugin], None], members: dict[str, Any]
) -> None:
    install(plugin(**members))
    troubles: list[ArtifactStoreError] = []

    found = subscribers_of(host, {}, trouble=troubles.append)

    assert (["whole.good"], ["PLUGIN_FAILED"]) == (names(found), [each.code for each in troubles])


def test_a_webhook_says_why_the_plug_in_of_its_format_is_left_out(
    host: PluginHost, install: Callable[[Exception], None], tmp_path: Path
) -> None:
    install(PluginFailedError("no such module", hint="Install it."))
    wrong: list[ArtifactStoreError] = []

    found = subscribers_of(host, webhooks(tmp_path), trouble=lambda _: None, misconfigured=wrong.append)

    assert ["whole.good", "webhook.plain"] == names(found)
    assert ["[webhooks.hub]: the plug-in 'trial' of its format is left out: PLUGIN_FAILED: no such module"] == [
        each.message for each in wrong
    ]
    assert (ConfigurationError, "Install it.") == (type(wrong[0]), wrong[0].hint)


def test_a_format_that_fails_to_check_options_is_the_plug_ins_failure_and_of_that_webhook_alone(
    host: PluginHost, install: Callable[[Plugin], None], tmp_path: Path
) -> None:
    install(plugin(webhook_formats=lambda: [replace(STANDARD, check_options=_raising(KeyError("x")))]))
    wrong: list[ArtifactStoreError] = []

    found = subscribers_of(host, webhooks(tmp_path), misconfigured=wrong.append)

    assert ["whole.good", "webhook.plain"] == names(found)
    assert [("PLUGIN_FAILED", True)] == [
        (each.code, "'trial' failed to check the options" in each.message) for each in wrong
    ]


@pytest.mark.parametrize("answer", [True, "done", _later])
def test_a_listener_that_answers_something_has_not_taken_the_event(
    host: PluginHost, install: Callable[[Plugin], None], answer: object
) -> None:
    """Such as a coroutine, which is closed: that it was never awaited would be a warning."""
    answering = Listener(
        "answers", ("v1.metadata_schema.registered",),
        lambda *_: answer() if inspect.isfunction(answer) else answer, from_the_start=True,
    )  # fmt: skip
    install(plugin(listeners=lambda: [answering]))
    record(host.registry, "a")

    (run,) = [each for each in deliver_once(host.registry, subscribers_of(host, {})) if each.name == "trial.answers"]

    assert (0, "PLUGIN_FAILED") == (run.delivered, (run.error or {})["code"])
    assert "it is to answer nothing" in (run.error or {})["message"]
