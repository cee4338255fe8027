"""The context of a plug-in that runs in the same process as the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from artifactstore.domain.canonical import canonical_object, encode
from artifactstore.domain.capabilities import Capability
from artifactstore.domain.events import PLUGIN_NAMESPACE, PluginEvent
from artifactstore.domain.metadata_schema import check_schema
from artifactstore.domain.package import text_problem
from artifactstore.domain.provenance import IngestInput
from artifactstore.errors import EmitGuardError, MetadataInvalidError, ProvenanceError
from artifactstore.registry.ingest import check
from artifactstore.registry.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.manifest import Manifest
    from artifactstore.domain.package import PackageDraft
    from artifactstore.domain.provenance import EnvelopeInput, IngestResult, PartyInput, Provenance, SourceInput
    from artifactstore.plugins.contract import Plugin
    from artifactstore.plugins.host import PluginHost
    from artifactstore.plugins.loaded import LoadedPlugin
    from artifactstore.registry.progress import Progress

MAX_EVENT_BYTES = 64 * 1024
"""Of an event that a plug-in emits, as CBOR."""
_MAX_TYPE_CHARACTERS = 200


class EmbeddedContext:
    """A ``PluginContext`` over a registry; every event it causes is stamped ``plugin:<name>@<version>``.

    It stays the context of the plug-in it was made for: nothing of it can be set, and it cannot be copied, pickled or
    derived from. Whoever reaches into this process can do anything; what is here keeps a plug-in from doing it without
    meaning to.
    """

    __slots__ = ("_host", "_plugin", "_progress", "_provenance")
    _host: PluginHost
    _plugin: Plugin
    _progress: Progress
    _provenance: Provenance

    def __init__(self, host: PluginHost, loaded: LoadedPlugin, *, progress: Progress = SILENT) -> None:
        if hasattr(self, "_host"):
            _refuse()
        object.__setattr__(self, "_host", host)
        object.__setattr__(self, "_plugin", loaded.plugin)
        object.__setattr__(self, "_progress", progress)
        object.__setattr__(self, "_provenance", loaded.provenance)

    @property
    def max_files(self) -> int:
        """See ``PluginContext``."""
        return self._host.registry.max_files

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
        given = IngestInput(source, envelope, tuple(parties), package)
        return self._host.ingest(
            given,
            self._provenance,
            as_revision=as_revision,
            schema=None if package is None else self._own_schema(package),
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
        with self._host.registry.acting_as(self._provenance.actor).transaction() as tx:
            tx.record(event)

    def package(self, package_id: str) -> Mapping[str, Any]:
        """See ``PluginContext``."""
        from artifactstore.documents import package_details
        from artifactstore.registry.packages import find_package

        return package_details(*find_package(self._host.registry, package_id))

    def _own_schema(self, draft: PackageDraft) -> dict[str, JsonValue] | None:
        schema = self._plugin.schemas().get(draft.schema) if draft.schema else None
        return None if draft.schema is None or schema is None else check_schema(draft.schema, schema)

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
    if not event_type.startswith(own) or len(event_type) == len(own):
        raise EmitGuardError(
            f"{event_type[:80]!r} is not in the namespace of the plug-in {plugin!r}",
            reason="namespace",
            hint=f"Its events are called {own}<what happened>.",
        )
    if problem := text_problem(event_type, _MAX_TYPE_CHARACTERS):
        raise EmitGuardError(f"the type of an event {problem}", reason="namespace")
    if problem := text_problem(subject):
        raise EmitGuardError(f"the subject of an event {problem}", reason="subject")
    return PluginEvent(type=event_type, about=subject, body=_body(payload))


def _body(payload: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    try:
        body = canonical_object(dict(payload), what="the payload")
    except MetadataInvalidError as error:
        first = error.problems[0]
        raise EmitGuardError(f"the payload's {first.where or '/'} {first.what}", reason="payload") from error
    if (size_bytes := len(encode(body))) > MAX_EVENT_BYTES:
        raise EmitGuardError(f"the payload has {size_bytes} bytes, more than {MAX_EVENT_BYTES}", reason="payload")
    return body
