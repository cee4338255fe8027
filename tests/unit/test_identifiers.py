"""Ids that sort by time."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from artifactstore.domain.identifiers import new_uuid7

if TYPE_CHECKING:
    import pytest

MILLISECONDS = 1_795_169_880_123


def test_id_is_a_uuid_of_version_7() -> None:
    ids = [uuid.UUID(new_uuid7()) for _ in range(200)]

    assert {(found.version, found.variant) for found in ids} == {(7, uuid.RFC_4122)}


def test_id_is_written_in_the_usual_form() -> None:
    found = new_uuid7()

    assert str(uuid.UUID(found)) == found


def test_id_begins_with_the_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: MILLISECONDS * 1_000_000 + 999_999)

    assert uuid.UUID(new_uuid7()).int >> 80 == MILLISECONDS


def test_ids_of_later_milliseconds_sort_later(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for millisecond in range(100):
        monkeypatch.setattr(time, "time_ns", lambda now=millisecond: (MILLISECONDS + now) * 1_000_000)
        ids.append(new_uuid7())

    assert ids == sorted(ids)


def test_ids_of_one_millisecond_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: MILLISECONDS * 1_000_000)

    assert len({new_uuid7() for _ in range(1000)}) == 1000
