"""Making a retention plan: what would be deleted and what is kept, why, and the exact bytes that come free.

A plan is a package of the store itself, so it has a manifest digest, which is what ``apply`` is given. It follows from
the catalog alone, in one view of it: nothing is read from storage, and the same state makes the same package.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import closing
from dataclasses import dataclass
from heapq import merge
from operator import attrgetter
from typing import IO, TYPE_CHECKING

from artifactstore.catalog import planning
from artifactstore.catalog.sharing import Released
from artifactstore.domain.digest import Digest
from artifactstore.domain.instant import instant_text
from artifactstore.domain.package import FileDraft, PackageDraft
from artifactstore.domain.retention import RetentionClass
from artifactstore.domain.retention_plan import (
    PLAN_BLOBS_PATH,
    PLAN_BLOBS_ROLE,
    PLAN_MEDIA_TYPE,
    PLAN_PATH,
    PLAN_PRODUCER,
    PLAN_ROLE,
    PLAN_SCHEMA,
    Decision,
    PlanBlob,
    PlanHeader,
    PlanItem,
    PlanTotals,
    Rule,
    line_of,
)
from artifactstore.failpoints import failpoint
from artifactstore.registry.clocks import check_clocks
from artifactstore.registry.ingest import ingest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.catalog.queries import Queries
    from artifactstore.catalog.records import PackageRecord
    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.package import PackageReceipt
    from artifactstore.domain.retention import RetentionPolicy
    from artifactstore.registry.registry import Registry

_PAGE = 500
_COUNTED = 1_000
_SCHEMA: dict[str, JsonValue] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "A retention plan: what it was made of. The plan itself is the file plan.jsonl.",
    "type": "object",
    "required": ["as_of", "log_seq", "delete"],
    "properties": {
        "as_of": {"type": "string"},
        "log_seq": {"type": "integer", "minimum": 0},
        "delete": {"type": "integer", "minimum": 0},
    },
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class MadePlan:
    """A plan that is stored."""

    receipt: PackageReceipt
    header: PlanHeader
    totals: PlanTotals
    packages_due: int
    """How many a sweep would mark now, up to a thousand: they are in no plan before that."""

    @property
    def digest(self) -> str:
        """What to apply."""
        return self.receipt.manifest_digest


def make_plan(registry: Registry) -> MadePlan:
    """Store a plan of what can be deleted now. The same state again is answered with the same plan.

    Raises ``ClocksDisagreeError``.
    """
    check_clocks(registry)
    with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as blobs:
        header, totals = _write_plan(registry, file, blobs)
        failpoint("plan.before-ingest")
        draft = PackageDraft(
            producer=PLAN_PRODUCER,
            files=(
                FileDraft(PLAN_PATH, _Written(file), PLAN_ROLE, PLAN_MEDIA_TYPE),
                FileDraft(PLAN_BLOBS_PATH, _Written(blobs), PLAN_BLOBS_ROLE, PLAN_MEDIA_TYPE),
            ),
            retention_class=RetentionClass.PERMANENT_RECORD,
            schema=PLAN_SCHEMA,
            metadata={"as_of": header.as_of, "log_seq": header.log_seq, "delete": totals.delete},
        )
        return MadePlan(ingest(registry, draft, schema=_SCHEMA), header, totals, _packages_due(registry))


def _packages_due(registry: Registry) -> int:
    with registry.catalog.snapshot() as queries:
        return len(queries.due(registry.clock(), limit=_COUNTED))


def reason_to_keep(
    queries: Queries, package: PackageRecord, policy: RetentionPolicy
) -> tuple[Rule, tuple[str, ...], int | None] | None:
    """What keeps an expired package: the rule, the holds and the number that it rests on; None if nothing does."""
    if holds := planning.holds_in_force(queries.connection, package.row_id):
        return Rule.HOLD, tuple(holds), None
    if package.pinned_at is not None:
        return Rule.PIN, (), None
    newest = policy.keep_newest.get(package.producer)
    if newest is None or package.subject is None:
        return None
    newer = planning.newer_about_subject(queries.connection, package, limit=newest)
    return (Rule.NEWEST, (), newest) if newer < newest else None


def _write_plan(registry: Registry, file: IO[bytes], blobs: IO[bytes]) -> tuple[PlanHeader, PlanTotals]:
    repack_percent = registry.collection.repack_percent
    with registry.catalog.snapshot() as queries:
        seq, at = planning.rests_on(queries.connection, PLAN_SCHEMA)
        header = PlanHeader(
            as_of=instant_text(at),
            log_seq=seq,
            keep_newest=dict(registry.retention.keep_newest),
            repack_percent=repack_percent,
        )
        with closing(Released(queries.connection, repack_percent=repack_percent)) as released:
            writing = _Writing(queries, registry.retention, released, at)
            totals = writing.totals_of_what_goes()
            blobs.writelines(map(line_of, writing.blobs()))
            file.write(line_of(header))
            file.writelines(map(line_of, writing.items()))
            file.write(line_of(totals))
    file.flush()
    blobs.flush()
    return header, totals


class _Writing:
    """Twice through what is concerned: what goes is to be known before it is known what comes free with each."""

    def __init__(self, queries: Queries, policy: RetentionPolicy, released: Released, at: int) -> None:
        self._queries = queries
        self._policy = policy
        self._released = released
        self._held = self._due_and_held(at)
        self._totals = PlanTotals()

    def totals_of_what_goes(self) -> PlanTotals:
        """Release what goes, and add up."""
        totals = self._totals
        for number, (package, keeping) in enumerate(self._decided()):
            if keeping is not None:
                totals.keep += 1
                continue
            totals.delete += 1
            totals.total_bytes += package.total_bytes
            blobs = planning.blobs_of(self._queries.connection, package.row_id)
            self._released.release(number, blobs, package.manifest_digest or b"")
        for free in self._released.settle():
            backend = free.found.backend
            totals.frees_bytes += free.freed_bytes
            totals.frees_by_backend[backend] = totals.frees_by_backend.get(backend, 0) + free.freed_bytes
            totals.objects += free.is_whole
            totals.repacked += not free.is_whole
        return totals

    def blobs(self) -> Iterator[PlanBlob]:
        """A line for each blob of what goes, which is added up."""
        totals = self._totals
        for found in self._released.blobs():
            is_shared = found.files_kept > 0
            if is_shared:
                totals.shared_blobs += 1
                totals.shared_bytes += found.size_bytes
            else:
                totals.blobs += 1
                totals.blob_bytes += found.size_bytes
            yield PlanBlob(
                blob=str(Digest.blake3(found.blake3)),
                size_bytes=found.size_bytes,
                decision=Decision.KEEP if is_shared else Decision.DELETE,
                rule=Rule.SHARED if is_shared else Rule.UNREFERENCED,
                files=found.files,
                files_kept=found.files_kept or None,
            )

    def items(self) -> Iterator[PlanItem]:
        """A line for each package."""
        for number, (package, keeping) in enumerate(self._decided()):
            rule, holds, newest = keeping or (Rule.EXPIRED, (), None)
            yield PlanItem(
                package_id=package.package_id,
                manifest_digest=str(Digest.blake3(package.manifest_digest or b"")),
                producer=package.producer,
                retention_class=package.retention_class,
                expires_at=None if package.expires_at is None else instant_text(package.expires_at),
                expired_at=None if package.expired_at is None else instant_text(package.expired_at),
                decision=Decision.DELETE if keeping is None else Decision.KEEP,
                rule=rule,
                file_count=package.file_count,
                total_bytes=package.total_bytes,
                frees_bytes=self._released.free_with(number),
                holds=holds,
                keep_newest=newest,
            )

    def _decided(self) -> Iterator[tuple[PackageRecord, tuple[Rule, tuple[str, ...], int | None] | None]]:
        by_id = attrgetter("package_id")
        for package in merge(self._expired(), self._held, key=by_id):
            if package.manifest_digest is not None:
                yield package, reason_to_keep(self._queries, package, self._policy)

    def _expired(self) -> Iterator[PackageRecord]:
        after = ""
        while page := planning.expired(self._queries.connection, after=after, limit=_PAGE):
            yield from page
            after = page[-1].package_id

    def _due_and_held(self, at: int) -> list[PackageRecord]:
        """There are as many as holds in force at most."""
        found: list[PackageRecord] = []
        connection, last = self._queries.connection, -1
        while (ends := planning.last_held(connection, after=last, limit=_PAGE)) is not None:
            found += planning.due_and_held(connection, at, after=last, limit=_PAGE)
            last = ends
        return sorted(found, key=attrgetter("package_id"))


class _Written:
    """A temporary file as a draft's file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def open(self) -> _OpenedWritten:
        """From its beginning."""
        return _OpenedWritten(self._file)


class _OpenedWritten:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.size_bytes = os.fstat(file.fileno()).st_size
        file.seek(0)

    def read(self, size: int, /) -> bytes:
        return self._file.read(size)

    def finish(self) -> None:
        """Nobody else can write to it."""

    def close(self) -> None:
        """It is closed, and gone, where it was made."""
