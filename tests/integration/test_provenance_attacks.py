"""What a plug-in may not do, and what is left when it tries: nothing, and an error with code, message and hint."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import replace
from datetime import UTC, datetime
from itertools import repeat
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import pytest
from pydantic import AfterValidator, TypeAdapter

from artifactstore.catalog.catalog import Catalog
from artifactstore.domain.capabilities import Capability
from artifactstore.domain.instant import system_clock
from artifactstore.domain.provenance import EnvelopeInput, IngestInput, PartyInput, SourceInput
from artifactstore.domain.vocabulary import IdentifierKind, LocationKind, Scoping, Words
from artifactstore.errors import (
    ArtifactStoreError,
    CapabilityDeniedError,
    CatalogFullError,
    CatalogUnavailableError,
    EmitGuardError,
    LocationKindUnknownError,
    ObservationError,
    PayloadTooLargeError,
    PluginFailedError,
    ProvenanceError,
    StorageDeniedError,
    StorageFullError,
)
from artifactstore.plugins.context import MAX_EVENT_BYTES, EmbeddedContext
from artifactstore.registry.events import list_events
from artifactstore.testing.builders import package_draft
from tests.observing import (
    ENVELOPE,
    MAILBOX,
    OTHER,
    PARTIES,
    SOURCE,
    all_there_is,
    context_on,
    host_on,
    installed,
    rows_of,
)
from tests.support import event_types, replay_is_exact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry

PARTY = PARTIES[0]
NICK = PartyInput("mailbox.nick", "jj", "author", "claimed", identifier_scope="example.org")


@pytest.fixture
def untouched(registry: Registry, home: Path) -> Iterator[None]:
    """A store with something in it, in which nothing changes: neither a row of any table nor an object."""
    context_on(registry).ingest(source=SourceInput("file", "/before"), envelope=ENVELOPE, package=package_draft())
    before = all_there_is(registry, home)
    yield
    assert before == all_there_is(registry, home)


def ingest(context: EmbeddedContext, **changed: Any) -> Any:
    return context.ingest(**{"source": SOURCE, "envelope": ENVELOPE, "parties": PARTIES, **changed})


# who it is stays who it is


def _set(context: Any) -> None:
    context._provenance = replace(context._provenance, plugin_name="other")


def _add(context: Any) -> None:
    context.plugin_name = "other"


def _delete(context: Any) -> None:
    del context._provenance


def _become(context: Any) -> None:
    context.__class__ = dict


def _again(context: Any) -> None:
    context.__init__(context._host, installed(OTHER))


def _derive(_: Any) -> None:
    type("Mine", (EmbeddedContext,), {"plugin_name": "other"})


ATTEMPTS: list[Callable[[Any], object]] = [
    copy.copy, copy.deepcopy, _set, _add, _delete, _become, _again, _derive,
    *(lambda context, protocol=protocol: pickle.dumps(context, protocol) for protocol in range(6)),
]  # fmt: skip


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: getattr(attempt, "__name__", "x"))
@pytest.mark.usefixtures("untouched")
def test_a_context_cannot_become_anothers(registry: Registry, attempt: Callable[[Any], object]) -> None:
    context = context_on(registry)

    with pytest.raises(ProvenanceError) as caught:
        attempt(context)

    assert ("PROVENANCE", True) == (caught.value.code, bool(caught.value.hint))
    assert "mailbox" == context._provenance.plugin_name


@pytest.mark.usefixtures("untouched")
def test_a_context_is_nothing_that_could_be_replaced(registry: Registry) -> None:
    with pytest.raises(TypeError):
        dataclasses.replace(context_on(registry), _provenance=None)  # type: ignore[type-var]


@pytest.mark.parametrize("name", ["plugin_name", "plugin_version", "contract_version", "provenance", "actor"])
@pytest.mark.usefixtures("untouched")
def test_a_call_has_no_room_for_who_makes_it(registry: Registry, name: str) -> None:
    with pytest.raises(TypeError, match=name):
        ingest(context_on(registry), **{name: "other"})


def derived(value: Any) -> Any:
    kind = type(value)
    return type("Forged", (kind,), {"__slots__": (), "plugin_name": "other"})(
        *(getattr(value, name) for name in kind.__slots__)
    )


FORGED: dict[str, dict[str, Any]] = {
    "source": {"source": derived(SOURCE)},
    "retrieval": {"source": replace(SOURCE, retrieval=derived(SOURCE.retrieval))},
    "envelope": {"envelope": derived(ENVELOPE)},
    "party": {"parties": [PARTY, derived(PARTY)]},
    "package": {"package": derived(package_draft(external_id="new"))},
}


@pytest.mark.parametrize("changed", FORGED.values(), ids=FORGED)
@pytest.mark.usefixtures("untouched")
def test_a_value_of_a_derived_type_is_refused(registry: Registry, changed: dict[str, Any]) -> None:
    with pytest.raises(ProvenanceError, match="Forged, which is derived from"):
        ingest(context_on(registry), **changed)


def test_what_is_stamped_is_the_plugin_whatever_it_says(registry: Registry) -> None:
    source = replace(SOURCE, metadata={"plugin_name": "other", "plugin_version": "0", "indexed_by": "local:root"})

    ingest(context_on(registry), source=source)

    assert {"plugin:mailbox@2.7.1"} == {event.actor for event in list_events(registry, limit=9)}
    for table in ("source", "envelope"):
        assert {"mailbox", "2.7.1"} <= set(rows_of(registry, table)[0])
    replay_is_exact(registry)


# what is wrong, is refused and leaves nothing


class KindlyEqual(str):
    """Text that is equal to whatever it is compared with."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return super().__hash__()


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "payload": ({"envelope": replace(ENVELOPE, raw_payload=bytes(65_537))}, "PAYLOAD_TOO_LARGE"),
    "payload with a package": (
        {"envelope": replace(ENVELOPE, raw_payload=bytes(65_537)), "package": package_draft(external_id="new")},
        "PAYLOAD_TOO_LARGE",
    ),
    "no source": ({"source": None}, "INPUT_INVALID"),
    "no envelope": ({"envelope": {}}, "INPUT_INVALID"),
    "no party": ({"parties": [None]}, "INPUT_INVALID"),
    "parties that are none": ({"parties": None}, "INPUT_INVALID"),
    "parties that are a number": ({"parties": 7}, "INPUT_INVALID"),
    "parties without end": ({"parties": repeat(PARTY)}, "INPUT_INVALID"),
    "no package": ({"package": {"producer": "x"}}, "INPUT_INVALID"),
    "path id": ({"source": SourceInput("file", "\0")}, "INPUT_INVALID"),
    "transport": ({"envelope": replace(ENVELOPE, transport="I M A P")}, "INPUT_INVALID"),
    "naive time": ({"envelope": replace(ENVELOPE, received_at=datetime(2026, 6, 1))}, "INPUT_INVALID"),  # noqa: DTZ001
    "bytes": ({"envelope": replace(ENVELOPE, raw_payload="text")}, "INPUT_INVALID"),
    "metadata": ({"source": replace(SOURCE, metadata={"a": datetime.now(UTC)})}, "INPUT_INVALID"),
    "location kind": ({"source": SourceInput("nowhere", "x")}, "LOCATION_KIND_UNKNOWN"),
    "location kind that lies": ({"source": SourceInput(KindlyEqual("nowhere"), "x")}, "LOCATION_KIND_UNKNOWN"),
    "path of a kind": ({"source": SourceInput("file", "relative")}, "PATH_ID_INVALID"),
    "url with a bad port": ({"source": SourceInput("url", "http://h:99999/")}, "PATH_ID_INVALID"),
    "url with a bad host": ({"source": SourceInput("url", "http://[::1")}, "PATH_ID_INVALID"),
    "identifier kind": ({"parties": [replace(PARTY, identifier_kind="phone")]}, "IDENTIFIER_KIND_UNKNOWN"),
    "identifier": ({"parties": [replace(PARTY, identifier_value="nobody")]}, "INPUT_INVALID"),
    "role": ({"parties": [replace(PARTY, role="king")]}, "ROLE_INVALID"),
    "role that lies": ({"parties": [replace(PARTY, role=KindlyEqual("king"))]}, "ROLE_INVALID"),
    "trust": ({"parties": [replace(PARTY, trust="king")]}, "INPUT_INVALID"),
    "scope": ({"parties": [replace(PARTY, identifier_scope="x")]}, "INPUT_INVALID"),
    "second party": ({"parties": [PARTY, replace(PARTY, role="king")]}, "ROLE_INVALID"),
    "a package's producer": ({"package": replace(package_draft(external_id="new"), producer="A B")}, "PACKAGE_INVALID"),
    "a package's schema": (
        {"package": replace(package_draft(external_id="new", metadata={}), schema="nobodys.v1")}, "SCHEMA_UNKNOWN"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changed", "code"), WRONG.values(), ids=WRONG)
@pytest.mark.usefixtures("untouched")
def test_what_is_wrong_is_refused_with_a_code_and_a_hint(
    registry: Registry, changed: dict[str, Any], code: str
) -> None:
    with pytest.raises(ArtifactStoreError) as caught:
        ingest(context_on(registry), **changed)

    assert (code, True, True) == (caught.value.code, bool(caught.value.message), caught.value.hint is not None)


class Unusable:
    """A database, or a storage, that nobody may touch."""

    kind = "sqlite"

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(f"{name} was asked for")


def out_of_reach(registry: Registry) -> Registry:
    unusable: Any = Unusable()
    return replace(registry, catalog=Catalog(unusable, system_clock), backends=unusable)


@pytest.mark.parametrize(("changed", "code"), [
    (changed, code) for changed, code in WRONG.values() if code not in {"PACKAGE_INVALID", "SCHEMA_UNKNOWN"}
], ids=[name for name in WRONG if not name.startswith("a package's")])  # fmt: skip
def test_what_is_wrong_is_refused_before_database_or_storage_is_touched(
    registry: Registry, changed: dict[str, Any], code: str
) -> None:
    with pytest.raises(ArtifactStoreError) as caught:
        ingest(context_on(out_of_reach(registry)), **changed)

    assert code == caught.value.code


def test_a_payload_is_measured_before_the_plugins_own_code_is_asked(registry: Registry) -> None:
    plugin = replace(MAILBOX, schemas=lambda: 1 / 0, words=lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    large = replace(ENVELOPE, raw_payload=bytes(9))
    host = replace(host_on(out_of_reach(registry)), max_payload_bytes=8, validator=lambda _: 1 / 0)

    with pytest.raises(PayloadTooLargeError):
        ingest(EmbeddedContext(host, installed(plugin)), envelope=large, package=replace(package_draft(), schema="x"))


# capabilities


@pytest.mark.parametrize(
    "granted", [{}, {"mailbox": set()}, {"mailbox": {Capability.EMIT}, "other": {Capability.INGEST}}]
)
@pytest.mark.usefixtures("untouched")
def test_what_is_not_granted_is_denied(registry: Registry, granted: Any) -> None:
    context = context_on(registry, capabilities=granted)

    with pytest.raises(CapabilityDeniedError) as caught:
        ingest(context, package=package_draft(external_id="new"))

    assert "CAPABILITY_DENIED" == caught.value.code
    assert "ARTIFACTSTORE_PLUGIN_CAPABILITIES='mailbox=ingest'" in str(caught.value.hint)


@pytest.mark.usefixtures("untouched")
def test_to_ingest_is_not_to_emit(registry: Registry) -> None:
    context = context_on(registry, capabilities={"mailbox": {Capability.INGEST}})

    with pytest.raises(CapabilityDeniedError, match="'mailbox' is not granted 'emit'"):
        context.emit("plugin.mailbox.flagged", {})


# emitting


TYPES = [
    "v1.core.x", "v1.core.ingested", "v1.package.finalized", "v1.source.indexed", "", "plugin", "plugin.",
    "plugin.mailbox", "plugin.mailbox.", "plugin.mailbox..", "plugin.mailbox..x", "plugin.mailbox.x.",
    "plugin.mailbox. ", "plugin.mailbox.x ", " plugin.mailbox.x", "plugin.mailbox.X", "Plugin.mailbox.x",
    "plugin.Mailbox.x", "PLUGIN.MAILBOX.X", "plugin.mailbox2.x", "plugin.mailbo\u0445.x", "plugin.mailbox.é",
    "plugin.mailbox\u200b.x", "plugin\uff0emailbox.x", "plugin.mailbox.x\n", "plugin.mailbox.x\0", "plugin.other.x",
    "plugin.mailbox.v1.core.ingested\n", f"plugin.mailbox.{'x' * 65}", "plugin.mailbox.-", "plugin.mailbox/x", 7,
    None, b"plugin.mailbox.x", KindlyEqual("v1.core.ingested"),
]  # fmt: skip


@pytest.mark.parametrize("event_type", TYPES, ids=repr)
@pytest.mark.usefixtures("untouched")
def test_an_event_outside_the_plugins_own_namespace_is_not_emitted(registry: Registry, event_type: Any) -> None:
    with pytest.raises(EmitGuardError) as caught:
        context_on(registry).emit(event_type, {})

    assert ("EMIT_GUARD", "namespace", True) == (caught.value.code, caught.value.reason, bool(caught.value.hint))


class Lying(str):
    """Text that says it begins as is hoped for."""

    __slots__ = ()

    def startswith(self, *_: Any) -> bool:
        return True

    def removeprefix(self, _: str) -> str:
        return "flagged"


@pytest.mark.usefixtures("untouched")
def test_a_type_that_lies_about_how_it_begins_is_seen_through(registry: Registry) -> None:
    with pytest.raises(EmitGuardError, match=r"'v1\.core\.ingested' is not in the namespace"):
        context_on(registry).emit(Lying("v1.core.ingested"), {})


@pytest.mark.parametrize("payload", [
    {"a": b"bytes"}, {"a": float("nan")}, {1: 2}, {"a": 2**53}, {"a": "x" * MAX_EVENT_BYTES}, [], None, "text", 7,
], ids=lambda payload: repr(payload)[:20])  # fmt: skip
@pytest.mark.usefixtures("untouched")
def test_what_is_no_small_json_object_is_not_emitted(registry: Registry, payload: Any) -> None:
    with pytest.raises(EmitGuardError) as caught:
        context_on(registry).emit("plugin.mailbox.flagged", payload)

    assert "payload" == caught.value.reason


@pytest.mark.parametrize("subject", [" ", "a\nb", "x" * 513, 7, b"x"])
@pytest.mark.usefixtures("untouched")
def test_what_an_event_is_about_must_be_text(registry: Registry, subject: Any) -> None:
    with pytest.raises(EmitGuardError) as caught:
        context_on(registry).emit("plugin.mailbox.flagged", {}, subject=subject)

    assert "subject" == caught.value.reason


@pytest.mark.parametrize(
    "event_type", ["plugin.mailbox.flagged", "plugin.mailbox.message.flagged-2", "plugin.mailbox.7"]
)
def test_an_event_of_its_own_is_in_the_log_with_who_emitted_it(registry: Registry, event_type: str) -> None:
    context_on(registry).emit(event_type, {"n": 2.0}, subject="<7@example.org>")
    context_on(registry).emit(event_type, {})

    events = list_events(registry, limit=9)
    assert [event_type] * 2 == [event.type for event in events]
    assert ["<7@example.org>", "mailbox"] == [event.subject for event in events]
    assert {"plugin:mailbox@2.7.1"} == {event.actor for event in events}
    replay_is_exact(registry)


# the host's validator


def no_weekends(given: IngestInput) -> IngestInput:
    if given.source.path_id.startswith("<7"):
        raise ValueError("not on a Sunday")
    return given


ADAPTER = TypeAdapter(IngestInput)
STRICT: TypeAdapter[IngestInput] = TypeAdapter(Annotated[IngestInput, AfterValidator(no_weekends)])


@pytest.mark.parametrize("validator", [no_weekends, STRICT])
@pytest.mark.usefixtures("untouched")
def test_what_the_hosts_validator_refuses_is_invalid(registry: Registry, validator: Any) -> None:
    with pytest.raises(ObservationError, match="the host's validator refuses it") as caught:
        ingest(context_on(registry, validator=validator), package=package_draft(external_id="new"))

    assert "INPUT_INVALID" == caught.value.code
    assert "not on a Sunday" in f"{caught.value.message} {caught.value.problems}"
    assert caught.value.__cause__ is not None


@pytest.mark.usefixtures("untouched")
def test_what_pydantic_finds_is_told_by_its_place_and_not_repeated(registry: Registry) -> None:
    strings: TypeAdapter[Any] = TypeAdapter(dict[str, int])

    with pytest.raises(ObservationError) as caught:
        ingest(context_on(registry, validator=strings))

    assert [("", "Input should be a valid dictionary")] == list(caught.value.problems)
    assert "jane" not in str(caught.value).lower()


@pytest.mark.parametrize("package", [None, package_draft()])
def test_the_contract_itself_is_a_validator(registry: Registry, package: Any) -> None:
    result = ingest(context_on(registry, validator=ADAPTER), package=package)

    assert result.envelope.was_created


def test_an_adapter_looks_into_what_it_is_given() -> None:
    given = IngestInput(SOURCE, ENVELOPE, PARTIES, package_draft())

    assert given == ADAPTER.validate_python(given)
    assert given == ADAPTER.validate_python(
        {"source": SOURCE, "envelope": ENVELOPE, "parties": PARTIES, "package": given.package}
    )
    for wrong in (
        replace(given, source=replace(SOURCE, location_kind=7)),  # type: ignore[arg-type]
        replace(given, parties=(replace(PARTY, role=None),)),  # type: ignore[arg-type]
        replace(given, package={"producer": "x"}),  # type: ignore[arg-type]
        {"source": {"location_kind": "file", "path_id": "/a", "plugin_name": "other"}, "envelope": ENVELOPE},
    ):
        with pytest.raises(ValueError, match="validation error"):
            ADAPTER.validate_python(wrong)


def test_what_a_validator_answers_or_changes_is_not_recorded(registry: Registry) -> None:
    def meddle(given: IngestInput) -> IngestInput:
        (given.source.metadata or {}).clear()
        return replace(given, source=SourceInput("file", "/elsewhere"))

    metadata = {"folder": {"name": "inbox"}}
    ingest(context_on(registry, validator=meddle), source=replace(SOURCE, metadata=metadata))

    (row,) = rows_of(registry, "source")
    assert {"<7@example.org>", '{"folder":{"name":"inbox"}}'} <= set(row)
    assert {"folder": {"name": "inbox"}} == metadata


def test_parties_that_a_validator_takes_away_are_recorded(registry: Registry) -> None:
    parties = list(PARTIES)

    ingest(context_on(registry, validator=lambda _: parties.clear()), parties=parties)

    assert 2 == len(rows_of(registry, "party"))


def test_the_validator_is_asked_after_the_shape_and_before_the_capability(registry: Registry) -> None:
    asked: list[IngestInput] = []

    def refuse(given: IngestInput) -> None:
        asked.append(given)
        raise ValueError("no")

    context = context_on(registry, validator=refuse, capabilities={})
    with pytest.raises(PayloadTooLargeError):
        ingest(context, envelope=replace(ENVELOPE, raw_payload=bytes(65_537)))
    with pytest.raises(ProvenanceError):
        ingest(context, source=derived(SOURCE))
    with pytest.raises(ObservationError, match="cannot be recorded as described"):
        ingest(context, source=SourceInput("", ""))
    assert [] == asked
    with pytest.raises(ObservationError, match="the host's validator refuses it: no"):
        ingest(context)
    with pytest.raises(ObservationError, match="the host's validator"):
        ingest(context, source=SourceInput("nowhere", "x"))
    assert 2 == len(asked)


def test_the_capability_is_asked_before_the_words(registry: Registry) -> None:
    context = context_on(registry, capabilities={})

    with pytest.raises(CapabilityDeniedError):
        ingest(context, source=SourceInput("nowhere", "x"))


def test_an_error_of_ours_passes_through_a_validator(registry: Registry) -> None:
    def busy(_: IngestInput) -> None:
        raise CatalogUnavailableError("busy")

    with pytest.raises(CatalogUnavailableError):
        ingest(context_on(registry, validator=busy))


@pytest.mark.usefixtures("untouched")
def test_what_ends_the_process_passes_through_a_validator(registry: Registry) -> None:
    def interrupt(_: IngestInput) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(context_on(registry, validator=interrupt))


# the plug-ins' own code


def fail(*_: object) -> NoReturn:
    raise RuntimeError("no")


def interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def hooks(raising: Callable[..., Any]) -> dict[str, Any]:
    """A plug-in for each of its hooks that raises."""
    location, identifier = "mailbox.message", "mailbox.nick"
    words = {
        "normaliser of a location": Words((LocationKind(location, "x", normalise=raising),)),
        "validator of a location": Words((LocationKind(location, "x", problem=raising),)),
        "normaliser of an identifier": Words(
            (LocationKind(location, "x"),), (IdentifierKind(identifier, "x", Scoping.SCOPED, normalise=raising),)
        ),
        "validator of an identifier": Words(
            (LocationKind(location, "x"),), (IdentifierKind(identifier, "x", Scoping.SCOPED, problem=raising),)
        ),
    }
    return {
        **{name: replace(MAILBOX, words=lambda found=found: found) for name, found in words.items()},
        "words": replace(MAILBOX, words=raising),
        "schemas": replace(MAILBOX, schemas=raising),
    }


@pytest.mark.parametrize("hook", hooks(fail))
@pytest.mark.usefixtures("untouched")
def test_a_hook_that_raises_leaves_nothing_and_its_plugin_is_named(registry: Registry, hook: str) -> None:
    context = context_on(registry, hooks(fail)[hook])
    draft = replace(package_draft(external_id="new", metadata={}), schema="mailbox.v1")

    with pytest.raises(PluginFailedError, match=r"'mailbox' failed .*RuntimeError$") as caught:
        ingest(context, parties=[NICK], package=draft)

    assert ("PLUGIN_FAILED", True) == (caught.value.code, bool(caught.value.hint))


@pytest.mark.parametrize("hook", hooks(interrupt))
@pytest.mark.usefixtures("untouched")
def test_what_ends_the_process_passes_through_a_hook(registry: Registry, hook: str) -> None:
    context = context_on(registry, hooks(interrupt)[hook])
    draft = replace(package_draft(external_id="new", metadata={}), schema="mailbox.v1")

    with pytest.raises(KeyboardInterrupt):
        ingest(context, parties=[NICK], package=draft)


# what fails below arrives as it is


@pytest.mark.parametrize("kind", [CatalogUnavailableError, CatalogFullError, StorageDeniedError, StorageFullError])
@pytest.mark.parametrize("package", [None, package_draft(external_id="new")])
@pytest.mark.usefixtures("untouched")
def test_a_catalog_that_fails_is_not_the_plugins_fault(registry: Registry, kind: Any, package: Any) -> None:
    def break_down(_: object) -> NoReturn:
        raise kind("the disk is gone")

    failing = replace(registry, catalog=registry.catalog.doing_first(break_down))

    with pytest.raises(kind) as caught:
        ingest(context_on(failing), package=package)

    assert kind is type(caught.value)


def test_a_kind_of_a_plugin_that_is_not_installed_is_unknown(registry: Registry) -> None:
    with pytest.raises(LocationKindUnknownError, match=r"'mailbox\.message'"):
        EmbeddedContext(host_on(registry, OTHER), installed(OTHER)).ingest(source=SOURCE, envelope=ENVELOPE)
    assert [] == event_types(registry)


def test_an_envelope_of_nothing_is_one(registry: Registry) -> None:
    empty = EnvelopeInput("imap", b"", ENVELOPE.received_at)

    assert ingest(context_on(registry), envelope=empty).envelope.was_created
    replay_is_exact(registry)
