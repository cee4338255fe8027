"""What LocalStack does and the servers of the default suite do not: checksums, Object Lock, URLs that end."""

from __future__ import annotations

import hashlib
import io
import time
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import urllib3
from botocore.exceptions import ClientError

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.registry.ingest import ingest
from artifactstore.registry.probing import stored_reports
from artifactstore.registry.verify import verify_all
from artifactstore.storage.port import PutOutcome
from artifactstore.storage.probing.probe import Capability, probe
from artifactstore.storage.probing.verdict import Verdict, judge
from artifactstore.storage.s3 import S3Store
from artifactstore.testing.builders import key_of, package_draft, put_bytes, some_bytes
from artifactstore.testing.object_store import _at_once
from tests.integration.test_storage_probe import AS_S3_DOES, NO_LOCK
from tests.s3_servers import IN_PARTS, S3Server
from tests.support import fetch

if TYPE_CHECKING:
    from pathlib import Path

C = Capability
DATA = b"what a run leaves behind"
LARGE = some_bytes(11 * 1024 * 1024)


@pytest.fixture
def store(localstack: S3Server) -> S3Store:
    return localstack.new_store(**IN_PARTS)


def refusal(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


# what the probe finds


def test_localstack_does_all_that_s3_does(store: S3Store, localstack: S3Server) -> None:
    found = probe(store)

    assert (AS_S3_DOES, 0, []) == (found.table, found.left_behind, localstack.keys_below(store, ""))
    assert (Verdict.LIMITED, (NO_LOCK,)) == (judge(found.findings).verdict, judge(found.findings).limits)


def test_a_bucket_with_object_lock_keeps_what_is_locked_and_is_cleared_afterwards(localstack: S3Server) -> None:
    localstack.client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)

    found = probe(S3Store.from_url("s3://locked", localstack.options()))

    versions = localstack.client.list_object_versions(Bucket="locked")
    assert {
        **AS_S3_DOES, C.OBJECT_LOCK: "kept", C.VERSIONING: "on", C.DELETE_LEAVES: "an older version",
    } == found.table  # fmt: skip
    assert (0, [], []) == (found.left_behind, versions.get("Versions", []), versions.get("DeleteMarkers", []))
    assert "whoever may delete" not in " ".join(judge(found.findings).limits)


# what the adapter relies on


def test_of_eight_writers_one_creates_the_object(store: S3Store) -> None:
    outcomes = _at_once(8, lambda _: store.put(key_of(DATA), io.BytesIO(DATA), len(DATA)))

    assert 1 == outcomes.count(PutOutcome.CREATED)


def test_of_eight_writers_in_parts_several_may_create_it_and_it_is_whole(store: S3Store) -> None:
    """This server looks and completes in two steps, now and then; the bytes under a digest are the same."""
    outcomes = _at_once(8, lambda _: store.put(key_of(LARGE), io.BytesIO(LARGE), len(LARGE)))

    assert PutOutcome.CREATED in outcomes
    assert LARGE == store.read(key_of(LARGE))


def test_a_put_with_a_wrong_checksum_is_refused_and_not_kept(store: S3Store, localstack: S3Server) -> None:
    wrong = b64encode(hashlib.sha256(b"other bytes").digest()).decode()

    with pytest.raises(ClientError) as caught:
        localstack.client.put_object(**store._bucket.at("wrong"), Body=DATA, ChecksumSHA256=wrong)

    assert ("BadDigest", []) == (refusal(caught), localstack.keys_below(store, "wrong"))


def test_the_adapters_checksum_is_kept_and_proves_the_upload(store: S3Store, localstack: S3Server) -> None:
    key = put_bytes(store, DATA)

    told = localstack.client.head_object(**store._bucket.at(key.path), ChecksumMode="ENABLED")

    assert (True, True) == (bool(told["ChecksumCRC32"]), store._bucket.checks_sums)


def test_a_presigned_url_gives_its_object_until_it_ends(store: S3Store) -> None:
    key = put_bytes(store, DATA)
    url = store.presigned_url(key, expires_in_s=3)
    assert url is not None

    with urllib3.PoolManager(retries=False) as http:
        at_once = http.request("GET", url)
        time.sleep(5)
        later = http.request("GET", url)

    assert (200, DATA, 403) == (at_once.status, at_once.data, later.status)


def test_a_locked_object_cannot_be_deleted_by_whoever_has_all_rights(localstack: S3Server) -> None:
    client = localstack.client
    client.create_bucket(Bucket="kept", ObjectLockEnabledForBucket=True)
    until = datetime.now(UTC) + timedelta(hours=1)
    lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until}
    put = client.put_object(Bucket="kept", Key="it", Body=DATA, ChecksumAlgorithm="SHA256", **lock)
    version = {"Bucket": "kept", "Key": "it", "VersionId": put["VersionId"]}

    with pytest.raises(ClientError) as caught:
        client.delete_object(**version)

    assert ("AccessDenied", DATA) == (refusal(caught), client.get_object(**version)["Body"].read())


def test_a_package_is_stored_verified_and_fetched(localstack: S3Server, home: Path, tmp_path: Path) -> None:
    options = localstack.settings(**IN_PARTS)
    place = {"ARTIFACTSTORE_HOME": str(home), "ARTIFACTSTORE_STORAGE_URL": "s3://objects/packages"}
    registry = open_registry(Settings.from_environment({**options, **place}), actor="local:tester")
    files = {"a/small.txt": DATA, "large.bin": LARGE}

    receipt = ingest(registry, package_draft(files))

    assert ([], files) == (verify_all(registry).damage, fetch(registry, receipt.package_id, tmp_path / "back"))
    assert ["usable with limits"] == [report.judgement.verdict for report in stored_reports(registry)]
    registry.close()


def test_the_servers_own_sha256_is_that_of_the_bytes(localstack: S3Server) -> None:
    store = localstack.new_store(CHECKSUMS="sha256")
    key = put_bytes(store, DATA)

    told = localstack.client.head_object(**store._bucket.at(key.path), ChecksumMode="ENABLED")

    assert (hashlib.sha256(DATA).digest(), True) == (b64decode(told["ChecksumSHA256"]), store._bucket.checks_sums)
