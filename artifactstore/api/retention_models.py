"""What is sent and answered about how long packages stay, as the OpenAPI document says it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from artifactstore.api import models
from artifactstore.api.field_types import Blake3, Time


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Retention(_Answer):
    """What decides how long a package stays."""

    package_id: str
    status: str
    retention_class: str | None
    duration_days: int | None
    expires_at: Time | None
    expired_at: Time | None
    holds: list[models.Hold]
    pin: models.Pin | None


class HoldPlaced(Retention):
    """The hold's id, and the retention then."""

    hold_id: str


class HoldList(_Answer):
    """A package's holds, oldest first."""

    holds: list[models.Hold]


class Swept(_Answer):
    """What was marked, or would be."""

    expired: list[str] | None = None
    would_expire: list[str] | None = None
    count: int


class Plan(_Answer):
    """A retention plan that is stored, what it was made of and what it would do."""

    plan_digest: Blake3
    package_id: str
    reused_existing: bool
    as_of: Time
    log_seq: int
    keep_newest: dict[str, int]
    repack_percent: int
    delete: int
    keep: int
    total_bytes: int
    frees_bytes: int
    frees_by_backend: dict[str, int]
    objects: int
    repacked: int
    blobs: int
    blob_bytes: int
    shared_blobs: int
    shared_bytes: int
    packages_due: int = Field(description="A sweep would mark them now, up to 1,000; no plan has them before.")


class Approved(_Answer):
    """Who has agreed to a plan."""

    plan_digest: Blake3
    approved_by: list[str]


class Skipped(_Answer):
    """A package that was left as it is, and why."""

    package_id: str
    reason: str


class Applied(_Answer):
    """What was done of a plan."""

    plan_digest: Blake3
    deleted: int
    already_deleted: int
    skipped: int
    skipped_first: list[Skipped]
    kept: int
