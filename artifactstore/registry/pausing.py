"""Pausing duties: nobody runs one by itself until it is resumed; by hand it is run all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.catalog import duties as rows

if TYPE_CHECKING:
    from artifactstore.registry.registry import Registry


def pause_duty(registry: Registry, name: str) -> None:
    """Let nobody run it by itself. A run that is under way ends within seconds, at its next page."""
    with registry.transaction() as tx:
        rows.note_duty(tx.connection, name, registry.clock())
        rows.pause(tx.connection, name, at=registry.clock(), by=registry.actor)


def resume_duty(registry: Registry, name: str) -> None:
    """Let it be run again when it is due."""
    with registry.transaction() as tx:
        rows.note_duty(tx.connection, name, registry.clock())
        rows.resume(tx.connection, name)
