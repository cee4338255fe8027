"""Resumable uploads: begin, where does it stand, go on, give up."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from artifactstore.api import models
from artifactstore.api.bodies import stream_body
from artifactstore.api.guards import CurrentRegistry, OwnOpenPackage
from artifactstore.api.openapi import header, json_request, problems, raw_request
from artifactstore.api.requests import body_of, require_media_type
from artifactstore.catalog.pushes import UploadRecord
from artifactstore.documents.pushes import received_document, upload_document
from artifactstore.errors import RequestInvalidError
from artifactstore.registry.receiving import Announced
from artifactstore.registry.uploads import append, begin_upload, cancel_upload, complete_upload, find_upload

router = APIRouter(prefix="/packages/{package_id}/uploads", tags=["push"])

_NO_STORE = {"cache-control": "no-store"}
_BOOLEANS = {"?0": False, "?1": True}  # RFC 9651
_SEND = problems(401, 404, 408, 409, 413, 415, 507)
_OFFSET_HEADERS: dict[str, Any] = {
    "parameters": [
        header("Upload-Offset", "Where the body begins.", is_required=True, type="integer", minimum=0),
        header("Upload-Complete", "`?1` with the last bytes.", enum=["?0", "?1"]),
    ]
}


@router.post(
    "", response_model=models.UploadState, status_code=201, openapi_extra=json_request(models.UploadBeginning),
    responses={**_SEND, 200: {"model": models.UploadState, "description": "It was begun before."}},
)  # fmt: skip
def begin(
    registry: CurrentRegistry,
    package_id: OwnOpenPackage,
    body: Annotated[models.UploadBeginning, Depends(body_of(models.UploadBeginning))],
) -> JSONResponse:
    """Begin the upload of one file, or find the one that was begun."""
    announced = Announced(body.path, body.role, body.media_type)
    upload, is_new = begin_upload(registry, package_id, announced, body.size)
    location = f"/packages/{package_id}/uploads/{upload.upload_id}"
    headers = {**_NO_STORE, "location": location, "upload-offset": str(upload.received_bytes)}
    return JSONResponse(upload_document(upload), 201 if is_new else 200, headers)


@router.head("/{upload_id}", status_code=204, response_class=Response, responses=problems(401, 404, 409))
def where(registry: CurrentRegistry, package_id: OwnOpenPackage, upload_id: str) -> Response:
    """Where it stands, in the headers."""
    return Response(status_code=204, headers=_standing(find_upload(registry, package_id, upload_id)))


@router.patch(
    "/{upload_id}", response_model=models.UploadState | models.ReceivedFile, responses=_SEND,
    openapi_extra={**raw_request("application/partial-upload"), **_OFFSET_HEADERS},
)  # fmt: skip
async def go_on(
    request: Request, registry: CurrentRegistry, package_id: OwnOpenPackage, upload_id: str
) -> JSONResponse:
    """Add bytes at ``Upload-Offset``; with ``Upload-Complete: ?1`` they are the last. What arrives is kept."""
    require_media_type(request, "application/partial-upload")
    offset, is_last = _offset(request), _is_last(request)

    def work(read: Any) -> JSONResponse:
        upload = append(registry, package_id, upload_id, offset, read)
        if not is_last:
            return JSONResponse(upload_document(upload), headers=_standing(upload))
        received = complete_upload(registry, package_id, upload_id)
        headers = {**_NO_STORE, "upload-offset": str(upload.size_bytes), "upload-complete": "?1"}
        return JSONResponse(received_document(received.file), headers=headers)

    return await stream_body(request, work)


@router.delete("/{upload_id}", status_code=204, response_class=Response, responses=problems(401, 404, 409, 507))
def give_up(registry: CurrentRegistry, package_id: OwnOpenPackage, upload_id: str) -> Response:
    """Give it up; its parts are removed."""
    cancel_upload(registry, package_id, upload_id)
    return Response(status_code=204)


def _standing(upload: UploadRecord) -> dict[str, str]:
    return {
        **_NO_STORE,
        "upload-offset": str(upload.received_bytes),
        "upload-length": str(upload.size_bytes),
        "upload-complete": "?0",
    }


def _offset(request: Request) -> int:
    text = request.headers.get("upload-offset", "")
    if not (text.isascii() and text.isdigit() and len(text) < 19):  # noqa: PLR2004 - an integer of 64 bits
        raise RequestInvalidError("Upload-Offset is to say where the body begins")
    return int(text)


def _is_last(request: Request) -> bool:
    text = request.headers.get("upload-complete", "?0")
    if text not in _BOOLEANS:
        raise RequestInvalidError("Upload-Complete is to be ?0 or ?1")
    return _BOOLEANS[text]
