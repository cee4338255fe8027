"""Going through everything a page at a time, so that no snapshot stays open and no list grows with the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


def every(page: Callable[[int], list[T]], *, first: int, size: int, key: Callable[[T], int]) -> Iterator[T]:
    """The items of every page. ``page`` gives up to ``size`` items whose ``key`` is greater than its argument."""
    after = first
    while True:
        items = page(after)
        yield from items
        if len(items) < size:
            return
        after = key(items[-1])
