"""Whether requests can be served: the database answers and is at head, the storage holds what is recorded and works.

To work is to take bytes and give them back. And whether what is stored has been read back lately, where that is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

from artifactstore.catalog.contributions import head
from artifactstore.errors import ArtifactStoreError, BlobCorruptError, DatabaseVersionError
from artifactstore.registry.ingest import check_storage
from artifactstore.registry.placing import placed
from artifactstore.registry.scrubbing import scrub_status
from artifactstore.storage.port import ObjectKey, ObjectKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from artifactstore.registry.registry import Registry


class Check(NamedTuple):
    """One condition. ``detail`` is for anyone, so it names no place; ``cause`` is for the operator."""

    ok: bool
    detail: str
    cause: str = ""


def _check_database(registry: Registry) -> Check:
    """Whether it answers and is at head."""
    return _check(registry, _ask_database)


def _check_backend(registry: Registry) -> Check:
    """Whether the backend that takes writes takes bytes and gives them back. Nothing of the content is touched."""
    return _check(registry, lambda registry: _round_trip(placed(registry)))


def _check_scrub(registry: Registry) -> Check:
    """Whether everything that is stored has been read back within the time there is; always, if that is not asked.

    Damage is told and stops nobody: it is found by the object, and all the others can be served.
    """
    if not registry.ready_needs_scrub:
        return Check(True, "not asked")
    try:
        status = scrub_status(registry)
    except ArtifactStoreError as error:
        return Check(False, error.code, error.message)
    if status.is_overdue:
        return Check(False, "overdue", f"of what is stored {status.coverage:.0%} was read in {status.every_days} days")
    damaged = f", {status.damaged_objects} damaged" if status.damaged_objects else ""
    return Check(True, f"{'in time' if status.every_days else 'off'}{damaged}")


CHECKS: dict[str, Callable[[Registry], Check]] = {
    "database": _check_database,
    "storage": _check_backend,
    "scrub": _check_scrub,
}
"""Each condition by name."""


def _check(registry: Registry, ask: Callable[[Registry], str]) -> Check:
    try:
        return Check(True, ask(registry))
    except ArtifactStoreError as error:
        return Check(False, error.code, error.message)


def _ask_database(registry: Registry) -> str:
    with registry.catalog.snapshot() as queries:
        if (revision := queries.schema_revision()) != head():
            raise DatabaseVersionError(f"the database is at revision {revision}, and this version needs {head()}")
        queries.latest_seq()
    return "at head"


def _round_trip(registry: Registry) -> str:
    """Look for the object that was recorded last; put, read and delete a part, the one kind that nobody keeps."""
    check_storage(registry)
    data = f"readiness {registry.new_id()}".encode()
    key = ObjectKey(ObjectKind.PART, blake3(data).digest())
    with registry.store.stage(blake3()) as stage:
        stage.write(data)
        stage.commit(key, len(data))
    try:
        if registry.store.read(key) != data:
            raise BlobCorruptError("what has just been written reads otherwise")
    finally:
        registry.store.delete(key)
    return "readable and writable"
