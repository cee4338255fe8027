"""The store as a whole, its duties and its subscriptions, as JSON documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.documents.upkeep import scrub_document
from artifactstore.documents.usage import space_document
from artifactstore.documents.values import optional_instant
from artifactstore.registry.duties import told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.documents import Document
    from artifactstore.errors import ArtifactStoreError
    from artifactstore.registry.backlog import Backlog, Damage
    from artifactstore.registry.duties import Run
    from artifactstore.registry.events import ReplayReport
    from artifactstore.registry.status import BackendStatus, DutyStatus, StoreStatus, SubscriptionStatus
    from artifactstore.registry.subscriptions import DeliveryRun


def status_document(
    status: StoreStatus,
    *,
    plugins_left_out: Sequence[ArtifactStoreError] = (),
    webhooks_left_out: Sequence[ArtifactStoreError] = (),
) -> Document:
    """The state of a store, and why the process that answers goes without some that should be told of events."""
    seq, at = status.log or (0, None)
    return {
        "seen_at": optional_instant(status.seen_at),
        "database": {"kind": status.database_kind, "revision": status.revision, "at_head": status.is_at_head},
        "event_log": {"latest_seq": seq, "latest_at": optional_instant(at)},
        "backends": [_backend_document(backend) for backend in status.backends],
        "duties": [duty_document(duty) for duty in status.duties],
        "subscriptions": [subscription_document(each) for each in status.subscriptions],
        "plugins_left_out": [told(error) for error in plugins_left_out],
        "webhooks_left_out": [told(error) for error in webhooks_left_out],
        "scrub": scrub_document(status.scrub),
        "backlog": _backlog_document(status.backlog, status.subscriptions),
        "damage": _damage_document(status.damage),
        "counts": dict(status.counts),
        "space": space_document(status.space),
    }


def _backlog_document(backlog: Backlog, subscriptions: Sequence[SubscriptionStatus]) -> Document:
    """What waits to be done."""
    plan = backlog.plan
    return {
        "packages_due": backlog.packages_due,
        "packages_expired": backlog.packages_expired,
        "expired_not_planned": backlog.expired_not_planned,
        "plan": None
        if plan is None
        else {
            "plan_digest": plan.digest,
            "package_id": plan.package_id,
            "made_at": optional_instant(plan.made_at),
            "delete": plan.deletes,
            "approved_by": list(plan.approved_by),
            "waits_for": plan.waits_for,
        },
        "condemned_objects": backlog.condemned_objects,
        "unsealed_events": backlog.unsealed_events,
        "unsealed_since": optional_instant(backlog.unsealed_since),
        "open_packages": backlog.open_packages,
        "subscriptions_behind": sum(1 for each in subscriptions if each.behind),
    }


def _damage_document(damage: Damage) -> Document:
    """What is damaged, and what was found last."""
    newest = [
        {
            "seq": each.seq,
            "at": optional_instant(each.at),
            "type": each.type,
            "subject": each.subject,
            "actor": each.actor,
        }
        for each in damage.newest
    ]
    return {"objects": dict(damage.objects), "blobs": damage.blobs, "newest": newest}


def _backend_document(backend: BackendStatus) -> Document:
    state, probe = backend.state, backend.probe
    return {
        "name": backend.name,
        "scheme": backend.scheme,
        "default": backend.is_default,
        "successor": state and state.successor,
        "emptied_since": optional_instant(state and state.succeeded_at),
        "fell_back_at": optional_instant(state and state.fell_back_at),
        "verdict": probe and probe.verdict,
        "probed_at": optional_instant(probe and probe.probed_at),
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
        "heartbeat_at": optional_instant(record and record.heartbeat_at),
        "started_at": optional_instant(record and record.started_at),
        "finished_at": optional_instant(record and record.finished_at),
        "succeeded_at": optional_instant(record and record.succeeded_at),
        "outcome": record and record.outcome,
        "failures": record.failures if record else 0,
        "detail": None if duty.detail is None else dict(duty.detail),
        "error": None if duty.error is None else dict(duty.error),
        "next_run_at": optional_instant(record.next_run_at if record and duty.every_s else None),
        "paused_at": optional_instant(record and record.paused_at),
        "paused_by": record and record.paused_by,
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


def subscription_document(subscription: SubscriptionStatus) -> Document:
    """Who is told what happens: how far, and what stops it."""
    return {
        "name": subscription.name,
        "installed": subscription.is_installed,
        "position": subscription.position,
        "behind": subscription.behind,
        "failures": subscription.failures,
        "next_attempt_at": optional_instant(subscription.next_attempt_at),
        "delivered_at": optional_instant(subscription.delivered_at),
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


def replay_document(report: ReplayReport) -> Document:
    """What a replay went through, which reproduced the tables."""
    return {
        "status": "reproduced",
        "events": report.events,
        "log_id": report.log_id.hex(),
        "chain": report.chain.hex(),
    }
