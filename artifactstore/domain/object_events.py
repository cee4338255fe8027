"""What can happen to stored objects: events that name one by its backend, kind, digest and size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from artifactstore.domain.canonical import decode
from artifactstore.domain.event import Event, ObjectRef, frozen


@dataclass(frozen=True, slots=True, kw_only=True)
class _ObjectEvent(Event):
    object: ObjectRef

    @property
    def subject(self) -> str:
        """The object's digest."""
        return f"blake3:{self.object.blake3.hex()}"

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """As in the base, with the object as a reference."""
        members: dict[str, Any] = {key: frozen(value) for key, value in decode(payload).items()}
        members["object"] = ObjectRef(*members["object"])
        return cls(**members)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobDamaged(_ObjectEvent):
    """Verification found that these blobs (BLAKE3, 32 bytes each) cannot be read back from this object."""

    type = "v1.blob.damaged"
    blobs: tuple[bytes, ...]
    finding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobRestored(_ObjectEvent):
    """These blobs were stored again in this object, or were found good in it again: (BLAKE3, start) each."""

    type = "v1.blob.restored"
    blobs: tuple[tuple[bytes, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectDamaged(_ObjectEvent):
    """Verification found an object missing, or with other bytes than its digest says."""

    type = "v1.object.damaged"
    finding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRestored(_ObjectEvent):
    """A damaged object was stored again, or was found good again."""

    type = "v1.object.restored"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectCondemned(_ObjectEvent):
    """Nothing refers to the object; it counts as absent from now on and will be deleted."""

    type = "v1.object.condemned"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectReprieved(_ObjectEvent):
    """A condemned object is about to be stored once more: it is not deleted; it counts as absent until it is."""

    type = "v1.object.reprieved"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackRepacked(_ObjectEvent):
    """What something refers to of a pack was stored in a smaller one of the same backend, from where it is read now.

    ``source`` is the pack that was left, ``blobs`` has (BLAKE3, start in the new one) of each blob that was moved.
    """

    type = "v1.pack.repacked"
    source: ObjectRef
    blobs: tuple[tuple[bytes, int], ...]

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """As in the base, with both packs as references."""
        members: dict[str, Any] = {key: frozen(value) for key, value in decode(payload).items()}
        return cls(**{**members, **{key: ObjectRef(*members[key]) for key in ("object", "source")}})


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectCopied(_ObjectEvent):
    """The object's bytes were stored in this backend too, from another: what lies there at live locations, lies here.

    ``source`` is the other backend, whose object has the same kind, digest and size.
    """

    type = "v1.object.copied"
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectDeleted(_ObjectEvent):
    """A condemned object was removed from its backend, with its locations."""

    type = "v1.object.deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFellBack(_ObjectEvent):
    """A read found this object's backend failing and was served from another. At most one a while for each backend."""

    type = "v1.read.fell_back"
    served_by: str
    finding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSealed(_ObjectEvent):
    """The events from ``first_seq`` to ``last_seq`` were stored as an object, a segment of the log."""

    type = "v1.log.sealed"
    first_seq: int
    last_seq: int
