"""What is sent and answered, as the OpenAPI document says it.

Requests are checked against these; answers are made by ``artifactstore.documents``: a test compares them with these.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from artifactstore.api.field_types import PATH, PRODUCER, Blake3, Class, Moment, Reason, Sha256, Size, Slug, Time


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


# requests


class FileSketch(_Request):
    """A file as preflight needs it."""

    path: str = PATH
    size: Size
    role: Slug | None = Field(default=None, examples=["content"])
    media_type: str | None = Field(default=None, examples=["text/plain"])
    blake3: Blake3 | None = None
    sha256: Sha256 | None = None


class FileDeclaration(_Request):
    """A file that a package is to have."""

    path: str = PATH
    size: Size
    blake3: Blake3
    sha256: Sha256
    role: Slug | None = Field(default=None, examples=["content"])
    media_type: str | None = Field(default=None, examples=["text/plain"])


class _Package(_Request):
    producer: str = PRODUCER
    external_id: str | None = Field(default=None, description="The producer's own id of the run.", max_length=512)
    subject: str | None = Field(default=None, description="What the run was about.", max_length=512)
    schema_slug: Slug | None = Field(default=None, alias="schema", examples=["ci.build.v1"])
    metadata: dict[str, Any] | None = Field(default=None, examples=[{"branch": "main"}])
    retention_class: Class | None = None
    revision: bool = Field(default=False, description="Changed content may become the next revision.")
    backend: Slug | None = Field(default=None, description="The backend it is to lie in, if not just any.")


class PackageOpening(_Package):
    """A package to open. With ``files`` it is exactly these."""

    files: list[FileDeclaration] | None = None


class PackageSketch(_Package):
    """A package to ask about before anything is hashed."""

    files: list[FileSketch] | None = None


class UploadBeginning(_Request):
    """A resumable upload to begin."""

    path: str = PATH
    size: Size
    role: Slug | None = None
    media_type: str | None = None


class Extension(_Request):
    """A later expiry."""

    new_expires_at: Moment
    reason: Reason


class Explanation(_Request):
    """A reason, for placing or releasing a hold."""

    reason: Reason


class Sweep(_Request):
    """Whether to mark, or only to say what would be marked."""

    dry_run: bool = False
    clock_is_right: bool = False


class WhatToVerify(_Request):
    """Every package and object, or the objects alone."""

    what: Literal["all", "objects"] = "all"


class SchemaRegistration(_Request):
    """A JSON Schema to register under a slug, for good."""

    slug: Slug = Field(examples=["ci.build.v1"])
    json_schema: dict[str, Any] = Field(examples=[{"type": "object"}])


# answers


class Problem(_Answer):
    """A problem document (RFC 9457)."""

    class Offender(_Answer):
        """One of several things wrong."""

        where: str
        what: str

    type: str = Field(examples=["urn:artifactstore:error:PACKAGE_UNKNOWN"])
    title: str
    status: int
    detail: str
    code: str = Field(examples=["PACKAGE_UNKNOWN"])
    hint: str
    retryable: bool
    problems: list[Offender]
    request_id: str


class Receipt(_Answer):
    """What a producer gets back, and all that others need to keep: the id and the digest."""

    package_id: str
    manifest_digest: Blake3
    file_count: int
    total_bytes: int
    stored_bytes: int
    reused_existing: bool
    revision: int


class UploadState(_Answer):
    """Where a resumable upload stands."""

    upload_id: str
    path: str
    offset: int
    size: int


class PushState(_Answer):
    """What is left to do for a package."""

    package_id: str
    status: Literal["open", "finalized"]
    expires_at: Time | None
    missing: list[Blake3]
    uploads: list[UploadState]
    pack_threshold_bytes: int
    receipt: Receipt | None


class ReceivedFile(_Answer):
    """A file that has arrived."""

    path: str
    size: int
    blake3: Blake3
    sha256: Sha256


class ReceivedFiles(_Answer):
    """The files of a form."""

    files: list[ReceivedFile]


class ReceivedArchive(_Answer):
    """What an archive held."""

    files: int
    bytes: int


class Obstacle(_Answer):
    """One thing a push would be refused for."""

    code: str
    where: str
    what: str


class Limits(_Answer):
    """What a package may have at most, and the payload of an envelope."""

    max_files: int
    max_file_bytes: int
    pack_threshold_bytes: int
    max_payload_bytes: int


class PackageUsage(_Answer):
    """A package's different content: what no other package has, and what another has too."""

    unique_bytes: int
    shared_bytes: int


class Quota(_Answer):
    """How many logical bytes a producer's packages may come to, and do."""

    quota_bytes: int
    used_bytes: int
    free_bytes: int


class Preflight(_Answer):
    """What a push would meet."""

    ok: bool
    problems: list[Obstacle]
    limits: Limits
    quota: Quota | None
    """None for a producer without one."""


class Package(_Answer):
    """A package without its files."""

    package_id: str
    manifest_digest: Blake3 | None
    status: Literal["open", "finalized", "expired", "deleted"]
    producer: str
    external_id: str | None
    revision: int | None
    supersedes: str | None
    subject: str | None
    schema_slug: str | None = Field(alias="schema")
    file_count: int
    total_bytes: int
    stored_bytes: int
    retention_class: str | None
    expires_at: Time | None
    opened_at: Time
    opened_by: str
    finalized_at: Time | None


class Hold(_Answer):
    """One hold."""

    hold_id: str
    in_force: bool
    reason: str
    placed_at: Time
    placed_by: str
    released_at: Time | None
    released_by: str | None
    release_reason: str | None


class Pin(_Answer):
    """What keeps a package out of every plan."""

    reason: str
    pinned_at: Time
    pinned_by: str


class PackagePage(_Answer):
    """A page of packages."""

    packages: list[Package]
    next_after: str | None


class File(_Answer):
    """One file of a package."""

    file_id: str
    path: str
    role: str
    media_type: str
    size: int
    blake3: Blake3
    sha256: Sha256


class FilePage(_Answer):
    """A page of files in path order."""

    files: list[File]
    next_after: int | None


class Schema(_Answer):
    """A registered metadata schema without its text."""

    slug: str
    registered_at: Time
    registered_by: str


class SchemaDetails(Schema):
    """A registered metadata schema."""

    json_schema: dict[str, Any]


class SchemaPage(_Answer):
    """A page of schemas by slug."""

    schemas: list[Schema]
    next_after: str | None


class Event(_Answer):
    """One event."""

    seq: int
    at: Time
    type: str
    subject: str
    actor: str
    payload_digest: Blake3
    chain: str
    payload: dict[str, Any] | None = None


class EventPage(_Answer):
    """A page of the event log."""

    events: list[Event]
    next_after: int | None


class StoredObject(_Answer):
    """One stored object."""

    backend: str
    kind: str
    digest: Blake3
    size: int
    status: str


class ObjectPage(_Answer):
    """A page of the stored objects."""

    objects: list[StoredObject]
    next_after: int | None


class Rights(_Answer):
    """What the caller can do; ``*`` is everyone's packages."""

    read: Literal["*"] | list[str]
    write: Literal["*"] | list[str]
    admin: bool


class WhoAmI(_Answer):
    """The caller."""

    name: str
    scopes: list[str]
    can: Rights
    expires_at: Time | None


class Health(_Answer):
    """The process runs."""

    status: Literal["ok"]
    version: str


class Check(_Answer):
    """One condition of being ready."""

    ok: bool
    detail: str


class Readiness(_Answer):
    """Whether requests can be served."""

    status: Literal["ready", "not ready"]
    checks: dict[str, Check]


class Damage(_Answer):
    """One thing that is not as recorded, and what it concerns."""

    finding: str
    backend: str
    object_key: str
    package_id: str | None
    path: str | None
    expected_blake3: Blake3 | None
    found_blake3: Blake3 | None
    expected_sha256: Sha256 | None
    found_sha256: Sha256 | None


class Verification(_Answer):
    """What was read back, and what was found wrong. ``incomplete``: what could be read is sound."""

    class Unreachable(_Answer):
        """A backend that gave no answer. Its message is told to whoever may read everything."""

        backend: str
        code: str
        message: str | None

    status: Literal["verified", "damaged", "incomplete"]
    packages: int
    files: int
    objects: int | None
    bytes_read: int | None
    superseded: int | None
    damage: list[Damage]
    unreachable: list[Unreachable]


class Replayed(_Answer):
    """The tables follow from the log."""

    status: Literal["reproduced"]
    events: int
    log_id: str
    chain: str
