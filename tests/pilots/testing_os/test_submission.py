"""Reading what arrives: bounded, strict, and kept as it came."""

from __future__ import annotations

import json

import pytest

from artifactstore.errors import InvalidRequestError, LimitExceededError
from artifactstore.pilots.testing_os.faults import SubmissionInvalidError
from artifactstore.pilots.testing_os.profiles import DEFAULT, V1_1
from artifactstore.pilots.testing_os.submission import parse_submission, receive, submission_of
from tests.pilots.testing_os.judging import judge, submission


def test_the_bytes_are_kept_as_they_came():
    data = b' {"b": 1.0,\n"a": 2} '

    received = parse_submission(data)

    assert received.data == data
    assert received.value == {"b": 1.0, "a": 2}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not json",
        b"{",
        b"{'a': 1}",
        b'{"a": 1} {"b": 2}',
        b"\xef\xbb\xbf{}",
        b'"\xff"',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e400}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": "\\ud800"}',
        b'{"\\udc00": 1}',
        b'"{not json"',
        b"[" * 10_000,
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"[" * 65 + b"]" * 65,
    ],
    ids=lambda data: repr(data[:20]),
)
def test_what_cannot_be_kept_is_refused_with_a_word(data):
    with pytest.raises(SubmissionInvalidError) as refused:
        parse_submission(data)

    assert refused.value.message
    assert refused.value.hint


def test_ten_megabytes_are_refused_before_they_are_read():
    with pytest.raises(LimitExceededError, match="10485760 bytes, more than 8388608"):
        parse_submission(b'{"notes": "' + b"x" * (10 * 1024 * 1024 - 13) + b'"}')


def test_a_repeated_key_is_refused():
    with pytest.raises(SubmissionInvalidError, match="'overall_verdict' stands twice"):
        parse_submission(b'{"overall_verdict": "fail", "a": 1, "overall_verdict": "pass"}')


def test_in_profile_1_1_the_last_of_equal_keys_wins_in_the_place_of_the_first():
    received = parse_submission(b'{"a": 1, "b": 2, "a": 3}', last_key_wins=V1_1.last_key_wins)

    assert json.dumps(received.value) == '{"a": 3, "b": 2}'
    assert not DEFAULT.last_key_wins


def test_a_submission_within_a_string_is_read_once_more():
    data = json.dumps(json.dumps(submission())).encode()

    received = parse_submission(data)

    assert received.value == submission()
    assert received.data == data


def test_a_string_within_a_string_within_a_string_is_only_a_string():
    received = parse_submission(json.dumps(json.dumps(json.dumps({}))).encode())

    assert isinstance(received.value, str)


def test_large_integers_are_the_doubles_they_are_to_every_reader():
    assert parse_submission(b"[12345678901234567890, 9007199254740991]").value == [1.2345678901234567e19, 2**53 - 1]


def test_a_value_is_received_as_bytes_that_say_the_same():
    received = receive({"é": 1})

    assert json.loads(received.data) == received.value == {"é": 1}


def test_the_typed_value_says_what_is_judged_by():
    typed = submission_of(submission())

    assert typed.repo == "mcp-tool-shop-org/golden"
    assert typed.surfaces == ("cli",)
    assert typed.ref.commit_sha == "c5d6c4e0000000000000000000000000deadbeef"
    assert [check.kind for check in typed.ci_checks or ()] == ["test"]
    assert typed.scenario_results[0].evidence_kinds == ("log",)


@pytest.mark.parametrize("value", [None, [], "hello", 5, True])
def test_what_is_no_object_is_rejected_and_never_filed(value):
    found = judge(value)

    assert found.record["verification"]["rejection_reasons"] == [
        "submission-malformed: submission is null or not an object"
    ]
    assert (found.path, found.external_id, found.verdict) == (None, None, None)


def test_an_error_of_reading_is_the_callers():
    assert issubclass(SubmissionInvalidError, InvalidRequestError)
