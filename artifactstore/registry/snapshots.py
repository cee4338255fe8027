"""Snapshots in a target of backups: which there are, and reading and writing their documents and parts.

A target is opened like any backend and keeps objects under the same keys. It must not be a backend of the store.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from blake3 import blake3

from artifactstore.catalog import event_log
from artifactstore.domain.backup import Snapshot, digest_of
from artifactstore.domain.segment import Segment
from artifactstore.errors import (
    BackupDamagedError,
    BackupUnknownError,
    EventLogCorruptError,
    ObjectNotFoundError,
    UsageError,
)
from artifactstore.registry.publishing import publish_and_close
from artifactstore.registry.read_back import is_right
from artifactstore.storage.port import ObjectInfo, ObjectKey, ObjectKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.registry.registry import Registry
    from artifactstore.storage.port import ObjectStore

_SHORTEST_ID = 8
_MOST_BYTES = 64 * 1024 * 1024
"""Of a document, which is read into memory: it has 34 bytes for each part, and 90 or so for each object left out."""


class FoundSnapshot(NamedTuple):
    """A snapshot by its id: the digest of its document."""

    snapshot_id: str
    snapshot: Snapshot


class SnapshotList(NamedTuple):
    """What a target has, oldest first, and the documents that cannot be read, with why."""

    snapshots: list[FoundSnapshot]
    damaged: dict[str, str]


def list_snapshots(target: ObjectStore) -> SnapshotList:
    """Every snapshot that a target has."""
    found, damaged = list[FoundSnapshot](), dict[str, str]()
    for info in target.list(ObjectKind.BACKUP):
        if info.size_bytes > _MOST_BYTES:
            damaged[info.key.path] = "it is larger than any document of a snapshot"
            continue
        try:
            found.append(FoundSnapshot(info.key.digest.hex(), Snapshot.decode(read_part(target, info.key))))
        except BackupDamagedError as error:
            damaged[info.key.path] = error.message
    return SnapshotList(sorted(found, key=lambda each: (each.snapshot.made_at, each.snapshot_id)), damaged)


def find_snapshot(target: ObjectStore, snapshot_id: str | None) -> FoundSnapshot:
    """The snapshot whose id begins so; the newest, if none is named.

    Raises ``BackupUnknownError`` if there is none, ``UsageError`` if several begin so, ``BackupDamagedError``.
    """
    found, damaged = list_snapshots(target)
    if snapshot_id is None:
        if damaged:
            path, why = next(iter(damaged.items()))
            raise BackupDamagedError(
                f"{path}: {why}, so nobody can say which snapshot is the newest", hint="Name one with --snapshot."
            )
        if not found:
            raise BackupUnknownError(
                f"there is no backup in {target.identity}", hint="A backup that was broken off is none."
            )
        return found[-1]
    if len(snapshot_id) < _SHORTEST_ID:
        raise UsageError(f"{snapshot_id!r} is too short: a snapshot is named by 8 hex digits at least")
    named = [each for each in found if each.snapshot_id.startswith(snapshot_id)]
    if not named:
        raise BackupUnknownError(f"{target.identity} has no snapshot {snapshot_id[:80]!r}")
    if len(named) > 1:
        raise UsageError(f"several snapshots begin with {snapshot_id!r}", hint="Give more of its id.")
    return named[0]


def read_part(target: ObjectStore, key: ObjectKey) -> bytes:
    """The bytes of a document or a part. Raises ``BackupDamagedError`` if they are not what the name says."""
    for _ in range(2):  # bytes can be altered on their way
        try:
            data = target.read(key)
        except ObjectNotFoundError as error:
            raise BackupDamagedError(f"{key} is missing") from error
        if digest_of(data) == key.digest:
            return data
    raise BackupDamagedError(f"{key} was altered")


def put_part(target: ObjectStore, kind: ObjectKind, encoded: bytes, *, read_back: bool = False) -> bytes:
    """Store a document or a part; its digest. One that is there already is read back only if that is asked for."""
    key = ObjectKey(kind, digest_of(encoded))
    over = False
    try:
        over = target.size(key) != len(encoded)
        if not over and (not read_back or is_right(target, key, key.digest)):
            return key.digest
        over = True
    except ObjectNotFoundError:
        pass
    with target.stage(blake3()) as stage:
        stage.write(encoded)
        publish_and_close(stage, stage.replace if over else stage.commit, ObjectInfo(key, len(encoded)))
    return key.digest


def events_of(target: ObjectStore, snapshot: Snapshot) -> Iterator[tuple[bytes, bytes]]:
    """The header and the payload of every event of a snapshot's log, in order. Raises ``BackupDamagedError``."""
    seq, chain = 0, event_log.first_chain(snapshot.log_id)
    for digest in snapshot.segments:
        key = ObjectKey(ObjectKind.SEGMENT, digest)
        try:
            events = Segment.decode(read_part(target, key)).events
            for record in event_log.following(events, seq=seq, chain=chain):
                yield record.header, record.payload
                seq, chain = record.seq, record.chain
        except EventLogCorruptError as error:
            raise BackupDamagedError(f"{key}: {error.message}") from error
    if (seq, chain) != (snapshot.last_seq, snapshot.chain):
        raise BackupDamagedError("the log in the backup does not come to the event that the snapshot says")


def require_apart(registry: Registry, target: ObjectStore) -> None:
    """Raises ``UsageError`` if a target is a backend of the store, or lies within one, or one within it."""
    there = _place(target.identity)
    for name in registry.backends:
        here = _place(registry.backend(name).identity)
        if all(one == other for one, other in zip(there, here, strict=False)):  # as far as both go
            raise UsageError(
                f"{target.identity} is the place of backend {name!r} itself, or lies within it, or around it",
                hint="What is lost with the store would be lost with its backup: choose another place.",
            )


def _place(identity: str) -> list[str]:
    """Where a backend is, step by step; a directory by its real path."""
    if identity.startswith("file://"):
        identity = Path(unquote(identity.removeprefix("file://"))).resolve().as_uri()
    path, _, endpoint = identity.partition(" at ")
    return [endpoint, *(step for step in path.split("/") if step)]
