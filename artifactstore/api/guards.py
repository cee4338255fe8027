"""Who asks, and what they may see: the dependencies that handlers are given."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPBearer
from starlette.requests import Request

from artifactstore.api.service import Service, service_of
from artifactstore.catalog.pushes import OpenPackageRecord
from artifactstore.catalog.records import HoldRecord, PackageRecord
from artifactstore.domain.access import Caller, Right, Scope
from artifactstore.errors import ForbiddenError, PackageUnknownError, UnauthenticatedError
from artifactstore.registry.open_packages import find_open_package
from artifactstore.registry.packages import find_package, package_unknown
from artifactstore.registry.provenance import Viewer
from artifactstore.registry.registry import Registry
from artifactstore.registry.tokens import authenticate

_bearer = HTTPBearer(auto_error=False, description="A token: `artifactstore token create NAME --scope SCOPE`.")


def caller_of(request: Request, _: Annotated[object, Depends(_bearer)]) -> Caller:
    """Whose token it is. Raises ``UnauthenticatedError`` for a bad one, and for none unless anyone may read."""
    service = service_of(request)
    shown = request.headers.getlist("authorization")
    if not shown:
        if not service.anonymous_may_read:
            raise UnauthenticatedError("this needs a token")
        return _known(request, Caller.anonymous(may_read=True))
    scheme, _, text = shown[0].partition(" ")
    if len(shown) > 1 or scheme.lower() != "bearer":
        raise UnauthenticatedError("the token is to stand in one header, Authorization: Bearer <token>")
    caller = authenticate(service.registry, text.strip(), static=service.static_tokens)
    if service.anonymous_may_read:
        caller = caller.with_scope(Scope(Right.READ))
    service.token_uses.note(caller.token_id, service.registry.clock())
    return _known(request, caller)


def _known(request: Request, caller: Caller) -> Caller:
    request.state.caller = caller.name
    return caller


CurrentCaller = Annotated[Caller, Depends(caller_of)]


async def current_service(request: Request) -> Service:
    """The service that a request came to. What only looks something up is async: it needs no thread."""
    return service_of(request)


CurrentService = Annotated[Service, Depends(current_service)]


async def registry_of(service: CurrentService, caller: CurrentCaller) -> Registry:
    """The store, in the caller's name."""
    return service.registry.acting_as(caller.actor)


CurrentRegistry = Annotated[Registry, Depends(registry_of)]


async def admin_of(caller: CurrentCaller) -> Caller:
    """Raises ``ForbiddenError`` unless the caller is one."""
    caller.require_admin()
    return caller


CurrentAdmin = Annotated[Caller, Depends(admin_of)]


async def writer_of(caller: CurrentCaller) -> Caller:
    """Raises ``UnauthenticatedError`` if no token was shown: a write needs one, whatever it is to."""
    if caller.is_anonymous:
        raise UnauthenticatedError("this needs a token")
    return caller


CurrentWriter = Annotated[Caller, Depends(writer_of)]


async def observer_of(caller: CurrentWriter) -> Caller:
    """Raises ``ForbiddenError`` unless there is a producer whose packages the caller may record."""
    if not caller.may_write_something:
        raise ForbiddenError(f"token {caller.name} lacks a scope write:<producer>")
    return caller


CurrentObserver = Annotated[Caller, Depends(observer_of)]


async def viewer_of(caller: CurrentCaller) -> Viewer:
    """How much of what was observed the caller may see."""
    return Viewer(caller.actor, caller.readable_producers)


CurrentViewer = Annotated[Viewer, Depends(viewer_of)]


def readable_package(registry: CurrentRegistry, caller: CurrentCaller, package_id: str) -> PackageRecord:
    """A recorded package that the caller may read. Raises ``PackageUnknownError`` for any other."""
    return readable_details(registry, caller, package_id)[0]


def readable_details(
    registry: CurrentRegistry, caller: CurrentCaller, package_id: str
) -> tuple[PackageRecord, list[HoldRecord]]:
    """The same, with its holds."""
    package, holds = find_package(registry, package_id)
    if not caller.can_read(package.producer):
        raise package_unknown(package_id)
    return package, holds


def writable_package(registry: CurrentRegistry, caller: CurrentWriter, package_id: str) -> PackageRecord:
    """A recorded package that the caller may write to. Raises ``PackageUnknownError``, ``ForbiddenError``."""
    package = readable_package(registry, caller, package_id)
    caller.require_write(package.producer)
    return package


def own_open_package(registry: CurrentRegistry, caller: CurrentWriter, package_id: str) -> str:
    """The id of a package that the caller opened, or that anyone did if the caller is ``admin``.

    Raises ``PackageUnknownError`` for what the caller may not see, ``ForbiddenError`` without the right to write.
    """
    opened = find_open_package(registry, package_id)
    if opened is None or not may_see_open(opened, caller):
        return _recorded(registry, caller, package_id)
    caller.require_write(opened.producer)
    return package_id


def may_see_open(opened: OpenPackageRecord, caller: Caller) -> bool:
    """Whether an open package is there for the caller: who opened it sees it, and whoever may do everything."""
    return opened.opened_by == caller.owner or caller.is_admin


def _recorded(registry: Registry, caller: Caller, package_id: str) -> str:
    """A package that is recorded is visible to whoever may read it; the use-case says that it is not open."""
    try:
        return writable_package(registry, caller, package_id).package_id
    except PackageUnknownError as error:
        raise package_unknown(package_id) from error


ReadablePackage = Annotated[PackageRecord, Depends(readable_package)]
WritablePackage = Annotated[PackageRecord, Depends(writable_package)]
OwnOpenPackage = Annotated[str, Depends(own_open_package)]
