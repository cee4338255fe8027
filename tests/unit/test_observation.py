"""From what a plug-in says to what is recorded: every rule, and that nothing can change between check and use."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import cbor2
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.domain.observation import MAX_METADATA_BYTES, Observation, check_input, settled
from artifactstore.domain.provenance import (
    ENVELOPE_TAG,
    MAX_PARTIES,
    MAX_PAYLOAD_BYTES,
    SOURCE_TAG,
    EnvelopeInput,
    IngestInput,
    PartyInput,
    Provenance,
    Retrieval,
    SourceInput,
    envelope_id,
    source_id,
)
from artifactstore.domain.provenance_events import PartyRef
from artifactstore.domain.vocabulary import CORE, IdentifierKind, LocationKind, Scoping, Words
from artifactstore.errors import (
    ArtifactStoreError,
    CatalogUnavailableError,
    IdentifierKindUnknownError,
    LocationKindUnknownError,
    ObservationError,
    PathIdInvalidError,
    PayloadTooLargeError,
    PluginFailedError,
    ProvenanceError,
    RoleInvalidError,
)
from artifactstore.plugins.core import PLUGIN
from artifactstore.testing.builders import package_draft
from tests.unit.strategies import json_objects

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = SourceInput("file", "/srv/reports")
ENVELOPE = EnvelopeInput("filesystem", b"seen", datetime(2026, 6, 1, 12, tzinfo=UTC))
PARTY = PartyInput("email", "jane@example.org", "author", "claimed")


def an_input(**members: Any) -> IngestInput:
    return replace(IngestInput(SOURCE, ENVELOPE), **members)


def checked(given: IngestInput, max_payload_bytes: int = MAX_PAYLOAD_BYTES) -> IngestInput:
    return check_input(given, max_payload_bytes=max_payload_bytes)


class Vocabulary:
    """The core's words, and those of one plug-in if there are any."""

    def __init__(self, mailbox: Words | None = None) -> None:
        self._words = {CORE: PLUGIN.words(), "mailbox": mailbox}

    def words_of(self, plugin: str) -> Words | None:
        return self._words.get(plugin)


def observation_of(given: IngestInput, mailbox: Words | None = None) -> Observation:
    return settled(checked(given), Vocabulary(mailbox))


def problems_of(given: IngestInput) -> dict[str, str]:
    with pytest.raises(ObservationError) as caught:
        checked(given)
    assert "INPUT_INVALID" == caught.value.code
    assert caught.value.hint
    return dict(caught.value.problems)


# what is recorded


def test_what_is_said_is_recorded_in_its_normal_form() -> None:
    retrieval = Retrieval("text/plain", "Reports")
    source = SourceInput("file", "/srv//a b/", "host-1", retrieval, {"b": 2.0, "a": [None]})
    berlin = timezone(timedelta(hours=2))
    envelope = EnvelopeInput("imap", b"\x00\xff", datetime(2026, 6, 1, 14, 0, 0, 7, tzinfo=berlin))
    parties = (
        PartyInput("email", "Jane@EXAMPLE.org", "author", "verified"),
        PartyInput("service", " ci ", "runner", "claimed", identifier_scope="example.org"),
    )

    seen = observation_of(IngestInput(source, envelope, parties))

    assert seen == Observation(
        source_id=blake3(cbor2.dumps([SOURCE_TAG, "file", "file:///srv/a%20b"])).digest(),
        location_kind="file",
        path_id="file:///srv/a%20b",
        owner_host_id="host-1",
        content_type="text/plain",
        display_name="Reports",
        metadata={"a": [None], "b": 2},
        transport="imap",
        received_at=1_780_315_200_000_007,
        raw_payload=b"\x00\xff",
        parties=(
            PartyRef("email", None, "Jane@example.org", "author", "verified"),
            PartyRef("service", "example.org", "ci", "runner", "claimed"),
        ),
    )


def test_the_id_of_an_envelope_is_the_digest_of_what_makes_it_one() -> None:
    source = source_id("file", "file:///a")
    members = [ENVELOPE_TAG, source, "imap", 7, "mailbox", "2"]

    found = envelope_id(source, "imap", 7, Provenance("mailbox", "1.0", "2"))

    assert blake3(cbor2.dumps(members)).digest() == found
    assert found == envelope_id(source, "imap", 7, Provenance("mailbox", "9.9", "2"))


def test_what_a_token_declares_is_another_witness_than_the_plugin_itself() -> None:
    source = source_id("file", "file:///a")
    witnesses = [
        Provenance("mailbox", "1", "1"),
        Provenance("mailbox", "1", "1", declared_by="token:ci"),
        Provenance("mailbox", "1", "1", declared_by="token:other"),
        Provenance("mailbox", "1", "2"),
        Provenance("other", "1", "1"),
    ]

    assert 5 == len({envelope_id(source, "imap", 7, witness) for witness in witnesses})
    assert ["plugin:mailbox@1", "token:ci"] == [each.actor for each in witnesses[:2]]
    assert [False, True] == [each.is_declared for each in witnesses[:2]]


@given(
    st.datetimes(datetime(1970, 1, 3), datetime(9999, 12, 29)),  # noqa: DTZ001 - hypothesis adds the zone
    st.integers(-1439, 1439),
    st.integers(-1439, 1439),
)
def test_one_instant_is_the_same_whatever_its_offset(moment: datetime, one: int, other: int) -> None:
    at = moment.replace(tzinfo=UTC)
    zones = [timezone(timedelta(minutes=minutes)) for minutes in (one, other)]

    found = {
        observation_of(an_input(envelope=replace(ENVELOPE, received_at=at.astimezone(zone)))).received_at
        for zone in zones
    }

    since = moment - datetime(1970, 1, 1)  # noqa: DTZ001
    assert {(since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds} == found


def test_who_is_named_twice_in_one_role_is_named_once() -> None:
    again = replace(PARTY, identifier_value="jane@EXAMPLE.org", trust="verified")
    other_role = replace(PARTY, role="sender")

    seen = observation_of(an_input(parties=(PARTY, again, other_role)))

    assert [("author", "claimed"), ("sender", "claimed")] == [(party.role, party.trust) for party in seen.parties]


@given(json_objects)
def test_metadata_is_recorded_in_canonical_form_and_is_nobody_elses(metadata: dict[str, Any]) -> None:
    seen = observation_of(an_input(source=replace(SOURCE, metadata=metadata)))

    assert metadata == seen.metadata
    metadata["changed"] = True
    assert "changed" not in (seen.metadata or {})


# limits


def test_a_payload_may_have_so_many_bytes_and_no_more() -> None:
    most = replace(ENVELOPE, raw_payload=bytes(MAX_PAYLOAD_BYTES))

    assert most == checked(an_input(envelope=most)).envelope
    with pytest.raises(PayloadTooLargeError, match="has 65537 bytes, more than 65536") as caught:
        checked(an_input(envelope=replace(most, raw_payload=bytes(MAX_PAYLOAD_BYTES + 1))))
    assert ("PAYLOAD_TOO_LARGE", True) == (caught.value.code, bool(caught.value.hint))


def test_a_payload_that_is_too_large_is_refused_before_anything_else_is_looked_at() -> None:
    all_wrong = IngestInput(7, EnvelopeInput(7, b"12", 7), 7, 7)  # type: ignore[arg-type]

    with pytest.raises(PayloadTooLargeError):
        checked(all_wrong, max_payload_bytes=1)


def test_nothing_at_all_is_a_payload() -> None:
    assert b"" == observation_of(an_input(envelope=replace(ENVELOPE, raw_payload=b""))).raw_payload


def test_there_may_be_so_many_parties_and_no_more() -> None:
    most = tuple(replace(PARTY, identifier_value=f"{n}@x") for n in range(MAX_PARTIES))

    assert MAX_PARTIES == len(observation_of(an_input(parties=most)).parties)
    assert {"/parties": "are more than 1000"} == problems_of(an_input(parties=(*most, PARTY)))


# every member


SOURCE_PROBLEMS: list[tuple[str, Any]] = [
    ("location_kind", 7), ("location_kind", ""), ("location_kind", "a\0"), ("location_kind", None),
    ("path_id", 7), ("path_id", b"/a"), ("path_id", " "), ("path_id", "x" * 2_049), ("path_id", "a\nb"),
    ("path_id", "e\u0301"), ("path_id", "\ud800"), ("path_id", None),
    ("owner_host_id", 7), ("owner_host_id", ""), ("owner_host_id", "x" * 513),
    ("metadata", []), ("metadata", "{}"), ("metadata", {1: 2}), ("metadata", {"a": float("nan")}),
    ("metadata", {"a": b""}), ("metadata", {"a": 2**53}), ("metadata", {"a": "x" * MAX_METADATA_BYTES}),
    ("metadata", {"e\u0301": 1}),
]  # fmt: skip
ENVELOPE_PROBLEMS: list[tuple[str, Any]] = [
    ("transport", 7), ("transport", ""), ("transport", "IMAP"), ("transport", "a b"), ("transport", None),
    ("raw_payload", "text"), ("raw_payload", bytearray(b"x")), ("raw_payload", memoryview(b"x")), ("raw_payload", None),
    ("raw_payload", type("Mine", (bytes,), {})(b"x")),
    ("received_at", 7), ("received_at", "2026-06-01T00:00:00Z"), ("received_at", None),
    ("received_at", datetime(2026, 6, 1)),  # noqa: DTZ001
    ("received_at", datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC)),
    ("received_at", datetime(1970, 1, 1, tzinfo=timezone(timedelta(hours=1)))),
    ("received_at", datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))),
]  # fmt: skip
PARTY_PROBLEMS: list[tuple[str, Any]] = [
    ("identifier_kind", 7), ("identifier_value", ""), ("identifier_value", None), ("role", ["author"]), ("trust", None),
    ("identifier_scope", 7), ("identifier_scope", ""), ("identifier_value", "x" * 513),
]  # fmt: skip


@pytest.mark.parametrize(("member", "value"), SOURCE_PROBLEMS, ids=repr)
def test_a_member_of_a_source_that_is_wrong_is_named(member: str, value: Any) -> None:
    found = problems_of(an_input(source=replace(SOURCE, **{member: value})))

    assert [f"/source/{member}"] == list(found)
    assert all(found.values())


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("content_type", 7),
        ("content_type", "text"),
        ("display_name", 7),
        ("display_name", ""),
        ("display_name", "a\tb"),
    ],
)
def test_a_member_of_the_retrieval_that_is_wrong_is_named(member: str, value: Any) -> None:
    retrieval = replace(Retrieval(), **{member: value})

    found = problems_of(an_input(source=replace(SOURCE, retrieval=retrieval)))

    assert [f"/source/retrieval/{member}"] == list(found)


@pytest.mark.parametrize(("member", "value"), ENVELOPE_PROBLEMS, ids=repr)
def test_a_member_of_an_envelope_that_is_wrong_is_named(member: str, value: Any) -> None:
    found = problems_of(an_input(envelope=replace(ENVELOPE, **{member: value})))

    assert [f"/envelope/{member}"] == list(found)


@pytest.mark.parametrize(("member", "value"), PARTY_PROBLEMS, ids=repr)
def test_a_member_of_a_party_that_is_wrong_is_named_with_its_number(member: str, value: Any) -> None:
    found = problems_of(an_input(parties=(PARTY, replace(PARTY, **{member: value}))))

    assert [f"/parties/1/{member}"] == list(found)


def test_all_that_is_wrong_is_named_at_once() -> None:
    found = problems_of(
        IngestInput(SourceInput("", "", metadata={"a": {1}}), EnvelopeInput("X", b"", datetime(2026, 1, 1)), (  # noqa: DTZ001
            PartyInput("", "", "", ""),
        ))
    )  # fmt: skip

    assert 9 == len(found)


def test_a_moment_without_an_offset_is_told_why() -> None:
    found = problems_of(an_input(envelope=replace(ENVELOPE, received_at=datetime(2026, 6, 1))))  # noqa: DTZ001

    assert {"/envelope/received_at": "has no offset from UTC, so it could mean any of 26 hours"} == found


# types


def derived(value: Any, **members: Any) -> Any:
    """A value of a type derived from its own, with more to say."""
    kind = type(value)
    subclass = type("Forged", (kind,), {"__slots__": (), "plugin_name": "other", **members})
    return subclass(*(getattr(value, name) for name in kind.__slots__))


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(an_input(source=derived(SOURCE)), id="source"),
        pytest.param(an_input(source=replace(SOURCE, retrieval=derived(Retrieval()))), id="retrieval"),
        pytest.param(an_input(envelope=derived(ENVELOPE)), id="envelope"),
        pytest.param(an_input(parties=(PARTY, derived(PARTY))), id="party"),
        pytest.param(an_input(package=derived(package_draft())), id="package"),
        pytest.param(derived(an_input()), id="the whole"),
    ],
)
def test_a_value_of_a_derived_type_is_an_attempt_at_provenance(given: IngestInput) -> None:
    with pytest.raises(ProvenanceError, match="which is derived from") as caught:
        checked(given)

    assert ("PROVENANCE", True) == (caught.value.code, bool(caught.value.hint))


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(an_input(source={"location_kind": "file"}), id="source"),
        pytest.param(an_input(source=replace(SOURCE, retrieval=None)), id="retrieval"),  # type: ignore[arg-type]
        pytest.param(an_input(envelope=None), id="envelope"),
        pytest.param(an_input(parties=[PARTY]), id="parties"),
        pytest.param(an_input(parties=(PARTY, ("email", "x", "author", "claimed", None))), id="party"),
        pytest.param(an_input(package={"producer": "x"}), id="package"),
        pytest.param({"source": SOURCE, "envelope": ENVELOPE}, id="the whole"),
    ],
)
def test_a_value_of_another_type_is_refused(given: Any) -> None:
    with pytest.raises(ObservationError, match="is a ") as caught:
        checked(given)

    assert "INPUT_INVALID" == caught.value.code


@pytest.mark.parametrize("kind", [SourceInput, EnvelopeInput, PartyInput, IngestInput, Retrieval])
@pytest.mark.parametrize("name", ["plugin_name", "plugin_version", "contract_version", "declared_by", "actor"])
def test_no_input_has_room_for_who_says_it(kind: type, name: str) -> None:
    value = kind.__new__(kind)

    with pytest.raises(TypeError, match=name):
        kind(**{name: "other"})
    with pytest.raises((AttributeError, TypeError)):
        setattr(value, name, "other")
    with pytest.raises(AttributeError):
        object.__setattr__(value, name, "other")


# what lies, and what changes


class EqualToAll(str):
    """Text that answers what is hoped for, whatever it is."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return hash("author")

    def __len__(self) -> int:
        return 5

    def strip(self, _: str | None = None) -> str:
        return "author"

    def rpartition(self, _: str) -> tuple[str, str, str]:
        return "", "", "author"


class Ascii(str):
    """Text that says it is plain."""

    __slots__ = ()

    def isascii(self) -> bool:
        return True


@pytest.mark.parametrize("text", ["e\u0301", "\ud800"])
@pytest.mark.parametrize("metadata", [lambda text: {"a": [text]}, lambda text: {text: 1}])
def test_text_in_metadata_that_says_it_is_plain_is_looked_at(text: str, metadata: Callable[[str], Any]) -> None:
    found = problems_of(an_input(source=replace(SOURCE, metadata=metadata(Ascii(text)))))

    assert ["/source/metadata"] == list(found)


class Role(StrEnum):
    AUTHOR = "author"


def test_text_that_is_equal_to_all_is_what_it_is() -> None:
    with pytest.raises(RoleInvalidError):
        observation_of(an_input(parties=(replace(PARTY, role=EqualToAll("king")),)))
    with pytest.raises(IdentifierKindUnknownError):
        observation_of(an_input(parties=(replace(PARTY, identifier_kind=EqualToAll("king")),)))
    with pytest.raises(ObservationError, match="level of trust 'king'"):
        observation_of(an_input(parties=(replace(PARTY, trust=EqualToAll("king")),)))
    with pytest.raises(LocationKindUnknownError, match=r"'guide-board.run'"):
        observation_of(an_input(source=replace(SOURCE, location_kind=EqualToAll("guide-board.run"))))
    assert {"/source/path_id"} == set(problems_of(an_input(source=replace(SOURCE, path_id=EqualToAll("")))))


def test_text_of_an_enumeration_is_text() -> None:
    seen = observation_of(an_input(parties=(replace(PARTY, role=Role.AUTHOR),)))

    assert (str, "author") == (type(seen.parties[0].role), seen.parties[0].role)


class Wandering(tzinfo):
    """A time zone that moves by an hour each time it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def utcoffset(self, _: datetime | None) -> timedelta:
        self.asked += 1
        return timedelta(hours=self.asked % 12)


class Late(datetime):
    """A moment that says it is another one."""

    def __sub__(self, _: object) -> Any:
        return timedelta(days=10_000_000)

    def utcoffset(self) -> timedelta | None:
        return timedelta(hours=-9)

    def astimezone(self, _: tzinfo | None = None) -> Any:
        return datetime(2000, 1, 1, tzinfo=UTC)


class Failing(tzinfo):
    def utcoffset(self, _: datetime | None) -> timedelta:
        raise RuntimeError("no")


def test_a_time_zone_that_moves_is_asked_by_the_check_alone() -> None:
    zone = Wandering()
    known = checked(an_input(envelope=replace(ENVELOPE, received_at=datetime(2026, 6, 1, 12, tzinfo=zone))))

    asked = zone.asked
    seen = {settled(known, Vocabulary()).received_at for _ in range(5)}

    assert (asked, 1, UTC) == (zone.asked, len(seen), known.envelope.received_at.tzinfo)


def test_a_moment_of_a_derived_type_is_the_moment_it_holds() -> None:
    seen = observation_of(an_input(envelope=replace(ENVELOPE, received_at=Late(2026, 6, 1, 12, tzinfo=UTC))))

    assert observation_of(an_input()).received_at == seen.received_at


def test_a_time_zone_that_fails_is_a_wrong_member() -> None:
    moment = datetime(2026, 6, 1, tzinfo=Failing())

    found = problems_of(an_input(envelope=replace(ENVELOPE, received_at=moment)))

    assert {"/envelope/received_at": "has a time zone that fails: RuntimeError"} == found


def test_metadata_that_is_changed_after_the_check_changes_nothing() -> None:
    metadata: dict[str, Any] = {"a": {"b": [1]}}
    known = checked(an_input(source=replace(SOURCE, metadata=metadata)))

    metadata["a"]["b"].append("x" * MAX_METADATA_BYTES)

    assert {"a": {"b": [1]}} == settled(known, Vocabulary()).metadata


# words


@pytest.mark.parametrize("kind", ["files", "FILE", "mailbox.message", "guide-board.run", "core.file", "email"])
def test_a_location_kind_that_nobody_registers_is_refused(kind: str) -> None:
    with pytest.raises(LocationKindUnknownError, match=kind) as caught:
        observation_of(an_input(source=replace(SOURCE, location_kind=kind)))

    assert ("LOCATION_KIND_UNKNOWN", True) == (caught.value.code, bool(caught.value.hint))


def test_a_path_id_that_its_kind_refuses_is_told_what_it_must_be_and_not_repeated() -> None:
    with pytest.raises(PathIdInvalidError, match="must not hold a user name or password") as caught:
        observation_of(an_input(source=SourceInput("url", "https://me:secret@example.org/")))

    assert ("PATH_ID_INVALID", "A URL with a host, without user or password.") == (caught.value.code, caught.value.hint)
    assert "secret" not in f"{caught.value} {caught.value.problems}"


def test_a_path_id_that_is_too_long_when_it_is_normal_is_refused() -> None:
    with pytest.raises(PathIdInvalidError, match="1 to 2048 characters"):
        observation_of(an_input(source=replace(SOURCE, path_id="/" + "é" * 1_000)))


@pytest.mark.parametrize(
    ("party", "error", "code"),
    [
        (replace(PARTY, identifier_kind="phone"), IdentifierKindUnknownError, "IDENTIFIER_KIND_UNKNOWN"),
        (replace(PARTY, identifier_kind="file"), IdentifierKindUnknownError, "IDENTIFIER_KIND_UNKNOWN"),
        (replace(PARTY, role="Author"), RoleInvalidError, "ROLE_INVALID"),
        (replace(PARTY, role="core.author"), RoleInvalidError, "ROLE_INVALID"),
        (replace(PARTY, trust="certain"), ObservationError, "INPUT_INVALID"),
        (replace(PARTY, identifier_value="nobody"), ObservationError, "INPUT_INVALID"),
        (replace(PARTY, identifier_scope="example.org"), ObservationError, "INPUT_INVALID"),
        (replace(PARTY, identifier_kind="service"), ObservationError, "INPUT_INVALID"),
    ],
)
def test_a_party_that_words_do_not_allow_is_named_by_its_number(
    party: PartyInput, error: type[ArtifactStoreError], code: str
) -> None:
    with pytest.raises(error, match="/parties/1") as caught:
        observation_of(an_input(parties=(PARTY, party)))

    assert (code, True) == (caught.value.code, bool(caught.value.hint))


# what plug-ins' own code does


def fail(_: str) -> Any:
    raise ValueError("no")


def interrupt(_: str) -> Any:
    raise KeyboardInterrupt


def refuse(_: str) -> Any:
    raise CatalogUnavailableError("busy")


HOOKS: dict[str, Callable[[Callable[[str], Any]], tuple[IngestInput, Words]]] = {
    "location normaliser": lambda hook: (
        an_input(source=replace(SOURCE, location_kind="mailbox.x")),
        Words((LocationKind("mailbox.x", "x", normalise=hook),)),
    ),
    "location validator": lambda hook: (
        an_input(source=replace(SOURCE, location_kind="mailbox.x")),
        Words((LocationKind("mailbox.x", "x", problem=hook),)),
    ),
    "identifier normaliser": lambda hook: (
        an_input(parties=(replace(PARTY, identifier_kind="mailbox.x"),)),
        Words(identifier_kinds=(IdentifierKind("mailbox.x", "x", Scoping.GLOBAL, normalise=hook),)),
    ),
    "identifier validator": lambda hook: (
        an_input(parties=(replace(PARTY, identifier_kind="mailbox.x"),)),
        Words(identifier_kinds=(IdentifierKind("mailbox.x", "x", Scoping.GLOBAL, problem=hook),)),
    ),
}


@pytest.mark.parametrize("place", HOOKS)
def test_a_hook_that_raises_is_its_plugins_failure(place: str) -> None:
    with pytest.raises(PluginFailedError, match=r"'mailbox' failed in its .* of mailbox.x: ValueError$") as caught:
        observation_of(*HOOKS[place](fail))

    assert ("PLUGIN_FAILED", True) == (caught.value.code, bool(caught.value.hint))
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("place", HOOKS)
@pytest.mark.parametrize("answer", [7, b"text", ["text"]])
def test_a_hook_that_answers_something_else_is_its_plugins_failure(place: str, answer: object) -> None:
    with pytest.raises(PluginFailedError, match=f"it answered a {type(answer).__name__}"):
        observation_of(*HOOKS[place](lambda _: answer))


@pytest.mark.parametrize("place", HOOKS)
def test_what_ends_the_process_passes_through_a_hook(place: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        observation_of(*HOOKS[place](interrupt))


@pytest.mark.parametrize("place", HOOKS)
def test_an_error_of_ours_passes_through_a_hook(place: str) -> None:
    with pytest.raises(CatalogUnavailableError):
        observation_of(*HOOKS[place](refuse))


@pytest.mark.parametrize("answer", ["", " ", "a\0b", "e\u0301", "x" * 2_049, "\ud800"])
def test_a_normaliser_that_answers_no_proper_text_makes_an_invalid_path_id(answer: str) -> None:
    with pytest.raises(PathIdInvalidError):
        observation_of(*HOOKS["location normaliser"](lambda _: answer))


def test_text_that_a_normaliser_derived_is_recorded_as_plain_text() -> None:
    seen = observation_of(*HOOKS["location normaliser"](lambda _: EqualToAll("there")))

    assert (str, "there", source_id("mailbox.x", "there")) == (type(seen.path_id), seen.path_id, seen.source_id)
