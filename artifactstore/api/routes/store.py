"""The service and the store as a whole: health, readiness, metrics, who am I, and what an administrator asks of all."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import JSONResponse, Response

from artifactstore import __version__
from artifactstore.api import models, status_models
from artifactstore.api.guards import CurrentAdmin, CurrentCaller, CurrentRegistry, CurrentService
from artifactstore.api.openapi import json_request, problems
from artifactstore.api.requests import LIMIT, SEQ, body_of
from artifactstore.bootstrap import scratch_database
from artifactstore.documents.access import caller_document
from artifactstore.documents.status import replay_document, status_document
from artifactstore.documents.storage import object_document, verification_document
from artifactstore.documents.usage import producer_usage_document, space_document
from artifactstore.registry.backlog import backlog
from artifactstore.registry.events import check_replay, latest_seq
from artifactstore.registry.objects import list_objects
from artifactstore.registry.scrubbing import scrub_status
from artifactstore.registry.status import duty_statuses, store_status, subscription_statuses
from artifactstore.registry.usage import backends_usage, producers_usage
from artifactstore.registry.verify import verify_all, verify_objects

router = APIRouter(tags=["store"])


@router.get("/health", response_model=models.Health, responses=problems())
async def health() -> JSONResponse:
    """Whether the process runs. No token is needed."""
    return JSONResponse({"status": "ok", "version": __version__})


@router.get(
    "/ready", response_model=models.Readiness,
    responses={**problems(), 503: {**problems()[503], "model": models.Readiness}},
)  # fmt: skip
def ready(service: CurrentService) -> JSONResponse:
    """Whether requests can be served: the database at head, the storage readable and writable, the scrub in time.

    No token is needed.
    """
    checks = service.readiness()
    is_ready = all(check.ok for check in checks.values())
    document = {
        "status": "ready" if is_ready else "not ready",
        "checks": {name: {"ok": check.ok, "detail": check.detail} for name, check in checks.items()},
    }
    return JSONResponse(document, 200 if is_ready else 503)


@router.get("/metrics", response_class=Response, responses=problems(401))
def metrics(service: CurrentService, caller: CurrentCaller) -> Response:
    """What is counted, in the Prometheus text format. Needs ``read``."""
    caller.require_read_everything()
    text = service.metrics.exposition(
        events=latest_seq(service.registry),
        duties=duty_statuses(service.registry),
        subscriptions=subscription_statuses(service.registry, service.subscribers),
        scrub=scrub_status(service.registry),
        backlog=backlog(service.registry),
        plugins_left_out=len(service.plugins_left_out),
    )
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/whoami", response_model=models.WhoAmI, responses=problems(401))
def whoami(caller: CurrentCaller) -> JSONResponse:
    """What the token allows."""
    return JSONResponse(caller_document(caller))


@router.get("/status", response_model=status_models.StoreState, responses=problems(401))
def status(_: CurrentAdmin, service: CurrentService, registry: CurrentRegistry) -> JSONResponse:
    """The state of the store: database, log, backends, duties, subscriptions, counts. Needs ``admin``.

    The same from every server, but for what plug-ins each has installed.
    """
    found = store_status(registry, service.subscribers)
    return JSONResponse(status_document(found, plugins_left_out=service.plugins_left_out))


@router.get("/usage", response_model=status_models.Usage, response_model_exclude_unset=True, responses=problems(401))
def usage(
    caller: CurrentCaller,
    registry: CurrentRegistry,
    producer: Annotated[str | None, Query(max_length=512)] = None,
    after: Annotated[str, Query(max_length=512)] = "",
    limit: LIMIT = 100,
) -> JSONResponse:
    """Where the bytes are: what each producer's packages come to, by name; for ``admin`` what lies in each backend.

    Producers whose packages the caller may not read are absent. What is unique and what is shared is said to those
    who may read everything.
    """
    wanted = caller.readable_producers
    if producer is not None:
        wanted = (producer,) if caller.can_read(producer) else ()
    page = producers_usage(registry, wanted, after=after, limit=limit)
    document = {
        "producers": [
            producer_usage_document(found, quota, tells_of_others=caller.reads_everything) for found, quota in page
        ],
        "next_after": page[-1][0].producer if len(page) == limit else None,
    }
    if caller.is_admin and producer is None:
        document["backends"] = space_document(backends_usage(registry))
    return JSONResponse(document)


@router.get("/objects", response_model=models.ObjectPage, responses=problems(401))
def objects(_: CurrentAdmin, registry: CurrentRegistry, after: SEQ = 0, limit: LIMIT = 100) -> JSONResponse:
    """The objects the catalog knows: large blobs, packs, manifests. Needs ``admin``."""
    page = list_objects(registry, after=after, limit=limit)
    next_after = page[-1].row_id if len(page) == limit else None
    return JSONResponse({"objects": [object_document(found) for found in page], "next_after": next_after})


@router.post(
    "/verification", response_model=models.Verification, responses=problems(401, 408, 413, 415, 507),
    openapi_extra=json_request(models.WhatToVerify),
)  # fmt: skip
def verification(
    _: CurrentAdmin,
    service: CurrentService,
    registry: CurrentRegistry,
    body: Annotated[models.WhatToVerify, Depends(body_of(models.WhatToVerify))],
) -> JSONResponse:
    """Read everything back and compare it with every digest that is recorded. Damage is recorded. Needs ``admin``."""
    with service.long_read_slot():
        report = verify_all(registry) if body.what == "all" else verify_objects(registry)
    return JSONResponse(verification_document(report))


@router.post("/replay:check", response_model=models.Replayed, responses=problems(401))
def replay_check(_: CurrentAdmin, service: CurrentService, registry: CurrentRegistry) -> JSONResponse:
    """Check the event log's chain and replay it into a scratch database: do the tables follow? Needs ``admin``."""
    with service.long_read_slot(), scratch_database() as scratch:
        return JSONResponse(replay_document(check_replay(registry, scratch)))
