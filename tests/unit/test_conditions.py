"""What a download answers to conditions and ranges. Sections are those of RFC 9110."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.api.conditions import Selection, UnsatisfiableRangeError, select
from artifactstore.errors import PreconditionError

ETAG = '"blake3:00ff"'
WEAK = f"W/{ETAG}"
OTHER = '"blake3:0000"'
SIZE = 1_000
WHOLE = Selection(200, 0, SIZE)
NOT_MODIFIED = Selection(304, 0, 0)

SATISFIABLE = {
    "first and last byte (14.1.2)": ("bytes=0-499", Selection(206, 0, 500)),
    "a later range": ("bytes=500-999", Selection(206, 500, 500)),
    "the first byte": ("bytes=0-0", Selection(206, 0, 1)),
    "the last byte": ("bytes=999-999", Selection(206, 999, 1)),
    "open: to the end": ("bytes=990-", Selection(206, 990, 10)),
    "open from the beginning is the whole as a part": ("bytes=0-", Selection(206, 0, SIZE)),
    "a suffix": ("bytes=-1", Selection(206, 999, 1)),
    "a suffix of all": ("bytes=-1000", Selection(206, 0, SIZE)),
    "a suffix that is longer than all": ("bytes=-1001", Selection(206, 0, SIZE)),
    "an end beyond the end": ("bytes=999-5000", Selection(206, 999, 1)),
    "an end that no integer of 64 bits holds": ("bytes=1-9999999999999999999", Selection(206, 1, 999)),
    "a suffix that no integer of 64 bits holds": ("bytes=-9999999999999999999", Selection(206, 0, SIZE)),
    "leading zeros": ("bytes=0000-0001", Selection(206, 0, 2)),
    "white space after the equals sign and at the end": ("bytes= 1-2 ", Selection(206, 1, 2)),
    "the unit in capitals (14.1: units are case-insensitive)": ("Bytes=1-2", Selection(206, 1, 2)),
}
UNSATISFIABLE = {
    "from the end": "bytes=1000-",
    "beyond the end": "bytes=1001-2000",
    "from a position that no integer of 64 bits holds": "bytes=9999999999999999999-",
    "the last no bytes": "bytes=-0",
}
PASSED_OVER = {
    "its end is before its beginning (14.1.1: invalid)": "bytes=500-499",
    "its end is before its beginning, beyond the end": "bytes=2000-1999",
    "several ranges": "bytes=0-1,3-4",
    "several ranges of which one is nothing": "bytes=0-1,",
    "a thousand ranges": "bytes=" + ",".join(f"{at}-{at}" for at in range(1_000)),
    "another unit (14.2: ignored)": "items=0-1",
    "no unit": "0-1",
    "no range": "bytes=",
    "only a dash": "bytes=-",
    "two dashes": "bytes=--1",
    "three numbers": "bytes=1-2-3",
    "a sign": "bytes=+1-2",
    "a negative end": "bytes=1--2",
    "letters": "bytes=a-b",
    "hexadecimal": "bytes=0x1-0x2",
    "a fraction": "bytes=0.5-1",
    "an underscore, which Python's integers may have": "bytes=1_0-20",
    "digits that are not ASCII": "bytes=\u0661-\u0662",
    "space within": "bytes=1 - 2",
    "twenty digits": "bytes=10000000000000000000-",
    "ten thousand digits": "bytes=" + "9" * 10_000 + "-",
    "nothing": "",
    "a line break": "bytes=0-1\n\n0",
}


def decide(size_bytes: int = SIZE, method: str = "GET", **headers: str) -> Selection:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return select(named, method=method, etag=ETAG, size_bytes=size_bytes)


def test_a_request_without_conditions_is_answered_whole() -> None:
    assert WHOLE == decide()


# ranges: section 14


@pytest.mark.parametrize(("header", "selection"), SATISFIABLE.values(), ids=SATISFIABLE)
def test_a_satisfiable_range_is_answered_with_its_bytes(header: str, selection: Selection) -> None:
    assert selection == decide(range=header)


@pytest.mark.parametrize("header", UNSATISFIABLE.values(), ids=UNSATISFIABLE)
def test_a_range_outside_the_file_is_refused_with_the_size(header: str) -> None:
    with pytest.raises(UnsatisfiableRangeError) as caught:
        decide(range=header)

    assert SIZE == caught.value.size_bytes


@pytest.mark.parametrize("header", PASSED_OVER.values(), ids=PASSED_OVER)
def test_what_is_not_one_range_is_passed_over(header: str) -> None:
    assert WHOLE == decide(range=header)


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=5-9", "bytes=-0"])
def test_an_empty_file_has_no_byte_to_begin_at(header: str) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        decide(0, range=header)


def test_the_last_bytes_of_an_empty_file_are_the_whole_of_it() -> None:
    """14.1.2: a suffix that is not 0 is satisfiable; Content-Range cannot say which bytes these are."""
    assert Selection(200, 0, 0) == decide(0, range="bytes=-5")


def test_a_range_means_something_to_get_only() -> None:
    """14.2: a server must ignore Range for any other method."""
    assert WHOLE == decide(method="HEAD", range="bytes=0-1")
    assert WHOLE == decide(method="HEAD", range="bytes=5000-")


@given(size=st.integers(0, 12), first=st.integers(0, 14), last=st.integers(0, 14) | st.none())
def test_a_range_selects_what_a_slice_does(size: int, first: int, last: int | None) -> None:
    data = bytes(range(size))
    expected = data[first : None if last is None else last + 1]

    try:
        found = decide(size, range=f"bytes={first}-{'' if last is None else last}")
    except UnsatisfiableRangeError:
        assert first >= size
    else:
        is_range = last is None or last >= first
        assert (206 if is_range else 200) == found.status
        assert (expected if is_range else data) == data[found.start : found.start + found.length]


@given(size=st.integers(1, 12), length=st.integers(1, 14))
def test_a_suffix_selects_what_a_slice_does(size: int, length: int) -> None:
    data = bytes(range(size))

    found = decide(size, range=f"bytes=-{length}")

    assert (206, data[-length:]) == (found.status, data[found.start : found.start + found.length])


@given(header=st.text(st.sampled_from('bytes=0123456789-, \t*aW/"'), max_size=30))
def test_no_header_makes_it_leave_the_file(header: str) -> None:
    try:
        found = decide(range=header)
    except UnsatisfiableRangeError:
        return
    assert 0 <= found.start <= found.start + found.length <= SIZE


# If-Range (13.1.5)


@pytest.mark.parametrize("header", [ETAG, f" {ETAG} "])
def test_a_range_of_this_representation_is_given(header: str) -> None:
    assert Selection(206, 0, 2) == decide(range="bytes=0-1", if_range=header)


@pytest.mark.parametrize("header", [OTHER, WEAK, "*", f"{ETAG}, {OTHER}", "Sat, 29 Oct 1994 19:43:31 GMT", "", "x"])
def test_a_range_of_another_representation_is_passed_over(header: str) -> None:
    """Tags are compared strongly; a date cannot match, for files have no date."""
    assert WHOLE == decide(range="bytes=0-1", if_range=header)
    assert WHOLE == decide(range="bytes=5000-", if_range=header)


def test_if_range_without_a_range_means_nothing() -> None:
    assert WHOLE == decide(if_range=OTHER)


# If-Match (13.1.1) and If-None-Match (13.1.2)

LISTS_WITH_IT = ["*", " * ", ETAG, f"{OTHER}, {ETAG}", f"{ETAG},{OTHER}", f'"a,b" , {ETAG}', f'"", {ETAG}']
LISTS_WITHOUT_IT = ["", OTHER, f"{OTHER}, {OTHER}", ETAG.strip('"'), f"{ETAG} {ETAG}", f"x, {ETAG}", ETAG[:-1], "w/*"]


@pytest.mark.parametrize("header", LISTS_WITH_IT)
def test_a_list_that_has_the_tag_matches(header: str) -> None:
    assert WHOLE == decide(if_match=header)
    assert NOT_MODIFIED == decide(if_none_match=header)


@pytest.mark.parametrize("header", LISTS_WITHOUT_IT)
def test_a_list_without_the_tag_does_not_match(header: str) -> None:
    with pytest.raises(PreconditionError, match="blake3:00ff"):
        decide(if_match=header)
    assert WHOLE == decide(if_none_match=header)


@pytest.mark.parametrize("header", [WEAK, f"{OTHER}, {WEAK}"])
def test_a_weak_tag_matches_only_where_the_comparison_is_weak(header: str) -> None:
    with pytest.raises(PreconditionError):
        decide(if_match=header)
    assert NOT_MODIFIED == decide(if_none_match=header)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditions_hold_for_both_methods(method: str) -> None:
    assert NOT_MODIFIED == decide(method=method, if_none_match=ETAG)
    with pytest.raises(PreconditionError):
        decide(method=method, if_match=OTHER)


def test_conditions_come_before_ranges_and_if_match_first() -> None:
    """13.2.2."""
    assert NOT_MODIFIED == decide(if_match=ETAG, if_none_match=ETAG, range="bytes=5000-")
    assert Selection(206, 0, 2) == decide(if_match=ETAG, if_none_match=OTHER, range="bytes=0-1", if_range=ETAG)
    with pytest.raises(PreconditionError):
        decide(if_match=OTHER, if_none_match=ETAG, range="bytes=5000-")


def test_a_long_list_of_tags_is_read_once() -> None:
    longest = ", ".join([OTHER] * 1_000)

    assert WHOLE == decide(if_none_match=longest + "!")
    assert NOT_MODIFIED == decide(if_none_match=f"{longest}, {ETAG}")
