"""Answering a repeated request as the first time: for requests that would have a second effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from artifactstore.catalog import pushes
from artifactstore.errors import IdempotencyMismatchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from artifactstore.catalog.catalog import Transaction
    from artifactstore.catalog.database import Connection


class Attempt(NamedTuple):
    """One sending of a request that may come again. A key is its caller's own."""

    caller: str
    key: str
    request_digest: bytes
    """BLAKE3 of what was asked, so that another request under the same key is noticed."""


def answer_once(
    tx: Transaction,
    attempt: Attempt | None,
    now: int,
    act: Callable[[Transaction], str],
    *,
    stands: Callable[[str], bool] = lambda _: True,
) -> str:
    """The answer that ``act`` gives, or gave when this request came before. Act and memory are one transaction.

    An answer that no longer ``stands`` is given anew. Raises ``IdempotencyMismatchError`` if the key stands for
    another request.
    """
    if attempt is None:
        return act(tx)
    tx.lock("idempotency key", f"{attempt.caller} {attempt.key}")
    before = answered_before(tx.connection, attempt, stands=stands)
    if before is not None:
        return before
    answer = act(tx)
    pushes.remember(tx.connection, *attempt, answer, now)
    return answer


def answered_before(
    connection: Connection, attempt: Attempt, *, stands: Callable[[str], bool] = lambda _: True
) -> str | None:
    """The answer this request was given when it came before. Raises ``IdempotencyMismatchError`` as above."""
    caller, key, request_digest = attempt
    before = pushes.remembered(connection, caller, key)
    if before is not None and before[0] != request_digest:
        raise IdempotencyMismatchError(f"the idempotency key {key!r} stands for another request")
    return before[1] if before is not None and stands(before[1]) else None
