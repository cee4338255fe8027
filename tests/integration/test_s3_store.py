"""What the S3 store does beyond the contract: conditions, retries, parts, errors, and what a failing network leaves."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import traceback
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
import urllib3
from blake3 import blake3

from artifactstore.errors import (
    ArtifactStoreError,
    ConfigurationError,
    ObjectNotFoundError,
    RangeInvalidError,
    StorageDeniedError,
    StorageFullError,
    StorageUnavailableError,
)
from artifactstore.storage.port import ObjectKind, PutOutcome
from artifactstore.storage.s3 import S3Store
from artifactstore.testing.builders import key_of, put_bytes, some_bytes
from tests.s3_servers import (  # noqa: F401 - fixtures
    BUCKET,
    IN_PARTS,
    SECRET_KEY,
    S3Proxy,
    S3Server,
    aws_environment,
    failing_network,
    moto,
    rclone,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATA = b"what a run leaves behind"
KEY = key_of(DATA)
MEBIBYTE = 1024 * 1024
LARGE = some_bytes(11 * MEBIBYTE)
"""Three parts."""
A_MOMENT = timedelta(seconds=-2)
"""Servers tell the time in whole seconds, and when an upload began more exactly."""

# ruff: noqa: F811 - fixtures that are imported are named as arguments


@pytest.fixture(scope="module")
def before_moto(moto: S3Server) -> Iterator[S3Proxy]:
    with failing_network(moto) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def before_rclone(rclone: S3Server) -> Iterator[S3Proxy]:
    with failing_network(rclone) as proxy:
        yield proxy


@pytest.fixture
def proxy(before_moto: S3Proxy) -> S3Proxy:
    """Before a server that honours conditional writes."""
    before_moto.reset()
    return before_moto


@pytest.fixture
def weak_proxy(before_rclone: S3Proxy) -> S3Proxy:
    """Before a server that ignores them."""
    before_rclone.reset()
    return before_rclone


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between tries end at once."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)


def put(store: S3Store, data: bytes = DATA) -> PutOutcome:
    return store.put(key_of(data), io.BytesIO(data), len(data))


def told(error: BaseException | None) -> str:
    return "" if error is None else "".join(traceback.format_exception(error)) + repr(vars(error))


# one object, one upload


def test_a_put_is_a_look_and_one_conditional_request(proxy: S3Proxy) -> None:
    store = proxy.new_store()

    put(store)

    assert ["HEAD", "PUT"] == [request.method for request in proxy.requests]
    assert "*" == proxy.requests[1].headers["If-None-Match"]


def test_what_is_present_is_not_sent_again(weak_proxy: S3Proxy) -> None:
    store = weak_proxy.new_store()
    put(store)

    outcome = put(store)

    assert (PutOutcome.PRESENT, 1) == (outcome, len(weak_proxy.asked("PUT")))


@pytest.mark.parametrize("data", [DATA, LARGE], ids=["whole", "in-parts"])
def test_whoever_is_overtaken_between_look_and_put_finds_the_object_present(proxy: S3Proxy, data: bytes) -> None:
    store = proxy.new_store(**IN_PARTS)
    proxy.plan("HEAD", passed_on=lambda: proxy.server.replace_bytes(store, key_of(data), data))

    outcome = put(store, data)

    assert PutOutcome.PRESENT is outcome
    assert [] == proxy.server.unfinished_uploads(store)


def test_whoever_is_overtaken_on_a_server_without_conditions_writes_the_same_bytes(weak_proxy: S3Proxy) -> None:
    store = weak_proxy.new_store()
    weak_proxy.plan("HEAD", passed_on=lambda: weak_proxy.server.replace_bytes(store, KEY, DATA))

    outcome = put(store)

    assert (PutOutcome.CREATED, DATA) == (outcome, weak_proxy.server.stored_bytes(store, KEY))


@pytest.mark.parametrize("data", [DATA, LARGE], ids=["whole", "in-parts"])
def test_a_conflict_is_tried_again(proxy: S3Proxy, no_waiting: None, data: bytes) -> None:
    store = proxy.new_store(**IN_PARTS)
    refusal = (409, "ConditionalRequestConflict")
    proxy.plan("PUT" if data is DATA else "POST", "" if data is DATA else "uploadId=", answer=refusal)

    outcome = put(store, data)

    assert (PutOutcome.CREATED, True) == (outcome, proxy.server.stored_bytes(store, key_of(data)) == data)
    assert [] == proxy.server.unfinished_uploads(store)


def test_a_conflict_that_does_not_end_is_unavailable(proxy: S3Proxy, no_waiting: None) -> None:
    store = proxy.new_store()
    proxy.plan("PUT", answer=(409, "ConditionalRequestConflict"), times=100)

    with pytest.raises(StorageUnavailableError, match="ConditionalRequestConflict"):
        put(store)

    assert proxy.server.stored_bytes(store, KEY) is None


def test_a_server_that_knows_no_conditions_is_asked_without_from_then_on(proxy: S3Proxy, no_waiting: None) -> None:
    store = proxy.new_store()
    proxy.plan("PUT", answer=(501, "NotImplemented"))

    outcomes = [put(store), put(store, b"another")]

    sent = [request.headers.get("If-None-Match") for request in proxy.asked("PUT")]
    assert ([PutOutcome.CREATED] * 2, ["*", None, None]) == (outcomes, sent)


def test_an_object_of_another_size_is_replaced_and_kept(proxy: S3Proxy) -> None:
    store = proxy.new_store()
    proxy.server.replace_bytes(store, KEY, b"torn")

    outcome = put(store)

    (kept,) = proxy.server.keys_below(store, "quarantine/")
    assert (PutOutcome.CREATED, DATA) == (outcome, proxy.server.stored_bytes(store, KEY))
    assert b"torn" == proxy.server.client.get_object(Bucket=BUCKET, Key=kept)["Body"].read()


def test_a_replacement_never_deletes(proxy: S3Proxy) -> None:
    store = proxy.new_store()
    proxy.server.replace_bytes(store, KEY, b"What a run leaves behind")

    with store.stage(blake3()) as stage:
        stage.write(DATA)
        stage.replace(KEY, len(DATA))

    copied, written = proxy.asked("PUT")
    assert ("x-amz-copy-source" in copied.headers, "quarantine/" in copied.target) == (True, True)
    assert (KEY.path in written.target, [], DATA) == (True, proxy.asked("DELETE"), store.read(KEY))


def test_quarantine_keeps_the_bytes(rclone: S3Server) -> None:
    store = rclone.new_store()
    put(store)

    store.quarantine(KEY)

    (kept,) = rclone.keys_below(store, "quarantine/")
    assert DATA == rclone.client.get_object(Bucket=BUCKET, Key=kept)["Body"].read()


def test_what_is_too_large_to_copy_at_once_is_copied_otherwise(proxy: S3Proxy) -> None:
    store = proxy.new_store()
    put(store)
    proxy.plan("PUT", "quarantine/", answer=(400, "InvalidRequest"))

    store.quarantine(KEY)

    assert (1, None) == (len(proxy.server.keys_below(store, "quarantine/")), proxy.server.stored_bytes(store, KEY))


def test_how_objects_are_stored_is_said_with_each(proxy: S3Proxy) -> None:
    how = {"STORAGE_CLASS": "STANDARD_IA", "SERVER_SIDE_ENCRYPTION": "aws:kms", "KMS_KEY_ID": "key"}
    store = proxy.new_store(**how, **IN_PARTS)

    put(store)
    put(store, LARGE)
    store.quarantine(KEY)

    made = [*proxy.asked("PUT", f"{KEY.path}$"), *proxy.asked("PUT", "quarantine"), *proxy.asked("POST", "uploads$")]
    names = ("x-amz-storage-class", "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id")
    assert [("STANDARD_IA", "aws:kms", "key")] * 3 == [tuple(map(each.headers.get, names)) for each in made]


# what happens on the way


def test_a_lost_answer_to_a_put_does_no_harm(proxy: S3Proxy, no_waiting: None) -> None:
    store = proxy.new_store()
    proxy.plan("PUT", lose_answer=True)

    put(store)

    assert DATA == proxy.server.stored_bytes(store, KEY)


@pytest.mark.parametrize("way", ["proxy", "weak_proxy"])
def test_a_lost_answer_to_the_end_of_an_upload_does_no_harm(
    way: str, request: pytest.FixtureRequest, no_waiting: None
) -> None:
    proxy: S3Proxy = request.getfixturevalue(way)
    store = proxy.new_store(**IN_PARTS)
    proxy.plan("POST", "uploadId=", lose_answer=True)

    put(store, LARGE)

    assert proxy.server.stored_bytes(store, key_of(LARGE)) == LARGE
    assert (3, []) == (len(proxy.asked("PUT", "partNumber")), proxy.server.unfinished_uploads(store))


@pytest.mark.parametrize("checksums", ["when_supported", "when_required", "sha256"])
@pytest.mark.parametrize("data", [DATA, LARGE], ids=["whole", "in-parts"])
def test_a_byte_that_changes_on_the_way_is_sent_again(
    weak_proxy: S3Proxy, no_waiting: None, data: bytes, checksums: str
) -> None:
    store = weak_proxy.new_store(CHECKSUMS=checksums, **IN_PARTS)
    weak_proxy.plan("PUT", flip_body_byte=7)

    outcome = put(store, data)

    assert PutOutcome.CREATED is outcome
    assert weak_proxy.server.stored_bytes(store, key_of(data)) == data


def test_bytes_that_always_change_on_the_way_are_not_kept(weak_proxy: S3Proxy, no_waiting: None) -> None:
    store = weak_proxy.new_store()
    weak_proxy.plan("PUT", flip_body_byte=7, times=100)

    with pytest.raises(StorageUnavailableError):
        put(store)

    assert weak_proxy.server.stored_bytes(store, KEY) is None


@pytest.mark.parametrize("checksums", ["when_supported", "when_required", "sha256"])
def test_a_checksum_goes_with_every_body(proxy: S3Proxy, checksums: str) -> None:
    store = proxy.new_store(CHECKSUMS=checksums, **IN_PARTS)

    put(store)
    put(store, LARGE)

    names = ("Content-MD5", "x-amz-checksum-crc32", "x-amz-checksum-sha256", "x-amz-trailer")
    first, *_ = sent = [tuple(name in each.headers for name in names) for each in proxy.asked("PUT")]
    assert (True, checksums == "when_supported", checksums == "sha256", False) == first
    assert [first[1:]] * 4 == [each[1:] for each in sent], "MD5 alone goes once another is acknowledged"


def test_a_server_that_acknowledges_the_crc_is_sent_no_other_checksum(proxy: S3Proxy) -> None:
    store = proxy.new_store(**IN_PARTS)
    proxy.plan("PUT", echo_crc32=True, times=100)

    for data in (DATA, b"another", LARGE):
        put(store, data)

    sent = [("Content-MD5" in each.headers, "x-amz-checksum-crc32" in each.headers) for each in proxy.asked("PUT")]
    assert [(True, True), *[(False, True)] * 4] == sent
    assert proxy.server.stored_bytes(store, key_of(LARGE)) == LARGE


def test_what_the_server_acknowledges_and_does_not_keep_is_noticed(proxy: S3Proxy, no_waiting: None) -> None:
    store = proxy.new_store(**IN_PARTS)
    for data, method, target in ((DATA, "PUT", "blobs"), (LARGE, "POST", "uploadId=")):
        tear = partial(proxy.server.replace_bytes, store, key_of(data), data[:-1])
        proxy.plan(method, target, hide="ETag" if data is DATA else "", passed_on=tear)

    outcomes = [put(store, DATA), put(store, LARGE)]

    assert [PutOutcome.CREATED] * 2 == outcomes
    assert [True, True] == [proxy.server.stored_bytes(store, key_of(data)) == data for data in (DATA, LARGE)]
    assert 2 == len(proxy.server.keys_below(store, "quarantine/"))


@pytest.mark.parametrize("data", [DATA, LARGE], ids=["whole", "in-parts"])
def test_a_temporary_file_that_rots_is_not_uploaded(moto: S3Server, data: bytes) -> None:
    store = moto.new_store(**IN_PARTS)

    with store.stage(blake3()) as stage:
        stage.write(data)
        os.pwrite(stage._file.fileno(), b"\0", 3)  # type: ignore[attr-defined]
        with pytest.raises(StorageUnavailableError, match="temporary file"):
            stage.commit(key_of(data), len(data))

    assert (None, []) == (moto.stored_bytes(store, key_of(data)), moto.unfinished_uploads(store))


def test_no_room_for_a_temporary_file_is_a_full_storage(moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    store = moto.new_store()
    stage = store.stage(blake3())
    with monkeypatch.context() as patch:
        patch.setattr("artifactstore.storage.s3.staging.os.write", write)
        with pytest.raises(StorageFullError, match="No space left"):
            stage.write(DATA)
    stage.discard()

    assert [] == list(store.list(ObjectKind.BLOB))


# parts


def test_a_large_object_goes_up_in_parts(proxy: S3Proxy) -> None:
    store = proxy.new_store(**IN_PARTS)

    put(store, LARGE)

    sizes = sorted(len(request.body) for request in proxy.asked("PUT", "partNumber="))
    assert [MEBIBYTE, 5 * MEBIBYTE, 5 * MEBIBYTE] == sizes


def test_a_part_that_cannot_be_sent_ends_the_upload(proxy: S3Proxy, no_waiting: None) -> None:
    store = proxy.new_store(**IN_PARTS)
    proxy.plan("PUT", "partNumber=2", answer=(500, "InternalError"), times=100)

    with pytest.raises(StorageUnavailableError):
        put(store, LARGE)

    assert (None, []) == (proxy.server.stored_bytes(store, key_of(LARGE)), proxy.server.unfinished_uploads(store))


KILLED_BEFORE_THE_END = """
import io, os, signal, sys
from artifactstore.storage.s3 import S3Store
from artifactstore.testing.builders import key_of, some_bytes

store = S3Store.from_url(sys.argv[1], {"ENDPOINT_URL": sys.argv[2], "REGION": "us-east-1",
    "MULTIPART_THRESHOLD_BYTES": "5242880", "MULTIPART_PART_BYTES": "5242880"})
die = lambda **_: os.kill(os.getpid(), signal.SIGKILL)
store._bucket.client.meta.events.register("before-send.s3.CompleteMultipartUpload", die)
data = some_bytes(11 * 1024 * 1024)
store.put(key_of(data), io.BytesIO(data), len(data))
"""


def test_an_upload_that_was_killed_shows_nothing_and_can_be_ended(rclone: S3Server) -> None:
    store, neighbour = rclone.new_store(**IN_PARTS), rclone.new_store()
    begun = rclone.client.create_multipart_upload(**neighbour._bucket.at(KEY.path))
    url = f"s3://{BUCKET}/{store._bucket.prefix}"

    killed = subprocess.run([sys.executable, "-c", KILLED_BEFORE_THE_END, url, rclone.url], timeout=120, check=False)

    assert -signal.SIGKILL == killed.returncode
    with pytest.raises(ObjectNotFoundError):
        store.size(key_of(LARGE))
    assert ([], 1) == (list(store.list(ObjectKind.BLOB)), len(rclone.unfinished_uploads(store)))
    assert (0, 1) == (store.abort_unfinished(timedelta(hours=1)), len(rclone.unfinished_uploads(store)))
    assert (1, []) == (store.remove_leftovers(A_MOMENT), rclone.unfinished_uploads(store))
    assert (1, PutOutcome.CREATED) == (len(rclone.unfinished_uploads(neighbour)), put(store, LARGE))
    rclone.client.abort_multipart_upload(**neighbour._bucket.at(KEY.path), UploadId=begun["UploadId"])


@pytest.mark.parametrize("server", ["moto", "rclone"])
def test_a_bucket_without_uploads_has_none_to_end(server: str, request: pytest.FixtureRequest) -> None:
    found: S3Server = request.getfixturevalue(server)
    found.client.create_bucket(Bucket="never-used")
    store = S3Store(replace(found.new_store()._bucket, name="never-used"))

    assert 0 == store.abort_unfinished(A_MOMENT)


# reading


def test_reading_takes_one_request(proxy: S3Proxy) -> None:
    store = proxy.new_store()
    put(store)
    proxy.requests.clear()

    found = [store.read(KEY), store.read(KEY, 5, 3), store.read(KEY, 5)]

    assert [DATA, DATA[5:8], DATA[5:]] == found
    assert [None, "bytes=5-7", "bytes=5-"] == [request.headers.get("Range") for request in proxy.requests]


@pytest.mark.parametrize(("start", "length"), [(0, None), (1000, None), (1000, 3 * MEBIBYTE - 2000)])
def test_a_body_that_is_cut_is_read_on(proxy: S3Proxy, start: int, length: int | None) -> None:
    store, data = proxy.new_store(), some_bytes(3 * MEBIBYTE)
    put_bytes(store, data)
    proxy.requests.clear()
    proxy.plan("GET", cut_answer_after=MEBIBYTE, times=2)

    found = store.read(key_of(data), start, length)

    assert found == data[start : None if length is None else start + length]
    assert [False, True, True] == ["If-Match" in request.headers for request in proxy.asked("GET")]


def test_a_body_that_is_always_cut_is_unavailable_and_not_short(proxy: S3Proxy, no_waiting: None) -> None:
    store = proxy.new_store()
    put(store)
    proxy.plan("GET", cut_answer_after=0, times=100)

    with pytest.raises(StorageUnavailableError), store.open(KEY) as stream:
        stream.read()


@pytest.mark.parametrize("way", ["proxy", "weak_proxy"])
def test_an_object_that_changes_while_it_is_read_is_not_pieced_together(
    way: str, request: pytest.FixtureRequest
) -> None:
    proxy: S3Proxy = request.getfixturevalue(way)
    store, data = proxy.new_store(), some_bytes(3 * MEBIBYTE)
    key = put_bytes(store, data)
    proxy.plan("GET", cut_answer_after=MEBIBYTE)

    with store.open(key) as stream:
        begin = stream.read(1000)
        proxy.server.replace_bytes(store, key, bytes(reversed(data)))
        with pytest.raises(StorageUnavailableError):
            stream.read()

    assert begin == data[:1000]


@pytest.mark.parametrize(("method", "header"), [("GET", "Range"), ("GET", "Content-Range"), ("HEAD", "Content-Length")])
def test_an_answer_to_another_question_is_not_taken(proxy: S3Proxy, method: str, header: str) -> None:
    store = proxy.new_store()
    put(store)
    proxy.plan(method, hide=header)

    with pytest.raises(StorageUnavailableError):
        store.read(KEY, 5, 3) if method == "GET" else store.size(KEY)


def test_a_stream_that_is_left_in_the_middle_gives_its_connection_up(moto: S3Server) -> None:
    store, data = moto.new_store(), some_bytes(3 * MEBIBYTE)
    key = put_bytes(store, data)

    with store.open(key) as stream:
        stream.read(10)

    assert stream._body._raw_stream.closed  # type: ignore[attr-defined]


# listing


def paged(server: S3Server, pages_of: int) -> S3Store:
    """A store with a client of its own, whose listings come in pages of a few."""
    store = S3Store.from_url(f"s3://{BUCKET}/{os.urandom(4).hex()}", server.options())
    store._bucket.client.meta.events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: {**params, "MaxKeys": pages_of}
    )
    return store


@pytest.mark.parametrize("server", ["moto", "rclone"])
def test_a_listing_of_several_pages_is_whole_and_in_order(server: str, request: pytest.FixtureRequest) -> None:
    store = paged(request.getfixturevalue(server), 3)
    keys = sorted((put_bytes(store, bytes([number])) for number in range(10)), key=lambda key: key.digest)

    assert keys == [info.key for info in store.list(ObjectKind.BLOB)]


def test_names_that_are_no_keys_are_passed_over(moto: S3Server) -> None:
    store = moto.new_store()
    key = put_bytes(store, DATA)
    for name in ("README", "ab/cd/not-a-digest", f"{KEY.path.removeprefix('blobs/blake3/')}.txt"):
        moto.client.put_object(**store._bucket.at(f"blobs/blake3/{name}"), Body=b"")

    assert [key] == [info.key for info in store.list(ObjectKind.BLOB)]


def test_a_prefix_does_not_show_what_another_holds(moto: S3Server) -> None:
    stores = [moto.new_store(), moto.new_store()]
    put(stores[0])

    listed = [[info.key for info in store.list(ObjectKind.BLOB)] for store in stores]

    assert [[KEY], []] == listed


def test_a_bucket_that_lists_out_of_order_is_refused(moto: S3Server) -> None:
    store = paged(moto, 1000)
    for number in range(5):
        put_bytes(store, bytes([number]))
    store._bucket.client.meta.events.register(
        "after-call.s3.ListObjectsV2", lambda parsed, **_: parsed["Contents"].reverse()
    )

    with pytest.raises(StorageDeniedError, match="lists"):
        list(store.list(ObjectKind.BLOB))


# presigned URLs


def test_a_presigned_url_gives_the_object_to_whoever_has_it(rclone: S3Server) -> None:
    store = rclone.new_store()
    put(store)

    url = store.presigned_url(KEY, expires_in_s=60)

    assert url is not None
    assert SECRET_KEY not in url
    with urllib3.PoolManager(retries=False) as http:
        assert DATA == http.request("GET", url).data
        assert 403 == http.request("GET", url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000")).status


def test_a_presigned_url_has_the_address_that_others_reach(moto: S3Server) -> None:
    public = moto.options(PUBLIC_ENDPOINT_URL="https://s3.example.org", ADDRESSING="path")
    store = S3Store.from_url(f"s3://{BUCKET}/p", public)

    url = store.presigned_url(KEY, expires_in_s=60)

    assert url is not None
    assert url.startswith(f"https://s3.example.org/{BUCKET}/p/{KEY.path}?")
    assert "response-content-disposition=attachment" in url


# errors


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (404, "NoSuchKey", ObjectNotFoundError),
        (404, "NoSuchBucket", StorageDeniedError),
        (403, "AccessDenied", StorageDeniedError),
        (403, "InvalidAccessKeyId", StorageDeniedError),
        (403, "RequestTimeTooSkewed", StorageDeniedError),
        (403, "InvalidObjectState", StorageDeniedError),
        (400, "ExpiredToken", StorageDeniedError),
        (400, "AuthorizationHeaderMalformed", StorageDeniedError),
        (400, "SomethingNobodyKnows", StorageDeniedError),
        (405, "MethodNotAllowed", StorageDeniedError),
        (400, "RequestTimeout", StorageUnavailableError),
        (429, "TooManyRequests", StorageUnavailableError),
        (500, "InternalError", StorageUnavailableError),
        (502, "BadGateway", StorageUnavailableError),
        (503, "SlowDown", StorageUnavailableError),
        (403, "QuotaExceeded", StorageFullError),
        (507, "InsufficientStorage", StorageFullError),
    ],
)
def test_what_a_server_answers_is_one_of_our_errors(
    proxy: S3Proxy, no_waiting: None, status: int, code: str, expected: type[ArtifactStoreError]
) -> None:
    store = proxy.new_store()
    proxy.plan("GET", answer=(status, code), times=100)
    proxy.plan("PUT", answer=(status, code), times=100)

    with pytest.raises(expected) as reading:
        store.read(KEY)
    with pytest.raises(expected) as writing:
        put(store)

    assert [expected, expected] == [type(reading.value), type(writing.value)]
    assert code in reading.value.message
    assert reading.value.__cause__ is not None


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (500, "InternalError")])
def test_a_busy_server_is_asked_again(proxy: S3Proxy, no_waiting: None, status: int, code: str) -> None:
    store = proxy.new_store()
    for method in ("HEAD", "PUT", "GET", "DELETE"):
        proxy.plan(method, answer=(status, code), times=2)

    put(store)
    found = store.read(KEY)
    store.delete(KEY)

    assert (DATA, None) == (found, proxy.server.stored_bytes(store, KEY))


def test_a_server_that_is_not_there_is_unavailable(moto: S3Server, no_waiting: None) -> None:
    with failing_network(moto) as proxy:
        store = proxy.new_store()

    for ask in (lambda: store.read(KEY), lambda: put(store), lambda: list(store.list(ObjectKind.BLOB))):
        with pytest.raises(StorageUnavailableError) as caught:
            ask()
        assert caught.value.retryable


def test_a_silent_server_is_unavailable(no_waiting: None, aws_environment: None) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        store = S3Store.from_url("s3://bucket", {"ENDPOINT_URL": url, "READ_TIMEOUT_S": "1", "REGION": "us-east-1"})
        with pytest.raises(StorageUnavailableError):
            store.size(KEY)


def test_wrong_credentials_are_denied_and_not_repeated(rclone: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret-that-is-in-no-message")
    store = S3Store.from_url(f"s3://{BUCKET}/p", rclone.options())

    with pytest.raises(StorageDeniedError) as caught:
        store.read(KEY)

    assert "another-secret" not in told(caught.value) + told(caught.value.__cause__)
    assert "credentials" in caught.value.hint


def test_missing_credentials_are_denied(rclone: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    store = S3Store.from_url(f"s3://{BUCKET}/p", rclone.options())

    with pytest.raises(StorageDeniedError) as caught:
        put(store)

    assert "credentials" in caught.value.hint


def test_a_range_that_a_server_refuses_is_told_apart_from_one_that_is_empty(rclone: S3Server) -> None:
    store = rclone.new_store()
    put(store)

    assert b"" == store.read(KEY, len(DATA))
    for start, length in ((len(DATA) + 1, None), (0, len(DATA) + 1)):
        with pytest.raises(RangeInvalidError), store.open(KEY, start, length):
            pass


# what it needs


def test_without_boto3_an_s3_url_says_what_to_install(moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3.session", None)

    with pytest.raises(ConfigurationError, match="boto3") as caught:
        S3Store.from_url("s3://bucket", {})

    assert "extra s3" in caught.value.hint


def test_boto3_is_imported_when_a_store_is_opened() -> None:
    program = "import sys, artifactstore.storage.s3\nprint(*sys.modules)"

    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert set() == {"boto3", "botocore", "s3transfer", "urllib3"} & set(answer.stdout.split())


def test_opening_a_store_asks_the_server_nothing(moto: S3Server, tmp_path: Path) -> None:
    with failing_network(moto) as proxy:
        S3Store.from_url(f"s3://{BUCKET}/p", {**moto.options(), "ENDPOINT_URL": proxy.url})

    assert [] == proxy.requests
