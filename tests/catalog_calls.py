"""Every function of the catalog that executes statements, called for what is common, rare and absent.

The packages are those of ``large_catalog``.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from artifactstore.catalog import (
    accounting,
    backends,
    backing_up,
    blobs,
    collecting,
    duties,
    event_log,
    overview,
    planning,
    probes,
    provenance,
    pushes,
    sharing,
    stored,
    subscriptions,
    tokens,
    usage,
    webhook_deliveries,
)
from artifactstore.catalog.queries import Queries
from artifactstore.domain import events, object_events
from artifactstore.domain.digest import BlobMeasure
from artifactstore.domain.event import ObjectRef
from artifactstore.domain.instant import Instant
from artifactstore.domain.provenance_events import EnvelopeIndexed, Ingested, PartyRef, SourceIndexed
from artifactstore.errors import EventLogCorruptError
from artifactstore.pilots.testing_os import adopted, records
from artifactstore.pilots.testing_os.recorded import SubmissionRecorded, project_recorded
from artifactstore.testing.builders import file_entry
from tests.large_catalog import (
    BIG_PACKAGE,
    BIG_REPO,
    BUSY_ENVELOPE,
    NOW,
    OPEN_OWNER,
    RARE_PRODUCER,
    SAME_MS,
    address,
    envelope_of,
    manifest_of,
    open_id,
    pack_of,
    package_id,
    source_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from artifactstore.catalog.catalog import Transaction
    from artifactstore.catalog.database import Connection
    from artifactstore.catalog.records import PackageRecord

PACKAGES = 1_000_000 if os.environ.get("LONG") else 30_000
PAGE = 20
LATE = PACKAGES - 10
"""A package near the end of every list."""
POSITIONS = (0, PACKAGES // 2, LATE - 2)
ARCHIVED, GONE = "archive", "nowhere"


def _known_package(ask: Queries, row_id: int) -> PackageRecord:
    found = ask.package(package_id(row_id))
    assert found is not None
    return found


def _rely(tx: Transaction) -> None:
    tx.rely_on_presence([address(LATE)], manifest=manifest_of(LATE), since=9)
    tx.finish(Instant(NOW))


def _rely_on_puts(tx: Transaction) -> None:
    tx.rely_on_puts([ObjectRef("default", "pack", pack_of(LATE), 5_000)], since=9)
    tx.finish(Instant(NOW))


def _keep_quota(tx: Transaction) -> None:
    tx.keep_quota("small", 9)
    tx.record(events.PackageOpened(package_id="new", producer="small", revision=1, opened_at=NOW))
    tx.finish(Instant(NOW))


def _forget(on: Connection) -> None:
    pushes.end_uploads(on, open_id(1))
    pushes.forget(on, open_id(1))


def _adopt(on: Connection) -> None:
    with suppress(EventLogCorruptError):  # it has events
        event_log.adopt(on, b"x" * 32)


QUERIES: dict[str, Callable[[Queries], object]] = {
    "lock": lambda ask: ask.lock("run", "x"),
    "package": lambda ask: (ask.package(package_id(LATE)), ask.package("x")),
    "revisions": lambda ask: (ask.revisions("producer-1", "run-1"), ask.revisions("producer-1", "x")),
    "packages_of_content": lambda ask: ask.packages_of_content("producer-0", manifest_of(10 * 19)),
    "packages": lambda ask: ask.packages(after=LATE - 1_000, limit=PAGE),  # with filters: below
    "due": lambda ask: (ask.due(NOW, limit=PAGE), ask.due(0, limit=PAGE)),
    "entries": lambda ask: (list(ask.entries(LATE)), list(ask.entries(BIG_PACKAGE))),
    "located_files": lambda ask: (
        ask.located_files(BIG_PACKAGE, after_index=900, limit=PAGE),
        ask.located_files(LATE, after_index=-1, limit=PAGE),
    ),
    "located_file": lambda ask: (ask.located_file(BIG_PACKAGE, "e100000900"), ask.located_file(LATE, "x")),
    "file_sums": lambda ask: ask.file_sums(BIG_PACKAGE, after_index=900, below_bytes=2**20, limit=PAGE),
    "chunk_digests": lambda ask: ask.chunk_digests(address(7)),
    "recorded_files": lambda ask: (list(ask.recorded_files(LATE)), list(ask.recorded_files(BIG_PACKAGE))),
    "users_of_blob": lambda ask: (ask.users_of_blob(address(LATE), limit=PAGE), ask.users_of_blob(b"x" * 32, limit=9)),
    "holds": lambda ask: (ask.holds(1), ask.holds(LATE)),
    "schema": lambda ask: ask.schema("schema-9"),
    "schemas": lambda ask: (ask.schemas(), ask.schemas(after="schema-3", limit=3)),
    "blob_presence": lambda ask: (
        ask.blob_presence([address(n) for n in range(1, 13)]),
        ask.blob_presence([address(-n) for n in range(1_000)]),
        ask.blob_presence([address(LATE)], within=ARCHIVED),
    ),
    "readable_blobs": lambda ask: (
        ask.readable_blobs([address(1)], ["nobody", "else"]),
        ask.readable_blobs([address(n) for n in range(1, 30)], ["producer-1"]),
        ask.readable_blobs([address(n) for n in range(1, 30)], None),
        ask.readable_blobs([address(n) for n in range(1, 30)], None, within=ARCHIVED),
    ),
    "may_have_blob_of_size": lambda ask: (ask.may_have_blob_of_size(2**20 + 7), ask.may_have_blob_of_size(2**40)),
    "package_is_whole": lambda ask: ask.package_is_whole(_known_package(ask, LATE)),
    "has_losses": lambda ask: ask.has_losses(),
    "objects_of_digest": lambda ask: ask.objects_of_digest("manifest", manifest_of(LATE)),
    "newest_object": lambda ask: [ask.newest_object(backend) for backend in ("default", ARCHIVED, GONE)],
    "object": lambda ask: ask.object(LATE),
    "objects": lambda ask: ask.objects(after=LATE, limit=PAGE),
    "object_has_losses": lambda ask: (ask.object_has_losses(11), ask.object_has_losses(LATE)),
    "object_is_superseded": lambda ask: (ask.object_is_superseded(11), ask.object_is_superseded(52)),
    "blobs_in_object": lambda ask: list(ask.blobs_in_object(51)),
    "damaged_in_object": lambda ask: (list(ask.damaged_in_object(11)), list(ask.damaged_in_object(LATE))),
    "schema_revision": lambda ask: ask.schema_revision(),
    "latest_seq": lambda ask: ask.latest_seq(),
    "latest_at": lambda ask: ask.latest_at(),
    "chain_at": lambda ask: (ask.chain_at(0), ask.chain_at(PACKAGES)),
    "log_id": lambda ask: ask.log_id(),
    "latest_chain": lambda ask: ask.latest_chain(),
    "events": lambda ask: [
        ask.events(after=after, limit=PAGE, subject=subject, with_payload=with_payload)
        for after in (0, 2 * PACKAGES, 5 * PACKAGES)
        for subject in (None, package_id(LATE), package_id(3), "nobody")
        for with_payload in (False, True)
    ],
    "events_within": lambda ask: [
        ask.events_within(100, after=PACKAGES, limit=PAGE, subject=subject) for subject in (None, package_id(LATE))
    ],
    "producers_of": lambda ask: ask.producers_of([package_id(n) for n in range(1, 500)]),
}
"""By the names of the methods of ``Queries``."""

TRANSACTIONS: dict[str, Callable[[Transaction], object]] = {
    "lock": lambda tx: tx.lock("run", "x"),
    "lock_log": lambda tx: tx.lock_log(),
    "lock_object": lambda tx: tx.lock_object(LATE),
    "open_lease": lambda tx: tx.open_lease("x", "test", Instant(NOW)),
    "renew_lease": lambda tx: tx.renew_lease("lease-7", Instant(NOW)),
    "end_lease": lambda tx: tx.end_lease("lease-7"),
    "rely_on_presence": _rely,
    "rely_on_puts": _rely_on_puts,
    "keep_quota": _keep_quota,
    "finish": lambda tx: tx.finish(Instant(NOW)),
    "record": lambda tx: tx.record(events.PackageExpired(package_id=package_id(LATE), expired_at=NOW)),
}
"""By the names of what a transaction can do besides."""


_OPENED = pushes.OpenPackageRecord("new", "p", OPEN_OWNER, 1, NOW * 2, b"", None, None)
_COMMON_TYPES = ("v1.package.opened", "v1.package.finalized")
_SUBSCRIPTION = subscriptions.SubscriptionRecord("x.y", 6, NOW, None, 0, 0, None)
_UPLOAD = pushes.UploadRecord("new", open_id(1), "p", "r", "t/p", 9, 0)
FUNCTIONS: dict[str, Callable[[Any], object]] = {
    "backing_up.operational_rows": backing_up.operational_rows,
    "backing_up.put_back": lambda on: backing_up.put_back(on, backing_up.operational_rows(on), with_backends=True),
    "pushes.open_package": lambda on: (pushes.open_package(on, open_id(1)), pushes.open_package(on, "x")),
    "pushes.open_packages": lambda on: [
        pushes.open_packages(on, after=after, limit=PAGE, opened_by=opened_by)
        for after in ("", open_id(500))
        for opened_by in (None, OPEN_OWNER, "nobody")
    ],
    "pushes.count_open": lambda on: pushes.count_open(on, OPEN_OWNER),
    "pushes.begin": lambda on: pushes.begin(on, _OPENED, [file_entry()]),
    "pushes.conclude": lambda on: pushes.conclude(on, open_id(1), "{}", expires_at=NOW),
    "pushes.forget": _forget,
    "pushes.overdue": lambda on: pushes.overdue(on, NOW, limit=PAGE),
    "pushes.declared_files": lambda on: pushes.declared_files(on, open_id(1)),
    "pushes.are_declared": lambda on: pushes.are_declared(on, open_id(1)),
    "pushes.add_object": lambda on: pushes.add_object(on, open_id(1), ObjectRef("default", "pack", b"x" * 32, 9), []),
    "pushes.received_objects": lambda on: pushes.received_objects(on, open_id(1)),
    "pushes.add_files": lambda on: pushes.add_files(on, open_id(1), [file_entry("new")]),
    "pushes.received_files": lambda on: (
        pushes.received_files(on, open_id(1)),
        pushes.received_files(on, open_id(1), ["a", *map(str, range(200))]),
    ),
    "pushes.count_received_files": lambda on: pushes.count_received_files(on, open_id(1)),
    "pushes.begin_upload": lambda on: pushes.begin_upload(on, _UPLOAD),
    "pushes.upload": lambda on: pushes.upload(on, "upload-7"),
    "pushes.uploads": lambda on: pushes.uploads(on, open_id(7)),
    "pushes.upload_of_path": lambda on: pushes.upload_of_path(on, open_id(7), "large"),
    "pushes.add_part": lambda on: pushes.add_part(
        on, "upload-7", pushes.PartRecord(4_000_000, 9, "default", b"x" * 32)
    ),
    "pushes.parts": lambda on: pushes.parts(on, "upload-7"),
    "pushes.end_uploads": lambda on: pushes.end_uploads(on, open_id(7)),
    "pushes.end_upload": lambda on: pushes.end_upload(on, "upload-7"),
    "pushes.remembered": lambda on: pushes.remembered(on, "token:ci-7", "key-7"),
    "pushes.remember": lambda on: pushes.remember(on, "token:ci-7", "key-7", b"x" * 32, "x", NOW),
    "pushes.forget_keys": lambda on: pushes.forget_keys(on, NOW),
    "tokens.insert_token": lambda on: tokens.insert_token(
        on, tokens.TokenRecord("new", "new", "read", 1, "local:x", None, None, None), b"x" * 32
    ),
    "tokens.token_by_id": lambda on: tokens.token_by_id(on, "token-7"),
    "tokens.token_in_use": lambda on: (tokens.token_in_use(on, "ci-7"), tokens.token_in_use(on, "x")),
    "tokens.all_tokens": tokens.all_tokens,
    "tokens.mark_revoked": lambda on: tokens.mark_revoked(on, "token-7", Instant(NOW)),
    "tokens.mark_used": lambda on: tokens.mark_used(on, {"token-7": Instant(NOW)}),
    "backends.taking_writes": lambda on: backends.taking_writes(on, "default"),
    "backends.fell_back_before": lambda on: backends.fell_back_before(on, "default", NOW),
    "backends.note_fall_back": lambda on: backends.note_fall_back(on, "default", now=NOW, before=1),
    "backends.succession": lambda on: backends.succession(on, "default"),
    "backends.succeed": lambda on: backends.succeed(on, "default", ARCHIVED, NOW),
    "backends.reclaim": lambda on: backends.reclaim(on, "default"),
    "backends.writers": lambda on: backends.writers(on, "default"),
    "backends.end_dead_leases": lambda on: backends.end_dead_leases(on, ["lease-1"], NOW + 1),
    "backends.recorded": backends.recorded,
    "backends.leases_for": lambda on: backends.leases_for(on, "migration"),
    "backends.twins": lambda on: [
        backends.twins(on, *names, after=after, limit=PAGE)
        for names in (("default", ARCHIVED), (ARCHIVED, "default"), (GONE, "default"))
        for after in POSITIONS
    ],
    "backends.twin": lambda on: (backends.twin(on, 51, ARCHIVED), backends.twin(on, 51, "default")),
    "backends.twins_of_package": lambda on: backends.twins_of_package(on, LATE, manifest_of(LATE), "default", ARCHIVED),
    "backends.blobs_not_in": lambda on: (backends.blobs_not_in(on, 51, "default"), backends.blobs_not_in(on, 9, GONE)),
    "backends.blobs_only_in": lambda on: (backends.blobs_only_in(on, 51, "default"), backends.blobs_only_in(on, 9, "")),
    "backends.content": lambda on: (backends.content(on, "default"), backends.content(on, GONE)),
    "accounting.producer_id": lambda on: (accounting.producer_id(on, RARE_PRODUCER), accounting.producer_id(on, "new")),
    "usage.of_producers": lambda on: (
        usage.of_producers(on, None, limit=PAGE),
        usage.of_producers(on, [RARE_PRODUCER, "nobody"], limit=PAGE),
    ),
    "usage.logical_bytes_of": lambda on: usage.logical_bytes_of(on, RARE_PRODUCER),
    "usage.of_package": lambda on: (usage.of_package(on, LATE), usage.of_package(on, -1)),
    "usage.of_backends": usage.of_backends,
    "usage.of_backend": lambda on: (usage.of_backend(on, ARCHIVED), usage.of_backend(on, GONE)),
    "collecting.page_of_partly_dead": lambda on: [
        collecting.page_of_partly_dead(on, name, after=after, limit=PAGE)
        for name in ("default", ARCHIVED, GONE)
        for after in POSITIONS
    ],
    "collecting.page_of_forgotten": lambda on: [
        collecting.page_of_forgotten(on, name, after=after, limit=PAGE)
        for name in ("default", ARCHIVED, GONE)
        for after in POSITIONS
    ],
    "collecting.referred": lambda on: (
        collecting.referred(on, LATE),
        collecting.referred(on, PACKAGES + LATE),
        collecting.referred(on, -1),
    ),
    "collecting.is_needed": lambda on: [collecting.is_needed(on, row_id) for row_id in (LATE, PACKAGES + LATE, 51)],
    "collecting.is_noted": lambda on: collecting.is_noted(on, _PACK),
    "collecting.blobs_referred_to": lambda on: collecting.blobs_referred_to(on, 51),
    "collecting.is_known": lambda on: (
        collecting.is_known(on, _PACK),
        collecting.is_known(on, _PACK._replace(kind="part")),
        collecting.is_known(on, _PACK._replace(blake3=b"x" * 32)),
    ),
    "collecting.is_received": lambda on: (
        collecting.is_received(on, _PACK),
        collecting.is_received(on, _PACK._replace(kind="part")),
    ),
    "collecting.claim_unrecorded": lambda on: (
        collecting.claim_unrecorded(on, _PACK),
        collecting.claim_unrecorded(on, _PACK._replace(blake3=b"x" * 32)),
    ),
    "collecting.give_back_unrecorded": lambda on: collecting.give_back_unrecorded(on, _PACK._replace(blake3=b"x" * 32)),
    "collecting.note_condemned": lambda on: collecting.note_condemned(on, [_PACK], NOW),
    "collecting.removals": lambda on: [
        collecting.removals(on, name, limit=PAGE, condemned_before=NOW * 2) for name in ("default", GONE)
    ],
    "collecting.begin_removals": lambda on: collecting.begin_removals(on, [_PACK], NOW),
    "collecting.end_removals": lambda on: collecting.end_removals(on, [_PACK]),
    "collecting.may_be_had_back": lambda on: collecting.may_be_had_back(on, "pack", pack_of(LATE), "default"),
    "collecting.waiting": lambda on: (collecting.waiting(on, "default"), collecting.waiting(on, GONE)),
    "collecting.leases": collecting.leases,
    "collecting.database_time": collecting.database_time,
    "collecting.fates": lambda on: collecting.fates(on, [address(n) for n in range(1, 30)]),
    "planning.rests_on": lambda on: (planning.rests_on(on, "schema-9"), planning.rests_on(on, "nothing")),
    "planning.expired": lambda on: [
        planning.expired(on, after=after, limit=PAGE) for after in ("", package_id(PACKAGES // 4), "x")
    ],
    "planning.due_and_held": lambda on: [
        planning.due_and_held(on, now, after=after, limit=PAGE) for now in (0, NOW) for after in (0, 40)
    ],
    "planning.last_held": lambda on: [planning.last_held(on, after=after, limit=PAGE) for after in (0, 40, 60)],
    "planning.newer_about_subject": lambda on: [
        planning.newer_about_subject(on, _known_package(Queries(on), row_id), limit=PAGE) for row_id in (3, 5, LATE)
    ],
    "planning.holds_in_force": lambda on: (planning.holds_in_force(on, 1), planning.holds_in_force(on, LATE)),
    "planning.blobs_of": lambda on: (list(planning.blobs_of(on, LATE)), list(planning.blobs_of(on, BIG_PACKAGE))),
    "planning.objects_of": lambda on: planning.objects_of(on, _known_package(Queries(on), LATE)),
    "sharing.references": lambda on: sharing.references(on, [*range(2, 30)]),
    "sharing.objects_with": lambda on: (sharing.objects_with(on, [*range(2, 30)]), sharing.objects_with(on, [])),
    "sharing.packages_with_manifest": lambda on: [
        sharing.packages_with_manifest(on, manifest, limit=9) for manifest in (manifest_of(LATE), b"x" * 32)
    ],
    "sharing.referenced_in": lambda on: (sharing.referenced_in(on, 51), sharing.referenced_in(on, LATE)),
    "backends.condemned": lambda on: [
        backends.condemned(on, name, after=after, limit=PAGE) for name in ("default", GONE) for after in POSITIONS
    ],
    "duties.all_duties": duties.all_duties,
    "duties.note_duty": lambda on: duties.note_duty(on, "sweep", NOW),
    "duties.claim": lambda on: duties.claim(
        on, "sweep", "x", Instant(NOW), alive=duties.Span(1, NOW), waiting=duties.Span(1, NOW)
    ),
    "duties.renew": lambda on: duties.renew(on, "sweep", "x", Instant(NOW), position=7),
    "duties.is_paused": lambda on: duties.is_paused(on, "verify"),
    "duties.pause": lambda on: duties.pause(on, "verify", at=Instant(NOW), by="local:x"),
    "duties.resume": lambda on: duties.resume(on, "verify"),
    "duties.is_held": lambda on: duties.is_held(on, "sweep", "x"),
    "duties.end": lambda on: duties.end(on, "sweep", "x", duties.Ending(Instant(NOW), NOW, "done", 0, None, None)),
    "subscriptions.all_subscriptions": subscriptions.all_subscriptions,
    "subscriptions.subscription": lambda on: subscriptions.subscription(on, "x.y"),
    "subscriptions.note": lambda on: subscriptions.note(on, "x.y", 7, Instant(NOW)),
    "event_log.next_of_types": lambda on: [
        event_log.next_of_types(on, types, after=after, limit=limit)
        for types in (_COMMON_TYPES, ("v1.hold.placed",), ("v1.hold.placed", *_COMMON_TYPES, "plugin.x.y"))
        for after in (0, 2 * PACKAGES, 5 * PACKAGES)
        for limit in (1, PAGE)
    ],
    "subscriptions.advance": lambda on: subscriptions.advance(on, _SUBSCRIPTION, 7, Instant(NOW)),
    "subscriptions.refuse": lambda on: subscriptions.refuse(on, _SUBSCRIPTION, subscriptions.Refusal(1, NOW, "{}")),
    "subscriptions.move": lambda on: subscriptions.move(on, "x.y", 7),
    "stored.in_key_order": lambda on: [
        stored.in_key_order(on, after, limit=PAGE)
        for after in (stored.Place(), stored.Place(pack_of(LATE), "pack", "default"))
    ],
    "stored.has_live_objects": lambda on: [stored.has_live_objects(on, backend) for backend in ("default", GONE)],
    "stored.users_of_object": lambda on: [
        stored.users_of_object(on, found, limit=PAGE)
        for found in Queries(on).objects(after=50, limit=PAGE) + Queries(on).objects(after=LATE, limit=PAGE)
    ],
    "stored.packages_of_manifest": lambda on: [
        stored.packages_of_manifest(on, digest, limit=PAGE) for digest in (manifest_of(LATE), address(-1))
    ],
    "stored.with_losses": lambda on: [stored.with_losses(on, after=after, limit=PAGE) for after in (0, LATE)],
    "stored.of_package": lambda on: [
        stored.of_package(on, package, manifest_of(package)) for package in (LATE, BIG_PACKAGE)
    ],
    "stored.oldest_live_lease": lambda on: stored.oldest_live_lease(on, NOW - 1),
    "overview.damaged_objects": overview.damaged_objects,
    "overview.damaged_by_kind": overview.damaged_by_kind,
    "overview.damaged_blobs": overview.damaged_blobs,
    "overview.newest_findings": lambda on: overview.newest_findings(
        on, ["v1.object.damaged", "v1.blob.damaged", "v1.package.opened"], limit=10
    ),
    "overview.newest_of_schema": lambda on: [overview.newest_of_schema(on, slug) for slug in ("schema-3", "nothing")],
    "overview.expired_since": lambda on: [
        overview.expired_since(on, name, after)
        for name in ("v1.package.expired", *_COMMON_TYPES)
        for after in (0, PACKAGES)
    ],
    "overview.highest_object": overview.highest_object,
    "overview.latest_event": overview.latest_event,
    "overview.backend_states": overview.backend_states,
    "overview.counts": lambda on: (overview.counts(on, 0), overview.counts(on, NOW * 2)),
    "probes.save_report": lambda on: probes.save_report(on, probes.ProbeRow("x", NOW, "usable", "{}")),
    "probes.verdict_of": lambda on: probes.verdict_of(on, "x"),
    "probes.all_reports": probes.all_reports,
    "provenance.known": lambda on: [
        provenance.known(on, source_of(source), envelope_of(envelope), package, actor=actor)
        for source, envelope in ((LATE, LATE), (BIG_PACKAGE, BIG_PACKAGE), (-1, -1), (LATE, -1))
        for package in (None, package_id(LATE), package_id(BIG_PACKAGE), "nothing")
        for actor in (None, "token:common", "token:rare", "nobody")
    ],
    "provenance.is_observed_by": lambda on: [
        provenance.is_observed_by(on, source_of(source), actor)
        for source in (LATE, BIG_PACKAGE, -1)
        for actor in ("token:common", "token:rare", "nobody")
    ],
    "provenance.source": lambda on: (provenance.source(on, source_of(LATE)), provenance.source(on, b"x")),
    "provenance.envelopes": lambda on: [
        provenance.envelopes(on, source, after=after, limit=PAGE, actor=actor)
        for source in (LATE, BIG_PACKAGE, -1)
        for after in (0, PACKAGES + 500)
        for actor in (None, "token:common", "token:rare", "nobody")
    ],
    "provenance.envelope": lambda on: (provenance.envelope(on, envelope_of(LATE)), provenance.envelope(on, b"x")),
    "provenance.raw_payload": lambda on: provenance.raw_payload(on, LATE),
    "provenance.parties": lambda on: [
        provenance.parties(on, envelopes, limit=limit) for envelopes in (range(1, 30), [-1]) for limit in (1, PAGE)
    ],
    "provenance.observations": lambda on: [
        provenance.observations(on, package, after=after, limit=PAGE)
        for package in (LATE, BIG_PACKAGE, -1)
        for after in (0, PACKAGES + 500)
    ],
    "provenance.has_observed": lambda on: (
        provenance.has_observed(on, LATE, LATE),
        provenance.has_observed(on, BUSY_ENVELOPE, BIG_PACKAGE),
        provenance.has_observed(on, -1, BIG_PACKAGE),
    ),
    "provenance.observed_packages": lambda on: [
        provenance.observed_packages(on, envelope, limit=PAGE, producers=producers)
        for envelope in (LATE, BUSY_ENVELOPE, -1)
        for producers in (None, ["producer-1"], [RARE_PRODUCER], ["nobody", "else"], [])
    ],
    "webhook_deliveries.note_delivery": lambda on: webhook_deliveries.note_delivery(
        on, webhook_deliveries.DeliveryRow("hub", 7, NOW, 9, 200, None)
    ),
    "webhook_deliveries.forget_deliveries": lambda on: [
        webhook_deliveries.forget_deliveries(on, before) for before in (0, NOW, NOW * 2)
    ],
    "webhook_deliveries.deliveries": lambda on: [
        webhook_deliveries.deliveries(on, webhook, limit=PAGE) for webhook in ("common", "rare", "nobody")
    ],
    "records.newest": lambda on: [
        records.newest(on, external_id) for external_id in (f"o/r{LATE}/d/{LATE}", "o/big/d/often", "nothing")
    ],
    "records.of_external_id": lambda on: records.of_external_id(on, "o/big/d/often"),
    "records.of_package": lambda on: (records.of_package(on, package_id(LATE)), records.of_package(on, "nothing")),
    "records.page": lambda on: [records.page(on, after=after, limit=PAGE) for after in POSITIONS],
    "records.surfaces": lambda on: [
        records.surfaces(on, repo) for repo in (None, BIG_REPO, f"o/r{LATE + 1}", "nothing")
    ],
    "records.indexed": records.indexed,
    "records.history": lambda on: [
        records.history(on, repo, before=before, limit=PAGE)
        for repo in (BIG_REPO, f"o/r{LATE + 1}", "nothing")
        for before in (None, (SAME_MS, PACKAGES // 2), (0, 0))
    ],
    "records.counts": records.counts,
    "adopted.adopted": adopted.adopted,
    "adopted.project_adopted": lambda on: adopted.project_adopted(on, _ADOPTED, "local:x"),
    "recorded.project_recorded": lambda on: project_recorded(on, a_record(package_id(3)), "local:x"),
    "blobs.live_locations": lambda on: blobs.live_locations(on, address(LATE)),
    "blobs.condemned_locations": lambda on: blobs.condemned_locations(on, address(LATE)),
    "blobs.resolve": lambda on: blobs.resolve(on, [address(LATE)]),
    "blobs.add": lambda on: blobs.add(on, [b"n" * 32], {b"n" * 32: BlobMeasure(b"n" * 32, b"m" * 32, 1, 1, b"")}),
    "blobs.presence": lambda on: blobs.presence(on, [address(LATE)]),
    "blobs.readable": lambda on: blobs.readable(on, [address(LATE)], [RARE_PRODUCER]),
    "event_log.create": lambda on: event_log.create(on, b"x", Instant(NOW)),
    "event_log.chain_at": lambda on: event_log.chain_at(on, 4 * PACKAGES),
    "event_log.newest_of_type": lambda on: [
        event_log.newest_of_type(on, name) for name in ("v1.package.finalized", "v1.log.sealed")
    ],
    "event_log.adopt": _adopt,
    "event_log.add": lambda on: event_log.add(on, [event_log.EventRecord(10**9, NOW, "t", "s", "a", b"", b"", b"")]),
    "event_log.log_id": event_log.log_id,
    "event_log.latest_seq": event_log.latest_seq,
    "event_log.latest_chain": event_log.latest_chain,
    "event_log.latest_at": event_log.latest_at,
    "event_log.read": lambda on: list(event_log.read(on, after=4 * PACKAGES - 9)),
    "event_log.how_many_within": lambda on: event_log.how_many_within(on, 9, after=PACKAGES, limit=9, subject=None),
    "event_log.append": lambda on: event_log.append(on, [], actor="local:x", at=Instant(NOW)),
}
"""By module and name: what is given a connection."""

_PACK = ObjectRef("default", "pack", pack_of(LATE), 5_000)
_FILE = file_entry("new", b"new")
_ADOPTED = adopted.PoliciesAdopted(package_id=package_id(3), digest="blake3:new", adopted_at=NOW)
_SAID: Any = {"plugin_name": "mailbox", "contract_version": "1", "is_declared": False, "indexed_at": NOW}


def a_record(package: str) -> SubmissionRecorded:
    """Of a repository that has very many."""
    return SubmissionRecorded(
        package_id=package, external_id="o/big/d/new", repo=BIG_REPO, run_id="new", profile="default",
        status="accepted", verified="fail", may_be_replaced=False, finished_at="x", path="records/new",
        surfaces=("cli", "web", "api"), recorded_at=NOW, finished_ms=SAME_MS + 1,
    )  # fmt: skip


EVENTS = (
    events.MetadataSchemaRegistered(slug="new", json_schema={}, registered_at=NOW),
    events.PackageOpened(
        package_id="new", producer="p", revision=1, opened_at=NOW, schema="schema-1", metadata={"branch": "main"}
    ),
    events.FilesAdded(
        package_id="new", first_index=0, files=(_FILE,), objects=(ObjectRef("default", "pack", b"x" * 32, 9),),
        crc32s=(1,), object_indexes=(0,), starts=(30,), chunks=(),
    ),
    events.RetentionApplied(package_id="new", retention_class="transient", duration_days=9, expires_at=NOW),
    events.PackageFinalized(
        package_id="new", manifest=ObjectRef("default", "manifest", b"y" * 32, 9), file_count=1, total_bytes=3,
        stored_bytes=9, finalized_at=NOW,
    ),
    events.PackageExpired(package_id="new", expired_at=NOW),
    events.PackageDeleted(
        package_id="new", plan=b"x" * 32, rule="expired", reason="space", deleted_at=NOW, objects=(_PACK,)
    ),
    events.PackagePinned(package_id=package_id(LATE), reason="reference", pinned_at=NOW),
    events.PackageUnpinned(package_id=package_id(LATE), reason="over", unpinned_at=NOW),
    events.PlanApproved(package_id=package_id(LATE), plan=b"x" * 32, approved_at=NOW),
    events.RetentionExtended(package_id=package_id(LATE), expires_at=NOW, reason="asked for"),
    events.HoldPlaced(package_id=package_id(LATE), hold_id="new", reason="audit", placed_at=NOW),
    events.HoldReleased(package_id=package_id(LATE), hold_id="new", reason="done", released_at=NOW),
    object_events.BlobDamaged(object=_PACK, blobs=(address(LATE),), finding="was altered"),
    object_events.BlobRestored(object=_PACK, blobs=((address(LATE), 40),)),
    object_events.ObjectDamaged(object=_PACK, finding="was altered"),
    object_events.ObjectRestored(object=_PACK),
    object_events.ObjectCopied(object=_PACK._replace(backend=ARCHIVED), source="default"),
    object_events.PackRepacked(
        object=_PACK._replace(blake3=b"r" * 32), source=_PACK, blobs=((address(LATE), 94),)
    ),
    object_events.ObjectCondemned(object=_PACK),
    object_events.ObjectReprieved(object=_PACK),
    object_events.ObjectDeleted(object=_PACK),
    object_events.LogSealed(object=ObjectRef("default", "segment", b"s" * 32, 9), first_seq=1, last_seq=7),
    events.LogRebuilt(log_id=bytes(32), last_seq=7, package_ids=("x",)),
    object_events.ReadFellBack(object=_PACK, served_by=ARCHIVED, finding="was missing"),
    SourceIndexed(source_id=b"new", location_kind="file", path_id="file:///new", **_SAID),
    EnvelopeIndexed(
        envelope_id=b"new", source_id=source_of(BIG_PACKAGE), transport="imap", received_at=NOW, raw_payload=b"new",
        parties=(PartyRef("email", None, "a@x", "author", "claimed"),), **_SAID,
    ),
    events.PackageObserved(package_id=package_id(BIG_PACKAGE), envelope_id=b"new", observed_at=NOW),
    Ingested(envelope_id=b"new", source_id=source_of(BIG_PACKAGE), source_created=False),
    a_record("new"),
    _ADOPTED,
)  # fmt: skip
"""One of each, in an order in which they may happen."""
