"""What this distribution registers under its own entry points, and how an entry point of anyone's is found.

Ours are named here once more, because reading the metadata of installed distributions costs more than an ingest; a test
compares these tables with pyproject.toml.
"""

from __future__ import annotations

from importlib import import_module

from artifactstore.errors import ConfigurationError

BACKENDS = "artifactstore.backends"
"""By URL scheme, a function that takes the storage URL and its settings and gives an ``ObjectStore``.

The settings are those that begin with ``ARTIFACTSTORE_<SCHEME>_``, by their names without that and as text; only the S3
backend has any. It checks what it is given, and raises ``ConfigurationError``.
"""
PLUGINS = "artifactstore.plugins"

ENTRY_POINTS = {
    BACKENDS: {
        "file": "artifactstore.storage.local:LocalStore.from_url",
        "memory": "artifactstore.storage.memory:MemoryStore.from_url",
        "s3": "artifactstore.storage.s3:S3Store.from_url",
    },
    PLUGINS: {"guide-board": "artifactstore.pilots.guide_board:PLUGIN"},
}
"""For each group, the name and the object of every entry point of this distribution."""


def load_entry_point(group: str, name: str) -> object:
    """An entry point's object. Raises ``ConfigurationError`` if nothing installed provides it."""
    built_in = ENTRY_POINTS[group]
    if name in built_in:
        return _resolve(built_in[name])
    from importlib.metadata import entry_points

    for entry_point in entry_points(group=group, name=name):
        return entry_point.load()
    raise ConfigurationError(f"nothing installed provides {name!r} in {group}", hint=f"Known: {', '.join(built_in)}.")


def _resolve(reference: str) -> object:
    module, _, attributes = reference.partition(":")
    found: object = import_module(module)
    for attribute in attributes.split("."):
        found = getattr(found, attribute)
    return found
