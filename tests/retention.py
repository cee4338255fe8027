"""Packages past their retention, and time that passes, for tests of plans and collection."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from artifactstore.domain.instant import MICROSECONDS_PER_DAY, Instant
from artifactstore.domain.retention import RetentionClass
from artifactstore.registry.applying import DEFAULT_REASON, apply_plan
from artifactstore.registry.ingest import ingest
from artifactstore.registry.planning import make_plan
from artifactstore.registry.retention import sweep
from artifactstore.testing.builders import package_draft, some_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from artifactstore.registry.planning import MadePlan
    from artifactstore.registry.registry import Registry

PRODUCER = package_draft().producer
SMALL = {f"small-{n}": some_bytes(500 + n, n) for n in range(20)}
FILES = {**SMALL, "large.bin": some_bytes(2 * 2**20, 99), "empty": b""}


def push(registry: Registry, files: Mapping[str, bytes] = FILES, name: str = "run-1", **said: str) -> str:
    """A package that is past its retention as soon as it is there, and expires when somebody sweeps."""
    draft = replace(
        package_draft(dict(files), external_id=name), **{"retention_class": RetentionClass.TRANSIENT, **said}
    )
    return ingest(soon_over(registry), draft).package_id


def soon_over(registry: Registry) -> Registry:
    """The same store, where what is transient is kept for no time."""
    days = {**registry.retention.days, RetentionClass.TRANSIENT: 0}
    return replace(registry, retention=replace(registry.retention, days=days))


def later(registry: Registry, days: float) -> Registry:
    """The same store when so many days have passed."""
    after = int(days * MICROSECONDS_PER_DAY)
    return replace(registry, clock=lambda: Instant(registry.clock() + after))


def without_grace(registry: Registry) -> Registry:
    """The same store, where readers are given no time before what is condemned is deleted."""
    return replace(registry, collection=replace(registry.collection, grace_s=0))


def expire(registry: Registry) -> list[str]:
    """Mark what is transient."""
    return sweep(later(registry, 8))


def delete_all_expired(registry: Registry, reason: str = DEFAULT_REASON) -> MadePlan:
    """Mark what is transient and delete it by a plan, which is returned."""
    expire(registry)
    made = make_plan(registry)
    apply_plan(registry, made.digest, reason=reason)
    return made
