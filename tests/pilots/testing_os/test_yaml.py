"""YAML 1.2 as js-yaml 4 reads it; every answer of the first table is one it gave, or says why not."""

from __future__ import annotations

import os

import pytest

from artifactstore.errors import LimitExceededError
from artifactstore.pilots.testing_os.faults import YamlInvalidError
from artifactstore.pilots.testing_os.yaml_core import MAX_YAML_BYTES, load_yaml


def read(text):
    return load_yaml(text.encode() if isinstance(text, str) else text, what="the policy")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[yes, no, on, off, y, n]", ["yes", "no", "on", "off", "y", "n"]),
        ("[true, True, TRUE, tRUE]", [True, True, True, "tRUE"]),
        ("[~, null, Null, NULL, nULL]", [None, None, None, None, "nULL"]),
        ("[010, 0o10, 0x1F, 0b101, +12, -0x1f]", [10, 8, 31, 5, 12, -31]),
        ("[0o9, 0x, 0b, 1_000, 0_1, _1]", ["0o9", "0x", "0b", "1_000", "0_1", "_1"]),
        ("[1e3, 1., .5, 1.5e+3, 0123.5]", [1000.0, 1.0, 0.5, 1500.0, 123.5]),
        ("[-.5, +.5, 1e, 0.1_5]", ["-.5", "+.5", "1e", "0.1_5"]),
        ("[1:30, 190:20:30.15, 2026-6-1, =]", ["1:30", "190:20:30.15", "2026-6-1", "="]),
        ("'2026-06-01'", "2026-06-01"),
        ("2026-06-01", {"timestamp": "2026-06-01"}),
        ("2026-06-01T10:00:00Z", {"timestamp": "2026-06-01T10:00:00Z"}),
        ("12345678901234567890", 1.2345678901234567e19),
        ("", None),
        ("# only a comment", None),
        ("--- 1\n...", 1),
        ("\ufeffa: 1", {"a": 1}),
        ("a:", {"a": None}),
        ("{1: a, true: b, null: c}", {"1": "a", "true": "b", "null": "c"}),
        ("[!!str 5, !!int '5', !!float 3, ! 5]", ["5", 5, 3, "5"]),
        ('"\\u00e9\\/\\x41 \\ud83d\\ude00"', "é/A 😀"),
        ("http://x/y#z", "http://x/y#z"),
        ("x: &a {p: 1, q: 2}\ny: {<<: *a, q: 3}", {"x": {"p": 1, "q": 2}, "y": {"p": 1, "q": 3}}),
        ("x: &a {p: 1, q: 2}\ny: {q: 3, <<: *a}", {"x": {"p": 1, "q": 2}, "y": {"p": 1, "q": 3}}),
        (
            "x: &a {p: 1}\nz: &b {p: 2, r: 3}\ny: {<<: [*a, *b]}",
            {"x": {"p": 1}, "z": {"p": 2, "r": 3}, "y": {"p": 1, "r": 3}},
        ),
        ("'<<': {a: 1}\nb: 2", {"<<": {"a": 1}, "b": 2}),
        ("a: &x 1\nb: &x 2\nc: *x", {"a": 1, "b": 2, "c": 2}),
    ],
)
def test_a_text_means_what_version_1_2_says(text, value):
    assert read(text) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 2", "the key 'a' twice"),
        ("1: a\n'1': b", "the key '1' twice"),
        ("1: a\n1.0: b", "the key '1' twice"),
        ("a: [unclosed", "not valid YAML"),
        ("a: b: c", "not valid YAML"),
        ("\ta: 1", "not valid YAML"),
        ("a: \x00", "not valid YAML"),
        ("--- 1\n--- 2", "a second document"),
        ("a: *nope", "anchored nowhere above"),
        ("&a [*a]", "stands within itself"),
        ("y: {<<: 5}", "a merge of something that is no mapping"),
        ("y: {<<: [1]}", "a merge of something that is no mapping"),
        ("? [a]\n: 1", "a key that is no scalar"),
        ("!!python/object/apply:os.system [ls]", "the tag"),
        ("!!binary aGk=", "the tag"),
        ("!mine x", "the tag"),
        ("!!int x", "is no int"),
        ("!!bool yes", "is no bool"),
        (".inf", "JSON does not have"),
        (".NaN", "JSON does not have"),
        ("1e400", "larger than any"),
        ("9" * 5000, "larger than any"),
        ("0x" + "f" * 5000, "larger than any"),
        ('"\\ud800"', "an unpaired surrogate"),
        ("a: x\u2028b: 2", "U+2028"),
        (b"\xff", "not UTF-8"),
        ("%YAML 2.0\n---\na: 1", "not valid YAML"),
    ],
)
def test_what_is_no_such_yaml_is_refused_with_a_word(text, said):
    with pytest.raises(YamlInvalidError) as refused:
        read(text)

    assert said in refused.value.message
    assert refused.value.message.startswith("the policy ")


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 10_000,
        b"{a: " * 10_000,
        b"- " * 10_000,
        b"a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
        + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 10)),
        b"a0: &a0 {x: 1}\n"
        + b"".join(b"a%d: &a%d {<<: [%s]}\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 10)),
        b"a0: &a0 [[],[],[],[],[],[],[],[],[],[]]\n"
        + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 10)),
        b"[" + b"1," * 60_000 + b"1]",
        b"x: &a " + b"t" * 100_000 + b"\ny: [" + b"*a," * 100 + b"1]",
        b"x: &a [" + b"t" * 100_000 + b"]\ny: [" + b"*a," * 100 + b"1]",
        b"a" * (MAX_YAML_BYTES + 1),
    ],
    ids=[
        *("deep lists", "deep maps", "deep dashes", "alias bomb", "merge bomb", "empty bomb", "many values"),
        *("text bomb", "text bomb in lists", "large"),
    ],
)
def test_a_bomb_is_refused_before_it_goes_off(text):
    with pytest.raises(LimitExceededError, match="the policy"):
        read(text)


def test_a_mebibyte_is_read_as_the_original_reads_definitions():
    text = "description: |\n" + "  a line of text\n" * 60_000 + "success_criteria: {required_steps: [one]}\n"

    assert len(text) > 1_000_000
    assert read(text)["success_criteria"] == {"required_steps": ["one"]}


_SIZE = MAX_YAML_BYTES if os.environ.get("LONG") else 8 * 1024
"""Of the texts below; whatever grows faster than they do shows in the long round."""


@pytest.mark.parametrize(
    "piece",
    [
        b"[", b"[ ", b"{a: ", b"- ", b"? ", b": ", b",", b"\t", b"\n", b" ", b"a\n", b"- 1\n", b"- &a 1\n", b"- *a\n",
        b"- !!str a\n", b"---\n", b"...\n", b"# c\n", b"%TAG !e! t:\n", b"|\n", b"\"", b"'", b"\\x41", b"9", b"word ",
        b"x:", b"<<: *a\n", b"\xef\xbb\xbf", b"\xc3\xa9", b"\xff", b"\0", b"&", b"*", b"!", b"!!", b"%", b"@", b"`",
    ],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("before", [b"", b"a: ", b'a: "', b"x: &a {k: 1}\ny:\n"], ids=["", "plain", "quoted", "nested"])
def test_much_of_anything_is_a_value_or_an_error_of_few_words(before, piece):
    text = before + piece * (_SIZE // len(piece))

    try:
        said = str(read(text[:_SIZE]) and "")
    except (YamlInvalidError, LimitExceededError) as refused:
        said = refused.message

    assert len(said) < 500


def test_merges_of_one_mapping_into_a_growing_one_are_read():
    text = "x: &a {p: 1}\ny:\n" + "".join(f"  k{number}: 1\n  <<: *a\n" for number in range(8_000))

    assert len(read(text)["y"]) == 8_001
