"""S3's errors as ours: one table, one context manager.

What the server says of the object is ``ObjectNotFoundError`` or ``RangeInvalidError``. All else says nothing of it: it
may be tried again, or it is refused until somebody mends a setting, a right or a quota. So a bucket that is not there,
or a key that expired, never passes for damage.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.errors import (
    ArtifactStoreError,
    ObjectNotFoundError,
    RangeInvalidError,
    StorageDeniedError,
    StorageFullError,
    StorageUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_CREDENTIALS = "Mend the credentials that boto3 finds: docs/guides/s3.md says where it looks."
_REGION = "Set ARTIFACTSTORE_S3_REGION to the region of the bucket."
_MESSAGE_CHARACTERS = 200


class _Meaning(NamedTuple):
    kind: type[ArtifactStoreError]
    hint: str | None = None


_BY_CODE = {
    "NoSuchKey": _Meaning(ObjectNotFoundError),
    "NotFound": _Meaning(ObjectNotFoundError),
    "NoSuchBucket": _Meaning(StorageDeniedError, "Create the bucket, or mend ARTIFACTSTORE_STORAGE_URL."),
    "NoSuchUpload": _Meaning(StorageUnavailableError),  # aborted by somebody else
    "InvalidRange": _Meaning(RangeInvalidError),
    "InvalidAccessKeyId": _Meaning(StorageDeniedError, _CREDENTIALS),
    "SignatureDoesNotMatch": _Meaning(StorageDeniedError, _CREDENTIALS),
    "ExpiredToken": _Meaning(StorageDeniedError, _CREDENTIALS),
    "InvalidToken": _Meaning(StorageDeniedError, _CREDENTIALS),
    "AuthorizationHeaderMalformed": _Meaning(StorageDeniedError, _REGION),
    "PermanentRedirect": _Meaning(StorageDeniedError, _REGION),
    "RequestTimeTooSkewed": _Meaning(StorageDeniedError, "Set the clock of this host."),
    "InvalidObjectState": _Meaning(StorageDeniedError, "The object is archived: restore it, then try again."),
    "RequestTimeout": _Meaning(StorageUnavailableError),
    "IncompleteBody": _Meaning(StorageUnavailableError),
    "SlowDown": _Meaning(StorageUnavailableError),
    "BadDigest": _Meaning(StorageUnavailableError),
    "XAmzContentSHA256Mismatch": _Meaning(StorageUnavailableError),
    "InvalidPart": _Meaning(StorageUnavailableError),  # we name only what was acknowledged, so its ETag was changed
    "QuotaExceeded": _Meaning(StorageFullError),
    "XMinioStorageFull": _Meaning(StorageFullError),
    "XMinioAdminBucketQuotaExceeded": _Meaning(StorageFullError),
}
_BY_STATUS = {
    301: _Meaning(StorageDeniedError, _REGION),  # the answer to a HEAD names no code
    404: _Meaning(ObjectNotFoundError),
    408: _Meaning(StorageUnavailableError),
    409: _Meaning(StorageUnavailableError),
    412: _Meaning(StorageUnavailableError),
    416: _Meaning(RangeInvalidError),
    429: _Meaning(StorageUnavailableError),
    501: _Meaning(StorageDeniedError, "The server cannot do what is asked of it."),
    507: _Meaning(StorageFullError),
}
_REFUSED = _Meaning(StorageDeniedError)
_NO_ANSWER = _Meaning(StorageUnavailableError)
_SERVER_ERRORS = 500


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """The errors of boto3, of its transport and of the system as ours; ``what`` begins their message."""
    try:
        yield
    except foreign_errors() as error:
        raise translated(what, error) from error


def foreign_errors() -> tuple[type[Exception], ...]:
    """Every class of error that boto3 lets out. Looked up when something has been raised, so boto3 is there."""
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    return BotoCoreError, ClientError, HTTPError, OSError


def translated(what: str, error: Exception) -> ArtifactStoreError:
    """What a foreign error means. The message has what the server said, which never holds a secret."""
    from botocore.exceptions import ClientError

    if isinstance(error, ClientError):
        meaning, said = _meaning_of(code_of(error), status_of(error)), _words_of(error)
    else:
        meaning, said = _meaning_without_answer(error), f"{type(error).__name__}: {error}"
    return meaning.kind(f"{what}: {said}", hint=meaning.hint)


def code_of(error: Exception) -> str:
    """S3's code of an error; the status as text where an answer has none, as that to a HEAD."""
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))


def status_of(error: Exception) -> int:
    """The HTTP status of an error's answer; 0 without one."""
    return int(getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _meaning_of(code: str, status: int) -> _Meaning:
    if known := _BY_CODE.get(code) or _BY_STATUS.get(status):
        return known
    return _NO_ANSWER if status >= _SERVER_ERRORS else _REFUSED


def _meaning_without_answer(error: Exception) -> _Meaning:
    """Of an error before, or in the middle of, an answer."""
    from botocore import exceptions as raised

    if isinstance(error, raised.NoCredentialsError | raised.PartialCredentialsError | raised.CredentialRetrievalError):
        return _Meaning(StorageDeniedError, _CREDENTIALS)
    if isinstance(error, raised.ParamValidationError | raised.InvalidRegionError | raised.UnknownEndpointError):
        return _Meaning(StorageDeniedError, "Mend the settings that begin with ARTIFACTSTORE_S3_.")
    return _NO_ANSWER


def _words_of(error: Exception) -> str:
    said = getattr(error, "response", {}).get("Error", {})
    words = " ".join(str(said.get("Message") or "").split())[:_MESSAGE_CHARACTERS]
    code = code_of(error)
    return f"{code}: {words}" if words and words != code else code
