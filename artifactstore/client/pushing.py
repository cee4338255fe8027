"""Push: a draft becomes a package of the server's, in three requests for any number of small files.

The same push again, within a day and with the same token, finds the package that was left open and goes on: the
idempotency key is a digest of the description. Nothing is recorded before ``finalize``, the last request.
"""

from __future__ import annotations

import secrets
import sys
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from blake3 import blake3

from artifactstore.client.answers import error_of_code, member, problems_of
from artifactstore.client.connection import BUFFER_BYTES, Request, segment
from artifactstore.client.draft import Limits, check_limits, description, hash_files
from artifactstore.client.observing import check_taken, observe, request_document, result_of
from artifactstore.client.parallel import Tasks
from artifactstore.client.sending import UPLOAD_BYTES, SentFile, Upload, put_file
from artifactstore.domain.digest import Digest
from artifactstore.domain.package import PackageReceipt, PackageStatus
from artifactstore.domain.zip_format import ZipDirectory, ZipEntry, archive_size
from artifactstore.errors import (
    DigestInvalidError,
    LimitExceededError,
    MetadataInvalidError,
    PackageIncompleteError,
    PackageStateError,
    ServiceError,
    UsageError,
)
from artifactstore.registry.gc_pause import gc_paused
from artifactstore.registry.reading import settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from artifactstore.client.connection import Connection
    from artifactstore.client.draft import HashedDraft
    from artifactstore.domain.package import PackageDraft
    from artifactstore.domain.provenance import IngestInput, IngestResult, Provenance
    from artifactstore.errors import ArtifactStoreError
    from artifactstore.registry.progress import Progress

_THREADS = 4
_ROUNDS = 3
_PACK_BYTES = 256 * 1024 * 1024
_MAX_DESCRIPTION_BYTES = 32 * 1024 * 1024
"""What servers take as a file list."""


def push(
    connection: Connection, draft: PackageDraft, *, as_revision: bool, backend: str | None, progress: Progress
) -> PackageReceipt:
    """See ``Client.push``."""
    draft, limits = preflight(connection, draft, as_revision=as_revision, backend=backend)
    with gc_paused():
        hashed = hash_files(draft, limits, progress)
        return _Push(connection, hashed, progress).run(as_revision=as_revision, backend=backend)


def push_observed(
    connection: Connection,
    given: IngestInput,
    provenance: Provenance,
    *,
    as_revision: bool,
    backend: str | None,
    progress: Progress,
) -> IngestResult:
    """See ``Client.push_observed``."""
    if given.package is None:
        raise UsageError("there is no package to push", hint="`ingest` records an observation without one.")
    document = request_document(given, provenance)
    draft, limits = preflight(connection, given.package, as_revision=as_revision, backend=backend)
    check_taken(given, limits)
    with gc_paused():
        pushing = _Push(connection, hash_files(draft, limits, progress), progress, observation=document)
        receipt = pushing.run(as_revision=as_revision, backend=backend)
    if pushing.finalized is not None:
        return result_of(pushing.finalized, receipt)
    return observe(connection, document, receipt)  # it was there already: there was nothing to finalize


def preflight(
    connection: Connection, draft: PackageDraft, *, as_revision: bool, backend: str | None
) -> tuple[PackageDraft, Limits]:
    """The checked draft and the server's limits, before anything is read. Raises for whatever the server would refuse.

    Paths and counts are checked here, by the server's own rules: its part are schema, metadata and permission.
    """
    draft = settled(draft, max_files=sys.maxsize)  # how many it may have, the server says
    body = description(draft, None, as_revision=as_revision, backend=backend)
    answer = connection.call(Request.json("POST", "/packages:preflight", body))
    limits = member(answer, "limits", dict)
    found = Limits(
        member(limits, "max_files", int),
        member(limits, "max_file_bytes", int),
        member(limits, "pack_threshold_bytes", int),
        member(limits, "max_payload_bytes", int) if "max_payload_bytes" in limits else None,
    )
    check_limits(draft, found)
    if not member(answer, "ok", bool):
        raise _obstacle(draft, member(answer, "problems", list))
    return draft, found


def _obstacle(draft: PackageDraft, found: Sequence[Any]) -> ArtifactStoreError:
    """The first kind of obstacle as the error that finalizing would raise."""
    obstacles = [each for each in found if isinstance(each, dict)]
    if not obstacles:
        return ServiceError("the server would refuse the package and does not say why")
    code = str(obstacles[0].get("code"))
    problems = tuple(problems_of([each for each in obstacles if each.get("code") == code]))
    if code == MetadataInvalidError.code:
        message = f"metadata violates schema {draft.schema} in {len(problems)} place(s)"
        return MetadataInvalidError(message, problems=problems)
    if len(problems) == 1 and not problems[0].where:
        return error_of_code(code, problems[0].what)
    return error_of_code(code, "the package cannot be recorded as described", problems)


class _OpenPackage(NamedTuple):
    package_id: str
    is_open: bool
    missing: list[str]
    pack_threshold_bytes: int
    receipt: PackageReceipt | None

    @classmethod
    def of(cls, answer: dict[str, Any]) -> _OpenPackage:
        receipt = answer.get("receipt")
        return cls(
            member(answer, "package_id", str),
            member(answer, "status", str) == PackageStatus.OPEN,
            member(answer, "missing", list),
            member(answer, "pack_threshold_bytes", int),
            None if receipt is None else _receipt(member(answer, "receipt", dict)),
        )


class _Push:
    """One push of a draft that has been hashed, and with ``observation`` of where it was observed.

    ``finalized`` is what finalizing was answered; None if there was nothing to finalize.
    """

    def __init__(
        self,
        connection: Connection,
        hashed: HashedDraft,
        progress: Progress,
        *,
        observation: dict[str, object] | None = None,
    ) -> None:
        self.finalized: dict[str, Any] | None = None
        self._connection = connection
        self._hashed = hashed
        self._progress = progress
        self._observation = observation
        self._opening = threading.Lock()
        self._tasks = Tasks(_THREADS)

    def run(self, *, as_revision: bool, backend: str | None) -> PackageReceipt:
        package = self._open(as_revision, backend)
        for _ in range(_ROUNDS):
            if package.receipt is not None:
                return package.receipt
            with suppress(PackageStateError):  # the same push, made twice at once: the other one was first
                self._send(package)
            try:
                return self._finalize(package.package_id)
            except PackageIncompleteError as error:
                incomplete = error
            package = self._missing(package.package_id)
        raise incomplete

    def _open(self, as_revision: bool, backend: str | None) -> _OpenPackage:
        """The package to fill, or one that is whole. What the key once led to may be past: then it is asked anew."""
        body = description(self._hashed.draft, self._hashed.entries, as_revision=as_revision, backend=backend)
        if len(body) > _MAX_DESCRIPTION_BYTES:
            raise LimitExceededError(
                f"the list of {len(self._hashed.entries)} files is longer than a server takes",
                hint="Split the package, or record it on the host of the store.",
            )
        package = self._post(body, f"push-{blake3(body).hexdigest()}")
        if not package.is_open and not _is_as_of_now(package.receipt):
            package = self._post(body, f"push-{secrets.token_hex(32)}")
        if not package.is_open and package.receipt is None:
            raise ServiceError("the server answered with a package that is neither open nor finalized")
        return package

    def _post(self, body: bytes, key: str) -> _OpenPackage:
        request = Request.json("POST", "/packages", body, headers={"Idempotency-Key": key}, patient=True)
        return _OpenPackage.of(self._connection.call(request))

    def _missing(self, package_id: str) -> _OpenPackage:
        return _OpenPackage.of(self._connection.call(Request("GET", f"/packages/{segment(package_id)}/missing")))

    def _finalize(self, package_id: str) -> PackageReceipt:
        path = f"/packages/{segment(package_id)}/finalize"
        if self._observation is None:
            request = Request("POST", path, patient=True)
        else:
            request = Request.json("POST", path, self._observation, patient=True)
        self.finalized = self._connection.call(request)
        return _receipt(self.finalized)

    # what is missing

    def _send(self, package: _OpenPackage) -> None:
        wanted = [self._index_of(address) for address in package.missing]
        entries = self._hashed.entries
        self._progress.begin("sending", sum(entries[index].size_bytes for index in wanted))
        small = [index for index in wanted if entries[index].size_bytes < package.pack_threshold_bytes]
        tasks: list[Callable[[], object]] = [
            partial(self._send_pack, package.package_id, group) for group in self._groups(small)
        ]
        large = (index for index in wanted if entries[index].size_bytes >= package.pack_threshold_bytes)
        tasks += [partial(self._send_large, package.package_id, index) for index in large]
        if tasks:
            self._tasks.run(tasks)

    def _index_of(self, address: object) -> int:
        index = self._hashed.first.get(_raw(address))
        if index is None:
            raise ServiceError("the server asks for bytes that were not announced")
        return index

    def _groups(self, small: Sequence[int]) -> Iterator[list[int]]:
        group: list[int] = []
        size_bytes = 0
        for index in small:
            if group and size_bytes >= _PACK_BYTES:
                yield group
                group, size_bytes = [], 0
            group.append(index)
            size_bytes += self._hashed.entries[index].size_bytes
        if group:
            yield group

    def _send_pack(self, package_id: str, group: Sequence[int]) -> None:
        entries, crc32s = self._hashed.entries, self._hashed.crc32s
        zip_entries = [ZipEntry(entries[index].path, entries[index].size_bytes, crc32s[index]) for index in group]
        self._connection.call(
            Request(
                "POST",
                f"/packages/{segment(package_id)}/packs",
                headers={"Content-Type": "application/zip"},
                body=lambda: self._pack(zip_entries, group),
                length=archive_size(zip_entries),
                patient=True,
            )
        )

    def _pack(self, zip_entries: Sequence[ZipEntry], group: Sequence[int]) -> Iterator[bytes]:
        directory, pending, pending_bytes = ZipDirectory(), list[bytes](), 0
        for entry, index in zip(zip_entries, group, strict=True):
            pending.append(directory.add(*entry))
            pending.append(self._small_file(index))
            pending_bytes += entry.size_bytes
            if pending_bytes >= BUFFER_BYTES:
                self._tasks.go_on()
                yield b"".join(pending)
                self._progress.advance(pending_bytes)
                pending.clear()
                pending_bytes = 0
        yield b"".join((*pending, directory.end()))
        self._progress.advance(pending_bytes)

    def _small_file(self, index: int) -> bytes:
        with self._opening:
            return self._hashed.small_file(index)

    def _send_large(self, package_id: str, index: int) -> None:
        entry = self._hashed.entries[index]
        open_file = partial(self._open_file, index)
        if entry.size_bytes < UPLOAD_BYTES:
            put_file(self._connection, package_id, entry, open_file)
        else:
            Upload(self._connection, package_id, entry, open_file, partial(self._is_missing, package_id, index)).run()

    def _is_missing(self, package_id: str, index: int) -> bool:
        return index in map(self._index_of, self._missing(package_id).missing)

    def _open_file(self, index: int) -> SentFile:
        with self._opening:
            opened = self._hashed.draft.files[index].source.open()
        return SentFile(opened, self._hashed.entries[index], self._told)

    def _told(self, count_bytes: int) -> None:
        self._tasks.go_on()
        self._progress.advance(count_bytes)


def _raw(address: object) -> bytes:
    try:
        return Digest.parse(str(address)).raw
    except DigestInvalidError:
        return b""


def _is_as_of_now(receipt: PackageReceipt | None) -> bool:
    """Whether a receipt can be the answer to this push: else it is what an earlier push of the same was answered."""
    return receipt is not None and receipt.reused_existing and receipt.stored_bytes == 0


def _receipt(answer: dict[str, Any]) -> PackageReceipt:
    kinds = {"str": str, "int": int, "bool": bool}
    return PackageReceipt(
        **{name: member(answer, name, kinds[str(kind)]) for name, kind in PackageReceipt.__annotations__.items()}
    )
