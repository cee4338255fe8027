"""An observation is recorded once, with one signal; whatever is known already changes nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore import failpoints
from artifactstore.bootstrap import host_of
from artifactstore.catalog import provenance as rows
from artifactstore.config import Settings
from artifactstore.domain.events import PackageExpired, event_from
from artifactstore.domain.provenance import PartyInput, Provenance, SourceInput
from artifactstore.domain.provenance_events import EnvelopeIndexed, Ingested, PartyRef, SourceIndexed
from artifactstore.errors import CapabilityDeniedError, PackageExpiredError, ReplayMismatchError, RunChangedError
from artifactstore.plugins.context import EmbeddedContext
from artifactstore.registry.events import list_events
from artifactstore.registry.ingest import ingest, record_beside
from artifactstore.registry.observing import Observed, observe
from artifactstore.registry.packages import find_package
from artifactstore.testing.builders import package_draft
from tests.observing import (
    ENVELOPE,
    GIVEN,
    MAILBOX,
    OTHER,
    PARTIES,
    SOURCE,
    all_there_is,
    context_on,
    host_on,
    installed,
    message,
    rows_of,
)
from tests.support import event_types, replay_is_exact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artifactstore.domain.event import Event
    from artifactstore.domain.provenance import IngestResult
    from artifactstore.registry.registry import Registry

SOURCE_INDEXED, ENVELOPE_INDEXED, INGESTED = "v1.source.indexed", "v1.core.envelope_indexed", "v1.core.ingested"
OBSERVED = "v1.package.observed"
FAR_EAST = timezone(timedelta(hours=9))
PACKAGE = ["v1.package.opened", "v1.package.files_added", "v1.package.retention_applied", "v1.package.finalized"]


@pytest.fixture(autouse=True)
def _replay_reproduces_what_each_test_leaves(registry: Registry, request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "alters" not in request.node.name:
        replay_is_exact(registry)


def ingest_again(context: EmbeddedContext, **changed: Any) -> IngestResult:
    """What every test here calls, but for what it changes."""
    return context.ingest(**{"source": SOURCE, "envelope": ENVELOPE, "parties": PARTIES, **changed})


def recorded(registry: Registry, after: int = 0) -> list[str]:
    return event_types(registry)[after:]


def events_of(registry: Registry) -> list[Event]:
    return [event_from(event.type, event.payload) for event in list_events(registry, limit=100)]


def created(result: IngestResult) -> tuple[bool, bool, bool | None]:
    package = None if result.package is None else result.package.was_created
    return result.source.was_created, result.envelope.was_created, package


# sources, envelopes, parties


def test_a_first_observation_is_a_source_an_envelope_and_one_signal(registry: Registry) -> None:
    result = ingest_again(context_on(registry))

    assert (True, True, None) == created(result)
    assert [SOURCE_INDEXED, ENVELOPE_INDEXED, INGESTED] == recorded(registry)
    assert ["plugin:mailbox@2.7.1"] * 3 == [event.actor for event in list_events(registry, limit=9)]
    with registry.catalog.snapshot() as queries:
        on = queries.connection
        source = rows.source(on, bytes.fromhex(result.source.id))
        envelope = rows.envelope(on, bytes.fromhex(result.envelope.id))
        assert source is not None
        assert envelope is not None
        payload, parties = rows.raw_payload(on, envelope.row_id), rows.parties(on, [envelope.row_id], limit=9)
    now = source.indexed_at
    metadata = '{"folder":"inbox","n":2}'
    said = ("mailbox", "2.7.1", "1", 0, now, "plugin:mailbox@2.7.1")
    where = ("mailbox.message", "<7@example.org>")
    assert source[1:] == (source.source_id, *where, "host-1", "message/rfc822", "Prüfung", metadata, *said)
    assert envelope[1:] == (
        envelope.envelope_id, source.source_id, *where, "Prüfung", "imap", 1_780_315_200_000_007, 6, *said
    )  # fmt: skip
    assert b"\x00\xffseen" == payload
    assert parties[envelope.row_id] == [
        ("email", None, "Jane@example.org", "author", "claimed"),
        ("mailbox.nick", "example.org", "jj", "mailbox.owner", "mailbox.signed"),
    ]


AGAIN: dict[str, dict[str, Any]] = {
    "all the same": {},
    "other bytes": {"envelope": replace(ENVELOPE, raw_payload=b"with other noise")},
    "other parties": {"parties": PARTIES[:1]},
    "no parties": {"parties": ()},
    "another offset": {"envelope": replace(ENVELOPE, received_at=ENVELOPE.received_at.astimezone(FAR_EAST))},
    "another spelling": {"source": replace(SOURCE, path_id="<7@EXAMPLE.ORG>")},
    "another description": {"source": SourceInput("mailbox.message", "<7@example.org>", "host-2", metadata={})},
}  # fmt: skip


@pytest.mark.parametrize("changed", AGAIN.values(), ids=AGAIN)
def test_what_is_known_is_not_written_again(registry: Registry, home: Path, changed: dict[str, Any]) -> None:
    first = ingest_again(context_on(registry))
    before = all_there_is(registry, home), rows_of(registry, "source"), rows_of(registry, "envelope")

    again = ingest_again(context_on(registry), **changed)

    assert (first.source.id, first.envelope.id) == (again.source.id, again.envelope.id)
    assert (False, False, None) == created(again)
    assert before == (all_there_is(registry, home), rows_of(registry, "source"), rows_of(registry, "envelope"))


def test_another_version_of_the_plugin_says_nothing_new(registry: Registry) -> None:
    ingest_again(context_on(registry))

    again = ingest_again(context_on(registry, version="3.0"))

    assert (False, False, None) == created(again)
    assert 3 == len(recorded(registry))


NEWS: dict[str, tuple[Any, dict[str, Any]]] = {
    "contract version": (replace(MAILBOX, contract_version="2"), {}),
    "plug-in": (OTHER, {}),
    "transport": (MAILBOX, {"envelope": replace(ENVELOPE, transport="webhook")}),
    "instant": (MAILBOX, {"envelope": replace(ENVELOPE, received_at=ENVELOPE.received_at + timedelta(microseconds=1))}),
}


@pytest.mark.parametrize(("plugin", "changed"), NEWS.values(), ids=NEWS)
def test_another_of_these_is_another_envelope_of_the_same_source(
    registry: Registry, plugin: Any, changed: dict[str, Any]
) -> None:
    first = ingest_again(context_on(registry))
    host = host_on(registry, MAILBOX, OTHER)

    other = ingest_again(EmbeddedContext(host, installed(plugin)), **changed)

    assert (False, True, None) == created(other)
    assert (first.source.id, True) == (other.source.id, first.envelope.id != other.envelope.id)
    assert [ENVELOPE_INDEXED, INGESTED] == recorded(registry, after=3)
    signal = events_of(registry)[-1]
    assert (
        Ingested(
            envelope_id=bytes.fromhex(other.envelope.id), source_id=bytes.fromhex(other.source.id), source_created=False
        )
        == signal
    )


def test_another_place_is_another_source(registry: Registry) -> None:
    ingest_again(context_on(registry))

    other = ingest_again(context_on(registry), source=SourceInput("file", "/srv/a"))

    assert (True, True, None) == created(other)
    assert [2, 2, 4] == [len(rows_of(registry, table)) for table in ("source", "envelope", "party")]


def test_the_events_carry_every_column(registry: Registry) -> None:
    result = ingest_again(context_on(registry))

    source, envelope, signal = events_of(registry)
    ids = {"source_id": bytes.fromhex(result.source.id), "envelope_id": bytes.fromhex(result.envelope.id)}
    assert isinstance(source, SourceIndexed)
    who: dict[str, Any] = {
        "plugin_name": "mailbox", "plugin_version": "2.7.1", "contract_version": "1", "is_declared": False,
        "indexed_at": source.indexed_at,
    }  # fmt: skip
    assert source == SourceIndexed(
        source_id=ids["source_id"], location_kind="mailbox.message", path_id="<7@example.org>", owner_host_id="host-1",
        content_type="message/rfc822", display_name="Prüfung", metadata={"folder": "inbox", "n": 2}, **who,
    )  # fmt: skip
    assert envelope == EnvelopeIndexed(
        **ids, transport="imap", received_at=1_780_315_200_000_007, raw_payload=b"\x00\xffseen",
        parties=(
            PartyRef("email", None, "Jane@example.org", "author", "claimed"),
            PartyRef("mailbox.nick", "example.org", "jj", "mailbox.owner", "mailbox.signed"),
        ), **who,
    )  # fmt: skip
    assert signal == Ingested(**ids, source_created=True)


def test_what_a_token_declares_is_stored_as_declared(registry: Registry) -> None:
    declared = Provenance("mailbox", None, "1", declared_by="token:ci")

    result = host_on(registry).ingest(GIVEN, declared)
    by_itself = ingest_again(context_on(registry))

    assert [(True, True, None), (False, True, None)] == [created(result), created(by_itself)]
    with registry.catalog.snapshot() as queries:
        found = [rows.envelope(queries.connection, bytes.fromhex(each.envelope.id)) for each in (result, by_itself)]
    told = [(each.plugin_name, each.plugin_version, each.is_declared, each.indexed_by) for each in found if each]
    assert [("mailbox", None, 1, "token:ci"), ("mailbox", "2.7.1", 0, "plugin:mailbox@2.7.1")] == told


def test_a_thousand_parties_are_recorded_in_their_order(registry: Registry) -> None:
    names = [f"{number}@example.org" for number in reversed(range(1_000))]

    result = ingest_again(
        context_on(registry), parties=[PartyInput("email", name, "recipient", "claimed") for name in names]
    )

    with registry.catalog.snapshot() as queries:
        envelope = rows.envelope(queries.connection, bytes.fromhex(result.envelope.id))
        assert envelope is not None
        parties = rows.parties(queries.connection, [envelope.row_id], limit=1_000)[envelope.row_id]
    assert names == [party.identifier_value for party in parties]


# with a package


def test_a_package_is_recorded_with_where_it_was_observed_in_one_transaction(registry: Registry) -> None:
    with_commits: list[str] = []
    failpoints.arm(with_commits.append)
    try:
        result = ingest_again(context_on(registry), package=package_draft())
    finally:
        failpoints.arm(None)

    assert (True, True, True) == created(result)
    assert [*PACKAGE, SOURCE_INDEXED, ENVELOPE_INDEXED, OBSERVED, INGESTED] == recorded(registry)
    together = with_commits[with_commits.index("record.before-transaction") :]
    assert 1 == together.count("catalog.before-commit")
    signal = events_of(registry)[-1]
    assert result.package is not None
    assert result.package.id == getattr(signal, "package_id", None)
    package, *_ = find_package(registry, result.package.id)
    assert ("plugin:mailbox@2.7.1", result.package.receipt.package_id) == (package.opened_by, package.package_id)


def test_a_new_revision_under_a_known_envelope_is_linked_without_a_signal(registry: Registry) -> None:
    ingest_again(context_on(registry), package=package_draft())

    result = ingest_again(context_on(registry), package=package_draft({"other": b"x"}), as_revision=True)

    assert (False, False, True) == created(result)
    assert [*PACKAGE, OBSERVED] == recorded(registry, after=8)
    assert result.package is not None
    assert 2 == result.package.receipt.revision


def test_a_known_package_under_a_new_envelope_is_linked_with_a_signal(registry: Registry) -> None:
    first = ingest_again(context_on(registry), package=package_draft())

    result = ingest_again(
        context_on(registry), envelope=replace(ENVELOPE, transport="webhook"), package=package_draft()
    )

    assert (False, True, False) == created(result)
    assert [ENVELOPE_INDEXED, OBSERVED, INGESTED] == recorded(registry, after=8)
    assert first.package is not None
    assert result.package is not None
    assert first.package.id == result.package.id


def test_a_known_package_under_a_known_envelope_changes_nothing(registry: Registry, home: Path) -> None:
    ingest_again(context_on(registry), package=package_draft())
    before = all_there_is(registry, home)

    result = ingest_again(context_on(registry), package=package_draft())

    assert (False, False, False) == created(result)
    assert before == all_there_is(registry, home)


def test_a_package_and_an_envelope_that_knew_nothing_of_each_other_are_linked(registry: Registry) -> None:
    receipt = ingest(registry, package_draft())
    ingest_again(context_on(registry))

    result = ingest_again(context_on(registry), package=package_draft())

    assert (False, False, False) == created(result)
    assert [OBSERVED] == recorded(registry, after=7)
    assert result.package is not None
    assert receipt.package_id == result.package.id
    assert 1 == len(rows_of(registry, "package_observation"))


def test_one_envelope_observes_several_packages_and_a_package_is_observed_by_several(registry: Registry) -> None:
    context = context_on(registry)
    webhook = replace(ENVELOPE, transport="webhook")
    for envelope in (ENVELOPE, webhook):
        for name in ("run-1", "run-2"):
            ingest_again(context, envelope=envelope, package=package_draft(external_id=name))

    assert [2, 4] == [len(rows_of(registry, table)) for table in ("package", "package_observation")]
    assert {INGESTED: 2, OBSERVED: 4} == {
        kind: count for kind, count in Counter(recorded(registry)).items() if kind in {INGESTED, OBSERVED}
    }


def test_the_packages_of_an_envelope_are_told_by_producer(registry: Registry) -> None:
    names = ["zebra", "ant", "bee", "ant"]
    for number, producer in enumerate(names):
        draft = replace(package_draft(external_id=f"run-{number}"), producer=producer)
        result = ingest_again(context_on(registry), package=draft)

    with registry.catalog.snapshot() as queries:
        on = queries.connection
        envelope = rows.envelope(on, bytes.fromhex(result.envelope.id))
        assert envelope is not None
        found = {
            wanted: [
                producer
                for _, producer in rows.observed_packages(
                    on, envelope.row_id, limit=3, producers=None if wanted is None else wanted.split()
                )
            ]
            for wanted in (None, "zebra ant", "bee zebra bee", "ant", "nobody", "")
        }
    assert found == {
        None: ["ant", "ant", "bee"], "zebra ant": ["ant", "ant", "zebra"], "bee zebra bee": ["bee", "zebra"],
        "ant": ["ant", "ant"], "nobody": [], "": [],
    }  # fmt: skip


def test_a_package_that_is_refused_takes_its_observation_with_it(registry: Registry, home: Path) -> None:
    ingest(registry, package_draft())
    before = all_there_is(registry, home)

    with pytest.raises(RunChangedError):
        ingest_again(context_on(registry), package=package_draft({"other": b"x"}))

    after = all_there_is(registry, home)
    assert {name: count for name, count in before.items() if name != "objects"} == {
        name: count for name, count in after.items() if name != "objects"
    }


def test_a_schema_of_the_plugins_own_is_registered_with_the_first_package_that_needs_it(registry: Registry) -> None:
    plugin = replace(MAILBOX, schemas=lambda: {"mailbox.v1": {"type": "object", "required": ["a"]}})
    draft = replace(package_draft(metadata={"a": 1}), schema="mailbox.v1")

    ingest_again(context_on(registry, plugin), package=draft)

    assert "v1.metadata_schema.registered" == recorded(registry)[0]


# transactions


def commits_of(registry: Registry, call: Any) -> list[str]:
    passed: list[str] = []
    failpoints.arm(passed.append)
    try:
        call()
    finally:
        failpoints.arm(None)
    return [name for name in passed if name in {"catalog.before-commit", "observe.before-transaction"}]


def test_an_observation_is_one_transaction_known_or_not(registry: Registry) -> None:
    context = context_on(registry)

    first, again = (commits_of(registry, lambda: ingest_again(context)) for _ in range(2))

    assert ["observe.before-transaction", "catalog.before-commit"] == first == again


def test_who_said_that_an_older_envelope_observed_a_package_is_told(registry: Registry) -> None:
    older, newer = context_on(registry, version="1.0"), context_on(registry, version="2.0")
    ingest_again(older)

    result = ingest_again(newer, package=package_draft(external_id="later"))

    assert result.package is not None
    (seen,) = newer.package(result.package.id)["observations"]
    assert ("plugin:mailbox@1.0", "plugin:mailbox@2.0") == (seen["recorded_by"], seen["observed_by"])


def test_nothing_new_is_observed_of_a_package_that_has_expired(registry: Registry, home: Path) -> None:
    known = ingest_again(context_on(registry), package=package_draft(external_id="old"))
    assert known.package is not None
    beside = host_on(registry).beside(GIVEN, installed().provenance)
    another = host_on(registry).beside(message(8), installed().provenance)
    with registry.transaction() as tx:
        tx.record(PackageExpired(package_id=known.package.id, expired_at=registry.clock()))
    before = all_there_is(registry, home)

    record_beside(registry, known.package.receipt, beside)
    with pytest.raises(PackageExpiredError):
        record_beside(registry, known.package.receipt, another)

    assert before == all_there_is(registry, home)


# replay


ALTERATIONS = {
    "source": "UPDATE source SET path_id = 'elsewhere'",
    "envelope": "UPDATE envelope SET raw_payload = received_payload",
    "party": "UPDATE party SET role = 'king' WHERE ordinal = 1",
    "package_observation": "DELETE FROM package_observation",
}


@pytest.mark.parametrize("table", ALTERATIONS)
def test_replay_notices_who_alters_a_table(registry: Registry, table: str) -> None:
    ingest_again(context_on(registry), package=package_draft())
    replay_is_exact(registry)
    with registry.transaction() as tx:
        sql = ALTERATIONS[table]
        parameters = () if "received_payload" not in sql else (b"forged",)
        tx.connection.execute(sql.replace("received_payload", "?"), parameters)

    with pytest.raises(ReplayMismatchError) as caught:
        replay_is_exact(registry)

    assert {table} == {problem.where for problem in caught.value.problems}


# the host of a process


def test_the_settings_say_what_a_plugin_may_do(registry: Registry, home: Path) -> None:
    denied, granted = (
        host_of(registry, Settings.from_environment({"ARTIFACTSTORE_HOME": str(home), **more}))
        for more in ({}, {"ARTIFACTSTORE_PLUGIN_CAPABILITIES": "other=ingest"})
    )
    source = SourceInput("file", "/srv/a")

    with pytest.raises(CapabilityDeniedError, match="the plug-in 'other' is not granted 'ingest'"):
        EmbeddedContext(denied, installed(OTHER)).ingest(source=source, envelope=ENVELOPE)
    assert [] == recorded(registry)

    assert EmbeddedContext(granted, installed(OTHER)).ingest(source=source, envelope=ENVELOPE).source.was_created


def test_who_observes_is_answered_for_itself_if_it_may_not_know_of_others(registry: Registry) -> None:
    host = host_on(registry)
    host.ingest(GIVEN, Provenance("mailbox", None, "1", declared_by="token:a"))

    other = Provenance("mailbox", None, "1", declared_by="token:b")
    result = [host.ingest(GIVEN, other, answer_for="token:b") for _ in range(2)]

    assert [(True, True, None), (False, False, None)] == [created(each) for each in result]
    assert 1 == len(rows_of(registry, "source"))


def test_an_observation_can_be_recorded_by_the_use_case_alone(registry: Registry) -> None:
    host = host_on(registry)
    observed: Observed = host.observed(GIVEN, installed().provenance)

    assert created(observe(registry, observed)) == (True, True, None)
    assert datetime.fromtimestamp(observed.observation.received_at / 1e6, UTC).year == 2026
