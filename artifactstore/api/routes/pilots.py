"""What built-in pilots contribute to the API: each route below ``/pilots/<name>``, under the rights of its packages.

A pilot describes its routes and knows no web framework. Reading takes the right to read packages whose producer has the
pilot's name, and who has not sees what there is without any; writing takes the right to record such packages.
"""

from __future__ import annotations

import json
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, cast

import structlog
from blake3 import blake3
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from artifactstore.api.bodies import held_whole, refuse_announced_length, stream_body
from artifactstore.api.conditions import select
from artifactstore.api.guards import CurrentCaller, CurrentService, CurrentWriter
from artifactstore.api.openapi import header, problems, raw_request
from artifactstore.api.requests import MAX_BODY_BYTES, require_media_type
from artifactstore.api.service import service_of
from artifactstore.built_in import ENTRY_POINTS, PLUGINS, load_entry_point, load_plugin
from artifactstore.domain.digest import Digest
from artifactstore.errors import NotFoundError
from artifactstore.plugins.context import EmbeddedContext
from artifactstore.plugins.contract import Plugin, Route, RouteRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from artifactstore.api.service import Service

log = structlog.get_logger("artifactstore.api")
_JSON = "application/json"
SCHEMAS: dict[str, Any] = {}
"""Of the contributed answers, by their titles: part of the OpenAPI document."""
_CONDITIONS = [
    header("If-Match", "Only if it has one of these ETags."),
    header("If-None-Match", "Only if it has none of these ETags."),
]


def _read_route(router: APIRouter, plugin: str, route: Route) -> None:
    def read(request: Request, service: CurrentService, caller: CurrentCaller) -> Response:
        if caller.can_read(plugin):
            return _conditional(request, route.answer(_asked(service, plugin, caller.name, request, b"")).body)
        if route.without_rights is None:
            raise NotFoundError("there is nothing here", hint=f"It is for whoever may read packages of {plugin}.")
        return _conditional(request, route.without_rights)

    router.add_api_route(
        f"/pilots/{plugin}/{route.path}",
        read,
        methods=["GET"],
        summary=route.summary,
        description=f"Who may not read packages of the producer `{plugin}` is answered as if there were none.",
        response_class=Response,
        responses={
            **problems(401, 412, *([404] if route.may_be_missing or route.without_rights is None else [])),
            200: {"description": route.summary, "content": _content(route)},
            304: {"description": "Not modified."},
        },
        openapi_extra={"parameters": [*_CONDITIONS, *(_parameter(route, name) for name in route.parameters)]},
    )


def _write_route(router: APIRouter, plugin: str, route: Route) -> None:
    body = Annotated[bytes, Depends(_body_for(plugin, route.max_body_bytes))]

    def write(request: Request, service: CurrentService, caller: CurrentWriter, body: bytes) -> Response:
        caller.require_write(plugin)
        with _held(service, body):
            answer = route.answer(_asked(service, plugin, caller.name, request, body))
        return Response(answer.body, answer.status, media_type=_JSON)

    write.__annotations__["body"] = body
    router.add_api_route(
        f"/pilots/{plugin}/{route.path}",
        write,
        methods=["POST"],
        summary=route.summary,
        description=f"Takes the right to record packages of the producer `{plugin}`.",
        response_class=Response,
        status_code=201,
        responses={
            **problems(401, 404, 408, 409, 413, 415, 507),
            201: {"description": "It was recorded.", "content": _content(route)},
            200: {"description": "Nothing was to be recorded.", "content": _content(route)},
        },
        openapi_extra=raw_request(_JSON, {}),
    )


@contextmanager
def _held(service: Service, body: bytes) -> Iterator[None]:
    """The body takes room until it is answered, and one large one is understood at a time.

    Raises ``ServiceBusyError`` if there is none.
    """
    service.room.take(len(body))
    try:
        with service.large_submission if len(body) > MAX_BODY_BYTES else nullcontext():
            yield
    finally:
        service.room.give_back(len(body))


def _content(route: Route) -> dict[str, Any]:
    title = str(route.schema["title"])
    SCHEMAS[title] = dict(route.schema)
    return {_JSON: {"schema": {"$ref": f"#/components/schemas/{title}"}}}


def _body_for(plugin: str, max_bytes: int) -> Callable[[Request, CurrentWriter], Awaitable[bytes]]:
    """The body as it came, read only of whom may write."""

    async def read(request: Request, caller: CurrentWriter) -> bytes:
        caller.require_write(plugin)
        require_media_type(request, _JSON)
        refuse_announced_length(request, max_bytes)
        service = service_of(request)

        def receive(read: Callable[[int], bytes]) -> bytes:
            with held_whole(read, max_bytes, service.room) as body:
                return body

        return await stream_body(request, receive)

    return read


def _asked(service: Service, plugin: str, caller: str, request: Request, body: bytes) -> RouteRequest:
    context = EmbeddedContext(service.host, load_plugin(plugin))
    parameters = {**request.query_params, **request.path_params}
    return RouteRequest(context, caller, parameters, body, partial(_write_log, plugin))


def _write_log(plugin: str, line: str) -> None:
    """A pilot's line of JSON, in the server's own."""
    log.info("pilot", plugin=plugin, line=json.loads(line))


def _conditional(request: Request, body: bytes) -> Response:
    etag = f'"{Digest.blake3(blake3(body).digest())}"'
    given = {name: ", ".join(request.headers.getlist(name)) for name in request.headers if name != "range"}
    status = select(given, method=request.method, etag=etag, size_bytes=len(body)).status
    headers = {"etag": etag, "cache-control": "private, no-cache"}
    if status == 304:  # noqa: PLR2004 - RFC 9110's number
        return Response(status_code=status, headers=headers)
    return Response(body, status, headers=headers, media_type=_JSON)


def _parameter(route: Route, name: str) -> dict[str, Any]:
    description, schema = route.parameters[name]
    is_in_path = f"{{{name}}}" in route.path
    place = "path" if is_in_path else "query"
    return {"name": name, "in": place, "required": is_in_path, "description": description, "schema": schema}


def _router() -> APIRouter:
    router = APIRouter(tags=["pilots"])
    for name in ENTRY_POINTS[PLUGINS]:
        plugin = cast("Plugin", load_entry_point(PLUGINS, name))
        for route in plugin.routes():
            (_write_route if route.is_write else _read_route)(router, name, route)
    return router


router = _router()
