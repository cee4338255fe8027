"""A process that observes; the store is that of the environment.

    python -m tests.observing_process many SEED ROUNDS THREADS    # waits for a line, then prints what was answered
    python -m tests.observing_process killed                     # a child for each line HIT NUMBER [package]

A child kills itself at that failpoint, and says which it has passed if there are not so many. ``many`` draws from few
places, moments and packages, so that most of what one thread says another says too.
"""

from __future__ import annotations

import json
import random
import sys
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from artifactstore.bootstrap import open_registry
from artifactstore.errors import ConcurrentUpdateError
from artifactstore.testing.builders import package_draft
from tests.at_once import at_once
from tests.killed_children import kill_each
from tests.observing import MAILBOX, context_on, message

if TYPE_CHECKING:
    from artifactstore.domain.provenance import IngestResult
    from artifactstore.plugins.context import EmbeddedContext
    from artifactstore.registry.registry import Registry

SOURCES, MOMENTS, PACKAGES = 3, 4, 3
CALLS = 25
"""Of each thread in each round, which has places and packages of its own."""
Answer = list[str | bool | None]
"""Source, envelope and package: each its id and whether the call recorded it."""


def answer_of(result: IngestResult) -> Answer:
    package = (None, None) if result.package is None else (result.package.id, result.package.was_created)
    return [*result.source, *result.envelope, *package]


def observe_many(registry: Registry, seed: int, rounds: int) -> list[Answer]:
    """What each call was answered; one that lost its races is made again."""
    drawn = random.Random(seed)
    contexts = [context_on(registry, replace(MAILBOX, contract_version=version)) for version in "12"]
    return [answer_of(_observe(drawn.choice(contexts), drawn, turn)) for turn in range(rounds) for _ in range(CALLS)]


def _observe(context: EmbeddedContext, drawn: random.Random, turn: int) -> IngestResult:
    given = message(drawn.randrange(MOMENTS), turn * SOURCES + drawn.randrange(SOURCES))
    draft = None
    if drawn.random() < 0.3:
        draft = package_draft({"report.txt": b"content"}, external_id=f"run-{turn}-{drawn.randrange(PACKAGES)}")
    while True:
        try:
            return context.ingest(source=given.source, envelope=given.envelope, parties=given.parties, package=draft)
        except ConcurrentUpdateError:
            continue


def observe_at_once(registry: Registry, seed: int, rounds: int, threads: int) -> list[Answer]:
    """From so many threads."""
    answers: list[Answer] = []
    for found in at_once(threads, lambda number: observe_many(registry, seed + number, rounds)):
        if isinstance(found, BaseException):
            raise found
        answers += found
    return answers


def many(seed: int, rounds: int, threads: int) -> None:
    with closing(open_registry()) as registry:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        json.dump(observe_at_once(registry, seed, rounds, threads), sys.stdout)


def once(registry: Registry, number: int, *, with_package: bool) -> Answer:
    """The observation of this number, which no other number shares anything with."""
    given = message(number, number)
    draft = package_draft({"report.txt": b"%d" % number}, external_id=f"run-{number}") if with_package else None
    context = context_on(registry)
    return answer_of(context.ingest(source=given.source, envelope=given.envelope, parties=given.parties, package=draft))


def _observe_as_told(registry: Registry, told: list[str]) -> None:
    number, *package = told
    once(registry, int(number), with_package=bool(package))


def main() -> None:
    if sys.argv[1] == "many":
        many(*map(int, sys.argv[2:]))
    else:
        kill_each(_observe_as_told)


if __name__ == "__main__":
    main()
