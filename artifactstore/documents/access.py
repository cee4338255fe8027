"""Tokens and who calls, as JSON documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.documents.values import optional_instant

if TYPE_CHECKING:
    from artifactstore.catalog.tokens import TokenRecord
    from artifactstore.documents import Document
    from artifactstore.domain.access import Caller


def token_document(token: TokenRecord) -> Document:
    """One token, without anything that would prove to be its bearer."""
    return {
        "name": token.name,
        "token_id": token.token_id,
        "scopes": token.scopes.split(),
        "created_at": optional_instant(token.created_at),
        "created_by": token.created_by,
        "expires_at": optional_instant(token.expires_at),
        "revoked_at": optional_instant(token.revoked_at),
        "last_used_at": optional_instant(token.last_used_at),
    }


def caller_document(caller: Caller) -> Document:
    """Who asks and what they may do."""
    return {
        "name": caller.name,
        "scopes": [str(scope) for scope in caller.scopes],
        "can": caller.describe(),
        "expires_at": optional_instant(caller.expires_at),
    }
