"""What every event has in common: a frozen value, and its payload as canonical CBOR."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, NamedTuple, Self

from artifactstore.domain.canonical import decode, encode, encode_ordered


class ObjectRef(NamedTuple):
    """An object as an event names it: where, what kind, which bytes."""

    backend: str
    kind: str
    blake3: bytes
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The base. Fields are the payload's members; one that is None is left out."""

    type: ClassVar[str]

    @property
    def subject(self) -> str:
        """What it happened to: a package id, a schema slug, an object's digest."""
        raise NotImplementedError

    def payload(self) -> bytes:
        """The canonical bytes."""
        members = self._members()
        has_maps = any(isinstance(value, dict) for value in members.values())
        return encode(members) if has_maps else encode_ordered(members)

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """The inverse of ``payload``, for a payload of this type; ``event_from`` takes any."""
        return cls(**{key: frozen(value) for key, value in decode(payload).items()})

    def _members(self) -> dict[str, Any]:
        names = _members_of(type(self))  # type: ignore[arg-type]  # mypy takes the hash of an event for its class's
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@cache
def _members_of(kind: type[Event]) -> tuple[str, ...]:
    """In canonical order."""
    return tuple(sorted((field.name for field in dataclasses.fields(kind)), key=lambda name: (len(name), name)))


def frozen(value: object) -> object:
    """A decoded value with its lists as tuples."""
    return tuple(frozen(item) for item in value) if isinstance(value, list) else value
