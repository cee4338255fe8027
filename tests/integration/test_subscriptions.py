"""Subscriptions in one process: what is delivered and what is not, failures, replays, and looks that cost nothing."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.catalog import duties as duty_rows
from artifactstore.catalog import overview
from artifactstore.catalog import subscriptions as rows
from artifactstore.domain.events import MetadataSchemaRegistered, ObjectRef
from artifactstore.domain.object_events import ReadFellBack
from artifactstore.errors import ArtifactStoreError, StorageUnavailableError, SubscriptionUnknownError, UsageError
from artifactstore.registry.duties import Patience
from artifactstore.registry.status import store_status, subscription_statuses
from artifactstore.registry.subscription_runner import SubscriptionRunner, deliver_once
from artifactstore.registry.subscriptions import (
    Backoff,
    DeliveryRun,
    Outlook,
    Subscriber,
    deliver,
    due,
    note_new,
    replay,
)
from tests.integration.test_duties import HOUR, SECOND, Clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from artifactstore.catalog.catalog import Transaction
    from artifactstore.catalog.event_log import EventRecord
    from artifactstore.registry.registry import Registry

WANTED, OTHER = MetadataSchemaRegistered.type, ReadFellBack.type
EXACTLY = Backoff(chance=lambda: 0.0)
_OBJECT = ObjectRef("default", "pack", b"x" * 32, 9)


@dataclass(slots=True)
class Told:
    """What a subscriber was told, in the order it was told; ``act`` may refuse it."""

    act: Callable[[EventRecord], object] = lambda _: None
    seqs: list[int] = field(default_factory=list)
    """Those that were taken."""
    tried: list[int] = field(default_factory=list)

    def deliver(self, event: EventRecord) -> None:
        self.tried.append(event.seq)
        self.act(event)
        self.seqs.append(event.seq)

    def subscriber(self, name: str = "test.all", *types: str, from_the_start: bool = False) -> Subscriber:
        return Subscriber(name, types or (WANTED,), self.deliver, from_the_start=from_the_start)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(registry: Registry, clock: Clock) -> Registry:
    return replace(registry, clock=clock)


def record_in(tx: Transaction, slug: str) -> None:
    tx.record(MetadataSchemaRegistered(slug=slug, json_schema={}, registered_at=1))


def record(store: Registry, *slugs: str) -> None:
    """An event of the wanted type for each."""
    with store.transaction() as tx:
        for slug in slugs:
            record_in(tx, slug)


def record_other(store: Registry, count: int = 1) -> None:
    with store.transaction() as tx:
        tx.record(*(ReadFellBack(object=_OBJECT, served_by="archive", finding="was missing") for _ in range(count)))


def row(store: Registry, name: str = "test.all") -> rows.SubscriptionRecord:
    with store.catalog.snapshot() as queries:
        found = rows.subscription(queries.connection, name)
    assert found is not None
    return found


def run(store: Registry, *subscribers: Subscriber) -> list[DeliveryRun]:
    return deliver_once(store, subscribers, backoff=EXACTLY)


def comes_true(look: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not (seen := look()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return seen


def refuse_storage(_: EventRecord) -> None:
    raise StorageUnavailableError("no answer")


# what is delivered


def test_a_new_subscriber_is_told_what_happens_from_then_on(store: Registry) -> None:
    told = Told()
    record(store, "before")
    note_new(store, [told.subscriber()])
    record(store, "a", "b")

    (delivery,) = run(store, told.subscriber())

    assert ([2, 3], ("test.all", 2, None)) == (told.seqs, delivery)


def test_a_new_subscriber_that_asks_for_it_is_told_everything(store: Registry) -> None:
    told = Told()
    record(store, "a", "b")

    run(store, told.subscriber(from_the_start=True))

    assert [1, 2] == told.seqs


def test_a_subscriber_that_is_known_goes_on_where_it_was(store: Registry) -> None:
    told = Told()
    note_new(store, [told.subscriber()])
    record(store, "a")
    run(store, told.subscriber())
    record(store, "b")

    run(store, told.subscriber(from_the_start=True))

    assert [1, 2] == told.seqs


def test_only_events_of_its_types_come_in_the_order_of_the_log(store: Registry) -> None:
    all_, wanted, none = Told(), Told(), Told()
    subscribers = [
        all_.subscriber("all", OTHER, WANTED, OTHER),
        wanted.subscriber("wanted"),
        none.subscriber("none", "plugin.x.happened"),
    ]
    note_new(store, subscribers)
    record(store, "a")
    record_other(store, 2)
    record(store, "b")

    run(store, *subscribers)

    assert ([1, 2, 3, 4], [1, 4], []) == (all_.seqs, wanted.seqs, none.seqs)
    assert (4, 4, 0) == (row(store, "all").position, row(store, "wanted").position, row(store, "none").position)


def test_a_subscriber_of_more_types_than_a_statement_takes_is_told_all_of_them(store: Registry) -> None:
    told = Told()
    types = [f"plugin.x.{number}" for number in range(1_500)]
    subscriber = told.subscriber("many", *types[:700], WANTED, *types[700:], OTHER)
    record(store, "a", "b")
    record_other(store)
    record(store, "c")

    run(store, replace(subscriber, from_the_start=True))

    assert [1, 2, 3, 4] == told.seqs


def test_nothing_is_delivered_of_a_transaction_that_was_rolled_back(store: Registry) -> None:
    told = Told()
    note_new(store, [told.subscriber()])
    with suppress(RuntimeError), store.transaction() as tx:
        record_in(tx, "never")
        raise RuntimeError

    nothing = run(store, told.subscriber())
    record(store, "a")
    run(store, told.subscriber())

    assert ([], [1]) == (nothing, told.seqs)


def test_an_event_is_not_delivered_before_its_commit(registry: Registry) -> None:
    told = Told()
    note_new(registry, [told.subscriber()])
    recorded, may_commit = threading.Event(), threading.Event()

    def write() -> None:
        with registry.transaction() as tx:
            record_in(tx, "a")
            recorded.set()
            may_commit.wait(60)

    writer = threading.Thread(target=write)
    writer.start()
    assert recorded.wait(60)

    before = due(registry, [told.subscriber()])
    may_commit.set()
    writer.join()
    run(registry, told.subscriber())

    assert ([], [1]) == (before, told.seqs)


def test_a_subscriber_may_write_to_the_store_and_its_events_are_delivered_too(store: Registry) -> None:
    told = Told(lambda event: record(store, f"after-{event.seq}") if event.seq < 4 else None)
    note_new(store, [told.subscriber()])
    record(store, "a")

    first = run(store, told.subscriber())
    runs = [first, *(run(store, told.subscriber()) for _ in range(4))]

    assert [1, 1, 1, 1, 0] == [sum(delivery.delivered for delivery in each) for each in runs]
    assert [1, 2, 3, 4] == told.seqs


def test_where_it_stands_is_noted_after_each_event(store: Registry) -> None:
    stood: list[int] = []
    told = Told(lambda _: stood.append(row(store).position))
    note_new(store, [told.subscriber()])
    record(store, "a", "b", "c")

    run(store, told.subscriber())

    assert ([0, 1, 2], 3) == (stood, row(store).position)


# claims


def test_while_one_delivers_no_other_does(store: Registry) -> None:
    began, may_go_on = threading.Event(), threading.Event()

    def hold(_: EventRecord) -> None:
        began.set()
        may_go_on.wait(60)

    told, other = Told(hold), Told()
    note_new(store, [told.subscriber()])
    record(store, "a", "b")
    delivering = threading.Thread(target=deliver, args=(store, told.subscriber()))
    delivering.start()
    assert began.wait(60)

    seen = due(store, [other.subscriber()])
    meanwhile = deliver(store, other.subscriber())
    (status,) = subscription_statuses(store, [told.subscriber()])
    may_go_on.set()
    delivering.join()

    assert ([], None, [1, 2], []) == (seen, meanwhile, told.seqs, other.seqs)
    assert (True, 2) == (bool(status.running_by), status.behind)


def test_who_has_lost_the_claim_moves_nothing(store: Registry) -> None:
    def lose(_: EventRecord) -> None:
        with store.transaction() as tx:
            tx.connection.execute("UPDATE duty SET holder = 'another:1#x' WHERE name = 'deliver to test.all'")

    told = Told(lose)
    note_new(store, [told.subscriber()])
    record(store, "a", "b")

    delivery = deliver(store, told.subscriber())

    assert delivery is not None
    assert ([1], 0, "CLAIM_LOST") == (told.seqs, row(store).position, (delivery.error or {})["code"])


def test_a_run_that_is_to_end_ends_at_the_next_event_and_notes_the_one_it_was_at(store: Registry) -> None:
    stop = threading.Event()
    told = Told(lambda _: stop.set())
    note_new(store, [told.subscriber()])
    record(store, "a", "b")

    deliver(store, told.subscriber(), stop=stop)

    assert ([1], 1, None) == (told.seqs, row(store).position, row(store).error)
    assert ["test.all"] == [subscriber.name for subscriber in due(store, [told.subscriber()])]


def leave_a_claim_behind(store: Registry) -> None:
    """As a process does that was killed two minutes ago, while it delivered."""
    with store.transaction() as tx:
        tx.connection.execute(
            "UPDATE duty SET holder = 'gone:7#x', heartbeat_at = ? WHERE name = 'deliver to test.all'",
            (store.clock() - 120 * SECOND,),
        )


def test_an_event_over_which_a_process_ended_counts_as_not_taken_and_waits(store: Registry, clock: Clock) -> None:
    told = Told()
    note_new(store, [told.subscriber()])
    record_other(store)
    record(store, "a", "b")
    ends = []
    for _ in range(2):
        leave_a_claim_behind(store)
        ends += run(store, told.subscriber())
        clock.now = row(store).next_attempt_at

    failed = row(store)
    run(store, told.subscriber())

    message = "event 2: the process gone:7 ended, or gave no sign of life, while it delivered it"
    assert [("test.all", 0, {"code": "INTERNAL", "message": message})] * 2 == ends
    assert (2, message) == (failed.failures, json.loads(failed.error or "")["message"])
    assert ([2, 3], 0, None) == (told.seqs, row(store).failures, row(store).error)


def test_a_process_that_ended_when_everything_was_taken_is_no_failure(store: Registry) -> None:
    told = Told()
    note_new(store, [told.subscriber()])
    record_other(store)
    leave_a_claim_behind(store)

    (found,) = [deliver(store, told.subscriber())]

    assert (("test.all", 0, None), 0) == (found, row(store).failures)


def test_a_process_that_ended_is_no_failure_if_the_subscription_was_replayed_since(
    store: Registry, clock: Clock
) -> None:
    told = Told()
    note_new(store, [told.subscriber()])
    record(store, "a")
    leave_a_claim_behind(store)
    asked = list[int]()

    def replaying() -> Any:
        """Somebody else is quicker, between the look at the claim and the claim."""
        asked.append(1)
        if len(asked) == 2:
            replay(store, "test.all", after=0)
        return clock.now

    found = deliver(replace(store, clock=replaying), told.subscriber())

    assert (("test.all", 1, None), [1]) == (found, told.seqs)


def test_nobody_is_said_to_deliver_whose_process_is_gone(store: Registry) -> None:
    told = Told()
    note_new(store, [told.subscriber()])
    record(store, "a")
    leave_a_claim_behind(store)

    (alone,) = subscription_statuses(store, [told.subscriber()])
    (among_all,) = store_status(store, [told.subscriber()]).subscriptions

    assert (None, None, 1) == (alone.running_by, among_all.running_by, alone.behind)


def test_a_clock_that_steps_back_keeps_no_event_waiting(store: Registry, clock: Clock) -> None:
    told = Told()
    note_new(store, [told.subscriber()])
    record(store, "a")
    run(store, told.subscriber())
    clock.now -= 240 * SECOND
    record(store, "b")

    run(store, told.subscriber())

    assert [1, 2] == told.seqs


# failures


def test_an_event_that_is_not_taken_comes_again_ever_later_and_nothing_comes_before_it(
    store: Registry, clock: Clock
) -> None:
    is_away = [True]
    told = Told(lambda event: refuse_storage(event) if is_away[0] else None)
    note_new(store, [told.subscriber()])
    record(store, "a", "b")

    waits = []
    for _ in range(14):
        assert 1 == len(run(store, told.subscriber()))
        waits.append((row(store).next_attempt_at - clock.now) // SECOND)
        clock.now = row(store).next_attempt_at - 1
        assert [] == run(store, told.subscriber())
        clock.now += 1
    failed = row(store)
    is_away[0] = False
    run(store, told.subscriber())

    assert [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600] == waits
    assert ([1] * 15 + [2], [1, 2]) == (told.tried, told.seqs)
    assert (14, 0, None) == (failed.failures, failed.position, failed.delivered_at)
    assert ("STORAGE_UNAVAILABLE", "event 1: no answer") == tuple(json.loads(failed.error or "").values())[:2]
    assert (0, None, 2, clock.now) == (
        row(store).failures, row(store).error, row(store).position, row(store).delivered_at,
    )  # fmt: skip


def test_waits_differ_by_chance_and_are_never_longer() -> None:
    shortest = Backoff(chance=lambda: 0.999_999)

    assert (0.75, 2_700) == (round(shortest.wait_s(1), 3), round(shortest.wait_s(99)))
    assert all(0.75 <= Backoff().wait_s(1) <= 1 and 2_700 <= Backoff().wait_s(10_000) <= 3_600 for _ in range(100))


def test_what_came_before_a_failure_does_not_come_again(store: Registry, clock: Clock) -> None:
    def refuse_the_second(event: EventRecord) -> None:
        if event.seq == 2 and told.tried.count(2) == 1:
            raise ValueError("not this one")

    told = Told(refuse_the_second)
    note_new(store, [told.subscriber()])
    record(store, "a", "b", "c")

    (failed,) = run(store, told.subscriber())
    clock.now += SECOND
    (done,) = run(store, told.subscriber())

    assert (1, {"code": "INTERNAL", "message": "event 2: ValueError: not this one"}) == failed[1:]
    assert (2, None, [1, 2, 2, 3]) == (done.delivered, done.error, told.tried)


def test_one_that_fails_keeps_no_other_waiting(store: Registry) -> None:
    bad, good = Told(refuse_storage), Told()
    subscribers = [bad.subscriber("bad"), good.subscriber("good")]
    note_new(store, subscribers)
    record(store, "a", "b")

    deliveries = run(store, *subscribers)

    assert [("bad", 0, False), ("good", 2, True)] == [(name, count, not error) for name, count, error in deliveries]
    assert ([1, 2], 2) == (good.seqs, row(store, "good").position)


class _MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class _NamelessError(ArtifactStoreError):
    def __init__(self) -> None:
        """Without what the base promises."""


@pytest.mark.parametrize(
    "error",
    [
        SystemExit(1), GeneratorExit(), KeyboardInterrupt(), KeyError("x" * 10_000), RuntimeError("\0\udc80"),
        _MuteError(), _NamelessError(),
    ],
)  # fmt: skip
def test_whatever_a_subscriber_raises_is_seen_and_waits(store: Registry, error: BaseException) -> None:
    def fail(_: EventRecord) -> None:
        raise error

    told = Told(fail)
    note_new(store, [told.subscriber()])
    record(store, "a")

    (delivery,) = run(store, told.subscriber())

    seen = json.loads(row(store).error or "")
    assert (delivery.error, 1) == (seen, row(store).failures)
    assert type(error).__name__ in seen["message"]
    assert len(seen["message"]) < 1_100
    assert [] == due(store, [told.subscriber()])


def test_the_message_of_an_error_may_be_anything_and_its_hint_is_kept(store: Registry) -> None:
    def fail(_: EventRecord) -> None:
        raise StorageUnavailableError(404, hint="Look there.")  # type: ignore[arg-type]

    told = Told(fail)
    note_new(store, [told.subscriber()])
    record(store, "a")

    (delivery,) = run(store, told.subscriber())

    assert {"code": "STORAGE_UNAVAILABLE", "message": "event 1: 404", "hint": "Look there."} == delivery.error


def test_a_wait_that_a_wrong_clock_wrote_does_not_last(store: Registry, clock: Clock) -> None:
    told = Told(refuse_storage)
    note_new(store, [told.subscriber()])
    record(store, "a")
    clock.now += 400 * 24 * HOUR
    run(store, told.subscriber())

    clock.now -= 400 * 24 * HOUR

    assert ["test.all"] == [subscriber.name for subscriber in due(store, [told.subscriber()])]


# replays


def test_a_replay_tells_again_what_came_after_and_forgets_the_error(store: Registry) -> None:
    is_away = [False]
    told = Told(lambda event: refuse_storage(event) if is_away[0] else None)
    note_new(store, [told.subscriber()])
    record(store, "a", "b", "c")
    run(store, told.subscriber())
    record(store, "d")
    is_away[0] = True
    run(store, told.subscriber())
    is_away[0] = False

    replay(store, "test.all", after=1)
    moved = row(store)
    run(store, told.subscriber())

    assert (1, 0, None) == (moved.position, moved.failures, moved.error)
    assert [1, 2, 3, 2, 3, 4] == told.seqs


def test_a_replay_forward_leaves_out_what_lies_between(store: Registry) -> None:
    told = Told()
    note_new(store, [told.subscriber()])
    record(store, "a", "b", "c")

    replay(store, "test.all", after=2)
    run(store, told.subscriber())

    assert [3] == told.seqs


@pytest.mark.parametrize("fails", [False, True])
def test_a_replay_while_an_event_is_delivered_is_not_undone_by_it(store: Registry, *, fails: bool) -> None:
    def replay_at_the_third(event: EventRecord) -> None:
        if told.tried == [1, 2, 3]:
            elsewhere = threading.Thread(target=replay, args=(store, "test.all"), kwargs={"after": 0})
            elsewhere.start()
            elsewhere.join()
            if fails:
                refuse_storage(event)

    told = Told(replay_at_the_third)
    note_new(store, [told.subscriber()])
    record(store, "a", "b", "c")

    (delivery,) = run(store, told.subscriber())

    assert ([1, 2, 3, 1, 2, 3], None) == (told.tried, delivery.error)
    assert (3, 0, None) == (row(store).position, row(store).failures, row(store).error)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("failures", [0, 1])
def test_a_replay_to_where_it_stands_while_an_event_is_delivered_has_that_one_told_again(
    store: Registry, clock: Clock, failures: int, *, fails: bool
) -> None:
    """Whether the attempt that it came in is the first one or not, and whatever becomes of it."""

    def replay_at_the_last_attempt(event: EventRecord) -> None:
        attempt = len(told.tried)
        if attempt == failures + 1:
            replay(store, "test.all", after=0)
            replay(store, "test.all", after=0)
        if attempt <= failures or (attempt == failures + 1 and fails):
            refuse_storage(event)

    told = Told(replay_at_the_last_attempt)
    note_new(store, [told.subscriber()])
    record(store, "a")
    for _ in range(failures):
        run(store, told.subscriber())
        clock.now = row(store).next_attempt_at

    (run_of_it,) = run(store, told.subscriber())

    assert ([1] * (failures + 2), (1, None)) == (told.tried, run_of_it[1:])
    assert (1, 0, None) == (row(store).position, row(store).failures, row(store).error)


def test_a_replay_to_the_end_of_the_log_leaves_out_the_event_that_is_failing(store: Registry) -> None:
    def replay_and_fail(event: EventRecord) -> None:
        replay(store, "test.all", after=2)
        refuse_storage(event)

    told = Told(replay_and_fail)
    note_new(store, [told.subscriber()])
    record(store, "a", "b")

    (delivery,) = run(store, told.subscriber())

    assert ([1], (0, None)) == (told.tried, delivery[1:])
    assert (2, 0, None) == (row(store).position, row(store).failures, row(store).error)


def test_a_replay_is_refused_beyond_the_log_or_of_a_name_that_is_not_there(store: Registry) -> None:
    note_new(store, [Told().subscriber()])
    record(store, "a")

    with pytest.raises(UsageError, match="the log ends at 1"):
        replay(store, "test.all", after=2)
    with pytest.raises(SubscriptionUnknownError):
        replay(store, "nobody", after=0)

    assert 0 == row(store).position


def test_one_that_stands_beyond_the_log_waits_for_a_replay_however_far_the_log_grows(
    store: Registry, clock: Clock
) -> None:
    told = Told()
    note_new(store, [told.subscriber()])
    record(store, "a")
    with store.transaction() as tx:
        tx.connection.execute("UPDATE subscription SET position = 3")

    (delivery,) = run(store, told.subscriber())
    record(store, "b", "c", "d")
    clock.now += HOUR
    later = run(store, told.subscriber())
    (shown,) = subscription_statuses(store, [told.subscriber()])
    replay(store, "test.all", after=0)
    run(store, told.subscriber())

    assert ("SUBSCRIPTION_AHEAD", []) == ((delivery.error or {})["code"], later)
    assert ("SUBSCRIPTION_AHEAD", None) == ((shown.error or {})["code"], shown.next_attempt_at)
    assert [1, 2, 3, 4] == told.seqs


# looks


def test_a_look_at_an_idle_store_writes_nothing(store: Registry, home: Path, database: dict[str, str]) -> None:
    told = Told()
    subscribers = [told.subscriber(), told.subscriber("other", OTHER)]
    note_new(store, subscribers)
    record(store, "a")
    run(store, *subscribers)

    def refuse(_: Transaction) -> None:
        raise AssertionError("a look must not write")

    looking = replace(store, catalog=store.catalog.doing_first(refuse))
    wal = home / "artifactstore.db-wal"
    before = None if database else wal.read_bytes()
    troubles: list[Exception] = []
    looks = _Looks(looking)
    runner = SubscriptionRunner(
        looks.registry, subscribers, tell=troubles.append, trouble=troubles.append, look_every_s=0.001
    )
    runner.start()
    assert comes_true(lambda: looks.count > 50)

    assert (True, []) == (runner.stop(), troubles)
    assert before == (None if database else wal.read_bytes())


class _Looks:
    """Counts a registry's views."""

    def __init__(self, registry: Registry) -> None:
        self.count = 0

        def counting() -> Any:
            self.count += 1
            return registry.clock()

        self.registry = replace(registry, clock=counting)


def test_events_of_other_types_cost_a_look_nothing_twice(store: Registry) -> None:
    told = Told()
    outlook = Outlook()
    note_new(store, [told.subscriber()])
    record_other(store, 3)

    first = outlook.due(store, [told.subscriber()])
    record(store, "a")
    then = outlook.due(store, [told.subscriber()])

    assert ([], ["test.all"]) == (first, [subscriber.name for subscriber in then])


def test_a_replay_is_seen_by_who_has_seen_that_nothing_waits(store: Registry) -> None:
    told = Told()
    outlook = Outlook()
    note_new(store, [told.subscriber()])
    record(store, "a")
    run(store, told.subscriber())
    idle = outlook.due(store, [told.subscriber()])

    replay(store, "test.all", after=0)

    assert ([], 1) == (idle, len(outlook.due(store, [told.subscriber()])))


# the runner


def test_a_runner_delivers_what_is_recorded_while_it_runs(registry: Registry) -> None:
    told, deliveries, troubles = Told(), list[DeliveryRun](), list[Exception]()
    runner = SubscriptionRunner(
        registry, [told.subscriber()], tell=deliveries.append, trouble=troubles.append, look_every_s=0.01
    )
    runner.start()
    assert comes_true(lambda: bool(subscription_statuses(registry, [])))
    for number in range(20):
        record(registry, f"s{number}")

    assert comes_true(lambda: len(told.seqs) == 20)
    assert runner.stop()
    assert (list(range(1, 21)), []) == (told.seqs, troubles)
    assert (20, {None}) == (sum(each.delivered for each in deliveries), {each.error for each in deliveries})


def test_one_that_hangs_keeps_no_other_waiting_and_nobody_waits_for_its_end_for_ever(registry: Registry) -> None:
    may_go_on = threading.Event()
    hanging, good = Told(lambda _: may_go_on.wait(60)), Told()
    subscribers = [hanging.subscriber("a.hangs"), good.subscriber("b.good")]
    note_new(registry, subscribers)
    runner = SubscriptionRunner(registry, subscribers, tell=lambda _: None, trouble=lambda _: None, look_every_s=0.01)
    record(registry, "a")
    runner.start()
    assert comes_true(lambda: good.seqs == [1] and hanging.tried == [1])
    record(registry, "b", "c")

    assert comes_true(lambda: good.seqs == [1, 2, 3])
    assert not runner.stop(timeout_s=0.05)
    assert ([1], []) == (hanging.tried, hanging.seqs)
    may_go_on.set()
    assert runner.stop()
    assert ([1], 1) == (hanging.seqs, row(registry, "a.hangs").position)


def test_a_runner_goes_on_after_a_failure(registry: Registry) -> None:
    told, deliveries = Told(lambda _: refuse_storage(_) if len(told.tried) < 3 else None), list[DeliveryRun]()
    runner = SubscriptionRunner(
        registry, [told.subscriber(from_the_start=True)], tell=deliveries.append, trouble=lambda _: None,
        look_every_s=0.005, backoff=Backoff(first_s=0.01),
    )  # fmt: skip
    record(registry, "a", "b")
    runner.start()

    assert comes_true(lambda: told.seqs == [1, 2])
    assert runner.stop()
    assert [1, 1, 1, 2] == told.tried
    assert ["STORAGE_UNAVAILABLE", "STORAGE_UNAVAILABLE", None] == [
        each.error and each.error["code"] for each in deliveries
    ]


def test_a_delivery_that_takes_longer_than_a_claim_lasts_keeps_it(registry: Registry) -> None:
    """Its heart beats beside it."""
    patience = Patience(heartbeat_s=0.05, runs_out_s=0.3)
    began, may_go_on, other = threading.Event(), threading.Event(), Told()

    def hold(_: EventRecord) -> None:
        began.set()
        may_go_on.wait(60)

    told = Told(hold)
    note_new(registry, [told.subscriber()])
    record(registry, "a")
    delivering = threading.Thread(target=deliver, args=(registry, told.subscriber()), kwargs={"patience": patience})
    delivering.start()
    assert began.wait(60)
    first = _heartbeat(registry)

    assert comes_true(lambda: _heartbeat(registry) > first + 400_000)
    assert deliver(registry, other.subscriber(), patience=patience) is None
    may_go_on.set()
    delivering.join()
    assert ([1], []) == (told.seqs, other.seqs)


def _heartbeat(registry: Registry) -> int:
    with registry.catalog.snapshot() as queries:
        (found,) = [duty for duty in duty_rows.all_duties(queries.connection) if duty.name.startswith("deliver to ")]
    return found.heartbeat_at or 0


# status


def test_status_says_how_each_stands(store: Registry, clock: Clock) -> None:
    good, bad = Told(), Told(refuse_storage)
    subscribers = [good.subscriber("good"), bad.subscriber("bad"), good.subscriber("gone", OTHER)]
    note_new(store, subscribers)
    record(store, "a", "b")
    run(store, *subscribers)
    never_noted = good.subscriber("new")

    found = {each.name: each for each in store_status(store, [*subscribers[:2], never_noted]).subscriptions}

    assert ["bad", "gone", "good", "new"] == list(found)
    assert (2, 0, 0, None, clock.now, None, True) == (
        found["good"].position, found["good"].behind, found["good"].failures, found["good"].next_attempt_at,
        found["good"].delivered_at, found["good"].error, found["good"].is_installed,
    )  # fmt: skip
    assert (0, 2, 1, None, "STORAGE_UNAVAILABLE") == (
        found["bad"].position, found["bad"].behind, found["bad"].failures, found["bad"].delivered_at,
        (found["bad"].error or {})["code"],
    )  # fmt: skip
    assert clock.now < (found["bad"].next_attempt_at or 0) <= clock.now + SECOND
    assert (False, 0, None) == (found["gone"].is_installed, found["gone"].position, found["gone"].behind)
    assert (True, None, None) == (found["new"].is_installed, found["new"].position, found["new"].behind)


def test_how_many_wait_is_counted_up_to_a_number(store: Registry) -> None:
    told = Told()
    note_new(store, [told.subscriber("s", OTHER)])
    record_other(store, overview.COUNT_TO + 5)

    (status,) = subscription_statuses(store, [told.subscriber("s", OTHER)])

    assert overview.COUNT_TO == status.behind
