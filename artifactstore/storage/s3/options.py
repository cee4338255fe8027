"""What can be set of an S3 store: its URL, and the settings that begin with ``ARTIFACTSTORE_S3_``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from artifactstore.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

MEBIBYTE = 1024 * 1024
SMALLEST_PART_BYTES = 5 * MEBIBYTE
LARGEST_PUT_BYTES = 5 * 1024 * MEBIBYTE
"""S3's limits: a part but the last has at least, a part and a single put at most so much."""

_PREFIX = "ARTIFACTSTORE_S3_"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_SEGMENT = re.compile(r"[A-Za-z0-9!_.*'()=+@-]+")
_LONGEST_PREFIX = 512
_REGION = re.compile(r"[a-z0-9-]{1,64}")
_STORAGE_CLASS = re.compile(r"[A-Z_]{1,64}")
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_ENCRYPTIONS = ("AES256", "aws:kms", "aws:kms:dsse")
_CHECKSUMS = ("when_supported", "when_required", "sha256")
_ADDRESSINGS = ("auto", "path", "virtual")


@dataclass(frozen=True, slots=True)
class S3Options:
    """Checked. What is None is left to boto3, or to the bucket."""

    endpoint_url: str | None = None
    public_endpoint_url: str | None = None
    """Where others reach the same bucket; for presigned URLs."""
    region: str | None = None
    storage_class: str | None = None
    server_side_encryption: str | None = None
    kms_key_id: str | None = None
    multipart_threshold_bytes: int = 80 * MEBIBYTE
    """Above the size of a pack, which is then one request that writes instead of seven."""
    multipart_part_bytes: int = 16 * MEBIBYTE
    max_connections: int = 32
    connect_timeout_s: int = 5
    read_timeout_s: int = 60
    checksums: str = "when_supported"
    addressing: str = "auto"
    profile: str | None = None
    """Of boto3's own configuration and credentials files."""

    @classmethod
    def parse(cls, options: Mapping[str, str]) -> S3Options:
        """From settings by their names without the prefix. Raises ``ConfigurationError`` naming the variable."""
        given = {name: text for name, text in options.items() if text}
        parsed = cls(
            endpoint_url=_address(given, "ENDPOINT_URL"),
            public_endpoint_url=_address(given, "PUBLIC_ENDPOINT_URL"),
            region=_word(given, "REGION", _REGION),
            storage_class=_word(given, "STORAGE_CLASS", _STORAGE_CLASS),
            server_side_encryption=_one_of(given, "SERVER_SIDE_ENCRYPTION", _ENCRYPTIONS, None),
            kms_key_id=given.get("KMS_KEY_ID"),
            multipart_threshold_bytes=_number(
                given, "MULTIPART_THRESHOLD_BYTES", 80 * MEBIBYTE, SMALLEST_PART_BYTES, LARGEST_PUT_BYTES
            ),
            multipart_part_bytes=_number(
                given, "MULTIPART_PART_BYTES", 16 * MEBIBYTE, SMALLEST_PART_BYTES, LARGEST_PUT_BYTES
            ),
            max_connections=_number(given, "MAX_CONNECTIONS", 32, 1, 1000),
            connect_timeout_s=_number(given, "CONNECT_TIMEOUT_S", 5, 1, 300),
            read_timeout_s=_number(given, "READ_TIMEOUT_S", 60, 1, 3600),
            checksums=_one_of(given, "CHECKSUMS", _CHECKSUMS, None) or _CHECKSUMS[0],
            addressing=_one_of(given, "ADDRESSING", _ADDRESSINGS, None) or _ADDRESSINGS[0],
            profile=given.get("PROFILE"),
        )
        parsed._check()
        return parsed

    def _check(self) -> None:
        if self.kms_key_id and not (self.server_side_encryption or "").startswith("aws:kms"):
            raise ConfigurationError(f"{_PREFIX}KMS_KEY_ID is set, and {_PREFIX}SERVER_SIDE_ENCRYPTION is not aws:kms")
        if self.storage_class in _ARCHIVES:
            raise ConfigurationError(
                f"{_PREFIX}STORAGE_CLASS: objects of {self.storage_class} cannot be read when they are needed",
                hint="GLACIER_IR costs little more and can be read at once.",
            )


def parse_url(url: str) -> tuple[str, str]:
    """``s3://bucket/prefix`` as the bucket and the prefix, which ends with a slash unless it is empty.

    Nothing in it is percent-encoded. Raises ``ConfigurationError``.
    """
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    segments = prefix.rstrip("/").split("/") if prefix.rstrip("/") else []
    sound = all(_SEGMENT.fullmatch(segment) and segment not in {".", ".."} for segment in segments)
    if not url.startswith("s3://") or not _BUCKET.fullmatch(bucket) or not sound or len(prefix) > _LONGEST_PREFIX:
        raise ConfigurationError(
            "not the URL of a bucket" if "@" in url else f"not the URL of a bucket: {url[:200]!r}",  # no credentials
            hint="Write it as s3://bucket or s3://bucket/prefix, the prefix with letters, digits and !_.*'()=+@-.",
        )
    return bucket, "".join(f"{segment}/" for segment in segments)


def _address(given: Mapping[str, str], name: str) -> str | None:
    """The address of a server. It is not repeated in the message: there may be a password in it."""
    if (text := given.get(name)) is None:
        return None
    try:
        parts = urlsplit(text)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or "@" in text or "?" in text or "#" in text or not text.isprintable() or " " in text:
        raise ConfigurationError(
            f"{_PREFIX}{name} is not the address of a server",
            hint="Write it like https://s3.example.org; credentials do not belong there.",
        )
    return text.rstrip("/")


def _word(given: Mapping[str, str], name: str, pattern: re.Pattern[str]) -> str | None:
    text = given.get(name)
    if text is not None and not pattern.fullmatch(text):
        raise ConfigurationError(f"{_PREFIX}{name} must match {pattern.pattern}, not {text[:60]!r}")
    return text


def _one_of(given: Mapping[str, str], name: str, choices: tuple[str, ...], default: str | None) -> str | None:
    text = given.get(name, default)
    if text is not None and text not in choices:
        raise ConfigurationError(f"{_PREFIX}{name} must be one of {', '.join(choices)}, not {text[:60]!r}")
    return text


def _number(given: Mapping[str, str], name: str, default: int, lowest: int, highest: int) -> int:
    text = given.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > len(str(highest)) or not lowest <= int(text) <= highest:
        raise ConfigurationError(
            f"{_PREFIX}{name} must be a whole number from {lowest} to {highest}, not {text[:60]!r}"
        )
    return int(text)
