"""What is sent and answered about how long packages stay, as the OpenAPI document says it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from artifactstore.api import models
from artifactstore.api.field_types import Time


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
