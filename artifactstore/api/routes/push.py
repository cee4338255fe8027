"""Recording packages: preflight, open, send, finalize, give up."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import asdict, replace
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from artifactstore.api import models, provenance_models
from artifactstore.api.bodies import refuse_announced_length, stream_body
from artifactstore.api.forms import receive_form
from artifactstore.api.guards import CurrentCaller, CurrentRegistry, CurrentService, CurrentWriter, OwnOpenPackage
from artifactstore.api.observing import OPTIONAL_OBSERVING, beside_of
from artifactstore.api.openapi import (
    IDEMPOTENCY_KEY,
    header,
    json_request,
    optional_json_request,
    problems,
    raw_request,
)
from artifactstore.api.requests import MAX_FILE_LIST_BYTES, attempt_of, body_of, require_media_type
from artifactstore.catalog.contributions import contribution_of
from artifactstore.documents.provenance import ingested_document
from artifactstore.documents.pushes import push_document, received_document
from artifactstore.documents.usage import quota_document
from artifactstore.domain.access import Caller
from artifactstore.domain.manifest import FileEntry
from artifactstore.domain.media_type import media_type_of
from artifactstore.domain.package import DEFAULT_ROLE, MAX_FILE_BYTES, FileDraft, PackageDraft, PackageStatus
from artifactstore.domain.retention import RetentionClass
from artifactstore.domain.retention_plan import PLAN_PRODUCER
from artifactstore.errors import ForbiddenError, RequestInvalidError
from artifactstore.registry.finalizing import finalize
from artifactstore.registry.idempotency import Attempt
from artifactstore.registry.open_packages import UNSENT, abandon, open_package, push_state
from artifactstore.registry.preflight import preflight
from artifactstore.registry.quotas import quota_of
from artifactstore.registry.receiving import Announced, receive_archive, receive_file

router = APIRouter(prefix="/packages", tags=["push"])

FilePath = Annotated[str, Path(description="The file's logical path.", examples=["reports/report.txt"])]
_SEND = problems(401, 404, 408, 409, 413, 415, 507)
_SHA256 = re.compile(r"\s*sha-256=:([A-Za-z0-9+/]+=*):\s*")


@router.post(
    "", response_model=models.PushState, status_code=201,
    openapi_extra=json_request(models.PackageOpening, IDEMPOTENCY_KEY),
    responses={
        **problems(401, 404, 408, 409, 410, 413, 415, 507),
        200: {"model": models.PushState, "description": "A package has this very content."},
    },
)  # fmt: skip
def open_(
    caller: CurrentWriter,
    registry: CurrentRegistry,
    body: Annotated[models.PackageOpening, Depends(body_of(models.PackageOpening, max_bytes=MAX_FILE_LIST_BYTES))],
    attempt: Annotated[Attempt | None, Depends(attempt_of)],
) -> JSONResponse:
    """Open a package. With its files declared, the answer names the blobs to send. Takes ``Idempotency-Key``."""
    _require_open_to_all(body.producer, caller)
    declared = None if body.files is None else [_entry(file) for file in body.files]
    state = open_package(
        registry.putting_to(body.backend), _draft(body), declared, as_revision=body.revision,
        readable_producers=caller.readable_producers, attempt=attempt, owner=caller.owner,
    )  # fmt: skip
    document = push_document(state, pack_threshold_bytes=registry.pack_threshold_bytes)
    return JSONResponse(document, 201 if state.status == PackageStatus.OPEN else 200)


def _require_open_to_all(producer: str, caller: Caller) -> None:
    """Packages of a pilot that keeps tables of them are its own to record: what they say has been judged.

    So are retention plans, the store's own. Raises ``ForbiddenError``.
    """
    caller.require_write(producer)
    if producer == PLAN_PRODUCER:
        raise ForbiddenError(f"packages of {producer!r} are the store's own", hint="POST to /retention/plans instead.")
    if contribution_of(producer) is not None:
        raise ForbiddenError(
            f"packages of {producer!r} are recorded by its pilot", hint=f"POST to /pilots/{producer}/ instead."
        )


def _draft(body: models.PackageOpening | models.PackageSketch) -> PackageDraft:
    return PackageDraft(
        producer=body.producer,
        files=(),
        retention_class=RetentionClass.parse(body.retention_class or RetentionClass.SUMMARY_EVIDENCE),
        external_id=body.external_id,
        subject=body.subject,
        schema=body.schema_slug,
        metadata=body.metadata,
    )


def _entry(file: models.FileDeclaration) -> FileEntry:
    return FileEntry(
        file.path,
        file.role or DEFAULT_ROLE,
        file.media_type or media_type_of(file.path),
        file.size,
        bytes.fromhex(file.blake3.removeprefix("blake3:")),  # the model knows their form
        bytes.fromhex(file.sha256.removeprefix("sha256:")),
    )


# "/packages:preflight" has no slash after its noun, so it cannot have the router's prefix
preflight_router = APIRouter(tags=["push"])


@preflight_router.post(
    "/packages:preflight", response_model=models.Preflight, openapi_extra=json_request(models.PackageSketch),
    responses=problems(401, 408, 413, 415),
)  # fmt: skip
def preflight_(
    service: CurrentService,
    caller: CurrentCaller,
    registry: CurrentRegistry,
    body: Annotated[models.PackageSketch, Depends(body_of(models.PackageSketch, max_bytes=MAX_FILE_LIST_BYTES))],
) -> JSONResponse:
    """What a push would meet, all at once: rights, names, sizes, counts, the metadata's schema, the storage."""
    sketches = body.files or []
    files = tuple(
        FileDraft(file.path, UNSENT, file.role or DEFAULT_ROLE, file.media_type or media_type_of(file.path))
        for file in sketches
    )
    obstacles = preflight(
        registry, replace(_draft(body), files=files), body.backend, [file.size for file in sketches],
        may_write=lambda: _require_open_to_all(body.producer, caller),
    )  # fmt: skip
    limits = {
        "max_files": registry.max_files,
        "max_file_bytes": MAX_FILE_BYTES,
        "pack_threshold_bytes": registry.pack_threshold_bytes,
        "max_payload_bytes": service.host.max_payload_bytes,
    }
    problems_found = [obstacle._asdict() for obstacle in obstacles]
    may_write = all(obstacle.code != ForbiddenError.code for obstacle in obstacles)
    quota = quota_document(quota_of(registry, body.producer)) if may_write else None
    return JSONResponse({"ok": not obstacles, "problems": problems_found, "limits": limits, "quota": quota})


@router.get("/{package_id}/missing", response_model=models.PushState, responses=problems(401, 403, 404, 409))
def missing(caller: CurrentCaller, registry: CurrentRegistry, package_id: OwnOpenPackage) -> JSONResponse:
    """What is still to be sent."""
    state = push_state(registry, package_id, readable_producers=caller.readable_producers)
    return JSONResponse(push_document(state, pack_threshold_bytes=registry.pack_threshold_bytes))


@router.post(
    "/{package_id}/packs", response_model=models.ReceivedArchive, responses=_SEND,
    openapi_extra=raw_request("application/zip"),
)  # fmt: skip
async def pack(request: Request, registry: CurrentRegistry, package_id: OwnOpenPackage) -> JSONResponse:
    """Small files as one ZIP of stored entries, named by path. It is read strictly and not kept."""
    require_media_type(request, "application/zip")
    received = await stream_body(request, lambda read: receive_archive(registry, package_id, read))
    return JSONResponse(received._asdict())


@router.put(
    "/{package_id}/files/{path:path}", response_model=models.ReceivedFile, status_code=201,
    openapi_extra={
        **raw_request("application/octet-stream"),
        "parameters": [header("Repr-Digest", "The SHA-256 of what is sent: `sha-256=:<base64>:`.")],
    },
    responses={**_SEND, 200: {"model": models.ReceivedFile, "description": "It was there."}},
)  # fmt: skip
async def put_file(
    request: Request,
    registry: CurrentRegistry,
    package_id: OwnOpenPackage,
    path: FilePath,
    role: Annotated[str | None, Query(max_length=64)] = None,
    media_type: Annotated[str | None, Query(max_length=255)] = None,
) -> JSONResponse:
    """One file's bytes, streamed, of any content type. ``Repr-Digest`` may announce their SHA-256."""
    refuse_announced_length(request, MAX_FILE_BYTES)
    announced = Announced(path, role, media_type, _announced_sha256(request))
    received = await stream_body(request, lambda read: receive_file(registry, package_id, announced, read))
    return JSONResponse(received_document(received.file), 200 if received.was_there else 201)


def _announced_sha256(request: Request) -> bytes | None:
    text = request.headers.get("repr-digest")
    if text is None:
        return None
    found = _SHA256.fullmatch(text)
    try:
        raw = base64.b64decode(found[1], validate=True) if found else b""
    except binascii.Error:
        raw = b""
    if len(raw) != 32:  # noqa: PLR2004 - of SHA-256
        raise RequestInvalidError("Repr-Digest is to be written sha-256=:<base64 of 32 bytes>:")
    return raw


@router.post(
    "/{package_id}/files", response_model=models.ReceivedFiles, responses=_SEND,
    openapi_extra=raw_request(
        "multipart/form-data", {"type": "object", "additionalProperties": {"type": "string", "format": "binary"}}
    ),
)  # fmt: skip
async def form(request: Request, registry: CurrentRegistry, package_id: OwnOpenPackage) -> JSONResponse:
    """Files as a multipart form whose field names are the paths: for curl."""
    content_type = request.headers.get("content-type", "")
    require_media_type(request, "multipart/form-data")
    files = await stream_body(request, lambda read: receive_form(registry, package_id, content_type, read))
    return JSONResponse({"files": [received_document(file) for file in files]})


@router.post(
    "/{package_id}/finalize", response_model=provenance_models.FinalReceipt,
    responses=problems(401, 404, 408, 409, 410, 413, 415, 507),
    openapi_extra=optional_json_request(provenance_models.Observing),
)  # fmt: skip
def finalize_(
    service: CurrentService,
    caller: CurrentCaller,
    registry: CurrentRegistry,
    package_id: OwnOpenPackage,
    body: Annotated[provenance_models.Observing | None, Depends(OPTIONAL_OBSERVING)],
) -> JSONResponse:
    """Record the package, and with a body where it was observed. Asked again, the receipt is the same."""
    beside = None if body is None else beside_of(service.host, caller, body)
    receipt = finalize(registry, package_id, readable_producers=caller.readable_producers, beside=beside)
    service.metrics.ingests.labels("reused" if receipt.reused_existing else "new").inc()
    service.metrics.stored_bytes.inc(receipt.stored_bytes)
    if beside is None:
        return JSONResponse(asdict(receipt))
    service.metrics.observations.labels("new" if beside.is_new else "known").inc()
    recorded = ingested_document(beside.result(receipt))
    return JSONResponse({**asdict(receipt), "source": recorded["source"], "envelope": recorded["envelope"]})


@router.delete("/{package_id}", status_code=204, response_class=Response, responses=problems(401, 404, 409, 507))
def abandon_(registry: CurrentRegistry, package_id: OwnOpenPackage) -> Response:
    """Give up an open package."""
    abandon(registry, package_id)
    return Response(status_code=204)
