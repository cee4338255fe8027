"""What can happen: every change of content as a frozen value, and how it is written into the log.

An event's payload is canonical CBOR and carries all that replay needs, locations included, so replay never reads
storage. docs/reference/events.md describes each type; a type's meaning never changes, a new meaning is a new version.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from artifactstore.domain.canonical import decode, encode
from artifactstore.domain.event import Event, ObjectRef
from artifactstore.domain.manifest import FileEntry, encode_files, file_from_document
from artifactstore.domain.object_events import (
    BlobDamaged,
    BlobRestored,
    LogSealed,
    ObjectCondemned,
    ObjectCopied,
    ObjectDamaged,
    ObjectDeleted,
    ObjectReprieved,
    ObjectRestored,
    PackRepacked,
    ReadFellBack,
)
from artifactstore.domain.provenance_events import EnvelopeIndexed, Ingested, SourceIndexed
from artifactstore.errors import EventLogCorruptError, ManifestInvalidError

if TYPE_CHECKING:
    from artifactstore.domain.canonical import JsonValue

MAX_FILES_PER_EVENT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataSchemaRegistered(Event):
    """A JSON Schema was registered under a slug, for good."""

    type = "v1.metadata_schema.registered"
    slug: str
    json_schema: dict[str, JsonValue]
    registered_at: int

    @property
    def subject(self) -> str:
        """The slug."""
        return self.slug


@dataclass(frozen=True, slots=True, kw_only=True)
class _PackageEvent(Event):
    package_id: str

    @property
    def subject(self) -> str:
        """The package id."""
        return self.package_id


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageOpened(_PackageEvent):
    """A package was begun: everything about it but its files."""

    type = "v1.package.opened"
    producer: str
    revision: int
    opened_at: int
    external_id: str | None = None
    subject_ref: str | None = None
    schema: str | None = None
    metadata: dict[str, JsonValue] | None = None
    supersedes: str | None = None

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """As in the base, but metadata stays JSON: its lists are lists."""
        return cls(**decode(payload))


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesAdded(_PackageEvent):
    """Up to 10,000 files in path order, and what became known of their blobs.

    ``crc32s``, ``object_indexes`` and ``starts`` have a value for each file: the CRC-32 of a blob that the catalog did
    not know, the index into ``objects`` and the first byte of a location that is new; else None, as for the second of
    two files with one blob. ``chunks`` has (offset within ``files``, chunk digests) of new blobs of several chunks.
    """

    type = "v1.package.files_added"
    first_index: int
    files: tuple[FileEntry, ...]
    objects: tuple[ObjectRef, ...]
    crc32s: tuple[int | None, ...]
    object_indexes: tuple[int | None, ...]
    starts: tuple[int | None, ...]
    chunks: tuple[tuple[int, bytes], ...]
    encoded_files: bytes | None = field(default=None, compare=False, repr=False)
    """What ``encode_files`` makes of ``files``, if the manifest has had it made; not part of the event."""

    def payload(self) -> bytes:
        """The base's encoding, with the file entries written as the manifest writes them."""
        members = {
            "files": encode_files(self.files) if self.encoded_files is None else self.encoded_files,
            "chunks": encode(self.chunks),
            "crc32s": encode(self.crc32s),
            "starts": encode(self.starts),
            "objects": encode([list(reference) for reference in self.objects]),
            "package_id": encode(self.package_id),
            "first_index": encode(self.first_index),
            "object_indexes": encode(self.object_indexes),
        }
        return b"".join((b"\xa8", *(part for key, value in members.items() for part in (encode(key), value))))

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """The inverse of ``payload``."""
        members = decode(payload)
        return cls(
            package_id=members["package_id"],
            first_index=members["first_index"],
            files=tuple(file_from_document(file) for file in members["files"]),
            objects=tuple(ObjectRef(*reference) for reference in members["objects"]),
            crc32s=tuple(members["crc32s"]),
            object_indexes=tuple(members["object_indexes"]),
            starts=tuple(members["starts"]),
            chunks=tuple((offset, digests) for offset, digests in members["chunks"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionApplied(_PackageEvent):
    """A retention class was resolved to an expiry; without ``expires_at`` the package never expires."""

    type = "v1.package.retention_applied"
    retention_class: str
    duration_days: int | None = None
    expires_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFinalized(_PackageEvent):
    """The package was closed and its manifest fixed."""

    type = "v1.package.finalized"
    manifest: ObjectRef
    file_count: int
    total_bytes: int
    stored_bytes: int
    finalized_at: int

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """As in the base, with the manifest as a reference."""
        members = decode(payload)
        return cls(**{**members, "manifest": ObjectRef(*members["manifest"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageExpired(_PackageEvent):
    """The package's retention has ended and no hold was in force; its bytes may be collected."""

    type = "v1.package.expired"
    expired_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageDeleted(_PackageEvent):
    """An expired package was deleted as a plan says: it refers to no blob any more, and a tombstone is left.

    ``plan`` is the plan's manifest digest, ``rule`` what freed the package, ``objects`` what held its bytes then.
    """

    type = "v1.package.deleted"
    plan: bytes
    rule: str
    reason: str
    deleted_at: int
    objects: tuple[ObjectRef, ...]

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """As in the base, with the objects as references."""
        members = decode(payload)
        return cls(**{**members, "objects": tuple(ObjectRef(*each) for each in members["objects"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagePinned(_PackageEvent):
    """Someone said that no plan may free the package, until it is unpinned."""

    type = "v1.package.pinned"
    reason: str
    pinned_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageUnpinned(_PackageEvent):
    """A pin ended."""

    type = "v1.package.unpinned"
    reason: str
    unpinned_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanApproved(_PackageEvent):
    """Someone agreed to what a plan deletes; the package is the plan's own."""

    type = "v1.retention.plan_approved"
    plan: bytes
    approved_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionExtended(_PackageEvent):
    """The expiry was moved to a later instant."""

    type = "v1.retention.extended"
    expires_at: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldPlaced(_PackageEvent):
    """Someone said "not yet", whatever the class says."""

    type = "v1.hold.placed"
    hold_id: str
    reason: str
    placed_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldReleased(_PackageEvent):
    """A hold ended."""

    type = "v1.hold.released"
    hold_id: str
    reason: str
    released_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageObserved(_PackageEvent):
    """An envelope observed this package."""

    type = "v1.package.observed"
    envelope_id: bytes
    observed_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRebuilt(Event):
    """The catalog was rebuilt from storage. Of events after ``last_seq`` what they said of these packages is left.

    Their ids are new; who made them, and when, is not known. Several events where there are very many.
    """

    type = "v1.log.rebuilt"
    log_id: bytes
    last_seq: int
    package_ids: tuple[str, ...]

    @property
    def subject(self) -> str:
        """The log's id."""
        return self.log_id.hex()


PLUGIN_NAMESPACE = "plugin."
"""What the types of plug-ins' own events begin with; the core's begin with a version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginEvent(Event):
    """Something a plug-in says has happened. Of any type in the plug-in's namespace; it changes no table."""

    type: str  # type: ignore[misc]  # each has its own, the core's kinds one each
    about: str
    body: dict[str, JsonValue]

    @property
    def subject(self) -> str:
        """What the plug-in says it is about."""
        return self.about

    def payload(self) -> bytes:
        """The base's encoding; the type stands in the header already."""
        return encode({"about": self.about, "body": self.body})


EVENT_TYPES: dict[str, type[Event]] = {
    kind.type: kind
    for kind in (
        MetadataSchemaRegistered,
        PackageOpened,
        FilesAdded,
        RetentionApplied,
        PackageFinalized,
        PackageExpired,
        PackageDeleted,
        PackagePinned,
        PackageUnpinned,
        PlanApproved,
        RetentionExtended,
        HoldPlaced,
        HoldReleased,
        BlobDamaged,
        BlobRestored,
        ObjectDamaged,
        ObjectRestored,
        ObjectCondemned,
        ObjectReprieved,
        PackRepacked,
        ObjectCopied,
        ObjectDeleted,
        ReadFellBack,
        LogSealed,
        LogRebuilt,
        SourceIndexed,
        EnvelopeIndexed,
        Ingested,
        PackageObserved,
    )
}
"""Every type by its name in the log, but those of plug-ins; ``catalog.contributions`` adds those of built-in pilots."""

TAKES_AWAY = (BlobDamaged.type, ObjectDamaged.type, ObjectCondemned.type, ObjectDeleted.type)
"""The types after which an object or blob that was present may count as absent."""


def event_from(type_name: str, payload: bytes) -> Event:
    """The event of a row of the log. Raises ``EventLogCorruptError`` for a type unknown here, or another's payload."""
    is_plugins = type_name.startswith(PLUGIN_NAMESPACE)
    if type_name not in EVENT_TYPES and not is_plugins:
        raise EventLogCorruptError(
            f"the log holds an event of unknown type {type_name!r}",
            hint="It was written by a newer artifactstore; use that version.",
        )
    try:
        if is_plugins:
            return PluginEvent(type=type_name, **decode(payload))
        return EVENT_TYPES[type_name].from_payload(payload)
    except (AttributeError, KeyError, TypeError, ValueError, ManifestInvalidError) as error:
        raise EventLogCorruptError(f"the payload is not one of {type_name}: {error}") from error
