"""Bytes that another database speaks for: what nothing here names may be all that is left of a store.

A database that was lost, set back to an older copy, or put beside another one on the same prefix knows nothing of what
the backend has. Segments of the event log say so: of a log that is not ours, or of a course that ours did not take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.catalog import collecting
from artifactstore.domain.event import ObjectRef
from artifactstore.domain.segment import Segment
from artifactstore.errors import ConfigurationError, EventLogCorruptError
from artifactstore.storage.port import ObjectKind

if TYPE_CHECKING:
    from artifactstore.registry.registry import Registry
    from artifactstore.storage.port import ObjectInfo

_HINT = (
    "Was the database lost, or set back? `artifactstore rebuild --from-storage` fills an empty one. If nobody needs"
    " what that log speaks of, remove the segment first."
)


def require_no_other_log(registry: Registry, name: str) -> None:
    """Raise ``ConfigurationError`` if a backend has a segment that this database's log did not come to."""
    for info in registry.backend(name).list(ObjectKind.SEGMENT):
        if not _is_of_our_log(registry, name, info):
            raise ConfigurationError(
                f"{info.key} in backend {name!r} is of an event log that is not this database's, so what this database"
                " does not know there may be another's",
                hint=_HINT,
            )


def require_some_log(registry: Registry, name: str) -> None:
    """Raise ``ConfigurationError`` if nothing was ever recorded, so that the database cannot say what is left over."""
    with registry.catalog.snapshot() as queries:
        if not queries.latest_seq():
            raise ConfigurationError(
                f"backend {name!r} has objects, and in this database nothing was ever recorded",
                hint="Was it lost? `artifactstore rebuild --from-storage` fills it from what the backend has.",
            )


def _is_of_our_log(registry: Registry, name: str, info: ObjectInfo) -> bool:
    reference = ObjectRef(name, info.key.kind, info.key.digest, info.size_bytes)
    with registry.catalog.snapshot() as queries:
        if collecting.is_known(queries.connection, reference):
            return True
        try:
            segment = Segment.decode(registry.backend(name).read(info.key))
        except EventLogCorruptError:
            return False
        return (
            segment.log_id == queries.log_id()
            and segment.last_seq <= queries.latest_seq()
            and segment.chain_after == queries.chain_at(segment.last_seq)
        )
