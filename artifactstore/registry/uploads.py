"""Resumable uploads: one large file in as many requests as it takes.

Every piece that has arrived is an object of its own in the shared storage, and where the upload stands is in SQL, so
that it survives a dropped connection, a restart, and moving to another server. A piece begins with the upload's id:
no two uploads share one, and it can be deleted without asking. A complete upload is read once more and hashed into its
blob.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blake3 import blake3

from artifactstore.catalog import pushes
from artifactstore.catalog.pushes import PartRecord, ReceivedBlob, UploadRecord
from artifactstore.domain.hashing import BUFFER_BYTES, BlobHasher
from artifactstore.domain.media_type import media_type_of
from artifactstore.domain.package import DEFAULT_ROLE, MAX_FILE_BYTES
from artifactstore.errors import (
    DigestMismatchError,
    InvalidRequestError,
    LimitExceededError,
    UploadOffsetError,
    UploadUnknownError,
)
from artifactstore.failpoints import failpoint
from artifactstore.registry.open_packages import delete_parts, require_open
from artifactstore.registry.publishing import publish_and_close, way_to_publish
from artifactstore.registry.receiving import Announced, expected_file, record_received
from artifactstore.storage.port import ObjectInfo, ObjectKey, ObjectKind

if TYPE_CHECKING:
    from artifactstore.catalog.queries import Queries
    from artifactstore.domain.hashing import ObjectHasher
    from artifactstore.registry.receiving import Expected, Read, Received
    from artifactstore.registry.registry import Registry
    from artifactstore.storage.port import Stage

PART_BYTES = 64 * 1024 * 1024
"""What has arrived is kept at the latest when it is this much."""


def begin_upload(
    registry: Registry, package_id: str, announced: Announced, size_bytes: int
) -> tuple[UploadRecord, bool]:
    """The upload of a path, and whether it is new. Raises what ``receive_file`` raises for the path or the size."""
    expected = expected_file(registry, package_id, announced)
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
    if upload.received_bytes != offset:
        raise _stands_elsewhere(upload, offset)
    more = True
    while more:
        more = _append_part(registry, upload, read)
        upload = find_upload(registry, package_id, upload_id)
    return upload


def complete_upload(registry: Registry, package_id: str, upload_id: str) -> Received:
    """Hash a whole upload into its blob. Raises ``DigestMismatchError``, and the upload is given up then."""
    upload = find_upload(registry, package_id, upload_id)
    if upload.received_bytes != upload.size_bytes:
        raise UploadOffsetError(
            f"the upload is {upload.received_bytes} bytes of {upload.size_bytes} long and cannot be complete",
            offset=upload.received_bytes,
        )
    expected = expected_file(registry, package_id, Announced(upload.path, upload.role, upload.media_type))
    with registry.catalog.snapshot() as queries:
        parts = pushes.parts(queries.connection, upload_id)
    with BlobHasher() as hasher, registry.store.stage(hasher) as stage:
        for part in parts:
            _copy(registry, part, upload_id, stage)
        blob = hasher.finish()
        try:
            file = expected.check(blob)
        except DigestMismatchError:
            cancel_upload(registry, package_id, upload_id)
            raise
        info = ObjectInfo(ObjectKey(ObjectKind.BLOB, blob.blake3), blob.size_bytes)
        publish_and_close(stage, way_to_publish(registry, stage, info.key), info)
    (received,) = record_received(registry, package_id, {info: [ReceivedBlob(blob, 0)]}, [file])
    failpoint("upload.before-end")
    cancel_upload(registry, package_id, upload_id)
    return received


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
    hasher = blake3()
    with registry.store.stage(hasher) as stage:
        stage.write(upload.upload_id.encode())
        broken: InvalidRequestError | None = None
        ended = False
        try:
            ended = _fill(stage, upload, read)
        except InvalidRequestError as error:
            broken = error
        if stage.size_bytes > len(upload.upload_id):
            _record_part(registry, upload, stage, hasher)
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


def _record_part(registry: Registry, upload: UploadRecord, stage: Stage, hasher: ObjectHasher) -> None:
    info = ObjectInfo(ObjectKey(ObjectKind.PART, hasher.digest()), stage.size_bytes)
    stage.commit(info.key, info.size_bytes)
    failpoint("upload.before-part-recorded")
    size_bytes = info.size_bytes - len(upload.upload_id)
    part = PartRecord(upload.received_bytes, size_bytes, registry.default_backend, info.key.digest)
    with registry.transaction() as tx:
        here = _require_upload(tx, upload.package_id, upload.upload_id)
        if not pushes.add_part(tx.connection, upload.upload_id, part):
            raise _stands_elsewhere(here, upload.received_bytes)


def _copy(registry: Registry, part: PartRecord, upload_id: str, stage: Stage) -> None:
    key = ObjectKey(ObjectKind.PART, part.blake3)
    with registry.backend(part.backend).open(key, len(upload_id), part.size_bytes) as stream:
        while data := stream.read(BUFFER_BYTES):
            stage.write(data)


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
