"""The canonical CBOR profile, with cbor2's own canonical mode as the oracle."""

from __future__ import annotations

import json
import math

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.domain.canonical import (
    MAX_DEPTH,
    MAX_DOCUMENT_BYTES,
    canonical,
    canonical_object,
    decode,
    depth_of,
    encode,
    parse_json,
)
from artifactstore.errors import (
    LimitExceededError,
    ManifestInvalidError,
    MetadataInvalidError,
    Problem,
    RunDirectoryError,
)
from tests.unit.strategies import json_values


def nested_lists(levels: int) -> object:
    value: object = []
    for _ in range(levels - 1):
        value = [value]
    return value


def problems_of(value: object) -> tuple[Problem, ...]:
    with pytest.raises(MetadataInvalidError) as caught:
        canonical(value)
    return caught.value.problems


# what is accepted


@given(json_values)
def test_canonical_value_encodes_to_itself_after_decoding(value: object) -> None:
    encoded = encode(canonical(value))

    assert encode(decode(encoded)) == encoded


@given(json_values)
def test_canonical_is_idempotent(value: object) -> None:
    once = canonical(value)

    assert encode(canonical(once)) == encode(once)


@given(json_values)
def test_canonical_value_equals_the_value(value: object) -> None:
    assert canonical(value) == value


@given(json_values)
def test_json_and_back_has_the_same_encoding(value: object) -> None:
    again = parse_json(json.dumps(value).encode(), what="it")

    assert encode(canonical(again)) == encode(canonical(value))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2.0, "02"),
        (-0.0, "00"),
        (0.0, "00"),
        (-3.0, "22"),
        (float(2**53 - 1), "1b001fffffffffffff"),
        (float(2**53), "fa5a000000"),
        (1.5, "f93e00"),
        (0.1, "fb3fb999999999999a"),
        (3.4028234663852886e38, "fa7f7fffff"),
        (5e-324, "fb0000000000000001"),
        (24, "1818"),
        (-(2**53) + 1, "3b001ffffffffffffe"),
        (True, "f5"),
        (None, "f6"),
        ("ü", "62c3bc"),
        ([], "80"),
        ({}, "a0"),
        ({"bb": 1, "a": 2, "aa": 3}, "a3616102626161036262620" + "1"),
    ],
)
def test_value_is_written_in_its_one_form(value: object, expected: str) -> None:
    assert encode(canonical(value)).hex() == expected


def test_true_and_one_stay_apart() -> None:
    assert encode(canonical([True, 1, False, 0])) == bytes.fromhex("84f501f400")


def test_lists_and_maps_may_be_nested_64_levels_deep() -> None:
    assert canonical(nested_lists(MAX_DEPTH)) == nested_lists(MAX_DEPTH)


# what is refused, where


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(math.nan, "not a finite number", id="not-a-number"),
        pytest.param(math.inf, "not a finite number", id="infinity"),
        pytest.param(-math.inf, "not a finite number", id="minus-infinity"),
        pytest.param(2**53, "beyond plus or minus 2^53 - 1", id="too-large"),
        pytest.param(-(2**53), "beyond plus or minus 2^53 - 1", id="too-small"),
        pytest.param(10**400, "beyond plus or minus 2^53 - 1", id="far-too-large"),
        pytest.param("e\u0301", "normalisation form C", id="decomposed-text"),
        pytest.param("\ud800", "unpaired surrogate", id="surrogate"),
        pytest.param(b"bytes", "is a bytes", id="bytes"),
        pytest.param({1, 2}, "is a set", id="set"),
    ],
)
def test_value_without_canonical_form_is_named_by_its_pointer(value: object, expected: str) -> None:
    ((where, what),) = problems_of({"results": [0, {"a/b": value}]})

    assert (where, expected in what) == ("/results/1/a~1b", True)


@pytest.mark.parametrize("key", ["e\u0301", "\ud800"])
def test_key_without_canonical_form_is_named(key: str) -> None:
    ((where, _),) = problems_of({"a": {key: 1}})

    assert where == f"/a/{key}"


@pytest.mark.parametrize("key", [1, None, True, 1.5, b"k", (1,)])
def test_key_that_is_not_text_is_refused(key: object) -> None:
    ((where, what),) = problems_of({"a": {key: 1}})

    assert (where, "which is not text" in what) == ("/a", True)


def test_tilde_in_a_key_is_escaped_in_the_pointer() -> None:
    ((where, _),) = problems_of({"a~b/c": math.nan})

    assert where == "/a~0b~1c"


def test_every_offender_is_reported_at_once() -> None:
    problems = problems_of({"a": math.nan, "b": [2**60, "fine"], "c": {"d": "e\u0301"}})

    assert [where for where, _ in problems] == ["/a", "/b/0", "/c/d"]


def test_list_that_is_nested_too_deeply_is_refused() -> None:
    ((where, what),) = problems_of(nested_lists(MAX_DEPTH + 1))

    assert (where, what) == ("/0" * MAX_DEPTH, "is nested deeper than 64 levels")


def test_depth_of_many_levels_ends_early() -> None:
    assert len(problems_of(nested_lists(900))) == 1


def test_message_names_what_was_checked() -> None:
    with pytest.raises(MetadataInvalidError, match="the profile has 1 value"):
        canonical_object({"a": math.nan}, what="the profile")


@pytest.mark.parametrize(("value", "expected"), [(1, 0), ([], 1), ({}, 1), ([1], 1), ([[]], 2), ({"a": [{"b": 1}]}, 3)])
def test_depth_counts_lists_and_maps_inside_each_other(value: object, expected: int) -> None:
    assert depth_of(value) == expected


# decoding


@given(json_values)
def test_decode_gives_back_what_was_encoded(value: object) -> None:
    assert decode(encode(canonical(value))) == value


@given(st.binary(max_size=40))
def test_any_bytes_are_decoded_or_refused_with_our_error(data: bytes) -> None:
    try:
        value = decode(data)
    except ManifestInvalidError:
        return
    assert cbor2.dumps(value, canonical=True) == data


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("", id="nothing"),
        pytest.param("0000", id="two-items"),
        pytest.param("1801", id="long-integer"),
        pytest.param("190001", id="longer-integer"),
        pytest.param("780161", id="long-length"),
        pytest.param("9f01ff", id="indefinite-list"),
        pytest.param("bf616101ff", id="indefinite-map"),
        pytest.param("7f6161ff", id="indefinite-text"),
        pytest.param("5f4161ff", id="indefinite-bytes"),
        pytest.param("a2616201616101", id="unsorted-map"),
        pytest.param("a2616101616102", id="repeated-key"),
        pytest.param("fb3ff0000000000000", id="long-float"),
        pytest.param("d9d9f700", id="self-describing-tag"),
        pytest.param("61ff", id="not-utf-8"),
        pytest.param("63eda080", id="surrogate"),
        pytest.param("9b7fffffffffffffff", id="list-of-2-to-63"),
        pytest.param("bb7fffffffffffffff", id="map-of-2-to-63"),
        pytest.param("7b7fffffffffffffff", id="text-of-2-to-63"),
        pytest.param("81" * 100_000 + "80", id="hundred-thousand-levels"),
        pytest.param("d81c81d81d00", id="list-that-holds-itself"),
        pytest.param("c4821b7fffffffffffffff01", id="huge-decimal"),
        pytest.param("d8236128", id="broken-pattern"),
    ],
)
def test_bytes_that_are_not_canonical_are_refused(data: str) -> None:
    with pytest.raises(ManifestInvalidError):
        decode(bytes.fromhex(data))


# strict JSON


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(b'{"a": 1, "b": 2, "a": 3}', "duplicate key a", id="duplicate-key"),
        pytest.param(b'[{"x": {"k": 1, "k": 1}}]', "duplicate key k", id="duplicate-key-below"),
        pytest.param(b'{"a": NaN}', "NaN is not a JSON number", id="nan"),
        pytest.param(b"[Infinity]", "Infinity is not a JSON number", id="infinity"),
        pytest.param(b"[-Infinity]", "-Infinity is not a JSON number", id="minus-infinity"),
        pytest.param(b'{"a": 1', "not valid JSON", id="cut"),
        pytest.param(b"{} {}", "not valid JSON", id="two-values"),
        pytest.param(b"", "not valid JSON", id="empty"),
        pytest.param(b'\xef\xbb\xbf{"a": 1}', "not valid JSON", id="byte-order-mark"),
        pytest.param(b'"\xff"', "not UTF-8: invalid start byte at byte 1", id="not-utf-8"),
        pytest.param('{"a": 1}'.encode("utf-16"), "not UTF-8", id="utf-16"),
        pytest.param(b"[" * 65 + b"]" * 65, "nested deeper than 64 levels", id="65-levels"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, "nested too deeply", id="100000-levels"),
        pytest.param(b"1" * 5000, "not valid JSON", id="integer-of-5000-digits"),
    ],
)
def test_json_with_liberties_is_refused(text: bytes, expected: str) -> None:
    with pytest.raises(RunDirectoryError) as caught:
        parse_json(text, what="run.json", error=RunDirectoryError)

    assert (caught.value.message.startswith("run.json is "), expected in caught.value.message) == (True, True)


def test_json_may_be_nested_64_levels_deep() -> None:
    assert parse_json(b"[" * 64 + b"]" * 64, what="it") == nested_lists(64)


def test_document_of_more_than_16_mib_is_not_parsed() -> None:
    with pytest.raises(LimitExceededError):
        parse_json(b" " * (MAX_DOCUMENT_BYTES + 1), what="it")


def test_number_that_overflows_is_refused_when_it_is_made_canonical() -> None:
    assert [where for where, _ in problems_of(parse_json(b'{"a": 1e999}', what="it"))] == ["/a"]
