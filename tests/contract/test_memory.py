"""The memory store keeps the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from artifactstore.storage.memory import MemoryStore
from artifactstore.testing.object_store import ObjectStoreContract

if TYPE_CHECKING:
    from artifactstore.storage.port import ObjectKey


class TestMemoryStore(ObjectStoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()

    def stored_bytes(self, store: MemoryStore, key: ObjectKey) -> bytes | None:
        return store._objects.get(key)

    def replace_bytes(self, store: MemoryStore, key: ObjectKey, data: bytes) -> None:
        store._objects[key] = data
