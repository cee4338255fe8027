"""Resumable uploads: one large file in as many requests as it takes.

Every piece that has arrived is an object of its own in the shared storage, and where the upload stands is in SQL, so
that it survives a dropped connection, a restart, and moving to another server. A piece begins with the upload's id:
no two uploads share one, and it can be deleted without asking. A complete upload is read once more and hashed into its
blob.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from blake3 import blake3

from artifactstore.catalog import pushes
from artifactstore.catalog.pushes import PartRecord, ReceivedBlob, UploadRecord
from artifactstore.domain.event import ObjectRef
from artifactstore.domain.hashing import BUFFER_BYTES, BlobHasher
from artifactstore.domain.media_type import media_type_of
from artifactstore.domain.package import DEFAULT_ROLE, MAX_FILE_BYTES
from artifactstore.errors import (
    BlobCorruptError,
    ConflictError,
    DigestMismatchError,
    InvalidRequestError,
    LimitExceededError,
    NotFoundError,
    ObjectNotFoundError,
    RangeInvalidError,
    UploadOffsetError,
    UploadUnknownError,
)
from artifactstore.failpoints import failpoint
from artifactstore.registry.open_packages import delete_parts, require_open
from artifactstore.registry.publishing import publish_and_close, way_to_publish
from artifactstore.registry.receiving import Announced, Received, log_end, placed_for, prepare, record_received
from artifactstore.storage.port import ObjectInfo, ObjectKey, ObjectKind

if TYPE_CHECKING:
    from artifactstore.catalog.queries import Queries
    from artifactstore.domain.hashing import ObjectHasher
    from artifactstore.registry.receiving import Expected, Read
    from artifactstore.registry.registry import Registry
    from artifactstore.storage.port import Stage

PART_BYTES = 64 * 1024 * 1024
"""What has arrived is kept at the latest when it is this much."""


def begin_upload(
    registry: Registry, package_id: str, announced: Announced, size_bytes: int
) -> tuple[UploadRecord, bool]:
    """The upload of a path, and whether it is new. Raises what ``receive_file`` raises for the path or the size."""
    registry, expected = prepare(registry, package_id, announced)
    _check_size(expected, size_bytes)
    path, role, media_type, _ = announced
    record = UploadRecord(
        upload_id=registry.new_id(),
        package_id=package_id,
        path=path,
        role=role or DEFAULT_ROLE,
        media_type=media_type or media_type_of(path),
        size_bytes=size_bytes,
        received_bytes=0,
    )
    with registry.transaction() as tx:
        require_open(tx, package_id)
        if (known := pushes.upload_of_path(tx.connection, package_id, path)) is not None:
            _check_same_size(known, size_bytes)
            return known, False
        pushes.begin_upload(tx.connection, record)
    return record, True


def find_upload(registry: Registry, package_id: str, upload_id: str) -> UploadRecord:
    """Where it stands. Raises ``UploadUnknownError``; a complete upload is no more."""
    with registry.catalog.snapshot() as queries:
        return _require_upload(queries, package_id, upload_id)


def append(registry: Registry, package_id: str, upload_id: str, offset: int, read: Read) -> UploadRecord:
    """Add what ``read`` gives to an upload that stands at ``offset``; what had arrived is kept if it breaks off.

    Raises ``UploadOffsetError`` if it stands elsewhere, ``LimitExceededError`` for more bytes than were announced.
    """
    upload = find_upload(registry, package_id, upload_id)
    registry = placed_for(registry, package_id)
    if upload.received_bytes != offset:
        raise _stands_elsewhere(upload, offset)
    more = True
    while more:
        more = _append_part(registry, upload, read)
        upload = find_upload(registry, package_id, upload_id)
    return upload


def complete_upload(registry: Registry, package_id: str, upload_id: str) -> Received:
    """Hash a whole upload into its blob; two who do so at once are answered the same.

    Raises ``DigestMismatchError``, and the upload is given up then; ``BlobCorruptError`` if a part is not as sent.
    """
    upload = find_upload(registry, package_id, upload_id)
    if upload.received_bytes != upload.size_bytes:
        raise UploadOffsetError(
            f"the upload is {upload.received_bytes} bytes of {upload.size_bytes} long and cannot be complete",
            offset=upload.received_bytes,
        )
    announced = Announced(upload.path, upload.role, upload.media_type)
    registry, expected = prepare(registry, package_id, announced)
    with registry.catalog.snapshot() as queries:
        since = queries.latest_seq()
        parts = pushes.parts(queries.connection, upload_id)
    try:
        received = _join(registry, upload, parts, expected, since)
    except (BlobCorruptError, UploadUnknownError):
        if (arrived := _arrived_meanwhile(registry, upload, expected)) is None:
            raise
        return arrived
    except DigestMismatchError:
        with suppress(UploadUnknownError):  # another who asked the same has done so
            cancel_upload(registry, package_id, upload_id)
        raise
    failpoint("upload.before-end")
    with suppress(UploadUnknownError):  # another who asked the same has done so
        cancel_upload(registry, package_id, upload_id)
    return received


def _join(
    registry: Registry, upload: UploadRecord, parts: list[PartRecord], expected: Expected, since: int
) -> Received:
    with BlobHasher() as hasher, registry.store.stage(hasher) as stage:
        for part in parts:
            _copy(registry, upload, part, stage)
        if stage.size_bytes != upload.size_bytes:
            raise _part_is_lost(upload)
        blob = hasher.finish()
        file = expected.check(blob)
        info = ObjectInfo(ObjectKey(ObjectKind.BLOB, blob.blake3), blob.size_bytes)
        publish_and_close(stage, way_to_publish(registry, stage, info.key), info)
    blobs = {info: [ReceivedBlob(blob, 0)]}
    (received,) = record_received(registry, upload.package_id, blobs, [file], since=since)
    return received


def _arrived_meanwhile(registry: Registry, upload: UploadRecord, expected: Expected) -> Received | None:
    """The file, if the upload is no more because another who asked the same has completed it."""
    with registry.catalog.snapshot() as queries:
        if pushes.upload(queries.connection, upload.upload_id) is not None:
            return None
        if (declared := expected.declared) is None:
            files = pushes.received_files(queries.connection, upload.package_id, [upload.path])
            return Received(files[0], was_there=True) if files else None
        objects = pushes.received_objects(queries.connection, upload.package_id)
        arrived = any(blob.measure.blake3 == declared.blake3 for _, blobs in objects for blob in blobs)
        return Received(declared, was_there=True) if arrived else None


def cancel_upload(registry: Registry, package_id: str, upload_id: str) -> None:
    """End an upload and delete its parts. Raises ``UploadUnknownError``."""
    with registry.transaction() as tx:
        _require_upload(tx, package_id, upload_id)
        parts = pushes.parts(tx.connection, upload_id)
        pushes.end_upload(tx.connection, upload_id)
    delete_parts(registry, parts)


def _append_part(registry: Registry, upload: UploadRecord, read: Read) -> bool:
    """Store and record one part; whether there may be more. If reading breaks off, what came is recorded first.

    What storage refused is not: the part would say that it has bytes that were never written.
    """
    hasher, since = blake3(), log_end(registry)
    with registry.store.stage(hasher) as stage:
        stage.write(upload.upload_id.encode())
        broken: InvalidRequestError | None = None
        ended = False
        try:
            ended = _fill(stage, upload, read)
        except InvalidRequestError as error:
            broken = error
        if stage.size_bytes > len(upload.upload_id):
            _record_part(registry, upload, stage, hasher, since)
    if broken is not None:
        raise broken
    return not ended


def _fill(stage: Stage, upload: UploadRecord, read: Read) -> bool:
    """Write at most one part's bytes; whether the sender has ended."""
    prefix_bytes = len(upload.upload_id)
    while stage.size_bytes - prefix_bytes < PART_BYTES:
        data = read(BUFFER_BYTES)
        if not data:
            return True
        if upload.received_bytes + stage.size_bytes - prefix_bytes + len(data) > upload.size_bytes:
            raise LimitExceededError(f"more came for {upload.path!r} than the {upload.size_bytes} bytes announced")
        stage.write(data)
    return False


def _record_part(registry: Registry, upload: UploadRecord, stage: Stage, hasher: ObjectHasher, since: int) -> None:
    info = ObjectInfo(ObjectKey(ObjectKind.PART, hasher.digest()), stage.size_bytes)
    stage.commit(info.key, info.size_bytes)
    failpoint("upload.before-part-recorded")
    size_bytes = info.size_bytes - len(upload.upload_id)
    part = PartRecord(upload.received_bytes, size_bytes, registry.default_backend, info.key.digest)
    try:
        with registry.transaction() as tx:
            here = _require_upload(tx, upload.package_id, upload.upload_id)
            reference = ObjectRef(registry.default_backend, ObjectKind.PART, info.key.digest, info.size_bytes)
            tx.rely_on_puts([reference], since=since)
            if not pushes.add_part(tx.connection, upload.upload_id, part):
                raise _stands_elsewhere(here, upload.received_bytes)
    except (ConflictError, NotFoundError):
        _drop_unrecorded(registry, upload, part)
        raise


def _drop_unrecorded(registry: Registry, upload: UploadRecord, part: PartRecord) -> None:
    """Delete a part that came second, unless the first has the same bytes and so is the same object."""
    with registry.catalog.snapshot() as queries:
        recorded = {each.blake3 for each in pushes.parts(queries.connection, upload.upload_id)}
    if part.blake3 not in recorded:
        delete_parts(registry, [part])


def _copy(registry: Registry, upload: UploadRecord, part: PartRecord, stage: Stage) -> None:
    """A part's bytes, which must be those that were sent: nobody else knows what they were."""
    hasher = blake3(upload.upload_id.encode())
    key = ObjectKey(ObjectKind.PART, part.blake3)
    try:
        with registry.backend(part.backend).open(key, len(upload.upload_id), part.size_bytes) as stream:
            while data := stream.read(BUFFER_BYTES):
                hasher.update(data)
                stage.write(data)
    except (ObjectNotFoundError, RangeInvalidError) as error:
        raise _part_is_lost(upload) from error
    if hasher.digest() != part.blake3:
        raise _part_is_lost(upload)


def _part_is_lost(upload: UploadRecord) -> BlobCorruptError:
    return BlobCorruptError(
        f"a part of the upload of {upload.path!r} is not in storage as it was sent",
        hint="Give the upload up and begin it anew.",
    )


def _require_upload(queries: Queries, package_id: str, upload_id: str) -> UploadRecord:
    require_open(queries, package_id)
    found = pushes.upload(queries.connection, upload_id)
    if found is None or found.package_id != package_id:
        raise UploadUnknownError(f"package {package_id} has no upload {upload_id[:80]!r}")
    return found


def _check_size(expected: Expected, size_bytes: int) -> None:
    if expected.declared is not None and expected.declared.size_bytes != size_bytes:
        raise DigestMismatchError(
            f"{expected.announced.path!r} is declared with {expected.declared.size_bytes} bytes, not {size_bytes}"
        )
    if not 0 <= size_bytes <= MAX_FILE_BYTES:
        raise LimitExceededError(f"a file has at most {MAX_FILE_BYTES} bytes", hint="Split the file.")


def _check_same_size(known: UploadRecord, size_bytes: int) -> None:
    if known.size_bytes != size_bytes:
        raise UploadOffsetError(
            f"{known.path!r} is being uploaded with {known.size_bytes} bytes, not {size_bytes}",
            offset=known.received_bytes,
        )


def _stands_elsewhere(upload: UploadRecord, offset: int) -> UploadOffsetError:
    return UploadOffsetError(
        f"the upload stands at {upload.received_bytes}, not at {offset}", offset=upload.received_bytes
    )
