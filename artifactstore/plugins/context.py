"""The context of a plug-in that runs in the same process as the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.registry.ingest import check, ingest
from artifactstore.registry.metadata_schemas import ensure_schema
from artifactstore.registry.progress import SILENT

if TYPE_CHECKING:
    from artifactstore.domain.manifest import Manifest
    from artifactstore.domain.package import PackageDraft, PackageReceipt
    from artifactstore.plugins.contract import Plugin
    from artifactstore.registry.progress import Progress
    from artifactstore.registry.registry import Registry


class EmbeddedContext:
    """A ``PluginContext`` over a registry; every event it causes is stamped ``plugin:<name>@<version>``."""

    def __init__(self, registry: Registry, plugin: Plugin, *, progress: Progress = SILENT) -> None:
        self._registry = registry.acting_as(f"plugin:{plugin.name}@{plugin.version}")
        self._plugin = plugin
        self._progress = progress

    def ingest_package(self, draft: PackageDraft, *, as_revision: bool = False) -> PackageReceipt:
        """See ``PluginContext``."""
        self._ensure_own_schema(draft)
        return ingest(self._registry, draft, as_revision=as_revision, progress=self._progress)

    def check_package(self, draft: PackageDraft) -> Manifest:
        """See ``PluginContext``."""
        self._ensure_own_schema(draft)
        return check(self._registry, draft, progress=self._progress)

    def _ensure_own_schema(self, draft: PackageDraft) -> None:
        schema = self._plugin.schemas().get(draft.schema) if draft.schema else None
        if draft.schema and schema is not None:
            ensure_schema(self._registry, draft.schema, schema)
