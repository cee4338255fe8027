"""Applying a retention plan: what it says, no more, and of that only what still is as it was.

Each package is looked at once more under the lock under which events are appended, so nobody places a hold or pins
meanwhile, and is passed over with a reason if anything has happened to it since the plan. A batch is one transaction:
whatever stops it, the same call goes on, and once all is done it does nothing. No byte is removed: that is collection.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.catalog import planning
from artifactstore.domain.digest import Digest
from artifactstore.domain.events import PackageDeleted, PlanApproved
from artifactstore.domain.instant import instant_text
from artifactstore.domain.package import PackageStatus, check_reason
from artifactstore.domain.retention_plan import (
    PLAN_PATH,
    PLAN_PRODUCER,
    PLAN_SCHEMA,
    Decision,
    PlanReader,
    Rule,
    lines_in,
)
from artifactstore.errors import PlanInvalidError, PlanNotApprovedError, PlanUnknownError
from artifactstore.failpoints import failpoint
from artifactstore.registry.clocks import check_clocks
from artifactstore.registry.files import find_file
from artifactstore.registry.locations import read_small, stream_large
from artifactstore.registry.planning import reason_to_keep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.catalog.catalog import Transaction
    from artifactstore.catalog.queries import Queries
    from artifactstore.catalog.records import PackageRecord
    from artifactstore.domain.instant import Instant
    from artifactstore.domain.retention_plan import PlanHeader, PlanItem
    from artifactstore.registry.registry import Registry

DEFAULT_REASON = "its retention has ended"
_BATCH = 100
_BATCH_FILES = 20_000
"""Rows of files that one transaction removes at most, unless one package has more: other writers wait for it."""
_IN_MEMORY_BYTES = 4 * 1024 * 1024
_NAMED = 1_000
_APPROVALS = 1_000
"""Events that are looked through of a plan's package: a handful, and then approvals."""


class Skipped(NamedTuple):
    """A package that is left as it is, and why."""

    package_id: str
    reason: str


@dataclass(slots=True)
class ApplyReport:
    """What was done of a plan."""

    plan_digest: str
    deleted: int = 0
    already_deleted: int = 0
    """By this plan, before."""
    skipped: int = 0
    skipped_first: list[Skipped] = field(default_factory=list)
    """The first thousand."""
    kept: int = 0
    """By the plan's own rules."""


class Plan(NamedTuple):
    """A plan that is stored."""

    package: PackageRecord
    digest: bytes


def find_plan(registry: Registry, plan_digest: str) -> Plan:
    """Raises ``PlanUnknownError``, also for a package that is none."""
    digest = Digest.parse(plan_digest)
    with registry.catalog.snapshot() as queries:
        found = queries.packages_of_content(PLAN_PRODUCER, digest.raw)
    plans = [package for package in found if package.schema_slug == PLAN_SCHEMA]
    if not plans or digest.algorithm != "blake3":
        raise PlanUnknownError(f"there is no retention plan {plan_digest[:80]!r}")
    return Plan(plans[0], digest.raw)


def read_plan(registry: Registry, plan: Plan) -> PlanReader:
    """A plan's lines, checked as they are read. Raises ``PlanInvalidError``."""
    file = find_file(registry, plan.package.package_id, PLAN_PATH)
    small = file.size_bytes <= _IN_MEMORY_BYTES
    return PlanReader(lines_in([read_small(registry, file)] if small else stream_large(registry, file)))


def approve_plan(registry: Registry, plan_digest: str) -> list[str]:
    """Agree to what a plan deletes, in the actor's name; all who have. Once more changes nothing."""
    plan = find_plan(registry, plan_digest)
    with registry.transaction() as tx:
        tx.lock_log()
        agreed = approved_by(tx, plan)
        if registry.actor not in agreed:
            package_id, now = plan.package.package_id, registry.clock()
            tx.record(PlanApproved(package_id=package_id, plan=plan.digest, approved_at=now))
            agreed.append(registry.actor)
    return agreed


def apply_plan(registry: Registry, plan_digest: str, *, reason: str = DEFAULT_REASON) -> ApplyReport:
    """Delete what a plan says, as far as that still is as it was.

    Raises ``ClocksDisagreeError``, ``PlanUnknownError``, ``PlanInvalidError``, and ``PlanNotApprovedError`` if the
    configuration asks for the approval of another than the actor and there is none.
    """
    check_reason(reason)
    check_clocks(registry)
    plan = find_plan(registry, plan_digest)
    _require_approval(registry, plan)
    _check_to_its_end(registry, plan)
    reader = read_plan(registry, plan)
    _require_earlier(registry, plan, reader.header)
    report = ApplyReport(plan_digest)
    for batch in _batches(reader.items(), report):
        with registry.transaction() as tx:
            tx.lock_log()
            _apply_batch(tx, registry, _Applying(plan, reader.header, reason, report), batch)
        failpoint("apply.after-batch")
    return report


class _Applying(NamedTuple):
    plan: Plan
    header: PlanHeader
    reason: str
    report: ApplyReport


def _apply_batch(tx: Transaction, registry: Registry, applying: _Applying, batch: list[PlanItem]) -> None:
    for item in batch:
        package = tx.package(item.package_id)
        if package is not None and _is_done(package, applying.plan):
            applying.report.already_deleted += 1
        elif package is None or (why_not := _what_has_changed(tx, registry, applying, item, package)):
            _skip(applying.report, item.package_id, "it is not there" if package is None else why_not)
        else:
            tx.record(_deletion_of(tx, package, applying, registry.clock()))
            applying.report.deleted += 1


def _deletion_of(queries: Queries, package: PackageRecord, applying: _Applying, now: Instant) -> PackageDeleted:
    return PackageDeleted(
        package_id=package.package_id,
        plan=applying.plan.digest,
        rule=Rule.EXPIRED,
        reason=applying.reason,
        deleted_at=now,
        objects=tuple(planning.objects_of(queries.connection, package)),
    )


def _is_done(package: PackageRecord, plan: Plan) -> bool:
    return package.status == PackageStatus.DELETED and package.deletion_plan == plan.digest


def _what_has_changed(
    queries: Queries, registry: Registry, applying: _Applying, item: PlanItem, package: PackageRecord
) -> str:
    """Why a package is not what the plan says it is any more; empty if it is."""
    if package.status != PackageStatus.EXPIRED:
        return f"it is {package.status}"
    if Digest.blake3(package.manifest_digest or b"") != Digest.parse(item.manifest_digest):
        return "its manifest is another than the plan says"
    if package.expires_at is not None and package.expires_at > registry.clock():
        return f"its retention ends on {instant_text(package.expires_at)}: it was marked by a clock that was ahead"
    if keeping := reason_to_keep(queries, package, registry.retention):
        rule, holds, newest = keeping
        return f"{rule}: {', '.join(holds)}" if holds else f"{rule}: {newest}" if newest else str(rule)
    since = queries.events(after=applying.header.log_seq, limit=1, subject=package.package_id, with_payload=False)
    return f"{since[0].type} has happened to it since the plan" if since else ""


def _skip(report: ApplyReport, package_id: str, reason: str) -> None:
    report.skipped += 1
    if len(report.skipped_first) < _NAMED:
        report.skipped_first.append(Skipped(package_id, reason))


def _batches(items: Iterator[PlanItem], report: ApplyReport) -> Iterator[list[PlanItem]]:
    batch: list[PlanItem] = []
    for item in items:
        if item.decision != Decision.DELETE:
            report.kept += 1
            continue
        batch.append(item)
        if len(batch) == _BATCH or sum(each.file_count for each in batch) >= _BATCH_FILES:
            yield batch
            batch = []
    if batch:
        yield batch


def _check_to_its_end(registry: Registry, plan: Plan) -> None:
    """Nothing is deleted by a plan whose last line cannot be read, or that adds up to something else."""
    reader = read_plan(registry, plan)
    counted = Counter(item.decision for item in reader.items())
    totals = reader.totals
    if totals is None or counted != Counter({Decision.DELETE: totals.delete, Decision.KEEP: totals.keep}):
        raise PlanInvalidError("the plan's totals are not those of its lines")


def _require_earlier(registry: Registry, plan: Plan, header: PlanHeader) -> None:
    """A plan that says it was made of what came after it would be applied whatever has happened until then."""
    with registry.catalog.snapshot() as queries:
        first = queries.events(after=0, limit=1, subject=plan.package.package_id, with_payload=False)
    if first and header.log_seq >= first[0].seq:
        raise PlanInvalidError(
            f"the plan says that it was made when the log ended at event {header.log_seq}; it is event {first[0].seq}"
        )


def _require_approval(registry: Registry, plan: Plan) -> None:
    if registry.retention_approvals < 2:  # noqa: PLR2004 - whoever applies it is one
        return
    with registry.catalog.snapshot() as queries:
        others = [actor for actor in approved_by(queries, plan) if actor != registry.actor]
    if not others:
        raise PlanNotApprovedError(f"nobody but {registry.actor} has agreed to plan {Digest.blake3(plan.digest)}")


def approved_by(queries: Queries, plan: Plan) -> list[str]:
    """Who has agreed to it, in that order."""
    events = queries.events(after=0, limit=_APPROVALS, subject=plan.package.package_id, with_payload=False)
    return list(dict.fromkeys(event.actor for event in events if event.type == PlanApproved.type))
