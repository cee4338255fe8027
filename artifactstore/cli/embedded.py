"""The store of this process: each question is one use-case, each answer its document.

What a use-case needs is imported where it is used: a command pays for its own.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from artifactstore.catalog.package_filter import PackageFilter
    from artifactstore.config import Settings
    from artifactstore.documents import Document
    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.instant import Instant
    from artifactstore.domain.package import PackageDraft
    from artifactstore.plugins.contract import PluginContext
    from artifactstore.plugins.loaded import LoadedPlugin
    from artifactstore.registry.progress import Progress
    from artifactstore.registry.registry import Registry

_EVERY_PRODUCER = 1_000_000


class EmbeddedStore:
    """A ``Store`` over a registry; see there for what each method promises."""

    def __init__(self, registry: Registry, settings: Settings) -> None:
        self._registry = registry
        self._settings = settings

    @classmethod
    def open(cls, settings: Settings, *, backend: str | None = None) -> EmbeddedStore:
        """The store that the settings name, created on first use; new packages are to lie in ``backend``."""
        from artifactstore.bootstrap import open_registry

        return cls(open_registry(settings, backend=backend), settings)

    @property
    def max_files(self) -> int:
        """See ``Store``."""
        return self._registry.max_files

    def close(self) -> None:
        """See ``Store``."""
        self._registry.close()

    # packages

    def push(self, draft: PackageDraft, *, as_revision: bool, progress: Progress) -> Document:
        """See ``Store``."""
        from artifactstore.registry.ingest import ingest

        return asdict(ingest(self._registry, draft, as_revision=as_revision, progress=progress))

    def list_packages(self, wanted: PackageFilter, *, after: str | None, limit: int) -> Document:
        """See ``Store``."""
        from artifactstore.documents.packages import package_document
        from artifactstore.registry.packages import list_packages

        page = list_packages(self._registry, after=after, limit=limit, wanted=wanted)
        next_after = page[-1].package_id if len(page) == limit else None
        return {"packages": [package_document(package) for package in page], "next_after": next_after}

    def show_package(self, package_id: str, *, files: bool) -> Document:
        """See ``Store``."""
        from artifactstore.documents.packages import file_document
        from artifactstore.documents.provenance import observed_package_details
        from artifactstore.domain.package import PackageStatus
        from artifactstore.registry.files import list_files
        from artifactstore.registry.packages import find_package

        package, holds = find_package(self._registry, package_id)
        document = observed_package_details(self._registry, package, holds)
        if files and package.status in {PackageStatus.FINALIZED, PackageStatus.EXPIRED}:
            document["files"] = [file_document(package_id, file) for file in list_files(self._registry, package_id)]
        return document

    def manifest(self, package_id: str) -> bytes:
        """See ``Store``."""
        from artifactstore.registry.packages import read_manifest

        return read_manifest(self._registry, package_id)

    def get_package(self, package_id: str, destination: Path, *, progress: Progress) -> int:
        """See ``Store``."""
        from artifactstore.registry.files import get_package

        return get_package(self._registry, package_id, destination, progress=progress)

    def get_file(self, package_id: str, path: str, destination: Path) -> int:
        """See ``Store``."""
        from artifactstore.registry.files import get_file

        return get_file(self._registry, package_id, path, destination)

    def send_file(self, package_id: str, path: str, sink: BinaryIO) -> int:
        """See ``Store``."""
        from artifactstore.registry.files import send_file

        return send_file(self._registry, package_id, path, sink)

    def verify_package(self, package_id: str, *, progress: Progress) -> Document:
        """See ``Store``."""
        from artifactstore.documents.storage import verification_document
        from artifactstore.registry.verify import verify_package

        return verification_document(verify_package(self._registry, package_id, progress=progress))

    # the whole store

    def verify_all(self, *, progress: Progress) -> Document:
        """See ``Store``."""
        from artifactstore.documents.storage import verification_document
        from artifactstore.registry.verify import verify_all

        return verification_document(verify_all(self._registry, progress=progress))

    def verify_objects(self, *, progress: Progress) -> Document:
        """See ``Store``."""
        from artifactstore.documents.storage import verification_document
        from artifactstore.registry.verify import verify_objects

        return verification_document(verify_objects(self._registry, progress=progress))

    def list_events(self, *, after: int, limit: int, subject: str | None, payload: bool) -> Document:
        """See ``Store``."""
        from artifactstore.documents.packages import event_document
        from artifactstore.registry.events import list_events

        page = list_events(self._registry, after=after, limit=limit, subject=subject, with_payload=payload)
        next_after = page[-1].seq if len(page) == limit else None
        return {"events": [event_document(event, with_payload=payload) for event in page], "next_after": next_after}

    def check_replay(self) -> Document:
        """See ``Store``."""
        from artifactstore.bootstrap import scratch_database
        from artifactstore.documents.status import replay_document
        from artifactstore.registry.events import check_replay

        with scratch_database() as scratch:
            return replay_document(check_replay(self._registry, scratch))

    def list_objects(self, *, after: int, limit: int) -> Document:
        """See ``Store``."""
        from artifactstore.documents.storage import object_document
        from artifactstore.registry.objects import list_objects

        page = list_objects(self._registry, after=after, limit=limit)
        next_after = page[-1].row_id if len(page) == limit else None
        return {"objects": [object_document(found) for found in page], "next_after": next_after}

    # metadata schemas

    def register_schema(self, slug: str, json_schema: JsonValue) -> Document:
        """See ``Store``."""
        from artifactstore.documents.packages import schema_document
        from artifactstore.registry.metadata_schemas import register_schema

        return schema_document(register_schema(self._registry, slug, json_schema), with_schema=False)

    def list_schemas(self) -> Document:
        """See ``Store``."""
        from artifactstore.documents.packages import schema_document
        from artifactstore.registry.metadata_schemas import list_schemas

        found = list_schemas(self._registry)
        return {"schemas": [schema_document(schema, with_schema=False) for schema in found]}

    def show_schema(self, slug: str) -> Document:
        """See ``Store``."""
        from artifactstore.documents.packages import schema_document
        from artifactstore.registry.metadata_schemas import find_schema

        return schema_document(find_schema(self._registry, slug), with_schema=True)

    # retention

    def retention(self, package_id: str) -> Document:
        """See ``Store``."""
        from artifactstore.documents.retention import retention_document
        from artifactstore.registry.packages import find_package

        return retention_document(*find_package(self._registry, package_id))

    def extend_retention(self, package_id: str, expires_at: Instant, *, reason: str) -> Document:
        """See ``Store``."""
        from artifactstore.registry.retention import extend_retention

        extend_retention(self._registry, package_id, expires_at, reason=reason)
        return self.retention(package_id)

    def place_hold(self, package_id: str, *, reason: str) -> Document:
        """See ``Store``."""
        from artifactstore.registry.retention import place_hold

        hold_id = place_hold(self._registry, package_id, reason=reason)
        return {"hold_id": hold_id, **self.retention(package_id)}

    def release_hold(self, package_id: str, hold_id: str, *, reason: str) -> Document:
        """See ``Store``."""
        from artifactstore.registry.retention import release_hold

        release_hold(self._registry, package_id, hold_id, reason=reason)
        return self.retention(package_id)

    def pin_package(self, package_id: str, *, reason: str) -> Document:
        """See ``Store``."""
        from artifactstore.registry.retention import pin_package

        pin_package(self._registry, package_id, reason=reason)
        return self.retention(package_id)

    def unpin_package(self, package_id: str, *, reason: str) -> Document:
        """See ``Store``."""
        from artifactstore.registry.retention import unpin_package

        unpin_package(self._registry, package_id, reason=reason)
        return self.retention(package_id)

    def make_plan(self) -> Document:
        """See ``Store``."""
        from artifactstore.documents.retention import plan_document
        from artifactstore.registry.planning import make_plan

        return plan_document(make_plan(self._registry))

    def approve_plan(self, plan_digest: str) -> Document:
        """See ``Store``."""
        from artifactstore.registry.applying import approve_plan

        return {"plan_digest": plan_digest, "approved_by": approve_plan(self._registry, plan_digest)}

    def apply_plan(self, plan_digest: str, *, reason: str) -> Document:
        """See ``Store``."""
        from artifactstore.documents.retention import applied_document
        from artifactstore.registry.applying import apply_plan

        return applied_document(apply_plan(self._registry, plan_digest, reason=reason))

    def certificate(self, package_id: str) -> bytes:
        """See ``Store``."""
        from artifactstore.registry.certificates import certificate

        return certificate(self._registry, package_id)

    def due_packages(self) -> Document:
        """See ``Store``."""
        from artifactstore.registry.retention import due_packages

        return _counted("would_expire", [package.package_id for package in due_packages(self._registry)])

    def sweep(self, *, clock_is_right: bool) -> Document:
        """See ``Store``."""
        from artifactstore.registry.store_duties import sweep_now

        return _counted("expired", sweep_now(self._registry, clock_is_right=clock_is_right))

    def status(self) -> Document:
        """See ``Store``."""
        from artifactstore.bootstrap import host_of
        from artifactstore.documents.status import status_document
        from artifactstore.registry.status import store_status
        from artifactstore.subscribers import installed

        # what is left out is not installed, and its subscriptions are shown as that
        with redirect_stdout(sys.stderr):
            found = installed(host_of(self._registry, self._settings), self._settings.webhook_configuration)
        return status_document(
            store_status(self._registry, found.subscribers),
            plugins_left_out=found.plugins_left_out,
            webhooks_left_out=found.webhooks_left_out,
        )

    def usage(self, producer: str | None) -> Document:
        """See ``Store``."""
        from artifactstore.documents.usage import producer_usage_document, space_document
        from artifactstore.registry.usage import backends_usage, producers_usage

        wanted = None if producer is None else [producer]
        found = producers_usage(self._registry, wanted, limit=_EVERY_PRODUCER)
        document: Document = {
            "producers": [producer_usage_document(each, quota, tells_of_others=True) for each, quota in found]
        }
        return document if producer else {**document, "backends": space_document(backends_usage(self._registry))}

    # upkeep

    def scrub(self) -> Document:
        """See ``Store``."""
        from artifactstore.documents.upkeep import scrub_document
        from artifactstore.registry.scrubbing import scrub_status

        return scrub_document(scrub_status(self._registry))

    def pause_duty(self, duty: str) -> Document:
        """See ``Store``."""
        from artifactstore.registry.pausing import pause_duty
        from artifactstore.registry.store_duties import require_duty

        pause_duty(self._registry, require_duty(duty).name)
        return self._duty(duty)

    def resume_duty(self, duty: str) -> Document:
        """See ``Store``."""
        from artifactstore.registry.pausing import resume_duty
        from artifactstore.registry.store_duties import require_duty

        resume_duty(self._registry, require_duty(duty).name)
        return self._duty(duty)

    def _duty(self, name: str) -> Document:
        from artifactstore.documents.status import duty_document
        from artifactstore.registry.status import duty_statuses

        return next(duty_document(duty) for duty in duty_statuses(self._registry) if duty.name == name)

    def seal_log(self) -> Document:
        """See ``Store``."""
        from artifactstore.registry.sealing import seal_log

        return seal_log(self._registry)._asdict()

    def reconcile(self, *, backend: str | None, after: int, limit: int, progress: Progress) -> Document:
        """See ``Store``."""
        from artifactstore.documents.upkeep import reconcile_document
        from artifactstore.registry.reconciling import reconcile

        report = reconcile(self._registry, backend=backend, after=after, limit=limit, progress=progress)
        return reconcile_document(report)

    def heal(self, package_id: str | None, *, folder: Path | None, progress: Progress) -> Document:
        """See ``Store``."""
        from artifactstore.documents.upkeep import heal_document
        from artifactstore.registry.healing import heal_all, heal_package

        if package_id is None:
            return heal_document(heal_all(self._registry, progress=progress))
        return heal_document(heal_package(self._registry, package_id, folder=folder, progress=progress))

    # plug-ins

    def context(self, loaded: LoadedPlugin, *, progress: Progress) -> PluginContext:
        """See ``Store``."""
        from artifactstore.bootstrap import host_of
        from artifactstore.plugins.context import EmbeddedContext

        return EmbeddedContext(host_of(self._registry, self._settings), loaded, progress=progress)


def _counted(name: str, package_ids: Sequence[str]) -> Document:
    return {name: list(package_ids), "count": len(package_ids)}
