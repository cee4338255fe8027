"""The requests that store a staged object: one put, or parts beside each other.

What is sent carries a CRC-32 or, if that is set, a SHA-256, which newer servers check and acknowledge, and until one
has done so Content-MD5, which about every server checks; over plain HTTP it is signed with its SHA-256, too. The staged
file is read once more for that, and must still have the CRC-32 of the bytes that were hashed.
"""

from __future__ import annotations

import hashlib
import io
import os
from base64 import b64decode, b64encode
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from zlib_ng import zlib_ng

from artifactstore.errors import StorageUnavailableError
from artifactstore.storage.s3.errors import code_of, foreign_errors

if TYPE_CHECKING:
    from artifactstore.storage.port import ObjectKey
    from artifactstore.storage.s3.bucket import Bucket

_MOST_PARTS = 10_000
_PARTS_AT_ONCE = 4
_HELD_BYTES = 8 * 1024 * 1024
"""Bodies up to this are sent from memory: boto3 announces longer ones, and some servers never answer that."""
_BUFFER_BYTES = 1024 * 1024
_ALGORITHMS = {"when_supported": "CRC32", "sha256": "SHA256"}
"""What a server is to check, by the setting."""


class NotKeptError(StorageUnavailableError):
    """What the server acknowledged is not what it has; somebody may have deleted it meanwhile."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A file whose bytes are to become an object."""

    descriptor: int
    size_bytes: int
    crc32: int
    """Of the bytes as they were written."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Bytes of the staged file, and the checksums they are sent with."""

    start: int
    size_bytes: int
    crc32: int
    checksums: dict[str, str]


def upload(bucket: Bucket, key: ObjectKey, staged: Staged, *, if_absent: bool) -> None:
    """Store the object; on return the server has acknowledged all of it. Raises what boto3 raises."""
    if staged.size_bytes < bucket.options.multipart_threshold_bytes:
        _upload_whole(bucket, key, staged, _condition(bucket, if_absent=if_absent))
    else:
        _upload_in_parts(bucket, key, staged, _condition(bucket, if_absent=if_absent))


def _condition(bucket: Bucket, *, if_absent: bool) -> dict[str, str]:
    return {"IfNoneMatch": "*"} if if_absent and bucket.takes_conditions else {}


def _upload_whole(bucket: Bucket, key: ObjectKey, staged: Staged, condition: dict[str, str]) -> None:
    part = _part(bucket, staged, 0, staged.size_bytes)
    _check_crc32(key, staged, [part])
    answer = bucket.client.put_object(
        **bucket.at(key.path),
        **bucket.how_stored,
        **condition,
        **part.checksums,
        Body=_body(staged, part),
        ContentLength=staged.size_bytes,
    )
    if not _proves(bucket, answer, part):
        _check_size(bucket, key, staged)


def _upload_in_parts(bucket: Bucket, key: ObjectKey, staged: Staged, condition: dict[str, str]) -> None:
    """Whatever goes wrong, the upload is aborted, once nothing more of it is under way."""
    algorithm = _ALGORITHMS.get(bucket.options.checksums)
    checked = {} if algorithm is None else {"ChecksumAlgorithm": algorithm}
    begun = bucket.client.create_multipart_upload(**bucket.at(key.path), **bucket.how_stored, **checked)
    upload_of = {**bucket.at(key.path), "UploadId": begun["UploadId"]}
    try:
        parts = {"Parts": _send_parts(bucket, key, staged, upload_of)}
        _complete(bucket, key, staged, {**upload_of, **condition, "MultipartUpload": parts})
    except BaseException:
        with suppress(*foreign_errors()):  # what cannot be aborted now, abort_unfinished or the bucket's lifecycle ends
            bucket.client.abort_multipart_upload(**upload_of)
        raise


def _send_parts(bucket: Bucket, key: ObjectKey, staged: Staged, upload_of: dict[str, str]) -> list[dict[str, object]]:
    size_bytes = part_bytes(staged.size_bytes, bucket.options.multipart_part_bytes)

    def send(number: int) -> tuple[_Part, dict[str, object]]:
        start = (number - 1) * size_bytes
        part = _part(bucket, staged, start, min(size_bytes, staged.size_bytes - start))
        answer = bucket.client.upload_part(
            **upload_of, **part.checksums, PartNumber=number, Body=_body(staged, part), ContentLength=part.size_bytes
        )
        _proves(bucket, answer, part)
        if not answer.get("ETag"):  # its headers were cut off: http.client takes what has come for all of them
            raise NotKeptError(f"part {number} of {key} was acknowledged without an ETag")
        told = {name: value for name, value in part.checksums.items() if name.startswith("Checksum")}
        return part, {"PartNumber": number, "ETag": answer["ETag"], **told}

    with ThreadPoolExecutor(_PARTS_AT_ONCE, thread_name_prefix="s3-part") as pool:
        sent = list(pool.map(send, range(1, -(-staged.size_bytes // size_bytes) + 1)))
    _check_crc32(key, staged, [part for part, _ in sent])
    return [receipt for _, receipt in sent]


def part_bytes(object_bytes: int, preferred_bytes: int) -> int:
    """How large the parts of an object are, all but the last: as preferred, unless there would be too many."""
    size_bytes = preferred_bytes
    while size_bytes * _MOST_PARTS < object_bytes:
        size_bytes *= 2
    return size_bytes


def _complete(bucket: Bucket, key: ObjectKey, staged: Staged, request: dict[str, Any]) -> None:
    """If the answer to a first try was lost, the second finds no such upload any more."""
    try:
        bucket.client.complete_multipart_upload(**request)
    except bucket.client.exceptions.ClientError as error:
        if code_of(error) != "NoSuchUpload" or bucket.size_or_none(key) != staged.size_bytes:
            raise
    else:
        _check_size(bucket, key, staged)


def _part(bucket: Bucket, staged: Staged, start: int, size_bytes: int) -> _Part:
    """Read the bytes for the checksums that go with them. MD5 is slow, and not for a server that checks another."""
    crc32, source = 0, _Slice(staged.descriptor, start, size_bytes)
    algorithm = _ALGORITHMS.get(bucket.options.checksums)
    hashes = {"ContentMD5": hashlib.md5(usedforsecurity=False)} if not bucket.checks_sums else {}
    if algorithm == "SHA256":
        hashes["ChecksumSHA256"] = hashlib.sha256()
    while data := source.read(_BUFFER_BYTES):
        crc32 = zlib_ng.crc32(data, crc32)
        for each in hashes.values():
            each.update(data)
    checksums = {name: b64encode(each.digest()).decode() for name, each in hashes.items()}
    if algorithm == "CRC32":
        checksums["ChecksumCRC32"] = b64encode(crc32.to_bytes(4, "big")).decode()
    return _Part(start, size_bytes, crc32, checksums)


def _body(staged: Staged, part: _Part) -> bytes | BinaryIO:
    source = _Slice(staged.descriptor, part.start, part.size_bytes)
    if part.size_bytes > _HELD_BYTES:
        return cast("BinaryIO", source)
    return b"".join(iter(source.read, b""))


def _check_crc32(key: ObjectKey, staged: Staged, parts: list[_Part]) -> None:
    crc32 = 0
    for part in parts:
        crc32 = zlib_ng.crc32_combine(crc32, part.crc32, part.size_bytes)
    if crc32 != staged.crc32:
        raise StorageUnavailableError(f"{key} cannot be stored: its temporary file reads otherwise than it was written")


def _proves(bucket: Bucket, answer: dict[str, Any], part: _Part) -> bool:
    """Whether an acknowledgement tells a checksum of what was sent: that, or an ETag that is the MD5."""
    sent = {name: value for name, value in part.checksums.items() if name.startswith("Checksum")}
    if any(answer.get(name) == value for name, value in sent.items()):
        bucket.checks_sums = True
        return True
    md5 = b64decode(part.checksums.get("ContentMD5", "")).hex()
    return bool(md5) and str(answer.get("ETag", "")).strip('"') == md5


def _check_size(bucket: Bucket, key: ObjectKey, staged: Staged) -> None:
    """Ask for what was acknowledged: some servers answer 200 and keep half."""
    found = bucket.size_or_none(key)
    if found != staged.size_bytes:
        raise NotKeptError(
            f"{key} was acknowledged with {staged.size_bytes} bytes, and the server has "
            + ("none" if found is None else str(found))
        )


class _Slice(io.RawIOBase):
    """Some bytes of a file, to be read from its start again; threads may read slices of one file at once."""

    def __init__(self, descriptor: int, start: int, size_bytes: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._start = start
        self._size_bytes = size_bytes
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size_bytes}[whence]
        self._at = min(max(origin + offset, 0), self._size_bytes)
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        left = self._size_bytes - self._at
        wanted = left if size is None or size < 0 else min(size, left)
        data = os.pread(self._descriptor, wanted, self._start + self._at)
        self._at += len(data)
        return data
