"""Webhooks on a store: what is delivered of its events, what is logged of that, and State Hub as one of them."""

from __future__ import annotations

import json
import logging
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.bootstrap import host_of, open_registry
from artifactstore.built_in import load_plugin
from artifactstore.catalog import webhook_deliveries as rows
from artifactstore.config import Settings
from artifactstore.documents.packages import event_document
from artifactstore.domain.instant import MICROSECONDS_PER_DAY, Instant, instant_text
from artifactstore.errors import (
    ConfigurationError,
    PackageUnknownError,
    UsageError,
    WebhookFailedError,
    WebhookRefusedError,
)
from artifactstore.pilots.guide_board import PLUGIN, ingest_run
from artifactstore.plugins.context import EmbeddedContext
from artifactstore.registry.events import list_events
from artifactstore.registry.ingest import ingest
from artifactstore.registry.retention import sweep
from artifactstore.registry.subscriptions import deliver, note_new
from artifactstore.registry.subscriptions import replay as replay_subscription
from artifactstore.subscribers import notice_of
from artifactstore.testing.builders import package_draft
from artifactstore.webhooks import recent_deliveries, send_test, webhook_subscribers
from artifactstore.webhooks.delivering import KEPT_FOR_DAYS
from artifactstore.webhooks.signing import key_of
from tests.support import replay_is_exact
from tests.webhook_receiver import OLD_SECRET, SECRET, is_signed_by, names_lead_to, receiving, webhook_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from artifactstore.catalog.event_log import EventRecord
    from artifactstore.registry.registry import Registry
    from artifactstore.registry.subscriptions import Subscriber
    from artifactstore.webhooks import Webhook
    from tests.webhook_receiver import Receiver

FINALIZED = "v1.package.finalized"
SECOND = 1_000_000
NOON = 1_800_000_000 * SECOND
RUN = Path(__file__).parents[1] / "fixtures" / "guide-board"
SCRIPTS = Path(__file__).parents[2] / "scripts"
STATE_HUB = "guide-board.state-hub"
OPTIONS = {
    "workstream_id": "0B6D3F0E-52E4-4D26-9A55-0D7A5C7D0B11",
    "task_id": "5f1c6f0e-7f7e-4a3e-8a3d-4c1f0f6f2a22",
    "artifact_store_api_url": "https://artifacts.example.org/",
}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def subscriber_of(registry: Registry, webhook: Webhook, formats: Mapping[str, Any] | None = None) -> Subscriber:
    (subscriber,) = webhook_subscribers(registry, {webhook.name: webhook}, formats or {})
    return subscriber


def finalized(registry: Registry, **draft: Any) -> EventRecord:
    """The event that a new package was finalized."""
    ingest(registry, package_draft(**draft))
    return next(event for event in reversed(list_events(registry, limit=1_000)) if event.type == FINALIZED)


def log_of(registry: Registry) -> list[dict[str, Any]]:
    """The delivery log without what is another on every machine."""
    return [
        {key: value for key, value in row.items() if key not in {"attempted_at", "took_us"}}
        for row in recent_deliveries(registry, "hub", limit=1_000)
    ]


def at(registry: Registry, *instants: int) -> Registry:
    """The same store with a clock that says these, one after the other, and the last for ever."""
    left = list(instants)
    return replace(registry, clock=lambda: Instant(left.pop(0) if len(left) > 1 else left[0]))


# delivering


def test_an_event_arrives_as_it_is_in_the_log(registry: Registry, receiver: Receiver) -> None:
    event = finalized(registry)

    subscriber_of(registry, webhook_to(receiver)).deliver(event)

    (request,) = receiver.requests
    assert "application/json" == request.headers["content-type"]
    assert request.headers["user-agent"].startswith("artifactstore/")
    assert {
        "type": FINALIZED,
        "timestamp": instant_text(event.at),
        "data": event_document(event, with_payload=True),
    } == request.json


def test_it_is_signed_as_receivers_are_told_to_check(registry: Registry, receiver: Receiver) -> None:
    subscriber_of(at(registry, NOON), webhook_to(receiver)).deliver(finalized(registry))

    (request,) = receiver.requests
    altered = request._replace(body=request.body.replace(b"finalized", b"finalised"))
    later = request._replace(headers={**request.headers, "webhook-timestamp": "1800000001"})
    assert "1800000000" == request.headers["webhook-timestamp"]
    assert is_signed_by(SECRET, request)
    assert not any(is_signed_by(SECRET, other) for other in (altered, later))
    assert not is_signed_by(OLD_SECRET, request)


def test_while_secrets_are_rotated_either_proves_it(registry: Registry, receiver: Receiver) -> None:
    keys = (key_of(SECRET), key_of(OLD_SECRET))

    subscriber_of(registry, webhook_to(receiver, keys=keys)).deliver(finalized(registry))

    (request,) = receiver.requests
    assert [True, True] == [is_signed_by(secret, request) for secret in (SECRET, OLD_SECRET)]
    assert 2 == len(request.headers["webhook-signature"].split(" "))


def test_an_event_that_was_not_taken_comes_again_under_its_id_and_signed_anew(
    registry: Registry, receiver: Receiver
) -> None:
    receiver.statuses = [500, 200]
    event = finalized(registry)
    subscriber = subscriber_of(at(registry, NOON, NOON + 60 * SECOND), webhook_to(receiver))

    with pytest.raises(WebhookFailedError, match=r"answered 500$"):
        subscriber.deliver(event)
    subscriber.deliver(event)

    first, second = receiver.requests
    assert [f"evt_{event.chain.hex()[:16]}_{event.seq}"] * 2 == [
        request.headers["webhook-id"] for request in receiver.requests
    ]
    assert ("1800000000", "1800000060") == (
        first.headers["webhook-timestamp"], second.headers["webhook-timestamp"]
    )  # fmt: skip
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    assert first.body == second.body
    assert all(is_signed_by(SECRET, request) for request in receiver.requests)


def test_two_events_have_two_ids(registry: Registry, receiver: Receiver) -> None:
    subscriber = subscriber_of(registry, webhook_to(receiver))

    subscriber.deliver(finalized(registry))
    subscriber.deliver(finalized(registry, external_id="run-2"))

    assert 2 == len({request.headers["webhook-id"] for request in receiver.requests})


def test_after_a_restore_other_events_of_the_same_numbers_have_other_ids(home: Path, receiver: Receiver) -> None:
    settings = Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)})
    with closing(open_registry(settings)) as registry:
        kept = finalized(registry)
        back_up(home / "artifactstore.db", home / "backup.db")
        lost = finalized(registry, external_id="lost")
        tell = subscriber_of(registry, webhook_to(receiver)).deliver
        for event in (kept, lost):
            tell(event)

    restore(home / "backup.db", home / "artifactstore.db")
    with closing(open_registry(settings)) as registry:
        new = finalized(registry, external_id="new")
        tell = subscriber_of(registry, webhook_to(receiver)).deliver
        for event in (kept, new):
            tell(event)

    assert lost.seq == new.seq
    first_kept, of_the_lost, again_kept, of_the_new = (request.headers["webhook-id"] for request in receiver.requests)
    assert first_kept == again_kept
    assert of_the_lost != of_the_new


def back_up(database: Path, copy: Path) -> None:
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


def restore(copy: Path, database: Path) -> None:
    for part in database.parent.glob(f"{database.name}*"):
        part.unlink()
    copy.rename(database)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_is_taken(registry: Registry, receiver: Receiver, status: int) -> None:
    receiver.statuses = [status]

    subscriber_of(registry, webhook_to(receiver)).deliver(finalized(registry))

    assert (status, None) == (log_of(registry)[0]["status"], log_of(registry)[0]["error"])


@pytest.mark.parametrize(
    ("status", "headers", "message"),
    [
        (302, {"Location": "/"}, "answered 302: redirects are not followed"),
        (404, {}, "answered 404"),
        (410, {}, "answered 410: it wants to be told nothing more; take it out of the configuration"),
        (429, {"Retry-After": "120"}, "answered 429, Retry-After: 120"),
        (503, {"Retry-After": "x" * 41}, "answered 503"),
    ],
)
def test_every_other_status_is_a_failure(
    registry: Registry, receiver: Receiver, status: int, headers: dict[str, str], message: str
) -> None:
    receiver.statuses, receiver.headers = [status], headers

    with pytest.raises(WebhookFailedError) as caught:
        subscriber_of(registry, webhook_to(receiver)).deliver(finalized(registry))

    said = f"127.0.0.1:{receiver.port} {message}"
    assert said == caught.value.message
    assert {"status": status, "error": f"WEBHOOK_FAILED: {said}"}.items() <= log_of(registry)[0].items()


def test_the_subscription_has_the_webhooks_name_and_events(registry: Registry, receiver: Receiver) -> None:
    webhook = webhook_to(receiver, events=("v1.hold.placed", FINALIZED), from_the_start=True)

    subscriber = subscriber_of(registry, webhook)

    assert ("webhook.hub", ("v1.hold.placed", FINALIZED), True) == (
        subscriber.name, subscriber.event_types, subscriber.from_the_start
    )  # fmt: skip


# through a subscription


def test_a_subscription_tries_again_and_is_told_again_when_it_is_replayed(
    registry: Registry, receiver: Receiver
) -> None:
    hour = 3_600 * SECOND
    receiver.statuses = [503]
    start = finalized(registry, external_id="run-0").at
    times = {"now": start}
    ticking = replace(registry, clock=lambda: Instant(times["now"]))
    subscriber = subscriber_of(ticking, webhook_to(receiver))
    note_new(ticking, [subscriber])
    first, second = finalized(ticking).seq, finalized(ticking, external_id="run-2").seq

    refused = deliver(ticking, subscriber)
    times["now"] += 2 * hour
    taken = deliver(ticking, subscriber)
    replay_subscription(ticking, "webhook.hub", after=first)
    told_again = deliver(ticking, subscriber)

    assert refused is not None
    assert taken is not None
    assert told_again is not None
    assert (0, "WEBHOOK_FAILED") == (refused.delivered, (refused.error or {})["code"])
    assert [(2, None), (1, None)] == [(each.delivered, each.error) for each in (taken, told_again)]
    assert [first, first, second, second] == [request.json["data"]["seq"] for request in receiver.requests]
    assert 2 == len({request.headers["webhook-id"] for request in receiver.requests})
    assert [second, second, first, first] == [row["seq"] for row in log_of(registry)]


# the delivery log


def test_every_attempt_is_logged_whatever_came_of_it(registry: Registry, receiver: Receiver) -> None:
    receiver.statuses = [500, 200]
    event = finalized(registry)
    subscriber = subscriber_of(registry, webhook_to(receiver))
    nobody = subscriber_of(registry, webhook_to(receiver, url="http://127.0.0.1:1/"))
    forbidden = subscriber_of(registry, webhook_to(receiver, allow_networks=()))

    for attempt in (subscriber, subscriber, nobody, forbidden):
        try:
            attempt.deliver(event)
        except WebhookFailedError:
            continue

    expected = [
        (None, "WEBHOOK_REFUSED: 127.0.0.1 is at 127.0.0.1, which is neither public nor in allow_networks"),
        (None, "WEBHOOK_FAILED: 127.0.0.1:1: Connection refused"),
        (200, None),
        (500, f"WEBHOOK_FAILED: 127.0.0.1:{receiver.port} answered 500"),
    ]
    assert [{"seq": event.seq, "status": status, "error": error} for status, error in expected] == log_of(registry)


def test_an_attempt_has_its_time_and_how_long_it_took(registry: Registry, receiver: Receiver) -> None:
    subscriber_of(at(registry, NOON), webhook_to(receiver)).deliver(finalized(registry))

    (row,) = recent_deliveries(registry, "hub", limit=9)
    assert instant_text(NOON) == row["attempted_at"]
    assert isinstance(row["took_us"], int)
    assert row["took_us"] > 0


def test_each_webhook_has_a_log_of_its_own(registry: Registry, receiver: Receiver) -> None:
    event = finalized(registry)
    for name in ("one", "other"):
        subscriber_of(registry, replace(webhook_to(receiver), name=name)).deliver(event)

    assert [1, 1, 0] == [len(recent_deliveries(registry, name, limit=9)) for name in ("one", "other", "on")]


def test_the_newest_attempts_come_first_and_no_more_than_asked_for(registry: Registry) -> None:
    with registry.transaction() as tx:
        for seq in range(1, 8):
            rows.note_delivery(tx.connection, rows.DeliveryRow("hub", seq, NOON, 1, 200, None))

    assert [7, 6, 5] == [row["seq"] for row in recent_deliveries(registry, "hub", limit=3)]


def test_attempts_are_forgotten_after_30_days_a_few_at_a_time(registry: Registry, receiver: Receiver) -> None:
    month = KEPT_FOR_DAYS * MICROSECONDS_PER_DAY
    with registry.transaction() as tx:
        for seq in range(1, 251):
            rows.note_delivery(tx.connection, rows.DeliveryRow("hub", seq, NOON - month - 1_000 + seq, 1, 200, None))
        rows.note_delivery(tx.connection, rows.DeliveryRow("hub", 999, NOON - month, 1, 200, None))
    event = finalized(registry)
    subscriber = subscriber_of(at(registry, NOON), webhook_to(receiver))

    left = []
    for _ in range(4):
        subscriber.deliver(event)
        left.append([row["seq"] for row in log_of(registry) if row["seq"] != event.seq])

    assert [[999, *range(250, oldest - 1, -1)] for oldest in (101, 201, 251, 251)] == left


def test_the_delivery_log_is_not_of_the_record(registry: Registry, receiver: Receiver) -> None:
    event = finalized(registry)
    before = list_events(registry, limit=1_000)

    subscriber_of(registry, webhook_to(receiver)).deliver(event)

    assert before == list_events(registry, limit=1_000)
    replay_is_exact(registry)


def test_secrets_are_in_no_error_no_log_and_no_row(
    registry: Registry, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.statuses = [500]
    webhook = webhook_to(receiver, url=f"http://hub.test:{receiver.port}/?key=in-the-query")
    (subscriber,) = webhook_subscribers(registry, {"hub": webhook}, {}, network=names_lead_to("127.0.0.1"))

    with pytest.raises(WebhookFailedError) as caught:
        subscriber.deliver(finalized(registry))

    (request,) = receiver.requests
    shown = f"{caught.value!r} {caught.value.hint} {caplog.text} {log_of(registry)} {webhook!r} {subscriber!r}"
    secrets = (SECRET[6:], repr(webhook.keys[0])[2:14], "in-the-query", request.headers["webhook-signature"])
    assert [] == [secret for secret in secrets if secret in shown]


# formats of plug-ins


def test_a_format_that_nothing_provides_is_refused_before_anything_is_sent(
    registry: Registry, receiver: Receiver
) -> None:
    with pytest.raises(ConfigurationError, match=r"\[webhooks\.hub\]: format 'a\.b' is provided by nothing") as caught:
        subscriber_of(registry, webhook_to(receiver, format="a.b"), {"a.c": lambda *_: None})

    assert "Known: standard, a.c." == caught.value.hint


def test_a_format_makes_the_body_from_event_and_options(registry: Registry, receiver: Receiver) -> None:
    event = finalized(registry)
    webhook = webhook_to(receiver, format="a.b", options={"x": "y"}, keys=())

    subscriber_of(registry, webhook, {"a.b": lambda event, options: {"seq": event.seq, **options}}).deliver(event)

    (request,) = receiver.requests
    assert {"seq": event.seq, "x": "y"} == request.json
    assert "webhook-signature" not in request.headers
    assert request.headers["webhook-id"].endswith(f"_{event.seq}")


def test_a_format_with_secrets_is_signed_too(registry: Registry, receiver: Receiver) -> None:
    webhook = webhook_to(receiver, format="a.b")

    subscriber_of(registry, webhook, {"a.b": lambda *_: {"a": 1}}).deliver(finalized(registry))

    assert is_signed_by(SECRET, receiver.requests[0])


def test_what_a_format_does_not_tell_is_taken_without_a_request(registry: Registry, receiver: Receiver) -> None:
    subscriber_of(registry, webhook_to(receiver, format="a.b"), {"a.b": lambda *_: None}).deliver(finalized(registry))

    assert ([], []) == (receiver.requests, log_of(registry))


@pytest.mark.parametrize("made", [[1, 2], {"x": float("nan")}])
def test_what_a_format_makes_wrong_is_never_sent_and_no_attempt(
    registry: Registry, receiver: Receiver, made: object
) -> None:
    subscriber = subscriber_of(registry, webhook_to(receiver, format="a.b"), {"a.b": lambda *_: made})

    with pytest.raises(WebhookFailedError, match=r"the format a\.b made"):
        subscriber.deliver(finalized(registry))

    assert ([], []) == (receiver.requests, log_of(registry))


# the test event


def test_a_test_is_signed_and_logged_and_in_no_event_log(registry: Registry, receiver: Receiver) -> None:
    sent = send_test(at(registry, NOON), webhook_to(receiver))

    (request,) = receiver.requests
    assert {"webhook": "hub", "id": request.headers["webhook-id"], "status": 204} == sent
    assert {
        "type": "webhook.test", "timestamp": instant_text(NOON), "data": {"webhook": "hub"}
    } == request.json  # fmt: skip
    assert is_signed_by(SECRET, request)
    assert [{"seq": 0, "status": 204, "error": None}] == log_of(registry)
    assert [] == list_events(registry, limit=9)


def test_a_test_that_is_not_taken_fails(registry: Registry, receiver: Receiver) -> None:
    with pytest.raises(WebhookRefusedError):
        send_test(registry, webhook_to(receiver, allow_networks=()))

    assert [0] == [row["seq"] for row in log_of(registry)]


def test_a_test_that_fails_does_not_say_that_it_comes_again(registry: Registry, receiver: Receiver) -> None:
    receiver.statuses = [500]

    with pytest.raises(WebhookFailedError, match=r"answered 500$") as failed:
        send_test(registry, webhook_to(receiver))
    with pytest.raises(WebhookRefusedError) as refused:
        send_test(registry, webhook_to(receiver, allow_networks=()))

    assert "A test is sent once. `artifactstore webhook deliveries hub` shows the attempts." == failed.value.hint
    assert WebhookRefusedError.default_hint == refused.value.hint


def test_there_is_no_test_of_a_format_whose_receiver_would_believe_it(registry: Registry, receiver: Receiver) -> None:
    with pytest.raises(UsageError, match="which has no test event"):
        send_test(registry, webhook_to(receiver, format=STATE_HUB))

    assert [] == receiver.requests


# State Hub


def state_hub(registry: Registry) -> dict[str, Callable[[EventRecord, Mapping[str, str]], Any]]:
    """The format, bound to the plug-in's context on this store."""
    (body_format,) = PLUGIN.webhook_formats()
    context = context_on(registry)

    def body(event: EventRecord, options: Mapping[str, str]) -> Any:
        return body_format.body(notice_of(event), context, options)

    return {f"{PLUGIN.name}.{body_format.name}": body}


def context_on(registry: Registry) -> EmbeddedContext:
    return EmbeddedContext(host_of(registry, Settings.from_environment({})), load_plugin("guide-board"))


def entry_of_the_script(package: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch, **more: Any) -> Any:
    """What scripts/link_statehub.py would post."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import link_statehub  # type: ignore[import-not-found]

    names = [name for name in (*OPTIONS, "topic_id", "decision_id") if name.endswith("_id")]
    options = {**OPTIONS, **more}
    environment = {f"STATE_HUB_{name.upper()}": options[name] for name in names if name in options}
    return link_statehub.progress_entry(
        json.loads(json.dumps(package)),
        link_statehub._ids(environment),
        registry=options["artifact_store_api_url"].rstrip("/"),
        run_dir=more.get("run_dir"),
    )


def test_a_finalized_run_links_itself_in_state_hub(
    registry: Registry, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.statuses = [201]
    webhook = webhook_to(receiver, url=f"http://127.0.0.1:{receiver.port}/progress/", format=STATE_HUB, options=OPTIONS)
    subscriber = subscriber_of(registry, webhook, state_hub(registry))
    note_new(registry, [subscriber])

    package = ingest_run(RUN, context_on(registry)).package
    ingest(registry, package_draft())
    delivery = deliver(registry, subscriber)

    assert package is not None
    assert delivery is not None
    (request,) = receiver.requests
    entry = entry_of_the_script(context_on(registry).package(package.id), monkeypatch)
    assert (2, None) == (delivery.delivered, delivery.error)
    assert "/progress/" == request.path
    assert entry == request.json
    assert list(entry) == list(request.json)
    assert list(entry["detail"]) == list(request.json["detail"])
    assert (package.id, package.manifest_digest) == (
        request.json["detail"]["package_id"], request.json["detail"]["manifest_digest"]
    )  # fmt: skip
    assert [201] == [row["status"] for row in log_of(registry)]


def test_every_option_is_what_the_script_makes_of_it(
    registry: Registry, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"topic_id": "d5a2b1f0-0000-4000-8000-000000000001", "decision_id": "D5A2B1F0-0000-4000-8000-000000000002"}
    options = {**OPTIONS, **more, "run_dir": "archive/{run_id}/files"}
    package = ingest_run(RUN, context_on(registry)).package
    assert package is not None
    event = next(event for event in list_events(registry, limit=100) if event.type == FINALIZED)

    subscriber_of(registry, webhook_to(receiver, format=STATE_HUB, options=options), state_hub(registry)).deliver(event)

    shown = context_on(registry).package(package.id)
    run_dir = f"archive/{shown['metadata']['run_id']}/files"
    assert entry_of_the_script(shown, monkeypatch, **more, run_dir=run_dir) == receiver.requests[0].json


def test_state_hub_is_told_of_nothing_but_runs_that_are_kept(registry: Registry, receiver: Receiver) -> None:
    tell = state_hub(registry)[STATE_HUB]
    other = finalized(registry)
    ingest_run(RUN, context_on(registry))
    of_the_run = list_events(registry, limit=1_000)[other.seq :]
    (run,) = [event for event in of_the_run if event.type == FINALIZED]

    told = [event.type for event in of_the_run if tell(event, OPTIONS) is not None]
    sweep(at(registry, registry.clock() + 400 * MICROSECONDS_PER_DAY))

    assert [FINALIZED] == told
    assert (None, None) == (tell(other, OPTIONS), tell(run, OPTIONS))
    with pytest.raises(PackageUnknownError):
        tell(run._replace(subject="nothing"), OPTIONS)


LIKE_A_RUN = {
    "run_id": "x", "target_profile_ref": "t", "assessment_profile_ref": "a", "result_status": "completed",
    "evidence_counts": {}, "finding_counts": {},
}  # fmt: skip


@pytest.mark.parametrize(
    ("metadata", "is_told"),
    [
        (LIKE_A_RUN, True),
        ({"run_id": "x"}, False),
        ({**LIKE_A_RUN, "run_id": 17}, False),
        ({**LIKE_A_RUN, "run_id": None}, False),
        ({**LIKE_A_RUN, "finding_counts": 3}, False),
    ],
)
def test_a_schema_of_somebodys_own_in_the_family_holds_nothing_up(
    registry: Registry, metadata: dict[str, Any], is_told: bool
) -> None:
    from artifactstore.registry.metadata_schemas import register_schema

    register_schema(registry, "guide-board.run.mine", {"type": "object"})
    draft = replace(package_draft(metadata=metadata), schema="guide-board.run.mine")
    ingest(registry, draft)
    event = next(event for event in list_events(registry, limit=100) if event.type == FINALIZED)

    assert is_told == (state_hub(registry)[STATE_HUB](event, OPTIONS) is not None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task_id": "17"}, "task_id is not a UUID"),
        ({"task_id": ""}, "task_id is missing"),
        ({"topic_id": "17"}, "topic_id is not a UUID"),
        ({"topic": "x"}, "topic is not one of"),
        ({"artifact_store_api_url": ""}, "artifact_store_api_url is missing"),
        ({"artifact_store_api_url": "artifacts.example.org"}, "artifact_store_api_url is not the address"),
        ({"artifact_store_api_url": "https://a:b@c/"}, "artifact_store_api_url is not the address"),
    ],
)
def test_options_that_are_wrong_are_named(changes: dict[str, str], message: str) -> None:
    (body_format,) = PLUGIN.webhook_formats()

    with pytest.raises(ConfigurationError, match=f"^options: {message}"):
        body_format.check_options({**OPTIONS, **changes})


def test_options_are_checked_before_anything_is_sent(registry: Registry, receiver: Receiver) -> None:
    (body_format,) = PLUGIN.webhook_formats()
    right = webhook_to(receiver, format=STATE_HUB, options=OPTIONS)
    wrong = replace(right, options={**OPTIONS, "task_id": "17"})
    formats, checks = {STATE_HUB: lambda *_: None}, {STATE_HUB: body_format.check_options}

    assert 1 == len(webhook_subscribers(registry, {"hub": right}, formats, checks=checks))
    with pytest.raises(ConfigurationError, match=r"^\[webhooks\.hub\]: options: task_id is not a UUID"):
        webhook_subscribers(registry, {"hub": wrong}, formats, checks=checks)
