"""Calls made at the same moment by as many threads."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def at_once(count: int, call: Callable[[int], T]) -> list[T | BaseException]:
    """What each call answered or raised, in the order of their numbers."""
    answers: list[T | BaseException] = [AssertionError("it did not come back")] * count
    start = threading.Barrier(count)

    def work(number: int) -> None:
        start.wait()
        try:
            answers[number] = call(number)
        except BaseException as error:  # noqa: BLE001 - it is an answer
            answers[number] = error

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def kinds(answers: list[T | BaseException]) -> dict[str, int]:
    """How many of each type."""
    names = [type(answer).__name__ for answer in answers]
    return {name: names.count(name) for name in sorted(set(names))}
