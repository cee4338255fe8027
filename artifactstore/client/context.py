"""The context of a plug-in whose observations and packages go to a server."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from artifactstore.domain.provenance import MAX_PAYLOAD_BYTES, IngestInput
from artifactstore.errors import MetadataSchemaUnknownError, UsageError
from artifactstore.registry.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from artifactstore.client.client import Client
    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.manifest import Manifest
    from artifactstore.domain.package import PackageDraft
    from artifactstore.domain.provenance import EnvelopeInput, IngestResult, PartyInput, SourceInput
    from artifactstore.plugins.loaded import LoadedPlugin
    from artifactstore.registry.progress import Progress

_HINT = "Have an administrator run `scripts/register_schemas.py` against this server, once."


class RemoteContext:
    """A ``PluginContext`` over a client; what it records is stamped with the token's name.

    The plug-in's name and versions are sent along and kept as declared. Its schemas are not sent, because registering
    one takes ``admin``: they must be registered already.
    """

    def __init__(
        self, client: Client, loaded: LoadedPlugin, *, max_files: int = 1_000_000, progress: Progress = SILENT
    ) -> None:
        self._client = client
        self._loaded = loaded
        self._max_files = max_files
        self._progress = progress

    @property
    def max_files(self) -> int:
        """How many files a directory may have to be worth reading; the server decides what it takes."""
        return self._max_files

    @property
    def max_payload_bytes(self) -> int:
        """See ``PluginContext``."""
        return MAX_PAYLOAD_BYTES

    def ingest(
        self,
        *,
        source: SourceInput,
        envelope: EnvelopeInput,
        parties: Sequence[PartyInput] = (),
        package: PackageDraft | None = None,
        as_revision: bool = False,
    ) -> IngestResult:
        """See ``PluginContext``."""
        given = IngestInput.of_call(source, envelope, parties, package)
        if package is None:
            return self._client.ingest(given, self._loaded.provenance)
        with self._schema_hint(package):
            return self._client.push_observed(
                given, self._loaded.provenance, as_revision=as_revision, progress=self._progress
            )

    def check_package(self, draft: PackageDraft) -> Manifest:
        """See ``PluginContext``."""
        with self._schema_hint(draft):
            return self._client.check(draft, progress=self._progress)

    def emit(self, event_type: str, payload: Mapping[str, JsonValue], *, subject: str = "") -> None:  # noqa: ARG002
        """Raises ``UsageError``: who a plug-in is cannot be shown over HTTP, so events of its own are not taken."""
        raise UsageError(
            f"{event_type[:80]!r} cannot be emitted over HTTP", hint="Run the plug-in on the host of the store."
        )

    def package(self, package_id: str) -> Mapping[str, Any]:
        """See ``PluginContext``."""
        return self._client.package(package_id)

    @contextmanager
    def _schema_hint(self, draft: PackageDraft) -> Iterator[None]:
        """Say what to do if the server does not have the plug-in's own schema."""
        try:
            yield
        except MetadataSchemaUnknownError as error:
            if draft.schema in self._loaded.plugin.schemas():
                error.hint = _HINT
            raise
