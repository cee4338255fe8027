"""How the tables of provenance follow from the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.domain.canonical import canonical_json
from artifactstore.errors import EventLogCorruptError

if TYPE_CHECKING:
    from artifactstore.catalog.database import Connection
    from artifactstore.domain.provenance_events import EnvelopeIndexed, SourceIndexed


def source_indexed(connection: Connection, event: SourceIndexed, actor: str) -> None:
    """A source that was not known."""
    metadata = None if event.metadata is None else canonical_json(event.metadata)
    connection.execute(
        "INSERT INTO source (source_id, location_kind, path_id, owner_host_id, content_type, display_name,"
        " metadata_json, plugin_name, plugin_version, contract_version, is_declared, indexed_at, indexed_by)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            event.source_id, event.location_kind, event.path_id, event.owner_host_id, event.content_type,
            event.display_name, metadata, event.plugin_name, event.plugin_version, event.contract_version,
            int(event.is_declared), event.indexed_at, actor,
        ),
    )  # fmt: skip


def envelope_indexed(connection: Connection, event: EnvelopeIndexed, actor: str) -> None:
    """An envelope that was not known, with its parties."""
    rows = connection.execute(
        "INSERT INTO envelope (envelope_id, source, transport, received_at, raw_payload, plugin_name, plugin_version,"
        " contract_version, is_declared, indexed_at, indexed_by)"
        " SELECT ?, id, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM source WHERE source_id = ? RETURNING id",
        (
            event.envelope_id, event.transport, event.received_at, event.raw_payload, event.plugin_name,
            event.plugin_version, event.contract_version, int(event.is_declared), event.indexed_at, actor,
            event.source_id,
        ),
    )  # fmt: skip
    envelope = next((row_id for (row_id,) in rows), None)
    if envelope is None:
        raise EventLogCorruptError(f"an event names source {event.source_id.hex()}, which was never indexed")
    connection.insert(
        "party (envelope, ordinal, identifier_kind, identifier_scope, identifier_value, role, trust)",
        [(envelope, ordinal, *party) for ordinal, party in enumerate(event.parties)],
    )
