"""A process whose children plan, apply and collect, and are killed: ``python -m tests.retention_process``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.registry.applying import apply_plan
from artifactstore.registry.collecting import collect
from artifactstore.registry.duties import run_now
from artifactstore.registry.planning import make_plan
from artifactstore.registry.store_duties import COLLECT
from tests.killed_children import kill_each
from tests.retention import without_grace

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
            run_now(without_grace(registry), COLLECT)
        case ["collect"]:
            collect(without_grace(registry), wait_s=0, unrecorded=True)


if __name__ == "__main__":
    kill_each(act)
