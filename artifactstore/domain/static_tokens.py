"""Tokens that the configuration names: how they are written there."""

from __future__ import annotations

import re
from hashlib import sha256

from artifactstore.domain.access import SCOPE_FORMS, StaticToken, parse_scopes
from artifactstore.domain.package import check_slug
from artifactstore.errors import ConfigurationError, InvalidRequestError

_VISIBLE = re.compile(r"[!-~]+")
_MIN_SECRET_CHARACTERS = 24


def parse_static_tokens(text: str, *, setting: str) -> tuple[StaticToken, ...]:
    """Entries ``name scope,scope secret``, separated by semicolons. Raises ``ConfigurationError``.

    No message repeats anything of an entry: whoever forgets the name has the secret stand where another word belongs.
    """
    tokens = tuple(
        _static_token(entry.split(), f"{setting}: entry {number}")
        for number, entry in enumerate(text.split(";"), 1)
        if entry.strip()
    )
    for what, values in (
        ("name", {token.name for token in tokens}),
        ("secret", {token.secret_sha256 for token in tokens}),
    ):
        if len(values) < len(tokens):
            raise ConfigurationError(f"{setting}: two entries have the same {what}")
    return tokens


def _static_token(words: list[str], entry: str) -> StaticToken:
    if problem := _entry_problem(words):
        raise ConfigurationError(f"{entry} {problem}", hint=SCOPE_FORMS)
    name, scopes, secret = words
    return StaticToken(name, parse_scopes(scopes.split(",")), sha256(secret.encode()).digest())


def _entry_problem(words: list[str]) -> str:
    """What is wrong with an entry. Answered, not raised: a chained error would tell what this keeps to itself."""
    match words:
        case [name, scopes, secret]:
            if len(secret) < _MIN_SECRET_CHARACTERS or not _VISIBLE.fullmatch(secret):
                return f"needs a secret of at least {_MIN_SECRET_CHARACTERS} printable ASCII characters"
            try:
                check_slug(name, what="the name")
                parse_scopes(scopes.split(","))
            except InvalidRequestError:
                return "needs a slug for a name, and scopes separated by commas"
            return ""
        case _:
            return "must be a name, scopes and a secret, separated by spaces"
