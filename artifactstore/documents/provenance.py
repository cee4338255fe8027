"""Sources, envelopes and observations as JSON documents; see ``artifactstore.documents``.

Ids are 64 hex digits, payloads standard base64.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from artifactstore.documents.packages import package_details
from artifactstore.documents.usage import package_usage_document
from artifactstore.domain.instant import instant_text
from artifactstore.registry.provenance import FIRST_OBSERVATIONS, SEES_EVERYTHING, list_observations
from artifactstore.registry.usage import package_usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.catalog.provenance import EnvelopeRecord, PartyRecord, SourceRecord
    from artifactstore.catalog.records import HoldRecord, PackageRecord
    from artifactstore.documents import Document
    from artifactstore.domain.provenance import IngestResult
    from artifactstore.registry.provenance import EnvelopeDetails, SeenEnvelope, SeenObservation, SeenSource, Viewer
    from artifactstore.registry.registry import Registry


def ingested_document(result: IngestResult) -> Document:
    """What became of an observation, and of its package if there was one."""
    package = result.package
    return {
        "source": {"id": result.source.id, "was_created": result.source.was_created},
        "envelope": {"id": result.envelope.id, "was_created": result.envelope.was_created},
        "package": package
        and {"id": package.id, "manifest_digest": package.manifest_digest, "was_created": package.was_created},
    }


def source_document(seen: SeenSource) -> Document:
    """A source; what was said of it first is null unless it may be told."""
    record = seen.record
    said = _said_first(record) if seen.is_whole else dict.fromkeys(_SAID_FIRST)
    return {"id": record.source_id.hex(), "location_kind": record.location_kind, "path_id": record.path_id, **said}


_SAID_FIRST = ("owner_host_id", "retrieval", "metadata", "plugin", "recorded_by", "recorded_at")


def _said_first(record: SourceRecord) -> Document:
    values = (
        record.owner_host_id,
        {"content_type": record.content_type, "display_name": record.display_name},
        None if record.metadata_json is None else json.loads(record.metadata_json),
        _plugin(record),
        record.indexed_by,
        instant_text(record.indexed_at),
    )
    return dict(zip(_SAID_FIRST, values, strict=True))


def envelope_document(seen: SeenEnvelope) -> Document:
    """An envelope without its payload."""
    record = seen.record
    return {
        "id": record.envelope_id.hex(),
        "source": _place(record),
        "transport": record.transport,
        "received_at": instant_text(record.received_at),
        "payload_bytes": record.payload_bytes,
        **_witness(seen),
    }


def envelope_details(found: EnvelopeDetails) -> Document:
    """An envelope with its payload and the packages that it observed."""
    return {
        **envelope_document(found.envelope),
        "raw_payload": base64.b64encode(found.raw_payload).decode(),
        "packages": [{"package_id": package_id, "producer": producer} for package_id, producer in found.packages],
        "more_packages": found.has_more_packages,
    }


def observation_document(observation: SeenObservation) -> Document:
    """Where a package was observed, by whom, and who took part."""
    record = observation.envelope.record
    return {
        "source": _place(record),
        "envelope": {
            "id": record.envelope_id.hex(),
            "transport": record.transport,
            "received_at": instant_text(record.received_at),
        },
        "observed_by": observation.observed_by,
        "observed_at": instant_text(observation.observed_at),
        **_witness(observation.envelope),
    }


def first_observations(page: Sequence[SeenObservation]) -> Document:
    """What a package's details say of where it was observed; ``page`` has one more than is shown if there are more."""
    return {
        "observations": [observation_document(seen) for seen in page[:FIRST_OBSERVATIONS]],
        "more_observations": len(page) > FIRST_OBSERVATIONS,
    }


def observed_package_details(
    registry: Registry,
    package: PackageRecord,
    holds: list[HoldRecord],
    *,
    viewer: Viewer = SEES_EVERYTHING,
    tells_of_others: bool = True,
) -> Document:
    """A package with its metadata, its holds, and where it was first observed as far as the viewer may be told.

    Unless it ``tells_of_others``, it does not say what of its bytes other packages have too.
    """
    observed = list_observations(registry, package.row_id, limit=FIRST_OBSERVATIONS + 1, viewer=viewer)
    usage = package_usage_document(package_usage(registry, package)) if tells_of_others else None
    return {**package_details(package, holds), "usage": usage, **first_observations(observed)}


def _place(record: EnvelopeRecord) -> Document:
    return {
        "id": record.source_id.hex(),
        "location_kind": record.location_kind,
        "path_id": record.path_id,
        "display_name": record.display_name,
    }


def _witness(seen: SeenEnvelope) -> Document:
    return {
        "plugin": _plugin(seen.record),
        "recorded_by": seen.record.indexed_by,
        "recorded_at": instant_text(seen.record.indexed_at),
        "parties": [_party(party) for party in seen.parties],
        "more_parties": seen.has_more_parties,
    }


def _plugin(record: SourceRecord | EnvelopeRecord) -> Document:
    return {
        "name": record.plugin_name,
        "version": record.plugin_version,
        "contract_version": record.contract_version,
        "declared": bool(record.is_declared),
    }


def _party(party: PartyRecord) -> Document:
    return dict(party._asdict())
