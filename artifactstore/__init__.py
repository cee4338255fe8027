"""A package store for what runs leave behind.

The public door, resolved lazily: importing ``artifactstore`` costs nothing until a name is used. ::

    from artifactstore import open_registry

    registry = open_registry()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.version import VERSION

if TYPE_CHECKING:
    from artifactstore.bootstrap import open_registry
    from artifactstore.config import Settings
    from artifactstore.domain.digest import Digest
    from artifactstore.domain.manifest import Manifest
    from artifactstore.domain.package import PackageDraft, PackageReceipt
    from artifactstore.domain.retention import RetentionClass
    from artifactstore.errors import ArtifactStoreError
    from artifactstore.registry.registry import Registry

__version__ = VERSION

_HOMES = {
    "ArtifactStoreError": "errors",
    "Digest": "domain.digest",
    "Manifest": "domain.manifest",
    "PackageDraft": "domain.package",
    "PackageReceipt": "domain.package",
    "Registry": "registry.registry",
    "RetentionClass": "domain.retention",
    "Settings": "config",
    "open_registry": "bootstrap",
}

__all__ = [
    "ArtifactStoreError",
    "Digest",
    "Manifest",
    "PackageDraft",
    "PackageReceipt",
    "Registry",
    "RetentionClass",
    "Settings",
    "open_registry",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
