"""How an object gets into a bucket: through a temporary file, because its key is known only when all of it was seen.

The file has no name, so nothing is left of it when the process is killed. It is uploaded once, at the commit, unless a
HEAD finds the object: a server that knows no conditional writes would write it over, and some lose it if they are
killed while they do.
"""

from __future__ import annotations

import errno
import os
import random
import time
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from zlib_ng import zlib_ng

from artifactstore.errors import StorageFullError, StorageUnavailableError
from artifactstore.storage.port import PutOutcome, Stage
from artifactstore.storage.s3.errors import code_of, status_of, storage_errors
from artifactstore.storage.s3.uploading import NotKeptError, Staged, upload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.domain.hashing import ObjectHasher
    from artifactstore.storage.port import ObjectKey
    from artifactstore.storage.s3.bucket import Bucket

_ATTEMPTS = 4
_FIRST_PAUSE_S = 0.1
_TAKEN, _CONFLICT, _NOT_IMPLEMENTED = 412, 409, 501
_CHANGED_ON_THE_WAY = frozenset({"BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "InvalidPart"})


class S3Stage(Stage):
    """A file without a name, until it is uploaded."""

    def __init__(self, bucket: Bucket, hasher: ObjectHasher) -> None:
        super().__init__(hasher)
        self._bucket = bucket
        self._crc32 = 0
        self._refusal: Exception | None = None
        with _file_errors():
            self._file = TemporaryFile(prefix="artifactstore-", buffering=0)  # noqa: SIM115 - closed by discard

    def discard(self) -> None:
        """Close the file, which ends it."""
        self._file.close()

    def _append(self, data: bytes) -> None:
        assert not self._file.closed, "the stage is closed"
        self._crc32 = zlib_ng.crc32(data, self._crc32)
        view = memoryview(data)
        with _file_errors():
            while view:
                view = view[os.write(self._file.fileno(), view) :]

    def _publish(self, key: ObjectKey) -> PutOutcome:
        """Look, upload; if that is refused look again: the object may be there now, or not any more."""
        assert not self._file.closed, "the stage is closed"
        with storage_errors(f"{key} cannot be stored"):
            for _ in self._attempts(key):
                found = self._bucket.size_or_none(key)
                if found == self.size_bytes:
                    self.discard()
                    return PutOutcome.PRESENT
                if found is not None:  # it cannot be the object, whoever wrote it
                    return self._publish_over(key)
                if self._is_uploaded(key, if_absent=True):
                    return PutOutcome.CREATED
        raise AssertionError("the last attempt raises")

    def _publish_over(self, key: ObjectKey) -> PutOutcome:
        assert not self._file.closed, "the stage is closed"
        with storage_errors(f"{key} cannot be replaced"):
            self._bucket.keep_aside(key)
            for _ in self._attempts(key):
                if self._is_uploaded(key, if_absent=False):
                    return PutOutcome.CREATED
        raise AssertionError("the last attempt raises")

    def _attempts(self, key: ObjectKey) -> Iterator[None]:
        """A few, with a pause between them; then what the last one was refused with is raised."""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_FIRST_PAUSE_S * 2**attempt * random.uniform(0.5, 1))  # noqa: S311 - not for secrets
            yield
        raise StorageUnavailableError(f"{key} cannot be stored: {self._refusal}") from self._refusal

    def _is_uploaded(self, key: ObjectKey, *, if_absent: bool) -> bool:
        """False if another attempt may fare better."""
        staged = Staged(self._file.fileno(), self.size_bytes, self._crc32)
        try:
            upload(self._bucket, key, staged, if_absent=if_absent)
        except NotKeptError as error:
            self._refusal = error
            return False
        except self._bucket.client.exceptions.ClientError as error:
            if not self._may_try_again(error):
                raise
            self._refusal = error
            return False
        self.discard()
        return True

    def _may_try_again(self, refusal: Exception) -> bool:
        """Somebody was first or is at it, the bytes were changed on the way, or the server knows no conditions."""
        status = status_of(refusal)
        if status == _NOT_IMPLEMENTED and self._bucket.takes_conditions:
            self._bucket.takes_conditions = False
            return True
        return status in {_TAKEN, _CONFLICT} or code_of(refusal) in _CHANGED_ON_THE_WAY


@contextmanager
def _file_errors() -> Iterator[None]:
    """Errors of the temporary file."""
    try:
        yield
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        raise (StorageFullError if full else StorageUnavailableError)(
            f"no temporary file for an object: {error.strerror}",
            hint="Give TMPDIR a directory with room for two of the largest objects.",
        ) from error
