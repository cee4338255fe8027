"""Values as JSON documents have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.domain.digest import Digest
from artifactstore.domain.instant import instant_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from artifactstore.documents import Document
    from artifactstore.errors import ArtifactStoreError


def optional_instant(value: int | None) -> str | None:
    """RFC 3339, from microseconds."""
    return None if value is None else instant_text(value)


def optional_blake3(raw: bytes | None) -> str | None:
    """``blake3:hex``, from a raw digest."""
    return None if raw is None else str(Digest.blake3(raw))


def unreachable_documents(errors: Mapping[str, ArtifactStoreError]) -> list[Document]:
    """Backends that gave no answer, and why."""
    return [{"backend": name, "code": error.code, "message": error.message} for name, error in errors.items()]


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
