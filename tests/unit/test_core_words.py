"""The words that every plug-in may use: each has one way to be written, whatever way it is given."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from artifactstore.plugins.core import (
    PLUGIN,
    email_problem,
    file_problem,
    normalise_email,
    normalise_file,
    normalise_url,
    url_problem,
    without_dots,
)
from tests.unit.strategies import texts

if TYPE_CHECKING:
    from collections.abc import Callable

PIECES = (
    "http", "HTTPS", "file", "FILE", "localhost", "h", "Example.ORG", "[::1]", "[", "]", ":", ":80", ":443", ":08",
    ":99999", ":x", "/", "//", ".", "..", "/./", "/../", "a", "A", "b c", "é", "日", "%", "%41", "%2e", "%2E", "%2f",
    "%c3%a9", "%zz", "%%34%31", "?", "#", "&=", "@", "me:secret@", "\\", '"', "<", "~", "\t", "\n", " ", "İ", "Σ", "ß",
)  # fmt: skip
awkward = st.lists(st.sampled_from(PIECES), max_size=9).map("".join)
addresses = st.tuples(st.sampled_from(["http", "https", "File", "ftp", "x", ""]), awkward).map("://".join)
anything = texts | awkward | addresses

NORMALISERS: dict[str, tuple[Callable[[str], str], Callable[[str], str | None]]] = {
    "url": (normalise_url, url_problem),
    "file": (normalise_file, file_problem),
    "email": (normalise_email, email_problem),
}


@pytest.mark.parametrize("name", NORMALISERS)
@given(anything)
@example("%%34%31")
@example("http://h/%%34%31")
@example("http://%%34%31")
@example("http://h:/?")
@example("file:")
@example("//")
def test_what_is_normal_stays_as_it_is(name: str, text: str) -> None:
    normalise, problem = NORMALISERS[name]

    once = normalise(text)

    assert once == normalise(once)
    assert problem(once) is None or problem(once)


@given(addresses)
def test_a_url_that_is_taken_is_one_as_rfc_3986_has_it(text: str) -> None:
    url = normalise_url(text)

    unreserved, sub_delims, escape = r"a-zA-Z0-9._~\-", r"!$&'()*+,;=", "%[0-9A-F]{2}"
    characters = rf"(?:[{unreserved}{sub_delims}:@]|{escape})"
    host = rf"(?:\[[0-9a-f:.]+\]|(?:[a-z0-9._~{sub_delims}-]|{escape})+)"
    grammar = rf"[a-z][a-z0-9+.-]*://{host}(?::[0-9]{{1,5}})?(?:/{characters}*)+(?:\?(?:{characters}|[/?])*)?"
    assert url_problem(url) or re.fullmatch(grammar, url)


# RFC 3986


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/b/c/./../../g", "/a/g"), ("mid/content=5/../6", "mid/6"),  # section 5.2.4
        ("/b/c/g", "/b/c/g"), ("/b/c/./g", "/b/c/g"), ("/b/c/g/", "/b/c/g/"), ("/b/c/g;x", "/b/c/g;x"),  # 5.4.1
        ("/b/c/.", "/b/c/"), ("/b/c/./", "/b/c/"), ("/b/c/..", "/b/"), ("/b/c/../", "/b/"), ("/b/c/../g", "/b/g"),
        ("/b/c/../..", "/"), ("/b/c/../../", "/"), ("/b/c/../../g", "/g"),
        ("/b/c/../../../g", "/g"), ("/b/c/../../../../g", "/g"), ("/./g", "/g"), ("/../g", "/g"),  # 5.4.2
        ("/b/c/g.", "/b/c/g."), ("/b/c/.g", "/b/c/.g"), ("/b/c/g..", "/b/c/g.."), ("/b/c/..g", "/b/c/..g"),
        ("/b/c/./../g", "/b/g"), ("/b/c/./g/.", "/b/c/g/"), ("/b/c/g/./h", "/b/c/g/h"), ("/b/c/g/../h", "/b/c/h"),
        ("/b/c/g;x=1/./y", "/b/c/g;x=1/y"), ("/b/c/g;x=1/../y", "/b/c/y"),
    ],
)  # fmt: skip
def test_dot_segments_are_removed_as_in_the_examples_of_rfc_3986(path: str, expected: str) -> None:
    assert expected == without_dots(path)


def removed_step_by_step(path: str) -> str:
    """Section 5.2.4 as it is written there, rules A to E."""
    left, done = path, ""
    while left:
        if left.startswith(("../", "./")):
            left = left.partition("/")[2]
        elif left.startswith("/./") or left == "/.":
            left = "/" + left[3:]
        elif left.startswith("/../") or left == "/..":
            left, done = "/" + left[4:], done.rpartition("/")[0]
        elif left in {".", ".."}:
            left = ""
        else:
            end = left.find("/", 1)
            end = len(left) if end < 0 else end
            left, done = left[end:], done + left[:end]
    return done


@given(st.lists(st.sampled_from(["/", "/", "..", ".", "a", "b.", "..."]), max_size=12).map("".join))
def test_dot_segments_are_removed_as_the_steps_of_rfc_3986_do(path: str) -> None:
    assert removed_step_by_step(path) == without_dots(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("eXAMPLE://a/./b/../b/%63/%7bfoo%7d", "example://a/b/c/%7Bfoo%7D"),  # section 6.2.2
        ("HTTP://www.EXAMPLE.com/", "http://www.example.com/"),  # 6.2.2.1
        ("http://example.com/%3a", "http://example.com/%3A"),
        ("http://example.com/%7Euser", "http://example.com/~user"),  # 6.2.2.2
        ("http://example.com", "http://example.com/"),  # 6.2.3
        ("http://example.com:/", "http://example.com/"),
        ("http://example.com:80/", "http://example.com/"),
        ("https://example.com:443", "https://example.com/"),
        ("https://example.com:80", "https://example.com:80/"),
        ("http://example.com:08080/", "http://example.com:8080/"),
        ("http://ex%41mple.com/", "http://example.com/"),
        ("http://[2001:DB8::7]:80/x", "http://[2001:db8::7]/x"),
        ("http://h/a/%2e%2E/b", "http://h/b"),
        ("http://h/a%2Fb", "http://h/a%2Fb"),
        ("http://h/?", "http://h/?"),
        ("http://h?q=%7e", "http://h/?q=~"),
        ("http://h/a#part", "http://h/a"),
        ("http://h/a b/é?ü=[1]", "http://h/a%20b/%C3%A9?%C3%BC=%5B1%5D"),
        ("http://h/50%", "http://h/50%25"),
        ("  http://h/a  ", "http://h/a"),
    ],
)  # fmt: skip
def test_a_url_is_written_in_one_way(text: str, expected: str) -> None:
    assert (expected, None) == (normalise_url(text), url_problem(normalise_url(text)))


@pytest.mark.parametrize(
    "text",
    [
        "", "example.org/a", "mailto:jane@example.org", "urn:x:y", "http:/a", "http:///a", "//h/a", "1http://h/", "://h",
        "http://h:99999/", "http://h:-1/", "http://h:8o/", "http://h:٣/", "http://[::1/", "http://::1/", "http://[h]/",
        "http://a b/", "http://exämple.org/", "http://h%/", "http://h\\a/", "http://:80/",
    ],
)  # fmt: skip
def test_what_is_no_url_is_said_to_be_none(text: str) -> None:
    assert url_problem(normalise_url(text))


@pytest.mark.parametrize("text", ["http://me@h/", "http://me:secret@h/", "http://:@h/", "http://@h/"])
def test_a_url_with_who_reads_it_is_refused(text: str) -> None:
    assert "must not hold a user name or password" == url_problem(normalise_url(text))


# RFC 8089


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file:///path/to/file", "file:///path/to/file"),  # section 2 and appendix B
        ("file:/path/to/file", "file:///path/to/file"),
        ("file://localhost/path/to/file", "file:///path/to/file"),
        ("file://host.example.com/path/to/file", "file://host.example.com/path/to/file"),
        ("FILE://Host.Example.COM/path", "file://host.example.com/path"),
        ("/path/to/file", "file:///path/to/file"),
        ("/", "file:///"),
        ("/srv/a b/é", "file:///srv/a%20b/%C3%A9"),
        ("file:///srv/a%20b/%c3%A9", "file:///srv/a%20b/%C3%A9"),
        ("/what?#%", "file:///what%3F%23%25"),
        ("/srv//a/./b/", "file:///srv/a/b"),
        ("///srv/a", "file:///srv/a"),
        ("/~jane/x", "file:///~jane/x"),
        ("file:///%ff", "file:///%FF"),
        ("/c:/x", "file:///c:/x"),
    ],
)
def test_a_file_is_written_in_one_way(text: str, expected: str) -> None:
    assert (expected, None) == (normalise_file(text), file_problem(normalise_file(text)))


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "srv/a", "a", "./a", "file:", "file:a/b", "file:c:/path", "file://host", "file://", "//host/share",
        "file:////host/share", "file:///a?b", "file:///a#b", "http://h/a", "/a/../b", "file:///a/%2e%2E/b", "/..",
        "file:///a%00b", "file://h:80/a", "file://me@h/a", "file://h h/a",
    ],
)  # fmt: skip
def test_what_is_no_absolute_file_is_said_to_be_none(text: str) -> None:
    assert file_problem(normalise_file(text))


# parties


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jane@example.org", "jane@example.org"),
        ("Jane.Doe+ci@EXAMPLE.org", "Jane.Doe+ci@example.org"),
        (" jane@example.org ", "jane@example.org"),
        ("jörg@exämple.org", "jörg@exämple.org"),
    ],
)
def test_the_host_of_an_address_has_no_case_and_who_it_is_there_has(text: str, expected: str) -> None:
    assert (expected, None) == (normalise_email(text), email_problem(normalise_email(text)))


@pytest.mark.parametrize(
    "text",
    ["", "jane", "@", "jane@", "@example.org", "a@b@c", "Jane <jane@example.org>", "<jane@example.org>", "a b@c",
     "a@b c", "a@b,c@d", "mailto:a@b", "a" * 65 + "@b", "a@" + "b" * 256],
)  # fmt: skip
def test_what_is_not_one_address_is_refused(text: str) -> None:
    assert email_problem(normalise_email(text))


def test_the_words_of_the_core_have_no_dot() -> None:
    words = PLUGIN.words()

    kinds = [kind.name for kind in (*words.location_kinds, *words.identifier_kinds)]
    assert ["file", "url", "email", "service", "person"] == kinds
    assert not [word for word in (*kinds, *words.roles, *words.trust_levels) if "." in word]
