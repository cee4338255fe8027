"""Plug-ins, hosts and observations for tests: the ordinary case of each."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from artifactstore.built_in import load_plugin, words_of
from artifactstore.catalog.contributions import all_tables
from artifactstore.domain.capabilities import Capability
from artifactstore.domain.provenance import EnvelopeInput, IngestInput, PartyInput, Retrieval, SourceInput
from artifactstore.domain.vocabulary import CORE, IdentifierKind, LocationKind, Scoping, Words
from artifactstore.plugins.context import EmbeddedContext
from artifactstore.plugins.contract import Plugin
from artifactstore.plugins.host import PluginHost
from artifactstore.plugins.loaded import LoadedPlugin
from tests.support import stored_objects

if TYPE_CHECKING:
    from pathlib import Path

    from artifactstore.registry.registry import Registry

TABLES = tuple(all_tables().tables)


def mailbox_words() -> Words:
    return Words(
        (LocationKind("mailbox.message", "A message.", str.lower),),
        (IdentifierKind("mailbox.nick", "A nickname.", Scoping.SCOPED),),
        ("mailbox.owner",),
        ("mailbox.signed",),
    )


MAILBOX = Plugin(name="mailbox", summary="Reads a mailbox.", words=mailbox_words)
OTHER = Plugin(name="other", summary="Another one.")
SOURCE = SourceInput(
    "mailbox.message", "<7@Example.org>", "host-1", Retrieval("message/rfc822", "Prüfung"), {"folder": "inbox", "n": 2}
)
ENVELOPE = EnvelopeInput("imap", b"\x00\xffseen", datetime(2026, 6, 1, 12, 0, 0, 7, tzinfo=UTC))
PARTIES = (
    PartyInput("email", "Jane@EXAMPLE.org", "author", "claimed"),
    PartyInput("mailbox.nick", "jj", "mailbox.owner", "mailbox.signed", identifier_scope="example.org"),
)
GIVEN = IngestInput(SOURCE, ENVELOPE, PARTIES)


class WordsOf:
    """The vocabulary of these plug-ins and the core."""

    def __init__(self, *plugins: Plugin) -> None:
        self._plugins = {plugin.name: installed(plugin) for plugin in plugins} | {CORE: load_plugin(CORE)}

    def words_of(self, plugin: str) -> Words | None:
        return words_of(self._plugins[plugin]) if plugin in self._plugins else None


def installed(plugin: Plugin = MAILBOX, *, version: str = "2.7.1") -> LoadedPlugin:
    """As the loader hands it on."""
    return LoadedPlugin(plugin, f"acme-{plugin.name}", version)


def host_on(registry: Registry, *plugins: Plugin, **options: Any) -> PluginHost:
    """A host that grants these plug-ins everything."""
    known = plugins or (MAILBOX, OTHER)
    granted = {plugin.name: frozenset(Capability) for plugin in known}
    return PluginHost(registry, vocabulary=WordsOf(*known), **{"capabilities": granted, **options})


def context_on(
    registry: Registry, plugin: Plugin = MAILBOX, *, version: str = "2.7.1", **options: Any
) -> EmbeddedContext:
    """The context of a plug-in on a host that grants it everything."""
    return EmbeddedContext(host_on(registry, plugin, **options), installed(plugin, version=version))


def message(number: int, source: int = 0) -> IngestInput:
    """An observation like no other number's."""
    return IngestInput(
        replace(SOURCE, path_id=f"<{source}@x>"),
        replace(ENVELOPE, received_at=ENVELOPE.received_at.replace(microsecond=number)),
        PARTIES,
    )


def rows_of(registry: Registry, table: str) -> list[tuple[Any, ...]]:
    with registry.catalog.snapshot() as queries:
        return [tuple(row) for row in queries.connection.execute(f"SELECT * FROM {table}")]


def all_there_is(registry: Registry, home: Path) -> dict[str, object]:
    """How many rows each table has, and every object in storage."""
    with registry.catalog.snapshot() as queries:
        counts = {
            table: next(queries.connection.execute(f"SELECT count(*) FROM {table}"))[0] for table in TABLES
        }  # fmt: skip
    return {**counts, "objects": stored_objects(home)}
