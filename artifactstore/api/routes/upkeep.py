"""The upkeep of a store, by hand and from afar: pause duties, seal the log, reconcile, heal. All needs ``admin``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import JSONResponse

from artifactstore.api import status_models, upkeep_models
from artifactstore.api.guards import CurrentAdmin, CurrentRegistry, CurrentService
from artifactstore.api.openapi import json_request, problems
from artifactstore.api.requests import body_of
from artifactstore.documents.status import duty_document
from artifactstore.documents.upkeep import heal_document, reconcile_document
from artifactstore.registry.healing import heal_all, heal_package
from artifactstore.registry.pausing import pause_duty, resume_duty
from artifactstore.registry.reconciling import reconcile
from artifactstore.registry.registry import Registry
from artifactstore.registry.sealing import seal_log
from artifactstore.registry.status import duty_statuses
from artifactstore.registry.store_duties import require_duty

router = APIRouter(tags=["upkeep"])


@router.post("/duties/{duty}/pause", response_model=status_models.DutyState, responses=problems(401, 403, 404, 507))
def pause(_: CurrentAdmin, duty: str, registry: CurrentRegistry) -> JSONResponse:
    """Let no server run a duty by itself until it is resumed; how it stands then. Needs ``admin``.

    A run that is under way ends within seconds, at its next page, and keeps its place.
    """
    pause_duty(registry, require_duty(duty).name)
    return JSONResponse(_duty(registry, duty))


@router.post("/duties/{duty}/resume", response_model=status_models.DutyState, responses=problems(401, 403, 404, 507))
def resume(_: CurrentAdmin, duty: str, registry: CurrentRegistry) -> JSONResponse:
    """Have a duty run again when it is due; how it stands then. Needs ``admin``."""
    resume_duty(registry, require_duty(duty).name)
    return JSONResponse(_duty(registry, duty))


@router.post("/log:seal", response_model=upkeep_models.Sealed, responses=problems(401, 403, 507))
def seal(_: CurrentAdmin, registry: CurrentRegistry) -> JSONResponse:
    """Store what the event log has grown by since it was last sealed, now. Needs ``admin``."""
    return JSONResponse(seal_log(registry)._asdict())


@router.post(
    "/storage:reconcile", response_model=upkeep_models.Reconciled, responses=problems(401, 403, 404, 408, 413, 415),
    openapi_extra=json_request(upkeep_models.WhatToReconcile),
)  # fmt: skip
def reconcile_(
    _: CurrentAdmin,
    service: CurrentService,
    registry: CurrentRegistry,
    body: Annotated[upkeep_models.WhatToReconcile, Depends(body_of(upkeep_models.WhatToReconcile))],
) -> JSONResponse:
    """Compare what backends list with what the catalog has in them. Nothing is read, nothing changes. Needs ``admin``.

    It takes as long as listing the backends. All differences are counted; ``limit`` of them are named.
    """
    with service.long_read_slot():
        report = reconcile(registry, backend=body.backend, after=body.after, limit=body.limit)
    return JSONResponse(reconcile_document(report))


@router.post(
    "/storage:heal", response_model=upkeep_models.Healed, responses=problems(401, 403, 404, 408, 409, 413, 415, 507),
    openapi_extra=json_request(upkeep_models.WhatToHeal),
)  # fmt: skip
def heal(
    _: CurrentAdmin,
    service: CurrentService,
    registry: CurrentRegistry,
    body: Annotated[upkeep_models.WhatToHeal, Depends(body_of(upkeep_models.WhatToHeal))],
) -> JSONResponse:
    """Store what is damaged or missing afresh, from other backends and packs. Needs ``admin``.

    Files that only a client has are sent by a push of the same content.
    """
    with service.long_read_slot():
        report = heal_all(registry) if body.package_id is None else heal_package(registry, body.package_id)
    return JSONResponse(heal_document(report))


def _duty(registry: Registry, name: str) -> dict[str, object]:
    return next(duty_document(duty) for duty in duty_statuses(registry) if duty.name == name)
