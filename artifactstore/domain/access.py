"""Who may do what: scopes, and the caller that has some.

A caller may only ever add up what its scopes allow: ``write:<producer>`` includes ``read:<producer>``, and ``admin``
includes everything. How a token proves to be a caller's is not decided here but in ``registry.tokens``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from artifactstore.domain.package import check_slug
from artifactstore.errors import ForbiddenError, PackageInvalidError, UnauthenticatedError, UsageError

if TYPE_CHECKING:
    from artifactstore.domain.instant import Instant

SCOPE_FORMS = "A scope is read, read:<producer>, write:<producer> or admin."
ANONYMOUS = "anonymous"


class Right(StrEnum):
    """What a scope is about."""

    ADMIN = "admin"
    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Scope:
    """One right, over one producer's packages or, without a producer, over all there are."""

    right: Right
    producer: str | None = None

    @classmethod
    def parse(cls, text: str) -> Scope:
        """Read one of the four forms. Raises ``UsageError`` naming them."""
        right, colon, producer = text.partition(":")
        if text in {Right.READ, Right.ADMIN}:
            return cls(Right(text))
        if not colon or right not in {Right.READ, Right.WRITE}:
            raise UsageError(f"there is no scope {text[:80]!r}", hint=SCOPE_FORMS)
        try:
            check_slug(producer, what="the producer")
        except PackageInvalidError as error:
            raise UsageError(f"there is no scope {text[:80]!r}: {error.message}", hint=SCOPE_FORMS) from error
        return cls(Right(right), producer)

    def __str__(self) -> str:
        return self.right.value if self.producer is None else f"{self.right}:{self.producer}"


def parse_scopes(texts: list[str]) -> tuple[Scope, ...]:
    """At least one scope, each once, in the order of their texts. Raises ``UsageError``."""
    scopes = tuple(Scope.parse(text) for text in sorted(set(texts)))
    if not scopes:
        raise UsageError("a token needs a scope", hint=SCOPE_FORMS)
    return scopes


@dataclass(frozen=True, slots=True)
class StaticToken:
    """A token that the settings give, by the hash of its secret."""

    name: str
    scopes: tuple[Scope, ...]
    secret_sha256: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what they may do. What a caller may not read is to behave as if it were not there."""

    name: str
    actor: str
    """As events have it: ``token:<name>`` or ``anonymous``."""
    scopes: tuple[Scope, ...]
    expires_at: Instant | None = None
    token_id: str = ""
    """Empty for a static token, and for nobody in particular."""

    @classmethod
    def anonymous(cls, *, may_read: bool) -> Caller:
        """Whoever shows no token; ``may_read`` is ``ARTIFACTSTORE_ANON_READ``."""
        return cls(ANONYMOUS, ANONYMOUS, (Scope(Right.READ),) if may_read else ())

    @classmethod
    def with_token(
        cls, name: str, scopes: tuple[Scope, ...], *, expires_at: Instant | None = None, token_id: str = ""
    ) -> Caller:
        """Whoever shows the token of this name."""
        return cls(name, f"token:{name}", scopes, expires_at, token_id)

    def with_scope(self, scope: Scope) -> Caller:
        """The same caller, who may also do this: such as read, where everyone may."""
        return replace(self, scopes=tuple(sorted({*self.scopes, scope}, key=str)))

    @property
    def is_anonymous(self) -> bool:
        """Whether no token was shown. A token may be named ``anonymous``; its actor is another all the same."""
        return self.actor == ANONYMOUS

    @property
    def is_admin(self) -> bool:
        """Whether everything is allowed."""
        return Scope(Right.ADMIN) in self.scopes

    @property
    def reads_everything(self) -> bool:
        """Whether nothing is hidden."""
        return self.is_admin or Scope(Right.READ) in self.scopes

    @property
    def readable_producers(self) -> tuple[str, ...] | None:
        """Whose packages the caller may read, sorted; None if everyone's."""
        return None if self.reads_everything else self._producers(Right.READ, Right.WRITE)

    @property
    def writable_producers(self) -> tuple[str, ...] | None:
        """Whose packages the caller may record, sorted; None if everyone's."""
        return None if self.is_admin else self._producers(Right.WRITE)

    @property
    def owner(self) -> str:
        """Whose open packages and idempotency keys are the caller's: a token made later under the name is another."""
        return f"{self.actor}#{self.token_id}" if self.token_id else self.actor

    @property
    def may_write_something(self) -> bool:
        """Whether there is any producer whose packages the caller may record."""
        return self.writable_producers is None or bool(self.writable_producers)

    def can_read(self, producer: str) -> bool:
        """Whether this producer's packages are there for the caller."""
        return _includes(self.readable_producers, producer)

    def can_write(self, producer: str) -> bool:
        """Whether the caller may record packages of this producer, extend their retention and hold them."""
        return _includes(self.writable_producers, producer)

    def require_write(self, producer: str) -> None:
        """Raises ``ForbiddenError`` naming the scope, or ``UnauthenticatedError`` where no token was shown.

        For a package that is recorded, ask ``can_read`` first: that it is another producer's must stay unknown.
        """
        if not self.can_write(producer):
            self._refuse(Scope(Right.WRITE, producer))

    def require_admin(self) -> None:
        """Raises as ``require_write`` does."""
        if not self.is_admin:
            self._refuse(Scope(Right.ADMIN))

    def require_read_everything(self) -> None:
        """Raises as ``require_write`` does."""
        if not self.reads_everything:
            self._refuse(Scope(Right.READ))

    def describe(self) -> dict[str, object]:
        """What the caller can do, as a document: ``{"read": "*" or [...], "write": "*" or [...], "admin": bool}``."""
        return {
            "read": _everything_or(self.readable_producers),
            "write": _everything_or(self.writable_producers),
            "admin": self.is_admin,
        }

    def _producers(self, *rights: Right) -> tuple[str, ...]:
        found = {scope.producer for scope in self.scopes if scope.right in rights and scope.producer is not None}
        return tuple(sorted(found))

    def _refuse(self, missing: Scope) -> None:
        scope = str(missing)[:80]
        if self.is_anonymous:
            raise UnauthenticatedError(f"this needs a token with the scope {scope!r}")
        raise ForbiddenError(f"token {self.name} lacks the scope {scope!r}")


def _includes(producers: tuple[str, ...] | None, producer: str) -> bool:
    return producers is None or producer in producers


def _everything_or(producers: tuple[str, ...] | None) -> object:
    return "*" if producers is None else list(producers)
