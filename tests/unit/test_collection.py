"""When collection may work, and what comes free of an object."""

from __future__ import annotations

import pytest

from artifactstore.catalog.records import ObjectRecord
from artifactstore.catalog.sharing import comes_free, packed_bytes
from artifactstore.domain.collection import DailyWindow
from artifactstore.domain.hashing import measure
from artifactstore.domain.instant import Instant, parse_instant
from artifactstore.errors import ConfigurationError
from artifactstore.storage.memory import MemoryStore
from artifactstore.storage.pack import PackWriter
from artifactstore.testing.builders import some_bytes


def at(time: str) -> Instant:
    return parse_instant(f"2026-11-21T{time}:00Z")


@pytest.mark.parametrize(
    ("window", "within", "without"),
    [
        ("09:00-17:30", ["09:00", "12:00", "17:29"], ["08:59", "17:30", "00:00"]),
        ("22:00-05:30", ["22:00", "23:59", "00:00", "05:29"], ["21:59", "05:30", "12:00"]),
    ],
)
def test_a_window_is_of_the_day_and_may_go_over_midnight(window: str, within: list[str], without: list[str]) -> None:
    parsed = DailyWindow.parse(window)

    assert within == [time for time in within + without if parsed.has(at(time))]


@pytest.mark.parametrize("text", ["", "9-17", "24:00-01:00", "10:00-10:00", "10:00-11:60", "10:00-11:00 "])
def test_what_is_no_time_of_the_day_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        DailyWindow.parse(text)


@pytest.mark.parametrize("count", [1, 2, 50])
def test_a_packs_size_is_known_from_its_blobs(count: int) -> None:
    pack = PackWriter(MemoryStore())
    blobs = [some_bytes(10 * number, number) for number in range(count)]
    for data in blobs:
        pack.add(measure(data), data)

    info = pack.finish()

    assert info.size_bytes == packed_bytes(map(len, blobs))


def test_an_object_comes_free_when_nothing_of_it_is_kept() -> None:
    assert 5_000 == comes_free(ObjectRecord(1, "default", "blob", b"", 5_000, "live"), [], repack_percent=50)


@pytest.mark.parametrize(("percent", "comes"), [(1, True), (49, True), (60, False), (101, False)])
def test_a_pack_comes_free_in_part_from_some_share_on(percent: int, comes: bool) -> None:
    whole, kept = packed_bytes([1_000] * 10), packed_bytes([1_000] * 5)
    found = ObjectRecord(1, "default", "pack", b"", whole, "live")

    freed = comes_free(found, [1_000] * 5, repack_percent=percent)

    assert (whole - kept if comes else 0) == freed
