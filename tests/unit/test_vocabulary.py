"""Whose a word is, and whether it is registered."""

from __future__ import annotations

import pytest

from artifactstore.domain.vocabulary import (
    CORE,
    IdentifierKind,
    LocationKind,
    Scoping,
    Words,
    anything,
    as_given,
    identifier_kind,
    is_role,
    is_trust_level,
    location_kind,
    owner_of,
)

FILE = LocationKind("file", "A file.")
MESSAGE = LocationKind("mailbox.message", "A message.")
EMAIL = IdentifierKind("email", "An address.")
NICK = IdentifierKind("mailbox.nick", "A nickname.", Scoping.SCOPED)


class Installed:
    """The words of two plug-ins, and what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def words_of(self, plugin: str) -> Words | None:
        self.asked.append(plugin)
        return {
            CORE: Words((FILE,), (EMAIL,), ("author",), ("claimed",)),
            "mailbox": Words((MESSAGE,), (NICK,), ("mailbox.owner",), ("mailbox.signed",)),
        }.get(plugin)


@pytest.mark.parametrize(
    ("word", "owner"),
    [("file", "core"), ("mailbox.message", "mailbox"), ("a.b.c", "a.b"), (".x", "core"), ("x.", "x"), ("", "core")],
)
def test_a_word_belongs_to_the_plugin_before_its_last_dot(word: str, owner: str) -> None:
    assert owner == owner_of(word)


def test_a_registered_word_is_found() -> None:
    words = Installed()

    assert (FILE, MESSAGE) == (location_kind(words, "file"), location_kind(words, "mailbox.message"))
    assert (EMAIL, NICK) == (identifier_kind(words, "email"), identifier_kind(words, "mailbox.nick"))
    assert is_role(words, "author")
    assert is_role(words, "mailbox.owner")
    assert is_trust_level(words, "claimed")
    assert is_trust_level(words, "mailbox.signed")


@pytest.mark.parametrize(
    "word", ["message", "core.file", "mailbox.file", "mailbox", "mailbox.", "FILE", "file ", "other.message", ""]
)
def test_what_nobody_registers_is_no_word(word: str) -> None:
    words = Installed()

    assert (None, None) == (location_kind(words, word), identifier_kind(words, word))
    assert not is_role(words, word)
    assert not is_trust_level(words, word)


def test_a_word_of_one_sort_is_none_of_another() -> None:
    words = Installed()

    assert (None, None) == (location_kind(words, "email"), identifier_kind(words, "file"))
    assert not is_role(words, "claimed")
    assert not is_trust_level(words, "author")


def test_only_the_plugin_that_a_word_belongs_to_is_asked() -> None:
    words = Installed()

    location_kind(words, "mailbox.message")

    assert ["mailbox"] == words.asked


def test_a_kind_that_says_nothing_takes_any_text_as_it_is() -> None:
    assert ("Any Text", None) == (as_given("Any Text"), anything("Any Text"))
    assert (as_given, anything) == (FILE.normalise, FILE.problem)
    assert Scoping.GLOBAL is EMAIL.scoping
