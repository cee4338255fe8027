"""What this distribution registers under its own entry points, and how an entry point of anyone's is found.

Ours are named here once more, because reading the metadata of installed distributions costs more than an ingest; a test
compares these tables with pyproject.toml. A plug-in is loaded with the name and version of the distribution that it was
installed with, and with no other.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, cast

from artifactstore.domain.capabilities import Capability
from artifactstore.domain.package import slug_problem, text_problem
from artifactstore.domain.vocabulary import IdentifierKind, LocationKind, Scoping, Words, owner_of
from artifactstore.errors import ArtifactStoreError, ConfigurationError, PluginFailedError, PluginUnknownError
from artifactstore.plugins.contract import Plugin
from artifactstore.plugins.loaded import DISTRIBUTION, LoadedPlugin
from artifactstore.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.metadata import EntryPoint

BACKENDS = "artifactstore.backends"
"""By URL scheme, a function that takes the storage URL and its settings and gives an ``ObjectStore``.

The settings are those that begin with ``ARTIFACTSTORE_<SCHEME>_``, by their names without that and as text; only the S3
backend has any. It checks what it is given, and raises ``ConfigurationError``.
"""
PLUGINS = "artifactstore.plugins"
"""By the plug-in's name, a ``Plugin``."""

ENTRY_POINTS = {
    BACKENDS: {
        "file": "artifactstore.storage.local:LocalStore.from_url",
        "memory": "artifactstore.storage.memory:MemoryStore.from_url",
        "s3": "artifactstore.storage.s3:S3Store.from_url",
    },
    PLUGINS: {
        "core": "artifactstore.plugins.core:PLUGIN",
        "guide-board": "artifactstore.pilots.guide_board:PLUGIN",
        "testing-os": "artifactstore.pilots.testing_os:PLUGIN",
    },
}
"""For each group, the name and the object of every entry point of this distribution."""

DEFAULT_CAPABILITIES: Mapping[str, frozenset[Capability]] = {
    "guide-board": frozenset({Capability.INGEST}),
    "testing-os": frozenset({Capability.INGEST}),
}
"""What our own pilots may do where the configuration does not name them."""

CONTRIBUTIONS = ("artifactstore.pilots.testing_os.recorded:CONTRIBUTION",)
"""What our own pilots add to the catalog; see ``register_contributions``."""


def register_contributions() -> None:
    """Make what our own pilots contribute part of the catalog: before a database is opened, or events are named.

    Whoever imports ``bootstrap`` has done so. Harmless if it is done already; too slow to be done for a help text.
    """
    from artifactstore.catalog.contributions import Contribution, register

    for reference in CONTRIBUTIONS:
        register(cast("Contribution", _resolve(reference)))


def load_entry_point(group: str, name: str) -> object:
    """An entry point's object. Raises ``ConfigurationError`` if nothing installed provides it."""
    built_in = ENTRY_POINTS[group]
    if name in built_in:
        return _resolve(built_in[name])
    from importlib.metadata import entry_points

    for entry_point in entry_points(group=group, name=name):
        return entry_point.load()
    raise ConfigurationError(f"nothing installed provides {name!r} in {group}", hint=f"Known: {', '.join(built_in)}.")


def load_plugin(name: str) -> LoadedPlugin:
    """An installed plug-in with the name and version of its distribution.

    Raises ``PluginUnknownError``, ``PluginFailedError`` for one that cannot be imported or is none, and
    ``ConfigurationError`` if two distributions provide one of this name.
    """
    if reference := ENTRY_POINTS[PLUGINS].get(name):
        return _checked(name, _resolve(reference), DISTRIBUTION, VERSION)
    from importlib.metadata import entry_points

    found = _of_others(list(entry_points(group=PLUGINS, name=name)))
    if not found:
        raise PluginUnknownError(f"no plug-in named {name[:80]!r} is installed")
    if len({each.distribution for each in found}) > 1:
        names = " and ".join(sorted(each.distribution for each in found))
        raise ConfigurationError(f"{names} both provide a plug-in named {name!r}", hint="Uninstall one of them.")
    first = found[0]
    try:
        loaded = first.entry_point.load()
    except (Exception, SystemExit) as error:
        raise PluginFailedError(
            f"the plug-in {name!r} of {first.distribution} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    return _checked(name, loaded, first.distribution, first.version)


def installed_plugins() -> list[str]:
    """The names of the plug-ins that are installed, ours first, without loading any."""
    from importlib.metadata import entry_points

    ours = ENTRY_POINTS[PLUGINS]
    return [*ours, *sorted({each.name for each in entry_points(group=PLUGINS)} - ours.keys())]


def offers() -> list[Offer]:
    """What other distributions provide in the group of plug-ins, by name, also under names that are ours."""
    from importlib.metadata import entry_points

    found = [each for each in _of_others(list(entry_points(group=PLUGINS))) if each.distribution != DISTRIBUTION]
    return sorted(found, key=lambda each: (each.entry_point.name, each.distribution))


class InstalledWords:
    """The vocabulary of the installed plug-ins; each is loaded when a word of its own is first asked for."""

    def __init__(self) -> None:
        self._known: dict[str, Words] = {}
        self._installed: frozenset[str] | None = None

    def words_of(self, plugin: str) -> Words | None:
        """See ``Vocabulary``. Raises as ``load_plugin`` does for one that is installed."""
        if plugin not in self._known:
            if plugin not in ENTRY_POINTS[PLUGINS] and plugin not in self._names():
                return None
            self._known[plugin] = words_of(load_plugin(plugin))
        return self._known[plugin]

    def _names(self) -> frozenset[str]:
        """Looked for once: words come from callers, and there is no end of them."""
        if self._installed is None:
            self._installed = frozenset(installed_plugins())
        return self._installed


def words_of(loaded: LoadedPlugin) -> Words:
    """What a plug-in registers. Raises ``PluginFailedError`` for a word that is not its own, or that is there twice."""
    name = loaded.plugin.name
    try:
        words = loaded.plugin.words()
        problem = _words_problem(name, words)
    except ArtifactStoreError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginFailedError(f"the plug-in {name!r} failed to say its words: {type(error).__name__}") from error
    if problem:
        raise PluginFailedError(f"the plug-in {name!r} {problem}")
    return words


def _words_problem(name: str, words: object) -> str:
    """What is wrong with the words of a plug-in, exactly of the contract's types; empty if nothing."""
    if type(words) is not Words:
        return f"answers a {type(words).__name__} for its words"
    strange: list[object] = [kind for kind in words.location_kinds if type(kind) is not LocationKind]
    strange += [kind for kind in words.identifier_kinds if not _is_identifier_kind(kind)]
    if strange:
        return f"registers a {type(strange[0]).__name__} that is no kind of location or identifier as it must be"
    kinds_named = [kind.name for kind in words.location_kinds], [kind.name for kind in words.identifier_kinds]
    for group in (*kinds_named, words.roles, words.trust_levels):
        if others := [word for word in group if type(word) is not str or owner_of(word) != name or slug_problem(word)]:
            return f"registers {others[0]!r}: its words are called {name}.<word>"
        if len(set(group)) < len(group):
            return "registers a word twice"
    return ""


def _is_identifier_kind(kind: object) -> bool:
    return type(kind) is IdentifierKind and type(kind.scoping) is Scoping


class Offer(NamedTuple):
    """An entry point of another distribution, and which one that is."""

    entry_point: EntryPoint
    distribution: str
    version: str


def _of_others(found: list[EntryPoint]) -> list[Offer]:
    """Entry points with the distributions they were installed with; one that came otherwise has no say."""
    return [Offer(each, each.dist.name, each.dist.version) for each in found if each.dist is not None]


def _checked(name: str, found: object, distribution: str, version: str) -> LoadedPlugin:
    if type(found) is not Plugin or type(found.name) is not str or found.name != name:
        raise PluginFailedError(f"the entry point {name!r} of {distribution} is not a Plugin of this name")
    if problem := slug_problem(name) or _problem_of_name(name):
        raise PluginFailedError(f"the name of the plug-in {name!r} {problem}")
    if type(found.contract_version) is not str or text_problem(found.contract_version):
        raise PluginFailedError(f"the contract version of the plug-in {name!r} must be a short text")
    if not version or text_problem(version):
        raise PluginFailedError(f"the distribution {distribution} of the plug-in {name!r} has no version")
    return LoadedPlugin(found, distribution, version)


def _problem_of_name(name: str) -> str:
    if name == "webhook":
        return "is what the subscriptions of webhooks begin with"
    return "must have no dot, which ends it in names of its words" if "." in name else ""


def _resolve(reference: str) -> object:
    module, _, attributes = reference.partition(":")
    found: object = import_module(module)
    for attribute in attributes.split("."):
        found = getattr(found, attribute)
    return found
