"""A server on a file system that is full, database and all: 507, reads go on, room is all it needs (R6)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from artifactstore.testing.builders import some_bytes
from tests.api.nursery import Nursery, a_nursery
from tests.api.pushing import (
    check_store,
    fetched,
    finalize,
    open_,
    problem,
    push,
    send_zip,
    zipped,
)
from tests.faults.support import LONG, tmpfs
from tests.service import make_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.service import Answer, Server

LEVELS = 24 if LONG else 8
DISK_BYTES = 16 * 2**20
PAGE_BYTES = 4096
NEEDED_BYTES = 1_500_000
"""A push of the files below needs this much: twice their bytes, and the pages of the database that it changes."""
FILES = {f"d/f{number:02}": some_bytes(8_000, number) for number in range(60)}
BEFORE = {"before": b"there before"}


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with a_nursery() as running:
        yield running


@pytest.mark.parametrize("level", range(LEVELS))
def test_a_server_on_a_full_file_system(nursery: Nursery, tmp_path: Path, level: int) -> None:
    with tmpfs(tmp_path / "disk", size_bytes=DISK_BYTES, inodes=10_000) as disk:
        home = disk / "home"
        tokens = make_tokens(home)
        with nursery.serving(home, tokens) as server:
            package_id = push(server, BEFORE, external_id="before")["package_id"]
            leave_room(disk, NEEDED_BYTES * level // LEVELS)

            refused = try_to_push(server)

            if refused is not None:
                assert problem(refused)[0] == 507, refused.body
                assert problem(refused)[1] in {"STORAGE_FULL", "CATALOG_FULL"}
            assert BEFORE == fetched(server, package_id, BEFORE)
            assert 200 == server.ask("GET", "/packages").status
            (disk / "ballast").unlink()
            receipt = push(server, FILES, external_id="e")
            assert {"before", "e"} == set(check_store(server))
            assert FILES == fetched(server, receipt["package_id"], FILES)
        assert level > 0 or refused is not None, "there was room for the push: the levels are wrong"


def leave_room(disk: Path, room_bytes: int) -> None:
    """Fill all but so many bytes."""
    found = os.statvfs(disk)
    size_bytes = found.f_bavail * found.f_frsize - room_bytes
    (disk / "ballast").write_bytes(bytes(size_bytes // PAGE_BYTES * PAGE_BYTES))


def try_to_push(server: Server) -> Answer | None:
    """The first refusal, or None if there was room enough."""
    answer = open_(server, FILES, external_id="e")
    if answer.status == 201:
        package_id = answer.json["package_id"]
        answer = send_zip(server, package_id, zipped(FILES))
        if answer.status == 200:
            answer = finalize(server, package_id)
    return None if answer.status in {200, 201} else answer
