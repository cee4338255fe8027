"""What sources and parties may be called: location kinds, identifier kinds, roles and levels of trust.

Every word belongs to a plug-in. A name with a dot is ``<plug-in>.<word>``; a name without one belongs to the plug-in
``core``. So a word's plug-in is known by its name, only that one is loaded for it, and no two can register the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

CORE = "core"
"""The plug-in that owns the words without a dot."""


class Scoping(Enum):
    """Whether an identifier's value says by itself whom it names."""

    GLOBAL = "global"
    """It does: an e-mail address. No scope may be given."""
    SCOPED = "scoped"
    """Only within a scope, which must be given: the name of a service of some host."""


def as_given(text: str) -> str:
    """The normaliser of what has one way to be written."""
    return text


def anything(text: str) -> str | None:  # noqa: ARG001
    """The validator of what may be any text."""
    return None


@dataclass(frozen=True, slots=True)
class LocationKind:
    """A kind of place that sources are at.

    ``normalise`` gives the one way to write a path id: what it makes equal is one source. ``problem`` answers what is
    wrong with a normalised path id, or None.
    """

    name: str
    summary: str
    normalise: Callable[[str], str] = as_given
    problem: Callable[[str], str | None] = anything


@dataclass(frozen=True, slots=True)
class IdentifierKind:
    """A kind of name that parties go by; ``normalise`` and ``problem`` as of a location kind, for the value."""

    name: str
    summary: str
    scoping: Scoping = Scoping.GLOBAL
    normalise: Callable[[str], str] = as_given
    problem: Callable[[str], str | None] = anything


@dataclass(frozen=True, slots=True)
class Words:
    """What one plug-in registers. Names without a dot are the core's alone."""

    location_kinds: tuple[LocationKind, ...] = ()
    identifier_kinds: tuple[IdentifierKind, ...] = ()
    roles: tuple[str, ...] = ()
    trust_levels: tuple[str, ...] = ()


class Vocabulary(Protocol):
    """All the words of a host."""

    def words_of(self, plugin: str) -> Words | None:
        """What a plug-in registers; None if none of that name is installed."""


def owner_of(word: str) -> str:
    """The plug-in that a word belongs to."""
    return word.rpartition(".")[0] or CORE


def location_kind(vocabulary: Vocabulary, name: str) -> LocationKind | None:
    """The registered kind; None if there is none."""
    words = vocabulary.words_of(owner_of(name)) or Words()
    return next((kind for kind in words.location_kinds if kind.name == name), None)


def identifier_kind(vocabulary: Vocabulary, name: str) -> IdentifierKind | None:
    """The registered kind; None if there is none."""
    words = vocabulary.words_of(owner_of(name)) or Words()
    return next((kind for kind in words.identifier_kinds if kind.name == name), None)


def is_role(vocabulary: Vocabulary, name: str) -> bool:
    """Whether a role of this name is registered."""
    return name in (vocabulary.words_of(owner_of(name)) or Words()).roles


def is_trust_level(vocabulary: Vocabulary, name: str) -> bool:
    """Whether a level of trust of this name is registered."""
    return name in (vocabulary.words_of(owner_of(name)) or Words()).trust_levels
