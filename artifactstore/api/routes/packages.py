"""Packages as they are recorded: list, show, manifest, files, archive, verification."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from artifactstore.api import models, provenance_models
from artifactstore.api.guards import (
    CurrentCaller,
    CurrentRegistry,
    CurrentService,
    CurrentViewer,
    ReadablePackage,
    WritablePackage,
    may_see_open,
    readable_details,
)
from artifactstore.api.openapi import problems
from artifactstore.api.requests import LIMIT
from artifactstore.api.streaming import StreamedAnswer, download_headers
from artifactstore.catalog.package_filter import PackageFilter
from artifactstore.documents.packages import file_document, package_document
from artifactstore.documents.provenance import first_observations, observed_package_details
from artifactstore.documents.pushes import open_package_document
from artifactstore.documents.storage import own_verification_document, verification_document
from artifactstore.domain.access import Caller
from artifactstore.domain.digest import Digest
from artifactstore.domain.manifest import Manifest
from artifactstore.domain.package import PackageStatus
from artifactstore.domain.retention import RetentionClass
from artifactstore.errors import PackageUnknownError, RequestInvalidError
from artifactstore.registry.downloads import EVERY_SIZE, archive
from artifactstore.registry.files import page_of_files
from artifactstore.registry.open_packages import draft_of, find_open_package, list_open_packages
from artifactstore.registry.packages import list_packages, read_manifest
from artifactstore.registry.registry import Registry
from artifactstore.registry.verify import own_damage, verify_package

router = APIRouter(prefix="/packages", tags=["packages"])

_ADDRESS: dict[str, Any] = {"pattern": "^blake3:[0-9a-f]{64}$"}
Text = Annotated[str | None, Query(max_length=512)]
_GONE = problems(401, 404, 409, 410)


async def filter_of(
    producer: Text = None,
    external_id: Text = None,
    subject: Text = None,
    schema: Text = None,
    retention_class: Annotated[RetentionClass | None, Query()] = None,
    status: Annotated[PackageStatus | None, Query()] = None,
    metadata_key: Annotated[str | None, Query(description="With metadata_value: a top-level member.")] = None,
    metadata_value: Annotated[str | None, Query(description="Its value as text.", max_length=256)] = None,
    digest: Annotated[str | None, Query(description="A file's blake3: digest.", json_schema_extra=_ADDRESS)] = None,
) -> PackageFilter:
    """What the packages of a list have in common."""
    if (metadata_key is None) != (metadata_value is None):
        raise RequestInvalidError("metadata_key and metadata_value go together")
    return PackageFilter(
        producer=producer,
        external_id=external_id,
        subject=subject,
        schema_slug=schema,
        retention_class=retention_class,
        status=status,
        metadata=None if metadata_key is None or metadata_value is None else (metadata_key, metadata_value),
        blob=None if digest is None else _address(digest),
    )


def _address(digest: str) -> bytes:
    parsed = Digest.parse(digest)
    if parsed.algorithm != "blake3":
        raise RequestInvalidError("files are found by their blake3: digest")
    return parsed.raw


@router.get("", response_model=models.PackagePage, responses=problems(401, 404))
def list_(
    caller: CurrentCaller,
    registry: CurrentRegistry,
    wanted: Annotated[PackageFilter, Depends(filter_of)],
    after: Annotated[str | None, Query(description="Start after this package.", max_length=64)] = None,
    limit: LIMIT = 100,
) -> JSONResponse:
    """A page of packages in the order they were opened; of open ones, your own."""
    if wanted.status == PackageStatus.OPEN:
        opened_by = None if caller.is_admin else caller.owner
        opened = list_open_packages(registry, after=after, limit=limit, opened_by=opened_by, wanted=wanted)
        documents = [open_package_document(each, draft_of(each)[0]) for each in opened]
    else:
        page = list_packages(
            registry, after=after, limit=limit, wanted=wanted, readable_producers=caller.readable_producers
        )
        documents = [package_document(package) for package in page]
    next_after = documents[-1]["package_id"] if len(documents) == limit else None
    return JSONResponse({"packages": documents, "next_after": next_after})


@router.get("/{package_id}", response_model=provenance_models.PackageDetails, responses=problems(401, 404))
def show(caller: CurrentCaller, registry: CurrentRegistry, viewer: CurrentViewer, package_id: str) -> JSONResponse:
    """One package with its metadata, its holds, and where it was first observed."""
    try:
        package, holds = readable_details(registry, caller, package_id)
    except PackageUnknownError:
        if (document := _open_details(caller, registry, package_id)) is None:
            raise
        return JSONResponse(document)
    return JSONResponse(
        observed_package_details(registry, package, holds, viewer=viewer, tells_of_others=caller.reads_everything)
    )


def _open_details(caller: Caller, registry: Registry, package_id: str) -> dict[str, object] | None:
    opened = find_open_package(registry, package_id)
    if opened is None or opened.receipt is not None or not may_see_open(opened, caller):
        return None
    draft, _ = draft_of(opened)
    return {
        **open_package_document(opened, draft), "metadata": draft.metadata, "holds": [], "pin": None, "deletion": None,
        "usage": None,
        **first_observations([]),
    }  # fmt: skip


@router.get(
    "/{package_id}/manifest", response_class=Response,
    responses={**_GONE, 200: {"description": "The exact bytes.", "content": {"application/cbor": {}}}},
)  # fmt: skip
def manifest(package: ReadablePackage, registry: CurrentRegistry) -> Response:
    """The manifest: canonical CBOR, whose BLAKE3 is the manifest digest."""
    encoded = read_manifest(registry, package.package_id)
    headers = download_headers(media_type="application/cbor", file_name=f"{package.package_id}.cbor")
    return Response(encoded, headers={**headers, "etag": f'"{Digest.blake3(package.manifest_digest or b"")}"'})


@router.get(
    "/{package_id}/manifest.json", response_class=Response,
    responses={**_GONE, 200: {"description": "The JSON view.", "content": {"application/json": {}}}},
)  # fmt: skip
def manifest_json(package: ReadablePackage, registry: CurrentRegistry) -> Response:
    """The manifest's JSON view (RFC 8785), from which the canonical bytes can be made again."""
    text = Manifest.decode(read_manifest(registry, package.package_id)).to_json()
    return Response(text, media_type="application/json")


@router.get("/{package_id}/files", response_model=models.FilePage, responses=_GONE)
def files(
    package: ReadablePackage,
    registry: CurrentRegistry,
    after: Annotated[int, Query(ge=-1, le=2**31, description="Start after this file index.")] = -1,
    limit: LIMIT = 100,
) -> JSONResponse:
    """A page of the package's files in path order."""
    page = page_of_files(registry, package.package_id, after_index=after, limit=limit)
    next_after = page[-1].file_index if len(page) == limit else None
    documents = [file_document(package.package_id, file) for file in page]
    return JSONResponse({"files": documents, "next_after": next_after})


@router.get(
    "/{package_id}/archive.zip", response_class=Response,
    responses={**_GONE, 200: {"description": "A ZIP of stored entries.", "content": {"application/zip": {}}}},
)  # fmt: skip
def archive_zip(
    request: Request,
    package: ReadablePackage,
    registry: CurrentRegistry,
    after: Annotated[int, Query(ge=-1, le=2**31, description="Only files after this index.")] = -1,
    below: Annotated[int, Query(ge=0, le=EVERY_SIZE, description="Only files smaller than this.")] = EVERY_SIZE,
) -> Response:
    """The package's files as one ZIP, streamed, its length known beforehand. Every byte is checked as it passes."""
    found = archive(registry, package.package_id, after_index=after, below_bytes=below)
    headers = download_headers(media_type="application/zip", file_name=f"{package.package_id}.zip")
    return StreamedAnswer(request, found.pieces, length=found.size_bytes, status=200, headers=headers)


@router.post(
    "/{package_id}/verification", response_model=models.Verification, responses=problems(401, 404, 409, 410, 507),
)  # fmt: skip
def verification(
    service: CurrentService, package: WritablePackage, caller: CurrentCaller, registry: CurrentRegistry
) -> JSONResponse:
    """Read the package's bytes back and compare them with every digest that is recorded of them.

    Damage is recorded, so this needs the right to write. How many objects were read is told to whoever may read
    everything.
    """
    with service.long_read_slot():
        report = verify_package(registry, package.package_id)
    if caller.reads_everything:
        return JSONResponse(verification_document(report))
    damage = own_damage(registry, package.package_id, report)
    return JSONResponse(own_verification_document(report, damage))
