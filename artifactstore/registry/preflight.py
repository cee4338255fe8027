"""Preflight: what a push would meet, all at once, before anything is hashed or sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from artifactstore.domain.canonical import canonical_object
from artifactstore.domain.metadata_schema import check_metadata
from artifactstore.domain.package import check_draft, check_sizes
from artifactstore.domain.paths import check_paths
from artifactstore.errors import ArtifactStoreError, Problem
from artifactstore.registry.ingest import check_storage
from artifactstore.registry.metadata_schemas import schema_for
from artifactstore.registry.placing import placed
from artifactstore.registry.quotas import quota_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from artifactstore.domain.package import PackageDraft
    from artifactstore.registry.registry import Registry


class Obstacle(NamedTuple):
    """One thing a push would be refused for."""

    code: str
    where: str
    what: str


def preflight(
    registry: Registry, draft: PackageDraft, backend: str | None, sizes: Sequence[int], *, may_write: Callable[[], None]
) -> list[Obstacle]:
    """Every obstacle, none if the push would go through. ``may_write`` raises if the caller has no right to it.

    Then nothing is asked of the storage: which backends there are and how they are is told to those who may write.
    """
    forbidden = list(_obstacles(may_write))
    checks: tuple[Callable[[], object], ...] = (
        lambda: check_draft(draft, max_files=registry.max_files),
        lambda: check_paths([file.path for file in draft.files]),
        lambda: check_sizes((file.path, size) for file, size in zip(draft.files, sizes, strict=True)),
        lambda: _check_metadata(registry, draft),
    )
    of_draft = [obstacle for check in checks for obstacle in _obstacles(check)]
    if forbidden:
        return [*forbidden, *of_draft]
    of_draft += _obstacles(lambda: _check_quota(registry, draft, sizes))
    return [*of_draft, *_obstacles(lambda: check_storage(placed(registry.putting_to(backend))))]


def _check_quota(registry: Registry, draft: PackageDraft, sizes: Sequence[int]) -> None:
    """A run that is known may be the same once more, and so may content without a name: then it is seen later."""
    state = quota_of(registry, draft.producer)
    if state is None or draft.external_id is None:
        return
    with registry.catalog.snapshot() as queries:
        is_known = bool(queries.revisions(draft.producer, draft.external_id))
    if not is_known:
        state.require(draft.producer, sum(sizes))


def _obstacles(check: Callable[[], object]) -> Iterator[Obstacle]:
    try:
        check()
    except ArtifactStoreError as error:
        problems = error.problems or (Problem("", error.message),)
        yield from (Obstacle(error.code, where, what) for where, what in problems)


def _check_metadata(registry: Registry, draft: PackageDraft) -> None:
    metadata = None if draft.metadata is None else canonical_object(draft.metadata)
    if draft.schema is not None and metadata is not None:
        check_metadata(draft.schema, schema_for(registry, draft.schema, None), metadata)
