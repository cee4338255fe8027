"""How bytes come out of a bucket: one ranged GET as a stream, gone on with by another where the connection breaks.

boto3 never repeats a GET whose body was cut. The rest is asked for under the condition that the object is still the
same (its ETag), a few times; then it is ``StorageUnavailableError``, and not a shorter object.
"""

from __future__ import annotations

import io
import re
import time
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from artifactstore.errors import StorageUnavailableError
from artifactstore.storage.port import checked_range
from artifactstore.storage.s3.bucket import content_length
from artifactstore.storage.s3.errors import foreign_errors, status_of, storage_errors

if TYPE_CHECKING:
    from artifactstore.storage.port import ObjectKey
    from artifactstore.storage.s3.bucket import Bucket

_RESUMES = 4
_FIRST_PAUSE_S = 0.05
_RANGE_NOT_SATISFIABLE = 416
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


def open_range(bucket: Bucket, key: ObjectKey, start: int, length: int | None) -> BinaryIO:
    """The bytes ``[start, start + length)``, or from ``start`` to the end. One request, unless the range is empty.

    Raises ``ObjectNotFoundError``, ``RangeInvalidError`` or another of the port's errors.
    """
    with storage_errors(f"{key} cannot be read"):
        if start < 0 or (length is not None and length <= 0):  # HTTP has no words for such a range
            checked_range(key, bucket.size(key), start, length)
            return io.BytesIO()
        try:
            answer = _get(bucket, key, start, length)
        except bucket.client.exceptions.ClientError as error:
            if status_of(error) != _RANGE_NOT_SATISFIABLE:
                raise
            if checked_range(key, bucket.size(key), start, length)[1]:
                raise StorageUnavailableError(f"{key} changed while it was read") from error
            return io.BytesIO()
    return cast("BinaryIO", _Reader(bucket, key, answer, start, length))


def _get(bucket: Bucket, key: ObjectKey, start: int, length: int | None, etag: str | None = None) -> dict[str, Any]:
    request = bucket.at(key.path)
    if start or length is not None:
        request["Range"] = f"bytes={start}-{'' if length is None else start + length - 1}"
    if etag is not None:
        request["IfMatch"] = etag
    answer: dict[str, Any] = bucket.client.get_object(**request)
    return answer


class _Reader:
    """The rest of a range; ends with it, or raises."""

    def __init__(self, bucket: Bucket, key: ObjectKey, answer: dict[str, Any], start: int, length: int | None) -> None:
        self._bucket = bucket
        self._key = key
        self._body = answer["Body"]
        self._etag: str | None = answer.get("ETag")
        self._resumes_left = _RESUMES
        try:
            self._object_bytes = _object_bytes(key, answer, is_range=bool(start) or length is not None)
            self._at, self._left = checked_range(key, self._object_bytes, start, length)
        except BaseException:
            self.close()
            raise

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes; fewer only at the end of the range."""
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._some(wanted) if wanted else b""
        if len(data) < wanted:
            pieces = [data]
            while (wanted := wanted - len(pieces[-1])) > 0:
                pieces.append(self._some(wanted))
            data = b"".join(pieces)
        return data

    def close(self) -> None:
        """Give the connection back, or up."""
        self._body.close()

    def _some(self, size: int) -> bytes:
        """At least one byte, and at most so many."""
        while True:
            cut: Exception | None = None
            try:
                data: bytes = self._body.read(size)
            except foreign_errors() as error:
                data, cut = b"", error
            if data:
                self._at += len(data)
                self._left -= len(data)
                return data
            self._resume(cut)

    def _resume(self, cut: Exception | None) -> None:
        """Ask for the rest of the same object."""
        self.close()
        if not self._resumes_left or self._etag is None:
            raise StorageUnavailableError(f"{self._key} cannot be read: its bytes end before byte {self._at}") from cut
        time.sleep(_FIRST_PAUSE_S * 2 ** (_RESUMES - self._resumes_left))
        self._resumes_left -= 1
        with storage_errors(f"{self._key} cannot be read on from byte {self._at}"):
            answer = _get(self._bucket, self._key, self._at, self._left, self._etag)
        self._body = answer["Body"]
        size_bytes = _object_bytes(self._key, answer, is_range=True)
        if (answer.get("ETag"), size_bytes) != (self._etag, self._object_bytes):
            raise StorageUnavailableError(f"{self._key} changed while it was read") from cut


def _object_bytes(key: ObjectKey, answer: dict[str, Any], *, is_range: bool) -> int:
    """The size of the whole object, as an answer to a GET tells it."""
    if not is_range:
        return content_length(answer)
    if found := _CONTENT_RANGE.fullmatch(answer.get("ContentRange") or ""):
        return int(found[3])
    raise StorageUnavailableError(f"{key} cannot be read: a range was asked for, and the server gave something else")
