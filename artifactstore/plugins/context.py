"""The context of a plug-in that runs in the same process as the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.domain.metadata_schema import check_schema
from artifactstore.registry.ingest import check, ingest
from artifactstore.registry.metadata_schemas import is_registered, register_schema
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
        """See ``PluginContext``."""
        own_schema = self._own_schema_not_registered_yet(draft)
        if draft.schema and own_schema is not None:
            register_schema(self._registry, draft.schema, own_schema)
        return ingest(self._registry, draft, as_revision=as_revision, progress=self._progress)

    def check_package(self, draft: PackageDraft) -> Manifest:
        """See ``PluginContext``."""
        own_schema = self._own_schema_not_registered_yet(draft)
        return check(self._registry, draft, schema=own_schema, progress=self._progress)

    def _own_schema_not_registered_yet(self, draft: PackageDraft) -> dict[str, JsonValue] | None:
        if draft.schema is None or is_registered(self._registry, draft.schema):
            return None
        schema = self._plugin.schemas().get(draft.schema)
        return None if schema is None else check_schema(draft.schema, schema)
