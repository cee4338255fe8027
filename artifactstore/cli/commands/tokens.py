"""Tokens of the HTTP API: create, list, revoke. On the host of the store only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.cli.door import door_of
from artifactstore.errors import UsageError

if TYPE_CHECKING:
    from artifactstore.domain.instant import Instant

app = typer.Typer(no_args_is_help=False, rich_markup_mode=None)

_DURATION = re.compile(r"([1-9][0-9]{0,5})([mhd])")
_UNIT_S = {"m": 60, "h": 3600, "d": 86_400}


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Who will use it: a-z 0-9 . _ -", show_default=False)],
    scope: Annotated[
        list[str],
        typer.Option(help="read, read:PRODUCER, write:PRODUCER or admin; may be repeated.", show_default=False),
    ],
    expires_in: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Such as 90d, 12h or 30m; never, if left out.")
    ] = None,
    expires_at: Annotated[str | None, typer.Option(metavar="TIME", help="Such as 2027-01-31T00:00:00Z.")] = None,
) -> None:
    """Make a token for the HTTP API.

    "token" in the answer is shown this once: only its SHA-256 is stored.

    Example: artifactstore token create ci --scope write:ci --expires-in 90d
    """
    from artifactstore.documents.access import token_document
    from artifactstore.registry.tokens import create_token

    if expires_in is not None and expires_at is not None:
        raise UsageError("a token expires in a while or at a time, not both")
    door = door_of(context)
    with door.registry() as registry:
        text, record = create_token(registry, name, scope, expires_at=_expiry(registry.clock(), expires_in, expires_at))
    document = token_document(record)
    door.answer({"name": name, "token": text, "scopes": document["scopes"], "expires_at": document["expires_at"]})
    door.say("note: keep the token now; it is not shown again")


@app.command("list")
def list_(context: typer.Context) -> None:
    """List every token there has been; never the tokens themselves."""
    from artifactstore.documents.access import token_document
    from artifactstore.registry.tokens import list_tokens

    door = door_of(context)
    with door.registry() as registry:
        found = list_tokens(registry)
    door.answer({"tokens": [token_document(token) for token in found]})


@app.command()
def revoke(
    context: typer.Context, name: Annotated[str, typer.Argument(help="A token's name.", show_default=False)]
) -> None:
    """End a token at once and for good. Its name is free for another."""
    from artifactstore.documents.access import token_document
    from artifactstore.registry.tokens import revoke_token

    door = door_of(context)
    with door.registry() as registry:
        door.answer(token_document(revoke_token(registry, name)))


def _expiry(now: Instant, expires_in: str | None, expires_at: str | None) -> Instant | None:
    from artifactstore.domain.instant import Instant, parse_instant

    if expires_in is None:
        return None if expires_at is None else parse_instant(expires_at)
    found = _DURATION.fullmatch(expires_in)
    if found is None:
        raise UsageError(f"not a duration: {expires_in[:60]!r}", hint="Write it like 90d, 12h or 30m.")
    return Instant(now + int(found[1]) * _UNIT_S[found[2]] * 1_000_000)
