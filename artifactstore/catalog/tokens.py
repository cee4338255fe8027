"""Tokens: every SQL statement about them. An operational table; no event says anything of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from artifactstore.catalog.database import Connection
    from artifactstore.domain.instant import Instant

_COLUMNS = "token_id, name, scopes, created_at, created_by, expires_at, revoked_at, last_used_at"


class TokenRecord(NamedTuple):
    """A row of ``token`` without the hash: nothing that lists tokens has any use for it."""

    token_id: str
    name: str
    scopes: str
    """Sorted, joined by one space."""
    created_at: int
    created_by: str
    expires_at: int | None
    revoked_at: int | None
    last_used_at: int | None


def insert_token(connection: Connection, token: TokenRecord, secret_sha256: bytes) -> None:
    """Add a token. Of one name, one at most is not revoked."""
    connection.execute(
        f"INSERT INTO token ({_COLUMNS}, secret_sha256) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*token, secret_sha256)
    )


def token_by_id(connection: Connection, token_id: str) -> tuple[TokenRecord, bytes] | None:
    """A token and its hash, revoked or not."""
    for *columns, secret_sha256 in connection.execute(
        f"SELECT {_COLUMNS}, secret_sha256 FROM token WHERE token_id = ?", (token_id,)
    ):
        return TokenRecord(*columns), bytes(secret_sha256)
    return None


def token_in_use(connection: Connection, name: str) -> TokenRecord | None:
    """The token of this name that is not revoked; it may have expired."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM token WHERE name = ? AND revoked_at IS NULL", (name,))
    return next((TokenRecord(*row) for row in rows), None)


def all_tokens(connection: Connection) -> list[TokenRecord]:
    """Every token there has been, oldest first."""
    return [
        TokenRecord(*row) for row in connection.execute(f"SELECT {_COLUMNS} FROM token ORDER BY created_at, token_id")
    ]


def mark_revoked(connection: Connection, token_id: str, now: Instant) -> None:
    """From now on it is none."""
    connection.execute("UPDATE token SET revoked_at = ? WHERE token_id = ?", (now, token_id))


def mark_used(connection: Connection, uses: Mapping[str, Instant]) -> None:
    """Move each token's last use forward, never back. In one order, so that two servers do not wait for each other."""
    connection.executemany(
        "UPDATE token SET last_used_at = ? WHERE token_id = ? AND coalesce(last_used_at, -1) < ?",
        [(used_at, token_id, used_at) for token_id, used_at in sorted(uses.items())],
    )
