"""Values as JSON documents have them."""

from __future__ import annotations

from artifactstore.domain.digest import Digest
from artifactstore.domain.instant import instant_text


def optional_instant(value: int | None) -> str | None:
    """RFC 3339, from microseconds."""
    return None if value is None else instant_text(value)


def optional_blake3(raw: bytes | None) -> str | None:
    """``blake3:hex``, from a raw digest."""
    return None if raw is None else str(Digest.blake3(raw))


def hex_for_bytes(value: object) -> object:
    """What was decoded from canonical CBOR, with its byte strings in hex."""
    match value:
        case bytes():
            return value.hex()
        case list():
            return [hex_for_bytes(item) for item in value]
        case dict():
            return {str(key): hex_for_bytes(item) for key, item in value.items()}
        case _:
            return value
