"""Text that equals ``JSON.stringify(value, null, 2)``; every expectation is what Node printed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.pilots.testing_os.ecmascript import json_text, number_text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (100.0, "100"),
        (-1.5, "-1.5"),
        (0.1 + 0.2, "0.30000000000000004"),
        (0.000001, "0.000001"),
        (1e-7, "1e-7"),
        (1.23e-18, "1.23e-18"),
        (5e-324, "5e-324"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1e300, "1e+300"),
        (2**53 - 1, "9007199254740991"),
        (123456789012345680000, "123456789012345680000"),
        (12345678901234567890, "12345678901234567000"),
    ],
)
def test_a_number_is_printed_as_javascript_prints_it(number, text):
    assert number_text(number) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_printed_number_is_the_number(number):
    assert float(number_text(number)) == number


def test_json_is_indented_and_not_escaped_beyond_need():
    value = {"a": [], "b": {}, "c": [1, {"d": None}], "é\u2028": 'q" \u0007 \x7f 😀', "t": True}

    text = (
        '{\n  "a": [],\n  "b": {},\n  "c": [\n    1,\n    {\n      "d": null\n    }\n  ],\n'
        '  "é\u2028": "q\\" \\u0007 \x7f 😀",\n  "t": true\n}'
    )
    assert json_text(value) == text


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda below: st.lists(below) | st.dictionaries(st.text(), below),
)


@given(_JSON)
def test_python_indents_the_same_where_numbers_are_integers(value):
    assert json_text(value) == json.dumps(value, indent=2, ensure_ascii=False)
