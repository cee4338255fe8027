"""The event log is a chain, and the tables follow from it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from blake3 import blake3

from artifactstore.catalog.event_log import CHAIN_TAG, LOG_TAG
from artifactstore.domain.canonical import decode
from artifactstore.domain.instant import Instant
from artifactstore.errors import EventLogCorruptError, ReplayMismatchError
from artifactstore.registry.events import list_events
from artifactstore.registry.ingest import ingest
from artifactstore.registry.metadata_schemas import register_schema
from artifactstore.registry.retention import extend_retention, place_hold, release_hold
from artifactstore.registry.verify import verify_all
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import package_draft
from tests.support import flip_byte, objects_of_kind, replay_is_exact

if TYPE_CHECKING:
    from pathlib import Path

    from artifactstore.registry.registry import Registry


@pytest.fixture
def lived_in(registry: Registry, home: Path) -> Registry:
    """A store in which one of everything has happened."""
    register_schema(registry, "t.v1", {"type": "object"})
    draft = replace(package_draft({"a": b"1", "b": b"2"}, metadata={"x": [1, 2.5, None, "é"]}), schema="t.v1")
    package_id = ingest(registry, draft).package_id
    ingest(registry, package_draft({"a": b"1"}), as_revision=True)
    hold_id = place_hold(registry, package_id, reason="audit")
    release_hold(registry, package_id, hold_id, reason="done")
    place_hold(registry, package_id, reason="again")
    extend_retention(registry, package_id, Instant(registry.clock() + 10**15), reason="asked for")
    flip_byte(objects_of_kind(home, ObjectKind.PACK)[0], 0)
    verify_all(registry)
    return registry


def test_replay_reproduces_every_table(lived_in: Registry) -> None:
    report = replay_is_exact(lived_in)

    assert report.events == len(list_events(lived_in, limit=1000))


def test_the_chain_can_be_recomputed_from_the_headers_alone(lived_in: Registry) -> None:
    with lived_in.catalog.snapshot() as queries:
        chain = blake3(LOG_TAG + queries.log_id()).digest()

    for seq, event in enumerate(list_events(lived_in, limit=1000), start=1):
        chain = blake3(CHAIN_TAG + chain + event.header).digest()
        assert chain == event.chain
        header = decode(event.header)
        assert (header["seq"], header["payload_digest"]) == (seq, blake3(event.payload).digest())


def test_time_never_runs_backwards_in_the_log(registry: Registry) -> None:
    ingest(registry, package_draft())
    registry.catalog._clock = lambda: Instant(1)

    ingest(registry, package_draft({"b": b""}, external_id="run-2"))

    times = [event.at for event in list_events(registry, limit=100)]
    assert sorted(times) == times
    assert replay_is_exact(registry)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE event SET payload = ? WHERE seq = 3",
        "UPDATE event SET header = ? WHERE seq = 3",
        "UPDATE event SET chain = ? WHERE seq = 3",
        "UPDATE event SET actor = 'local:someone' WHERE seq = 3",
        "UPDATE event SET type = 'v1.hold.placed' WHERE seq = 3",
        "UPDATE event SET subject = 'x' WHERE seq = 3",
        "UPDATE event SET at = at + 1 WHERE seq = 3",
        "DELETE FROM event WHERE seq = 3",
        "DELETE FROM event WHERE seq = 1",
        "UPDATE event SET seq = seq - 100 WHERE seq = 3",
        "UPDATE event_log SET log_id = ?",
    ],
)
def test_any_change_of_the_log_is_found(lived_in: Registry, change: str) -> None:
    with lived_in.transaction() as tx:
        tx.connection.execute(change, [b"\xa0"] * change.count("?"))

    with pytest.raises(EventLogCorruptError):
        replay_is_exact(lived_in)


def test_two_events_that_changed_places_are_found(lived_in: Registry) -> None:
    with lived_in.transaction() as tx:
        for old, new in ((3, -1), (4, 3), (-1, 4)):
            tx.connection.execute("UPDATE event SET seq = ? WHERE seq = ?", (new, old))

    with pytest.raises(EventLogCorruptError):
        replay_is_exact(lived_in)


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("metadata_schema", "UPDATE metadata_schema SET json_schema = '{}'"),
        ("package", "UPDATE package SET expires_at = expires_at - 1 WHERE revision = 1"),
        ("package", "UPDATE package SET status = 'expired' WHERE revision = 2"),
        ("blob", "UPDATE blob SET crc32 = 0 WHERE id = 1"),
        ("blob", "UPDATE blob SET sha256 = ? WHERE id = 1"),
        ("stored_object", "UPDATE stored_object SET status = 'live' WHERE status = 'damaged'"),
        ("blob_location", "UPDATE blob_location SET start = 1 WHERE blob_id = 1"),
        ("blob_location", "DELETE FROM blob_location WHERE blob_id = 1"),
        ("package_file", "UPDATE package_file SET path = 'other' WHERE path = 'b'"),
        ("package_file", "DELETE FROM package_file WHERE path = 'b'"),
        ("hold", "UPDATE hold SET released_at = 1 WHERE released_at IS NULL"),
        ("hold", "DELETE FROM hold WHERE released_at IS NULL"),
    ],
)
def test_any_change_of_a_projected_table_is_found(lived_in: Registry, table: str, change: str) -> None:
    with lived_in.transaction() as tx:
        tx.connection.execute(change, [b"\xa0"] * change.count("?"))

    with pytest.raises(ReplayMismatchError) as caught:
        replay_is_exact(lived_in)

    assert table == caught.value.problems[0].where


def test_events_are_paged_and_filtered_by_subject(lived_in: Registry) -> None:
    everything = list_events(lived_in, limit=1000)

    first = list_events(lived_in, limit=3)
    rest = list_events(lived_in, after=first[-1].seq, limit=1000)

    assert everything == first + rest
    assert {"t.v1"} == {event.subject for event in list_events(lived_in, limit=10, subject="t.v1")}


def test_the_actor_is_stamped_on_every_event(registry: Registry) -> None:
    ingest(registry.acting_as("plugin:some@1.0"), package_draft())

    assert {"plugin:some@1.0"} == {event.actor for event in list_events(registry, limit=10)}
