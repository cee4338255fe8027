"""The one seam between the commands and a store: what is asked of it, wherever it is.

``EmbeddedStore`` asks the use-cases in this process, ``RemoteStore`` a server. A command does not know which; what it
prints is the document it is answered with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from artifactstore.catalog.package_filter import PackageFilter
    from artifactstore.documents import Document
    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.instant import Instant
    from artifactstore.domain.package import PackageDraft
    from artifactstore.plugins.contract import PluginContext
    from artifactstore.plugins.loaded import LoadedPlugin
    from artifactstore.registry.progress import Progress


class Store(Protocol):
    """A store that is open. Lists answer ``next_after`` with what to give as ``after``, null at the end."""

    @property
    def max_files(self) -> int:
        """How many files a directory may have to be worth reading."""

    def push(self, draft: PackageDraft, *, as_revision: bool, progress: Progress) -> Document:
        """Record a draft; the receipt."""

    def list_packages(self, wanted: PackageFilter, *, after: str | None, limit: int) -> Document:
        """A page of packages in the order they were opened."""

    def show_package(self, package_id: str, *, files: bool) -> Document:
        """A package and where it was first observed, with its files if it has any and they are asked for."""

    def manifest(self, package_id: str) -> bytes:
        """The exact bytes of a package's manifest, checked."""

    def get_package(self, package_id: str, destination: Path, *, progress: Progress) -> int:
        """Write every file below ``destination``, which must not exist; returns their number."""

    def get_file(self, package_id: str, path: str, destination: Path) -> int:
        """Write one file to ``destination``, which must not exist; returns its size in bytes."""

    def send_file(self, package_id: str, path: str, sink: BinaryIO) -> int:
        """Write one file, checked, to a stream that cannot take bytes back; returns its size in bytes."""

    def verify_package(self, package_id: str, *, progress: Progress) -> Document:
        """Read back what a package consists of; the report."""

    def verify_all(self, *, progress: Progress) -> Document:
        """Read back every package and every object; the report."""

    def verify_objects(self, *, progress: Progress) -> Document:
        """Read back every object; the report."""

    def list_events(self, *, after: int, limit: int, subject: str | None, payload: bool) -> Document:
        """A page of the event log."""

    def check_replay(self) -> Document:
        """Replay the event log and compare."""

    def list_objects(self, *, after: int, limit: int) -> Document:
        """A page of the stored objects."""

    def register_schema(self, slug: str, json_schema: JsonValue) -> Document:
        """Register a metadata schema."""

    def list_schemas(self) -> Document:
        """Every metadata schema, by slug."""

    def show_schema(self, slug: str) -> Document:
        """One metadata schema with its text."""

    def retention(self, package_id: str) -> Document:
        """What decides how long a package stays."""

    def extend_retention(self, package_id: str, expires_at: Instant, *, reason: str) -> Document:
        """Keep a package longer; its retention then."""

    def place_hold(self, package_id: str, *, reason: str) -> Document:
        """Hold a package; the hold's id and the package's retention then."""

    def release_hold(self, package_id: str, hold_id: str, *, reason: str) -> Document:
        """End a hold; the package's retention then."""

    def pin_package(self, package_id: str, *, reason: str) -> Document:
        """Keep a package out of every plan; its retention then."""

    def unpin_package(self, package_id: str, *, reason: str) -> Document:
        """End a package's pin; its retention then."""

    def make_plan(self) -> Document:
        """Plan what can be deleted; the plan's digest and totals."""

    def approve_plan(self, plan_digest: str) -> Document:
        """Agree to a plan; who has."""

    def apply_plan(self, plan_digest: str, *, reason: str) -> Document:
        """Delete what a plan says; what was done."""

    def certificate(self, package_id: str) -> bytes:
        """A deleted package's certificate of destruction."""

    def due_packages(self) -> Document:
        """What a sweep would mark."""

    def sweep(self, *, clock_is_right: bool) -> Document:
        """Mark what is past its retention; what was marked. A clock that leapt is believed if that is said."""

    def status(self) -> Document:
        """The state of the store."""

    def scrub(self) -> Document:
        """How far reading everything back has come."""

    def pause_duty(self, duty: str) -> Document:
        """Let nobody run a duty by itself; how it stands then."""

    def resume_duty(self, duty: str) -> Document:
        """Have a duty run again when it is due; how it stands then."""

    def seal_log(self) -> Document:
        """Seal what the log has grown by; what was sealed."""

    def reconcile(self, *, backend: str | None, after: int, limit: int, progress: Progress) -> Document:
        """Compare backends with the catalog; the report."""

    def heal(self, package_id: str | None, *, folder: Path | None, progress: Progress) -> Document:
        """Heal a package or, without one, all that is recorded as damaged; ``folder`` is this host's. The report."""

    def usage(self, producer: str | None) -> Document:
        """Where the bytes are: by producer and by backend, or of one producer."""

    def context(self, loaded: LoadedPlugin, *, progress: Progress) -> PluginContext:
        """A plug-in's context on this store."""

    def close(self) -> None:
        """Release what is open."""
