"""Requests that boto3 does not make by itself: URLs that were signed in the past, bodies with trailers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from datetime import datetime

    from artifactstore.storage.s3.probing.ground import Ground

_STREAMED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
_TIMESTAMP = "%Y%m%dT%H%M%SZ"


def signed_at(ground: Ground, url: str, region: str, at: datetime, *, expires_in_s: int) -> str | None:
    """A GET of a presigned URL's object, signed as of another time; None if boto3 does not let itself be told."""
    from botocore.auth import S3SigV4QueryAuth
    from botocore.awsrequest import AWSRequest

    class SignedThen(S3SigV4QueryAuth):  # type: ignore[misc]
        def _modify_request_before_signing(self, request: Any) -> None:
            request.context["timestamp"] = at.strftime(_TIMESTAMP)
            super()._modify_request_before_signing(request)

    request = AWSRequest("GET", _without_query(url))
    SignedThen(_credentials(ground), "s3", region, expires_in_s).add_auth(request)
    return str(request.url) if f"X-Amz-Date={at.strftime(_TIMESTAMP)}" in request.url else None


def signed_with_trailer(ground: Ground, name: str, body: bytes, *, decoded_bytes: int) -> tuple[str, dict[str, str]]:
    """Where and with which headers a chunked body with a CRC-32 behind it is put."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest

    client = ground.client
    url = _without_query(client.generate_presigned_url("put_object", Params=ground.at(name)))
    headers = {
        "Host": urlsplit(url).netloc,
        "Content-Length": str(len(body)),
        "Content-Encoding": "aws-chunked",
        "X-Amz-Trailer": "x-amz-checksum-crc32",
        "X-Amz-Decoded-Content-Length": str(decoded_bytes),
        "X-Amz-Content-SHA256": _STREAMED,
    }
    request = AWSRequest("PUT", url, headers)
    request.context["checksum"] = {"request_algorithm": {"in": "trailer", "algorithm": "crc32"}}
    S3SigV4Auth(_credentials(ground), "s3", client.meta.region_name).add_auth(request)
    return url, dict(request.headers.items())


def _credentials(ground: Ground) -> Any:
    """What boto3's own chain finds, as for the adapter's clients."""
    from boto3.session import Session
    from botocore.exceptions import NoCredentialsError

    found = Session(profile_name=ground.bucket.options.profile).get_credentials()
    if found is None:
        raise NoCredentialsError
    return found.get_frozen_credentials()


def _without_query(url: str) -> str:
    return urlunsplit((*urlsplit(url)[:3], "", ""))
