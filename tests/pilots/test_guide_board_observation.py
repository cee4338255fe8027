"""A run is recorded as a source, with the run's end as its envelope and whoever took part as its parties."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from artifactstore.catalog import provenance as rows
from artifactstore.domain.instant import instant_text
from artifactstore.errors import RunDirectoryError
from artifactstore.pilots.guide_board import layout
from artifactstore.pilots.guide_board.documents import Documents
from artifactstore.pilots.guide_board.observation import read_observation
from artifactstore.plugins import BytesSource, PartyInput
from artifactstore.testing.guide_board_runs import NEWER_RUN, write_run
from artifactstore.version import VERSION
from tests.pilots.conftest import FIXTURE
from tests.pilots.test_guide_board_docs import PAGE
from tests.pilots.test_guide_board_reading import document_with
from tests.support import event_types, replay_is_exact

RUN_ID = "2026-05-18-quince-cmis-browser"
OF_A_PACKAGE = ["v1.package.opened", "v1.package.files_added", "v1.package.retention_applied", "v1.package.finalized"]
PROVENANCE_TABLES = ("source", "envelope", "party", "package_observation")


def source_of(store, result):
    with store.registry.catalog.snapshot() as queries:
        return rows.source(queries.connection, bytes.fromhex(result.source.id))


def envelope_of(store, result):
    with store.registry.catalog.snapshot() as queries:
        return rows.envelope(queries.connection, bytes.fromhex(result.envelope.id))


def payload_of(store, result):
    row = envelope_of(store, result).row_id
    with store.registry.catalog.snapshot() as queries:
        return rows.raw_payload(queries.connection, row)


def parties_of(store, result):
    row = envelope_of(store, result).row_id
    with store.registry.catalog.snapshot() as queries:
        return [tuple(party) for party in rows.parties(queries.connection, [row], limit=2_000)[row]]


def packages_of(store, result):
    row = envelope_of(store, result).row_id
    with store.registry.catalog.snapshot() as queries:
        return [package_id for package_id, _ in rows.observed_packages(queries.connection, row, limit=10)]


def counts(store):
    with store.registry.catalog.snapshot() as queries:
        return [list(queries.connection.execute(f"SELECT count(*) FROM {table}")) for table in PROVENANCE_TABLES]


def observation(**documents):
    """What is read of a run's documents, given by name."""
    texts = {path: BytesSource(json.dumps(value).encode()) for path, value in documents.items()}
    return read_observation(Documents(texts))


def run_with(**members):
    return observation(**{"run.json": members})


# what is recorded


def test_a_run_is_a_source(store):
    result = store.observe(FIXTURE)

    source = source_of(store, result)
    assert result.source.was_created
    assert (source.location_kind, source.path_id, source.owner_host_id) == ("guide-board.run", RUN_ID, None)
    assert (source.content_type, source.display_name) == ("application/json", f"guide-board run {RUN_ID}")
    assert json.loads(source.metadata_json) == {"target_profile_ref": "targets/quince-content-store-4.2"}
    assert (source.plugin_name, source.plugin_version, source.is_declared) == ("guide-board", VERSION, 0)
    assert source.indexed_by == f"plugin:guide-board@{VERSION}"


def test_the_runs_end_is_its_envelope(store):
    result = store.observe(FIXTURE)

    envelope = envelope_of(store, result)
    assert result.envelope.was_created
    assert (envelope.transport, instant_text(envelope.received_at)) == ("filesystem", "2026-05-18T06:04:37.000000Z")
    assert packages_of(store, result) == [result.package.id]


def test_the_payload_says_whose_run_it_is_and_how_it_ended(store):
    result = store.observe(FIXTURE)

    assert payload_of(store, result) == (
        b'{"assessment_profile_ref":"assessments/cmis-1.1-browser-binding","result_status":"completed",'
        b'"run_id":"2026-05-18-quince-cmis-browser","target_profile_ref":"targets/quince-content-store-4.2"}'
    )


def test_whoever_took_part_is_a_party(store, fixture_run):
    people = {"operator": "Jane@Example.ORG", "requested_by": {"id": 7, "name": "Release team"}}
    fixture_run.edit("run.json", lambda run: run.update(people))
    fixture_run.edit("reports/assessment-package.json", lambda package: package.update(reviewed_by=["kim", "lee"]))

    result = store.observe(fixture_run.path)

    assert parties_of(store, result) == [
        ("email", None, "Jane@example.org", "operator", "claimed"),
        ("person", "guide-board", "Release team", "requester", "claimed"),
        ("person", "guide-board", "kim", "reviewer", "claimed"),
        ("person", "guide-board", "lee", "reviewer", "claimed"),
        ("service", "guide-board", "open-cmis-tck", "runner", "claimed"),
    ]


def test_the_signal_is_the_last_event(another_store):
    result = another_store.observe(FIXTURE)

    observed = ["v1.source.indexed", "v1.core.envelope_indexed", "v1.package.observed", "v1.core.ingested"]
    assert event_types(another_store.registry) == ["v1.metadata_schema.registered", *OF_A_PACKAGE, *observed]
    assert result.package.was_created


def test_the_tables_follow_from_the_log(store, fixture_run, newer_run):
    store.observe(fixture_run.path)
    store.observe(newer_run.path)
    fixture_run.write("reports/report.md", "# Rewritten\n")
    store.observe(fixture_run.path, as_revision=True)

    assert replay_is_exact(store.registry).events == store.contents()[0]


# the same again


def test_the_same_run_again_changes_nothing(store):
    first = store.observe(FIXTURE)
    contents, recorded = store.contents(), counts(store)

    again = store.observe(FIXTURE)

    assert (again.source.id, again.envelope.id) == (first.source.id, first.envelope.id)
    assert [part.was_created for part in (again.source, again.envelope, again.package)] == [False, False, False]
    assert (store.contents(), counts(store)) == (contents, recorded)


def test_the_fixture_has_the_source_and_the_envelope_it_always_had(store):
    result = store.observe(FIXTURE)

    assert f"`{result.source.id}`" in PAGE
    assert f"`{result.envelope.id}`" in PAGE


def test_the_same_run_is_the_same_envelope_in_any_store_and_directory(store, another_store, fixture_run):
    here = store.observe(FIXTURE)
    there = another_store.observe(fixture_run.path)

    assert (here.source.id, here.envelope.id) == (there.source.id, there.envelope.id)


def test_a_revision_that_ended_at_the_same_time_is_observed_under_the_envelope_that_is_known(store, fixture_run):
    first = store.observe(fixture_run.path)
    before = len(event_types(store.registry))
    fixture_run.write("reports/report.md", "# Rewritten\n")

    second = store.observe(fixture_run.path, as_revision=True)

    assert event_types(store.registry)[before:] == [*OF_A_PACKAGE, "v1.package.observed"]
    assert second.envelope == (first.envelope.id, False)
    assert packages_of(store, second) == [first.package.id, second.package.id]


def test_a_run_that_ended_again_is_another_envelope_of_its_source(store, fixture_run):
    first = store.observe(fixture_run.path)
    fixture_run.edit("run.json", lambda run: run.update(completed_at="2026-05-19T06:00:00Z"))

    second = store.observe(fixture_run.path, as_revision=True)

    assert second.source == (first.source.id, False)
    assert second.envelope.was_created
    assert second.envelope.id != first.envelope.id


def test_a_run_that_says_no_time_is_observed_anew_each_time(store, fixture_run):
    fixture_run.edit("run.json", lambda run: [run.pop(name) for name in ("started_at", "completed_at")])
    fixture_run.edit("retention-summary.json", lambda summary: summary.pop("completed_at"))

    first, again = store.observe(fixture_run.path), store.observe(fixture_run.path)

    assert (again.source.was_created, again.envelope.was_created, again.package.was_created) == (False, True, False)
    assert packages_of(store, again) == packages_of(store, first) == [first.package.id]


# when it ended


@pytest.mark.parametrize("place", layout.COMPLETED_AT)
def test_the_end_is_found_in(place):
    path, _, pointer = place.partition("#")

    seen = observation(**{path: document_with(pointer, "2026-05-18T08:04:37+02:00")})

    assert seen.completed_at == datetime(2026, 5, 18, 6, 4, 37, tzinfo=UTC)


WRITTEN = {
    "in RFC 3339": "2026-05-18T06:04:37Z",
    "with a space and a short offset": "2026-05-18 06:04:37+0000",
    "without seconds": "2026-05-18T06:04Z",
    "with spaces around it": " 2026-05-18T06:04:37Z\n",
    "finer than microseconds": "2026-05-18T06:04:37.123456789Z",
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN.keys())
def test_the_end_is_read_when_it_is_written(text):
    expected = datetime(2026, 5, 18, 6, 4, tzinfo=UTC)

    assert run_with(completed_at=text).completed_at.replace(second=0, microsecond=0) == expected


NO_TIMES = {
    "nothing": "", "a number": 1_779_084_277, "a list": ["2026-05-18T06:04:37Z"], "a word": "yesterday",
    "a day": "2026-05-18", "a time of any zone": "2026-05-18T06:04:37", "before 1970": "1969-12-31T23:59:59Z",
    "beyond the end of 9999": "9999-12-31T23:59:59-01:00", "a time that no day has": "2026-05-18T25:00:00Z",
    "the hour 24": "2026-05-18T24:00:00Z", "a leap second": "2026-06-30T23:59:60Z", "a day of a week": "2026-W21-1T06Z",
    "with an unpaired surrogate": "2026-05-18\ud80006:04:37Z", "with other digits": "\uff12026-05-18T06:04:37Z",
    "very long": "2026-05-18T06:04:37." + "1" * 100_000,
}  # fmt: skip


@pytest.mark.parametrize("junk", NO_TIMES.values(), ids=NO_TIMES.keys())
def test_a_value_that_is_no_time_leaves_it_to_the_next_place(junk):
    seen = run_with(completed_at=junk, started_at="2026-05-18T06:00:00Z")

    assert seen.completed_at == datetime(2026, 5, 18, 6, 0, tzinfo=UTC)


def test_a_run_without_a_time_ended_with_its_last_check(store, newer_run):
    newer_run.edit("run.json", lambda run: [run.pop(name) for name in ("started_at", "completed_at")])
    evidence = json.loads((newer_run.path / "normalized/evidence.json").read_text())
    last = max(datetime.fromisoformat(item["completed_at"]) for item in evidence)

    first, again = store.observe(newer_run.path), store.observe(newer_run.path)

    received_at = timedelta(microseconds=envelope_of(store, first).received_at)
    assert datetime(1970, 1, 1, tzinfo=UTC) + received_at == last
    assert again.envelope == (first.envelope.id, False)


def test_evidence_that_says_no_time_is_passed_over():
    items = [{"completed_at": 7}, "text", None, {"started_at": "2026-05-18T06:00:00Z", "completed_at": "later"}]

    seen = observation(**{"normalized/evidence.json": {"items": items}})

    assert seen.completed_at == datetime(2026, 5, 18, 6, 0, tzinfo=UTC)


# who took part


PLACES = [(role, place) for role, places in layout.PARTICIPANTS.items() for place in places]


@pytest.mark.parametrize(("role", "place"), PLACES, ids=str)
@pytest.mark.parametrize("pointer", layout.NAME_POINTERS)
def test_a_participant_is_found_in(role, place, pointer):
    path, _, where = place.partition("#")

    seen = observation(**{path: document_with(where + pointer, "jane@example.org")})

    assert seen.parties == (PartyInput("email", "jane@example.org", role, "claimed"),)


@pytest.mark.parametrize("place", layout.EXTENSIONS)
@pytest.mark.parametrize("pointer", layout.EXTENSION_POINTERS)
def test_an_extension_is_found_in(place, pointer):
    path, _, where = place.partition("#")

    seen = observation(**{path: document_with(where, [document_with(pointer, "open-cmis-tck")])})

    assert seen.parties == (PartyInput("service", "open-cmis-tck", "runner", "claimed", "guide-board"),)


NO_ADDRESSES = ("jane@", "@example.org", "jane@home@example.org", "j" * 65 + "@example.org", "Jane <jane@example.org>")


@pytest.mark.parametrize("name", NO_ADDRESSES)
def test_what_is_no_address_is_a_name(store, fixture_run, name):
    fixture_run.edit("run.json", lambda run: run.update(operator=name, extensions=[]))

    result = store.observe(fixture_run.path)

    assert parties_of(store, result) == [("person", "guide-board", name, "operator", "claimed")]


def test_a_name_is_recorded_in_normal_form_and_without_the_spaces_around_it():
    assert [party.identifier_value for party in run_with(operator=" Jose\u0301\n").parties] == ["Jos\u00e9"]


JUNK = {
    "null": None, "a number": 7, "true": True, "nothing": " ", "an empty list": [], "an empty object": {},
    "a control character": "\x1b[2J", "a NUL": "a\0b", "an unpaired surrogate": "\ud800", "too long": "n" * 513,
    "deep": {"id": {"id": {"id": "x"}}}, "a list of junk": [None, 7, [["x"]], {"name": "\x07"}, "n" * 513],
}  # fmt: skip


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK.keys())
def test_junk_in_one_place_drops_nobody_who_is_named_in_another(store, fixture_run, junk):
    spoiled = {
        "operator": junk,
        "actor": "jane",
        "requested_by": {"id": junk, "name": "kim"},
        "reviewed_by": ["lee", junk],
    }
    fixture_run.edit("run.json", lambda run: run.update(spoiled, extensions=junk, extension_ids=[junk, "tck"]))

    result = store.observe(fixture_run.path)

    named = [value for _, _, value, _, _ in parties_of(store, result)]
    assert named == ["jane", "kim", "lee", "tck"]


def test_an_address_goes_before_other_names():
    seen = run_with(operator={"name": "Jane", "id": "u-7", "email": "jane@example.org"})

    assert [party.identifier_value for party in seen.parties] == ["jane@example.org"]


def test_thousands_of_extensions_are_recorded_in_part(store, fixture_run):
    names = [None, "twice", "twice", *(f"extension-{number}" for number in range(5_000))]
    fixture_run.edit("run.json", lambda run: run.update(extensions=names))

    result = store.observe(fixture_run.path)

    runners = [value for _, _, value, _, _ in parties_of(store, result)]
    assert runners == ["twice", *(f"extension-{number}" for number in range(99))]


# what must not keep a run from being recorded


@pytest.mark.parametrize("name", ["plan.json", "normalized/evidence.json"])
def test_a_document_that_is_no_json_is_in_nobodys_way(store, newer_run, name):
    newer_run.edit("run.json", lambda run: [run.pop(name) for name in ("started_at", "completed_at")])
    newer_run.write(name, "{")

    assert store.observe(newer_run.path).package.was_created


def test_the_longest_run_id_is_recorded(store, tmp_path):
    run_id = "r" * 512

    result = store.observe(write_run(tmp_path / "run", NEWER_RUN, run_id=run_id))

    assert source_of(store, result).path_id == run_id


def test_a_run_whose_status_cannot_be_written_is_refused(store, fixture_run):
    before = store.contents()
    fixture_run.edit("run.json", lambda run: run.update(result_status="\ud800"))

    with pytest.raises(RunDirectoryError, match="result_status"):
        store.observe(fixture_run.path)

    assert store.contents() == before
