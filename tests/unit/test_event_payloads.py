"""Every event and its payload, and the log's header and chain."""

from __future__ import annotations

import dataclasses
from typing import Any

import cbor2
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.catalog.event_log import CHAIN_TAG, LOG_TAG, encode_header, first_chain, next_chain
from artifactstore.domain import events, object_events
from artifactstore.domain.canonical import encode
from artifactstore.domain.event import Event, ObjectRef
from artifactstore.domain.events import EVENT_TYPES, FilesAdded, event_from
from artifactstore.domain.provenance_events import EnvelopeIndexed, Ingested, PartyRef, SourceIndexed
from artifactstore.errors import EventLogCorruptError
from artifactstore.pilots.testing_os.adopted import PoliciesAdopted
from artifactstore.pilots.testing_os.recorded import SubmissionRecorded
from artifactstore.testing.builders import file_entry
from tests.unit.strategies import file_lists, raw_digests

PACKAGE = "019aa05c-7a00-7000-8000-000000000001"
OBJECT = ObjectRef("default", "pack", bytes(32), 1000)
FILES = (file_entry("a", b"a"), file_entry("b", b"b"), file_entry("c", b"a"))
METADATA = {"list": [1, [2.5, None]], "map": {"a": True}}

EVENTS: list[Event] = [
    events.MetadataSchemaRegistered(slug="a.v1", json_schema={"type": ["object"], "required": ["a"]}, registered_at=1),
    events.PackageOpened(package_id=PACKAGE, producer="p", revision=1, opened_at=1),
    events.PackageOpened(
        package_id=PACKAGE,
        producer="p",
        revision=2,
        opened_at=1,
        external_id="run-1",
        subject_ref="urn:x",
        schema="a.v1",
        metadata=METADATA,
        supersedes=PACKAGE,
    ),
    events.FilesAdded(
        package_id=PACKAGE,
        first_index=10_000,
        files=FILES,
        objects=(OBJECT, OBJECT._replace(kind="blob")),
        crc32s=(7, None, None),
        object_indexes=(0, 1, None),
        starts=(94, 0, None),
        chunks=((1, bytes(64)),),
    ),
    events.RetentionApplied(package_id=PACKAGE, retention_class="transient", duration_days=7, expires_at=8),
    events.RetentionApplied(package_id=PACKAGE, retention_class="permanent-record"),
    events.PackageFinalized(
        package_id=PACKAGE, manifest=OBJECT, file_count=3, total_bytes=3, stored_bytes=2, finalized_at=1
    ),
    events.PackageExpired(package_id=PACKAGE, expired_at=1),
    events.PackageDeleted(
        package_id=PACKAGE, plan=bytes(32), rule="expired", reason="space", deleted_at=2, objects=(OBJECT, OBJECT)
    ),
    events.PackagePinned(package_id=PACKAGE, reason="reference", pinned_at=1),
    events.PackageUnpinned(package_id=PACKAGE, reason="over", unpinned_at=2),
    events.PlanApproved(package_id=PACKAGE, plan=bytes(32), approved_at=2),
    events.RetentionExtended(package_id=PACKAGE, expires_at=9, reason="Prüfung"),
    events.HoldPlaced(package_id=PACKAGE, hold_id="h", reason="law", placed_at=1),
    events.HoldReleased(package_id=PACKAGE, hold_id="h", reason="over", released_at=2),
    object_events.BlobDamaged(object=OBJECT, blobs=(bytes(32), bytes(range(32))), finding="altered"),
    object_events.BlobRestored(object=OBJECT, blobs=((bytes(32), 94),)),
    object_events.ObjectDamaged(object=OBJECT, finding="missing"),
    object_events.ObjectRestored(object=OBJECT),
    object_events.ObjectCondemned(object=OBJECT),
    object_events.ObjectReprieved(object=OBJECT),
    object_events.PackRepacked(object=OBJECT, source=OBJECT._replace(size_bytes=2000), blobs=((bytes(32), 94),)),
    object_events.ObjectCopied(object=OBJECT, source="archive"),
    object_events.ObjectDeleted(object=OBJECT),
    object_events.LogSealed(object=OBJECT._replace(kind="segment"), first_seq=1, last_seq=1_000),
    events.LogRebuilt(log_id=bytes(32), last_seq=1_000, package_ids=(PACKAGE, "another")),
    events.LogRebuilt(log_id=bytes(32), last_seq=0, package_ids=()),
    object_events.ReadFellBack(object=OBJECT, served_by="archive", finding="the storage does not answer"),
    SourceIndexed(
        source_id=bytes(32),
        location_kind="file",
        path_id="file:///a",
        plugin_name="mailbox",
        contract_version="1",
        is_declared=True,
        indexed_at=1,
    ),
    SourceIndexed(
        source_id=bytes(32),
        location_kind="mailbox.message",
        path_id="<7@example.org>",
        plugin_name="mailbox",
        plugin_version="2.7.1",
        contract_version="2",
        is_declared=False,
        indexed_at=1,
        owner_host_id="host-1",
        content_type="message/rfc822",
        display_name="Prüfung",
        metadata=METADATA,
    ),
    EnvelopeIndexed(
        envelope_id=bytes(32),
        source_id=bytes(range(32)),
        transport="imap",
        received_at=7,
        raw_payload=b"\x00\xff",
        parties=(PartyRef("email", None, "jane@example.org", "author", "claimed"), PartyRef("service", "x", *"yzt")),
        plugin_name="mailbox",
        plugin_version="2.7.1",
        contract_version="2",
        is_declared=False,
        indexed_at=1,
    ),
    EnvelopeIndexed(
        envelope_id=bytes(32),
        source_id=bytes(32),
        transport="imap",
        received_at=0,
        raw_payload=b"",
        parties=(),
        plugin_name="mailbox",
        contract_version="1",
        is_declared=True,
        indexed_at=1,
    ),
    Ingested(envelope_id=bytes(32), source_id=bytes(range(32)), source_created=True),
    Ingested(envelope_id=bytes(32), source_id=bytes(32), source_created=False, package_id=PACKAGE),
    events.PackageObserved(package_id=PACKAGE, envelope_id=bytes(32), observed_at=1),
    PoliciesAdopted(package_id=PACKAGE, digest=f"blake3:{bytes(32).hex()}", adopted_at=1),
    SubmissionRecorded(
        package_id=PACKAGE,
        external_id="o/r/2026-03-19/1",
        repo="o/r",
        run_id="1",
        profile="default",
        status="accepted",
        verified="pass",
        may_be_replaced=False,
        finished_at="2026-03-19T00:00:00Z",
        path="records/o/r/2026/03/19/run-1.json",
        surfaces=("cli", "web"),
        recorded_at=1,
        finished_ms=-1,
        contract_major=2,
    ),
]
PLUGIN_EVENT = events.PluginEvent(type="plugin.mailbox.flagged", about="<7@example.org>", body=METADATA)


def plain(value: object) -> object:
    """An event's value as CBOR has it."""
    if isinstance(value, events.FileEntry):
        names = ("path", "role", "media_type", "size", "blake3", "sha256")
        return dict(zip(names, value, strict=True))
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def members(event: Event) -> dict[str, Any]:
    fields = {field.name: plain(getattr(event, field.name)) for field in dataclasses.fields(event)}
    return {name: value for name, value in fields.items() if value is not None}


def named(event: Event) -> str:
    return event.type


# payloads


def test_every_type_is_tried_here() -> None:
    assert {type(event) for event in EVENTS} == set(EVENT_TYPES.values())


@pytest.mark.parametrize("event", EVENTS, ids=named)
def test_payload_gives_the_event_back(event: Event) -> None:
    assert event_from(event.type, event.payload()) == event


@pytest.mark.parametrize("event", EVENTS, ids=named)
def test_payload_is_what_cbor2_writes_of_the_members(event: Event) -> None:
    assert event.payload() == cbor2.dumps(members(event), canonical=True)


@given(file_lists, raw_digests)
def test_files_added_by_hand_is_what_cbor2_writes(files: tuple[events.FileEntry, ...], digest: bytes) -> None:
    count = len(files)
    event = FilesAdded(
        package_id=PACKAGE,
        first_index=0,
        files=files,
        objects=(OBJECT._replace(blake3=digest),),
        crc32s=tuple(range(count)),
        object_indexes=(0,) * count,
        starts=tuple(range(94, 94 + count)),
        chunks=(),
    )

    assert event.payload() == cbor2.dumps(members(event), canonical=True)


@pytest.mark.parametrize("event", EVENTS, ids=named)
def test_subject_names_what_it_happened_to(event: Event) -> None:
    assert event.subject in {PACKAGE, "a.v1", f"blake3:{bytes(32).hex()}", bytes(32).hex()}


def test_an_event_of_a_plugin_comes_back_with_its_own_type() -> None:
    again = event_from("plugin.mailbox.flagged", PLUGIN_EVENT.payload())

    assert (PLUGIN_EVENT, "plugin.mailbox.flagged", "<7@example.org>") == (again, again.type, again.subject)
    assert PLUGIN_EVENT.payload() == cbor2.dumps({"about": "<7@example.org>", "body": METADATA}, canonical=True)


@pytest.mark.parametrize("name", list(EVENT_TYPES))
def test_type_names_have_a_version_and_a_noun(name: str) -> None:
    version, noun, *_ = name.split(".")

    nouns = {"package", "metadata_schema", "retention", "hold", "blob", "object", "pack", "read", "source", "core"}
    nouns |= {"log", "testing_os"}
    assert (version, noun in nouns) == ("v1", True)


@pytest.mark.parametrize("name", [*EVENT_TYPES, "plugin.mailbox.flagged"])
@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(encode({}), id="no-members"),
        pytest.param(encode({"unheard_of": 1}), id="unknown-member"),
        pytest.param(encode([1, 2]), id="a-list"),
        pytest.param(encode(1), id="a-number"),
        pytest.param(encode({"object": 1, "manifest": 1, "files": 1}), id="numbers-for-members"),
        pytest.param(encode({"envelope_id": b"", "parties": 1}), id="a-number-for-parties"),
        pytest.param(encode({"envelope_id": b"", "parties": [["email"]]}), id="half-a-party"),
        pytest.param(encode({"about": "x", "body": {}, "type": "v1.core.ingested"}), id="another-type"),
        pytest.param(b"\xff", id="not-cbor"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_payload_of_something_else_is_corruption(name: str, payload: bytes) -> None:
    with pytest.raises(EventLogCorruptError):
        event_from(name, payload)


def test_unknown_type_is_corruption_and_points_to_a_newer_version() -> None:
    with pytest.raises(EventLogCorruptError, match=r"unknown type 'v9\.package\.eaten'") as caught:
        event_from("v9.package.eaten", encode({}))

    assert "newer" in caught.value.hint


# header and chain


@given(
    st.integers(1, 2**40),
    st.integers(0, 2**53 - 1),
    st.text(st.characters(codec="ascii"), max_size=40),
    st.binary(max_size=50),
)
def test_header_is_what_cbor2_writes(seq: int, at: int, text: str, payload: bytes) -> None:
    header = encode_header(seq, at, "v1.package.opened", text, "local:builder", payload=payload)

    assert header == cbor2.dumps(
        {
            "seq": seq,
            "at": at,
            "type": "v1.package.opened",
            "subject": text,
            "actor": "local:builder",
            "payload_digest": blake3(payload).digest(),
        },
        canonical=True,
    )


def test_chain_begins_with_the_logs_identity() -> None:
    assert first_chain(b"id") == blake3(LOG_TAG + b"id").digest()


def test_chain_binds_each_header_to_all_before_it() -> None:
    assert next_chain(bytes(32), b"header") == blake3(CHAIN_TAG + bytes(32) + b"header").digest()


def test_tags_are_fixed() -> None:
    assert (LOG_TAG, CHAIN_TAG) == (b"artifactstore event log v1\x00", b"artifactstore event v1\x00")
