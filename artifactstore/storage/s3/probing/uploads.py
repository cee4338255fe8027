"""Uploads in parts, and what a bucket does with the checksums it is sent."""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode
from binascii import crc32
from typing import TYPE_CHECKING, Any

from artifactstore.storage.probing.probe import NOT_MEASURED, Capability, Finding
from artifactstore.storage.s3.options import SMALLEST_PART_BYTES
from artifactstore.storage.s3.probing.ground import OK, ask, md5_of, refusal_of, words_of
from artifactstore.storage.s3.probing.signing import signed_with_trailer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.storage.s3.probing.ground import Ground

_SMALL_PART_BYTES = 64 * 1024
_DATA, _OTHER = b"what a run leaves behind", b"What a run leaves behind"


def multipart(ground: Ground) -> Iterator[Finding]:
    """Two parts, the first as small as S3 allows it, and two of which the first is smaller."""
    data = os.urandom(SMALLEST_PART_BYTES + 1000)
    refusal = refusal_of(lambda: _upload(ground, "parts/whole", data, SMALLEST_PART_BYTES))
    value = "refused" if refusal else "works" if ground.get("parts/whole") == data else "altered"
    told = f"an object of {len(data)} bytes in two parts, read back" + (f": {words_of(refusal)}" if refusal else "")
    yield Finding(Capability.MULTIPART, value, told)
    if value == "works":
        small = data[: 2 * _SMALL_PART_BYTES]
        refusal = refusal_of(lambda: _upload(ground, "parts/small", small, _SMALL_PART_BYTES))
        told = f"a first part of {_SMALL_PART_BYTES} bytes" + (f": {words_of(refusal)}" if refusal else "")
        yield Finding(Capability.MULTIPART_PART_SIZE, "5 MiB at least" if refusal else "any", told)


def unfinished(ground: Ground) -> Iterator[Finding]:
    """An upload with one part that nobody completes: not seen as an object, listed, aborted, gone."""
    name = "parts/unfinished"
    upload = ground.begin_upload(name)
    ground.client.upload_part(**upload, PartNumber=1, Body=b"the first part")
    visible = ground.get(name) is not None
    listed = _is_listed(ground, upload)
    refusal = refusal_of(lambda: ground.client.abort_multipart_upload(**upload))
    stays = refusal is not None or _is_listed(ground, upload)
    value = "visible" if visible else "not aborted" if stays else "listed and aborted" if listed else "not listed"
    told = "an upload with one part: read, listed, aborted, listed again" + (
        f": {words_of(refusal)}" if refusal else ""
    )
    yield Finding(Capability.MULTIPART_UNFINISHED, value, told)


def checksums(ground: Ground) -> Iterator[Finding]:
    """Each kind once right and once wrong: the right one must be taken, the wrong one refused and nothing kept."""
    for capability, parameter, right, wrong in (
        (Capability.CHECKSUM_SHA256, "ChecksumSHA256", _sha256(_DATA), _sha256(_OTHER)),
        (Capability.CHECKSUM_CRC32, "ChecksumCRC32", _crc32(_DATA), _crc32(_OTHER)),
        (Capability.CONTENT_MD5, "ContentMD5", md5_of(_DATA), md5_of(_OTHER)),
    ):
        yield _checksum(ground, capability, parameter, right, wrong)


def checksum_kept(ground: Ground) -> Iterator[Finding]:
    """Whether a SHA-256 that an object came with is told again."""
    told = "the SHA-256 that an object was put with, asked for by HEAD"
    refusal = refusal_of(lambda: ground.put("sums/kept", _DATA, ChecksumSHA256=_sha256(_DATA)))
    if refusal is not None:
        yield Finding(Capability.CHECKSUM_KEPT, NOT_MEASURED, f"a put with one was answered {words_of(refusal)}")
        return
    answer = ground.client.head_object(**ground.at("sums/kept"), ChecksumMode="ENABLED")
    value = {_sha256(_DATA): "given back", None: "not given back"}.get(answer.get("ChecksumSHA256"), "wrong")
    yield Finding(Capability.CHECKSUM_KEPT, value, told)


def checksum_trailer(ground: Ground) -> Iterator[Finding]:
    """What becomes of a body in chunks with its checksum behind it, as the SDKs of others send it by default."""
    body = b"%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n" % (len(_DATA), _DATA, _crc32(_DATA).encode())
    url, headers = signed_with_trailer(ground, "sums/trailer", body, decoded_bytes=len(_DATA))
    try:
        status = ask("PUT", url, headers=headers, body=body)[0]
    except OSError as error:
        yield Finding(Capability.CHECKSUM_TRAILER, NOT_MEASURED, f"no answer: {error}")
        return
    found = ground.get("sums/trailer")
    told = f"one object in chunks with a CRC-32 behind it, which the adapter never sends: answered {status}"
    if status != OK:
        value = "refused"
    else:
        value = "decoded" if found == _DATA else "framing stored" if found == body else "altered"
    yield Finding(Capability.CHECKSUM_TRAILER, value, told)


def _upload(ground: Ground, name: str, data: bytes, first_bytes: int) -> None:
    upload = ground.begin_upload(name)
    halves = (data[:first_bytes], data[first_bytes:])
    parts = [ground.upload_part(upload, number, half) for number, half in enumerate(halves, 1)]
    ground.client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})


def _is_listed(ground: Ground, upload: dict[str, str]) -> bool:
    found: list[dict[str, Any]] = []
    refusal = refusal_of(
        lambda: found.append(ground.client.list_multipart_uploads(Bucket=upload["Bucket"], Prefix=upload["Key"]))
    )
    pages = [] if refusal else found
    return any(each["UploadId"] == upload["UploadId"] for page in pages for each in page.get("Uploads", ()))


def _checksum(ground: Ground, capability: Capability, parameter: str, right: str, wrong: str) -> Finding:
    name = f"sums/{capability}"
    # what is not asked about goes along right, or not at all
    md5 = {} if parameter == "ContentMD5" else {"ContentMD5": md5_of(_DATA)}
    refused = refusal_of(lambda: ground.put(name, _DATA, **{**md5, parameter: wrong}))
    kept = ground.get(name) is not None
    taken = refusal_of(lambda: ground.put(name, _DATA, **{**md5, parameter: right}))
    told = (
        f"a put with a wrong one was answered {words_of(refused) or '200'}, with a right one {words_of(taken) or '200'}"
    )
    if taken is not None:
        return Finding(capability, "refused", told)
    return Finding(capability, "not verified" if refused is None else "kept all the same" if kept else "verified", told)


def _sha256(data: bytes) -> str:
    return b64encode(hashlib.sha256(data).digest()).decode()


def _crc32(data: bytes) -> str:
    return b64encode(crc32(data).to_bytes(4, "big")).decode()
