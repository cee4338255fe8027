"""The object-store port: what every backend promises, and nothing more.

Promises, checked for every adapter by ``artifactstore.testing.ObjectStoreContract``:

- **Digest-keyed and create-only.** The bytes under a key never change. A second put is harmless and says so.
- **Atomic.** A reader sees a whole object or ``ObjectNotFoundError``, never part of one.
- **Durable on return.** When ``put`` or ``commit`` returns, the object survives a power cut. One that finds the object
  present makes sure of its durability before it says so. A failed sync throws the bytes away.
- **Verified on the way in.** Nothing is kept unless digest and size match: else ``DigestMismatchError``.
- **Ranged reads** are half-open, ``[start, start + length)``; one that leaves the object raises ``RangeInvalidError``.
- **Listing** gives one kind in ascending order of digest, as a stream.
- **Delete** is idempotent, of one object or of many: all are gone when it returns. **Quarantine** moves a bad object
  aside, after which a put creates it afresh; **replace** puts a good one in its place without a moment in which there
  is none.
- **Errors are closed.** Only ``StorageError`` and its children, ``DigestMismatchError`` and ``RangeInvalidError``
  leave; the backend's own error is chained as the cause.
- **Concurrent use** from several threads and several processes is safe.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, BinaryIO, Self

from blake3 import blake3

from artifactstore.domain.digest import Digest
from artifactstore.domain.hashing import BUFFER_BYTES
from artifactstore.errors import DigestInvalidError, DigestMismatchError, RangeInvalidError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import timedelta
    from types import TracebackType

    from artifactstore.domain.hashing import ObjectHasher
    from artifactstore.domain.instant import Instant
    from artifactstore.storage.probing.probe import Probing


class ObjectKind(StrEnum):
    """What an object is."""

    BLOB = "blob"
    PACK = "pack"
    MANIFEST = "manifest"
    PART = "part"
    """A piece of an upload, until that is complete."""
    SEGMENT = "segment"
    """Events of the log that follow one another."""
    BACKUP = "backup"
    """The document of a snapshot, in a backup."""
    BACKUP_PART = "backup-part"
    """What such a document names besides segments: lists of objects, operational rows."""


_SUFFIXES = {
    ObjectKind.BLOB: "",
    ObjectKind.PACK: ".zip",
    ObjectKind.MANIFEST: ".cbor",
    ObjectKind.PART: "",
    ObjectKind.SEGMENT: ".cbor",
    ObjectKind.BACKUP: ".cbor",
    ObjectKind.BACKUP_PART: ".cbor",
}


@dataclass(frozen=True, slots=True)
class ObjectKey:
    """The kind of an object and its 32-byte BLAKE3 digest; together its only name in every backend."""

    kind: ObjectKind
    digest: bytes

    @property
    def path(self) -> str:
        """The key as text: ``packs/blake3/ab/cd/<hex>.zip``."""
        name = self.digest.hex()
        return f"{self.kind}s/blake3/{name[:2]}/{name[2:4]}/{name}{_SUFFIXES[self.kind]}"

    @classmethod
    def parse(cls, path: str) -> ObjectKey:
        """The inverse of ``path``. Raises ``DigestInvalidError`` for anything that is not exactly a key."""
        kinds = [kind for kind in ObjectKind if path.startswith(f"{kind}s/")]
        if kinds:
            name = path.rpartition("/")[2].removesuffix(_SUFFIXES[kinds[0]])
            key = cls(kinds[0], Digest.parse(f"blake3:{name}").raw)
            if key.path == path:
                return key
        raise DigestInvalidError(f"not an object key: {path[:200]!r}")

    def __str__(self) -> str:
        return self.path


class PutOutcome(Enum):
    """Whether a put created the object or found it."""

    CREATED = "created"
    PRESENT = "present"


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object as a backend lists it."""

    key: ObjectKey
    size_bytes: int
    age_s: float | None = field(default=None, compare=False)
    """How long it has been there, by the backend's own clock; None where it does not say."""


class StrayKind(StrEnum):
    """What something in a backend is that is no object."""

    LEFTOVER = "leftover"
    """Of a write that is under way, or was broken off."""
    QUARANTINED = "quarantined"
    """A bad object that was set aside."""
    FOREIGN = "foreign"
    """Nothing of ours."""


@dataclass(frozen=True, slots=True)
class Stray:
    """Something in a backend that is no object, by where it is there."""

    kind: StrayKind
    path: str
    size_bytes: int
    age_s: float | None = field(default=None, compare=False)


class ObjectStore(ABC):
    """A backend. See the module's docstring for what each method promises."""

    must_be_probed = True
    """Whether nothing may rely on it before it was measured once."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """Which backend this is, the same in every process that opens it: its URL and endpoint, without any secret."""

    @abstractmethod
    def stage(self, hasher: ObjectHasher) -> Stage:
        """Begin an object whose digest is not known yet. ``hasher`` sees every byte once, on its way in."""

    @abstractmethod
    def size(self, key: ObjectKey) -> int:
        """The object's size in bytes, or ``ObjectNotFoundError``."""

    @abstractmethod
    def open(self, key: ObjectKey, start: int = 0, length: int | None = None) -> AbstractContextManager[BinaryIO]:
        """The bytes ``[start, start + length)``, or from ``start`` to the end, as a stream to read once."""

    @abstractmethod
    def list(self, kind: ObjectKind) -> Iterator[ObjectInfo]:
        """Every object of a kind, in ascending order of digest."""

    @abstractmethod
    def delete(self, key: ObjectKey) -> None:
        """Remove the object; no error if it is not there."""

    def delete_many(self, keys: Sequence[ObjectKey]) -> None:
        """Remove all of these objects, in as few requests as the backend allows. If it raises, any may be gone."""
        for key in keys:
            self.delete(key)

    def server_time(self) -> Instant | None:
        """What the backend's own clock says; None if it has none or does not tell."""
        return None

    @abstractmethod
    def quarantine(self, key: ObjectKey) -> None:
        """Move the object out of the way, kept for whoever investigates; no error if it is not there."""

    @abstractmethod
    def presigned_url(self, key: ObjectKey, *, expires_in_s: int) -> str | None:
        """A URL that gives the whole object to whoever has it, or None where the backend cannot; never for a pack."""

    def probing(self) -> Probing:
        """How it is measured: through the port, unless its kind can be asked more."""
        from artifactstore.storage.probing.probe import Probing

        return Probing(self)

    def remove_leftovers(self, older_than: timedelta) -> int:  # noqa: ARG002
        """Remove what writers that are gone left unfinished; how many things those were.

        What has changed within ``older_than`` may have a writer, and stays. A backend that keeps nothing of an object
        before it is whole has nothing to remove.
        """
        return 0

    def strays(self) -> Iterator[Stray]:
        """What is in the backend and is no object, in no order. A backend that cannot tell says there is nothing."""
        yield from ()

    def put(self, key: ObjectKey, source: BinaryIO, size_bytes: int) -> PutOutcome:
        """Store bytes whose digest is known. Reads ``source`` once, to its end."""
        with self.stage(blake3()) as stage:
            while data := source.read(BUFFER_BYTES):
                stage.write(data)
            return stage.commit(key, size_bytes)

    def read(self, key: ObjectKey, start: int = 0, length: int | None = None) -> bytes:
        """The bytes of a range, in memory: for manifests and small blobs."""
        with self.open(key, start, length) as stream:
            return stream.read()


class Stage(ABC):
    """An object being written. Leaving the context without ``commit`` discards it."""

    def __init__(self, hasher: ObjectHasher) -> None:
        self._hasher = hasher
        self.size_bytes = 0

    def write(self, data: bytes) -> None:
        """Append bytes. The caller must not change ``data`` afterwards."""
        self._hasher.update(data)
        self.size_bytes += len(data)
        self._append(data)

    def commit(self, key: ObjectKey, size_bytes: int) -> PutOutcome:
        """Publish the object under ``key``, durably. Raises ``DigestMismatchError`` if other bytes were written."""
        self._check(key, size_bytes)
        return self._publish(key)

    def replace(self, key: ObjectKey, size_bytes: int) -> PutOutcome:
        """Publish the object over one of its key that is known to be bad, which is kept in quarantine.

        At no moment is there no object: readers may still need what is sound in the bad one.
        """
        self._check(key, size_bytes)
        return self._publish_over(key)

    def _check(self, key: ObjectKey, size_bytes: int) -> None:
        if size_bytes != self.size_bytes:
            raise DigestMismatchError(f"{key} was announced with {size_bytes} bytes; {self.size_bytes} came")
        if (found := self._hasher.digest()) != key.digest:
            raise DigestMismatchError(f"{key} was announced; the bytes are {Digest.blake3(found)}")

    @abstractmethod
    def discard(self) -> None:
        """Drop what was written; idempotent, harmless after a commit."""

    @abstractmethod
    def _append(self, data: bytes) -> None: ...

    @abstractmethod
    def _publish(self, key: ObjectKey) -> PutOutcome: ...

    @abstractmethod
    def _publish_over(self, key: ObjectKey) -> PutOutcome: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


def checked_range(key: ObjectKey, size_bytes: int, start: int, length: int | None) -> tuple[int, int]:
    """The range as (start, length) within an object of this size. Raises ``RangeInvalidError`` if it leaves it."""
    end = size_bytes if length is None else start + length
    if not 0 <= start <= end <= size_bytes:
        raise RangeInvalidError(f"bytes {start} to {end} are not within {key}, which has {size_bytes}")
    return start, end - start
