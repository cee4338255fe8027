"""The adapter: the port's methods over one bucket."""

from __future__ import annotations

from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

from artifactstore.domain.instant import Instant, instant_of
from artifactstore.errors import DigestInvalidError, StorageDeniedError
from artifactstore.storage.port import ObjectInfo, ObjectKey, ObjectKind, ObjectStore, Stage, Stray, StrayKind
from artifactstore.storage.s3.bucket import MAX_DELETED_AT_ONCE, Bucket, open_client
from artifactstore.storage.s3.errors import storage_errors
from artifactstore.storage.s3.options import S3Options, parse_url
from artifactstore.storage.s3.reading import open_range
from artifactstore.storage.s3.staging import S3Stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from artifactstore.domain.hashing import ObjectHasher
    from artifactstore.storage.probing.probe import Probing


class S3Store(ObjectStore):
    """One prefix of one bucket, shared safely by threads, processes and hosts."""

    def __init__(self, bucket: Bucket, *, public_client: Any = None) -> None:
        self._bucket = bucket
        self._public_client = public_client or bucket.client

    @classmethod
    def from_url(cls, url: str, options: Mapping[str, str]) -> S3Store:
        """``s3://bucket/prefix``. Asks the bucket nothing; raises ``ConfigurationError`` for what cannot be meant."""
        name, prefix = parse_url(url)
        parsed = S3Options.parse(options)
        public = parsed.public_endpoint_url
        return cls(
            Bucket(open_client(parsed, parsed.endpoint_url), name, prefix, parsed),
            public_client=open_client(parsed, public) if public else None,
        )

    @property
    def identity(self) -> str:
        """``s3://bucket/prefix/ at https://endpoint``."""
        endpoint = urlsplit(str(self._bucket.client.meta.endpoint_url))
        host = endpoint.netloc.rpartition("@")[2]
        return f"s3://{self._bucket.name}/{self._bucket.prefix} at {endpoint.scheme}://{host}{endpoint.path}"

    def probing(self) -> Probing:
        """Below ``probe/``, with raw requests for what only S3 has."""
        from artifactstore.storage.s3.probing import S3Probing

        return S3Probing(self._bucket, self._public_client, S3Store)

    def stage(self, hasher: ObjectHasher) -> Stage:
        """A temporary file without a name."""
        return S3Stage(self._bucket, hasher)

    def size(self, key: ObjectKey) -> int:
        """By HEAD. Its answer has no body, so a bucket that is not there looks like an object that is not."""
        return self._bucket.size(key)

    @contextmanager
    def open(self, key: ObjectKey, start: int = 0, length: int | None = None) -> Iterator[BinaryIO]:
        """The body of a GET; a broken connection is mended while the object stays the same."""
        with closing(open_range(self._bucket, key, start, length)) as stream:
            yield stream

    def list(self, kind: ObjectKind) -> Iterator[ObjectInfo]:
        """A thousand a request; names that are no keys are passed over."""
        folder = self._bucket.at(f"{kind}s/blake3/")
        last = b""
        for page in self._pages("list_objects_v2", Bucket=folder["Bucket"], Prefix=folder["Key"]):
            for listed in page.get("Contents", ()):
                try:
                    key = ObjectKey.parse(listed["Key"].removeprefix(self._bucket.prefix))
                except DigestInvalidError:
                    continue
                if key.digest <= last:  # a merge with the catalog would take what was skipped for missing
                    raise StorageDeniedError(
                        f"the server lists {key} after {last.hex()}", hint="Use a bucket whose listing is in order."
                    )
                last = key.digest
                age = _server_time(page) - listed["LastModified"]
                yield ObjectInfo(key, int(listed["Size"]), age.total_seconds())

    def delete(self, key: ObjectKey) -> None:
        """By DELETE. In a bucket with versions the bytes stay until its lifecycle removes them."""
        with storage_errors(f"{key} cannot be deleted"):
            self._bucket.delete(key)

    def delete_many(self, keys: Sequence[ObjectKey]) -> None:
        """By DeleteObjects, a thousand in a request; one by one where the server does not know it."""
        for at in range(0, len(keys), MAX_DELETED_AT_ONCE):
            batch = keys[at : at + MAX_DELETED_AT_ONCE]
            with storage_errors(f"{len(batch)} objects cannot be deleted"):
                one_by_one = self._bucket.delete_many(batch)
            for key in one_by_one:
                self.delete(key)

    def server_time(self) -> Instant | None:
        """What the answer to a HEAD of the bucket says."""
        with storage_errors(f"s3://{self._bucket.name} cannot be asked"):
            answer = self._bucket.client.head_bucket(Bucket=self._bucket.name)
        said = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        return instant_of(parsedate_to_datetime(said)) if said else None

    def quarantine(self, key: ObjectKey) -> None:
        """Copy below ``quarantine/``, then delete."""
        with storage_errors(f"{key} cannot be quarantined"):
            if self._bucket.keep_aside(key):
                self._bucket.delete(key)

    def presigned_url(self, key: ObjectKey, *, expires_in_s: int) -> str | None:
        """A URL of the public endpoint; a browser saves what it gives and does not show it."""
        if key.kind is ObjectKind.PACK:
            return None
        request = {**self._bucket.at(key.path), "ResponseContentDisposition": "attachment"}
        with storage_errors(f"no URL can be made for {key}"):
            url = self._public_client.generate_presigned_url("get_object", Params=request, ExpiresIn=expires_in_s)
        return str(url)

    def strays(self) -> Iterator[Stray]:
        """Every name below the prefix that is no key of ours, and uploads in parts that have not ended."""
        bucket = self._bucket
        for page in self._pages("list_objects_v2", Bucket=bucket.name, Prefix=bucket.prefix):
            for listed in page.get("Contents", ()):
                path = listed["Key"].removeprefix(bucket.prefix)
                if (kind := _stray_kind(path)) is not None:
                    age = _server_time(page) - listed["LastModified"]
                    yield Stray(kind, path, int(listed["Size"]), age.total_seconds())
        for page in self._pages("list_multipart_uploads", Bucket=bucket.name, Prefix=bucket.prefix):
            for found in page.get("Uploads", ()):
                age = _server_time(page) - found["Initiated"]
                yield Stray(StrayKind.LEFTOVER, found["Key"].removeprefix(bucket.prefix), 0, age.total_seconds())

    def remove_leftovers(self, older_than: timedelta) -> int:
        """Uploads in parts are all there can be."""
        return self.abort_unfinished(older_than)

    def abort_unfinished(self, older_than: timedelta) -> int:
        """Abort what killed processes left of uploads in parts, and say how many there were.

        The age is told by the server's own clock. What is younger may be under way in another process.
        """
        aborted = 0
        for page in self._pages("list_multipart_uploads", Bucket=self._bucket.name, Prefix=self._bucket.prefix):
            begun_before = _server_time(page) - older_than
            for found in page.get("Uploads", ()):
                if found["Initiated"] <= begun_before:
                    self._abort(found["Key"], found["UploadId"])
                    aborted += 1
        return aborted

    def _abort(self, name: str, upload_id: str) -> None:
        """End an upload; one that somebody else has ended is ended."""
        client = self._bucket.client
        with storage_errors(f"an upload of {name} cannot be aborted"):
            try:
                client.abort_multipart_upload(Bucket=self._bucket.name, Key=name, UploadId=upload_id)
            except client.exceptions.NoSuchUpload:
                return

    def _pages(self, operation: str, **request: str) -> Iterator[dict[str, Any]]:
        """Every page of a listing; none is asked for before it is wanted."""
        client = self._bucket.client
        pages = iter(client.get_paginator(operation).paginate(**request))
        while True:
            with storage_errors(f"s3://{self._bucket.name}/{self._bucket.prefix} cannot be listed"):
                try:
                    page = next(pages, None)
                except client.exceptions.NoSuchUpload:  # so says rclone of a bucket that has not had one yet
                    return
            if page is None:
                return
            yield page


def _stray_kind(path: str) -> StrayKind | None:
    """What a name below the prefix is; None for an object's."""
    try:
        ObjectKey.parse(path)
    except DigestInvalidError:
        ours = {"quarantine": StrayKind.QUARANTINED, "probe": StrayKind.LEFTOVER}
        return ours.get(path.partition("/")[0], StrayKind.FOREIGN)
    return None


def _server_time(answer: dict[str, Any]) -> datetime:
    """When a server says that it answered; our own time, if it does not say."""
    said = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(said) if said else datetime.now(UTC)
