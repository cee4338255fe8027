"""A server whose storage has no room left: it says so with 507, reads go on, and room is all it needs (R6).

Here storage is told so by the process itself (tests/api/nursery.py), which needs no rights. tests/faults does it with
real file systems that are full.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import some_bytes
from tests.api.pushing import (
    append,
    begin_upload,
    blake3_of,
    check_store,
    fetched,
    finalize,
    missing,
    open_,
    opened,
    problem,
    push,
    put,
    send_zip,
    standing,
    zipped,
)
from tests.service import make_tokens
from tests.support import objects_of_kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.api.nursery import Nursery
    from tests.service import Answer, Server

AMPLE = 2**30
LEVELS = 6
SMALL = {f"d/f{number:02}": some_bytes(12_000, number) for number in range(10)}
LARGE = some_bytes(600_000)
BEFORE = {"before": b"there before", "also": some_bytes(5_000, 99)}


class Full:
    """A server, and the file that says how much room its storage has."""

    def __init__(self, server: Server, room: Path) -> None:
        self.server = server
        self._room = room
        self.package_id = push(server, BEFORE, external_id="before")["package_id"]

    def has_room(self, size_bytes: int) -> None:
        self._room.write_text(str(size_bytes))

    def left(self) -> int:
        return int(self._room.read_text())

    def reads_go_on(self) -> None:
        server = self.server
        assert BEFORE == fetched(server, self.package_id, BEFORE)
        asked = ["/packages", f"/packages/{self.package_id}", f"/packages/{self.package_id}/archive.zip", "/events"]
        assert [200] * 4 == [server.ask("GET", path).status for path in asked]
        assert [] == list((server.home / "objects" / "staging").iterdir()), "what did not fit is in the way"


@pytest.fixture
def full(nursery: Nursery, tmp_path: Path) -> Iterator[Full]:
    home, room = tmp_path / "home", tmp_path / "room"
    room.write_text(str(AMPLE))
    with nursery.serving(home, make_tokens(home), room=room) as server:
        yield Full(server, room)


def by_zip(server: Server, package_id: str) -> Answer:
    return send_zip(server, package_id, zipped({**SMALL, "large": LARGE}))


def by_put(server: Server, package_id: str) -> Answer:
    for path, data in {**SMALL, "large": LARGE}.items():
        answer = put(server, package_id, path, data)
        if answer.status not in {200, 201}:
            break
    return answer


WAYS = {way.__name__: way for way in (by_zip, by_put)}


@pytest.mark.parametrize("level", range(LEVELS))
@pytest.mark.parametrize("way", WAYS)
def test_a_push_that_finds_no_room_is_refused_and_succeeds_when_there_is(full: Full, way: str, level: int) -> None:
    server, send = full.server, WAYS[way]
    whole_bytes = len(LARGE) + sum(map(len, SMALL.values()))
    files = {**SMALL, "large": LARGE}
    full.has_room(whole_bytes * level // LEVELS)
    package_id = opened(server, files, external_id="e")

    refused = send(server, package_id)
    unfinished = finalize(server, package_id)
    full.reads_go_on()
    full.has_room(AMPLE)
    again = open_(server, files, external_id="e")
    sent = send(server, again.json["package_id"])
    receipt = finalize(server, again.json["package_id"])

    assert ((507, "STORAGE_FULL"), False) == (problem(refused), refused.json["retryable"])
    assert (409, "PACKAGE_INCOMPLETE") == problem(unfinished)
    assert (201, True, 200) == (again.status, sent.status in {200, 201}, receipt.status)
    assert {"before", "e"} == set(check_store(server))
    assert files == fetched(server, receipt.json["package_id"], files)


def test_the_same_package_goes_on_when_there_is_room(full: Full) -> None:
    """Nothing needs to be opened anew: what arrived counts, what did not fit is missing."""
    server = full.server
    package_id = opened(server, {"a": b"one", "large": LARGE})
    put(server, package_id, "a", b"one")
    full.has_room(100_000)
    refused = put(server, package_id, "large", LARGE)
    full.has_room(AMPLE)

    assert (507, "STORAGE_FULL") == problem(refused)
    assert [blake3_of(LARGE)] == missing(server, package_id)["missing"]
    assert 201 == put(server, package_id, "large", LARGE).status
    assert 200 == finalize(server, package_id).status
    check_store(server)


def test_finalize_without_room_for_its_manifest_can_be_asked_again(full: Full) -> None:
    server = full.server
    package_id = opened(server, SMALL, external_id="e")
    send_zip(server, package_id, zipped(SMALL))
    full.has_room(10)
    refused = finalize(server, package_id)
    full.reads_go_on()
    full.has_room(AMPLE)

    done = finalize(server, package_id)

    assert (507, "STORAGE_FULL") == problem(refused)
    assert (200, package_id) == (done.status, done.json["package_id"])
    assert {"before", "e"} == set(check_store(server))


@pytest.mark.parametrize("room_bytes", [0, 20, 36, 1_000, 100_000, 299_990])
def test_an_upload_never_stands_further_than_what_was_written(full: Full, room_bytes: int) -> None:
    """A part that was written in part is not one: the upload goes on from where HEAD says and gives the right bytes."""
    server = full.server
    package_id = opened(server, external_id="e")
    upload = begin_upload(server, package_id, "large", len(LARGE)).headers["Location"]
    append(server, upload, 0, LARGE[:1_000])
    full.has_room(room_bytes)

    refused = append(server, upload, 1_000, LARGE[1_000:301_000])
    at = standing(server, upload)
    full.has_room(AMPLE)
    done = append(server, upload, at, LARGE[at:], last=True)

    assert (507, "STORAGE_FULL") == problem(refused)
    assert 1_000 <= at <= 1_000 + room_bytes
    assert (200, blake3_of(LARGE)) == (done.status, done.json["blake3"] if done.status == 200 else done.json)
    assert [] == objects_of_kind(server.home, ObjectKind.PART)
    assert {"large": LARGE} == fetched(server, finalize(server, package_id).json["package_id"], ["large"])


def test_an_upload_that_cannot_be_put_together_for_want_of_room_is_completed_later(full: Full) -> None:
    server = full.server
    package_id = opened(server)
    upload = begin_upload(server, package_id, "large", len(LARGE)).headers["Location"]
    append(server, upload, 0, LARGE)
    full.has_room(100_000)

    refused = append(server, upload, len(LARGE), b"", last=True)
    full.has_room(AMPLE)
    done = append(server, upload, len(LARGE), b"", last=True)

    assert (507, "STORAGE_FULL") == problem(refused)
    assert (200, blake3_of(LARGE)) == (done.status, done.json["blake3"])


def test_giving_up_and_asking_need_no_room(full: Full) -> None:
    server = full.server
    package_id = opened(server, SMALL)
    upload = begin_upload(server, package_id, "d/f00", 12_000).headers["Location"]
    append(server, upload, 0, SMALL["d/f00"][:100])
    full.has_room(0)

    state = missing(server, package_id)
    given_up = server.ask("DELETE", f"/packages/{package_id}", token="writer")

    assert (10, 204) == (len(state["missing"]), given_up.status)
    assert [] == objects_of_kind(server.home, ObjectKind.PART)
