"""Records as JSON documents: what the commands print and what the HTTP API answers are the same.

Instants are RFC 3339, digests ``algorithm:hex``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from artifactstore.domain.digest import Digest
from artifactstore.domain.instant import instant_text
from artifactstore.registry.duties import told
from artifactstore.retention_documents import deletion_document, hold_document, pin_document
from artifactstore.upkeep_documents import backlog_document, damage_document, scrub_document
from artifactstore.usage_documents import space_document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.catalog.event_log import EventRecord
    from artifactstore.catalog.pushes import OpenPackageRecord, UploadRecord
    from artifactstore.catalog.records import HoldRecord, LocatedFile, ObjectRecord, PackageRecord, SchemaRecord
    from artifactstore.catalog.tokens import TokenRecord
    from artifactstore.domain.access import Caller
    from artifactstore.domain.manifest import FileEntry
    from artifactstore.domain.package import PackageDraft
    from artifactstore.errors import ArtifactStoreError
    from artifactstore.registry.copying import CopyReport
    from artifactstore.registry.duties import Run
    from artifactstore.registry.emptying import MigrationReport
    from artifactstore.registry.events import ReplayReport
    from artifactstore.registry.open_packages import PushState
    from artifactstore.registry.probing import ProbeReport
    from artifactstore.registry.status import BackendStatus, DutyStatus, StoreStatus, SubscriptionStatus
    from artifactstore.registry.subscriptions import DeliveryRun
    from artifactstore.registry.verify import Damage, VerifyReport
    from artifactstore.storage.probing.probe import Finding

Document = dict[str, object]


def package_document(package: PackageRecord) -> Document:
    """A package without its files."""
    return {
        "package_id": package.package_id,
        "manifest_digest": _blake3(package.manifest_digest),
        "status": package.status,
        "producer": package.producer,
        "external_id": package.external_id,
        "revision": package.revision,
        "supersedes": package.supersedes,
        "subject": package.subject,
        "schema": package.schema_slug,
        "file_count": package.file_count,
        "total_bytes": package.total_bytes,
        "stored_bytes": package.stored_bytes,
        "retention_class": package.retention_class,
        "expires_at": _instant(package.expires_at),
        "opened_at": _instant(package.opened_at),
        "opened_by": package.opened_by,
        "finalized_at": _instant(package.finalized_at),
    }


def package_details(package: PackageRecord, holds: list[HoldRecord]) -> Document:
    """A package with its metadata and holds."""
    metadata = None if package.metadata_json is None else json.loads(package.metadata_json)
    return {
        **package_document(package),
        "metadata": metadata,
        "holds": [hold_document(hold) for hold in holds],
        "pin": pin_document(package),
        "deletion": deletion_document(package),
    }


def file_document(package_id: str, file: LocatedFile) -> Document:
    """One file of a package."""
    return {
        "file_id": f"{package_id}:{file.file_index}",
        "path": file.path,
        "role": file.role,
        "media_type": file.media_type,
        "size": file.size_bytes,
        "blake3": _blake3(file.blake3),
        "sha256": str(Digest.sha256(file.sha256)),
    }


def schema_document(schema: SchemaRecord, *, with_schema: bool) -> Document:
    """A registered schema, with or without its text."""
    document: Document = {
        "slug": schema.slug,
        "registered_at": _instant(schema.registered_at),
        "registered_by": schema.registered_by,
    }
    return {**document, "json_schema": json.loads(schema.json_schema)} if with_schema else document


def object_document(found: ObjectRecord) -> Document:
    """One stored object."""
    return {
        "backend": found.backend,
        "kind": found.kind,
        "digest": _blake3(found.blake3),
        "size": found.size_bytes,
        "status": found.status,
    }


def token_document(token: TokenRecord) -> Document:
    """One token, without anything that would prove to be its bearer."""
    return {
        "name": token.name,
        "token_id": token.token_id,
        "scopes": token.scopes.split(),
        "created_at": _instant(token.created_at),
        "created_by": token.created_by,
        "expires_at": _instant(token.expires_at),
        "revoked_at": _instant(token.revoked_at),
        "last_used_at": _instant(token.last_used_at),
    }


def event_document(event: EventRecord, *, with_payload: bool) -> Document:
    """One event; its payload's byte strings are written in hex."""
    from artifactstore.domain.canonical import decode

    document: Document = {
        "seq": event.seq,
        "at": _instant(event.at),
        "type": event.type,
        "subject": event.subject,
        "actor": event.actor,
        "payload_digest": _blake3(decode(event.header)["payload_digest"]),
        "chain": event.chain.hex(),
    }
    return {**document, "payload": _printable(decode(event.payload))} if with_payload else document


def push_document(state: PushState, *, pack_threshold_bytes: int) -> Document:
    """What is left to do for a package."""
    return {
        "package_id": state.package_id,
        "status": state.status,
        "expires_at": _instant(state.expires_at),
        "missing": [f"blake3:{address.hex()}" for address in state.missing],
        "uploads": [upload_document(upload) for upload in state.uploads],
        "pack_threshold_bytes": pack_threshold_bytes,
        "receipt": None if state.receipt is None else asdict(state.receipt),
    }


def open_package_document(opened: OpenPackageRecord, draft: PackageDraft) -> Document:
    """An open package as ``package_document`` has one that is recorded; what is not decided yet is null."""
    return {
        "package_id": opened.package_id,
        "manifest_digest": None,
        "status": "open",
        "producer": opened.producer,
        "external_id": draft.external_id,
        "revision": None,
        "supersedes": None,
        "subject": draft.subject,
        "schema": draft.schema,
        "file_count": 0,
        "total_bytes": 0,
        "stored_bytes": 0,
        "retention_class": draft.retention_class,
        "expires_at": _instant(opened.expires_at),
        "opened_at": _instant(opened.opened_at),
        "opened_by": opened.opened_by.partition("#")[0],
        "finalized_at": None,
    }


def upload_document(upload: UploadRecord) -> Document:
    """Where a resumable upload stands."""
    return {
        "upload_id": upload.upload_id,
        "path": upload.path,
        "offset": upload.received_bytes,
        "size": upload.size_bytes,
    }


def received_document(file: FileEntry) -> Document:
    """A file that has arrived for an open package."""
    return {
        "path": file.path,
        "size": file.size_bytes,
        "blake3": _blake3(file.blake3),
        "sha256": str(Digest.sha256(file.sha256)),
    }


def verification_document(report: VerifyReport) -> Document:
    """What a verification found, and which backends it could not look at."""
    status = "damaged" if report.damage else "incomplete" if report.unreachable else "verified"
    figures = asdict(replace(report, unreachable={}))
    del figures["answered"], figures["passed_over"]
    unreachable = [
        {"backend": name, "code": error.code, "message": error.message} for name, error in report.unreachable.items()
    ]
    return {"status": status, **figures, "unreachable": unreachable}


def own_verification_document(report: VerifyReport, damage: list[Damage]) -> Document:
    """The same for whoever may not read everything: how often its bytes are stored would say that others have them.

    Nor are they told what a backend answered: that may name hosts, buckets and directories.
    """
    counts = {"objects": None, "bytes_read": None, "superseded": None}
    silent = [{"backend": name, "code": error.code, "message": None} for name, error in report.unreachable.items()]
    return {**verification_document(replace(report, damage=damage)), **counts, "unreachable": silent}


def copy_document(report: CopyReport, source: str, target: str) -> Document:
    """What a copy did, and what it could not."""
    bad, part = report.damage or report.lost, report.passed_over
    status = "damaged" if bad else "incomplete" if part else "copied"
    figures = asdict(report)
    del figures["verified"]
    return {"status": status, "from": source, "to": target, **figures}


def migration_document(report: MigrationReport, source: str, target: str) -> Document:
    """What a migration did, and what is left."""
    bad = report.copy.damage or report.copy.lost
    status = "waiting" if report.waiting_for else "damaged" if bad else "incomplete" if report.left else "migrated"
    waiting = [
        {"id": each.name, "what": each.what, "owner": each.owner, "since": _instant(each.since)}
        for each in report.waiting_for
    ]
    figures = asdict(report)
    return {"status": status, "from": source, "to": target, **figures.pop("copy"), **figures, "waiting_for": waiting}


def replay_document(report: ReplayReport) -> Document:
    """What a replay went through, which reproduced the tables."""
    return {
        "status": "reproduced",
        "events": report.events,
        "log_id": report.log_id.hex(),
        "chain": report.chain.hex(),
    }


def probe_document(report: ProbeReport) -> Document:
    """What was measured of a backend and what it means; of a capability that was not measured, why."""
    return {
        "target": report.target,
        "probed_at": _instant(report.probed_at),
        "verdict": report.judgement.verdict,
        "reasons": list(report.judgement.reasons),
        "limits": list(report.judgement.limits),
        "left_behind": report.probed.left_behind,
        "capabilities": {finding.capability: _finding_document(finding) for finding in report.probed.findings},
    }


def _finding_document(finding: Finding) -> Document:
    from artifactstore.storage.probing.probe import NOT_MEASURED

    what = "why" if finding.value == NOT_MEASURED else "measured"
    return {"value": finding.value, what: finding.measured, **finding.figures}


def status_document(
    status: StoreStatus,
    *,
    plugins_left_out: Sequence[ArtifactStoreError] = (),
    webhooks_left_out: Sequence[ArtifactStoreError] = (),
) -> Document:
    """The state of a store, and why the process that answers goes without some that should be told of events."""
    seq, at = status.log or (0, None)
    return {
        "seen_at": _instant(status.seen_at),
        "database": {"kind": status.database_kind, "revision": status.revision, "at_head": status.is_at_head},
        "event_log": {"latest_seq": seq, "latest_at": _instant(at)},
        "backends": [_backend_document(backend) for backend in status.backends],
        "duties": [duty_document(duty) for duty in status.duties],
        "subscriptions": [subscription_document(each) for each in status.subscriptions],
        "plugins_left_out": [told(error) for error in plugins_left_out],
        "webhooks_left_out": [told(error) for error in webhooks_left_out],
        "scrub": scrub_document(status.scrub),
        "backlog": backlog_document(status.backlog, status.subscriptions),
        "damage": damage_document(status.damage),
        "counts": dict(status.counts),
        "space": space_document(status.space),
    }


def _backend_document(backend: BackendStatus) -> Document:
    state, probe = backend.state, backend.probe
    return {
        "name": backend.name,
        "scheme": backend.scheme,
        "default": backend.is_default,
        "successor": state and state.successor,
        "emptied_since": _instant(state and state.succeeded_at),
        "fell_back_at": _instant(state and state.fell_back_at),
        "verdict": probe and probe.verdict,
        "probed_at": _instant(probe and probe.probed_at),
    }


def duty_document(duty: DutyStatus) -> Document:
    """When a duty last ran and runs next, and what it did."""
    record = duty.record
    return {
        "name": duty.name,
        "state": duty.state,
        "every_s": duty.every_s,
        "overdue": duty.is_overdue,
        "running_by": duty.running_by,
        "heartbeat_at": _instant(record and record.heartbeat_at),
        "started_at": _instant(record and record.started_at),
        "finished_at": _instant(record and record.finished_at),
        "succeeded_at": _instant(record and record.succeeded_at),
        "outcome": record and record.outcome,
        "failures": record.failures if record else 0,
        "detail": None if duty.detail is None else dict(duty.detail),
        "error": None if duty.error is None else dict(duty.error),
        "next_run_at": _instant(record.next_run_at if record and duty.every_s else None),
        "paused_at": _instant(record and record.paused_at),
        "paused_by": record and record.paused_by,
    }


def subscription_document(subscription: SubscriptionStatus) -> Document:
    """Who is told what happens: how far, and what stops it."""
    return {
        "name": subscription.name,
        "installed": subscription.is_installed,
        "position": subscription.position,
        "behind": subscription.behind,
        "failures": subscription.failures,
        "next_attempt_at": _instant(subscription.next_attempt_at),
        "delivered_at": _instant(subscription.delivered_at),
        "error": None if subscription.error is None else dict(subscription.error),
        "running_by": subscription.running_by,
    }


def deliveries_document(deliveries: list[DeliveryRun], subscriptions: list[SubscriptionStatus]) -> Document:
    """What was delivered to each that is installed, and how it stands now."""
    tried = {delivery.name: delivery for delivery in deliveries}
    return {
        "subscriptions": [_delivery_document(tried.get(each.name), each) for each in subscriptions if each.is_installed]
    }


def _delivery_document(delivery: DeliveryRun | None, subscription: SubscriptionStatus) -> Document:
    error = (delivery and delivery.error) or subscription.error
    return {
        "name": subscription.name,
        "delivered": delivery.delivered if delivery else 0,
        "position": subscription.position,
        "behind": subscription.behind,
        "failures": subscription.failures,
        "error": None if error is None else dict(error),
        "running_by": subscription.running_by,
    }


def runs_document(runs: list[Run]) -> Document:
    """What became of the duties that were run."""
    return {
        "ran": [
            {
                "duty": run.duty,
                "outcome": run.outcome,
                "detail": run.detail,
                "error": None if run.error is None else told(run.error),
            }
            for run in runs
        ]
    }


def caller_document(caller: Caller) -> Document:
    """Who asks and what they may do."""
    return {
        "name": caller.name,
        "scopes": [str(scope) for scope in caller.scopes],
        "can": caller.describe(),
        "expires_at": _instant(caller.expires_at),
    }


def _printable(value: object) -> object:
    match value:
        case bytes():
            return value.hex()
        case list():
            return [_printable(item) for item in value]
        case dict():
            return {key: _printable(item) for key, item in value.items()}
        case _:
            return value


def _blake3(raw: bytes | None) -> str | None:
    return None if raw is None else str(Digest.blake3(raw))


def _instant(value: int | None) -> str | None:
    return None if value is None else instant_text(value)
