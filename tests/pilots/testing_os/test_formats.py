"""date-time and uri as the original's validator reads them; every answer below is one it gave."""

from __future__ import annotations

import pytest

from artifactstore.pilots.testing_os.formats import instant_ms, is_date, is_date_time, is_uri


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-19T15:45:12Z",
        "2026-03-19 15:45:12Z",
        "2026-03-19\t15:45:12Z",
        "2026-03-19\u00a015:45:12Z",
        "2026-03-19t15:45:12z",
        "2026-03-19T15:45:12.123456789012Z",
        "2026-03-19T15:45:12-04",
        "2026-03-19T15:45:12-0400",
        "2026-03-19T15:45:12+23:59",
        "2024-02-29T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-03-19T23:59:60Z",
        "2026-03-19T23:59:60.5Z",
        "2026-03-19T22:59:60-01:00",
        "2026-03-20T00:59:60+01:00",
    ],
)
def test_a_date_time(text):
    assert is_date_time(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-03-19",
        "2026-03-19T15:45:12",
        "2026-03-19T15:45Z",
        "2026-03-19  15:45:12Z",
        "2026-03-19\x1f15:45:12Z",
        "2026-03-19T15:45:12Z\n",
        "2026-03-19T15:45:12.Z",
        "2026-03-19T24:00:00Z",
        "2026-03-19T15:60:00Z",
        "2026-03-19T15:45:61Z",
        "2026-03-19T22:59:60Z",
        "2026-03-19T23:59:61Z",
        "2026-03-19T15:45:12+24:00",
        "2026-03-19T15:45:12+23:60",
        "2026-03-19T15:45:12+0:00",
        "2026-02-29T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "\u0662026-03-19T15:45:12Z",
    ],
)
def test_no_date_time(text):
    assert not is_date_time(text)


@pytest.mark.parametrize(("text", "is_one"), [("2026-06-01", True), ("2026-06-31", False), ("2026-6-1", False)])
def test_a_date_is_a_day_of_the_calendar(text, is_one):
    assert is_date(text) is is_one


@pytest.mark.parametrize(
    "text",
    [
        "x:y",
        "x:/",
        "x:a//b",
        "https://",
        "http:/",
        "http:a/b",
        "HTTP://A",
        "urn:isbn:123",
        "http://a/%41",
        "http://a:b@c/",
        "x://y@z@w",
        "http://a:8x/",
        "http://300.1.1.1",
        "http://1.2.3.4:80/x?y#z",
        "http://[::1]/",
        "http://[::1.2.3.4]",
        "http://[1:2:3:4:5:6:7:8]",
        "http://[v1.a]/",
    ],
)
def test_a_uri(text):
    assert is_uri(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nope",
        "not a url",
        "x:",
        "mailto:",
        "x:?q",
        "x:#f",
        "//a/b",
        "/x",
        "1x:y",
        'x:"',
        'http://a?"',
        "http://exa mple",
        "http://\u00e9",
        "http://a/%zz",
        "http://a/{b}",
        "http://a/[b]",
        "http://a^b",
        "http://a\\b",
        "http://a#b#c",
        "http://[zz]/",
        "http://[::1%25eth0]/",
        "http://a\n",
    ],
)
def test_no_uri(text):
    assert not is_uri(text)


def test_a_long_text_is_no_uri_at_once():
    assert not is_uri("http://" + "a:@" * 200_000 + "\n")


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("2026-03-19T15:45:12Z", 1773935112000),
        ("2026-03-19 15:45:12.123456z", 1773935112123),
        ("2026-03-19\t15:45:12Z", 1773935112000),
        ("2026-03-19T15:45:12+0530", 1773915312000),
        ("2026-03-19T15:45:12+23:59", 1773848772000),
        ("2026-03-19t15:45:12-0400", 1773949512000),
        ("2026-05-22 03:50:57+05", 1779403857000),
        ("0001-01-01T00:00:00Z", -62135596800000),
    ],
)
def test_an_instant_is_the_one_that_javascript_reads(text, milliseconds):
    assert instant_ms(text) == milliseconds


@pytest.mark.parametrize(
    "text", ["2026-03-19T23:45:12-04", "2026-03-19T23:59:60Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "x"]
)
def test_some_date_times_are_no_instant(text):
    assert instant_ms(text) is None
