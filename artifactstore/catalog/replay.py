"""Replay: the same projections over the log into an empty database, and a comparison of what comes out.

Tables are compared row by row in the order of their natural keys, streamed, so memory does not grow with the store.
Surrogate integers are left out.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.catalog import accounting, event_log
from artifactstore.catalog.projections import project
from artifactstore.domain.events import event_from

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from artifactstore.catalog.database import Connection, Row
    from artifactstore.catalog.event_log import EventRecord

_AT_A_TIME = 16
"""Events in memory: a payload may name 10,000 files."""
NATURAL_ROWS = {
    "metadata_schema": "SELECT slug, json_schema, registered_at, registered_by FROM metadata_schema ORDER BY slug",
    "package": (
        "SELECT package_id, producer, external_id, subject, schema_slug, metadata_json, revision, supersedes, status,"
        " opened_at, opened_by, finalized_at, manifest_digest, file_count, total_bytes, stored_bytes, retention_class,"
        " duration_days, expires_at, expired_at, deleted_at, deleted_by, deletion_plan, deletion_rule, deletion_reason,"
        " pinned_at, pinned_by, pin_reason FROM package ORDER BY package_id"
    ),
    "package_metadata": (
        "SELECT package_metadata.key, package_metadata.value, package.package_id, package_metadata.producer"
        " FROM package"
        " JOIN package_metadata ON package_metadata.package = package.id ORDER BY 3, 1, 2"
    ),
    "blob": (
        "SELECT blob.blake3, blob.sha256, blob.size_bytes, blob.crc32, blob.chunks, blob.address_prefix, blob.files,"
        " producer_usage.producer FROM blob LEFT JOIN producer_usage ON producer_usage.id = blob.producer"
        " ORDER BY blob.address_prefix, blob.blake3"
    ),
    "stored_object": "SELECT blake3, kind, backend, size_bytes, status FROM stored_object ORDER BY 1, 2, 3",
    "blob_location": (
        "SELECT blob.blake3, stored_object.backend, stored_object.kind, stored_object.blake3, blob_location.start,"
        " blob_location.status FROM blob JOIN blob_location ON blob_location.blob_id = blob.id"
        " JOIN stored_object ON stored_object.id = blob_location.object_id"
        " ORDER BY blob.address_prefix, blob.blake3, stored_object.backend, stored_object.kind, stored_object.blake3"
    ),
    "package_file": (
        "SELECT package.package_id, package_file.file_index, package_file.path, package_file.role,"
        " package_file.media_type, blob.blake3 FROM package"
        " JOIN package_file ON package_file.package = package.id JOIN blob ON blob.id = package_file.blob_id"
        " ORDER BY package.package_id, package_file.file_index"
    ),
    "producer_usage": (
        "SELECT producer, packages, files, logical_bytes, unique_bytes, shared_bytes FROM producer_usage"
        " ORDER BY producer"
    ),
    "shared_blob": (
        "SELECT blob.blake3, producer_usage.producer, shared_blob.files FROM shared_blob"
        " JOIN blob ON blob.id = shared_blob.blob JOIN producer_usage ON producer_usage.id = shared_blob.producer"
        " ORDER BY blob.address_prefix, blob.blake3, producer_usage.producer"
    ),
    "object_usage": (
        "SELECT stored_object.blake3, object_usage.kind, object_usage.backend, object_usage.size_bytes,"
        " object_usage.used, object_usage.used_bytes, object_usage.dead_bytes, object_usage.is_condemned"
        " FROM object_usage LEFT JOIN stored_object ON stored_object.id = object_usage.object ORDER BY 1, 2, 3"
    ),
    "backend_usage": (
        "SELECT backend, kind, objects, size_bytes, dead_objects, dead_object_bytes, dead_in_use_bytes,"
        " condemned_objects, condemned_bytes FROM backend_usage WHERE objects > 0 ORDER BY backend, kind"
    ),
    "hold": (
        "SELECT hold.hold_id, package.package_id, hold.reason, hold.placed_at, hold.placed_by, hold.released_at,"
        " hold.released_by, hold.release_reason FROM hold JOIN package ON package.id = hold.package"
        " ORDER BY hold.hold_id"
    ),
    "source": (
        "SELECT source_id, location_kind, path_id, owner_host_id, content_type, display_name, metadata_json,"
        " plugin_name, plugin_version, contract_version, is_declared, indexed_at, indexed_by"
        " FROM source ORDER BY source_id"
    ),
    "envelope": (
        "SELECT envelope.envelope_id, source.source_id, envelope.transport, envelope.received_at,"
        " envelope.raw_payload, envelope.plugin_name, envelope.plugin_version, envelope.contract_version,"
        " envelope.is_declared, envelope.indexed_at, envelope.indexed_by"
        " FROM envelope JOIN source ON source.id = envelope.source ORDER BY envelope.envelope_id"
    ),
    "party": (
        "SELECT envelope.envelope_id, party.ordinal, party.identifier_kind, party.identifier_scope,"
        " party.identifier_value, party.role, party.trust"
        " FROM envelope JOIN party ON party.envelope = envelope.id ORDER BY envelope.envelope_id, party.ordinal"
    ),
    "package_observation": (
        "SELECT package.package_id, envelope.envelope_id, package_observation.observed_at,"
        " package_observation.observed_by, package_observation.producer FROM package"
        " JOIN package_observation ON package_observation.package = package.id"
        " JOIN envelope ON envelope.id = package_observation.envelope ORDER BY package.package_id, envelope.envelope_id"
    ),
}
"""For each projected table, its rows by natural keys, in a fixed order; contributed ones are added."""


class Difference(NamedTuple):
    """A row that replay does not reproduce: as the table has it, and as replay gives it; None where it is missing."""

    table: str
    recorded: Row | None
    replayed: Row | None


def replay(log: Connection, target: Connection) -> int:
    """Check the log and project every event into ``target``, whose tables are empty; returns the number of events."""
    count = 0
    for record in event_log.checked(log):
        _happen(target, record)
        count += 1
    return count


def take_over(target: Connection, identity: bytes, events: Iterable[tuple[bytes, bytes]]) -> EventRecord | None:
    """Let an empty database have this log, and its tables what the log says; the last event.

    The events are headers and payloads, from the first on; each is checked first. Raises ``EventLogCorruptError``.
    """
    target.lock_append()
    event_log.adopt(target, identity)
    waiting: list[EventRecord] = []
    last: EventRecord | None = None
    for last in event_log.following(events, seq=0, chain=event_log.first_chain(identity)):
        _happen(target, last)
        waiting.append(last)
        if len(waiting) >= _AT_A_TIME:
            event_log.add(target, waiting)
            waiting.clear()
    event_log.add(target, waiting)
    return last


def _happen(target: Connection, record: EventRecord) -> None:
    change = project(target, event_from(record.type, record.payload), record.actor)
    if change is not None:
        accounting.settle(target, [change])


def differences(recorded: Connection, replayed: Connection) -> Iterator[Difference]:
    """Every row that differs. After a missing row all later rows of its table differ too: the first ones matter."""
    for table, sql in NATURAL_ROWS.items():
        for here, there in zip_longest(recorded.stream(sql), replayed.stream(sql)):
            if here != there:
                yield Difference(table, here, there)
