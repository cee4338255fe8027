"""The upkeep of a store whose objects are in a bucket: what differs is named as in a directory."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from blake3 import blake3

from artifactstore.registry.healing import heal_package
from artifactstore.registry.ingest import ingest
from artifactstore.registry.rebuilding import rebuild
from artifactstore.registry.reconciling import Kind, reconcile
from artifactstore.registry.sealing import seal_log
from artifactstore.registry.verify import verify_all
from artifactstore.storage.port import ObjectKey, ObjectKind
from artifactstore.testing.builders import package_draft
from tests.integration.test_s3_packages import (  # noqa: F401 - fixtures
    FILES,
    bucketed,
    home,
    store_of,
)
from tests.s3_servers import BUCKET, aws_environment, moto, open_on, rclone, server  # noqa: F401 - fixtures
from tests.support import directory_draft, fetch, replay_is_exact, write_tree

if TYPE_CHECKING:
    from pathlib import Path

    from artifactstore.registry.registry import Registry
    from tests.s3_servers import S3Server

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


@pytest.mark.parametrize("kind", [ObjectKind.PACK, ObjectKind.BLOB, ObjectKind.MANIFEST])
@pytest.mark.parametrize("body", [b"bad", None])
def test_an_object_of_a_bucket_is_healed_and_what_was_bad_is_kept(
    bucketed: Registry, tmp_path: Path, kind: ObjectKind, body: bytes | None
) -> None:
    folder = write_tree(tmp_path / "run", FILES)
    with directory_draft(folder) as draft:
        package_id = ingest(bucketed, draft).package_id
    bucket = store_of(bucketed)._bucket
    info, *_ = bucketed.store.list(kind)
    bucketed.store.delete(info.key)
    if body is not None:
        bucket.client.put_object(**bucket.at(info.key.path), Body=body)

    report = heal_package(bucketed, package_id, folder=folder)

    assert (1, [], []) == (report.objects, report.not_healed, report.refused)
    assert fetch(bucketed, package_id, tmp_path / "back") == FILES
    assert [] == verify_all(bucketed).damage
    assert (body is not None) == (reconcile(bucketed, limit=1).totals[Kind.QUARANTINED].count == 1)
    replay_is_exact(bucketed)


def test_a_store_is_rebuilt_from_its_bucket(server: S3Server, home: Path, tmp_path: Path) -> None:
    with closing(open_on(server, home)) as registry:
        sealed = ingest(registry, package_draft(FILES, external_id="sealed")).package_id
        seal_log(registry)
        ingest(registry, package_draft({**FILES, "more": b"more"}, external_id="later"))

    with closing(open_on(server, tmp_path / "another-home", prefix=home.name)) as rebuilt:
        report = rebuild(rebuilt)

        assert (1, 1, [], True) == (report.packages, len(report.recovered), report.lost, report.is_whole)
        assert fetch(rebuilt, sealed, tmp_path / "back") == FILES
        assert fetch(rebuilt, report.recovered[0], tmp_path / "later") == {**FILES, "more": b"more"}
        assert [] == verify_all(rebuilt).damage
        replay_is_exact(rebuilt)
