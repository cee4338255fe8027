"""What a server's answers mean: JSON documents, and problem documents (RFC 9457) as the errors they were made of.

An error arrives as the class it was raised as, with the same message, hint and problems: whoever catches
``RunChangedError`` need not know whether there is a server. What is no problem document of ours is ``ServiceError``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from artifactstore import errors
from artifactstore.errors import (
    AccessError,
    ArtifactStoreError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    Problem,
    ServiceBusyError,
    ServiceError,
    ServiceUnavailableError,
    UploadOffsetError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROBLEM_TYPE = "application/problem+json"
MAX_PROBLEM_BYTES = 4 * 1024 * 1024
MAX_DOCUMENT_BYTES = 256 * 1024 * 1024
RETRYABLE_STATUSES = frozenset({408, 429, 502, 503, 504})
UPLOAD_OFFSET = "Upload-Offset"

_REDIRECTS = range(300, 400)
_BY_STATUS: Mapping[int, type[ArtifactStoreError]] = {
    401: AccessError,
    403: AccessError,
    404: NotFoundError,
    409: ConflictError,
    410: ConflictError,
    429: ServiceBusyError,
    503: ServiceUnavailableError,
}
"""What a code that is not known here counts as; other 4xx are the caller's, the rest the server's."""


def document_of(body: bytes, *, server: str) -> dict[str, Any]:
    """An answer's JSON object. Raises ``ServiceError`` for anything else."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ServiceError(f"{server} answered something that is not JSON") from error
    if not isinstance(document, dict):
        raise ServiceError(f"{server} answered JSON that is not an object")
    return document


def member(document: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    """One member of an answer. Raises ``ServiceError`` unless it is there and of this type."""
    value = document.get(name)
    if type(value) is not kind:
        raise ServiceError(f"the server's answer has no {name!r} that makes sense")
    return value


def error_of(
    status: int, headers: Mapping[str, str], body: bytes, *, server: str, has_body: bool = True
) -> ArtifactStoreError:
    """The error that an answer other than 2xx stands for. One to HEAD has no body that could say more."""
    if not has_body and status not in _REDIRECTS:
        return _parent_of(status)(f"{server} answered {status}")
    if headers.get("Content-Type", "").partition(";")[0].strip() == PROBLEM_TYPE:
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict) and isinstance(document.get("code"), str):
            return _error_from(document, status, headers)
    return _foreign(status, headers, server)


def is_retryable(error: ArtifactStoreError, status: int) -> bool:
    """Whether the same request may succeed later."""
    return error.retryable or status in RETRYABLE_STATUSES


def error_of_code(code: str, message: str, problems: tuple[Problem, ...] = ()) -> ArtifactStoreError:
    """An error by its code; ``InvalidRequestError`` for one that is not known here."""
    kind = _BY_CODE.get(code)
    error = InvalidRequestError(f"{message} ({code})") if kind is None else kind(message)
    error.problems = problems
    return error


def _error_from(document: Mapping[str, Any], status: int, headers: Mapping[str, str]) -> ArtifactStoreError:
    code, message = document["code"], str(document.get("detail") or document.get("title") or "")
    kind = _BY_CODE.get(code)
    if kind is None:
        error: ArtifactStoreError = _parent_of(status)(f"{message} ({code})")
    else:
        error = kind(message)
    error.hint = str(document.get("hint") or "")
    error.problems = tuple(problems_of(document.get("problems")))
    offset = headers.get(UPLOAD_OFFSET, "")
    if isinstance(error, UploadOffsetError) and offset.isascii() and offset.isdigit():
        error.offset = int(offset)
    return error


def problems_of(found: object) -> Iterator[Problem]:
    """The problems in an answer's list of them; what is none is passed over."""
    for each in found if isinstance(found, list) else []:
        if isinstance(each, dict):
            yield Problem(str(each.get("where", "")), str(each.get("what", "")))


def _parent_of(status: int) -> type[ArtifactStoreError]:
    usual = InvalidRequestError if 400 <= status < 500 else ServiceError  # noqa: PLR2004 - HTTP's own ranges
    return _BY_STATUS.get(status, usual)


def _foreign(status: int, headers: Mapping[str, str], server: str) -> ServiceError:
    """Something between us and the server answered, or it is none of ours."""
    if status in _REDIRECTS:
        where = headers.get("Location", "nowhere")[:200]
        return ServiceError(
            f"{server} answered {status}, a redirect to {where!r}",
            hint="Redirects are not followed. Set ARTIFACTSTORE_API_URL to where the server itself is.",
        )
    if status in RETRYABLE_STATUSES:
        return ServiceUnavailableError(f"{server} answered {status}")
    return ServiceError(f"{server} answered {status} with something that no artifactstore server answers")


def _tree(kind: type[ArtifactStoreError]) -> Iterator[type[ArtifactStoreError]]:
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from _tree(below)


_BY_CODE = {kind.code: kind for kind in _tree(ArtifactStoreError)}
