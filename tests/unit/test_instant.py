"""Instants as microseconds, and as text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.domain.instant import instant_text, parse_instant, system_clock
from artifactstore.errors import UsageError


@given(st.integers(0, 253_402_300_799_999_999))
def test_text_and_back_is_the_same_instant(instant: int) -> None:
    assert parse_instant(instant_text(instant)) == instant


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1, "1970-01-01T00:00:00.000001Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (1_795_169_880_000_000, "2026-11-20T10:18:00.000000Z"),
    ],
)
def test_text_is_rfc_3339_in_utc(instant: int, expected: str) -> None:
    assert instant_text(instant) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-20T10:18:00Z",
        "2026-11-20T11:18:00+01:00",
        "2026-11-20T00:18:00-10:00",
        "2026-11-20 10:18:00.000000+00:00",
        "2026-11-20t10:18:00z",
    ],
)
def test_offset_is_taken_into_account(text: str) -> None:
    assert parse_instant(text) == 1_795_169_880_000_000


@pytest.mark.parametrize("text", ["2026-11-20T10:18:00", "2026-11-20"])
def test_time_without_offset_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="has no offset from UTC"):
        parse_instant(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "tomorrow", "2026-13-01T00:00:00Z", "2026-11-20T25:00:00Z", "1795169880", "x" * 1000,
        "2026-W01-1T00:00:00Z", "20260101T000000Z", "2026-01-01x00:00:00Z", "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:00,5Z", "2026-01-01T00:00:00+23:59:59", "2026-01-01T00:00:00\u0661Z",
    ],
)  # fmt: skip
def test_text_that_is_not_a_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_instant(text)

    assert len(caught.value.message) < 100


def test_clock_is_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_795_169_880_123_456_789)

    assert system_clock() == 1_795_169_880_123_456
