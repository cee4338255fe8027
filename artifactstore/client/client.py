"""``Client``: one server's store. Each method is one use-case; documents are what the command line prints.

Every error is one of ``artifactstore.errors``, the same as the library raises in its own process; besides there are
``ServiceUnavailableError`` for a server that cannot be reached, ``ServiceError`` for an answer that makes no sense, and
``UnauthenticatedError`` and ``ForbiddenError`` for what the token does not allow. What may safely be repeated is
repeated a few times before it is given up.
"""

from __future__ import annotations

import re
import secrets
import time
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from artifactstore.client import fetching, observing, pushing
from artifactstore.client.answers import member
from artifactstore.client.connection import Connection, Request, segment
from artifactstore.client.draft import hash_files
from artifactstore.client.event_stream import stream_events
from artifactstore.client.fetching import package_path
from artifactstore.domain.digest import Digest
from artifactstore.domain.instant import instant_text
from artifactstore.domain.package import check_reason
from artifactstore.errors import (
    EnvelopeUnknownError,
    HoldUnknownError,
    MetadataSchemaUnknownError,
    ServiceError,
    SourceUnknownError,
)
from artifactstore.registry.progress import SILENT
from artifactstore.registry.reading import manifest_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from artifactstore.client.connection import Sleep
    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.instant import Instant
    from artifactstore.domain.manifest import Manifest
    from artifactstore.domain.package import PackageDraft, PackageReceipt
    from artifactstore.domain.provenance import IngestInput, IngestResult, Provenance
    from artifactstore.registry.progress import Progress

    Document = dict[str, Any]

_PAGE = 1_000
_PAGE_OF_OBSERVATIONS = 100
_PAGE_WITH_PAYLOADS = 20
"""An event may say as much as thousands of others."""
_NAME = re.compile(r"(?!\.+$)[\w.-]+", re.ASCII)
"""What can stand as one segment of a path; anything else is the name of nothing."""


class Client:
    """The store behind ``url``; use it as a context manager, from any number of threads.

    The token is sent to this server only, and over plain HTTP only to loopback: else ``ConfigurationError``.
    ``backend`` names the server's backend that pushed packages are to lie in, if not just any.
    """

    def __init__(
        self, url: str, token: str | None = None, *, backend: str | None = None, sleep: Sleep = time.sleep
    ) -> None:
        self._connection = Connection(url, token, sleep=sleep)
        self._backend = backend

    def close(self) -> None:
        """Release the connections that are kept."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # packages, in

    def push(self, draft: PackageDraft, *, as_revision: bool = False, progress: Progress = SILENT) -> PackageReceipt:
        """Record a draft as one package; see ``registry.ingest``, which this is at a distance.

        Every file is read and hashed once; only what the server does not have is sent. A push that was cut off, or
        whose process was killed, goes on where it was when it is made again within a day.
        """
        return pushing.push(self._connection, draft, as_revision=as_revision, backend=self._backend, progress=progress)

    def preflight(self, draft: PackageDraft, *, as_revision: bool = False) -> None:
        """Raises what ``push`` would raise before it reads a file: rules, limits, schema, permission."""
        pushing.preflight(self._connection, draft, as_revision=as_revision, backend=self._backend)

    def check(self, draft: PackageDraft, *, progress: Progress = SILENT) -> Manifest:
        """Everything ``push`` would check, and the manifest it would record; nothing is sent but the description."""
        draft, limits = pushing.preflight(self._connection, draft, as_revision=False, backend=self._backend)
        return manifest_of(draft, hash_files(draft, limits, progress).entries)

    # observations

    def ingest(self, given: IngestInput, provenance: Provenance) -> IngestResult:
        """Record an observation without a package; see ``PluginContext.ingest``, which this is at a distance.

        ``provenance`` is kept as declared by this client's token. The same again changes nothing, so a request whose
        answer was lost is repeated; it is then answered with ``was_created`` false.
        """
        return observing.ingest(self._connection, given, provenance)

    def push_observed(
        self, given: IngestInput, provenance: Provenance, *, as_revision: bool = False, progress: Progress = SILENT
    ) -> IngestResult:
        """Push the package of an observation, and record both in one transaction; see ``push`` and ``ingest``.

        Of a package that is there already only the observation is new.
        """
        return pushing.push_observed(
            self._connection, given, provenance, as_revision=as_revision, backend=self._backend, progress=progress
        )

    def observations(self, package_id: str) -> Iterator[Document]:
        """Where a package was observed, in the order in which that was recorded, fetched a page at a time."""
        yield from self._pages(f"{package_path(package_id)}/observations", "observations", size=_PAGE_OF_OBSERVATIONS)

    def source(self, source_id: str) -> Document:
        """A source. Raises ``SourceUnknownError``."""
        return self._get(_source_path(source_id))

    def envelopes(self, source_id: str) -> Iterator[Document]:
        """A source's envelopes in the order they were recorded, fetched a page at a time."""
        yield from self._pages(f"{_source_path(source_id)}/envelopes", "envelopes", size=_PAGE_OF_OBSERVATIONS)

    def envelope(self, envelope_id: str) -> Document:
        """An envelope with its payload in base64. Raises ``EnvelopeUnknownError``."""
        if not _NAME.fullmatch(envelope_id):
            raise EnvelopeUnknownError(f"there is no envelope {envelope_id[:80]!r}")
        return self._get(f"/envelopes/{segment(envelope_id)}")

    # packages, out

    def list_packages(self, *, after: str | None = None, limit: int = 100, **filters: str | None) -> Document:
        """A page of packages. Filters are those of ``GET /packages``, such as ``producer`` and ``subject``."""
        return self._page("/packages", "packages", after, limit, filters)

    def package(self, package_id: str) -> Document:
        """A package with its metadata and holds. Raises ``PackageUnknownError``."""
        return self._get(package_path(package_id))

    def files(self, package_id: str) -> Iterator[Document]:
        """A package's files in path order, fetched a page at a time."""
        after: int | None = -1
        while after is not None:
            page = self._get(f"{package_path(package_id)}/files", after=after, limit=_PAGE)
            yield from member(page, "files", list)
            after = _next_after(page, after)

    def manifest(self, package_id: str) -> bytes:
        """The exact bytes, which have the digest that the package is known by. Raises ``ManifestCorruptError``."""
        return fetching.fetch_manifest(self._connection, package_id)

    def get_package(self, package_id: str, destination: Path, *, progress: Progress = SILENT) -> int:
        """Write every file below ``destination``, which must not exist; returns their number.

        Every byte is checked against the manifest, and nothing appears unless all of it is whole and right.
        """
        return fetching.fetch_package(self._connection, package_id, destination, progress)

    def get_file(self, package_id: str, path: str, destination: Path) -> int:
        """Write one file, checked, to ``destination``, which must not exist; returns its size in bytes."""
        return fetching.fetch_file(self._connection, package_id, path, destination)

    def send_file(self, package_id: str, path: str, sink: BinaryIO) -> int:
        """Write one file to a stream, after it has come whole and right; returns its size in bytes."""
        return fetching.send_file(self._connection, package_id, path, sink)

    def verify(self, package_id: str) -> Document:
        """Have the server read a package back and compare; the report."""
        return self._post(f"{package_path(package_id)}/verification", patient=True)

    # retention

    def retention(self, package_id: str) -> Document:
        """What decides how long a package stays."""
        return self._get(f"{package_path(package_id)}/retention")

    def extend_retention(self, package_id: str, expires_at: Instant, *, reason: str) -> Document:
        """Keep a package longer; its retention then."""
        check_reason(reason)
        document = {"new_expires_at": instant_text(expires_at), "reason": reason}
        return self._post_once(f"{package_path(package_id)}/retention/extensions", document)

    def place_hold(self, package_id: str, *, reason: str) -> Document:
        """Hold a package; ``hold_id`` and its retention then."""
        check_reason(reason)
        return self._post_once(f"{package_path(package_id)}/holds", {"reason": reason})

    def release_hold(self, package_id: str, hold_id: str, *, reason: str) -> Document:
        """End a hold; the package's retention then. Raises ``HoldUnknownError``."""
        check_reason(reason)
        if not _NAME.fullmatch(hold_id):
            raise HoldUnknownError(f"package {package_id} has no hold {hold_id[:80]!r} in force")
        here = f"{package_path(package_id)}/holds/{segment(hold_id)}/release"
        return self._post(here, {"reason": reason}, repeatable=False)

    def pin_package(self, package_id: str, *, reason: str) -> Document:
        """Keep a package out of every retention plan; its retention then. Raises ``PackageStateError`` if it is."""
        check_reason(reason)
        return self._post(f"{package_path(package_id)}/pin", {"reason": reason}, repeatable=False)

    def unpin_package(self, package_id: str, *, reason: str) -> Document:
        """End a package's pin; its retention then. Raises ``PackageStateError`` if it has none."""
        check_reason(reason)
        return self._post(f"{package_path(package_id)}/unpin", {"reason": reason}, repeatable=False)

    def make_plan(self) -> Document:
        """Plan what can be deleted; the plan's digest and totals."""
        return self._post("/retention/plans", patient=True)

    def approve_plan(self, plan_digest: str) -> Document:
        """Agree to a plan; who has. Raises ``PlanUnknownError``."""
        return self._post(f"/retention/plans/{segment(str(Digest.parse(plan_digest)))}/approval")

    def apply_plan(self, plan_digest: str, *, reason: str) -> Document:
        """Delete what a plan says; what was done. Raises ``PlanUnknownError``, ``PlanNotApprovedError``."""
        check_reason(reason)
        here = f"/retention/plans/{segment(str(Digest.parse(plan_digest)))}/application"
        return self._post(here, {"reason": reason}, patient=True)

    def certificate(self, package_id: str) -> bytes:
        """A deleted package's certificate of destruction. Raises ``NotDestroyedError``."""
        return fetching.fetch_certificate(self._connection, package_id)

    def sweep(self, *, dry_run: bool = False, clock_is_right: bool = False) -> Document:
        """Mark what is past its retention as expired, or only say what that would be.

        Raises ``ClocksDisagreeError``; with ``clock_is_right`` a clock that has leapt is believed.
        """
        said = {"dry_run": dry_run, **({"clock_is_right": True} if clock_is_right else {})}
        return self._post("/retention:sweep", said, repeatable=dry_run, patient=True)

    # metadata schemas

    def register_schema(self, slug: str, json_schema: JsonValue) -> Document:
        """Register a schema for good; the same again is harmless. Raises ``SchemaConflictError`` for another."""
        return self._post("/metadata-schemas", {"slug": slug, "json_schema": json_schema})

    def schemas(self) -> Iterator[Document]:
        """Every schema, by slug, without its text."""
        yield from self._pages("/metadata-schemas", "schemas")

    def schema(self, slug: str) -> Document:
        """One schema with its text. Raises ``MetadataSchemaUnknownError``."""
        if not _NAME.fullmatch(slug):
            raise MetadataSchemaUnknownError(f"no metadata schema is registered as {slug!r}")
        return self._get(f"/metadata-schemas/{segment(slug)}")

    # events

    def events(
        self, *, after: int = 0, limit: int = 100, subject: str | None = None, payload: bool = False
    ) -> Document:
        """A page of the event log after a sequence number."""
        more = {"subject": subject, "payload": "true" if payload else None}
        return self._page("/events", "events", after, limit, more, size=_PAGE_WITH_PAYLOADS if payload else _PAGE)

    def stream_events(self, after: int, *, payload: bool = False) -> Iterator[Document]:
        """Every event after a sequence number, and then each one as it happens; without end.

        A cut connection is taken up again where it was: none is missed, none comes twice. Raises what the server
        answers, and ``ServiceUnavailableError`` when it cannot be reached several times in a row.
        """
        return stream_events(self._connection, after, payload=payload)

    # the whole store

    def objects(self, *, after: int = 0, limit: int = 100) -> Document:
        """A page of the stored objects."""
        return self._page("/objects", "objects", after, limit, {})

    def verify_all(self) -> Document:
        """Have the server read back every package and every object; the report."""
        return self._post("/verification", {"what": "all"}, patient=True)

    def verify_objects(self) -> Document:
        """Have the server read back every object; the report."""
        return self._post("/verification", {"what": "objects"}, patient=True)

    def check_replay(self) -> Document:
        """Have the server replay its log and compare. Raises ``ReplayMismatchError`` or ``EventLogCorruptError``."""
        return self._post("/replay:check", patient=True)

    def status(self) -> Document:
        """The state of the store: database, log, backends, duties. Needs ``admin``."""
        return self._get("/status")

    def pause_duty(self, duty: str) -> Document:
        """Let no server run a duty by itself; how it stands then. Raises ``DutyUnknownError``. Needs ``admin``."""
        return self._post(f"/duties/{segment(duty)}/pause")

    def resume_duty(self, duty: str) -> Document:
        """Have a duty run again when it is due; how it stands then. Raises ``DutyUnknownError``. Needs ``admin``."""
        return self._post(f"/duties/{segment(duty)}/resume")

    def seal_log(self) -> Document:
        """Have the server seal what its log has grown by. Needs ``admin``."""
        return self._post("/log:seal", patient=True)

    def reconcile(self, *, backend: str | None = None, after: int = 0, limit: int = 100) -> Document:
        """Have the server compare its backends with its catalog; ``limit`` differences are named. Needs ``admin``."""
        return self._post("/storage:reconcile", {"backend": backend, "after": after, "limit": limit}, patient=True)

    def heal(self, package_id: str | None = None) -> Document:
        """Have the server heal a package, or all that is recorded as damaged, from what it has. Needs ``admin``."""
        return self._post("/storage:heal", {"package_id": package_id}, patient=True)

    def usage(self, producer: str | None = None) -> Document:
        """Where the bytes are: by producer, and for ``admin`` by backend; or of one producer."""
        query: dict[str, object] = {"limit": 1_000} if producer is None else {"producer": producer}
        document = page = self._get("/usage", **query)
        while page["next_after"] is not None:
            page = self._get("/usage", **query, after=page["next_after"])
            document["producers"] += page["producers"]
        return {name: value for name, value in document.items() if name != "next_after"}

    def whoami(self) -> Document:
        """What the token is called and allows."""
        return self._get("/whoami")

    def health(self) -> Document:
        """Answers while the server runs."""
        return self._get("/health")

    # requests

    def _get(self, path: str, **query: object) -> Document:
        return self._connection.call(Request("GET", path, query=query))

    def _post(
        self, path: str, document: Document | None = None, *, repeatable: bool = True, patient: bool = False
    ) -> Document:
        if document is None:
            return self._connection.call(Request("POST", path, repeatable=repeatable, patient=patient))
        return self._connection.call(Request.json("POST", path, document, repeatable=repeatable, patient=patient))

    def _post_once(self, path: str, document: Document) -> Document:
        """A request that would have a second effect if it were taken twice, under a key so that it is not."""
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        return self._connection.call(Request.json("POST", path, document, headers=headers))

    def _pages(self, path: str, name: str, *, size: int = _PAGE) -> Iterator[Document]:
        """Every item of a list, fetched a page at a time."""
        after: str | None = None
        while True:
            page = self._get(path, after=after, limit=size)
            yield from member(page, name, list)
            if (after := _next_after(page, after)) is None:
                return

    def _page(
        self, path: str, name: str, after: str | int | None, limit: int, more: dict[str, Any], *, size: int = _PAGE
    ) -> Document:
        """Up to ``limit`` items and where the next page begins; in as many requests as it takes."""
        items: list[object] = []
        while True:
            page = self._get(path, after=after, limit=min(limit - len(items), size), **more)
            items += member(page, name, list)
            after = _next_after(page, after)
            if after is None or len(items) >= limit:
                return {name: items, "next_after": after}


def _source_path(source_id: str) -> str:
    if not _NAME.fullmatch(source_id):
        raise SourceUnknownError(f"there is no source {source_id[:80]!r}")
    return f"/sources/{segment(source_id)}"


def _next_after(page: Document, after: object) -> Any:
    """Where the next page begins; None at the end. Raises ``ServiceError`` if that is where this one began."""
    found = page.get("next_after")
    if found is not None and found == after:
        raise ServiceError("the server's list does not go on")
    return found
