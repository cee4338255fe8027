"""What handlers are asked with: paging, JSON bodies, idempotency keys."""

from __future__ import annotations

import re
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, TypeVar

from blake3 import blake3
from fastapi import Query
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from artifactstore.api.bodies import held_whole, refuse_announced_length, stream_body
from artifactstore.api.guards import CurrentCaller
from artifactstore.api.service import service_of
from artifactstore.domain.canonical import escaped, parse_json
from artifactstore.errors import MediaTypeError, Problem, RequestInvalidError
from artifactstore.registry.idempotency import Attempt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from artifactstore.domain.access import Caller
    from artifactstore.domain.canonical import JsonValue

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

LIMIT = Annotated[int, Query(ge=1, le=1000, description="How many at most.")]
SEQ = Annotated[int, Query(ge=0, le=2**63 - 1, description="Start after this one.")]
MAX_BODY_BYTES = 1024 * 1024
MAX_FILE_LIST_BYTES = 32 * 1024 * 1024
_KEY = re.compile(r"[!-~]{1,128}")


def body_of(model: type[M], *, max_bytes: int = MAX_BODY_BYTES) -> Callable[[Request, CurrentCaller], Awaitable[M]]:
    """A dependency that gives the JSON body as ``model``, read only once it is known who asks."""

    async def read(request: Request, caller: CurrentCaller) -> M:
        require_media_type(request, "application/json")
        return await _read(request, caller, max_bytes, lambda body: _understood(model, body, max_bytes))

    return read


def optional_body_of(
    model: type[M], *, max_bytes: int = MAX_BODY_BYTES
) -> Callable[[Request, CurrentCaller], Awaitable[M | None]]:
    """The same where a request may have no body; then it gives None."""

    async def read(request: Request, caller: CurrentCaller) -> M | None:
        if "transfer-encoding" not in request.headers and not int(request.headers.get("content-length", "0")):
            return None

        def understand(body: bytes) -> M | None:
            if not body:
                return None
            require_media_type(request, "application/json")
            return _understood(model, body, max_bytes)

        return await _read(request, caller, max_bytes, understand)

    return read


async def _read(request: Request, caller: Caller, max_bytes: int, understand: Callable[[bytes], T]) -> T:
    """What a body is understood as, on a thread. Whoever may write nothing may say no more than ``MAX_BODY_BYTES``."""
    most = max_bytes if caller.may_write_something else min(max_bytes, MAX_BODY_BYTES)
    refuse_announced_length(request, most)
    service = service_of(request)

    def receive(read: Callable[[int], bytes]) -> tuple[T, bytes]:
        with held_whole(read, most, service.room) as body:
            understanding = service.large_body if len(body) > MAX_BODY_BYTES else nullcontext()
            with understanding:
                return understand(body), blake3(body).digest()

    asked, request.state.body_digest = await stream_body(request, receive)
    return asked


def _understood(model: type[M], body: bytes, max_bytes: int) -> M:
    return parsed(model, parse_json(body, what="the body", error=RequestInvalidError, max_bytes=max_bytes))


def require_media_type(request: Request, expected: str) -> None:
    """Raises ``MediaTypeError`` unless the body is of this type."""
    found = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found != expected:
        raise MediaTypeError(f"the body is {found or 'of no type'}, not {expected}")


def parsed(model: type[M], document: JsonValue) -> M:
    """Raises ``RequestInvalidError`` naming every member that is wrong."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problems = tuple(
            Problem("".join(f"/{escaped(str(step))}" for step in each["loc"]), each["msg"])
            for each in error.errors(include_url=False, include_context=False, include_input=False)
        )
        raise RequestInvalidError("the body is not what this request takes", problems=problems) from error


async def attempt_of(request: Request, caller: CurrentCaller) -> Attempt | None:
    """The attempt that an ``Idempotency-Key`` stands for, with the body that was read. None without the header."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise RequestInvalidError("Idempotency-Key is not 1 to 128 visible ASCII characters")
    digest: bytes = request.state.body_digest
    return Attempt(caller.owner, key, blake3(f"{request.method} {request.url.path}\n".encode() + digest).digest())
