"""The context of a plug-in that runs in the same process as the registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from artifactstore.domain.canonical import canonical_object, encode
from artifactstore.domain.capabilities import Capability
from artifactstore.domain.events import PLUGIN_NAMESPACE, PluginEvent
from artifactstore.domain.metadata_schema import check_schema
from artifactstore.domain.package import slug_problem, text_problem
from artifactstore.domain.provenance import IngestInput
from artifactstore.errors import (
    ArtifactStoreError,
    EmitGuardError,
    MetadataInvalidError,
    PluginFailedError,
    ProvenanceError,
)
from artifactstore.plugins.contributed import Contributed
from artifactstore.registry.ingest import check
from artifactstore.registry.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.manifest import Manifest
    from artifactstore.domain.package import PackageDraft
    from artifactstore.domain.provenance import EnvelopeInput, IngestResult, PartyInput, Provenance, SourceInput
    from artifactstore.plugins.host import PluginHost
    from artifactstore.plugins.loaded import LoadedPlugin
    from artifactstore.registry.progress import Progress

MAX_EVENT_BYTES = 64 * 1024
"""Of an event that a plug-in emits, as CBOR."""


class EmbeddedContext:
    """A ``PluginContext`` over a registry; every event it causes is stamped ``plugin:<name>@<version>``.

    It stays the context of the plug-in it was made for: nothing of it can be set, and it cannot be copied, pickled or
    derived from. Whoever reaches into this process can do anything; what is here keeps a plug-in from doing it without
    meaning to.
    """

    __slots__ = ("_host", "_loaded", "_progress", "_provenance")
    _host: PluginHost
    _loaded: LoadedPlugin
    _progress: Progress
    _provenance: Provenance

    def __init__(self, host: PluginHost, loaded: LoadedPlugin, *, progress: Progress = SILENT) -> None:
        if hasattr(self, "_host"):
            _refuse()
        object.__setattr__(self, "_host", host.acting_as(loaded.provenance.actor))
        object.__setattr__(self, "_loaded", loaded)
        object.__setattr__(self, "_progress", progress)
        object.__setattr__(self, "_provenance", loaded.provenance)

    @property
    def max_files(self) -> int:
        """See ``PluginContext``."""
        return self._host.registry.max_files

    @property
    def max_payload_bytes(self) -> int:
        """See ``PluginContext``."""
        return self._host.max_payload_bytes

    def ingest(
        self,
        *,
        source: SourceInput,
        envelope: EnvelopeInput,
        parties: Sequence[PartyInput] = (),
        package: PackageDraft | None = None,
        as_revision: bool = False,
    ) -> IngestResult:
        """See ``PluginContext``. A schema of the plug-in's own is registered with the first package that needs it."""
        given = IngestInput.of_call(source, envelope, parties, package)
        return self._host.ingest(
            given,
            self._provenance,
            as_revision=as_revision,
            schema_of=self._own_schema,
            progress=self._progress,
        )

    def check_package(self, draft: PackageDraft) -> Manifest:
        """See ``PluginContext``."""
        return check(self._host.registry, draft, schema=self._own_schema(draft), progress=self._progress)

    def emit(self, event_type: str, payload: Mapping[str, JsonValue], *, subject: str = "") -> None:
        """See ``PluginContext``."""
        name = self._provenance.plugin_name
        event = _event(name, event_type, payload, subject or name)
        self._host.require(Capability.EMIT, self._provenance)
        with self._host.registry.transaction() as tx:
            tx.record(event)

    def package(self, package_id: str) -> Mapping[str, Any]:
        """See ``PluginContext``."""
        from artifactstore.documents.provenance import observed_package_details
        from artifactstore.registry.packages import find_package

        registry = self._host.registry
        return observed_package_details(registry, *find_package(registry, package_id))

    def contributed(self) -> Contributed:
        """What a pilot may do besides that contributes to the catalog. Raises ``CapabilityDeniedError`` for others."""
        return Contributed(self._host, self._loaded, schema_of=self._own_schema, progress=self._progress)

    def _own_schema(self, draft: PackageDraft) -> dict[str, JsonValue] | None:
        """Raises ``PluginFailedError`` for a plug-in that fails to say its schemas."""
        if draft.schema is None:
            return None
        name = self._provenance.plugin_name
        try:
            schema = self._loaded.plugin.schemas().get(draft.schema)
        except ArtifactStoreError:
            raise
        except (Exception, SystemExit) as error:
            raise PluginFailedError(
                f"the plug-in {name!r} failed to say its schemas: {type(error).__name__}"
            ) from error
        return None if schema is None else check_schema(draft.schema, schema)

    # who it is stays who it is

    def __init_subclass__(cls) -> None:
        _refuse()

    def __setattr__(self, name: str, value: object) -> None:
        _refuse()

    def __delattr__(self, name: str) -> None:
        _refuse()

    def __copy__(self) -> NoReturn:
        _refuse()

    def __deepcopy__(self, memo: object) -> NoReturn:
        _refuse()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        _refuse()


def _refuse() -> NoReturn:
    raise ProvenanceError("a plug-in's context cannot be changed, copied, pickled or derived from")


def _event(plugin: str, event_type: str, payload: Mapping[str, JsonValue], subject: str) -> PluginEvent:
    """Raises ``EmitGuardError`` naming the rule that the event breaks."""
    own = f"{PLUGIN_NAMESPACE}{plugin}."
    kind = _plain(event_type, "the type", "namespace")
    if not kind.startswith(own) or slug_problem(kind.removeprefix(own)):
        raise EmitGuardError(
            f"{kind[:80]!r} is not in the namespace of the plug-in {plugin!r}",
            reason="namespace",
            hint=f"Its events are called {own}<what happened>, of at most 64 of a-z 0-9 . _ - after its name.",
        )
    about = _plain(subject, "the subject", "subject")
    if problem := text_problem(about):
        raise EmitGuardError(f"the subject of an event {problem}", reason="subject")
    return PluginEvent(type=kind, about=about, body=_body(payload))


def _plain(given: object, what: str, reason: str) -> str:
    """Text as such: a type that is derived from it could answer one thing here and another where it is recorded."""
    if not issubclass(type(given), str):
        raise EmitGuardError(f"{what} of an event is a {type(given).__name__}, not text", reason=reason)
    return str.__str__(given)


def _body(payload: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    if not isinstance(payload, Mapping):
        raise EmitGuardError(f"the payload is a {type(payload).__name__}, not a JSON object", reason="payload")
    try:
        body = canonical_object(dict(payload), what="the payload")
    except MetadataInvalidError as error:
        first = error.problems[0]
        raise EmitGuardError(f"the payload's {first.where or '/'} {first.what}", reason="payload") from error
    if (size_bytes := len(encode(body))) > MAX_EVENT_BYTES:
        raise EmitGuardError(f"the payload has {size_bytes} bytes, more than {MAX_EVENT_BYTES}", reason="payload")
    return body
