"""A store on disk goes into a bucket and comes back: the same log, the same rows, the same objects."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from artifactstore.errors import StorageUnavailableError, UsageError
from artifactstore.registry.backing_up import backup
from artifactstore.registry.restoring import restore
from artifactstore.registry.snapshots import list_snapshots
from artifactstore.storage.port import ObjectKind
from tests.backups import a_life, another, directory, is_sound, keys_in, log_of, rows_of
from tests.s3_servers import (  # noqa: F401 - fixtures
    BUCKET,
    S3Server,
    aws_environment,
    failing_network,
    moto,
    open_on,
    rclone,
    server,
    take_as_probed,
)
from tests.support import CliResult, fetch, start_cli

if TYPE_CHECKING:
    from pathlib import Path

    from artifactstore.registry.registry import Registry

# ruff: noqa: F811 - fixtures that are imported are named as arguments


def test_a_backup_in_a_bucket_and_back(registry: Registry, server: S3Server, tmp_path: Path) -> None:
    stored = a_life(registry)
    bucket = server.new_store()

    backup(registry, bucket)
    again = backup(registry, bucket)

    assert (0, 7) == (again.transfer.objects, again.transfer.already_there)
    with another(tmp_path / "new") as restored:
        assert restore(restored, bucket).is_whole
        assert (rows_of(registry), log_of(registry)) == (rows_of(restored), log_of(restored))
        assert keys_in(registry.store) == keys_in(bucket) == keys_in(restored.store)
        is_sound(restored)
        for package_id, files in stored.items():
            assert files == fetch(restored, package_id, tmp_path / package_id)


def test_a_store_moves_into_a_bucket_and_back_by_backups(registry: Registry, server: S3Server, tmp_path: Path) -> None:
    a_life(registry)
    backup(registry, directory(tmp_path / "first"))
    in_bucket = open_on(server, tmp_path / "bucket", prefix=secrets.token_hex(6))
    try:
        restore(in_bucket, directory(tmp_path / "first"))
        is_sound(in_bucket)
        assert (rows_of(registry), log_of(registry)) == (rows_of(in_bucket), log_of(in_bucket))
        backup(in_bucket, directory(tmp_path / "second"))
        with pytest.raises(UsageError, match="itself"):
            backup(in_bucket, in_bucket.store)
    finally:
        in_bucket.close()

    with another(tmp_path / "new") as restored:
        restore(restored, directory(tmp_path / "second"))

        assert (rows_of(registry), log_of(registry)) == (rows_of(restored), log_of(restored))
        assert keys_in(registry.store) == keys_in(restored.store)
        is_sound(restored)


def test_a_backup_asks_for_lists_and_not_for_each_object(registry: Registry, moto: S3Server) -> None:
    a_life(registry)
    with failing_network(moto) as proxy:
        bucket = proxy.new_store()
        take_as_probed(replace(registry, backends={"default": bucket}))
        backup(registry, bucket)
        proxy.reset()

        backup(registry, bucket)

        assert 1 == len(proxy.asked("PUT")), "the document"
        assert 1 == len(proxy.asked("GET", "list-type=2.*blobs"))
        assert [] == proxy.asked("HEAD", "/(blobs|packs|manifests)/")


def test_a_bucket_that_fails_once_is_asked_again(registry: Registry, moto: S3Server, tmp_path: Path) -> None:
    a_life(registry)
    with failing_network(moto) as proxy:
        bucket = proxy.new_store(MAX_ATTEMPTS="1")
        take_as_probed(replace(registry, backends={"default": bucket}))
        backup(registry, bucket)
        with another(tmp_path / "new") as restored:
            proxy.plan("GET", "/blobs/blake3/", answer=(503, "SlowDown"), times=2)
            assert restore(restored, bucket).is_whole
            is_sound(restored)


def test_a_bucket_that_gives_no_answer_ends_it_and_the_next_backup_goes_on(
    registry: Registry, moto: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_life(registry)
    with failing_network(moto) as proxy:
        bucket = proxy.new_store(MAX_ATTEMPTS="1")
        take_as_probed(replace(registry, backends={"default": bucket}))
        proxy.plan("PUT", "/manifests/", answer=(503, "SlowDown"), times=1_000)
        monkeypatch.setattr("artifactstore.registry.transferring._PAUSES_S", (0.0,))
        with pytest.raises(StorageUnavailableError):
            backup(registry, bucket)
        proxy.reset()

        assert [] == list_snapshots(bucket).snapshots
        assert backup(registry, bucket).transfer.already_there > 0


def test_the_commands_take_a_url(home: Path, registry: Registry, moto: S3Server, tmp_path: Path) -> None:
    a_life(registry)
    url = f"s3://{BUCKET}/{secrets.token_hex(6)}"
    settings = moto.settings()

    made = CliResult(start_cli(home, "backup", url, settings=settings))
    listed = CliResult(start_cli(home, "backup", url, "--list", settings=settings))
    restored = CliResult(start_cli(tmp_path / "new", "restore", url, settings=settings))

    assert ["complete", "restored"] == [made.document["status"], restored.document["status"]]
    assert [made.document["snapshot_id"]] == [each["snapshot_id"] for each in listed.document["snapshots"]]
    with another(tmp_path / "new") as there:
        assert rows_of(registry) == rows_of(there)
        assert 3 == len(list(there.store.list(ObjectKind.MANIFEST)))
