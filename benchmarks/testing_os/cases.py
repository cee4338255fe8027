"""What is measured of testing-os: one submission with few and with many stored, and a feed into nothing."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.cases import Case
from benchmarks.on_servers.cases import ServerWorkload
from benchmarks.processes import FailedError, ask
from benchmarks.testing_os.filled import OURS, AllFilled
from benchmarks.testing_os.original import ask_original, description, found
from benchmarks.testing_os.submissions import REPOSITORIES, latest_run_ids, write_feed, write_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.data import Dataset
    from benchmarks.on_servers.shared import OnServers
    from benchmarks.processes import Measures

_MANY_REPOSITORIES = 2_000


class Sizes(NamedTuple):
    """How much of everything."""

    stored: int
    warm: int
    timed: int
    warm_original: int
    timed_original: int
    feed: int


FULL = Sizes(stored=20_000, warm=20, timed=100, warm_original=5, timed_original=20, feed=1_000)
QUICK = Sizes(stored=60, warm=2, timed=5, warm_original=1, timed_original=3, feed=20)


# T-flat


def _growing(shared: OnServers, _: Dataset | None) -> Iterator[Case]:
    sizes, filled = _sizes(shared), AllFilled(shared.stores.work / "stores", _sizes(shared).stored)
    beside = f"with {sizes.stored:,} recorded: the median of {sizes.timed} calls, in turn with {sizes.timed} on a store"
    for name, do, repositories, what in (
        ("ours run", "run", REPOSITORIES, "run() of one submission, all of it, "),
        ("ours record", "record", REPOSITORIES, "the same without the tree, judged and recorded, "),
        ("ours run, many repositories", "run", _MANY_REPOSITORIES, "run() of one submission "),
    ):
        once = "; once" if repositories == _MANY_REPOSITORIES else ""
        yield Case(
            name,
            f"{what}{beside} that began empty; records are of {repositories:,} repositories{once}",
            partial(_one, filled, sizes, do, repositories),
            partial(_prepare_ours, filled, repositories),
            most_repeats=1 if once else None,
        )
    yield Case(
        "original ingest",
        f"{description()}, ingest() of one submission with {sizes.stored:,} recorded: the median of"
        f" {sizes.timed_original} calls, in turn with {sizes.timed_original} on a tree that began empty",
        partial(_one_of_original, filled, sizes),
        partial(_prepare_original, filled),
    )


def _prepare_ours(filled: AllFilled, repositories: int, scratch: Path) -> None:
    filled.ours(repositories)
    write_root(scratch / "root")


def _prepare_original(filled: AllFilled, scratch: Path) -> None:
    filled.original(REPOSITORIES)
    write_root(scratch / "root")


def _one(filled: AllFilled, sizes: Sizes, do: str, repositories: int, scratch: Path) -> Measures:
    many, count = filled.ours(repositories), sizes.warm + sizes.timed
    return ask(
        OURS,
        do,
        home=many.place / "home",
        root=many.place / "root",
        feed=many.next_feed(scratch / "feed.ndjson", count),
        empty_home=scratch / "home",
        empty_root=scratch / "root",
        empty_feed=write_feed(scratch / "empty.ndjson", range(count), repositories=repositories),
        warm=sizes.warm,
        batch=10,
    )[0]


def _one_of_original(filled: AllFilled, sizes: Sizes, scratch: Path) -> Measures:
    many, count = filled.original(REPOSITORIES), sizes.warm_original + sizes.timed_original
    measures: Measures = ask_original(
        "one",
        root=many.place / "root",
        feed=many.next_feed(scratch / "feed.ndjson", count),
        empty_root=scratch / "root",
        empty_feed=write_feed(scratch / "empty.ndjson", range(count)),
        warm=sizes.warm_original,
        batch=5,
    )
    return measures


# T-1000


def _feeding(shared: OnServers, _: Dataset | None) -> Iterator[Case]:
    count = _sizes(shared).feed
    for name, do, what, most_repeats in (
        ("ours run", "feed", f"one run() of {count:,} submissions, into an empty store", None),
        ("ours run, one by one", "feed_each", f"the same by {count:,} calls of run(); once", 1),
    ):
        prepare = partial(_prepare_feed, shared, count)
        yield Case(name, what, partial(_fed, count, do), prepare, most_repeats=most_repeats)
    yield Case(
        "original ingest",
        f"{description()}, {count:,} calls of ingest(), which is how it takes them, into an empty tree; once",
        partial(_fed_to_original, count),
        partial(_prepare_feed_of_original, count),
        most_repeats=1,
    )


def _prepare_feed(shared: OnServers, count: int, scratch: Path) -> None:
    shared.prepare(scratch)
    _write_feed(count, scratch)


def _prepare_feed_of_original(count: int, scratch: Path) -> None:
    found()
    _write_feed(count, scratch)


def _write_feed(count: int, scratch: Path) -> None:
    write_root(scratch / "root")
    write_feed(scratch / "feed.ndjson", range(count))


def _fed(count: int, do: str, scratch: Path) -> Measures:
    measures, _ = ask(OURS, do, home=scratch / "home", root=scratch / "root", feed=scratch / "feed.ndjson")
    _expect_indexes(scratch / "root", count)
    return measures


def _fed_to_original(count: int, scratch: Path) -> Measures:
    measures: Measures = ask_original("feed", root=scratch / "root", feed=scratch / "feed.ndjson")
    _expect_indexes(scratch / "root", count)
    return measures


def _expect_indexes(root: Path, count: int) -> None:
    """Raises ``FailedError`` unless the tree's index has the newest submission of every surface, and no other."""
    document = json.loads((root / "indexes" / "latest-by-repo.json").read_text())
    latest = {(repo, surface): entry["run_id"] for repo, all_ in document.items() for surface, entry in all_.items()}
    if latest != latest_run_ids(range(count)):
        raise FailedError(f"the index has {len(latest)} surfaces, not those of the submissions")


def _sizes(shared: OnServers) -> Sizes:
    return QUICK if shared.quick else FULL


TESTING_OS_WORKLOADS = {
    workload.name: workload
    for workload in (
        ServerWorkload(
            "T-flat", "a submission of testing-os with few and with many recorded", None, _growing, large=True
        ),
        ServerWorkload("T-1000", "a feed of submissions into nothing", None, _feeding, large=True),
    )
}
