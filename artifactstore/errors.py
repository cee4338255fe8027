"""Every error this package raises on purpose, as one tree.

::

    ArtifactStoreError                    code, message, hint, problems
    ├── InvalidRequestError               the caller can mend it
    │   ├── DigestInvalidError            DIGEST_INVALID
    │   ├── DigestMismatchError           DIGEST_MISMATCH       bytes sent are not the bytes announced
    │   ├── PathInvalidError              PATH_INVALID
    │   ├── FileUnreadableError           FILE_UNREADABLE       not a regular file, no permission, gone
    │   ├── FileChangedError              FILE_CHANGED          changed while it was read
    │   ├── LinkInvalidError              LINK_INVALID          leaves the directory, loops or dangles
    │   ├── LimitExceededError            LIMIT_EXCEEDED
    │   ├── PackageInvalidError           PACKAGE_INVALID       producer, external id, role, ...
    │   ├── MetadataInvalidError          METADATA_INVALID      violates its schema, or is not canonical
    │   ├── SchemaInvalidError            SCHEMA_INVALID
    │   ├── ManifestInvalidError          MANIFEST_INVALID
    │   ├── RangeInvalidError             RANGE_INVALID
    │   ├── RetentionInvalidError         RETENTION_INVALID
    │   ├── PlanInvalidError              PLAN_INVALID          not a retention plan
    │   ├── DestinationInvalidError       DESTINATION_INVALID   `get` cannot write there
    │   ├── RunDirectoryError             RUN_DIRECTORY_INVALID a pilot's: missing or contradictory run files
    │   ├── ArchiveInvalidError           ARCHIVE_INVALID       a ZIP that is not strictly one of stored entries
    │   ├── BackendUnknownError           BACKEND_UNKNOWN
    │   ├── ObservationError              INPUT_INVALID         what a plug-in says of an observation
    │   │   ├── PayloadTooLargeError      PAYLOAD_TOO_LARGE
    │   │   ├── ProvenanceError           PROVENANCE            a plug-in may not say who it is
    │   │   ├── LocationKindUnknownError  LOCATION_KIND_UNKNOWN
    │   │   ├── PathIdInvalidError        PATH_ID_INVALID
    │   │   ├── IdentifierKindUnknownError IDENTIFIER_KIND_UNKNOWN
    │   │   └── RoleInvalidError          ROLE_INVALID
    │   ├── EmitGuardError                EMIT_GUARD            an event that is not the plug-in's to emit
    │   ├── UsageError                    USAGE
    │   └── RequestInvalidError           REQUEST_INVALID       an HTTP request that cannot be understood
    │       ├── RequestTimeoutError       REQUEST_TIMEOUT       its body came too slowly
    │       ├── PreconditionError         PRECONDITION_FAILED
    │       ├── MediaTypeError            MEDIA_TYPE_UNSUPPORTED
    │       ├── HostRefusedError          HOST_REFUSED          not a name this server answers to
    │       └── MethodNotAllowedError     METHOD_NOT_ALLOWED
    ├── NotFoundError
    │   ├── PackageUnknownError           PACKAGE_UNKNOWN
    │   ├── FileUnknownError              FILE_UNKNOWN
    │   ├── MetadataSchemaUnknownError    SCHEMA_UNKNOWN
    │   ├── HoldUnknownError              HOLD_UNKNOWN
    │   ├── PlanUnknownError              PLAN_UNKNOWN
    │   ├── DutyUnknownError              DUTY_UNKNOWN
    │   ├── UploadUnknownError            UPLOAD_UNKNOWN
    │   ├── SourceUnknownError            SOURCE_UNKNOWN
    │   ├── EnvelopeUnknownError          ENVELOPE_UNKNOWN
    │   ├── PluginUnknownError            PLUGIN_UNKNOWN
    │   ├── SubscriptionUnknownError      SUBSCRIPTION_UNKNOWN
    │   ├── BackupUnknownError            BACKUP_UNKNOWN
    │   └── TokenUnknownError             TOKEN_UNKNOWN
    ├── ConflictError
    │   ├── RunChangedError               RUN_CHANGED
    │   ├── PackageExpiredError           PACKAGE_EXPIRED
    │   ├── PackageDeletedError           PACKAGE_DELETED
    │   ├── PackageStateError             PACKAGE_STATE
    │   ├── QuotaExceededError            QUOTA_EXCEEDED        more than the producer's packages may come to
    │   ├── PlanNotApprovedError          PLAN_NOT_APPROVED     another has to agree first
    │   ├── NotDestroyedError             NOT_DESTROYED         bytes of the package are there still
    │   ├── SchemaConflictError           SCHEMA_CONFLICT
    │   ├── DestinationExistsError        DESTINATION_EXISTS
    │   ├── PackageIncompleteError        PACKAGE_INCOMPLETE    declared files have not arrived
    │   ├── PathTakenError                PATH_TAKEN            the open package has other content at this path
    │   ├── UploadOffsetError             UPLOAD_OFFSET         the upload stands elsewhere
    │   ├── IdempotencyMismatchError      IDEMPOTENCY_MISMATCH  the key was used for another request
    │   ├── DutyRunningError              DUTY_RUNNING          another process is at it; may be retried
    │   ├── ClaimLostError                CLAIM_LOST            another process has taken the duty over; may be retried
    │   ├── SubscriptionAheadError        SUBSCRIPTION_AHEAD    it was told more than the log has
    │   ├── StoreNotEmptyError            STORE_NOT_EMPTY       nothing is restored over what is there
    │   └── TokenExistsError              TOKEN_EXISTS
    ├── AccessError
    │   ├── UnauthenticatedError          UNAUTHENTICATED
    │   ├── ForbiddenError                FORBIDDEN
    │   └── CapabilityDeniedError         CAPABILITY_DENIED     the host's configuration does not grant it
    ├── ServiceError                      SERVICE_FAILED        the server's answer makes no sense
    │   ├── ServiceUnavailableError       SERVICE_UNAVAILABLE   it cannot be reached; may be retried
    │   └── ServiceBusyError              SERVICE_BUSY          too many requests; may be retried
    ├── WebhookFailedError                WEBHOOK_FAILED        a webhook did not take an event; may be retried
    │   └── WebhookRefusedError           WEBHOOK_REFUSED       it is at an address that is not allowed
    ├── StorageError                      STORAGE_FAILED        a backend or the database failed us
    │   ├── ObjectNotFoundError           OBJECT_NOT_FOUND
    │   ├── StorageUnavailableError       STORAGE_UNAVAILABLE   may be retried
    │   ├── StorageDeniedError            STORAGE_DENIED
    │   ├── StorageFullError              STORAGE_FULL
    │   ├── ClocksDisagreeError           CLOCKS_DISAGREE       nothing ends by a clock that is wrong
    │   ├── BackendRefusedError           BACKEND_REFUSED       a probe found that it would lose or alter data
    │   ├── CatalogUnavailableError       CATALOG_UNAVAILABLE   may be retried
    │   ├── CatalogFullError              CATALOG_FULL
    │   └── ConcurrentUpdateError         CONCURRENT_UPDATE     another writer was first; may be retried
    ├── CorruptionError                   never retried
    │   ├── BlobCorruptError              BLOB_CORRUPT
    │   ├── BlobMissingError              BLOB_MISSING
    │   ├── ManifestCorruptError          MANIFEST_CORRUPT
    │   ├── CatalogCorruptError           CATALOG_CORRUPT
    │   ├── EventLogCorruptError          EVENT_LOG_CORRUPT
    │   ├── BackupDamagedError            BACKUP_DAMAGED        what says how a backup is to be restored
    │   └── ReplayMismatchError           REPLAY_MISMATCH
    ├── PluginFailedError                 PLUGIN_FAILED         a plug-in's own code raised
    └── ConfigurationError                CONFIGURATION_INVALID
        └── DatabaseVersionError          DATABASE_VERSION      newer than this software, or not at head

This module knows neither HTTP nor exit codes: each door has one table from these classes to its own answers.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple


class Problem(NamedTuple):
    """One of several things wrong: where (a path or JSON pointer) and what."""

    where: str
    what: str


class ArtifactStoreError(Exception):
    """The base: a stable upper-case ``code``, a sentence for people, and a hint where one helps.

    ``problems`` lists every offender when one request has several.
    """

    code: ClassVar[str] = "ARTIFACTSTORE_ERROR"
    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str, *, hint: str | None = None, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint
        self.problems = problems


class InvalidRequestError(ArtifactStoreError):
    """The caller can mend it."""

    code = "INVALID_REQUEST"


class DigestInvalidError(InvalidRequestError):
    """Text that is not a digest."""

    code = "DIGEST_INVALID"
    default_hint = "A digest is written blake3:<64 hex digits> or sha256:<64 hex digits>."


class DigestMismatchError(InvalidRequestError):
    """Bytes sent are not the bytes announced."""

    code = "DIGEST_MISMATCH"
    default_hint = "Send the bytes again; if it repeats, the announced digest or size is wrong."


class PathInvalidError(InvalidRequestError):
    """One or more logical paths break the rules of ``domain.paths``."""

    code = "PATH_INVALID"
    default_hint = "Rename the files named above; docs/reference/manifest.md lists the rules for paths."


class FileUnreadableError(InvalidRequestError):
    """A file that cannot be read as a regular file."""

    code = "FILE_UNREADABLE"
    default_hint = "Only readable regular files can be stored: mend its permissions, or leave it out."


class FileChangedError(InvalidRequestError):
    """A file that changed, grew or vanished while it was read."""

    code = "FILE_CHANGED"
    default_hint = "Wait until the run has finished writing, then run the command again."


class LinkInvalidError(InvalidRequestError):
    """A symbolic link that leaves its directory, loops, or points at nothing."""

    code = "LINK_INVALID"
    default_hint = "Replace the link by the file itself, or remove it."


class LimitExceededError(InvalidRequestError):
    """More, larger or deeper than the settings allow."""

    code = "LIMIT_EXCEEDED"


class PackageInvalidError(InvalidRequestError):
    """A producer, external id, subject or role that breaks its rule."""

    code = "PACKAGE_INVALID"


class MetadataInvalidError(InvalidRequestError):
    """Package metadata that violates its schema, or cannot be written canonically."""

    code = "METADATA_INVALID"
    default_hint = "Each problem starts with the JSON pointer of the value to change."


class SchemaInvalidError(InvalidRequestError):
    """A JSON Schema that cannot be registered."""

    code = "SCHEMA_INVALID"


class ManifestInvalidError(InvalidRequestError):
    """Bytes that are not a manifest in the canonical profile."""

    code = "MANIFEST_INVALID"


class RangeInvalidError(InvalidRequestError):
    """A byte range outside the object."""

    code = "RANGE_INVALID"


class RetentionInvalidError(InvalidRequestError):
    """An unknown retention class, or an extension that is not later."""

    code = "RETENTION_INVALID"


class PlanInvalidError(InvalidRequestError):
    """A package that says it is a retention plan is none."""

    code = "PLAN_INVALID"
    default_hint = '`artifactstore retention plan` makes one; "plan_digest" in its answer is what to apply.'


class DestinationInvalidError(InvalidRequestError):
    """`get` cannot write there."""

    code = "DESTINATION_INVALID"
    default_hint = "Choose another destination; the directory above it must exist and be writable."


class RunDirectoryError(InvalidRequestError):
    """A run directory with missing or contradictory files."""

    code = "RUN_DIRECTORY_INVALID"


class BackendUnknownError(InvalidRequestError):
    """No backend is configured under this name."""

    code = "BACKEND_UNKNOWN"
    default_hint = "Backends have the names that `ARTIFACTSTORE_BACKENDS_CONFIG_PATH` gives them."


class ObservationError(InvalidRequestError):
    """What a plug-in says of an observation is not what the contract takes."""

    code = "INPUT_INVALID"
    default_hint = "docs/guides/write-a-plugin.md says what each member may be."


class PayloadTooLargeError(ObservationError):
    """An envelope's payload has more bytes than are kept beside the metadata."""

    code = "PAYLOAD_TOO_LARGE"
    default_hint = "Keep the statement, and record what is larger as a file of a package."


class ProvenanceError(ObservationError):
    """An attempt to say, set or take along who a plug-in is: the context alone knows."""

    code = "PROVENANCE"
    default_hint = "The host stamps the plug-in's name and version; hand in the contract's own types and nothing else."


class LocationKindUnknownError(ObservationError):
    """No installed plug-in registers this kind of location."""

    code = "LOCATION_KIND_UNKNOWN"
    default_hint = "`artifactstore plugin list` shows what is registered."


class PathIdInvalidError(ObservationError):
    """A path id that its location kind refuses."""

    code = "PATH_ID_INVALID"


class IdentifierKindUnknownError(ObservationError):
    """No installed plug-in registers this kind of identifier."""

    code = "IDENTIFIER_KIND_UNKNOWN"
    default_hint = "`artifactstore plugin list` shows what is registered."


class RoleInvalidError(ObservationError):
    """No installed plug-in registers this role."""

    code = "ROLE_INVALID"
    default_hint = "`artifactstore plugin list` shows what is registered."


class EmitGuardError(InvalidRequestError):
    """An event that a plug-in may not emit. ``reason`` says which rule: ``namespace``, ``payload`` or ``subject``."""

    code = "EMIT_GUARD"
    default_hint = "A plug-in's events are called plugin.<its name>.<what happened>."

    def __init__(self, message: str, *, reason: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint, problems=(Problem("reason", reason),))
        self.reason = reason


class UsageError(InvalidRequestError):
    """A call that makes no sense as it stands."""

    code = "USAGE"


class ArchiveInvalidError(InvalidRequestError):
    """A ZIP archive that is not strictly one of stored entries."""

    code = "ARCHIVE_INVALID"
    default_hint = "docs/reference/http-api.md says which archives are taken."


class RequestInvalidError(InvalidRequestError):
    """An HTTP request that cannot be understood."""

    code = "REQUEST_INVALID"
    default_hint = "docs/reference/http-api.md and /docs of the server describe each request."


class RequestTimeoutError(RequestInvalidError):
    """A request body that came too slowly."""

    code = "REQUEST_TIMEOUT"
    retryable = True
    default_hint = "Send at least 1 KiB a second; a resumable upload keeps what has arrived."


class PreconditionError(RequestInvalidError):
    """The representation is not the one the condition asks for."""

    code = "PRECONDITION_FAILED"
    default_hint = ""


class MediaTypeError(RequestInvalidError):
    """A request body of a type that this endpoint does not take."""

    code = "MEDIA_TYPE_UNSUPPORTED"


class HostRefusedError(RequestInvalidError):
    """``Host`` is not a name this server answers to."""

    code = "HOST_REFUSED"
    default_hint = "Use a name of ARTIFACTSTORE_ALLOWED_HOSTS, or have it added there."


class MethodNotAllowedError(RequestInvalidError):
    """A method that the resource does not know."""

    code = "METHOD_NOT_ALLOWED"

    def __init__(self, message: str, *, hint: str | None = None, allowed: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.allowed = allowed
        """The methods that it knows."""


class NotFoundError(ArtifactStoreError):
    """What was asked for is not here."""

    code = "NOT_FOUND"


class PackageUnknownError(NotFoundError):
    """No package has this id."""

    code = "PACKAGE_UNKNOWN"
    default_hint = "`artifactstore list` shows the packages of this store."


class FileUnknownError(NotFoundError):
    """The package has no file of this path."""

    code = "FILE_UNKNOWN"
    default_hint = "`artifactstore show ID` lists a package's files."


class MetadataSchemaUnknownError(NotFoundError):
    """No metadata schema is registered under this slug."""

    code = "SCHEMA_UNKNOWN"
    default_hint = "`artifactstore schema register SLUG FILE` registers one; `schema list` shows what is there."


class HoldUnknownError(NotFoundError):
    """The package has no such active hold."""

    code = "HOLD_UNKNOWN"
    default_hint = "`artifactstore retention show ID` lists a package's holds."


class PlanUnknownError(NotFoundError):
    """No retention plan has this digest."""

    code = "PLAN_UNKNOWN"
    default_hint = '`artifactstore retention plan` makes one; "plan_digest" in its answer is what to apply.'


class DutyUnknownError(NotFoundError):
    """No duty has this name."""

    code = "DUTY_UNKNOWN"
    default_hint = "`artifactstore status` shows the duties that there are."


class UploadUnknownError(NotFoundError):
    """The package has no such upload."""

    code = "UPLOAD_UNKNOWN"
    default_hint = "`POST .../uploads` begins one; it ends with its package, after 24 hours at most."


class BackupUnknownError(NotFoundError):
    """There is no backup here, or no such snapshot in it."""

    code = "BACKUP_UNKNOWN"
    default_hint = "`artifactstore backup TARGET --list` names the snapshots that are there."


class TokenUnknownError(NotFoundError):
    """No token has this name."""

    code = "TOKEN_UNKNOWN"
    default_hint = "`artifactstore token list` shows the tokens."


class SourceUnknownError(NotFoundError):
    """No source has this id, or none that the caller may see."""

    code = "SOURCE_UNKNOWN"


class EnvelopeUnknownError(NotFoundError):
    """No envelope has this id, or none that the caller may see."""

    code = "ENVELOPE_UNKNOWN"


class PluginUnknownError(NotFoundError):
    """No installed plug-in has this name."""

    code = "PLUGIN_UNKNOWN"
    default_hint = "`artifactstore plugin list` shows those that are installed."


class SubscriptionUnknownError(NotFoundError):
    """No subscription has this name."""

    code = "SUBSCRIPTION_UNKNOWN"
    default_hint = "`artifactstore subscription list` shows them."


class AccessError(ArtifactStoreError):
    """The caller may not do this."""

    code = "ACCESS_DENIED"


class UnauthenticatedError(AccessError):
    """No token, or one that is unknown, expired or revoked."""

    code = "UNAUTHENTICATED"
    default_hint = "Set ARTIFACTSTORE_API_TOKEN; `artifactstore token create` on the server makes a token."


class ForbiddenError(AccessError):
    """The token does not allow this."""

    code = "FORBIDDEN"
    default_hint = "GET /whoami says what the token allows."


class CapabilityDeniedError(AccessError):
    """The host's configuration does not grant a plug-in what it asks for."""

    code = "CAPABILITY_DENIED"
    default_hint = "The operator grants it: ARTIFACTSTORE_PLUGIN_CAPABILITIES=<plug-in>=ingest."


class ConflictError(ArtifactStoreError):
    """The request contradicts what is already recorded."""

    code = "CONFLICT"


class RunChangedError(ConflictError):
    """The same external id is recorded with other content."""

    code = "RUN_CHANGED"
    default_hint = "A package is immutable. Use another external id, or --revision to record this as its next revision."


class PackageExpiredError(ConflictError):
    """The package has passed its retention and is marked for removal."""

    code = "PACKAGE_EXPIRED"
    default_hint = "Use --revision to record the same content as a new revision."


class PackageDeletedError(ConflictError):
    """The package was deleted; only its tombstone is left."""

    code = "PACKAGE_DELETED"
    default_hint = "Use --revision to record the same content as a new revision."


class QuotaExceededError(ConflictError):
    """The package would bring its producer's packages beyond what the configuration lets them come to."""

    code = "QUOTA_EXCEEDED"
    default_hint = "Nothing was recorded. Delete packages that are not needed, or ask the operator for a larger quota."


class PlanNotApprovedError(ConflictError):
    """The configuration asks for a second person's approval of a retention plan, and there is none."""

    code = "PLAN_NOT_APPROVED"
    default_hint = "Have another run `artifactstore retention apply PLAN_DIGEST --approve`."


class NotDestroyedError(ConflictError):
    """Nothing certifies the destruction of a package yet: bytes of it are there."""

    code = "NOT_DESTROYED"
    default_hint = "`artifactstore collect --apply` removes what nothing refers to."


class PackageStateError(ConflictError):
    """The package's state does not allow this."""

    code = "PACKAGE_STATE"


class SchemaConflictError(ConflictError):
    """Another schema is registered under this slug."""

    code = "SCHEMA_CONFLICT"
    default_hint = "A registered schema is immutable: register the new one under a new slug, such as name.v2."


class DestinationExistsError(ConflictError):
    """`get` never overwrites."""

    code = "DESTINATION_EXISTS"
    default_hint = "Choose a destination that does not exist yet."


class PackageIncompleteError(ConflictError):
    """Declared files have not arrived."""

    code = "PACKAGE_INCOMPLETE"
    default_hint = "Send the files named above, then finalize again."


class PathTakenError(ConflictError):
    """The open package has other content at this path."""

    code = "PATH_TAKEN"
    default_hint = "Begin another package; what a path has received is not replaced."


class UploadOffsetError(ConflictError):
    """The upload stands elsewhere."""

    code = "UPLOAD_OFFSET"
    default_hint = "HEAD says where the upload stands; go on from there."

    def __init__(self, message: str, *, offset: int = 0) -> None:
        super().__init__(message)
        self.offset = offset
        """Where it stands, in bytes."""


class IdempotencyMismatchError(ConflictError):
    """The idempotency key was used for another request."""

    code = "IDEMPOTENCY_MISMATCH"
    default_hint = "Use a new key for a new request."


class DutyRunningError(ConflictError):
    """The duty is running already, by hand or in a server."""

    code = "DUTY_RUNNING"
    retryable = True
    default_hint = "`artifactstore status` shows who is at it, and what it did when it is done."


class ClaimLostError(ConflictError):
    """Whoever ran the duty was taken for dead, and another process has taken it over."""

    code = "CLAIM_LOST"
    retryable = True
    default_hint = "`artifactstore status` shows who is at it. Are the hosts' clocks right?"


class SubscriptionAheadError(ConflictError):
    """A subscription stands beyond the end of the log: the log is not the one that its events came from."""

    code = "SUBSCRIPTION_AHEAD"
    default_hint = "Was the database restored? `artifactstore subscription replay` says where it goes on."


class StoreNotEmptyError(ConflictError):
    """A backup is restored into a store of which nothing has been recorded yet."""

    code = "STORE_NOT_EMPTY"
    default_hint = "Name an empty database in ARTIFACTSTORE_DATABASE_URL, or another ARTIFACTSTORE_HOME."


class TokenExistsError(ConflictError):
    """A token of this name is in use."""

    code = "TOKEN_EXISTS"
    default_hint = "Choose another name, or revoke that token first."


class ServiceError(ArtifactStoreError):
    """A server's answer that makes no sense."""

    code = "SERVICE_FAILED"
    default_hint = "Is ARTIFACTSTORE_API_URL the address of an artifactstore server?"


class ServiceUnavailableError(ServiceError):
    """The server cannot be reached."""

    code = "SERVICE_UNAVAILABLE"
    retryable = True
    default_hint = "Is it running? Is ARTIFACTSTORE_API_URL right? Run the same command again; what arrived is kept."


class ServiceBusyError(ServiceError):
    """The server has too many requests at once."""

    code = "SERVICE_BUSY"
    retryable = True
    default_hint = "Try again a little later."


class WebhookFailedError(ArtifactStoreError):
    """A webhook that cannot be reached, did not answer 2xx, or whose format made nothing that can be sent."""

    code = "WEBHOOK_FAILED"
    retryable = True
    default_hint = "`artifactstore webhook deliveries NAME` shows the attempts; the event comes again by itself."


class WebhookRefusedError(WebhookFailedError):
    """A webhook at an address that is neither public nor allowed. Nothing was sent to it."""

    code = "WEBHOOK_REFUSED"
    retryable = False
    default_hint = "If it may be there, add the network to its allow_networks."


class StorageError(ArtifactStoreError):
    """A backend or the database failed; the cause is chained."""

    code = "STORAGE_FAILED"


class ObjectNotFoundError(StorageError):
    """The backend has no such object. If the catalog says it should, that is a ``CorruptionError``."""

    code = "OBJECT_NOT_FOUND"


class StorageUnavailableError(StorageError):
    """The backend did not answer in time; the same call may succeed later."""

    code = "STORAGE_UNAVAILABLE"
    retryable = True
    default_hint = "Nothing was recorded; run the same command again."


class StorageDeniedError(StorageError):
    """The backend refused access."""

    code = "STORAGE_DENIED"
    default_hint = "Mend the permissions of the storage location, then run the same command again."


class StorageFullError(StorageError):
    """The backend has no room left."""

    code = "STORAGE_FULL"
    default_hint = "Nothing was recorded. Make room, then run the same command again."


class ClocksDisagreeError(StorageError):
    """Another clock is more than five minutes from that of this host, or that has leapt further than is believed."""

    code = "CLOCKS_DISAGREE"
    default_hint = "Nothing was removed. Set the clocks by one source of time, then run the same command again."


class BackendRefusedError(StorageError):
    """A probe found that the backend would lose or alter data."""

    code = "BACKEND_REFUSED"
    default_hint = "`artifactstore storage probe` says why, and measures again when the backend was mended."


class CatalogUnavailableError(StorageError):
    """The database is busy or did not answer; the same call may succeed later."""

    code = "CATALOG_UNAVAILABLE"
    retryable = True
    default_hint = "Nothing was recorded; run the same command again."


class CatalogFullError(StorageError):
    """The database has no room left."""

    code = "CATALOG_FULL"
    default_hint = "Nothing was recorded. Make room, then run the same command again."


class ConcurrentUpdateError(StorageError):
    """Another writer recorded first what this transaction relied on being otherwise; trying again resolves it."""

    code = "CONCURRENT_UPDATE"
    retryable = True
    default_hint = "Nothing was recorded; run the same command again."


class CorruptionError(ArtifactStoreError):
    """What is stored is not what was stored. Never retried, never passed over."""

    code = "CORRUPTION"


class BlobCorruptError(CorruptionError):
    """Stored bytes no longer match their digest."""

    code = "BLOB_CORRUPT"
    default_hint = "Run `artifactstore verify --all`; ingesting the original files again heals the blob."


class BlobMissingError(CorruptionError):
    """The catalog names bytes that no backend has."""

    code = "BLOB_MISSING"
    default_hint = "Run `artifactstore verify --all`; ingesting the original files again heals the blob."


class ManifestCorruptError(CorruptionError):
    """A stored manifest is missing, altered, or disagrees with the catalog."""

    code = "MANIFEST_CORRUPT"
    default_hint = "Run `artifactstore verify --all`; ingesting the original files again heals the manifest."


class CatalogCorruptError(CorruptionError):
    """The database itself is damaged, or is not a database."""

    code = "CATALOG_CORRUPT"
    default_hint = "Restore the database from a backup."


class EventLogCorruptError(CorruptionError):
    """The event log's sequence, chain or payload digests do not hold."""

    code = "EVENT_LOG_CORRUPT"
    default_hint = "Restore the database from a backup; the log was altered outside artifactstore."


class BackupDamagedError(CorruptionError):
    """The document of a snapshot, its log, its lists or its rows are missing or altered in the backup."""

    code = "BACKUP_DAMAGED"
    default_hint = "`artifactstore backup TARGET --list` names the other snapshots; --verify mends what the store has."


class ReplayMismatchError(CorruptionError):
    """Replaying the event log does not reproduce the tables."""

    code = "REPLAY_MISMATCH"
    default_hint = "Rows were changed outside artifactstore; restore the database from a backup."


class PluginFailedError(ArtifactStoreError):
    """A plug-in's own code raised what is not one of these errors; the message names the plug-in and what kind it was.

    What it said is its cause: it may hold what no caller over HTTP is to read.
    """

    code = "PLUGIN_FAILED"
    default_hint = "This is a defect of the plug-in; nothing was recorded. On the command line --debug shows it."


class ConfigurationError(ArtifactStoreError):
    """A setting that is missing, malformed or contradictory."""

    code = "CONFIGURATION_INVALID"
    default_hint = "docs/reference/settings.md lists every setting."


class DatabaseVersionError(ConfigurationError):
    """The database's schema is newer than this software, or has not been upgraded."""

    code = "DATABASE_VERSION"
