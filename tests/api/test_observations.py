"""Looking at what was observed: who sees what, and that what a caller may not see answers as what is not there."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import urllib3

from artifactstore.registry.provenance import FIRST_OBSERVATIONS, FIRST_PARTIES
from tests.api.observed import JANE, events_of, ingest, observing, place, recorded
from tests.api.pushing import fresh_files, problem, push
from tests.api.test_visibility import impersonal
from tests.service import serving
from tests.support import replay_is_exact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service import Answer, Server

ABSENT = "0123456789abcdef" * 4
NOT_P = ("other", "other-reader")


class Hidden:
    """A package of p that p's token observed, and an observation that p's token made of no package."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.path_id = "https://secret.example.org/hidden-place"
        retrieval = {"content_type": "text/plain", "display_name": "hidden-name"}
        said = {"retrieval": retrieval, "metadata": {"k": "hidden-value"}, "owner_host_id": "hidden-host"}
        found = recorded(server, observing(self.path_id, source=said), external_id="hidden-run")
        self.package, self.source, self.envelope = (
            found["package_id"], found["source"]["id"], found["envelope"]["id"],
        )  # fmt: skip
        self.lone_path_id = "https://secret.example.org/lone-place"
        lone = ingest(server, observing(self.lone_path_id, source=said)).json
        self.lone_source, self.lone_envelope = lone["source"]["id"], lone["envelope"]["id"]
        recorded(server, observing(), token="other", producer="q", external_id="own-run")
        self._numbers = itertools.count(1)

    def ask(self, path: str, token: str) -> Answer:
        return self.server.ask("GET", path, token=token)

    def number(self) -> int:
        return next(self._numbers)


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hidden]:
    with serving(tmp_path_factory.mktemp("observations") / "home") as server:
        yield Hidden(server)


# who sees what


@pytest.mark.parametrize(
    ("path", "seeing"),
    [
        ("/sources/{source}", {"admin", "reader", "writer"}),
        ("/sources/{source}/envelopes", {"admin", "reader", "writer"}),
        ("/envelopes/{envelope}", {"admin", "reader", "writer"}),
        ("/sources/{lone_source}", {"admin", "reader", "writer"}),
        ("/sources/{lone_source}/envelopes", {"admin", "reader", "writer"}),
        ("/envelopes/{lone_envelope}", {"admin", "reader", "writer"}),
        ("/packages/{package}/observations", {"admin", "reader", "writer"}),
    ],
)
def test_who_sees_it_is_who_reads_everything_and_who_recorded_it(hidden: Hidden, path: str, seeing: set[str]) -> None:
    asked = path.format_map(vars(hidden))

    statuses = {token: hidden.ask(asked, token).status for token in ("admin", "reader", "writer", *NOT_P)}

    assert {token: 200 if token in seeing else 404 for token in statuses} == statuses


def test_who_may_read_a_package_sees_the_envelope_that_observed_it(own_server: Server) -> None:
    body = observing(source={"retrieval": {"display_name": "said by admin"}})
    found = recorded(own_server, body, token="admin", producer="q")
    lone = ingest(own_server, observing(), token="admin").json

    seen = own_server.ask("GET", f"/envelopes/{found['envelope']['id']}", token="other-reader")

    assert 200 == seen.status
    assert [{"package_id": found["package_id"], "producer": "q"}] == seen.json["packages"]
    assert "token:admin" == seen.json["recorded_by"]
    assert (404, "ENVELOPE_UNKNOWN") == problem(
        own_server.ask("GET", f"/envelopes/{lone['envelope']['id']}", token="other-reader")
    )
    assert (404, "SOURCE_UNKNOWN") == problem(
        own_server.ask("GET", f"/sources/{found['source']['id']}", token="other-reader")
    )


def test_of_the_packages_an_envelope_observed_a_caller_is_told_its_own(own_server: Server) -> None:
    body = observing()
    ours, theirs = (recorded(own_server, body, token="admin", producer=producer, external_id="e") for producer in "qp")

    told = {
        token: own_server.ask("GET", f"/envelopes/{ours['envelope']['id']}", token=token).json["packages"]
        for token in ("admin", "other", "writer")
    }

    assert ours["envelope"]["id"] == theirs["envelope"]["id"]
    q, p = ({"package_id": each["package_id"], "producer": name} for each, name in ((ours, "q"), (theirs, "p")))
    assert {"admin": [p, q], "other": [q], "writer": [p]} == told


@pytest.mark.parametrize("token", NOT_P)
@pytest.mark.parametrize(
    "path",
    [
        "/sources/{}", "/sources/{}/envelopes", "/sources/{}/envelopes?limit=1", "/envelopes/{}",
    ],
)  # fmt: skip
def test_what_is_hidden_answers_as_what_is_not_there(hidden: Hidden, path: str, token: str) -> None:
    names = ("source", "lone_source") if path.startswith("/sources") else ("envelope", "lone_envelope")

    absent = impersonal(hidden.ask(path.format(ABSENT), token), ABSENT)

    for name in names:
        found = getattr(hidden, name)
        assert absent == impersonal(hidden.ask(path.format(found), token), found)


@pytest.mark.parametrize("name", ["x", "0" * 63, "0" * 65, "G" * 64, "A" * 64, "\u0660" * 64])
def test_what_is_no_id_is_the_id_of_nothing(hidden: Hidden, name: str) -> None:
    assert (404, "SOURCE_UNKNOWN") == problem(hidden.ask(f"/sources/{quote(name)}", "admin"))
    assert (404, "ENVELOPE_UNKNOWN") == problem(hidden.ask(f"/envelopes/{quote(name)}", "admin"))


def test_an_id_of_one_kind_is_no_id_of_the_other(hidden: Hidden) -> None:
    assert (404, "SOURCE_UNKNOWN") == problem(hidden.ask(f"/sources/{hidden.envelope}", "admin"))
    assert (404, "ENVELOPE_UNKNOWN") == problem(hidden.ask(f"/envelopes/{hidden.source}", "admin"))


# a source that somebody else knows


def observe_as_other(hidden: Hidden, path_id: str) -> list[Any]:
    """All that q's token is told while it records an observation and looks at it, without ids and times."""
    said = {"retrieval": {"display_name": "own name"}, "metadata": {"own": True}, "owner_host_id": "own-host"}
    body = observing(path_id, source=said)
    first = ingest(hidden.server, body, token="other")
    source, envelope = first.json["source"]["id"], first.json["envelope"]["id"]
    finalized = recorded(hidden.server, body, token="other", producer="q", external_id=f"run-{hidden.number():03}")
    package = finalized["package_id"]
    later = observing(path_id, source=said, envelope={"received_at": "2026-11-21T00:00:00Z"})
    answers = [
        first,
        ingest(hidden.server, body, token="other"),
        ingest(hidden.server, later, token="other"),
        hidden.server.ask("POST", f"/packages/{package}/observations", token="other", json_body=later),
        *(
            hidden.ask(path, "other")
            for path in (
                f"/sources/{source}",
                f"/sources/{source}/envelopes",
                f"/envelopes/{envelope}",
                f"/packages/{package}",
                f"/packages/{package}/observations",
            )
        ),
    ]
    ids = {source: "<source>", path_id: "<path>"}
    return [(answer.status, _told(answer.json, ids)) for answer in answers] + [_told(finalized, ids)]


_EACH_ITS_OWN = ("id", "_id", "_at", "_digest", "next_after")


def _told(value: Any, ids: dict[str, str], name: str = "") -> Any:
    match value:
        case dict():
            return {key: _told(each, ids, key) for key, each in value.items()}
        case list():
            return [_told(each, ids, name) for each in value]
        case str() if value in ids:
            return ids[value]
        case str() if name.endswith(_EACH_ITS_OWN):
            return "<its own>"
        case _:
            return value


@pytest.mark.parametrize("name", ["path_id", "lone_path_id"])
def test_a_source_that_others_have_observed_is_as_new_as_one_that_nobody_has(hidden: Hidden, name: str) -> None:
    unheard_of = observe_as_other(hidden, f"https://secret.example.org/unheard-of-{name}")
    known_to_others = observe_as_other(hidden, getattr(hidden, name))

    assert (201, True) == (unheard_of[0][0], unheard_of[0][1]["source"]["was_created"])
    assert unheard_of == known_to_others
    assert "hidden" not in json.dumps(known_to_others)


def test_who_reads_everything_is_told_what_was_said_first(hidden: Hidden) -> None:
    ingest(hidden.server, observing(hidden.lone_path_id, source={"metadata": {"k": "later"}}), token="admin")

    source = hidden.ask(f"/sources/{hidden.lone_source}", "reader").json

    assert ({"k": "hidden-value"}, "hidden-name", "hidden-host", "token:writer") == (
        source["metadata"], source["retrieval"]["display_name"], source["owner_host_id"], source["recorded_by"],
    )  # fmt: skip


def test_of_a_source_with_several_witnesses_each_sees_its_own_envelopes(own_server: Server) -> None:
    path_id = place()
    made = {token: ingest(own_server, observing(path_id), token=token).json for token in ("writer", "other", "admin")}
    path = f"/sources/{made['writer']['source']['id']}/envelopes"

    seen = {
        token: [each["id"] for each in own_server.ask("GET", path, token=token).json["envelopes"]]
        for token in ("writer", "other", "admin", "reader")
    }

    ids = {token: each["envelope"]["id"] for token, each in made.items()}
    assert {
        "writer": [ids["writer"]],
        "other": [ids["other"]],
        "admin": [*ids.values()],
        "reader": [*ids.values()],
    } == (seen)
    foreign = own_server.ask("GET", f"{path}?after={ids['writer']}", token="other")
    absent = own_server.ask("GET", f"{path}?after={ABSENT}", token="other")
    assert impersonal(absent, ABSENT) == impersonal(foreign, ids["writer"])


# pages


def pages(server: Server, path: str, name: str, *, limit: int, token: str = "admin") -> list[Any]:
    items, after = [], ""
    while after is not None:
        page = server.ask("GET", f"{path}?limit={limit}{after and f'&after={after}'}", token=token).json
        items += page[name]
        after = page["next_after"]
    return items


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
def test_pages_have_everything_once_in_the_order_it_was_recorded(own_server: Server, limit: int) -> None:
    package_id, path_id = push(own_server, fresh_files())["package_id"], place()
    made = []
    for second in (5, 1, 4, 2, 3):
        body = observing(path_id, envelope={"received_at": f"2026-11-20T10:00:0{second}Z"})
        path = f"/packages/{package_id}/observations"
        made.append(own_server.ask("POST", path, token="writer", json_body=body).json)

    observations = pages(own_server, f"/packages/{package_id}/observations", "observations", limit=limit)
    envelopes = pages(own_server, f"/sources/{made[0]['source']['id']}/envelopes", "envelopes", limit=limit)

    expected = [each["envelope"]["id"] for each in made]
    assert expected == [each["envelope"]["id"] for each in observations]
    assert expected == [each["id"] for each in envelopes]


def test_the_envelope_of_another_package_is_no_cursor(own_server: Server) -> None:
    first, second = (recorded(own_server, observing()) for _ in range(2))
    path = f"/packages/{first['package_id']}/observations?after="

    assert (404, "ENVELOPE_UNKNOWN") == problem(own_server.ask("GET", path + second["envelope"]["id"]))
    assert [] == own_server.ask("GET", path + first["envelope"]["id"]).json["observations"]


# with its package


def test_a_package_is_shown_with_where_it_was_observed(own_server: Server) -> None:
    said = {"retrieval": {"display_name": "Build 7"}}
    found = recorded(own_server, observing("https://CI.example.org/7", source=said))

    shown = own_server.ask("GET", f"/packages/{found['package_id']}", token="reader").json
    (observation,) = shown["observations"]
    recorded_at = observation.pop("recorded_at")
    assert recorded_at == observation.pop("observed_at")

    assert {
        "source": {
            "id": found["source"]["id"], "location_kind": "url", "path_id": "https://ci.example.org/7",
            "display_name": "Build 7",
        },
        "envelope": {
            "id": found["envelope"]["id"], "transport": "webhook", "received_at": "2026-11-20T09:00:00.000000Z",
        },
        "plugin": {"name": "ci-reporter", "version": "2.1", "contract_version": "1", "declared": True},
        "recorded_by": "token:writer",
        "observed_by": "token:writer",
        "parties": [{"identifier_scope": None, **JANE}],
        "more_parties": False,
    } == observation  # fmt: skip
    assert shown["finalized_at"] == recorded_at or shown["finalized_at"] < recorded_at
    assert shown["more_observations"] is False


def test_a_package_is_shown_with_its_first_twenty_observations(own_server: Server) -> None:
    package_id, path_id = push(own_server, fresh_files())["package_id"], place()

    def observe(number: int) -> str:
        body = observing(path_id, envelope={"received_at": f"2026-11-20T10:00:{number:02}Z"}, parties=[JANE] * number)
        path = f"/packages/{package_id}/observations"
        envelope_id: str = own_server.ask("POST", path, token="writer", json_body=body).json["envelope"]["id"]
        return envelope_id

    def shown() -> tuple[list[str], bool]:
        document = own_server.ask("GET", f"/packages/{package_id}", token="writer").json
        return [each["envelope"]["id"] for each in document["observations"]], document["more_observations"]

    made = [observe(number) for number in range(FIRST_OBSERVATIONS)]
    assert (made, False) == shown()

    observe(FIRST_OBSERVATIONS)
    assert (made, True) == shown()


def test_what_another_said_of_a_source_first_is_not_shown_with_an_observation(own_server: Server) -> None:
    path_id = place()
    said = {"retrieval": {"display_name": "REVOKED"}}
    own_server.ask("POST", "/ingests", token="other", json_body=observing(path_id, source=said))

    found = recorded(own_server, observing(path_id, source={"retrieval": {"display_name": "Build 8"}}))

    shown = own_server.ask("GET", f"/packages/{found['package_id']}", token="reader").json
    assert [None] == [each["source"]["display_name"] for each in shown["observations"]]


def test_lists_show_the_first_twenty_parties_and_the_envelope_all(own_server: Server) -> None:
    parties = [{**JANE, "identifier_value": f"{number}@example.org"} for number in range(FIRST_PARTIES + 1)]
    found = recorded(own_server, observing(parties=parties))

    package = own_server.ask("GET", f"/packages/{found['package_id']}", token="reader").json
    page = own_server.ask("GET", f"/sources/{found['source']['id']}/envelopes", token="reader").json
    envelope = own_server.ask("GET", f"/envelopes/{found['envelope']['id']}", token="reader").json

    shown = [(len(each["parties"]), each["more_parties"]) for each in (package["observations"][0], *page["envelopes"])]
    assert [(FIRST_PARTIES, True)] * 2 == shown
    assert (FIRST_PARTIES + 1, False) == (len(envelope["parties"]), envelope["more_parties"])


@pytest.mark.parametrize("is_finalized", [False, True])
def test_a_package_that_nobody_observed_says_so(own_server: Server, is_finalized: bool) -> None:
    package_id = (
        push(own_server, fresh_files())["package_id"]
        if is_finalized
        else own_server.ask("POST", "/packages", token="writer", json_body={"producer": "p"}).json["package_id"]
    )

    shown = own_server.ask("GET", f"/packages/{package_id}", token="writer").json

    assert ([], False) == (shown["observations"], shown["more_observations"])


# events


def visible(hidden: Hidden, token: str) -> list[Any]:
    events, after = [], 0
    while after is not None:
        page = hidden.ask(f"/events?payload=true&limit=7&after={after}", token).json
        events += page["events"]
        after = page["next_after"]
    return events


def test_events_of_sources_and_envelopes_are_for_who_reads_everything(hidden: Hidden) -> None:
    seen = {token: visible(hidden, token) for token in ("reader", "writer", "other")}

    types = {token: {event["type"] for event in events} for token, events in seen.items()}
    about = {"v1.source.indexed", "v1.core.envelope_indexed", "v1.core.ingested"}
    assert about < types["reader"]
    assert about.isdisjoint(types["writer"] | types["other"])
    assert "v1.package.observed" in types["writer"] & types["other"]


def test_that_a_package_was_observed_is_told_to_its_readers_with_the_envelopes_id(hidden: Hidden) -> None:
    told = {
        token: [
            event["payload"]
            for event in visible(hidden, token)
            if event["type"] == "v1.package.observed" and event["subject"] == hidden.package
        ]
        for token in ("writer", *NOT_P)
    }

    (payload,) = told["writer"]
    assert {"package_id", "envelope_id", "observed_at"} == set(payload)
    assert hidden.envelope == payload["envelope_id"]
    assert [[], []] == [told[token] for token in NOT_P]


@pytest.mark.parametrize("token", ["writer", *NOT_P])
@pytest.mark.parametrize("name", ["source", "envelope", "lone_source", "lone_envelope"])
def test_events_of_a_source_or_envelope_are_events_of_none(hidden: Hidden, name: str, token: str) -> None:
    path = "/events?payload=true&subject="
    found = getattr(hidden, name)

    assert impersonal(hidden.ask(path + ABSENT, token)) == impersonal(hidden.ask(path + found, token))
    assert hidden.ask(path + found, "reader").json["events"]


def test_the_stream_says_nothing_of_what_others_observed(hidden: Hidden) -> None:
    slug = f"end-of-stream.{hidden.number()}"
    assert 201 == hidden.server.ask("POST", "/metadata-schemas", json_body={"slug": slug, "json_schema": {}}).status
    texts = {}

    for token in ("reader", "other"):
        headers = {"Authorization": f"Bearer {hidden.server.tokens[token]}"}
        with urllib3.PoolManager(retries=False, timeout=30) as http:
            url = f"{hidden.server.url}/events/stream?after=0&payload=true"
            answer = http.request("GET", url, headers=headers, preload_content=False)
            texts[token] = ""
            while slug not in texts[token]:
                texts[token] += answer.readline().decode()
            answer.close()

    assert "hidden-place" in texts["reader"]
    assert "own-run" in texts["other"]
    for secret in ("hidden", "lone-place", hidden.source, hidden.envelope, hidden.lone_source, "v1.core", "v1.source"):
        assert secret not in texts["other"]


def test_all_of_it_follows_from_the_log(hidden: Hidden) -> None:
    registry = hidden.server.registry()
    try:
        replay_is_exact(registry)
    finally:
        registry.close()
    assert "v1.package.observed" in events_of(hidden.server, hidden.package)
