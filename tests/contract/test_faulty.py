"""The faulty store without a fault keeps the contract of the store it wraps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from artifactstore.storage.memory import MemoryStore
from artifactstore.testing.faults import FaultyStore
from artifactstore.testing.object_store import ObjectStoreContract

if TYPE_CHECKING:
    from artifactstore.storage.port import ObjectKey


class TestFaultyStoreWithoutFaults(ObjectStoreContract):
    @pytest.fixture
    def store(self) -> FaultyStore:
        return FaultyStore(MemoryStore())

    def stored_bytes(self, store: FaultyStore, key: ObjectKey) -> bytes | None:
        return store.inner._objects.get(key)

    def replace_bytes(self, store: FaultyStore, key: ObjectKey, data: bytes) -> None:
        store.inner._objects[key] = data
