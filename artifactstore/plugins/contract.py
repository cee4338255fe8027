"""The types of the contract."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from artifactstore.domain.vocabulary import Words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    import typer

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.manifest import Manifest
    from artifactstore.domain.package import PackageDraft
    from artifactstore.domain.provenance import EnvelopeInput, IngestResult, PartyInput, SourceInput


class PluginContext(Protocol):
    """What a plug-in is handed. Who it is, is in it already and cannot be given."""

    @property
    def max_files(self) -> int:
        """How many files a package may have here."""

    @property
    def max_payload_bytes(self) -> int:
        """How large an envelope's payload may be here; over HTTP, how large any server takes it by default."""

    def ingest(
        self,
        *,
        source: SourceInput,
        envelope: EnvelopeInput,
        parties: Sequence[PartyInput] = (),
        package: PackageDraft | None = None,
        as_revision: bool = False,
    ) -> IngestResult:
        """Record an observation, and the package that was observed if there is one, in one transaction.

        What is known already is answered with ``was_created`` false and changes nothing. ``as_revision`` lets a
        package of changed content become the next revision. Raises ``ObservationError``, ``CapabilityDeniedError``,
        ``PluginFailedError`` for a plug-in whose normaliser fails, and for a package what ``registry.ingest`` raises;
        nothing is recorded then.
        """

    def check_package(self, draft: PackageDraft) -> Manifest:
        """Everything ``ingest`` would check of a package, and the manifest it would record; nothing is stored."""

    def emit(self, event_type: str, payload: Mapping[str, JsonValue], *, subject: str = "") -> None:
        """Append an event of the plug-in's own, whose type is ``plugin.<its name>.`` and a slug.

        Raises ``EmitGuardError`` for any other type, or for a payload that is too large; ``CapabilityDeniedError``.
        """

    def package(self, package_id: str) -> Mapping[str, Any]:
        """A package as ``artifactstore show`` prints it, without its files. Raises ``PackageUnknownError``."""


class CommandDoor(Protocol):
    """What a contributed command may do. It was made for one plug-in."""

    def context(self) -> AbstractContextManager[PluginContext]:
        """The plug-in's context on the store that the command line names."""

    def answer(self, document: Mapping[str, JsonValue], *, on_one_line: bool = False) -> None:
        """Print the command's one JSON document on standard output."""

    def say(self, text: str) -> None:
        """Tell a person something, on standard error, unless they asked for quiet."""


@dataclass(frozen=True, slots=True)
class Notice:
    """An event as a listener is given it. Byte strings of the payload are written in hex."""

    seq: int
    """Its place in the log: unique, ascending, the same at every attempt."""
    at: datetime
    type: str
    subject: str
    actor: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Listener:
    """What a plug-in wants to be told: every event of these types, in order, each at least once.

    ``handle`` is called after the event is recorded, by one process at a time. An error makes the same event come
    again, later and later; until then nothing else comes. The first time the store has this listener it is told what
    happens from then on, or everything if ``from_the_start``.
    """

    name: str
    """A slug; the subscription is called ``<plug-in>.<name>``."""
    event_types: tuple[str, ...]
    handle: Callable[[Notice, PluginContext], None]
    from_the_start: bool = False


@dataclass(frozen=True, slots=True)
class WebhookFormat:
    """A body that webhooks may be configured to send instead of the standard one.

    ``body`` answers the JSON object, or None for an event that is not to be sent. ``options`` are those that the
    operator gave the webhook, as text.
    """

    name: str
    """A slug; webhooks name it ``<plug-in>.<name>``."""
    body: Callable[[Notice, PluginContext, Mapping[str, str]], Mapping[str, JsonValue] | None]
    check_options: Callable[[Mapping[str, str]], None]
    """Raises ``ConfigurationError`` for options that are missing, unknown or wrong."""


@dataclass(frozen=True, slots=True)
class RouteRequest:
    """A request to a contributed route."""

    context: PluginContext
    caller: str
    """The name of the token, or of whoever needs none."""
    parameters: Mapping[str, str]
    """Those of the query, and what the variables of the path are."""
    body: bytes
    write_log: Callable[[str], object]
    """Takes a line of JSON for the server's log."""


@dataclass(frozen=True, slots=True)
class RouteAnswer:
    """JSON, as its bytes."""

    body: bytes
    status: int = 200


@dataclass(frozen=True, slots=True)
class Route:
    """Something that a plug-in serves at ``/pilots/<its name>/<path>``; an ``ArtifactStoreError`` is answered as such.

    It is read with ETags, by whoever may read packages of the producer that has the plug-in's name; or written to with
    a JSON body, by whoever may record such packages.
    """

    path: str
    """With variables as ``{name}``, each of them one segment."""
    summary: str
    answer: Callable[[RouteRequest], RouteAnswer]
    schema: Mapping[str, JsonValue]
    """The JSON Schema of the answer, with a title that no other has; it allows nothing that it does not name."""
    without_rights: bytes | None = b""
    """What whoever may not read is answered: the same as if there were nothing; None is ``NOT_FOUND``."""
    parameters: Mapping[str, tuple[str, dict[str, JsonValue]]] = field(default_factory=dict)
    """Of the query and of the path: what each is, and its JSON Schema."""
    may_be_missing: bool = False
    """Whether it may answer ``NOT_FOUND`` to whoever may read."""
    is_write: bool = False
    max_body_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Plugin:
    """How a plug-in describes itself; its entry point in the group ``artifactstore.plugins`` names one of these.

    Its version is not here: it is that of the distribution which the entry point was installed with.
    """

    name: str
    """A slug without a dot, the same as the entry point's name."""
    summary: str
    contract_version: str = "1"
    """Of what it says in envelopes; raised when the same observations are to be recorded anew."""
    schemas: Callable[[], Mapping[str, JsonValue]] = field(default=dict)
    """Its metadata schemas by slug; registered when they are first needed."""
    words: Callable[[], Words] = field(default=Words)
    """The location kinds, identifier kinds, roles and levels of trust that it registers."""
    listeners: Callable[[], Sequence[Listener]] = field(default=tuple)
    webhook_formats: Callable[[], Sequence[WebhookFormat]] = field(default=tuple)
    run: Callable[[PluginContext, Sequence[str]], Mapping[str, JsonValue] | None] | None = None
    """``artifactstore plugin run <name> ARGUMENTS``; what it answers is printed."""
    routes: Callable[[], Sequence[Route]] = field(default=tuple)
    """What it serves; only of plug-ins that come with artifactstore."""
    add_commands: Callable[[typer.Typer, CommandDoor], None] | None = None
    """Adds the commands of its group to the command line; only of plug-ins that come with artifactstore."""
