"""What the command line answers to each error: one table, most specific first.

0 done · 1 the caller can mend it · 2 the system failed, damage found included · 3 part of it was done.
"""

from __future__ import annotations

from artifactstore.errors import (
    AccessError,
    ArtifactStoreError,
    ConfigurationError,
    ConflictError,
    CorruptionError,
    InvalidRequestError,
    NotFoundError,
    PluginFailedError,
    ServiceError,
    StorageError,
)

DONE = 0
CALLER_CAN_MEND_IT = 1
SYSTEM_FAILED = 2
PARTLY_DONE = 3
INTERRUPTED = 130
TERMINATED = 143

EXIT_CODES: tuple[tuple[type[ArtifactStoreError], int], ...] = (
    (InvalidRequestError, CALLER_CAN_MEND_IT),
    (NotFoundError, CALLER_CAN_MEND_IT),
    (ConflictError, CALLER_CAN_MEND_IT),
    (AccessError, CALLER_CAN_MEND_IT),
    (ConfigurationError, CALLER_CAN_MEND_IT),
    (StorageError, SYSTEM_FAILED),
    (ServiceError, SYSTEM_FAILED),
    (CorruptionError, SYSTEM_FAILED),
    (PluginFailedError, SYSTEM_FAILED),
)


def exit_code_of(error: ArtifactStoreError) -> int:
    """The exit code of an error; what is in no branch of the table is the system's fault."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), SYSTEM_FAILED)
