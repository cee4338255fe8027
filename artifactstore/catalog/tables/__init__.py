"""The tables, as SQLModel classes: the one definition of the schema, from which migrations are made.

*Projected* tables follow from the event log: only ``projections`` and ``accounting`` write them, and replay must
reproduce them (compared by natural keys; the surrogate integers ``id`` may differ). *Operational* tables are never
authoritative for content.
The log itself is neither: it is the record.

On PostgreSQL ``package_file_by_blob`` also has the table's key, which SQLite adds to every index of such a table.

The program reads and writes through SQL text (``queries``, ``projections``, ``event_log``): see docs/adr/0004.
Instants are integer microseconds UTC, digests 32 raw bytes, JSON is canonical text.
"""

from __future__ import annotations

from artifactstore.catalog.tables.accounting import BackendUsage, ObjectUsage, ProducerUsage, SharedBlob
from artifactstore.catalog.tables.content import (
    Blob,
    BlobLocation,
    Hold,
    MetadataSchema,
    Package,
    PackageFile,
    PackageMetadata,
    StoredObject,
)
from artifactstore.catalog.tables.event_log import EventLog, EventRow
from artifactstore.catalog.tables.operational import (
    BackendState,
    DeclaredFiles,
    Duty,
    IdempotencyKey,
    Lease,
    OpenPackage,
    ProbeReport,
    ReceivedFile,
    ReceivedObject,
    Removal,
    Subscription,
    Token,
    Upload,
    UploadPart,
    WebhookDelivery,
)
from artifactstore.catalog.tables.provenance import Envelope, PackageObservation, Party, Source

__all__ = [
    "BackendState",
    "BackendUsage",
    "Blob",
    "BlobLocation",
    "DeclaredFiles",
    "Duty",
    "Envelope",
    "EventLog",
    "EventRow",
    "Hold",
    "IdempotencyKey",
    "Lease",
    "MetadataSchema",
    "ObjectUsage",
    "OpenPackage",
    "Package",
    "PackageFile",
    "PackageMetadata",
    "PackageObservation",
    "Party",
    "ProbeReport",
    "ProducerUsage",
    "ReceivedFile",
    "ReceivedObject",
    "Removal",
    "SharedBlob",
    "Source",
    "StoredObject",
    "Subscription",
    "Token",
    "Upload",
    "UploadPart",
    "WebhookDelivery",
]
