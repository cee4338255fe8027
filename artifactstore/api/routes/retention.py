"""How long packages stay: retention, extensions, holds, sweep."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import JSONResponse, Response

from artifactstore.api import models, retention_models
from artifactstore.api.guards import CurrentAdmin, CurrentCaller, CurrentRegistry, ReadablePackage, WritablePackage
from artifactstore.api.openapi import IDEMPOTENCY_KEY, json_request, problems
from artifactstore.api.requests import attempt_of, body_of
from artifactstore.api.streaming import download_headers
from artifactstore.documents.retention import applied_document, hold_document, plan_document, retention_document
from artifactstore.domain.instant import parse_instant
from artifactstore.registry.applying import apply_plan, approve_plan
from artifactstore.registry.certificates import certificate
from artifactstore.registry.idempotency import Attempt
from artifactstore.registry.packages import find_package
from artifactstore.registry.planning import make_plan
from artifactstore.registry.registry import Registry
from artifactstore.registry.retention import (
    due_packages,
    extend_retention,
    pin_package,
    place_hold,
    release_hold,
    unpin_package,
)
from artifactstore.registry.store_duties import sweep_now

router = APIRouter(tags=["retention"])

_WRITE = problems(401, 404, 408, 409, 413, 415, 507)


@router.get("/packages/{package_id}/retention", response_model=retention_models.Retention, responses=problems(401, 404))
def show(package: ReadablePackage, registry: CurrentRegistry) -> JSONResponse:
    """What decides how long a package stays."""
    return JSONResponse(_retention(registry, package.package_id))


@router.post(
    "/packages/{package_id}/retention/extensions", response_model=retention_models.Retention, status_code=201,
    responses=_WRITE, openapi_extra=json_request(models.Extension, IDEMPOTENCY_KEY),
)  # fmt: skip
def extend(
    package: WritablePackage,
    registry: CurrentRegistry,
    body: Annotated[models.Extension, Depends(body_of(models.Extension))],
    attempt: Annotated[Attempt | None, Depends(attempt_of)],
) -> JSONResponse:
    """Keep a package longer. Nothing ever shortens retention. Takes ``Idempotency-Key``."""
    expires_at = parse_instant(body.new_expires_at)
    extend_retention(registry, package.package_id, expires_at, reason=body.reason, attempt=attempt)
    return JSONResponse(_retention(registry, package.package_id), 201)


@router.get("/packages/{package_id}/holds", response_model=retention_models.HoldList, responses=problems(401, 404))
def holds(package: ReadablePackage, registry: CurrentRegistry) -> JSONResponse:
    """A package's holds, released ones included, oldest first."""
    _, found = find_package(registry, package.package_id)
    return JSONResponse({"holds": [hold_document(hold) for hold in found]})


@router.post(
    "/packages/{package_id}/holds", response_model=retention_models.HoldPlaced, status_code=201, responses=_WRITE,
    openapi_extra=json_request(models.Explanation, IDEMPOTENCY_KEY),
)  # fmt: skip
def hold(
    package: WritablePackage,
    registry: CurrentRegistry,
    body: Annotated[models.Explanation, Depends(body_of(models.Explanation))],
    attempt: Annotated[Attempt | None, Depends(attempt_of)],
) -> JSONResponse:
    """Keep a package, whatever its class says, until the hold is released. Takes ``Idempotency-Key``."""
    hold_id = place_hold(registry, package.package_id, reason=body.reason, attempt=attempt)
    return JSONResponse({"hold_id": hold_id, **_retention(registry, package.package_id)}, 201)


@router.post(
    "/packages/{package_id}/holds/{hold_id}/release", response_model=retention_models.Retention, responses=_WRITE,
    openapi_extra=json_request(models.Explanation),
)  # fmt: skip
def release(
    _: CurrentAdmin,
    package: ReadablePackage,
    hold_id: str,
    registry: CurrentRegistry,
    body: Annotated[models.Explanation, Depends(body_of(models.Explanation))],
) -> JSONResponse:
    """End a hold. Needs ``admin``."""
    release_hold(registry, package.package_id, hold_id, reason=body.reason)
    return JSONResponse(_retention(registry, package.package_id))


@router.post(
    "/packages/{package_id}/pin", response_model=retention_models.Retention, responses=_WRITE,
    openapi_extra=json_request(models.Explanation),
)  # fmt: skip
def pin(
    package: WritablePackage,
    registry: CurrentRegistry,
    body: Annotated[models.Explanation, Depends(body_of(models.Explanation))],
) -> JSONResponse:
    """Keep a package out of every retention plan until it is unpinned."""
    pin_package(registry, package.package_id, reason=body.reason)
    return JSONResponse(_retention(registry, package.package_id))


@router.post(
    "/packages/{package_id}/unpin", response_model=retention_models.Retention, responses=_WRITE,
    openapi_extra=json_request(models.Explanation),
)  # fmt: skip
def unpin(
    _: CurrentAdmin,
    package: ReadablePackage,
    registry: CurrentRegistry,
    body: Annotated[models.Explanation, Depends(body_of(models.Explanation))],
) -> JSONResponse:
    """End a package's pin. Needs ``admin``."""
    unpin_package(registry, package.package_id, reason=body.reason)
    return JSONResponse(_retention(registry, package.package_id))


@router.get(
    "/packages/{package_id}/certificate", response_class=Response,
    responses={
        **problems(401, 403, 404, 409),
        200: {"description": "Canonical CBOR.", "content": {"application/cbor": {}}},
    },
)  # fmt: skip
def certificate_(package: ReadablePackage, caller: CurrentCaller, registry: CurrentRegistry) -> Response:
    """What of a deleted package was destroyed, and the events that prove it. Needs ``read``.

    409 while bytes of it remain. It says what others have too, so it is for those who read everything.
    """
    caller.require_read_everything()
    encoded = certificate(registry, package.package_id)
    headers = download_headers(media_type="application/cbor", file_name=f"{package.package_id}.certificate.cbor")
    return Response(encoded, headers=headers)


@router.post(
    "/retention/plans", response_model=retention_models.Plan, status_code=201, responses=problems(401, 403, 507)
)
def plan(_: CurrentAdmin, registry: CurrentRegistry) -> JSONResponse:
    """Plan what can be deleted. The same state again is answered with the same plan. Needs ``admin``."""
    return JSONResponse(plan_document(make_plan(registry)), 201)


@router.post(
    "/retention/plans/{plan_digest}/approval", response_model=retention_models.Approved,
    responses=problems(400, 401, 403, 404, 507),
)  # fmt: skip
def approve(_: CurrentAdmin, plan_digest: str, registry: CurrentRegistry) -> JSONResponse:
    """Agree to what a plan deletes. Needs ``admin``; twice by one token counts once."""
    return JSONResponse({"plan_digest": plan_digest, "approved_by": approve_plan(registry, plan_digest)})


@router.post(
    "/retention/plans/{plan_digest}/application", response_model=retention_models.Applied,
    responses=problems(400, 401, 403, 404, 408, 409, 413, 415, 507),
    openapi_extra=json_request(models.Explanation),
)  # fmt: skip
def apply(
    _: CurrentAdmin,
    plan_digest: str,
    registry: CurrentRegistry,
    body: Annotated[models.Explanation, Depends(body_of(models.Explanation))],
) -> JSONResponse:
    """Delete what a plan says, as far as that still is as it was. Needs ``admin``; again, it does nothing.

    409 if the configuration asks for another's approval and there is none.
    """
    return JSONResponse(applied_document(apply_plan(registry, plan_digest, reason=body.reason)))


@router.post(
    "/retention:sweep", response_model=retention_models.Swept, responses=problems(401, 408, 409, 413, 415, 507),
    openapi_extra=json_request(models.Sweep),
)  # fmt: skip
def sweep_(
    _: CurrentAdmin, registry: CurrentRegistry, body: Annotated[models.Sweep, Depends(body_of(models.Sweep))]
) -> JSONResponse:
    """Mark the packages whose retention has ended as expired. No byte is removed. Needs ``admin``.

    409 if a sweep is running already and does not end soon.
    """
    if body.dry_run:
        due = [package.package_id for package in due_packages(registry)]
        return JSONResponse({"would_expire": due, "count": len(due)})
    swept = sweep_now(registry, clock_is_right=body.clock_is_right)
    return JSONResponse({"expired": swept, "count": len(swept)})


def _retention(registry: Registry, package_id: str) -> dict[str, object]:
    return retention_document(*find_package(registry, package_id))
