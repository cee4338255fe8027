"""The ground a probe of a bucket works on: a prefix of its own, requests to it, and what clears it."""

from __future__ import annotations

import hashlib
import secrets
from base64 import b64encode
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from artifactstore.errors import StorageUnavailableError
from artifactstore.storage.s3.bucket import Bucket
from artifactstore.storage.s3.errors import code_of, foreign_errors, status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

OK, NOT_FOUND = 200, 404
MOST_PAGES = 1000
_FOLDER = "probe"
_SWEEPS = 3
_SERVER_ERRORS, _NOT_IMPLEMENTED = 500, 501
_TIMEOUT_S = 20


@dataclass
class _NotedBucket(Bucket):
    """A bucket that keeps in mind every name that it was asked for, whoever asks."""

    names: set[str] = field(default_factory=set)

    def at(self, path: str) -> dict[str, str]:
        if path and not path.endswith("/"):
            self.names.add(path)
        return super().at(path)


@dataclass
class Ground:
    """A bucket below ``probe/<random>/``, and what was put there."""

    bucket: _NotedBucket
    uploads: set[tuple[str, str]] = field(default_factory=set)

    @classmethod
    def below(cls, bucket: Bucket) -> Ground:
        """A new one, that nobody else has."""
        prefix = f"{bucket.prefix}{_FOLDER}/{secrets.token_hex(12)}/"
        return cls(_NotedBucket(bucket.client, bucket.name, prefix, bucket.options))

    @property
    def client(self) -> Any:
        """boto3's, with its retries."""
        return self.bucket.client

    def upload_part(self, upload: Mapping[str, str], number: int, data: bytes) -> dict[str, object]:
        """Send a part, with its checksum; what the completion says of it."""
        answer = self.client.upload_part(**upload, PartNumber=number, Body=data, ContentMD5=md5_of(data))
        if not answer.get("ETag"):  # its headers were cut off on the way
            raise StorageUnavailableError(f"part {number} of {upload['Key']} was acknowledged without an ETag")
        return {"PartNumber": number, "ETag": answer["ETag"]}

    def at(self, name: str) -> dict[str, str]:
        """Where an object of the probe is, which is cleared away from now on."""
        return self.bucket.at(name)

    def put(self, name: str, data: bytes, **more: Any) -> dict[str, Any]:
        """One PUT with the checksum that about every server knows, as the settings would have objects stored."""
        request = {"ContentMD5": md5_of(data), **self.bucket.how_stored, **more}
        answer: dict[str, Any] = self.client.put_object(**self.at(name), Body=data, **request)
        return answer

    def get(self, name: str) -> bytes | None:
        """The whole object; None if there is none."""
        try:
            data: bytes = self.client.get_object(**self.at(name))["Body"].read()
        except self.client.exceptions.ClientError as error:
            if status_of(error) == NOT_FOUND:
                return None
            raise
        return data

    def delete(self, name: str) -> None:
        """One DELETE."""
        self.client.delete_object(**self.at(name))

    def listed(self, folder: str, *, page: int = 1000) -> list[str]:
        """The names below a folder as they come, by so many a page; ends if the server never does."""
        below = self.bucket.at(folder)
        request: dict[str, Any] = {"Bucket": below["Bucket"], "Prefix": below["Key"], "MaxKeys": page}
        found: list[str] = []
        for _ in range(MOST_PAGES):
            answer = self.client.list_objects_v2(**request)
            found += [listed["Key"].removeprefix(self.bucket.prefix) for listed in answer.get("Contents", ())]
            if not answer.get("IsTruncated") or not answer.get("NextContinuationToken"):
                break
            request["ContinuationToken"] = answer["NextContinuationToken"]
        return found

    def begin_upload(self, name: str, **more: Any) -> dict[str, str]:
        """An upload in parts, aborted when the ground is cleared if nobody has ended it."""
        begun = self.client.create_multipart_upload(**self.at(name), **self.bucket.how_stored, **more)
        self.uploads.add((name, begun["UploadId"]))
        return {**self.at(name), "UploadId": begun["UploadId"]}

    def clear(self) -> int:
        """Abort, delete, and delete the versions that stay; how many objects or versions are still there."""
        try:
            return self._cleared()
        except foreign_errors():  # it is not reached any more: there is no use in asking for one object after another
            return len(self.bucket.names)

    def _cleared(self) -> int:
        for name, upload_id in self.uploads:
            upload = {**self.bucket.at(name), "UploadId": upload_id}
            _refused(partial(self.client.abort_multipart_upload, **upload))
        left = sorted({*self.bucket.names, *self._still_there()})
        for _ in range(_SWEEPS):  # what several wrote at once, some servers have several times
            for name in left:
                _refused(partial(self.client.delete_object, **self.bucket.at(name)))
            if not (left := self._still_there()):
                break
        really = [name for name in left if self.get(name) is not None]  # some list what is gone
        return len(really) + self._clear_versions()

    def _clear_versions(self) -> int:
        """Of what is deleted; a server may know none."""
        found: list[dict[str, str]] = []
        if _refused(lambda: found.extend(self.versions())) or not found:
            return 0
        for version in found:
            _refused(partial(self.client.delete_object, **version))
        return len(self.versions())

    def _still_there(self) -> list[str]:
        """By the listing, or, where there is none, one by one."""
        found: list[str] = []
        if _refused(lambda: found.extend(self.listed(""))):
            return [name for name in sorted(self.bucket.names) if self.get(name) is not None]
        return found

    def versions(self, name: str = "") -> list[dict[str, str]]:
        """Every version and delete marker below a name, as parameters of a request; a server may know none."""
        at = self.bucket.at(name)
        request = {"Bucket": at["Bucket"], "Prefix": at["Key"]}
        found: list[dict[str, str]] = []
        for page in self.client.get_paginator("list_object_versions").paginate(**request):
            for each in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                version = {"VersionId": each["VersionId"]} if each.get("VersionId") else {}
                found.append({"Bucket": at["Bucket"], "Key": each["Key"], **version})
        return found


def md5_of(data: bytes) -> str:
    """What goes into Content-MD5."""
    return b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def refusal_of(request: Callable[[], object]) -> Exception | None:
    """What a server answers to a request if it refuses it for what it says; None if it does as it is told.

    What is no answer, or says nothing of the request (5xx), is raised.
    """
    from botocore.exceptions import ClientError

    try:
        request()
    except ClientError as error:
        if status_of(error) >= _SERVER_ERRORS and status_of(error) != _NOT_IMPLEMENTED:
            raise
        refusal: Exception = error
        return refusal
    return None


def _refused(request: Callable[[], object]) -> bool:
    """Whether a server answers that it does not do it. What is no answer is raised."""
    from botocore.exceptions import ClientError

    try:
        request()
    except ClientError:
        return True
    return False


def words_of(error: Exception | None) -> str:
    """A refusal in a few words."""
    return "" if error is None else f"{status_of(error)} {code_of(error)}".strip()


def ask(
    method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> tuple[int, bytes]:
    """One request by nobody: no credentials but those in the URL, no retry. Raises ``OSError``."""
    with _connection(url) as connection:
        try:
            connection.request(method, _target(url), body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()
        except HTTPException as error:
            raise OSError(f"{type(error).__name__}: {error}") from error


def break_off(url: str, data: bytes) -> None:
    """PUT, and hang up when half of the announced bytes are sent."""
    with _connection(url) as connection:
        connection.putrequest("PUT", _target(url))
        connection.putheader("Content-Length", str(len(data)))
        connection.endheaders()
        connection.send(data[: len(data) // 2])


@contextmanager
def _connection(url: str) -> Iterator[HTTPConnection]:
    parts = urlsplit(url)
    connection: HTTPConnection
    if parts.scheme == "https":
        connection = HTTPSConnection(parts.netloc, timeout=_TIMEOUT_S, context=_trust())
    else:
        connection = HTTPConnection(parts.netloc, timeout=_TIMEOUT_S)
    try:
        yield connection
    finally:
        connection.close()


def _trust() -> Any:
    """The authorities that boto3 trusts."""
    import ssl

    from botocore.httpsession import where
    from botocore.session import get_session

    return ssl.create_default_context(cafile=get_session().get_config_variable("ca_bundle") or where())


def _target(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
