"""How content under a known external id differs from what is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.domain.canonical import canonical_json
from artifactstore.domain.manifest import manifest_differences
from artifactstore.errors import Problem, RunChangedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.catalog.queries import Queries
    from artifactstore.catalog.records import PackageRecord
    from artifactstore.domain.manifest import Manifest

_NAMED_DIFFERENCES = 20


def run_changed(queries: Queries, package: PackageRecord, manifest: Manifest) -> RunChangedError:
    """The error that names what of a run is not what is recorded."""
    before = list(queries.entries(package.row_id))
    differences = manifest_differences(before, manifest.files)
    named = tuple(Problem(path, what) for path, what in differences[:_NAMED_DIFFERENCES])
    more = f" ({len(differences) - len(named)} more)" if len(differences) > len(named) else ""
    files = f"{len(differences)} file(s) differ{more}" if differences else "its description differs"
    return RunChangedError(
        f"{package.external_id} is recorded as package {package.package_id} with other content: {files}",
        problems=named or tuple(_described_differently(package, manifest)),
    )


def _described_differently(package: PackageRecord, manifest: Manifest) -> Iterator[Problem]:
    metadata = None if manifest.metadata is None else canonical_json(manifest.metadata)
    pairs = {
        "subject": (package.subject, manifest.subject),
        "schema": (package.schema_slug, manifest.schema),
        "metadata": (package.metadata_json, metadata),
    }
    return (Problem(name, "changed") for name, (before, after) in pairs.items() if before != after)
