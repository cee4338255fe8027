"""The measurements of a bucket in order, and what they may and must not find."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from artifactstore.storage.probing.probe import Capability, Finding, Measurement, Probing
from artifactstore.storage.s3.errors import storage_errors
from artifactstore.storage.s3.probing import access, conditions, objects, uploads
from artifactstore.storage.s3.probing.ground import Ground

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from artifactstore.storage.port import ObjectStore
    from artifactstore.storage.s3.bucket import Bucket

C = Capability


class S3Probing(Probing):
    """Below ``probe/<random>/``: raw requests for what only S3 has, the port for the rest."""

    why_not = "an earlier measurement did not get that far"

    def __init__(self, bucket: Bucket, public_client: Any, open_below: Callable[[Bucket], ObjectStore]) -> None:
        self._bucket = bucket
        self._named = f"s3://{bucket.name}/{bucket.prefix}"
        self._public_client = public_client
        self._ground = Ground.below(bucket)
        super().__init__(open_below(self._ground.bucket))

    def enter(self) -> None:
        """List, put and delete: a bucket that is not there, and credentials that are wrong, answer so."""
        self.look()
        with storage_errors(f"{self._named} cannot be written to"):
            self._ground.put("entered", b"a probe")
            self._ground.delete("entered")

    def look(self) -> None:
        """List one name."""
        with storage_errors(f"{self._named} cannot be used"):
            self._bucket.client.list_objects_v2(Bucket=self._bucket.name, Prefix=self._bucket.prefix, MaxKeys=1)

    def measurements(self) -> Sequence[Measurement]:
        """Each with what it speaks of."""
        presigned = partial(access.presigned, public_client=self._public_client)
        steps: tuple[tuple[Callable[..., Iterable[Finding]], tuple[Capability, ...]], ...] = (
            (objects.round_trip, (C.ROUND_TRIP, C.READ_AFTER_WRITE)),
            (objects.torn_writes, (C.TORN_WRITE, C.TORN_OVERWRITE)),
            (objects.overwrite, (C.OVERWRITE,)),
            (objects.ranges, (C.RANGES,)),
            (objects.listing, (C.LISTING_ORDER, C.LISTING_COMPLETE, C.LISTING_FRESH)),
            (objects.delete, (C.DELETE,)),
            (conditions.conditional_create, (C.CONDITIONAL_CREATE,)),
            (conditions.conditional_complete, (C.CONDITIONAL_COMPLETE,)),
            (uploads.multipart, (C.MULTIPART, C.MULTIPART_PART_SIZE)),
            (uploads.unfinished, (C.MULTIPART_UNFINISHED,)),
            (uploads.checksums, (C.CHECKSUM_SHA256, C.CHECKSUM_CRC32, C.CONTENT_MD5)),
            (uploads.checksum_kept, (C.CHECKSUM_KEPT,)),
            (uploads.checksum_trailer, (C.CHECKSUM_TRAILER,)),
            (presigned, (C.PRESIGNED, C.PRESIGNED_BINDING, C.PRESIGNED_EXPIRY)),
            (access.versioning, (C.VERSIONING, C.DELETE_LEAVES)),
            (access.object_lock, (C.OBJECT_LOCK,)),
            (access.clock_skew, (C.CLOCK_SKEW,)),
        )  # fmt: skip
        return [Measurement(capabilities, partial(self._measured, step)) for step, capabilities in steps]

    def clear(self) -> int:
        """Everything below the prefix, versions and unfinished uploads included."""
        return self._ground.clear()

    def _measured(self, step: Callable[[Ground], Iterable[Finding]]) -> list[Finding]:
        with storage_errors("a request of the probe failed"):
            return list(step(self._ground))
