"""Digests as values, and all that is known of a blob without its bytes.

Inside, a digest is 32 raw bytes under a field that names its algorithm (``blake3``, ``sha256``). At the edges it is a
``Digest``, written ``blake3:<hex>`` or ``sha256:<hex>``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

from artifactstore.errors import DigestInvalidError

DIGEST_BYTES = 32
CHUNK_BYTES = 4 * 1024 * 1024
"""Blobs larger than this also carry the BLAKE3 of each chunk of this size, so that a range can be verified."""

Algorithm = Literal["blake3", "sha256"]
_PATTERN = re.compile(r"(blake3|sha256):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Digest:
    """An algorithm and 32 raw bytes; ``str()`` gives ``blake3:<hex>`` or ``sha256:<hex>``."""

    algorithm: Algorithm
    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != DIGEST_BYTES:
            raise DigestInvalidError(f"a {self.algorithm} digest has 32 bytes, not {len(self.raw)}")

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read ``algorithm:hex``. Raises ``DigestInvalidError`` for anything else, upper-case digits included."""
        found = _PATTERN.fullmatch(text)
        if found is None:
            raise DigestInvalidError(f"not a digest: {text[:100]!r}")
        return cls(cast("Algorithm", found[1]), bytes.fromhex(found[2]))

    @classmethod
    def blake3(cls, raw: bytes) -> Digest:
        """The address of a blob, a pack or a manifest."""
        return cls("blake3", raw)

    @classmethod
    def sha256(cls, raw: bytes) -> Digest:
        """The digest that S3, OCI, in-toto and auditors' tools speak."""
        return cls("sha256", raw)

    @property
    def hex(self) -> str:
        """The 64 lower-case hex digits."""
        return self.raw.hex()

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.raw.hex()}"


class BlobDescriptor(NamedTuple):
    """Both digests (32 raw bytes each) and the size: all that is known of a blob without its bytes."""

    blake3: bytes
    sha256: bytes
    size_bytes: int


class BlobMeasure(NamedTuple):
    """A descriptor and what is kept beside it in SQL and in the event log, but not in the manifest."""

    blake3: bytes
    sha256: bytes
    size_bytes: int
    crc32: int
    chunks: bytes
    """The BLAKE3 digests of the blob's 4 MiB chunks, concatenated; empty for a blob of one chunk or less."""

    @property
    def descriptor(self) -> BlobDescriptor:
        """The part that identifies the blob."""
        return BlobDescriptor(self.blake3, self.sha256, self.size_bytes)
