"""Tokens: create, list, revoke; and from the text that a caller shows to the ``Caller`` it is.

A token's text is ``as_<id>_<secret>``: the id finds its row, the secret (256 random bits) proves it. Only the SHA-256
of the whole text is stored. A slow hash would add nothing: there is no dictionary of random secrets.
"""

from __future__ import annotations

import re
import secrets
import threading
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING

from artifactstore.catalog import tokens as rows
from artifactstore.catalog.tokens import TokenRecord
from artifactstore.domain.access import Caller, Scope, parse_scopes
from artifactstore.domain.instant import LATEST, Instant
from artifactstore.domain.package import check_slug
from artifactstore.errors import (
    CatalogCorruptError,
    TokenExistsError,
    TokenUnknownError,
    UnauthenticatedError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.domain.access import StaticToken
    from artifactstore.registry.registry import Registry

_ID_BYTES = 8
_SECRET_BYTES = 32
_TEXT = re.compile(r"as_([0-9a-f]{16})_[A-Za-z0-9_-]{43}", re.ASCII)
_NO_ONES = bytes(32)
"""Compared with where there is no row, so that an unknown id takes as long as a wrong secret. No text hashes to it."""


def create_token(
    registry: Registry, name: str, scopes: list[str], *, expires_at: Instant | None = None
) -> tuple[str, TokenRecord]:
    """A new token: its text, which is told this once and never again, and its record.

    Raises ``PackageInvalidError`` for a name that is not a slug, ``UsageError`` for a scope that is none or an expiry
    that is not in the future, ``TokenExistsError`` while the name's last token is not revoked.
    """
    check_slug(name, what="the name")
    parsed = parse_scopes(scopes)
    now = registry.clock()
    if expires_at is not None and not now < expires_at <= LATEST:
        raise UsageError("the token would have expired already" if expires_at <= now else "no token lasts that long")
    token_id = secrets.token_hex(_ID_BYTES)
    text = f"as_{token_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    record = TokenRecord(token_id, name, " ".join(map(str, parsed)), now, registry.actor, expires_at, None, None)
    with registry.transaction() as tx:
        tx.lock("token", name)
        if rows.token_in_use(tx.connection, name) is not None:
            raise TokenExistsError(f"there is a token named {name} already")
        rows.insert_token(tx.connection, record, _hash_of(text))
    return text, record


def list_tokens(registry: Registry) -> list[TokenRecord]:
    """Every token there has been, oldest first, with those that are revoked or have expired."""
    with registry.catalog.snapshot() as queries:
        return rows.all_tokens(queries.connection)


def revoke_token(registry: Registry, name: str) -> TokenRecord:
    """End the token of this name at once, for good. Raises ``TokenUnknownError`` if none is in use."""
    now = registry.clock()
    with registry.transaction() as tx:
        tx.lock("token", name)
        found = rows.token_in_use(tx.connection, name)
        if found is None:
            raise TokenUnknownError(f"no token named {name[:80]!r} is in use")
        rows.mark_revoked(tx.connection, found.token_id, now)
    return found._replace(revoked_at=now)


def authenticate(registry: Registry, text: str, *, static: Sequence[StaticToken] = ()) -> Caller:
    """Whose token this is. Whatever is wrong with it, the ``UnauthenticatedError`` is the same.

    Every hash that could match is compared in full, and one is where none could: the time it takes says nothing of any
    secret.
    """
    shown = _hash_of(text)
    callers = (_static_caller(shown, static), _stored_caller(registry, text, shown))
    for caller in callers:
        if caller is not None:
            return caller
    raise UnauthenticatedError("the token is unknown, expired or revoked")


class TokenUses:
    """When each token was last used: noted in memory by any thread, written from time to time by one."""

    def __init__(self) -> None:
        self._noted: dict[str, Instant] = {}
        self._turn = threading.Lock()

    def note(self, token_id: str, now: Instant) -> None:
        """A token was used. A caller without a stored token, whose ``token_id`` is empty, leaves no trace."""
        if token_id:
            self._note({token_id: now})

    def flush(self, registry: Registry) -> None:
        """Write what was noted since the last time, one row for each token; nothing if nothing was.

        What cannot be written is kept for the next time, and the error is raised.
        """
        with self._turn:
            noted, self._noted = self._noted, {}
        if not noted:
            return
        try:
            with registry.transaction() as tx:
                rows.mark_used(tx.connection, noted)
        except BaseException:
            self._note(noted)
            raise

    def _note(self, uses: dict[str, Instant]) -> None:
        with self._turn:
            for token_id, used_at in uses.items():
                self._noted[token_id] = max(used_at, self._noted.get(token_id, used_at))


def _hash_of(text: str) -> bytes:
    return sha256(text.encode(errors="surrogatepass")).digest()


def _static_caller(shown: bytes, static: Sequence[StaticToken]) -> Caller | None:
    matches = [token for token in static if compare_digest(token.secret_sha256, shown)]
    return Caller.with_token(matches[0].name, matches[0].scopes) if matches else None


def _stored_caller(registry: Registry, text: str, shown: bytes) -> Caller | None:
    form = _TEXT.fullmatch(text)
    with registry.catalog.snapshot() as queries:
        found = rows.token_by_id(queries.connection, form[1] if form else "")
    is_theirs = compare_digest(found[1] if found else _NO_ONES, shown)
    if found is None or not is_theirs or not is_in_force(found[0], registry.clock()):
        return None
    record = found[0]
    expires_at = None if record.expires_at is None else Instant(record.expires_at)
    return Caller.with_token(record.name, _scopes_of(record), expires_at=expires_at, token_id=record.token_id)


def is_in_force(token: TokenRecord, now: Instant) -> bool:
    """Whether a token opens anything now."""
    return token.revoked_at is None and (token.expires_at is None or now < token.expires_at)


def _scopes_of(token: TokenRecord) -> tuple[Scope, ...]:
    try:
        return parse_scopes(token.scopes.split())
    except UsageError as error:
        raise CatalogCorruptError(f"token {token.name} has scopes that are none: {error.message}") from error
