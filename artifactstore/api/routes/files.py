"""Downloads: one file of a package, whole or in part, and its description."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from artifactstore.api import models
from artifactstore.api.conditions import select
from artifactstore.api.guards import CurrentCaller, CurrentRegistry, ReadablePackage, readable_package
from artifactstore.api.openapi import header, problems
from artifactstore.api.streaming import StreamedAnswer, download_headers
from artifactstore.catalog.records import LocatedFile
from artifactstore.documents.packages import file_document
from artifactstore.domain.access import Caller
from artifactstore.domain.digest import Digest
from artifactstore.errors import FileUnknownError, PackageUnknownError
from artifactstore.registry.downloads import download
from artifactstore.registry.files import find_file, find_file_by_index
from artifactstore.registry.registry import Registry

router = APIRouter(tags=["packages"])

FilePath = Annotated[str, Path(description="The file's logical path.", examples=["reports/report.txt"])]
FileId = Annotated[str, Path(description="`<package_id>:<index>`", max_length=64)]
_DOWNLOAD: dict[int | str, dict[str, Any]] = {
    **problems(401, 404, 409, 410, 412, 416),
    200: {"description": "The file, of the type that the manifest says.", "content": {"*/*": {}}},
    206: {"description": "The range.", "content": {"*/*": {}}},
    304: {"description": "Not modified."},
}
_BY_PATH = "/packages/{package_id}/files/{path:path}"
_IF_MATCH = header("If-Match", "Only if it has one of these ETags.")
_IF_NONE_MATCH = header("If-None-Match", "Only if it has none of these ETags.")
_RANGE = header("Range", "One range of bytes.", examples=["bytes=0-99"])
_IF_RANGE = header("If-Range", "The range only if it has this ETag, else everything.")
_GET = {"parameters": [_RANGE, _IF_RANGE, _IF_MATCH, _IF_NONE_MATCH]}
_HEAD = {"parameters": [_IF_MATCH, _IF_NONE_MATCH]}


@router.get(_BY_PATH, response_class=Response, responses=_DOWNLOAD, openapi_extra=_GET)
@router.head(_BY_PATH, response_class=Response, responses=_DOWNLOAD, openapi_extra=_HEAD)
def file_of_package(request: Request, package: ReadablePackage, registry: CurrentRegistry, path: FilePath) -> Response:
    """A file's bytes: one range (206), conditions, HEAD. Checked against the digest as they pass."""
    return _answer(request, registry, find_file(registry, package.package_id, path))


@router.get("/files/{file_id}", response_model=models.File, responses=problems(401, 404, 409, 410))
def description(caller: CurrentCaller, registry: CurrentRegistry, file_id: FileId) -> JSONResponse:
    """One file's description, by its id."""
    package_id, file = _file(registry, caller, file_id)
    return JSONResponse(file_document(package_id, file))


@router.get("/files/{file_id}/download", response_class=Response, responses=_DOWNLOAD, openapi_extra=_GET)
@router.head("/files/{file_id}/download", response_class=Response, responses=_DOWNLOAD, openapi_extra=_HEAD)
def download_by_id(request: Request, caller: CurrentCaller, registry: CurrentRegistry, file_id: FileId) -> Response:
    """The same bytes as by the file's path."""
    return _answer(request, registry, _file(registry, caller, file_id)[1])


def _file(registry: Registry, caller: Caller, file_id: str) -> tuple[str, LocatedFile]:
    package_id, _, index = file_id.partition(":")
    unknown = FileUnknownError(f"there is no file {file_id!r}", hint="A file's id is <package_id>:<index>.")
    if not (index.isascii() and index.isdigit() and len(index) <= 9):  # noqa: PLR2004 - digits of the most files
        raise unknown
    try:
        package = readable_package(registry, caller, package_id)
    except PackageUnknownError as error:
        raise unknown from error
    return package_id, find_file_by_index(registry, package.package_id, int(index))


def _answer(request: Request, registry: Registry, file: LocatedFile) -> Response:
    etag = f'"{Digest.blake3(file.blake3)}"'
    given = {name: ", ".join(request.headers.getlist(name)) for name in request.headers}
    selection = select(given, method=request.method, etag=etag, size_bytes=file.size_bytes)
    headers = {"etag": etag, "accept-ranges": "bytes"}
    if selection.status == 304:  # noqa: PLR2004 - RFC 9110's number
        return Response(status_code=304, headers={**headers, "cache-control": "private, no-cache"})
    headers |= download_headers(media_type=file.media_type, file_name=file.path.rpartition("/")[2])
    headers["repr-digest"] = f"sha-256=:{base64.b64encode(file.sha256).decode()}:"
    if selection.status == 206:  # noqa: PLR2004
        end = selection.start + selection.length - 1
        headers["content-range"] = f"bytes {selection.start}-{end}/{file.size_bytes}"
    if request.method == "HEAD":
        return Response(headers={**headers, "content-length": str(file.size_bytes)})
    pieces = download(registry, file, selection.start, selection.length)
    return StreamedAnswer(request, pieces, length=selection.length, status=selection.status, headers=headers)
