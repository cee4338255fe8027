"""Packages whose objects are in a bucket: stored, verified, fetched, healed, as in a directory."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.errors import BlobMissingError, StorageDeniedError, StorageUnavailableError
from artifactstore.registry.ingest import ingest
from artifactstore.registry.verify import verify_all
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import package_draft, some_bytes
from tests.s3_servers import (  # noqa: F401 - fixtures
    BUCKET,
    IN_PARTS,
    S3Server,
    aws_environment,
    failing_network,
    moto,
    open_on,
    rclone,
    server,
)
from tests.support import fetch, replay_is_exact, write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry
    from artifactstore.storage.s3 import S3Store

MEBIBYTE = 1024 * 1024
FILES = {
    "run.json": b"{}",
    "empty": b"",
    "logs/a.txt": b"a" * 5000,
    "logs/b.txt": b"b" * 100_000,
    "medium.bin": some_bytes(2 * MEBIBYTE, seed=1),
    "large.bin": some_bytes(11 * MEBIBYTE, seed=2),
}
"""A pack, an object of one request, and one in parts."""

# ruff: noqa: F811 - fixtures that are imported are named as arguments


def store_of(registry: Registry) -> S3Store:
    return registry.store  # type: ignore[return-value]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / secrets.token_hex(6)


@pytest.fixture
def bucketed(server: S3Server, home: Path) -> Iterator[Registry]:
    with closing(open_on(server, home)) as registry:
        yield registry


def test_a_package_is_the_same_in_a_bucket_as_in_a_directory(
    bucketed: Registry, tmp_path: Path, aws_environment: None
) -> None:
    with closing(open_registry(Settings.from_environment({"ARTIFACTSTORE_HOME": str(tmp_path / "local")}))) as local:
        in_directory = ingest(local, package_draft(FILES))

    in_bucket = ingest(bucketed, package_draft(FILES))

    assert in_directory.manifest_digest == in_bucket.manifest_digest
    assert fetch(bucketed, in_bucket.package_id, tmp_path / "copy") == FILES
    assert [] == verify_all(bucketed).damage
    replay_is_exact(bucketed)


def test_the_same_run_again_stores_nothing(bucketed: Registry) -> None:
    first = ingest(bucketed, package_draft(FILES))

    again = ingest(bucketed, package_draft(FILES))
    another = ingest(bucketed, package_draft(FILES, external_id="run-2"))

    assert (True, first.package_id, 0) == (again.reused_existing, again.package_id, again.stored_bytes)
    assert another.stored_bytes < 5000, "only its manifest is new"


def test_an_ingest_into_objects_that_are_there_already_creates_none(server: S3Server, tmp_path: Path) -> None:
    with closing(open_on(server, tmp_path / "a", prefix="shared-by-two")) as first:
        ingest(first, package_draft(FILES))

    with closing(open_on(server, tmp_path / "b", prefix="shared-by-two")) as second:
        receipt = ingest(second, package_draft(FILES))
        damage = verify_all(second).damage

    assert (0, []) == (receipt.stored_bytes, damage)


def test_damage_in_a_bucket_is_found_and_healed(bucketed: Registry, server: S3Server, tmp_path: Path) -> None:
    receipt = ingest(bucketed, package_draft(FILES))
    store = store_of(bucketed)
    (pack,) = [info.key for info in store.list(ObjectKind.PACK)]
    blobs = sorted(store.list(ObjectKind.BLOB), key=lambda info: info.size_bytes)
    server.replace_bytes(store, pack, bytes(len(server.stored_bytes(store, pack) or b"")))
    server.replace_bytes(store, blobs[0].key, b"torn")
    store.delete(blobs[1].key)

    damaged = verify_all(bucketed).damage
    healed = ingest(bucketed, package_draft(FILES))

    assert set(FILES) - {"empty"} <= {found.path for found in damaged}
    assert (receipt.manifest_digest, []) == (healed.manifest_digest, verify_all(bucketed).damage)
    assert fetch(bucketed, receipt.package_id, tmp_path / "copy") == FILES
    assert 2 == len(server.keys_below(store, "quarantine/"))
    replay_is_exact(bucketed)


def test_a_missing_object_is_not_handed_out(bucketed: Registry, tmp_path: Path) -> None:
    receipt = ingest(bucketed, package_draft(FILES))
    store = store_of(bucketed)
    store.delete(next(store.list(ObjectKind.BLOB)).key)

    with pytest.raises(BlobMissingError):
        fetch(bucketed, receipt.package_id, tmp_path / "copy")

    assert not (tmp_path / "copy").exists()


def test_a_bucket_that_is_gone_is_not_damage(server: S3Server, home: Path) -> None:
    with closing(open_on(server, home)) as registry:
        ingest(registry, package_draft(FILES))

    with closing(open_on(server, home, bucket="another-bucket")) as moved, pytest.raises(StorageDeniedError):
        verify_all(moved)
    with closing(open_on(server, home, prefix="empty")) as moved, pytest.raises(StorageUnavailableError):
        verify_all(moved)
    with closing(open_on(server, home)) as registry:
        assert [] == verify_all(registry).damage


def test_two_thousand_files_are_two_requests_that_write(moto: S3Server, home: Path) -> None:
    contents = {f"d{number // 100}/f{number}": b"%d" % number * 500 for number in range(2000)}
    with failing_network(moto) as proxy, closing(open_on(moto, home, ENDPOINT_URL=proxy.url)) as registry:
        ingest(registry, package_draft(contents))

        assert 2 == len(proxy.writes()), proxy.writes()
        assert [] == verify_all(registry).damage


def test_an_ingest_that_storage_fails_records_nothing_and_can_be_repeated(
    server: S3Server, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    with failing_network(server) as proxy, closing(open_on(server, home, ENDPOINT_URL=proxy.url)) as registry:
        proxy.plan("PUT", "manifests/", answer=(503, "SlowDown"), times=4)
        with pytest.raises(StorageUnavailableError):
            ingest(registry, package_draft(FILES))

        receipt = ingest(registry, package_draft(FILES))

        assert (False, []) == (receipt.reused_existing, verify_all(registry).damage)
        replay_is_exact(registry)


def test_the_command_line_works_on_a_bucket(server: S3Server, home: Path, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "run", FILES)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ARTIFACTSTORE_")},
        "ARTIFACTSTORE_HOME": str(home),
        "ARTIFACTSTORE_STORAGE_URL": f"s3://{BUCKET}/{home.name}",
        "ARTIFACTSTORE_S3_ENDPOINT_URL": server.url,
        "ARTIFACTSTORE_S3_REGION": "us-east-1",
    }

    def run(*arguments: str) -> bytes:
        command = [sys.executable, "-m", "artifactstore", *arguments]
        return subprocess.run(command, env=environment, stdout=subprocess.PIPE, timeout=120, check=True).stdout

    package_id = json.loads(run("push", str(folder), "--producer", "tester"))["package_id"]
    verified = json.loads(run("verify", package_id))
    fetched = run("get", package_id, "large.bin", "-o", "-")

    assert ("verified", True) == (verified["status"], fetched == FILES["large.bin"])
