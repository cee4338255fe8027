"""The upkeep of a store whose objects are in a bucket: what differs is named as in a directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blake3 import blake3

from artifactstore.registry.ingest import ingest
from artifactstore.registry.reconciling import Kind, reconcile
from artifactstore.storage.port import ObjectKey, ObjectKind
from artifactstore.testing.builders import package_draft
from tests.integration.test_s3_packages import (  # noqa: F401 - fixtures
    FILES,
    bucketed,
    home,
    server,
    store_of,
)
from tests.s3_servers import BUCKET, aws_environment, moto, rclone  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from artifactstore.registry.registry import Registry

# ruff: noqa: F811 - fixtures that are imported are named as arguments


def test_a_bucket_that_is_as_recorded_is_clean(bucketed: Registry) -> None:
    ingest(bucketed, package_draft(FILES))

    report = reconcile(bucketed, limit=100)

    assert report.is_clean
    assert [] == report.differences
    assert 4 == report.agreeing.count


def test_what_differs_in_a_bucket_is_named(bucketed: Registry) -> None:
    ingest(bucketed, package_draft(FILES))
    bucket = store_of(bucketed)._bucket
    pack, *_ = bucketed.store.list(ObjectKind.PACK)
    large, *_ = bucketed.store.list(ObjectKind.BLOB)
    orphan = ObjectKey(ObjectKind.BLOB, blake3(b"orphan").digest())
    bucketed.store.delete(pack.key)
    for path, body in ((large.key.path, b"short"), (orphan.path, b"orphan"), ("somebody's", b"own")):
        bucket.client.put_object(**bucket.at(path), Body=body)

    report = reconcile(bucketed, limit=100)

    found = {(each.kind, each.path, each.is_young) for each in report.differences}
    assert {
        (Kind.MISSING, pack.key.path, False),
        (Kind.WRONG_SIZE, large.key.path, False),
        (Kind.UNREFERENCED, orphan.path, True),
        (Kind.FOREIGN, "somebody's", False),
    } == found


def test_an_upload_in_parts_that_nobody_ended_is_a_leftover(bucketed: Registry) -> None:
    ingest(bucketed, package_draft(FILES))
    bucket = store_of(bucketed)._bucket
    begun = bucket.client.create_multipart_upload(**bucket.at("blobs/x"))

    report = reconcile(bucketed, limit=100)
    bucket.client.abort_multipart_upload(**bucket.at("blobs/x"), UploadId=begun["UploadId"])

    # how old it is the server says, and moto says the same of all
    assert [(Kind.LEFTOVER, "blobs/x")] == [(each.kind, each.path) for each in report.differences]
