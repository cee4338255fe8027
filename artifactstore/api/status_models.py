"""``GET /status`` and ``GET /usage`` as the OpenAPI document says it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from artifactstore.api import models
from artifactstore.api.field_types import Moment


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DatabaseState(_Answer):
    """Which database, and whether its tables are those that this version needs."""

    kind: Literal["sqlite", "postgresql"]
    revision: str
    at_head: bool


class LogState(_Answer):
    """The newest event; 0 and null for an empty log."""

    latest_seq: int
    latest_at: Moment | None


class BackendState(_Answer):
    """A backend. Nothing says where it is, or how it is reached."""

    name: str
    scheme: str | None = Field(description="Null if it is recorded and not configured, or cannot be opened.")
    default: bool
    successor: str | None = Field(description="Which backend takes its writes, if it is being emptied.")
    emptied_since: Moment | None
    fell_back_at: Moment | None = Field(description="When reads were last made from another backend in its place.")
    verdict: str | None = Field(description="What the last probe found.")
    probed_at: Moment | None


class DutyState(_Answer):
    """When a duty last ran and runs next, and what it did."""

    name: str
    state: Literal["waiting", "running", "lost", "paused", "off"]
    every_s: float | None
    overdue: bool
    running_by: str | None = Field(description="Host and process id.")
    heartbeat_at: Moment | None
    started_at: Moment | None
    finished_at: Moment | None
    succeeded_at: Moment | None
    outcome: Literal["done", "failed", "interrupted"] | None
    failures: int = Field(description="How many runs failed since the last one that did not.")
    detail: dict[str, Any] | None
    error: dict[str, str] | None
    next_run_at: Moment | None
    paused_at: Moment | None
    paused_by: str | None


class SubscriptionState(_Answer):
    """Who is told what happens: how far, and what stops it."""

    name: str
    installed: bool = Field(description="Whether this server knows the subscriber.")
    position: int | None = Field(description="The event up to which it was told; null if it is new.")
    behind: int | None = Field(description="How many events wait, to 1,000; null where its types are not known.")
    failures: int = Field(description="How many attempts failed since the last one that did not.")
    next_attempt_at: Moment | None
    delivered_at: Moment | None
    error: dict[str, str] | None
    running_by: str | None = Field(description="Host and process id.")


class ScrubState(_Answer):
    """How far reading everything back has come."""

    every_days: int | None = Field(description="Within so many days everything is read; null if it is off.")
    bytes_per_s: int | None = Field(description="The most that is read in a second; null for as much as there is.")
    paused_at: Moment | None
    paused_by: str | None
    last_run_at: Moment | None
    next_run_at: Moment | None = Field(description="Null while it is paused or off.")
    round_began_at: Moment | None
    round_progress: float = Field(description="How much of its objects the round has read, from 0 to 1.")
    last_round_ended_at: Moment | None = Field(description="When everything was last read.")
    days_since_all_was_read: float | None
    coverage: float = Field(description="How much of the store was read within the days there are, from 0 to 1.")
    overdue_at: Moment | None
    overdue: bool
    damage_found: int = Field(description="What the last run has found.")
    damaged_objects: int = Field(description="Recorded as damaged now; 1,000 is so many or more.")


class PlanState(_Answer):
    """The newest retention plan."""

    plan_digest: str
    package_id: str
    made_at: Moment
    delete: int = Field(description="How many packages it deletes.")
    approved_by: list[str]
    waits_for: Literal["approval", "application"] | None


class BacklogState(_Answer):
    """What waits to be done. Packages and objects are counted to 1,000, which means so many or more."""

    packages_due: int = Field(description="A sweep would mark them now.")
    packages_expired: int = Field(description="They are marked and not deleted.")
    expired_not_planned: int = Field(description="Of these, marked since the newest plan was made.")
    plan: PlanState | None
    condemned_objects: int = Field(description="Their bytes are still there.")
    unsealed_events: int
    unsealed_since: Moment | None
    open_packages: int
    subscriptions_behind: int = Field(description="How many subscribers have not been told everything.")


class Finding(_Answer):
    """An event that says that something is damaged."""

    seq: int
    at: Moment
    type: str
    subject: str
    actor: str


class DamageState(_Answer):
    """What is recorded as damaged now, and what was found last."""

    objects: dict[str, int] = Field(description="By kind, to 1,000 together.")
    blobs: int = Field(description="Locations in objects that are otherwise sound, to 1,000.")
    newest: list[Finding] = Field(description="The newest first; what was healed since is among them.")


class BackendSpace(_Answer):
    """What lies in a backend, as the catalog has it."""

    backend: str
    objects: int
    stored_bytes: int
    used_bytes: int = Field(description="What packages have, with what pushes that are under way have sent.")
    dead_objects: int = Field(description="No package has any of them.")
    dead_object_bytes: int
    dead_in_packs_bytes: int = Field(description="What making packs smaller would free.")
    reclaimable_bytes: int = Field(description="What collection could free at most.")
    condemned_objects: int
    condemned_bytes: int = Field(description="Collection has condemned them and not deleted them yet.")


class StoreState(_Answer):
    """The state of the store."""

    seen_at: Moment
    database: DatabaseState
    event_log: LogState
    backends: list[BackendState]
    duties: list[DutyState]
    subscriptions: list[SubscriptionState]
    scrub: ScrubState
    backlog: BacklogState
    damage: DamageState
    plugins_left_out: list[dict[str, str]] = Field(description="Code and message of why this server goes without them.")
    webhooks_left_out: list[dict[str, str]] = Field(description="The same; a server does not start without one.")
    space: list[BackendSpace]
    counts: dict[str, int] = Field(description="Each stops at 1,000, which means so many or more.")


class ProducerUsage(_Answer):
    """What a producer's packages that are not deleted come to."""

    producer: str
    packages: int
    files: int
    logical_bytes: int = Field(description="Of all files.")
    unique_bytes: int | None = Field(None, description="Of different content that no other producer has.")
    shared_bytes: int | None = Field(None, description="Of different content that another producer has too.")
    quota: models.Quota | None = Field(description="Null for a producer without one.")


class Usage(_Answer):
    """Where the bytes are."""

    producers: list[ProducerUsage]
    next_after: str | None
    backends: list[BackendSpace] | None = Field(None, description="For `admin`, and not of one producer.")
