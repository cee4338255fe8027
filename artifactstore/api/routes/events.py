"""The event log: pages, and a stream that goes on as things happen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse

from artifactstore.api import models
from artifactstore.api.feed import EventFeed
from artifactstore.api.guards import CurrentCaller, CurrentRegistry, CurrentService, caller_of
from artifactstore.api.openapi import problems
from artifactstore.api.requests import LIMIT, SEQ
from artifactstore.documents.packages import event_document
from artifactstore.domain.access import Caller
from artifactstore.registry.events import latest_seq, list_visible_events
from artifactstore.registry.registry import Registry

router = APIRouter(prefix="/events", tags=["events"])

_PAGE = 200
_HEARTBEAT_S = 5.0

Subject = Annotated[
    str | None, Query(description="Only of this package, source or envelope id, slug or object digest.", max_length=128)
]
WithPayload = Annotated[bool, Query(description="With what each event says.")]


@router.get("", response_model=models.EventPage, responses=problems(401))
def list_(
    caller: CurrentCaller,
    registry: CurrentRegistry,
    after: SEQ = 0,
    limit: LIMIT = 100,
    subject: Subject = None,
    payload: WithPayload = False,
) -> JSONResponse:
    """A page of events after a sequence number, in order. It may be short although there are more."""
    page = list_visible_events(
        registry, after=after, limit=limit, subject=subject, with_payload=payload,
        readable_producers=caller.readable_producers,
    )  # fmt: skip
    documents = [event_document(event, with_payload=payload) for event in page.events]
    return JSONResponse({"events": documents, "next_after": page.next_after})


@router.get(
    "/stream", response_class=StreamingResponse,
    responses={**problems(401), 200: {"description": "Server-sent events.", "content": {"text/event-stream": {}}}},
)  # fmt: skip
async def stream(
    request: Request,
    service: CurrentService,
    _: CurrentCaller,
    registry: CurrentRegistry,
    after: Annotated[int | None, Query(ge=0, le=2**63 - 1, description="Start after this one.")] = None,
    last_event_id: Annotated[int | None, Header(ge=0, le=2**63 - 1)] = None,
    payload: WithPayload = False,
) -> StreamingResponse:
    """Events as they happen, after ``Last-Event-ID`` or ``after``; without either, from now on."""
    begin = last_event_id if last_event_id is not None else after
    if begin is None:
        begin = await asyncio.to_thread(latest_seq, registry)

    def page_after(seq: int) -> _Page:
        caller = caller_of(request, None)  # asks again: a revoked token sees no more
        return _next_page(registry, caller, seq, with_payload=payload)

    answer = _follow(service.event_feed, page_after, begin)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(answer, media_type="text/event-stream", headers=headers)


class _Page(NamedTuple):
    """Events as they are sent, up to where the log has been looked at, and whether it goes on from there."""

    frames: list[str]
    looked_at: int
    goes_on: bool


async def _follow(feed: EventFeed, page_after: Callable[[int], _Page], after: int) -> AsyncIterator[str]:
    """Every visible event after one, until the service stops. ``after`` moves over what the caller may not see too."""
    yield ": events follow\n\n"
    while not feed.has_stopped:
        page = await asyncio.to_thread(page_after, after)
        after = page.looked_at
        for frame in page.frames:
            yield frame
        if not page.goes_on and not await feed.wait_beyond(after, timeout_s=_HEARTBEAT_S):
            yield ": nothing new\n\n"


def _next_page(registry: Registry, caller: Caller, after: int, *, with_payload: bool) -> _Page:
    newest = latest_seq(registry)
    page = list_visible_events(
        registry, after=after, limit=_PAGE, with_payload=with_payload, readable_producers=caller.readable_producers
    )
    looked_at = page.next_after if page.next_after is not None else max([newest, *(event.seq for event in page.events)])
    frames = [
        f"id: {event.seq}\nevent: {event.type}\n"
        f"data: {json.dumps(event_document(event, with_payload=with_payload))}\n\n"
        for event in page.events
    ]
    return _Page(frames, max(looked_at, after), page.next_after is not None)
