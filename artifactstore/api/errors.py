"""What HTTP answers to each error: one table, most specific first, and problem documents (RFC 9457)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from artifactstore import errors
from artifactstore.api.conditions import UnsatisfiableRangeError

if TYPE_CHECKING:
    from artifactstore.errors import ArtifactStoreError


class HeadersTooLargeError(errors.LimitExceededError):
    """A request line and headers longer than this server takes."""


STATUSES: tuple[tuple[type[ArtifactStoreError], int], ...] = (
    (HeadersTooLargeError, 431),
    (errors.LimitExceededError, 413),
    (errors.PayloadTooLargeError, 413),
    (errors.RangeInvalidError, 416),
    (errors.RequestTimeoutError, 408),
    (errors.PreconditionError, 412),
    (errors.MediaTypeError, 415),
    (errors.HostRefusedError, 421),
    (errors.MethodNotAllowedError, 405),
    (errors.InvalidRequestError, 400),
    (errors.NotFoundError, 404),
    (errors.PackageDeletedError, 410),
    (errors.QuotaExceededError, 507),
    (errors.ConflictError, 409),
    (errors.UnauthenticatedError, 401),
    (errors.AccessError, 403),
    (errors.StorageFullError, 507),
    (errors.CatalogFullError, 507),
    (errors.StorageError, 503),
    (errors.ServiceError, 503),
    (errors.CorruptionError, 500),
    (errors.PluginFailedError, 500),
    (errors.ConfigurationError, 500),
)
PROBLEM = "application/problem+json"
MAX_PROBLEMS = 1_000
_RETRY_AFTER_S = "1"


class InternalError(errors.ArtifactStoreError):
    """A defect of the server. What happened is in its log, under the request's id."""

    code = "INTERNAL"
    default_hint = "The server's log has it under this request_id."


def status_of(error: ArtifactStoreError) -> int:
    """The HTTP status of an error; what is in no branch of the table is the server's fault."""
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)


def problem_document(error: ArtifactStoreError, *, request_id: str) -> dict[str, Any]:
    """The error as RFC 9457 has it, with our code, hint and list of offenders."""
    return {
        "type": f"urn:artifactstore:error:{error.code}",
        "title": _title(type(error)),
        "status": status_of(error),
        "detail": error.message,
        "code": error.code,
        "hint": error.hint,
        "retryable": error.retryable,
        "problems": [{"where": where, "what": what} for where, what in error.problems[:MAX_PROBLEMS]],
        "request_id": request_id,
    }


def _title(kind: type[ArtifactStoreError]) -> str:
    """What an error is, in the first sentence of its class, without its markup."""
    return (kind.__doc__ or "").partition("\n")[0].partition(". ")[0].rstrip(".").replace("`", "")


def problem_answer(error: ArtifactStoreError, *, request_id: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """(status, headers, body) of the answer to an error."""
    body = json.dumps(problem_document(error, request_id=request_id)).encode()  # ASCII: names may hold anything
    headers = [(b"content-type", PROBLEM.encode()), (b"content-length", str(len(body)).encode())]
    headers.append((b"cache-control", b"no-store"))
    if isinstance(error, errors.UnauthenticatedError):
        headers.append((b"www-authenticate", b'Bearer realm="artifactstore"'))
    if isinstance(error, errors.UploadOffsetError):
        headers.append((b"upload-offset", str(error.offset).encode()))
    if isinstance(error, errors.MethodNotAllowedError):
        headers.append((b"allow", ", ".join(error.allowed).encode()))
    if isinstance(error, UnsatisfiableRangeError):
        headers.append((b"content-range", f"bytes */{error.size_bytes}".encode()))
    if error.retryable:
        headers.append((b"retry-after", _RETRY_AFTER_S.encode()))
    return status_of(error), headers, body
