"""Scopes and what a caller may do with them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.domain.access import Caller, Right, Scope, parse_scopes
from artifactstore.domain.package import check_slug
from artifactstore.errors import ForbiddenError, PackageInvalidError, UnauthenticatedError, UsageError
from tests.unit.strategies import slugs

producers = st.sampled_from(["ci", "ci2", "guide-board", "nightly"])
scope_texts = st.one_of(
    st.sampled_from(["read", "admin"]), producers.map("read:{}".format), producers.map("write:{}".format)
)
scope_lists = st.lists(scope_texts, min_size=1, max_size=6)


def caller(*scopes: str) -> Caller:
    return Caller.with_token("ci", parse_scopes(list(scopes)))


def is_slug(text: str) -> bool:
    try:
        check_slug(text, what="it")
    except PackageInvalidError:
        return False
    return True


# scopes


@given(producer=slugs)
def test_a_scope_is_written_as_it_was_read(producer: str) -> None:
    for text in ("read", f"read:{producer}", f"write:{producer}", "admin"):
        assert str(Scope.parse(text)) == text


def test_the_four_forms_are_values() -> None:
    scopes = [Scope.parse(text) for text in ("read", "read:ci", "write:ci", "admin")]

    assert [Scope(Right.READ), Scope(Right.READ, "ci"), Scope(Right.WRITE, "ci"), Scope(Right.ADMIN)] == scopes


@pytest.mark.parametrize(
    "text",
    [
        "", "write", "Read", "READ", " read", "read ", "read:", "write:", "admin:", "admin:ci", "read:*", "write:*",
        "*", "read:CI", "read:ci:", "read:ci:ci", "read: ci",
        "write:ci,read", "read read", "write:-ci", "read:" + "a" * 65,
        "read:ci\n", "read\n", "write:c\N{CYRILLIC SMALL LETTER I}", "delete:ci", ":ci", ":",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_the_four_forms(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Scope.parse(text)

    assert caught.value.hint == "A scope is read, read:<producer>, write:<producer> or admin."


@given(text=st.one_of(st.text(), st.text().map("read:{}".format), st.text().map("write:{}".format)))
def test_a_text_is_a_scope_only_in_one_of_the_four_forms(text: str) -> None:
    right, _, producer = text.partition(":")
    is_scope = text in {"read", "admin"} or (right in {"read", "write"} and is_slug(producer))

    try:
        Scope.parse(text)
    except UsageError:
        assert not is_scope
    else:
        assert is_scope


@given(texts=scope_lists)
def test_scopes_come_sorted_and_each_once(texts: list[str]) -> None:
    assert sorted(set(texts)) == [str(scope) for scope in parse_scopes(texts)]


def test_no_scope_at_all_is_refused() -> None:
    with pytest.raises(UsageError, match="needs a scope"):
        parse_scopes([])


# what they allow


@given(texts=scope_lists, producer=producers)
def test_a_caller_may_what_one_of_its_scopes_says_and_no_more(texts: list[str], producer: str) -> None:
    asking, held = caller(*texts), set(texts)

    assert asking.can_read(producer) == bool(held & {"admin", "read", f"read:{producer}", f"write:{producer}"})
    assert asking.can_write(producer) == bool(held & {"admin", f"write:{producer}"})
    assert asking.reads_everything == bool(held & {"admin", "read"})
    assert asking.is_admin == ("admin" in held)


@given(texts=scope_lists, more=scope_texts, producer=producers)
def test_one_more_scope_never_takes_anything_away(texts: list[str], more: str, producer: str) -> None:
    before, after = caller(*texts), caller(*texts, more)

    assert before.can_read(producer) <= after.can_read(producer)
    assert before.can_write(producer) <= after.can_write(producer)
    assert before.reads_everything <= after.reads_everything
    assert before.is_admin <= after.is_admin


@given(texts=scope_lists, more=scope_texts)
def test_a_caller_given_one_more_scope_is_otherwise_the_same(texts: list[str], more: str) -> None:
    assert caller(*texts, more) == caller(*texts).with_scope(Scope.parse(more))


@given(texts=scope_lists, producer=producers)
def test_whoever_may_write_may_read(texts: list[str], producer: str) -> None:
    assert caller(*texts).can_write(producer) <= caller(*texts).can_read(producer)


@given(texts=scope_lists, producer=producers)
def test_requiring_is_asking(texts: list[str], producer: str) -> None:
    asking = caller(*texts)

    assert asking.can_write(producer) == passes(lambda: asking.require_write(producer))
    assert asking.is_admin == passes(asking.require_admin)
    assert asking.reads_everything == passes(asking.require_read_everything)


def passes(requirement) -> bool:  # type: ignore[no-untyped-def]
    try:
        requirement()
    except ForbiddenError:
        return False
    return True


@given(texts=scope_lists, producer=producers)
def test_the_description_says_the_same(texts: list[str], producer: str) -> None:
    asking = caller(*texts)

    can = asking.describe()

    assert asking.can_read(producer) == (can["read"] == "*" or producer in can["read"])  # type: ignore[operator]
    assert asking.can_write(producer) == (can["write"] == "*" or producer in can["write"])  # type: ignore[operator]
    assert asking.is_admin == can["admin"]


def test_a_description_is_a_document() -> None:
    assert {"read": ["a", "b"], "write": ["b"], "admin": False} == caller("write:b", "read:a").describe()
    assert {"read": "*", "write": ["b"], "admin": False} == caller("write:b", "read").describe()
    assert {"read": "*", "write": "*", "admin": True} == caller("admin").describe()


def test_producers_are_none_where_they_are_everyone() -> None:
    assert ("a", "b") == caller("write:b", "read:b", "read:a").readable_producers
    assert None is caller("read", "read:a").readable_producers
    assert ("b",) == caller("read", "write:b").writable_producers
    assert None is caller("admin").readable_producers
    assert None is caller("admin").writable_producers


# what is missing is named


def test_a_token_that_lacks_a_scope_is_told_which() -> None:
    reader = caller("read:ci")

    with pytest.raises(ForbiddenError, match="token ci lacks the scope 'write:ci'"):
        reader.require_write("ci")
    with pytest.raises(ForbiddenError, match="lacks the scope 'admin'"):
        reader.require_admin()
    with pytest.raises(ForbiddenError, match="lacks the scope 'read'"):
        reader.require_read_everything()


# nobody in particular


def test_without_a_token_nothing_is_allowed_that_is_not_open_to_everyone() -> None:
    stranger, reader = Caller.anonymous(may_read=False), Caller.anonymous(may_read=True)

    assert {"read": [], "write": [], "admin": False} == stranger.describe()
    assert {"read": "*", "write": [], "admin": False} == reader.describe()
    assert "anonymous" == stranger.actor == reader.actor


@pytest.mark.parametrize("may_read", [True, False])
def test_a_write_without_a_token_asks_for_one(may_read: bool) -> None:
    stranger = Caller.anonymous(may_read=may_read)

    with pytest.raises(UnauthenticatedError, match="a token with the scope 'write:ci'"):
        stranger.require_write("ci")
    with pytest.raises(UnauthenticatedError, match="a token with the scope 'admin'"):
        stranger.require_admin()


def test_a_token_named_anonymous_is_not_nobody() -> None:
    named = Caller.with_token("anonymous", parse_scopes(["read"]))

    assert (False, "token:anonymous") == (named.is_anonymous, named.actor)
    with pytest.raises(ForbiddenError):
        named.require_admin()
