"""The rules for logical paths."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.domain.paths import MAX_PATH_BYTES, case_collisions, check_paths, path_problem
from artifactstore.errors import PathInvalidError, Problem
from tests.unit.strategies import paths

characters = st.sampled_from(
    ["a", "B", "/", ".", "..", "\\", ":", "\x00", "\x7f", "\u0085", "é", "e\u0301", "\ud800", " ", "-"]
)
rough_paths = st.lists(characters, max_size=8).map("".join)


def problems_of(paths: list[str]) -> tuple[Problem, ...]:
    with pytest.raises(PathInvalidError) as caught:
        check_paths(paths)
    return caught.value.problems


def breaks_a_rule(path: str) -> bool:
    """The rules once more, as plainly as they can be said."""
    if any("\ud800" <= character <= "\udfff" for character in path):
        return True
    return (
        len(path.encode()) > MAX_PATH_BYTES
        or unicodedata.normalize("NFC", path) != path
        or any(ord(character) < 32 or 127 <= ord(character) < 160 for character in path)
        or "\\" in path
        or (path[:1].isascii() and path[:1].isalpha() and path[1:2] == ":")
        or any(segment in {"", ".", ".."} for segment in path.split("/"))
    )


@pytest.mark.parametrize(
    "path",
    [
        "file",
        "a/b/c.txt",
        ".hidden/.file",
        "...",
        "a..b/..c/d..",
        "-rf",
        "~user",
        " spaces at both ends ",
        "trailing. ",
        "con/aux/nul",
        ".git/config",
        "100%",
        "a:b/c:d".replace("a:b", "ab:c"),
        "q?*<>|\"'`$",
        "Übersicht/日本語/🗂",
        "line\u2028separator",
        "x" * 1024,
        "ü" * 512,
    ],
)  # fmt: skip
def test_path_is_legal(path: str) -> None:
    assert path_problem(path) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", "has an empty segment"),
        ("/", "is not relative"),
        ("/etc/passwd", "is not relative"),
        ("C:/windows", "is not relative"),
        ("c:file", "is not relative"),
        ("a//b", "has an empty segment"),
        ("a/", "has an empty segment"),
        (".", "has a . or .. segment"),
        ("..", "has a . or .. segment"),
        ("a/../b", "has a . or .. segment"),
        ("a/./b", "has a . or .. segment"),
        ("../a", "has a . or .. segment"),
        ("a\\b", "has a backslash"),
        ("nul\x00", "has a control character"),
        ("tab\t", "has a control character"),
        ("line\nfeed", "has a control character"),
        ("delete\x7f", "has a control character"),
        ("next\x85line", "has a control character"),
        ("e\u0301", "is not in Unicode normalisation form C"),
        ("\u212b", "is not in Unicode normalisation form C"),
        ("half\ud800", "is not valid UTF-8"),
        ("caf\udce9", "is not valid UTF-8"),
        ("x" * 1025, "is 1025 bytes long, more than 1024"),
        ("ü" * 513, "is 1026 bytes long, more than 1024"),
    ],
)
def test_path_breaks_a_rule(path: str, expected: str) -> None:
    assert path_problem(path) == expected


@given(rough_paths)
def test_problem_is_found_exactly_where_a_rule_is_broken(path: str) -> None:
    assert (path_problem(path) is not None) == breaks_a_rule(path)


@given(paths)
def test_paths_of_legal_segments_are_legal(path: str) -> None:
    assert path_problem(path) is None or len(path.encode()) > MAX_PATH_BYTES


def test_good_paths_pass_together() -> None:
    check_paths(["a", "b/c", "b/d", "B/C", "a.b", "ab"])


def test_all_offenders_are_named_at_once() -> None:
    found = problems_of(["/a", "fine", "b/../c", "x", "x/y", "twice", "twice", "nul\x00"])

    assert found == (
        ("'/a'", "is not relative"),
        ("'b/../c'", "has a . or .. segment"),
        ("'nul\\x00'", "has a control character"),
        ("'twice'", "stands twice"),
        ("'x'", "is both a file and a directory"),
    )


@pytest.mark.parametrize("paths", [["a", "a/b"], ["a/b/c/d", "a/b"], ["a/b", "a", "a.txt"]])
def test_path_that_is_another_ones_parent_is_named(paths: list[str]) -> None:
    ((_, what),) = problems_of(paths)

    assert what == "is both a file and a directory"


@pytest.mark.parametrize("paths", [["a", "ab/c"], ["a", "a.b/c"], ["a/b", "a/bc", "a/b c"]])
def test_path_that_only_begins_like_another_passes(paths: list[str]) -> None:
    check_paths(paths)


def test_message_counts_the_offenders() -> None:
    with pytest.raises(PathInvalidError, match=r"^2 paths cannot be stored$"):
        check_paths(["/a", "/b"])
    with pytest.raises(PathInvalidError, match=r"^1 path cannot be stored$"):
        check_paths(["/a", "b"])


def test_paths_that_differ_in_case_are_grouped() -> None:
    assert case_collisions(["README", "a", "Readme", "straße", "STRASSE"]) == [
        ["README", "Readme"],
        ["straße", "STRASSE"],
    ]
