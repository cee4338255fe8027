"""The host: what a process offers its plug-ins, and the one way from a plug-in's call to the registry.

Who a plug-in is comes from here: its name and the version of its distribution, as the loader found them. A context is
made for one loaded plug-in and cannot become another's.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from artifactstore.domain.capabilities import Capability
from artifactstore.domain.observation import check_input, settled
from artifactstore.domain.provenance import MAX_PAYLOAD_BYTES
from artifactstore.errors import ArtifactStoreError, CapabilityDeniedError, ObservationError, Problem
from artifactstore.registry.observing import (
    ObservationBeside,
    Observed,
    ObservedDraft,
    observe,
    observe_package,
    observe_packages,
)
from artifactstore.registry.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.package import PackageDraft
    from artifactstore.domain.provenance import IngestInput, IngestResult, Provenance
    from artifactstore.domain.vocabulary import Vocabulary
    from artifactstore.registry.observing import EventsOf
    from artifactstore.registry.progress import Progress
    from artifactstore.registry.registry import Registry

    SchemaOf = Callable[[PackageDraft], dict[str, JsonValue] | None]


@runtime_checkable
class TypeValidator(Protocol):
    """What a pydantic ``TypeAdapter`` offers."""

    def validate_python(self, value: Any, /) -> Any:
        """Raises a ``ValueError`` for a value that is not valid."""


Validator = Callable[["IngestInput"], object] | TypeValidator
"""A host's own rules for what is ingested; what it answers is not used, what it raises refuses the input."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the settings say of other services; only pilots that come with artifactstore are told."""

    github_token: str | None = field(default=None, repr=False)
    github_api_url: str | None = None
    is_ci: bool = False
    """Whether this runs in a CI job."""
    repo_root: Path | None = None
    """Where a server finds the policies that submissions of testing-os are judged by."""


class GivenPackage(NamedTuple):
    """One of several packages that are handed in at once: what ``PluginHost.ingest`` takes of each."""

    given: IngestInput
    package: PackageDraft
    as_revision: bool
    events_of: EventsOf


@dataclass(frozen=True, slots=True)
class PluginHost:
    """A store, and the rules under which plug-ins use it."""

    registry: Registry
    vocabulary: Vocabulary
    capabilities: Mapping[str, frozenset[Capability]]
    """By plug-in; one that is not named here has none."""
    max_payload_bytes: int = MAX_PAYLOAD_BYTES
    validator: Validator | None = None
    surroundings: Surroundings = field(default_factory=Surroundings)

    def acting_as(self, actor: str) -> PluginHost:
        """The same for one who always acts: nothing is to be made for each call."""
        return replace(self, registry=self.registry.acting_as(actor))

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

    def observed(self, given: IngestInput, provenance: Provenance, *, answer_for: str | None = None) -> Observed:
        """What is to be recorded. In this order: size and shape, the host's validator, the capability, the words.

        ``answer_for`` is an actor who is to be answered as if there were no observations but its own.
        """
        checked = check_input(given, max_payload_bytes=self.max_payload_bytes)
        _validate(self.validator, checked)
        self.require(Capability.INGEST, provenance)
        return Observed(settled(checked, self.vocabulary), provenance, answer_for)

    def ingest(
        self,
        given: IngestInput,
        provenance: Provenance,
        *,
        as_revision: bool = False,
        schema_of: SchemaOf | None = None,
        progress: Progress = SILENT,
        answer_for: str | None = None,
        events_of: EventsOf | None = None,
    ) -> IngestResult:
        """What ``PluginContext.ingest`` promises. ``schema_of`` answers the plug-in's own schema of a package.

        ``events_of`` answers what a pilot of ours contributes to the package's transaction; see ``Contributed``.
        """
        observed = self.observed(given, provenance, answer_for=answer_for)
        registry = self.registry.acting_as(provenance.actor)
        if given.package is None:
            return observe(registry, observed)
        schema = None if schema_of is None else schema_of(given.package)
        return observe_package(
            registry,
            observed,
            given.package,
            as_revision=as_revision,
            schema=schema,
            progress=progress,
            events_of=events_of,
        )

    def ingest_together(
        self, several: Sequence[GivenPackage], provenance: Provenance, *, schema_of: SchemaOf, progress: Progress
    ) -> list[IngestResult]:
        """``ingest`` for several new packages in one transaction; raises what ``observe_packages`` raises."""
        one_of_each = {each.package.schema: each.package for each in several}
        schemas = {slug: schema_of(package) for slug, package in one_of_each.items()}
        drafts = [
            ObservedDraft(
                self.observed(each.given, provenance),
                each.package,
                each.as_revision,
                schemas[each.package.schema],
                each.events_of,
            )
            for each in several
        ]
        return observe_packages(self.registry.acting_as(provenance.actor), drafts, progress=progress)

    def beside(self, given: IngestInput, provenance: Provenance, *, answer_for: str | None = None) -> ObservationBeside:
        """The observation of a package that is recorded by other means, to stand in its transaction."""
        observed = self.observed(given, provenance, answer_for=answer_for)
        return ObservationBeside(self.registry.acting_as(provenance.actor), observed)


def _validate(validator: Validator | None, checked: IngestInput) -> None:
    """Ask it. It is shown a copy: neither what it answers nor what it changes is recorded."""
    if validator is None:
        return
    given = replace(checked, source=replace(checked.source, metadata=deepcopy(checked.source.metadata)))
    try:
        if isinstance(validator, TypeValidator):
            validator.validate_python(given)
        else:
            validator(given)
    except ArtifactStoreError:
        raise
    except Exception as error:
        problems = _problems_of(error)
        raise ObservationError(
            "the host's validator refuses it" + ("" if problems else f": {_said(error)}"),
            hint="The host has rules of its own.",
            problems=problems,
        ) from error


def _said(error: Exception) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - it is a stranger's
        return type(error).__name__


def _problems_of(error: Exception) -> tuple[Problem, ...]:
    """What pydantic says of each member, without repeating what was given; nothing of another kind of error."""
    errors = getattr(error, "errors", None)
    found = errors() if callable(errors) else ()
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        return ()
    return tuple(
        Problem("".join(f"/{step}" for step in each.get("loc", ())), str(each.get("msg", ""))) for each in found
    )
