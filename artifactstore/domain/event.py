"""What every event has in common: a frozen value, and its payload as canonical CBOR."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from artifactstore.domain.canonical import decode, encode, encode_ordered

if TYPE_CHECKING:
    from collections.abc import Callable


class ObjectRef(NamedTuple):
    """An object as an event names it: where, what kind, which bytes."""

    backend: str
    kind: str
    blake3: bytes
    size_bytes: int


def lock_order(reference: ObjectRef) -> tuple[bool, bytes, str]:
    """In which order one transaction locks the rows of objects, so that no two wait for each other.

    Manifests come last, because a package's events name its manifest last.
    """
    return reference.kind == "manifest", reference.blake3, reference.kind


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
        shape = _shape_of(type(self))  # type: ignore[arg-type]  # mypy takes the hash of an event for its class's
        values = zip(shape.names, shape.values(self), strict=True)
        members = {name: value for name, value in values if value is not None}
        return encode_ordered(members) if shape.maps.isdisjoint(members) else encode(members)

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """The inverse of ``payload``, for a payload of this type; ``event_from`` takes any."""
        return cls(**{key: frozen(value) for key, value in decode(payload).items()})


class _Shape(NamedTuple):
    """What an event's payload is made of."""

    names: tuple[str, ...]
    """In canonical order."""
    values: Callable[[Event], tuple[Any, ...]]
    maps: frozenset[str]
    """Those that may hold JSON objects, whose keys have an order to be found."""


@cache
def _shape_of(kind: type[Event]) -> _Shape:
    fields = sorted(dataclasses.fields(kind), key=lambda field: (len(field.name), field.name))
    names = tuple(field.name for field in fields)
    values = attrgetter(*names) if len(names) > 1 else lambda event: (getattr(event, names[0]),)
    return _Shape(names, values, frozenset(field.name for field in fields if "dict" in str(field.type)))


def frozen(value: object) -> object:
    """A decoded value with its lists as tuples."""
    return tuple(frozen(item) for item in value) if isinstance(value, list) else value
