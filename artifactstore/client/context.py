"""The context of a plug-in whose packages go to a server."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from artifactstore.errors import MetadataSchemaUnknownError
from artifactstore.registry.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.client.client import Client
    from artifactstore.domain.manifest import Manifest
    from artifactstore.domain.package import PackageDraft, PackageReceipt
    from artifactstore.plugins.contract import Plugin
    from artifactstore.registry.progress import Progress

_HINT = "Have an administrator run `scripts/register_schemas.py` against this server, once."


class RemoteContext:
    """A ``PluginContext`` over a client; what it records is stamped with the token's name.

    The plug-in's schemas are not sent, because registering one takes ``admin``: they must be registered already.
    """

    def __init__(
        self, client: Client, plugin: Plugin, *, max_files: int = 1_000_000, progress: Progress = SILENT
    ) -> None:
        self._client = client
        self._plugin = plugin
        self._max_files = max_files
        self._progress = progress

    @property
    def max_files(self) -> int:
        """How many files a directory may have to be worth reading; the server decides what it takes."""
        return self._max_files

    def ingest_package(self, draft: PackageDraft, *, as_revision: bool = False) -> PackageReceipt:
        """See ``PluginContext``."""
        with self._schema_hint(draft):
            return self._client.push(draft, as_revision=as_revision, progress=self._progress)

    def check_package(self, draft: PackageDraft) -> Manifest:
        """See ``PluginContext``."""
        with self._schema_hint(draft):
            return self._client.check(draft, progress=self._progress)

    @contextmanager
    def _schema_hint(self, draft: PackageDraft) -> Iterator[None]:
        """Say what to do if the server does not have the plug-in's own schema."""
        try:
            yield
        except MetadataSchemaUnknownError as error:
            if draft.schema in self._plugin.schemas():
                error.hint = _HINT
            raise
