"""Who is told what happens in a store: the listeners of the installed plug-ins, and webhooks, as subscribers.

What the server, ``artifactstore listen`` and ``artifactstore status`` have in common. Nobody else needs it: it reads
the metadata of every installed distribution. A plug-in is taken with all that it offers, or left out.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar, cast

from artifactstore.built_in import installed_plugins, load_plugin
from artifactstore.documents.packages import event_document
from artifactstore.domain.events import EVENT_TYPES, PLUGIN_NAMESPACE
from artifactstore.domain.instant import moment_of
from artifactstore.domain.package import slug_problem
from artifactstore.errors import ArtifactStoreError, ConfigurationError, PluginFailedError
from artifactstore.plugins.context import EmbeddedContext
from artifactstore.plugins.contract import Listener, Notice, WebhookFormat
from artifactstore.registry.duties import told
from artifactstore.registry.subscriptions import Subscriber
from artifactstore.webhooks.delivering import webhook_subscribers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from artifactstore.catalog.event_log import EventRecord
    from artifactstore.plugins.host import PluginHost
    from artifactstore.plugins.loaded import LoadedPlugin
    from artifactstore.webhooks.configuration import Webhook
    from artifactstore.webhooks.delivering import Check, Format

_Offer = TypeVar("_Offer", Listener, WebhookFormat)
_HINT = "This is a defect of the plug-in; `artifactstore plugin list` shows each with its version."


def _raised(error: ArtifactStoreError) -> NoReturn:
    raise error


def subscribers_of(
    host: PluginHost,
    webhooks: Mapping[str, Webhook],
    *,
    trouble: Callable[[ArtifactStoreError], object] = _raised,
    misconfigured: Callable[[ArtifactStoreError], object] = _raised,
) -> list[Subscriber]:
    """A subscriber ``<plug-in>.<listener>`` for each listener of a plug-in, ``webhook.<name>`` for each webhook.

    A plug-in that cannot be loaded, or that fails to say what it offers, is ``trouble``: raised, unless the caller goes
    on without it. Its subscriptions then rest where they are. The same for a webhook, which is ``misconfigured``: with
    ``ConfigurationError`` if no plug-in has its format, or the one that should is left out, or its options are not what
    the format takes; with ``PluginFailedError`` if the format fails to say that.
    """
    found: list[Subscriber] = []
    formats: dict[str, _Bound] = {}
    left_out: dict[str, ArtifactStoreError] = {}
    for name in installed_plugins():
        try:
            loaded = load_plugin(name)
            listeners, offered = checked_listeners(loaded), checked_webhook_formats(loaded)
        except ArtifactStoreError as error:
            left_out[name] = error
            trouble(error)
            continue
        found += [_subscriber(host, loaded, listener) for listener in listeners]
        formats.update({f"{name}.{each.name}": _bound(host, loaded, each) for each in offered})
    for webhook in webhooks.values():
        try:
            found += _webhook_subscribers(host, webhook, formats, left_out)
        except ArtifactStoreError as error:
            misconfigured(error)
    return found


class Installed(NamedTuple):
    """Who is told, and why others are not."""

    subscribers: list[Subscriber]
    plugins_left_out: list[ArtifactStoreError]
    webhooks_left_out: list[ArtifactStoreError]


def installed(host: PluginHost, webhooks: Callable[[], Mapping[str, Webhook]]) -> Installed:
    """The same, for who goes on without whatever is wrong. ``webhooks`` reads the configuration."""
    found = Installed([], [], [])
    configured: Mapping[str, Webhook] = {}
    try:
        configured = webhooks()
    except ConfigurationError as error:
        found.webhooks_left_out.append(error)
    found.subscribers.extend(
        subscribers_of(
            host, configured, trouble=found.plugins_left_out.append, misconfigured=found.webhooks_left_out.append
        )
    )
    return found


def checked_listeners(loaded: LoadedPlugin) -> tuple[Listener, ...]:
    """The listeners of a plug-in. Raises ``PluginFailedError`` unless each is what the contract says."""
    return _checked(loaded, "listeners", loaded.plugin.listeners, _problem_of_listener)


def checked_webhook_formats(loaded: LoadedPlugin) -> tuple[WebhookFormat, ...]:
    """The webhook formats of a plug-in. Raises ``PluginFailedError`` unless each is what the contract says."""
    return _checked(loaded, "webhook formats", loaded.plugin.webhook_formats, _problem_of_format)


def notice_of(event: EventRecord) -> Notice:
    """An event as plug-ins are given it."""
    payload = event_document(event, with_payload=True)["payload"]
    return Notice(
        seq=event.seq,
        at=moment_of(event.at),
        type=event.type,
        subject=event.subject,
        actor=event.actor,
        payload=cast("Mapping[str, Any]", payload),
    )


# what a plug-in offers


def _checked(
    loaded: LoadedPlugin, what: str, say: Callable[[], Iterable[_Offer]], problem_of: Callable[[object], str]
) -> tuple[_Offer, ...]:
    try:
        found = tuple(say())
        problem = next(filter(None, map(problem_of, found)), "")
        if not problem and len({each.name for each in found}) < len(found):
            problem = f"names two of its {what} the same"
    except (Exception, SystemExit) as error:
        raise _failed(loaded, f"failed to say its {what}: {told(error)['message']}") from error
    if problem:
        raise _failed(loaded, problem)
    return found


def _problem_of_listener(listener: object) -> str:
    """What is wrong with it; empty if nothing."""
    if not isinstance(listener, Listener):
        return f"has a {type(listener).__name__} among its listeners"
    if problem := _problem_of_name(listener.name):
        return f"has a listener whose name {problem}"
    if problem := _problem_of_types(listener.event_types) or _problem_of_function("handle", listener.handle):
        return f"has a listener {listener.name!r} {problem}"
    return ""


def _problem_of_format(offered: object) -> str:
    if not isinstance(offered, WebhookFormat):
        return f"has a {type(offered).__name__} among its webhook formats"
    if problem := _problem_of_name(offered.name):
        return f"has a webhook format whose name {problem}"
    functions = {"body": offered.body, "check_options": offered.check_options}
    problems = filter(None, (_problem_of_function(name, function) for name, function in functions.items()))
    return next((f"has a webhook format {offered.name!r} {problem}" for problem in problems), "")


def _problem_of_name(name: object) -> str:
    return slug_problem(name) if isinstance(name, str) else "is no text"


def _problem_of_types(types: object) -> str:
    if not isinstance(types, (tuple, list)) or not types:
        return "whose event_types are no tuple of at least one type"
    for each in types:
        if not isinstance(each, str) or (each not in EVENT_TYPES and not each.startswith(PLUGIN_NAMESPACE)):
            return f"whose event_types name {each!r}, which is no type of event"
    return ""


def _problem_of_function(name: str, function: object) -> str:
    """One that is asynchronous would answer at once, and nothing would have happened."""
    if not callable(function):
        return f"whose {name} cannot be called"
    asynchronous = any(map(inspect.iscoroutinefunction, (function, getattr(function, "__call__", None))))  # noqa: B004
    return f"whose {name} is a coroutine function, which nobody awaits" if asynchronous else ""


def _failed(loaded: LoadedPlugin, how: str) -> PluginFailedError:
    return PluginFailedError(f"the plug-in {loaded.plugin.name!r} {how}", hint=_HINT)


# subscribers


def _subscriber(host: PluginHost, loaded: LoadedPlugin, listener: Listener) -> Subscriber:
    context = EmbeddedContext(host, loaded)
    handle = cast("Callable[..., object]", listener.handle)

    def deliver(event: EventRecord) -> None:
        answer = handle(notice_of(event), context)
        if answer is not None:
            if inspect.iscoroutine(answer):
                answer.close()
            kind = type(answer).__name__
            raise _failed(loaded, f"has a listener {listener.name!r} that answered a {kind}: it is to answer nothing")

    return Subscriber(
        name=f"{loaded.plugin.name}.{listener.name}",
        event_types=tuple(listener.event_types),
        deliver=deliver,
        from_the_start=listener.from_the_start,
    )


class _Bound(NamedTuple):
    """A format as webhooks ask it."""

    body: Format
    check: Check


def _bound(host: PluginHost, loaded: LoadedPlugin, offered: WebhookFormat) -> _Bound:
    context = EmbeddedContext(host, loaded)

    def check(options: Mapping[str, str]) -> None:
        try:
            offered.check_options(options)
        except ConfigurationError:
            raise
        except (Exception, SystemExit) as error:
            how = f"failed to check the options of its webhook format {offered.name!r}: {told(error)['message']}"
            raise _failed(loaded, how) from error

    return _Bound(lambda event, options: offered.body(notice_of(event), context, options), check)


def _webhook_subscribers(
    host: PluginHost, webhook: Webhook, formats: Mapping[str, _Bound], left_out: Mapping[str, ArtifactStoreError]
) -> list[Subscriber]:
    plugin, dot, _ = webhook.format.partition(".")
    if dot and plugin in left_out:
        why = left_out[plugin]
        raise ConfigurationError(
            f"[webhooks.{webhook.name}]: the plug-in {plugin!r} of its format is left out: {why.code}: {why.message}",
            hint=why.hint,
        ) from why
    return webhook_subscribers(
        host.registry,
        {webhook.name: webhook},
        {name: bound.body for name, bound in formats.items()},
        checks={name: bound.check for name, bound in formats.items()},
    )
