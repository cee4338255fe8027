"""Who is told what happens in a store: the listeners of the installed plug-ins, and webhooks, as subscribers.

What the server, ``artifactstore listen`` and ``artifactstore status`` have in common. Nobody else needs it: it reads
the metadata of every installed distribution.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn, cast

from artifactstore.built_in import installed_plugins, load_plugin
from artifactstore.documents import event_document
from artifactstore.domain.instant import instant_text
from artifactstore.domain.package import slug_problem
from artifactstore.errors import ArtifactStoreError, PluginFailedError
from artifactstore.plugins.context import EmbeddedContext
from artifactstore.plugins.contract import Listener, Notice
from artifactstore.registry.subscriptions import Subscriber
from artifactstore.webhooks.delivering import webhook_subscribers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from artifactstore.catalog.event_log import EventRecord
    from artifactstore.plugins.contract import WebhookFormat
    from artifactstore.plugins.host import PluginHost
    from artifactstore.plugins.loaded import LoadedPlugin
    from artifactstore.webhooks.configuration import Webhook
    from artifactstore.webhooks.delivering import Format


def _raised(error: ArtifactStoreError) -> NoReturn:
    raise error


def subscribers_of(
    host: PluginHost,
    webhooks: Mapping[str, Webhook],
    *,
    trouble: Callable[[ArtifactStoreError], object] = _raised,
) -> list[Subscriber]:
    """A subscriber ``<plug-in>.<listener>`` for each listener of a plug-in, ``webhook.<name>`` for each webhook.

    A plug-in that cannot be loaded, or that fails to say its listeners, is ``trouble``: raised, unless the caller goes
    on without it. Its subscriptions then rest where they are. Raises ``ConfigurationError`` for a webhook whose format
    no plug-in has, or whose options are not what its format takes.
    """
    found: dict[str, Subscriber] = {}
    plugins = list(_loaded(trouble))
    for loaded in plugins:
        try:
            _join(found, _subscribers_of(host, loaded))
        except ArtifactStoreError as error:
            trouble(error)
    if webhooks:
        _join(found, _webhook_subscribers(host, plugins, webhooks))
    return list(found.values())


def notice_of(event: EventRecord) -> Notice:
    """An event as plug-ins are given it."""
    payload = event_document(event, with_payload=True)["payload"]
    return Notice(
        seq=event.seq,
        at=datetime.fromisoformat(instant_text(event.at)),
        type=event.type,
        subject=event.subject,
        actor=event.actor,
        payload=cast("Mapping[str, Any]", payload),
    )


def _loaded(trouble: Callable[[ArtifactStoreError], object]) -> Iterator[LoadedPlugin]:
    for name in installed_plugins():
        try:
            yield load_plugin(name)
        except ArtifactStoreError as error:
            trouble(error)


def _join(found: dict[str, Subscriber], more: Iterable[Subscriber]) -> None:
    for subscriber in more:
        if subscriber.name in found:
            raise PluginFailedError(f"two listeners are called {subscriber.name!r}")
        found[subscriber.name] = subscriber


def _subscribers_of(host: PluginHost, loaded: LoadedPlugin) -> Iterator[Subscriber]:
    name = loaded.plugin.name
    try:
        listeners: list[object] = list(loaded.plugin.listeners())
    except Exception as error:
        raise PluginFailedError(f"the plug-in {name!r} failed to say its listeners: {error}") from error
    for listener in listeners:
        if not isinstance(listener, Listener) or slug_problem(listener.name):
            raise PluginFailedError(f"the plug-in {name!r} has a listener that is none, or whose name is no slug")
        if isinstance(cast("object", listener.event_types), str):
            raise PluginFailedError(f"the listener {listener.name!r} of {name!r} names a text where types are listed")
        yield _subscriber(host, loaded, listener)


def _subscriber(host: PluginHost, loaded: LoadedPlugin, listener: Listener) -> Subscriber:
    context = EmbeddedContext(host, loaded)

    def deliver(event: EventRecord) -> None:
        listener.handle(notice_of(event), context)

    return Subscriber(
        name=f"{loaded.plugin.name}.{listener.name}",
        event_types=tuple(listener.event_types),
        deliver=deliver,
        from_the_start=listener.from_the_start,
    )


def _webhook_subscribers(
    host: PluginHost, plugins: Iterable[LoadedPlugin], webhooks: Mapping[str, Webhook]
) -> list[Subscriber]:
    formats = {
        f"{loaded.plugin.name}.{offered.name}": (loaded, offered)
        for loaded in plugins
        for offered in _webhook_formats(loaded)
    }
    return webhook_subscribers(
        host.registry,
        webhooks,
        {name: _bound(offered, EmbeddedContext(host, loaded)) for name, (loaded, offered) in formats.items()},
        checks={name: offered.check_options for name, (_, offered) in formats.items()},
    )


def _webhook_formats(loaded: LoadedPlugin) -> Sequence[WebhookFormat]:
    try:
        return loaded.plugin.webhook_formats()
    except Exception as error:
        raise PluginFailedError(
            f"the plug-in {loaded.plugin.name!r} failed to say its webhook formats: {error}"
        ) from error


def _bound(offered: WebhookFormat, context: EmbeddedContext) -> Format:
    """The format as webhooks ask it."""
    return lambda event, options: offered.body(notice_of(event), context, options)
