"""A store whose objects lie in two backends, each of which can be made to fail."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from artifactstore.domain.canonical import decode
from artifactstore.domain.event import ObjectRef
from artifactstore.domain.object_events import ObjectCopied
from artifactstore.registry.downloads import download
from artifactstore.registry.events import list_events
from artifactstore.registry.files import find_file
from artifactstore.storage.local import LocalStore
from artifactstore.storage.port import ObjectKey, ObjectKind
from artifactstore.testing.faults import FaultyStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artifactstore.catalog.records import LocatedFile, ObjectRecord
    from artifactstore.registry.fall_backs import FallBack
    from artifactstore.registry.registry import Registry

RECORDED_WITHIN_S = 30
_BY_READS = ("v1.blob.damaged", "v1.object.damaged", "v1.blob.restored", "v1.object.restored", "v1.read.fell_back")


@dataclass
class TwoBackends:
    """``first`` is the default backend, ``second`` has copies of what is in it."""

    registry: Registry
    first: FaultyStore
    second: FaultyStore
    root: Path
    told: list[FallBack] = field(default_factory=list)
    not_recorded: list[Exception] = field(default_factory=list)

    def file(self, package_id: str, path: str) -> LocatedFile:
        return find_file(self.registry, package_id, path)

    def read(self, package_id: str, path: str, start: int = 0, length: int | None = None) -> bytes:
        return b"".join(download(self.registry, self.file(package_id, path), start, length))

    def objects(self, backend: str = "first", *kinds: ObjectKind) -> list[ObjectRecord]:
        with self.registry.catalog.snapshot() as queries:
            found = queries.objects(after=0, limit=10_000)
        return [each for each in found if each.backend == backend and each.kind in (kinds or tuple(ObjectKind))]

    def path_of(self, found: ObjectRecord) -> Path:
        return self.root / found.backend / ObjectKey(ObjectKind(found.kind), found.blake3).path

    def copy_everything(self) -> None:
        """From the first to the second, with nothing of ``storage copy`` but its event."""
        copied = {(found.kind, found.blake3) for found in self.objects("second")}
        for found in self.objects("first"):
            if (found.kind, found.blake3) not in copied:
                self.copy(found)

    def copy(self, found: ObjectRecord) -> None:
        key = ObjectKey(ObjectKind(found.kind), found.blake3)
        data = self.first.inner.read(key)
        self.second.inner.put(key, io.BytesIO(data), len(data))
        reference = ObjectRef("second", found.kind, found.blake3, found.size_bytes)
        with self.registry.transaction() as tx:
            tx.record(ObjectCopied(object=reference, source="first"))

    def recorded(self) -> list[tuple[str, dict[str, Any]]]:
        """The events that reads have left, once they are in the log: type and payload."""
        self.registry.fall_backs.wait(RECORDED_WITHIN_S)
        events = list_events(self.registry, limit=10_000, with_payload=True)
        return [(event.type, decode(event.payload)) for event in events if event.type in _BY_READS]

    def recorded_types(self) -> list[str]:
        return [type_ for type_, _ in self.recorded()]


def two_backends(registry: Registry, root: Path) -> Iterator[TwoBackends]:
    first, second = (FaultyStore(LocalStore(root / name)) for name in ("first", "second"))
    over_two = replace(registry, backends={"first": first, "second": second}, default_backend="first")
    found = TwoBackends(over_two, first, second, root)
    over_two.fall_backs.attend(
        actor="service", told=found.told.append, not_recorded=lambda _, error: found.not_recorded.append(error)
    )
    yield found
    over_two.fall_backs.wait(RECORDED_WITHIN_S)
