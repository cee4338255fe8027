"""The application: routes, the answers to errors, and what runs beside the requests."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, Route

from artifactstore import __version__
from artifactstore.api import openapi, reference_page
from artifactstore.api.frontier import Frontier
from artifactstore.api.routes import (
    events,
    files,
    ingests,
    metadata_schemas,
    packages,
    pilots,
    push,
    retention,
    store,
    upkeep,
    uploads,
)
from artifactstore.errors import (
    ArtifactStoreError,
    MethodNotAllowedError,
    NotFoundError,
    Problem,
    RequestInvalidError,
)
from artifactstore.registry.duties import FAILED, told
from artifactstore.registry.duty_runner import DutyRunner
from artifactstore.registry.store_duties import duties_of
from artifactstore.registry.subscription_runner import SubscriptionRunner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request

    from artifactstore.api.service import Service
    from artifactstore.registry.duties import Run
    from artifactstore.registry.subscriptions import DeliveryRun

log = structlog.get_logger("artifactstore.api")

_ROUTERS = (
    *(
        module.router
        for module in (
            push,
            uploads,
            packages,
            files,
            ingests,
            retention,
            metadata_schemas,
            events,
            store,
            upkeep,
            pilots,
        )
    ),
    push.preflight_router,
    reference_page.router,
)
_TOKEN_USES_S = 30.0
DESCRIPTION = """A store for what runs leave behind: immutable packages, addressed by digest.

Errors are problem documents (RFC 9457) with a stable `code` and a `hint`. Every write needs a token; what a token may
not read behaves as if it were not there. `docs/reference/http-api.md` in the repository says everything in words.
"""


def build_app(service: Service) -> FastAPI:
    """The application on one service, which it closes when it ends."""
    app = FastAPI(
        title="artifactstore",
        version=__version__,
        description=DESCRIPTION,
        lifespan=_lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    app.state.contributed_schemas = pilots.SCHEMAS
    for router in _ROUTERS:
        app.include_router(router)
    app.add_exception_handler(RequestValidationError, _raise_as_ours)
    app.add_exception_handler(HTTPException, _raise_as_ours)
    app.add_middleware(Frontier, service=service)
    app.openapi = lambda: openapi.describe(app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[dict[str, object]]:
    """What goes on beside the requests: duties, telling subscribers, and what this process alone has to write down.

    ``stop`` in the state is what the server calls when it is asked to end.
    """
    service: Service = app.state.service
    duties = DutyRunner(service.registry, duties_of(service.registry), tell=_log_run, trouble=_log_trouble)
    duties.start()
    subscriptions = SubscriptionRunner(
        service.registry, service.subscribers, tell=_log_delivery, trouble=_log_no_delivery
    )
    subscriptions.start()
    token_uses = asyncio.create_task(_repeat(lambda: service.token_uses.flush(service.registry), _TOKEN_USES_S))
    try:
        yield {"stop": service.event_feed.stop}
    finally:
        token_uses.cancel()
        with suppress(asyncio.CancelledError):
            await token_uses
        await asyncio.to_thread(_stop, duties, subscriptions)
        await asyncio.to_thread(service.close)


def _stop(duties: DutyRunner, subscriptions: SubscriptionRunner) -> None:
    """Both at once: neither waits for the other's slowest."""
    stopping = threading.Thread(target=_stop_duties, args=(duties,))
    stopping.start()
    if not subscriptions.stop():
        log.warning("delivery left behind", message="a subscriber did not return in time; its event comes again")
    stopping.join()


def _stop_duties(duties: DutyRunner) -> None:
    if not duties.stop():
        log.warning("duty left behind", message="it did not come to its next page in time; its claim runs out")


def _log_delivery(run: DeliveryRun) -> None:
    if run.error is not None:
        log.warning("delivery failed", subscription=run.name, delivered=run.delivered, **run.error)
        return
    log.info("delivery", subscription=run.name, delivered=run.delivered)


def _log_no_delivery(error: Exception) -> None:
    """Nothing could be looked for, or claimed."""
    log.warning("delivery failed", **told(error))


def _log_run(run: Run) -> None:
    if run.outcome == FAILED and run.error is not None:
        log.warning("duty failed", duty=run.duty, **told(run.error))
        return
    log.info("duty", duty=run.duty, outcome=run.outcome, detail=run.detail)


def _log_trouble(error: Exception) -> None:
    """No duty could be looked for, or claimed."""
    log.warning("duty failed", **told(error))


async def _repeat(act: Callable[[], object], every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        try:
            await asyncio.to_thread(act)
        except ArtifactStoreError as error:
            log.warning("duty failed", code=error.code, message=error.message)
        except Exception:
            log.exception("duty failed by a defect")


async def _raise_as_ours(request: Request, error: Exception) -> Response:
    """What the framework refuses, as our errors."""
    raise _as_ours(request, error) from error


def _as_ours(request: Request, error: Exception) -> ArtifactStoreError:
    match error:
        case RequestValidationError():
            problems = tuple(Problem(".".join(map(str, each["loc"])), each["msg"]) for each in error.errors())
            return RequestInvalidError("the request is not as this endpoint takes it", problems=problems)
        case HTTPException(status_code=404):
            return NotFoundError("there is no such resource", hint="/docs lists what there is.")
        case HTTPException(status_code=405):
            hint = "/docs lists what it knows."
            return MethodNotAllowedError("this resource does not know the method", hint=hint, allowed=_methods(request))
        case _:
            return RequestInvalidError(str(getattr(error, "detail", error)))


def _methods(request: Request) -> tuple[str, ...]:
    """What the resource that is asked for knows; the framework looks at one route of it only."""
    routes = (route for router in _ROUTERS for route in router.routes if isinstance(route, Route))
    matching = (route.methods or () for route in routes if route.matches(request.scope)[0] is not Match.NONE)
    return tuple(sorted(set().union(*matching)))
