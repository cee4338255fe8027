"""Observations by the client: with a package, for one that is there, and without; over networks that fail."""

from __future__ import annotations

import base64
import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest

from artifactstore.built_in import load_plugin
from artifactstore.client import Client, RemoteContext
from artifactstore.domain.package import BytesSource, FileDraft, PackageDraft
from artifactstore.domain.provenance import (
    EnvelopeInput,
    IngestInput,
    PartyInput,
    Provenance,
    Retrieval,
    SourceInput,
)
from artifactstore.domain.retention import RetentionClass
from artifactstore.errors import (
    EnvelopeUnknownError,
    ForbiddenError,
    IdentifierKindUnknownError,
    LocationKindUnknownError,
    ObservationError,
    PackageUnknownError,
    PayloadTooLargeError,
    ProvenanceError,
    RunChangedError,
    ServiceError,
    SourceUnknownError,
    UsageError,
)
from tests.client.running_server import TOKENS
from tests.client.scripted_server import NO_ANSWER, Answer, Asked, serving
from tests.client.test_pushing import FILES, LIMITS, RECEIPT, Depot

PROVENANCE = Provenance("ci-reporter", "2.1", "3")
PARTY = PartyInput("service", "runner-3", "runner", "verified", identifier_scope="ci")
MOMENT = datetime(2026, 11, 20, 11, 0, 0, 5, tzinfo=timezone(timedelta(hours=1)))
TAKES = {**LIMITS, "max_payload_bytes": 65_536}
IDS = {"source": {"id": "a" * 64, "was_created": True}, "envelope": {"id": "b" * 64, "was_created": True}}


def package(files=None, *, external_id=None, producer="ci"):
    drafts = tuple(
        FileDraft(path, BytesSource(data), "content", "text/plain")
        for path, data in (files or {"a.txt": uuid4().bytes}).items()
    )
    return PackageDraft(producer, drafts, RetentionClass.TRANSIENT, external_id=external_id or uuid4().hex)


def given(draft=None, **source):
    said = {"path_id": f"https://ci.example.org/{uuid4().hex}", **source}
    return IngestInput(SourceInput("url", **said), EnvelopeInput("webhook", b"\x00\xff{}", MOMENT), (PARTY,), draft)


# in


def test_an_observation_is_recorded_as_it_was_said(root):
    said = given(
        owner_host_id="host-1", retrieval=Retrieval("text/plain", "Build 7"), metadata={"a": [1, 1.5, None, "\u00e9"]}
    )

    result = root.ingest(said, PROVENANCE)

    source, envelope = root.source(result.source.id), root.envelope(result.envelope.id)
    assert (True, True, None) == (result.source.was_created, result.envelope.was_created, result.package)
    assert ("host-1", {"content_type": "text/plain", "display_name": "Build 7"}, said.source.metadata) == (
        source["owner_host_id"], source["retrieval"], source["metadata"],
    )  # fmt: skip
    assert said.envelope.raw_payload == base64.b64decode(envelope["raw_payload"])
    assert "2026-11-20T10:00:00.000005Z" == envelope["received_at"]
    assert [{"identifier_kind": "service", "identifier_scope": "ci", "identifier_value": "runner-3",
             "role": "runner", "trust": "verified"}] == envelope["parties"]  # fmt: skip
    assert {"name": "ci-reporter", "version": "2.1", "contract_version": "3", "declared": True} == envelope["plugin"]
    assert "token:root" == envelope["recorded_by"]


def test_the_same_again_records_nothing(root):
    said = given()
    first = root.ingest(said, PROVENANCE)

    again = root.ingest(said, PROVENANCE)

    assert (first.source.id, first.envelope.id) == (again.source.id, again.envelope.id)
    assert (False, False) == (again.source.was_created, again.envelope.was_created)


def test_a_package_is_pushed_with_where_it_was_observed(root, tmp_path):
    said = given(package({"a.txt": uuid4().bytes, "large.bin": bytes(2**20 + 7)}))

    result = root.push_observed(said, PROVENANCE)

    (observation,) = root.observations(result.package.id)
    assert (True, True, True) == (
        result.source.was_created, result.envelope.was_created, result.package.was_created,
    )  # fmt: skip
    assert (result.source.id, result.envelope.id) == (observation["source"]["id"], observation["envelope"]["id"])
    assert [observation] == root.package(result.package.id)["observations"]
    assert 2 == root.get_package(result.package.id, tmp_path / "out")


def test_a_package_that_was_there_already_is_observed_all_the_same(root):
    draft = package()
    receipt = root.push(draft)

    result = root.push_observed(given(draft), PROVENANCE)
    again = root.push_observed(given(draft), PROVENANCE)

    assert (receipt.package_id, False) == (result.package.id, result.package.was_created)
    assert result.package.receipt.reused_existing
    assert (True, True) == (result.envelope.was_created, again.envelope.was_created)
    assert 2 == len(list(root.observations(receipt.package_id)))


def test_changed_content_is_refused_with_its_observation(root):
    root.push(package({"a": b"1"}, external_id="changing-observed"))
    said = given(package({"a": b"2"}, external_id="changing-observed"))

    with pytest.raises(RunChangedError):
        root.push_observed(said, PROVENANCE)
    revised = root.push_observed(said, PROVENANCE, as_revision=True)

    assert (2, True) == (revised.package.receipt.revision, revised.envelope.was_created)


def test_envelopes_come_in_order(root):
    said = given()
    made = [
        root.ingest(replace(said, envelope=replace(said.envelope, received_at=MOMENT + timedelta(n))), PROVENANCE)
        for n in (2, 0, 1)
    ]

    assert [each.envelope.id for each in made] == [each["id"] for each in root.envelopes(made[0].source.id)]


def test_what_is_unknown_is_said_to_be(root):
    for name in ("0" * 64, "x", "../metrics", ".."):
        with pytest.raises(SourceUnknownError):
            root.source(name)
        with pytest.raises(SourceUnknownError):
            list(root.envelopes(name))
        with pytest.raises(EnvelopeUnknownError):
            root.envelope(name)
    with pytest.raises(PackageUnknownError):
        list(root.observations("nope"))


# a plug-in's context


def test_a_plug_in_over_a_server_records_what_it_would_in_the_process(root):
    context = RemoteContext(root, load_plugin("guide-board"))
    said = given(package())

    lone = context.ingest(source=said.source, envelope=said.envelope, parties=list(said.parties))
    result = context.ingest(source=said.source, envelope=said.envelope, parties=said.parties, package=said.package)

    assert (True, None) == (lone.envelope.was_created, lone.package)
    assert (lone.envelope.id, False) == tuple(result.envelope)
    assert [lone.envelope.id] == [each["envelope"]["id"] for each in context.package(result.package.id)["observations"]]


# refused


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda said: replace(said, source=replace(said.source, location_kind="nowhere")), LocationKindUnknownError),
        (lambda said: replace(said, parties=(replace(PARTY, identifier_kind="pigeon"),)), IdentifierKindUnknownError),
        (
            lambda said: replace(said, envelope=replace(said.envelope, raw_payload=bytes(65_537))),
            PayloadTooLargeError,
        ),
    ],
)
@pytest.mark.parametrize("with_package", [False, True])
def test_what_the_server_refuses_is_the_error_it_is_in_the_process(root, change, error, with_package):
    said = change(given(package() if with_package else None))

    with pytest.raises(error):
        (root.push_observed if with_package else root.ingest)(said, PROVENANCE)


class _Derived(SourceInput):
    pass


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (replace(given(), envelope=EnvelopeInput("webhook", b"", datetime(2026, 1, 1))), ObservationError),  # noqa: DTZ001
        (replace(given(), envelope=EnvelopeInput("webhook", bytes(2**20 + 1), MOMENT)), PayloadTooLargeError),
        (replace(given(), source=_Derived("url", "https://a.example")), ProvenanceError),
    ],
)
def test_what_needs_no_server_to_be_refused_is_refused_without_one(said, error):
    with serving(lambda _: NO_ANSWER) as server, Client(server.url) as client:
        with pytest.raises(error):
            client.ingest(said, PROVENANCE)
        with pytest.raises(error):
            client.push_observed(replace(said, package=package()), PROVENANCE)

    assert [] == server.asked


def test_there_must_be_a_package_to_push(root):
    with pytest.raises(UsageError):
        root.push_observed(given(), PROVENANCE)


def test_a_token_that_may_write_nothing_observes_nothing(running_server):
    with Client(running_server.url, TOKENS["reader"]) as reader, pytest.raises(ForbiddenError):
        reader.ingest(given(), PROVENANCE)


# networks and servers that fail


@pytest.mark.parametrize("cut", [1, 150, 300])
def test_an_observation_whose_answer_is_lost_is_recorded_once(root, proxy, through_proxy, cut):
    said = given()
    proxy.down_cuts = [cut]

    result = through_proxy.ingest(said, PROVENANCE)

    assert proxy.down_cuts == []
    assert (False, False) == (result.source.was_created, result.envelope.was_created)
    assert [result.envelope.id] == [each["id"] for each in root.envelopes(result.source.id)]


@pytest.mark.parametrize("number", range(4))
def test_whichever_answer_of_a_push_is_lost_package_and_observation_are_recorded_once(root, number):
    said, asked_for, lost = given(package()), itertools.count(), []

    def script(asked: Asked) -> Answer:
        answer = passed_on(root, asked)
        if next(asked_for) == number:
            lost.append(asked.target)
            return NO_ANSWER
        return answer

    with serving(script) as server, Client(server.url, TOKENS["root"], sleep=lambda _: None) as client:
        result = client.push_observed(said, PROVENANCE)

    assert 1 == len(lost)
    assert (number == 3) == lost[0].endswith("/finalize")
    assert result.package.was_created
    assert [result.envelope.id] == [each["envelope"]["id"] for each in root.observations(result.package.id)]
    assert [result.envelope.id] == [each["id"] for each in root.envelopes(result.source.id)]


def passed_on(root: Client, asked: Asked) -> Answer:
    """What the real server answers to a request that came to a scripted one."""
    pool = root._connection._pool
    kept = {name: value for name, value in asked.headers.items() if name.lower() not in {"host", "connection"}}
    answer = pool.request(asked.method, asked.target, body=asked.body, headers=kept, retries=False)
    return Answer(answer.status, answer.data, {"Content-Type": answer.headers.get("Content-Type", "")})


def test_a_push_with_an_observation_makes_no_more_requests_than_one_without():
    depot = Depot()
    depot.preflight = Answer.json({"ok": True, "problems": [], "limits": TAKES})
    depot.finalized = [Answer.json({**RECEIPT, **IDS})]
    small = {f"{n}.txt": b"%d" % n for n in range(300)}

    with serving(depot) as server, Client(server.url) as client:
        result = client.push_observed(given(package(small)), PROVENANCE)

    assert ["POST /packages:preflight", "POST /packages", "POST /packages/1/packs", "POST /packages/1/finalize"] == (
        server.targets
    )
    assert ("a" * 64, "b" * 64, "1") == (result.source.id, result.envelope.id, result.package.id)
    assert PROVENANCE.plugin_name == server.asked[-1].document["plugin"]["name"]


def test_a_server_that_knows_no_observations_is_said_to_be_old_before_a_file_is_read():
    class Unreadable:
        def open(self):
            raise AssertionError("the file was opened")

    draft = PackageDraft("ci", (FileDraft("a", Unreadable(), "content", "text/plain"),), RetentionClass.TRANSIENT)
    with serving(Depot()) as server, Client(server.url) as client, pytest.raises(ServiceError, match="older"):
        client.push_observed(given(draft), PROVENANCE)

    assert ["POST /packages:preflight"] == server.targets


@pytest.mark.parametrize(
    "answer", [Answer.problem(404, "NOT_FOUND"), Answer.problem(405, "METHOD_NOT_ALLOWED")], ids=["404", "405"]
)
def test_a_server_that_has_no_such_resource_is_said_to_be_old(answer):
    with serving(lambda _: answer) as server, Client(server.url) as client, pytest.raises(ServiceError) as caught:
        client.ingest(given(), PROVENANCE)

    assert "older" in caught.value.message
    assert "upgraded" in caught.value.hint
    assert ["POST /ingests"] == server.targets


@pytest.mark.parametrize("answer", [{}, {"source": 1}, {"source": {"id": "x"}, "envelope": {}}, {**IDS, "source": {}}])
def test_an_answer_that_does_not_say_what_was_recorded_makes_no_sense(answer):
    depot = Depot()
    depot.preflight = Answer.json({"ok": True, "problems": [], "limits": TAKES})
    depot.finalized = [Answer.json({**RECEIPT, **answer})]

    with serving(depot) as server, Client(server.url) as client, pytest.raises(ServiceError):
        client.push_observed(given(package(FILES)), PROVENANCE)
    with serving(lambda _: Answer.json(answer)) as server, Client(server.url) as client, pytest.raises(ServiceError):
        client.ingest(given(), PROVENANCE)


def test_the_payload_is_compared_with_the_servers_limit_before_a_file_is_read():
    depot = Depot()
    depot.preflight = Answer.json({"ok": True, "problems": [], "limits": {**TAKES, "max_payload_bytes": 3}})

    with serving(depot) as server, Client(server.url) as client, pytest.raises(PayloadTooLargeError):
        client.push_observed(given(package()), PROVENANCE)

    assert ["POST /packages:preflight"] == server.targets


def test_the_moment_is_sent_in_utc_with_microseconds():
    with serving(lambda _: Answer.json({**IDS, "package": None})) as server, Client(server.url) as client:
        client.ingest(given(), PROVENANCE)

    (asked,) = server.asked
    assert "2026-11-20T10:00:00.000005Z" == asked.document["envelope"]["received_at"]
    assert MOMENT == datetime.fromisoformat(asked.document["envelope"]["received_at"]).astimezone(UTC)
