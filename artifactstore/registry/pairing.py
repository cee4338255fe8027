"""Two backends of a store, the second of which is to take what the first has."""

from __future__ import annotations

import io
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from blake3 import blake3

from artifactstore.errors import BackendUnknownError, ObjectNotFoundError, UsageError
from artifactstore.registry.ingest import check_storage
from artifactstore.storage.port import ObjectKey, ObjectKind

if TYPE_CHECKING:
    from artifactstore.registry.registry import Registry
    from artifactstore.storage.port import ObjectStore


def require_backends(registry: Registry, source: str, target: str) -> None:
    """Two backends that are configured and differ, the second one there and usable.

    Raises ``BackendUnknownError``, ``UsageError``, ``BackendRefusedError``, ``StorageError``.
    """
    for name in (source, target):
        if name not in registry.backends:
            raise BackendUnknownError(f"there is no backend named {name[:80]!r}")
    if source == target or _are_one_place(registry.backend(source), registry.backend(target)):
        raise UsageError(f"{source!r} and {target!r} are one place: what is stored in the one lies in the other")
    check_storage(replace(registry, default_backend=target))


def _are_one_place(source: ObjectStore, target: ObjectStore) -> bool:
    """Whether what is put into one is seen in the other, whatever their URLs say."""
    data = secrets.token_bytes(32)
    key = ObjectKey(ObjectKind.PART, blake3(data).digest())
    target.put(key, io.BytesIO(data), len(data))
    try:
        return source.size(key) == len(data)
    except ObjectNotFoundError:
        return False
    finally:
        target.delete(key)
