"""The context of a plug-in that runs in the same process as the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.domain.metadata_schema import check_schema
from artifactstore.registry.ingest import check, ingest
from artifactstore.registry.progress import SILENT

if TYPE_CHECKING:
    from artifactstore.domain.canonical import JsonValue
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

    @property
    def max_files(self) -> int:
        """See ``PluginContext``."""
        return self._registry.max_files

    def ingest_package(self, draft: PackageDraft, *, as_revision: bool = False) -> PackageReceipt:
        """See ``PluginContext``. A schema of the plug-in's own is registered with the first package that needs it."""
        schema = self._own_schema(draft)
        return ingest(self._registry, draft, as_revision=as_revision, schema=schema, progress=self._progress)

    def check_package(self, draft: PackageDraft) -> Manifest:
        """See ``PluginContext``."""
        return check(self._registry, draft, schema=self._own_schema(draft), progress=self._progress)

    def _own_schema(self, draft: PackageDraft) -> dict[str, JsonValue] | None:
        schema = self._plugin.schemas().get(draft.schema) if draft.schema else None
        return None if draft.schema is None or schema is None else check_schema(draft.schema, schema)
