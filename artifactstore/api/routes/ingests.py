"""Observations: recorded without a package or for one that is there, and looked at."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import JSONResponse

from artifactstore.api import provenance_models
from artifactstore.api.guards import (
    CurrentObserver,
    CurrentRegistry,
    CurrentService,
    CurrentViewer,
    CurrentWriter,
    ReadablePackage,
    WritablePackage,
)
from artifactstore.api.observing import OBSERVING, beside_of, ingest_of
from artifactstore.api.openapi import json_request, problems
from artifactstore.documents.provenance import (
    envelope_details,
    envelope_document,
    ingested_document,
    observation_document,
    source_document,
)
from artifactstore.registry.observing import observe_finalized
from artifactstore.registry.provenance import find_envelope, find_source, list_envelopes, list_observations

router = APIRouter(tags=["provenance"])

_RECORD = problems(401, 408, 413, 415, 507)
_RECORD_FOR = problems(401, 404, 408, 409, 410, 413, 415, 507)
_KNOWN = {"model": provenance_models.Ingested, "description": "It was known."}
Body = Annotated[provenance_models.Observing, Depends(OBSERVING)]
SourceId = Annotated[str, Path(description="A source's id: 64 hex digits.", examples=["0" * 64])]
EnvelopeId = Annotated[str, Path(description="An envelope's id: 64 hex digits.", examples=["0" * 64])]
Limit = Annotated[int, Query(ge=1, le=100, description="How many at most.")]
After = Annotated[str | None, Query(description="Start after this envelope.", max_length=64)]


@router.post(
    "/ingests", response_model=provenance_models.Ingested, status_code=201,
    openapi_extra=json_request(provenance_models.Observing), responses={**_RECORD, 200: _KNOWN},
)  # fmt: skip
def ingest(service: CurrentService, caller: CurrentObserver, body: Body) -> JSONResponse:
    """Record an observation without a package. Needs a scope ``write:<producer>``; the same again changes nothing."""
    result = ingest_of(service.host, caller, body)
    service.metrics.observations.labels("new" if result.envelope.was_created else "known").inc()
    return JSONResponse(ingested_document(result), 201 if result.envelope.was_created else 200)


@router.post(
    "/packages/{package_id}/observations", response_model=provenance_models.Ingested, status_code=201,
    openapi_extra=json_request(provenance_models.Observing), responses={**_RECORD_FOR, 200: _KNOWN},
)  # fmt: skip
def observe(
    service: CurrentService, caller: CurrentWriter, registry: CurrentRegistry, package: WritablePackage, body: Body
) -> JSONResponse:
    """Record where a package was observed that is recorded already. Needs the right to write to its producer."""
    beside = beside_of(service.host, caller, body)
    receipt = observe_finalized(registry, package.package_id, beside)
    service.metrics.observations.labels("new" if beside.is_new else "known").inc()
    return JSONResponse(ingested_document(beside.result(receipt)), 201 if beside.is_new else 200)


@router.get(
    "/packages/{package_id}/observations", response_model=provenance_models.ObservationPage,
    responses=problems(401, 404),
)  # fmt: skip
def observations(
    package: ReadablePackage,
    registry: CurrentRegistry,
    viewer: CurrentViewer,
    after: After = None,
    limit: Limit = 100,
) -> JSONResponse:
    """A page of where the package was observed, in the order of the envelopes that observed it."""
    page = list_observations(registry, package.row_id, after=after, limit=limit, viewer=viewer)
    next_after = page[-1].envelope.record.envelope_id.hex() if len(page) == limit else None
    return JSONResponse({"observations": [observation_document(seen) for seen in page], "next_after": next_after})


@router.get("/sources/{source_id}", response_model=provenance_models.Source, responses=problems(401, 404))
def source(registry: CurrentRegistry, viewer: CurrentViewer, source_id: SourceId) -> JSONResponse:
    """A source: to whoever reads everything, and to a token that has recorded an observation of it."""
    return JSONResponse(source_document(find_source(registry, source_id, viewer=viewer)))


@router.get(
    "/sources/{source_id}/envelopes", response_model=provenance_models.EnvelopePage, responses=problems(401, 404)
)
def envelopes(
    registry: CurrentRegistry,
    viewer: CurrentViewer,
    source_id: SourceId,
    after: After = None,
    limit: Limit = 100,
) -> JSONResponse:
    """A page of a source's envelopes in the order they were recorded; your own, unless you read everything."""
    page = list_envelopes(registry, source_id, after=after, limit=limit, viewer=viewer)
    next_after = page[-1].record.envelope_id.hex() if len(page) == limit else None
    return JSONResponse({"envelopes": [envelope_document(seen) for seen in page], "next_after": next_after})


@router.get("/envelopes/{envelope_id}", response_model=provenance_models.EnvelopeDetails, responses=problems(401, 404))
def envelope(registry: CurrentRegistry, viewer: CurrentViewer, envelope_id: EnvelopeId) -> JSONResponse:
    """An envelope with its payload.

    It is there for whoever reads everything, for the token that recorded it, and for whoever may read a package that
    it observed.
    """
    return JSONResponse(envelope_details(find_envelope(registry, envelope_id, viewer=viewer)))
