"""The store of a server: each question is one call of the client, each answer its document."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, BinaryIO, cast

from artifactstore.client.client import Client
from artifactstore.domain.package import PackageStatus
from artifactstore.errors import UsageError

if TYPE_CHECKING:
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

_WITH_FILES = {PackageStatus.FINALIZED, PackageStatus.EXPIRED}


class RemoteStore:
    """A ``Store`` over a client; see there for what each method promises."""

    def __init__(self, client: Client, *, max_files: int) -> None:
        self._client = client
        self._max_files = max_files

    @classmethod
    def open(cls, server: str, settings: Settings, *, backend: str | None = None) -> RemoteStore:
        """The store of the server, with the settings' token; new packages are to lie in ``backend``."""
        return cls(Client(server, settings.api_token, backend=backend), max_files=settings.max_files)

    @property
    def max_files(self) -> int:
        """See ``Store``."""
        return self._max_files

    def close(self) -> None:
        """See ``Store``."""
        self._client.close()

    # packages

    def push(self, draft: PackageDraft, *, as_revision: bool, progress: Progress) -> Document:
        """See ``Store``."""
        return asdict(self._client.push(draft, as_revision=as_revision, progress=progress))

    def list_packages(self, wanted: PackageFilter, *, after: str | None, limit: int) -> Document:
        """See ``Store``."""
        key, value = wanted.metadata or (None, None)
        return self._client.list_packages(
            after=after,
            limit=limit,
            producer=wanted.producer,
            external_id=wanted.external_id,
            subject=wanted.subject,
            schema=wanted.schema_slug,
            retention_class=wanted.retention_class,
            status=wanted.status,
            metadata_key=key,
            metadata_value=value,
            digest=None if wanted.blob is None else f"blake3:{wanted.blob.hex()}",
        )

    def show_package(self, package_id: str, *, files: bool) -> Document:
        """See ``Store``."""
        document = self._client.package(package_id)
        if files and document.get("status") in _WITH_FILES:
            document["files"] = list(self._client.files(package_id))
        return document

    def manifest(self, package_id: str) -> bytes:
        """See ``Store``."""
        return self._client.manifest(package_id)

    def get_package(self, package_id: str, destination: Path, *, progress: Progress) -> int:
        """See ``Store``."""
        return self._client.get_package(package_id, destination, progress=progress)

    def get_file(self, package_id: str, path: str, destination: Path) -> int:
        """See ``Store``."""
        return self._client.get_file(package_id, path, destination)

    def send_file(self, package_id: str, path: str, sink: BinaryIO) -> int:
        """See ``Store``."""
        return self._client.send_file(package_id, path, sink)

    def verify_package(self, package_id: str, *, progress: Progress) -> Document:
        """See ``Store``."""
        progress.begin("verifying", None)
        return self._client.verify(package_id)

    # the whole store

    def verify_all(self, *, progress: Progress) -> Document:
        """See ``Store``."""
        progress.begin("verifying", None)
        return self._client.verify_all()

    def verify_objects(self, *, progress: Progress) -> Document:
        """See ``Store``."""
        progress.begin("verifying", None)
        return self._client.verify_objects()

    def list_events(self, *, after: int, limit: int, subject: str | None, payload: bool) -> Document:
        """See ``Store``."""
        return self._client.events(after=after, limit=limit, subject=subject, payload=payload)

    def check_replay(self) -> Document:
        """See ``Store``."""
        return self._client.check_replay()

    def list_objects(self, *, after: int, limit: int) -> Document:
        """See ``Store``."""
        return self._client.objects(after=after, limit=limit)

    # metadata schemas

    def register_schema(self, slug: str, json_schema: JsonValue) -> Document:
        """See ``Store``."""
        return self._client.register_schema(slug, json_schema)

    def list_schemas(self) -> Document:
        """See ``Store``."""
        return {"schemas": list(self._client.schemas())}

    def show_schema(self, slug: str) -> Document:
        """See ``Store``."""
        return self._client.schema(slug)

    # retention

    def retention(self, package_id: str) -> Document:
        """See ``Store``."""
        return self._client.retention(package_id)

    def extend_retention(self, package_id: str, expires_at: Instant, *, reason: str) -> Document:
        """See ``Store``."""
        return self._client.extend_retention(package_id, expires_at, reason=reason)

    def place_hold(self, package_id: str, *, reason: str) -> Document:
        """See ``Store``."""
        return self._client.place_hold(package_id, reason=reason)

    def release_hold(self, package_id: str, hold_id: str, *, reason: str) -> Document:
        """See ``Store``."""
        return self._client.release_hold(package_id, hold_id, reason=reason)

    def pin_package(self, package_id: str, *, reason: str) -> Document:
        """See ``Store``."""
        return self._client.pin_package(package_id, reason=reason)

    def unpin_package(self, package_id: str, *, reason: str) -> Document:
        """See ``Store``."""
        return self._client.unpin_package(package_id, reason=reason)

    def make_plan(self) -> Document:
        """See ``Store``."""
        return self._client.make_plan()

    def approve_plan(self, plan_digest: str) -> Document:
        """See ``Store``."""
        return self._client.approve_plan(plan_digest)

    def apply_plan(self, plan_digest: str, *, reason: str) -> Document:
        """See ``Store``."""
        return self._client.apply_plan(plan_digest, reason=reason)

    def certificate(self, package_id: str) -> bytes:
        """See ``Store``."""
        return self._client.certificate(package_id)

    def due_packages(self) -> Document:
        """See ``Store``."""
        return self._client.sweep(dry_run=True)

    def sweep(self, *, clock_is_right: bool) -> Document:
        """See ``Store``."""
        return self._client.sweep(clock_is_right=clock_is_right)

    def status(self) -> Document:
        """See ``Store``."""
        return self._client.status()

    def usage(self, producer: str | None) -> Document:
        """See ``Store``."""
        return self._client.usage(producer)

    # upkeep

    def scrub(self) -> Document:
        """See ``Store``."""
        return cast("Document", self._client.status()["scrub"])

    def pause_duty(self, duty: str) -> Document:
        """See ``Store``."""
        return self._client.pause_duty(duty)

    def resume_duty(self, duty: str) -> Document:
        """See ``Store``."""
        return self._client.resume_duty(duty)

    def seal_log(self) -> Document:
        """See ``Store``."""
        return self._client.seal_log()

    def reconcile(self, *, backend: str | None, after: int, limit: int, progress: Progress) -> Document:
        """See ``Store``."""
        progress.begin("reconciling", None)
        return self._client.reconcile(backend=backend, after=after, limit=limit)

    def heal(self, package_id: str | None, *, folder: Path | None, progress: Progress) -> Document:
        """See ``Store``; a server has no folder of ours."""
        if folder is not None:
            raise UsageError(
                "--from is a directory of this host, and the store is a server's",
                hint="Push the directory again: what is damaged counts as absent, so its bytes are stored afresh.",
            )
        progress.begin("healing", None)
        return self._client.heal(package_id)

    # plug-ins

    def context(self, loaded: LoadedPlugin, *, progress: Progress) -> PluginContext:
        """See ``Store``."""
        from artifactstore.client.context import RemoteContext

        return RemoteContext(self._client, loaded, max_files=self._max_files, progress=progress)
