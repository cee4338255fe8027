"""A process whose children plan, apply and collect, and are killed: ``python -m tests.retention_process``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from artifactstore.domain.collection import CollectionPolicy
from artifactstore.registry.applying import apply_plan
from artifactstore.registry.collecting import collect
from artifactstore.registry.duties import run_now
from artifactstore.registry.planning import make_plan
from artifactstore.registry.store_duties import COLLECT
from tests.killed_children import kill_each

if TYPE_CHECKING:
    from artifactstore.registry.registry import Registry


def act(registry: Registry, told: list[str]) -> None:
    """What the line says."""
    match told:
        case ["plan"]:
            make_plan(registry)
        case ["apply", digest]:
            apply_plan(registry, digest)
        case ["duty"]:
            run_now(replace(registry, collection=CollectionPolicy(grace_s=0)), COLLECT)
        case ["collect"]:
            collect(replace(registry, collection=CollectionPolicy(grace_s=0)), wait_s=0, unrecorded=True)


if __name__ == "__main__":
    kill_each(act)
