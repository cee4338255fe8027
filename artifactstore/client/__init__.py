"""The client of ``artifactstore serve``.

::

    from artifactstore.client import Client

    with Client("https://artifacts.example.org", token) as client:
        receipt = client.push(draft)

docs/reference/client.md is its page, docs/reference/http-api.md what it speaks. Importing this package costs nothing
until a name is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from artifactstore.client.client import Client
    from artifactstore.client.context import RemoteContext

_HOMES = {"Client": "client", "RemoteContext": "context"}

__all__ = ["Client", "RemoteContext"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
