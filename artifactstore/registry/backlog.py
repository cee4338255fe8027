"""What waits to be done, and what is damaged: for whoever asks how a store is.

Each step of a package's end may stand still for want of somebody: due and not swept, expired and not planned, planned
and not approved or applied, condemned and not deleted. Counts stop at ``overview.COUNT_TO``, and nothing is read whole.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from artifactstore.catalog import event_log, overview
from artifactstore.domain.digest import Digest
from artifactstore.domain.events import PackageDeleted, PackageExpired, event_from
from artifactstore.domain.object_events import BlobDamaged, ObjectDamaged
from artifactstore.domain.retention_plan import PLAN_SCHEMA
from artifactstore.registry.applying import Plan, approved_by
from artifactstore.registry.sealing import unsealed_by

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from artifactstore.catalog.overview import Finding
    from artifactstore.catalog.queries import Queries
    from artifactstore.registry.registry import Registry

_NEWEST = 10
_FINDINGS = (ObjectDamaged.type, BlobDamaged.type)


@dataclass(frozen=True, slots=True)
class PlanState:
    """The newest retention plan, and what it waits for."""

    digest: str
    package_id: str
    made_at: int
    deletes: int
    approved_by: Sequence[str]
    waits_for: str | None
    """``approval``, ``application``; None if it was applied, or deletes nothing."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits. Counts are up to ``overview.COUNT_TO``, but for the events."""

    packages_due: int
    """A sweep would mark them now."""
    packages_expired: int
    """They are marked and not deleted."""
    expired_not_planned: int
    """Of these, marked since the newest plan was made."""
    plan: PlanState | None
    condemned_objects: int
    unsealed_events: int
    unsealed_since: int | None
    """When the first of them happened that says something else than what was sealed."""
    open_packages: int


@dataclass(frozen=True, slots=True)
class Damage:
    """What is recorded as damaged, and when it was found."""

    objects: Mapping[str, int]
    """By kind: how many objects, up to ``overview.COUNT_TO`` together."""
    blobs: int
    """Locations in objects that are otherwise sound."""
    newest: Sequence[Finding]
    """The newest findings first; what was healed since is among them."""


def backlog(registry: Registry) -> Backlog:
    """In a view of its own."""
    with registry.catalog.snapshot() as queries:
        return backlog_by(queries, registry)


def backlog_by(queries: Queries, registry: Registry) -> Backlog:
    """The same, in a view that others look at, too."""
    connection = queries.connection
    counts = overview.counts(connection, registry.clock())
    plan = overview.newest_of_schema(connection, PLAN_SCHEMA)
    made_of = json.loads(plan.metadata_json or "{}") if plan else {}
    waiting = unsealed_by(queries)
    return Backlog(
        packages_due=counts["packages_due"],
        packages_expired=counts["packages_expired"],
        expired_not_planned=overview.expired_since(connection, PackageExpired.type, int(made_of.get("log_seq", 0))),
        plan=_plan_state(queries, registry, Plan(plan, plan.manifest_digest or b""), made_of) if plan else None,
        condemned_objects=counts["condemned_objects"],
        unsealed_events=queries.latest_seq() - waiting.sealed_up_to if waiting.oldest_at is not None else 0,
        unsealed_since=waiting.oldest_at,
        open_packages=counts["open_packages"],
    )


def damage_by(queries: Queries) -> Damage:
    """What is recorded as damaged now, and what was found last."""
    connection = queries.connection
    return Damage(
        objects=overview.damaged_by_kind(connection),
        blobs=overview.damaged_blobs(connection),
        newest=overview.newest_findings(connection, _FINDINGS, limit=_NEWEST),
    )


def _plan_state(queries: Queries, registry: Registry, plan: Plan, made_of: Mapping[str, int]) -> PlanState:
    agreed = approved_by(queries, plan)
    deletes = int(made_of.get("delete", 0))
    needs_another = registry.retention_approvals > 1 and not agreed
    waits_for = "approval" if needs_another else "application"
    return PlanState(
        digest=str(Digest.blake3(plan.digest)),
        package_id=plan.package.package_id,
        made_at=plan.package.finalized_at or 0,
        deletes=deletes,
        approved_by=agreed,
        waits_for=waits_for if deletes and not _is_applied(queries, plan) else None,
    )


def _is_applied(queries: Queries, plan: Plan) -> bool:
    """Whether the last package that was deleted was deleted by it."""
    newest = event_log.newest_of_type(queries.connection, PackageDeleted.type)
    if newest is None:
        return False
    event = event_from(newest.type, newest.payload)
    assert isinstance(event, PackageDeleted), "it is of this type"
    return event.plan == plan.digest
