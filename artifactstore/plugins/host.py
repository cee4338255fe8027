"""The host: what a process offers its plug-ins, and the one way from a plug-in's call to the registry.

Who a plug-in is comes from here: its name and the version of its distribution, as the loader found them. A context is
made for one loaded plug-in and cannot become another's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from artifactstore.domain.capabilities import Capability
from artifactstore.domain.observation import check_input, settled
from artifactstore.domain.provenance import MAX_PAYLOAD_BYTES
from artifactstore.errors import ArtifactStoreError, CapabilityDeniedError, ObservationError, Problem
from artifactstore.registry.observing import ObservationBeside, Observed, observe, observe_package
from artifactstore.registry.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.provenance import IngestInput, IngestResult, Provenance
    from artifactstore.domain.vocabulary import Vocabulary
    from artifactstore.registry.progress import Progress
    from artifactstore.registry.registry import Registry


@runtime_checkable
class TypeValidator(Protocol):
    """What a pydantic ``TypeAdapter`` offers."""

    def validate_python(self, value: Any, /) -> Any:
        """Raises a ``ValueError`` for a value that is not valid."""


Validator = Callable[["IngestInput"], object] | TypeValidator
"""A host's own rules for what is ingested; what it answers is not used, what it raises refuses the input."""


@dataclass(frozen=True, slots=True)
class PluginHost:
    """A store, and the rules under which plug-ins use it."""

    registry: Registry
    vocabulary: Vocabulary
    capabilities: Mapping[str, frozenset[Capability]]
    """By plug-in; one that is not named here has none."""
    max_payload_bytes: int = MAX_PAYLOAD_BYTES
    validator: Validator | None = None

    def require(self, capability: Capability, provenance: Provenance) -> None:
        """Raises ``CapabilityDeniedError`` unless a loaded plug-in may. What a token may, its scopes have said."""
        if provenance.is_declared:
            return
        name = provenance.plugin_name
        if capability not in self.capabilities.get(name, frozenset()):
            raise CapabilityDeniedError(
                f"the plug-in {name!r} is not granted {capability.value!r}",
                hint=f"The operator grants it: ARTIFACTSTORE_PLUGIN_CAPABILITIES='{name}={capability.value}'.",
            )

    def observed(self, given: IngestInput, provenance: Provenance) -> Observed:
        """What is to be recorded. In this order: size and shape, the host's validator, the capability, the words."""
        check_input(given, max_payload_bytes=self.max_payload_bytes)
        _validate(self.validator, given)
        self.require(Capability.INGEST, provenance)
        return Observed(settled(given, self.vocabulary), provenance)

    def ingest(
        self,
        given: IngestInput,
        provenance: Provenance,
        *,
        as_revision: bool = False,
        schema: dict[str, JsonValue] | None = None,
        progress: Progress = SILENT,
    ) -> IngestResult:
        """What ``PluginContext.ingest`` promises."""
        observed = self.observed(given, provenance)
        registry = self.registry.acting_as(provenance.actor)
        if given.package is None:
            return observe(registry, observed)
        return observe_package(
            registry, observed, given.package, as_revision=as_revision, schema=schema, progress=progress
        )

    def beside(self, given: IngestInput, provenance: Provenance) -> ObservationBeside:
        """The observation of a package that is recorded by other means, to stand in its transaction."""
        return ObservationBeside(self.registry.acting_as(provenance.actor), self.observed(given, provenance))


def _validate(validator: Validator | None, given: IngestInput) -> None:
    if validator is None:
        return
    try:
        if isinstance(validator, TypeValidator):
            validator.validate_python(given)
        else:
            validator(given)
    except ArtifactStoreError:
        raise
    except Exception as error:
        raise ObservationError(
            f"the host's validator refuses it: {error}", hint="The host has rules of its own.", problems=_told(error)
        ) from error


def _told(error: Exception) -> tuple[Problem, ...]:
    """What pydantic says of each member."""
    errors = getattr(error, "errors", None)
    if not callable(errors):
        return ()
    return tuple(
        Problem("".join(f"/{step}" for step in each.get("loc", ())), str(each.get("msg", ""))) for each in errors()
    )
