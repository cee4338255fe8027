"""What built-in pilots contribute to the catalog: events, their projections and tables, and the migrations of these.

A contribution is registered before any database is opened. From then on there is one truth: its events stand in
``EVENT_TYPES``, its projections and natural rows beside the core's, and a database is at head when it has its tables,
too. Nothing here knows who contributes; only ``built_in`` registers.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from artifactstore.catalog import projections, replay
from artifactstore.catalog.migrations import CORE, Branch
from artifactstore.domain.events import EVENT_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from sqlalchemy import MetaData

    from artifactstore.catalog.database import Connection
    from artifactstore.domain.event import Event

    Projection = Callable[[Connection, Any, str], None]


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one pilot contributes."""

    name: str
    """The plug-in's."""
    projections: Mapping[type[Event], Projection]
    """Each of its events, and how its tables follow from it."""
    natural_rows: Mapping[str, str]
    """See ``replay.NATURAL_ROWS``: each of its tables."""
    tables: str
    """The module that defines them; importing it is slow."""
    branch: Branch
    """Their migrations."""


_REGISTERED: dict[str, Contribution] = {}


def register(contribution: Contribution) -> None:
    """Make it part of the catalog, for good. What is registered already may be again; a name is taken once."""
    if _REGISTERED.get(contribution.name) is contribution:
        return
    kinds = {kind.type: kind for kind in contribution.projections}
    taken = {
        *(kinds.keys() & EVENT_TYPES.keys()),
        *(contribution.natural_rows.keys() & replay.NATURAL_ROWS.keys()),
        *(set(contribution.branch.revisions) & {revision for branch in branches() for revision in branch.revisions}),
        *({contribution.name} & _REGISTERED.keys()),
    }
    if taken:
        raise ValueError(f"{contribution.name} contributes {', '.join(sorted(taken))}, which is taken")
    _REGISTERED[contribution.name] = contribution
    EVENT_TYPES.update(kinds)
    for kind, projection in contribution.projections.items():
        projections.contribute(kind, projection)
    replay.NATURAL_ROWS.update(contribution.natural_rows)


def contribution_of(name: str) -> Contribution | None:
    """What the plug-in of this name contributes, if anything."""
    return _REGISTERED.get(name)


def branches() -> tuple[Branch, ...]:
    """Every line of migrations, in the order in which they are applied: the core's first."""
    return (CORE, *(contribution.branch for contribution in _REGISTERED.values()))


def head() -> str:
    """Where a database must be, as ``in_words`` says it."""
    return ", ".join(branch.head for branch in branches())


def in_words(found: Collection[str]) -> str:
    """Where a database is that has these revisions: one of each branch, the core's first; what is not known last."""
    known = [revision for branch in branches() for revision in branch.revisions]
    return ", ".join(sorted(found, key=lambda revision: (*known, revision).index(revision)))


def all_tables() -> MetaData:
    """The definitions of every table, contributed ones included."""
    from artifactstore.catalog import tables

    for contribution in _REGISTERED.values():
        import_module(contribution.tables)
    return tables.Package.metadata
