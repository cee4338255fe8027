"""A bucket below a prefix: its client, and the requests that more than one part of the adapter makes."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from artifactstore.errors import ConfigurationError, ObjectNotFoundError, StorageUnavailableError
from artifactstore.storage.s3.errors import code_of, status_of, storage_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.storage.port import ObjectKey
    from artifactstore.storage.s3.options import S3Options

_TRIES = 4
MAX_DELETED_AT_ONCE = 1_000
_NOT_KNOWN = {"NotImplemented", "MethodNotAllowed", "MalformedXML", "MissingContentMD5"}
"""What servers answer that do not delete many objects in one request, or not with our checksum."""
_NOT_KNOWN_STATUS = {405, 501}
_NO_SUCH_KEY, _TOO_LARGE = "NoSuchKey", "InvalidRequest"
_QUARANTINE = "quarantine"
_COPIED_AT_ONCE = 1024 * 1024 * 1024


@dataclass
class Bucket:
    """One client, shared by every thread, as boto3's clients may be."""

    client: Any
    name: str
    prefix: str
    """Empty, or ends with a slash."""
    options: S3Options
    takes_conditions: bool = True
    """Whether the server has not said yet that it knows no conditional writes."""
    checks_sums: bool = False
    """Whether the server has acknowledged an object with the CRC-32 or SHA-256 that it was sent with."""

    def at(self, path: str) -> dict[str, str]:
        """Where a path of ours is, as parameters of a request."""
        return {"Bucket": self.name, "Key": self.prefix + path}

    @cached_property
    def how_stored(self) -> dict[str, str]:
        """Parameters of every request that makes an object."""
        options = self.options
        named = {
            "StorageClass": options.storage_class,
            "ServerSideEncryption": options.server_side_encryption,
            "SSEKMSKeyId": options.kms_key_id,
        }
        return {name: value for name, value in named.items() if value}

    def size(self, key: ObjectKey) -> int:
        """By HEAD. Raises ``ObjectNotFoundError``."""
        with storage_errors(f"{key} cannot be read"):
            return content_length(self.client.head_object(**self.at(key.path)))

    def size_or_none(self, key: ObjectKey) -> int | None:
        """The same, with None for nothing."""
        try:
            return self.size(key)
        except ObjectNotFoundError:
            return None

    def delete(self, key: ObjectKey) -> None:
        """S3 says nothing of whether there was one."""
        self.client.delete_object(**self.at(key.path))

    def delete_many(self, keys: Sequence[ObjectKey]) -> list[ObjectKey]:
        """At most a thousand, in one request; those that the server says it has not deleted, to be deleted singly.

        All of them if it does not say which.
        """
        names = {self.prefix + key.path: key for key in keys}
        listed = [{"Key": name} for name in names]
        try:
            answer = self.client.delete_objects(Bucket=self.name, Delete={"Objects": listed, "Quiet": True})
        except self.client.exceptions.ClientError as error:
            if code_of(error) in _NOT_KNOWN or status_of(error) in _NOT_KNOWN_STATUS:
                return list(keys)
            raise
        failed = [refusal.get("Key") for refusal in answer.get("Errors", ())]
        return [names[name] for name in failed] if names.keys() >= set(failed) else list(keys)

    def keep_aside(self, key: ObjectKey) -> bool:
        """Copy an object into ``quarantine``, under a name that keeps earlier ones; False if there is none."""
        name = f"{key.path.rpartition('/')[2]}.{secrets.token_hex(4)}"
        source, to = self.at(key.path), self.at(f"{_QUARANTINE}/{name}")
        try:
            self.client.copy_object(**to, CopySource=source, **self.how_stored)
        except self.client.exceptions.ClientError as error:
            if code_of(error) == _NO_SUCH_KEY:
                return False
            if code_of(error) != _TOO_LARGE:
                raise
            self._copy_in_parts(source, to)
        return True

    def _copy_in_parts(self, source: dict[str, str], to: dict[str, str]) -> None:
        """What one request may not copy: more than 5 GiB."""
        from boto3.s3.transfer import TransferConfig

        parts = TransferConfig(multipart_threshold=_COPIED_AT_ONCE, multipart_chunksize=_COPIED_AT_ONCE)
        self.client.copy(source, to["Bucket"], to["Key"], ExtraArgs=self.how_stored, Config=parts)


def content_length(answer: dict[str, Any]) -> int:
    """How long the body of an answer is, or would be. Raises ``StorageUnavailableError`` if it does not say."""
    if (found := answer.get("ContentLength")) is None:
        raise StorageUnavailableError("the server does not say how large an object is")
    return int(found)


def open_client(options: S3Options, endpoint_url: str | None) -> Any:
    """A client of boto3, with its own chain of credentials. Raises ``ConfigurationError`` where boto3 is missing.

    It adds no checksum by itself: ours are sent as plain headers, which a server that does not know them passes over,
    whereas boto3's trailers end up in the objects of some. Nor does it check what is read: every reader compares the
    bytes with their BLAKE3 digest, which names damage where a second check could only fail.
    """
    try:
        from boto3.session import Session
        from botocore.config import Config
    except ImportError as error:
        raise ConfigurationError(
            "s3:// needs boto3, which is not installed", hint="Install artifactstore with the extra s3."
        ) from error
    config = Config(
        signature_version="s3v4",
        retries={"mode": "standard", "total_max_attempts": _TRIES},
        connect_timeout=options.connect_timeout_s,
        read_timeout=options.read_timeout_s,
        max_pool_connections=options.max_connections,
        tcp_keepalive=True,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": options.addressing},
    )
    with storage_errors("S3 cannot be used"):
        session = Session(profile_name=options.profile)
        return session.client("s3", endpoint_url=endpoint_url, region_name=options.region, config=config)
