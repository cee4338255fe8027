"""What is asked and answered of the upkeep of a store, as the OpenAPI document says it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from artifactstore.api.field_types import Slug


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class WhatToReconcile(_Request):
    """Every backend, or one, and which of the differences to name."""

    backend: Slug | None = None
    after: int = Field(default=0, ge=0, lt=2**63)
    limit: int = Field(default=100, ge=1, le=10_000)


class WhatToHeal(_Request):
    """One package, which is read back first, or all that is recorded as damaged."""

    package_id: str | None = Field(default=None, max_length=128)


class Sealed(_Answer):
    """What was sealed."""

    segments: int
    events: int
    sealed_up_to: int


class Reconciled(_Answer):
    """How backends differ from the catalog."""

    status: Literal["clean", "different"]
    backends: list[str]
    agreeing: dict[str, int]
    held_by_pushes: dict[str, int]
    young: dict[str, int]
    totals: dict[str, dict[str, int]]
    differences: list[dict[str, Any]]
    next_after: int | None
    unreachable: list[dict[str, str]]


class Healed(_Answer):
    """What was healed, and what could not be."""

    status: Literal["healed", "not healed"]
    objects: int
    found_sound: int
    blobs: int
    bytes_stored: int
    superseded: int
    not_healed: list[dict[str, Any]]
    refused: list[dict[str, str]]
