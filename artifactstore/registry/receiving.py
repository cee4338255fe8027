"""Taking in bytes that are sent for an open package: one file, or many small ones as a ZIP archive.

Every byte is hashed as it passes and compared with what was declared; nothing is kept unless it agrees. Bytes are
stored whether or not the store has them already, because what a caller may not read must not show in what sending it
does. They are durable before their rows are written; a crash in between leaves objects that nothing refers to.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.catalog import pushes
from artifactstore.catalog.pushes import ReceivedBlob
from artifactstore.domain.digest import Digest
from artifactstore.domain.event import ObjectRef
from artifactstore.domain.hashing import BUFFER_BYTES, BlobHasher, measure
from artifactstore.domain.manifest import FileEntry
from artifactstore.domain.media_type import media_type_of
from artifactstore.domain.package import DEFAULT_ROLE, MAX_FILE_BYTES, check_file_count, check_media_type, check_slug
from artifactstore.domain.paths import check_paths
from artifactstore.domain.zip_stream import read_archive
from artifactstore.errors import DigestMismatchError, FileUnknownError, LimitExceededError, PathTakenError, Problem
from artifactstore.failpoints import failpoint
from artifactstore.registry.open_packages import are_declared, declaration, require_open
from artifactstore.registry.placing import placed
from artifactstore.registry.publishing import Publisher, publish_and_close, way_to_publish
from artifactstore.storage.pack import PackWriter
from artifactstore.storage.port import ObjectInfo, ObjectKey, ObjectKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from artifactstore.catalog.queries import Queries
    from artifactstore.domain.digest import BlobMeasure
    from artifactstore.registry.registry import Registry

    Read = Callable[[int], bytes]
    """At most so many bytes of what is sent; none at its end. Raises if it breaks off."""

MAX_ENTRY_BYTES = 16 * 1024 * 1024
"""The largest file in an archive: one is held in memory at a time."""


class Announced(NamedTuple):
    """What a sender says of one file beside its bytes."""

    path: str
    role: str | None = None
    media_type: str | None = None
    sha256: bytes | None = None


class Received(NamedTuple):
    """A file that has arrived."""

    file: FileEntry
    was_there: bool


class ReceivedArchive(NamedTuple):
    """An archive that has arrived."""

    files: int
    bytes: int


def receive_file(registry: Registry, package_id: str, announced: Announced, read: Read) -> Received:
    """Store one file's bytes for an open package.

    Raises ``DigestMismatchError`` if they are not those declared or announced, ``FileUnknownError`` for a path that is
    not among the declared ones, ``PathTakenError`` for one that has other content; nothing is kept then.
    """
    since = log_end(registry)
    registry, expected = prepare(registry, package_id, announced)
    limit = MAX_FILE_BYTES if expected.declared is None else expected.declared.size_bytes
    with BlobHasher() as hasher, registry.store.stage(hasher) as stage:
        while data := read(BUFFER_BYTES):
            if stage.size_bytes + len(data) > limit:
                raise _too_long(expected, limit)
            stage.write(data)
        blob = hasher.finish()
        file = expected.check(blob)
        _refuse_taken_paths(registry, package_id, [file])
        info = ObjectInfo(ObjectKey(ObjectKind.BLOB, blob.blake3), blob.size_bytes)
        publish_and_close(stage, way_to_publish(registry, stage, info.key), info)
    return record_received(registry, package_id, {info: [ReceivedBlob(blob, 0)]}, [file], since=since)[0]


def receive_archive(registry: Registry, package_id: str, read: Read) -> ReceivedArchive:
    """Store the entries of a ZIP archive in packs of our own; the archive itself is not kept.

    Raises ``ArchiveInvalidError``, and what ``receive_file`` raises; then nothing of it counts as received.
    """
    since = log_end(registry)
    registry = placed_for(registry, package_id)
    declared = declaration(registry, package_id)
    packing, files = _Packing(registry), list[FileEntry]()
    try:
        for path, data, _ in read_archive(read, max_entries=registry.max_files, max_entry_bytes=MAX_ENTRY_BYTES):
            blob = measure(data)
            files.append(Expected(Announced(path), _declared_file(declared, path)).check(blob))
            packing.add(blob, data)
        check_paths([file.path for file in files])
        _refuse_taken_paths(registry, package_id, files)
        packs = packing.finish()
    finally:
        packing.discard()
    record_received(registry, package_id, packs, files, since=since)
    return ReceivedArchive(len(files), sum(file.size_bytes for file in files))


class Expected(NamedTuple):
    """What a file is to be: as declared with the package, or as announced with its bytes."""

    announced: Announced
    declared: FileEntry | None

    def check(self, blob: BlobMeasure) -> FileEntry:
        """The file that these bytes are. Raises ``DigestMismatchError`` if they are others."""
        path, role, media_type, sha256 = self.announced
        if sha256 is not None and sha256 != blob.sha256:
            raise DigestMismatchError(f"{path!r} was announced as {Digest.sha256(sha256)}; other bytes came")
        if self.declared is None:
            role, media_type = role or DEFAULT_ROLE, media_type or media_type_of(path)
            return FileEntry(path, role, media_type, blob.size_bytes, blob.blake3, blob.sha256)
        if self.declared.descriptor != blob.descriptor:
            raise DigestMismatchError(
                f"{path!r} is declared as {Digest.blake3(self.declared.blake3)} of {self.declared.size_bytes} bytes;"
                f" what came is {Digest.blake3(blob.blake3)} of {blob.size_bytes}"
            )
        return self.declared


def prepare(registry: Registry, package_id: str, announced: Announced) -> tuple[Registry, Expected]:
    """Where a file of an open package goes, and what it is to be. Raises ``FileUnknownError``, ``PathInvalidError``."""
    registry = placed_for(registry, package_id)
    declared = declaration(registry, package_id)
    if declared is None:
        check_paths([announced.path])
        check_slug(announced.role or DEFAULT_ROLE, what="the role")
        check_media_type(announced.media_type or media_type_of(announced.path))
    return registry, Expected(announced, _declared_file(declared, announced.path))


def placed_for(registry: Registry, package_id: str) -> Registry:
    """The registry with what is sent for an open package going where it is to lie. ``PackageUnknownError``."""
    with registry.catalog.snapshot() as queries:
        opened = require_open(queries, package_id)
    return placed(registry.putting_to(opened.backend))


def record_received(
    registry: Registry,
    package_id: str,
    objects: Mapping[ObjectInfo, Sequence[ReceivedBlob]],
    files: list[FileEntry],
    *,
    since: int,
) -> list[Received]:
    """Note what has been stored since the log ended there; the files by name only where they were not declared.

    Raises ``PathTakenError``, ``LimitExceededError``, and ``ConcurrentUpdateError`` if any of it was removed meanwhile.
    """
    failpoint("receive.before-record")
    with registry.transaction() as tx:
        require_open(tx, package_id)
        is_declared = are_declared(tx, package_id)
        for info, blobs in objects.items():
            reference = ObjectRef(registry.default_backend, info.key.kind, info.key.digest, info.size_bytes)
            pushes.add_object(tx.connection, package_id, reference, blobs)
            tx.rely_on_puts([reference], since=since)
        there = set() if is_declared else _files_there(tx, package_id, files)
        if not is_declared:
            new = [file for file in files if file.path not in there]
            if new:
                check_file_count(len(new) + pushes.count_received_files(tx.connection, package_id), registry.max_files)
            pushes.add_files(tx.connection, package_id, new)
    return [Received(file, file.path in there) for file in files]


def log_end(registry: Registry) -> int:
    """Where the log ends, before anything is put."""
    with registry.catalog.snapshot() as queries:
        return queries.latest_seq()


def _refuse_taken_paths(registry: Registry, package_id: str, files: list[FileEntry]) -> None:
    with registry.catalog.snapshot() as queries:
        if not are_declared(queries, package_id):
            _files_there(queries, package_id, files)


def _files_there(queries: Queries, package_id: str, files: list[FileEntry]) -> set[str]:
    """The paths that have this content already. Raises ``PathTakenError`` for one that has other content."""
    known = {
        file.path: file for file in pushes.received_files(queries.connection, package_id, [file.path for file in files])
    }
    taken = [file.path for file in files if file.path in known and known[file.path] != file]
    if taken:
        problems = tuple(Problem(path, "has other content") for path in taken)
        raise PathTakenError(f"{len(taken)} path(s) of package {package_id} are taken", problems=problems)
    return set(known)


def _declared_file(declared: Mapping[str, FileEntry] | None, path: str) -> FileEntry | None:
    if declared is not None and path not in declared:
        raise FileUnknownError(f"{path[:200]!r} is not among the declared files of this package", hint="")
    return None if declared is None else declared[path]


def _too_long(expected: Expected, limit: int) -> DigestMismatchError | LimitExceededError:
    path = expected.announced.path
    if expected.declared is None:
        return LimitExceededError(f"{path!r} has more than {limit} bytes", hint="Split the file.")
    return DigestMismatchError(f"{path!r} is declared with {limit} bytes; more came")


class _Packing:
    """Packs being filled; full ones are published beside the reading."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._publisher = Publisher()
        self._pack: PackWriter | None = None
        self._blobs: list[ReceivedBlob] = []
        self._seen: set[bytes] = set()
        self._packs: dict[ObjectInfo, list[ReceivedBlob]] = {}

    def add(self, blob: BlobMeasure, data: bytes) -> None:
        """Put a blob into the pack, once."""
        if blob.blake3 in self._seen:
            return
        self._seen.add(blob.blake3)
        if self._pack is None:
            self._pack = PackWriter(self._registry.store)
        self._blobs.append(ReceivedBlob(blob, self._pack.add(blob, data)))
        if self._pack.is_full:
            self._close()

    def finish(self) -> dict[ObjectInfo, list[ReceivedBlob]]:
        """Every pack with its blobs, when all are durable."""
        self._close()
        self._publisher.finish()
        return self._packs

    def discard(self) -> None:
        """Drop a pack that was not published, and leave nothing running."""
        if self._pack is not None:
            self._pack.discard()
        self._publisher.abandon()

    def _close(self) -> None:
        if self._pack is None:
            return
        info, stage = self._pack.finish(), self._pack.stage
        publish = partial(publish_and_close, stage, way_to_publish(self._registry, stage, info.key), info)
        self._publisher.submit(publish, lambda _: failpoint("receive.after-object"))
        self._packs[info] = self._blobs
        self._pack, self._blobs = None, []
