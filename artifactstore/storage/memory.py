"""Objects in a dictionary: the port's reference implementation, for tests and for trying things out."""

from __future__ import annotations

import io
import threading
from contextlib import closing
from typing import TYPE_CHECKING, BinaryIO

from artifactstore.errors import ObjectNotFoundError
from artifactstore.storage.port import (
    ObjectInfo,
    ObjectKey,
    ObjectStore,
    PutOutcome,
    Stage,
    Stray,
    StrayKind,
    checked_range,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from artifactstore.domain.hashing import ObjectHasher
    from artifactstore.storage.port import ObjectKind


class MemoryStore(ObjectStore):
    """Lives and dies with the process; "durable" means as long as that."""

    must_be_probed = False
    identity = "memory://"

    def __init__(self) -> None:
        self._objects: dict[ObjectKey, bytes] = {}
        self._quarantined: list[tuple[ObjectKey, bytes]] = []
        self._lock = threading.Lock()

    @classmethod
    def from_url(cls, url: str, options: Mapping[str, str]) -> MemoryStore:  # noqa: ARG003 - as for every backend
        """``memory://``: a new, empty store."""
        return cls()

    def stage(self, hasher: ObjectHasher) -> Stage:
        """Collect the bytes in memory."""
        return _MemoryStage(self, hasher)

    def size(self, key: ObjectKey) -> int:
        """The length of the value."""
        return len(self._value(key))

    def open(self, key: ObjectKey, start: int = 0, length: int | None = None) -> AbstractContextManager[BinaryIO]:
        """A stream over a slice."""
        value = self._value(key)
        start, length = checked_range(key, len(value), start, length)
        return closing(io.BytesIO(value[start : start + length]))

    def list(self, kind: ObjectKind) -> Iterator[ObjectInfo]:
        """A sorted snapshot."""
        with self._lock:
            found = [ObjectInfo(key, len(value)) for key, value in self._objects.items() if key.kind is kind]
        yield from sorted(found, key=lambda info: info.key.digest)

    def delete(self, key: ObjectKey) -> None:
        """Forget it."""
        with self._lock:
            self._objects.pop(key, None)

    def quarantine(self, key: ObjectKey) -> None:
        """Set it aside."""
        with self._lock:
            if (value := self._objects.pop(key, None)) is not None:
                self._quarantined.append((key, value))

    def presigned_url(self, key: ObjectKey, *, expires_in_s: int) -> str | None:  # noqa: ARG002
        """Memory has no URL."""
        return None

    def strays(self) -> Iterator[Stray]:
        """What was set aside."""
        with self._lock:
            found = list(self._quarantined)
        yield from (Stray(StrayKind.QUARANTINED, key.path, len(value)) for key, value in found)

    def _value(self, key: ObjectKey) -> bytes:
        with self._lock:
            value = self._objects.get(key)
        if value is None:
            raise ObjectNotFoundError(f"there is no object {key}")
        return value

    def _insert(self, key: ObjectKey, value: bytes) -> PutOutcome:
        with self._lock:
            if key in self._objects:
                return PutOutcome.PRESENT
            self._objects[key] = value
            return PutOutcome.CREATED

    def _exchange(self, key: ObjectKey, value: bytes) -> PutOutcome:
        with self._lock:
            if (bad := self._objects.get(key)) is not None:
                self._quarantined.append((key, bad))
            self._objects[key] = value
        return PutOutcome.CREATED


class _MemoryStage(Stage):
    def __init__(self, store: MemoryStore, hasher: ObjectHasher) -> None:
        super().__init__(hasher)
        self._store = store
        self._parts: list[bytes] | None = []

    def discard(self) -> None:
        self._parts = None

    def _append(self, data: bytes) -> None:
        assert self._parts is not None, "the stage is closed"
        self._parts.append(bytes(data))

    def _publish(self, key: ObjectKey) -> PutOutcome:
        assert self._parts is not None, "the stage is closed"
        return self._store._insert(key, b"".join(self._parts))  # noqa: SLF001 - one class in two halves

    def _publish_over(self, key: ObjectKey) -> PutOutcome:
        assert self._parts is not None, "the stage is closed"
        return self._store._exchange(key, b"".join(self._parts))  # noqa: SLF001
