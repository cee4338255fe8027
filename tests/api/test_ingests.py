"""Observations over HTTP: with a package that is finalized, for one that is there, and without any."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
import urllib3

from artifactstore.bootstrap import host_of
from artifactstore.built_in import load_plugin
from artifactstore.domain.events import PackageExpired
from artifactstore.domain.provenance import EnvelopeInput, IngestInput, SourceInput
from artifactstore.plugins.context import EmbeddedContext
from artifactstore.registry.tokens import create_token
from tests.api.nursery import PLAIN, arm
from tests.api.observed import AT, JANE, PAYLOAD, events_of, filled, finalize, ingest, observing, place, recorded
from tests.api.pushing import check_store, fresh_files, opened, places, problem, push
from tests.service import make_tokens, serving, settings_of
from tests.support import SIGKILLED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artifactstore.domain.provenance import IngestResult
    from tests.api.nursery import Nursery
    from tests.service import Answer, Server

SIGNALS = ["v1.core.envelope_indexed", "v1.core.ingested"]
SMALLEST_CAP = 100


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes payloads of 100 bytes."""
    environment = {"ARTIFACTSTORE_MAX_PAYLOAD_BYTES": str(SMALLEST_CAP)}
    with serving(tmp_path_factory.mktemp("strict") / "home", environment=environment) as running:
        yield running


def created(answer: Answer) -> tuple[int, bool, bool]:
    """Status, and whether source and envelope are new."""
    return answer.status, answer.json["source"]["was_created"], answer.json["envelope"]["was_created"]


def envelope_of(server: Server, envelope_id: str) -> Any:
    return server.ask("GET", f"/envelopes/{envelope_id}").json


# without a package


def test_an_observation_is_recorded_once(server: Server) -> None:
    body = observing()

    answers = [ingest(server, body) for _ in range(3)]

    assert [(201, True, True), (200, False, False), (200, False, False)] == [created(answer) for answer in answers]
    assert [None] * 3 == [answer.json["package"] for answer in answers]
    source_id, envelope_id = (answers[0].json[name]["id"] for name in ("source", "envelope"))
    assert ["v1.source.indexed", *SIGNALS] == events_of(server, source_id, envelope_id)


def test_what_was_said_stands_in_what_is_read(server: Server) -> None:
    retrieval = {"content_type": "application/json", "display_name": "Build 7"}
    said = {"owner_host_id": "host-1", "retrieval": retrieval, "metadata": {"branch": "main", "n": 1.5}}
    service = {"identifier_kind": "service", "identifier_scope": "ci", "identifier_value": "runner-3",
               "role": "runner", "trust": "verified"}  # fmt: skip
    path_id = place()
    answer = ingest(server, observing(path_id, source=said, parties=[JANE, service]))

    source = server.ask("GET", f"/sources/{answer.json['source']['id']}").json
    envelope = envelope_of(server, answer.json["envelope"]["id"])

    assert {"id": answer.json["source"]["id"], "location_kind": "url", "path_id": path_id, **said} == {
        name: source[name] for name in ("id", "location_kind", "path_id", *said)
    }
    assert PAYLOAD == base64.b64decode(envelope["raw_payload"])
    assert ("webhook", "2026-11-20T09:00:00.000000Z", len(PAYLOAD)) == tuple(
        envelope[name] for name in ("transport", "received_at", "payload_bytes")
    )
    assert [{"identifier_scope": None, **JANE}, service] == envelope["parties"]
    assert (path_id, "Build 7") == (envelope["source"]["path_id"], envelope["source"]["display_name"])


def test_places_that_are_written_differently_are_one_source(server: Server) -> None:
    path_id = place()

    first = ingest(server, observing(path_id))
    second = ingest(server, observing(path_id.replace("https://ci", "HTTPS://CI").replace("org/", "org:443/")))

    assert first.json["source"]["id"] == second.json["source"]["id"]
    assert (200, False, False) == created(second)


def test_a_later_observation_of_a_source_is_a_new_envelope(server: Server) -> None:
    path_id = place()
    ingest(server, observing(path_id))

    later = ingest(server, observing(path_id, envelope={"received_at": "2026-11-20T09:00:00.000001Z"}))

    assert (201, False, True) == created(later)


def test_many_that_say_the_same_at_once_record_it_once(server: Server) -> None:
    body = observing()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ingest(server, body), range(8)))

    assert [200] * 7 + [201] == sorted(answer.status for answer in answers)
    assert 1 == sum(answer.json["envelope"]["was_created"] for answer in answers)
    source_id, envelope_id = (answers[0].json[name]["id"] for name in ("source", "envelope"))
    assert ["v1.source.indexed", *SIGNALS] == events_of(server, source_id, envelope_id)


# with a package


def test_finalizing_with_an_observation_answers_the_receipt_and_both_ids(server: Server) -> None:
    package_id, body = filled(server), observing()

    answer = finalize(server, package_id, body)

    assert (200, True, True) == created(answer)
    assert (package_id, False) == (answer.json["package_id"], answer.json["reused_existing"])
    events = [*events_of(server, package_id, answer.json["source"]["id"], answer.json["envelope"]["id"])]
    assert ["v1.package.finalized", "v1.source.indexed", "v1.core.envelope_indexed", "v1.package.observed",
            "v1.core.ingested"] == events[events.index("v1.package.finalized") :]  # fmt: skip


def test_finalizing_again_answers_the_same_receipt_and_records_nothing(server: Server) -> None:
    package_id, body = filled(server), observing()
    first = finalize(server, package_id, body).json
    before = events_of(server, package_id, first["source"]["id"], first["envelope"]["id"])

    again = finalize(server, package_id, body).json

    assert {**first, "source": {**first["source"], "was_created": False},
            "envelope": {**first["envelope"], "was_created": False}} == again  # fmt: skip
    assert before == events_of(server, package_id, first["source"]["id"], first["envelope"]["id"])


def test_finalizing_again_records_an_observation_that_was_not_given_before(server: Server) -> None:
    package_id = filled(server)
    plain = finalize(server, package_id, None).json

    observed = finalize(server, package_id, observing())

    assert (200, True, True) == created(observed)
    assert plain == {name: value for name, value in observed.json.items() if name not in {"source", "envelope"}}
    assert "v1.package.observed" in events_of(server, package_id)


def test_finalizing_without_a_body_says_nothing_of_observations(server: Server) -> None:
    answer = finalize(server, filled(server), None)

    assert 200 == answer.status
    assert {"source", "envelope"}.isdisjoint(answer.json)


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/json"}, {"Content-Type": "text/plain"}])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_of_no_bytes_is_no_body(server: Server, headers: dict[str, str], is_chunked: bool) -> None:
    package_id = filled(server)
    shown = {**headers, "Authorization": f"Bearer {server.tokens['writer']}"}

    with urllib3.PoolManager(retries=False, timeout=60) as http:
        url = f"{server.url}/packages/{package_id}/finalize"
        answer = http.request("POST", url, body=b"", headers=shown, chunked=is_chunked)

    assert 200 == answer.status


def test_an_observation_that_is_refused_leaves_the_package_open(server: Server) -> None:
    package_id = filled(server)

    answer = finalize(server, package_id, observing(source={"location_kind": "no-such-kind"}))

    assert (400, "LOCATION_KIND_UNKNOWN") == problem(answer)
    assert "open" == server.ask("GET", f"/packages/{package_id}", token="writer").json["status"]


def test_a_package_that_lacks_a_file_is_recorded_with_no_observation_either(server: Server) -> None:
    package_id, body = opened(server, fresh_files(1)), observing()

    answer = finalize(server, package_id, body)

    assert (409, "PACKAGE_INCOMPLETE") == problem(answer)
    assert (201, True, True) == created(ingest(server, body))


# for a package that is there


def test_a_package_that_was_found_to_be_there_can_be_observed(server: Server) -> None:
    package_id, body = push(server, fresh_files())["package_id"], observing()
    path = f"/packages/{package_id}/observations"

    first, again = (server.ask("POST", path, token="writer", json_body=body) for _ in range(2))

    assert [(201, True, True), (200, False, False)] == [created(first), created(again)]
    assert {"id": package_id, "was_created": False} == {
        name: first.json["package"][name] for name in ("id", "was_created")
    }
    assert 1 == events_of(server, package_id).count("v1.package.observed")


def test_an_observation_that_was_known_is_news_of_a_package(server: Server) -> None:
    package_id, body = push(server, fresh_files())["package_id"], observing()
    known = ingest(server, body).json

    answer = server.ask("POST", f"/packages/{package_id}/observations", token="writer", json_body=body)

    assert (201, False, False) == created(answer)
    assert known["envelope"]["id"] == answer.json["envelope"]["id"]
    packages = envelope_of(server, known["envelope"]["id"])["packages"]
    assert [{"package_id": package_id, "producer": "p"}] == packages


def test_only_who_may_write_to_its_producer_says_where_a_package_was_observed(server: Server) -> None:
    package_id, body = push(server, fresh_files())["package_id"], observing()
    path = f"/packages/{package_id}/observations"

    statuses = {
        token: server.ask("POST", path, token=token, json_body=body).status
        for token in ("other", "other-reader", "reader", None)
    }

    assert {"other": 404, "other-reader": 404, "reader": 403, None: 401} == statuses
    assert (201, True, True) == created(server.ask("POST", path, token="writer", json_body=body))


def test_of_an_expired_package_nothing_more_is_recorded(own_server: Server) -> None:
    package_id, body = push(own_server, fresh_files())["package_id"], observing()
    with closing(own_server.registry()) as registry, registry.transaction() as tx:
        tx.record(PackageExpired(package_id=package_id, expired_at=registry.clock()))

    answer = own_server.ask("POST", f"/packages/{package_id}/observations", token="writer", json_body=body)

    assert (409, "PACKAGE_EXPIRED") == problem(answer)
    assert (201, True, True) == created(ingest(own_server, body))


def test_an_open_package_is_observed_when_it_is_finalized(server: Server) -> None:
    package_id = filled(server)

    answer = server.ask("POST", f"/packages/{package_id}/observations", token="writer", json_body=observing())

    assert (404, "PACKAGE_UNKNOWN") == problem(answer)


# who says it


def test_the_token_is_who_recorded_it_and_the_plug_in_only_declared(server: Server) -> None:
    body = observing(plugin={"name": "guide-board", "version": "9.9", "contract_version": "7"})

    envelope = envelope_of(server, ingest(server, body).json["envelope"]["id"])

    assert "token:writer" == envelope["recorded_by"]
    assert {"name": "guide-board", "version": "9.9", "contract_version": "7", "declared": True} == envelope["plugin"]


@pytest.mark.parametrize("member", ["declared_by", "actor", "is_declared", "recorded_by", "witness", "declared"])
@pytest.mark.parametrize("where", ["", "plugin", "source", "envelope", "parties/0"])
@pytest.mark.parametrize("is_true", [True, "plugin:guide-board@1.0"])
def test_who_says_it_cannot_be_said(server: Server, where: str, member: str, is_true: object) -> None:
    body = observing()
    said = body["parties"][0] = dict(JANE)
    said = said if where == "parties/0" else body[where] if where else body
    said[member] = is_true

    answer = ingest(server, body)

    assert (400, "REQUEST_INVALID") == problem(answer)
    assert [f"{where and '/'}{where}/{member}"] == places(answer)


def ingest_in_process(server: Server, body: dict[str, Any], plugin: str) -> IngestResult:
    """The same statement, by a plug-in that this process has loaded."""
    with closing(server.registry()) as registry:
        context = EmbeddedContext(host_of(registry, settings_of(server.home)), load_plugin(plugin))
        given = as_input(body)
        return context.ingest(source=given.source, envelope=given.envelope)


def as_input(body: dict[str, Any]) -> IngestInput:
    source, envelope = body["source"], body["envelope"]
    return IngestInput(
        SourceInput(source["location_kind"], source["path_id"]),
        EnvelopeInput(envelope["transport"], PAYLOAD, datetime.fromisoformat(envelope["received_at"])),
    )


def test_no_caller_takes_an_in_process_plug_ins_envelope_before_it_can(server: Server) -> None:
    body = observing(plugin={"name": "guide-board", "version": None})
    taken = [ingest(server, body, token=token).json["envelope"]["id"] for token in ("writer", "admin")]

    found = ingest_in_process(server, body, "guide-board")

    assert found.envelope.was_created
    assert not found.source.was_created, "who runs in the process may know of everything"
    assert found.envelope.id not in taken
    assert {"name": "guide-board", "declared": False} == {
        name: envelope_of(server, found.envelope.id)["plugin"][name] for name in ("name", "declared")
    }


def test_no_token_takes_anothers_envelope_before_it_can(server: Server) -> None:
    body = observing()

    answers = [ingest(server, body, token=token) for token in ("writer", "other", "admin")]

    assert [201] * 3 == [answer.status for answer in answers]
    assert 3 == len({answer.json["envelope"]["id"] for answer in answers})
    assert 1 == len({answer.json["source"]["id"] for answer in answers})


def test_a_token_cannot_be_named_so_that_it_speaks_for_another(own_server: Server) -> None:
    with closing(own_server.registry()) as registry:
        for name in ("ci", "ci-x"):
            own_server.tokens[name] = create_token(registry, name, ["write:p"])[0]
    path_id = place()

    found = {
        ingest(own_server, observing(path_id, plugin={"name": plugin}), token=token).json["envelope"]["id"]
        for token, plugin in (("ci", "x-y"), ("ci-x", "y"), ("ci", "y"))
    }

    assert 3 == len(found)


# what is refused


@pytest.mark.parametrize(
    ("changes", "code", "where"),
    [
        ({"envelope": {"received_at": "2026-11-20T10:00:00"}}, "INPUT_INVALID", "/envelope/received_at"),
        ({"envelope": {"received_at": "2026-11-20"}}, "INPUT_INVALID", "/envelope/received_at"),
        ({"envelope": {"received_at": "yesterday"}}, "INPUT_INVALID", "/envelope/received_at"),
        ({"envelope": {"received_at": "2026-W01-1T00:00:00Z"}}, "INPUT_INVALID", "/envelope/received_at"),
        ({"envelope": {"received_at": "20260101T000000Z"}}, "INPUT_INVALID", "/envelope/received_at"),
        ({"envelope": {"received_at": "2026-01-01x00:00:00Z"}}, "INPUT_INVALID", "/envelope/received_at"),
        ({"envelope": {"received_at": "1969-12-31T23:59:59Z"}}, "INPUT_INVALID", "/envelope/received_at"),
        ({"envelope": {"received_at": 1_763_000_000}}, "REQUEST_INVALID", "/envelope/received_at"),
        ({"envelope": {"raw_payload": "not base64"}}, "INPUT_INVALID", "/envelope/raw_payload"),
        ({"envelope": {"raw_payload": "_-8="}}, "INPUT_INVALID", "/envelope/raw_payload"),
        ({"envelope": {"raw_payload": "e30"}}, "INPUT_INVALID", "/envelope/raw_payload"),
        ({"envelope": {"raw_payload": "e3\u00e9="}}, "INPUT_INVALID", "/envelope/raw_payload"),
        ({"envelope": {"raw_payload": None}}, "REQUEST_INVALID", "/envelope/raw_payload"),
        ({"envelope": {"transport": "Not A Slug"}}, "INPUT_INVALID", "/envelope/transport"),
        ({"plugin": {"name": "Not A Slug"}}, "INPUT_INVALID", "/plugin/name"),
        ({"plugin": {"version": "1\n2"}}, "INPUT_INVALID", "/plugin/version"),
        ({"plugin": {"contract_version": ""}}, "INPUT_INVALID", "/plugin/contract_version"),
        ({"plugin": {"contract_version": 1}}, "REQUEST_INVALID", "/plugin/contract_version"),
        ({"source": {"path_id": ""}}, "INPUT_INVALID", "/source/path_id"),
        ({"source": {"path_id": "no url"}}, "PATH_ID_INVALID", None),
        ({"source": {"metadata": []}}, "REQUEST_INVALID", "/source/metadata"),
        ({"source": {"retrieval": {"content_type": "json"}}}, "INPUT_INVALID", "/source/retrieval/content_type"),
        ({"parties": [{**JANE, "role": "king"}]}, "ROLE_INVALID", None),
        ({"parties": [{**JANE, "identifier_kind": "pigeon"}]}, "IDENTIFIER_KIND_UNKNOWN", None),
        ({"parties": [{**JANE, "trust": "utmost"}]}, "INPUT_INVALID", None),
        ({"parties": JANE}, "REQUEST_INVALID", "/parties"),
    ],
    ids=str,
)  # fmt: skip
def test_what_breaks_a_rule_is_refused_by_its_place(
    server: Server, changes: dict[str, Any], code: str, where: str | None
) -> None:
    answer = ingest(server, observing(**changes))

    assert (400, code) == problem(answer)
    assert where is None or [where] == places(answer)


def test_a_time_without_an_offset_is_told_why(server: Server) -> None:
    answer = ingest(server, observing(envelope={"received_at": "2026-11-20T10:00:00"}))

    assert "offset from UTC" in answer.json["problems"][0]["what"]


@pytest.mark.parametrize("missing", ["plugin", "source", "envelope"])
def test_what_is_missing_is_named(server: Server, missing: str) -> None:
    body = observing()
    del body[missing]

    answer = ingest(server, body)

    assert (400, "REQUEST_INVALID") == problem(answer)
    assert [f"/{missing}"] == places(answer)


def test_a_payload_may_have_as_many_bytes_as_the_settings_say(strict: Server) -> None:
    body = observing(envelope={"raw_payload": base64.b64encode(bytes(SMALLEST_CAP)).decode()})
    too_much = observing(envelope={"raw_payload": base64.b64encode(bytes(SMALLEST_CAP + 1)).decode()})
    package_id = filled(strict)

    refused = [ingest(strict, too_much), finalize(strict, package_id, too_much)]

    assert [(413, "PAYLOAD_TOO_LARGE")] * 2 == [problem(answer) for answer in refused]
    assert 201 == ingest(strict, body).status
    assert 200 == finalize(strict, package_id, body).status
    limits = strict.ask("POST", "/packages:preflight", token="writer", json_body={"producer": "p"}).json["limits"]
    assert SMALLEST_CAP == limits["max_payload_bytes"]


def test_the_largest_payload_that_can_be_configured_can_be_sent(tmp_path: Path) -> None:
    with serving(tmp_path / "home", environment={"ARTIFACTSTORE_MAX_PAYLOAD_BYTES": str(2**20)}) as server:
        payload = base64.b64encode(bytes(2**20)).decode()

        answer = ingest(server, observing(envelope={"raw_payload": payload}))
        envelope = envelope_of(server, answer.json["envelope"]["id"])

    assert (201, payload) == (answer.status, envelope["raw_payload"])


def test_a_body_that_is_no_json_is_refused(server: Server) -> None:
    headers = {"Content-Type": "text/plain"}

    answers = [
        server.ask("POST", path, token="writer", headers=headers, body=b"{}")
        for path in ("/ingests", f"/packages/{filled(server)}/finalize")
    ]

    assert [(415, "MEDIA_TYPE_UNSUPPORTED")] * 2 == [problem(answer) for answer in answers]


# a server that dies


def test_a_server_that_is_killed_while_it_finalizes_has_recorded_all_or_nothing(
    nursery: Nursery, tmp_path: Path
) -> None:
    home, body = tmp_path / "home", observing()
    tokens = make_tokens(home)
    with nursery.serving(home, tokens) as server:
        package_id, counted = filled(server, external_id="e"), filled(server, external_id="counted")
        arm(home, 0)
        assert 200 == finalize(server, counted, observing()).status
        arm(home, PLAIN)
    steps = [line.removeprefix("failpoint ") for line in server.log if line.startswith("failpoint ")]
    assert {"catalog.after-v1.package.observed", "catalog.after-v1.core.ingested"} < set(steps)
    assert "finalize.before-answer" == steps[-1]

    first, commit = steps.index("catalog.after-v1.package.finalized"), steps.index("catalog.after-commit")
    for step in range(first, commit + 1):
        with nursery.serving(home, tokens, fatal_hit=step + 1) as server:
            with pytest.raises(urllib3.exceptions.HTTPError):
                finalize(server, package_id, body)
            assert SIGKILLED == server.stop()
            recorded_events = events_of(server, package_id)
        assert (step == commit) == ("v1.package.finalized" in recorded_events)
        assert (step == commit) == ("v1.package.observed" in recorded_events)

    with nursery.serving(home, tokens) as server:
        answer = finalize(server, package_id, body)
        check_store(server)
        events = events_of(server, package_id, answer.json["source"]["id"], answer.json["envelope"]["id"])
    assert (200, False, False) == created(answer)
    assert 1 == events.count("v1.package.finalized") == events.count("v1.package.observed")
    assert ["v1.source.indexed", *SIGNALS] == [name for name in events if name in {"v1.source.indexed", *SIGNALS}]


@pytest.mark.parametrize("to", ["/ingests", "/packages/{}/observations"])
def test_an_observation_whose_answer_was_lost_is_found_recorded(nursery: Nursery, tmp_path: Path, to: str) -> None:
    home, body = tmp_path / "home", observing()
    tokens = make_tokens(home)
    with nursery.serving(home, tokens) as server:
        path = to.format(push(server, fresh_files())["package_id"])
        arm(home, 0)
        assert 201 == server.ask("POST", path, token="writer", json_body=observing()).status
        arm(home, PLAIN)
    steps = [line for line in server.log if line.startswith("failpoint ")]
    assert "failpoint observe.before-answer" == steps[-1]

    with nursery.serving(home, tokens, fatal_hit=len(steps)) as server:
        with pytest.raises(urllib3.exceptions.HTTPError):
            server.ask("POST", path, token="writer", json_body=body)
        server.stop()

    with nursery.serving(home, tokens) as server:
        assert (200, False, False) == created(server.ask("POST", path, token="writer", json_body=body))
        check_store(server)


def test_what_is_observed_is_counted(own_server: Server) -> None:
    body = observing()

    ingest(own_server, body)
    ingest(own_server, body)
    recorded(own_server, body)
    text = own_server.ask("GET", "/metrics").body.decode()

    assert 'artifactstore_observations_total{outcome="new"} 2.0' in text
    assert 'artifactstore_observations_total{outcome="known"} 1.0' in text
    assert 'artifactstore_ingests_total{outcome="new"} 1.0' in text


def test_the_time_is_the_moment_and_not_how_it_is_written(server: Server) -> None:
    path_id = place()
    assert "+01:00" in AT

    first = ingest(server, observing(path_id))
    same = ingest(server, observing(path_id, envelope={"received_at": "2026-11-20T09:00:00.000Z"}))

    assert first.json["envelope"]["id"] == same.json["envelope"]["id"]
