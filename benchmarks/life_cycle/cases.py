"""What is measured of the life of packages: each run on a copy of a store that was made once."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.cases import Case
from benchmarks.commands import tree_bytes
from benchmarks.life_cycle.shared import (
    FLOORS,
    FOREGROUND,
    MAKING,
    OURS,
    REBUILDING,
    Life,
    ask_life,
    copied,
    home_settings,
    linked,
)
from benchmarks.on_servers.cases import ServerWorkload
from benchmarks.on_servers.relay import relaying
from benchmarks.on_servers.shared import s3_settings
from benchmarks.over_http.servers import add_token, s3, serving
from benchmarks.processes import ROOT, clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.data import Dataset
    from benchmarks.life_cycle.shared import Settings
    from benchmarks.on_servers.shared import OnServers
    from benchmarks.processes import Measures

_METHODS = ("PUT", "POST", "HEAD", "GET", "DELETE")
_SMALL_BYTES = 4 * 1024


# L-collect


def _collecting(shared: OnServers, _: Dataset | None) -> Iterator[Case]:
    life = Life(shared)
    sizes = life.sizes
    for times, beside in ((1, "as much"), (sizes.more_live, f"{sizes.more_live} times as much")):
        ending = "" if times == 1 else f", {beside} live"
        prepare = partial(_copy, lambda times=times: life.dead(times), copied)
        yield Case(
            f"floor delete{ending}",
            f"{sizes.packs} files deleted, then one transaction that deletes {sizes.packs * sizes.pack_files:,} rows",
            partial(_floor_of_collecting, life),
            prepare,
        )
        yield Case(
            f"ours collect{ending}",
            f"collection of {sizes.packs} packs of {sizes.pack_files:,} dead blobs each and {sizes.packs} manifests;"
            f" {beside} is live",
            partial(_collected, 2 * sizes.packs),
            prepare,
            floors=(f"floor delete{ending}",),
        )


def _collected(objects: int, scratch: Path) -> Measures:
    return ask_life(OURS, "collect", home_settings(scratch / "home"), objects=objects, repacked=0)


def _floor_of_collecting(life: Life, scratch: Path) -> Measures:
    packs = life.sizes.packs
    settings = home_settings(scratch / "home")
    return ask_life(FLOORS, "delete", settings, packs=packs, blobs=packs * life.sizes.pack_files)


# L-collect-S3


def _collecting_on_s3(shared: OnServers, _: Dataset | None) -> Iterator[Case]:
    life = Life(shared)
    dead, repacked = 2 * life.sizes.s3_packages, life.sizes.s3_repacked
    yield Case(
        "ours collect, counted",
        f"collection of {dead:,} dead objects and {repacked} packs that are made smaller, through a relay that counts"
        " the requests",
        partial(_collected_on_s3, life),
        shared.prepare,
        most_repeats=1,
    )


def _collected_on_s3(life: Life, scratch: Path) -> Measures:
    sizes = life.sizes
    with s3(scratch) as server, relaying(server.address) as relay:
        settings = s3_settings(server, scratch)
        made = {"packages": sizes.s3_packages, "repacked": sizes.s3_repacked, "files": 2, "file_bytes": 20_000}
        ask_life(MAKING, "partly_dead", settings, seed=life.shared.seed, **made)
        # the larger package of a pair leaves its manifest, besides the pack that is made smaller
        dead = 2 * sizes.s3_packages + sizes.s3_repacked
        through = s3_settings(server, scratch, url=relay.url)
        measures = ask_life(OURS, "collect", through, objects=dead, repacked=sizes.s3_repacked)
        counts = {f"{method.lower()}_requests": float(relay.counts[method]) for method in _METHODS}
    allowed = -(-(dead + sizes.s3_repacked) // 1_000) + 3 * sizes.s3_repacked
    return {**measures, **counts, "all_requests": sum(counts.values()), "allowed_requests": allowed}


# L-plan


def _planning(shared: OnServers, _: Dataset | None) -> Iterator[Case]:
    life = Life(shared)
    many, few, files = life.sizes.due, life.sizes.few_due, life.sizes.package_files
    yield Case(
        "ours plan",
        f"a plan that deletes {many:,} packages of {files} files, {many * files:,} in all",
        lambda scratch: ask_life(OURS, "plan", home_settings(scratch / "home"), due=many),
        partial(_copy, lambda: life.planned_over(many, due=True), copied),
    )
    yield Case(
        "ours plan, nothing due",
        f"a plan where nothing is due among {many * files:,} files, in turn with one among {few * files:,}: the median"
        f" of {life.sizes.plans}; something happens before each, so each is a new one",
        partial(_planned_nothing, life),
        partial(_copy_both, life),
    )


def _planned_nothing(life: Life, scratch: Path) -> Measures:
    settings = home_settings(scratch / "home")
    return ask_life(OURS, "plan_nothing", settings, timed=life.sizes.plans, **_other(scratch))


def _copy_both(life: Life, scratch: Path) -> None:
    copied(life.planned_over(life.sizes.due, due=False), scratch / "home")
    copied(life.planned_over(life.sizes.few_due, due=False), scratch / "other")


# L-scrub


def _scrubbing(shared: OnServers, _: Dataset | None) -> Iterator[Case]:
    life = Life(shared)
    stores: tuple[tuple[str, str, Callable[[], Path]], ...] = (
        ("4 KiB", "packs of 2,000 files of 4 KiB", partial(life.in_packs, 2_000, 4)),
        ("40 KiB", "packs of 200 files of 40 KiB", partial(life.in_packs, 200, 40)),
        ("large files", f"files of {life.sizes.large_bytes // 2**20} MiB", life.large),
        ("many small packs", f"packs of {life.sizes.package_files} files of 1 KiB, and their manifests", partial(
            life.many_small, sealed=False
        )),
    )  # fmt: skip
    for name, what, store in stores:
        prepare = partial(_copy_warm, store)
        yield Case(f"floor read, {name}", f"{what}: every object read and hashed both ways", _read, prepare)
        yield Case(f"ours scrub, {name}", "the duty over the same, without a limit to its rate", _scrubbed, prepare)


def _read(scratch: Path) -> Measures:
    home = scratch / "home"
    return ask_life(FLOORS, "read", home_settings(home), bytes=tree_bytes(home / "objects"))


def _scrubbed(scratch: Path) -> Measures:
    home = scratch / "home"
    least = tree_bytes(home / "objects") * 3 // 4  # a first slice was read before the clock runs
    return ask_life(OURS, "scrub", home_settings(home), least_bytes=least)


def _copy_warm(store: Callable[[], Path], scratch: Path) -> None:
    """Linked, and every object read once, so both read from the page cache."""
    linked(store(), scratch / "home")
    for path in (scratch / "home" / "objects").rglob("*"):
        if path.is_file():
            path.read_bytes()


# L-foreground


def _foreground(shared: OnServers, _: Dataset | None) -> Iterator[Case]:
    life = Life(shared)
    gets, ingests = life.sizes.gets, life.sizes.ingests
    for is_on, words in ((False, "no scrub"), (True, "the scrub at its default rate")):
        prepare = partial(_prepare_foreground, life, is_on)
        ending = "" if is_on else ", no scrub"
        yield Case(
            f"service get{ending}",
            f"GET of a file of 4 KiB, one after the other: the median of {gets:,}; {words} in the server",
            partial(_got, life, is_on),
            prepare,
        )
        yield Case(
            f"ours ingest{ending}",
            f"a package of 5 files of 2 KB by the library: the median of {ingests:,}; {words} in another process",
            partial(_ingested, life, is_on),
            prepare,
        )


def _prepare_foreground(life: Life, is_on: bool, scratch: Path) -> None:
    _copy_warm(life.large, scratch)
    home = scratch / "home"
    small = {"packages": 1, "files": 20, "file_bytes": _SMALL_BYTES, "seed": life.shared.seed}
    ask_life(MAKING, "stored", home_settings(home), named="small", **small)
    if is_on:
        ask_life(OURS, "scrub_overdue", home_settings(home))


def _got(life: Life, is_on: bool, scratch: Path) -> Measures:
    home = scratch / "home"
    add_token(home)
    settings = life.scrub_settings if is_on else {"ARTIFACTSTORE_VERIFY_EVERY_DAYS": "0"}
    with serving(home, settings=settings) as server:
        asked = {"address": server.address, "token": server.token, "file_bytes": _SMALL_BYTES}
        return ask_life(FOREGROUND, "get", home_settings(home), timed=life.sizes.gets, scrub=int(is_on), **asked)


def _ingested(life: Life, is_on: bool, scratch: Path) -> Measures:
    settings = home_settings(scratch / "home")
    with _scrubbing_beside({**settings, **life.scrub_settings}) if is_on else _nobody():
        request = {"timed": life.sizes.ingests, "seed": life.shared.seed, "scrub": int(is_on)}
        return ask_life(FOREGROUND, "ingest", settings, **request)


@contextmanager
def _scrubbing_beside(settings: Settings) -> Iterator[None]:
    running = subprocess.Popen(
        [sys.executable, "-m", OURS, '{"do": "scrub_on"}'],
        cwd=ROOT,
        env=clean_environment(settings),
        stdout=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        running.terminate()
        running.wait()


@contextmanager
def _nobody() -> Iterator[None]:
    yield


# L-rebuild


def _rebuilding(shared: OnServers, _: Dataset | None) -> Iterator[Case]:
    life = Life(shared)
    packages, files = life.sizes.rebuilt, life.sizes.package_files
    for is_sealed, words in ((True, "with a log that is sealed to its end"), (False, "with nothing sealed")):
        ending = "sealed" if is_sealed else "nothing sealed"
        yield Case(
            f"ours rebuild, {ending}",
            f"a catalog of {packages:,} packages of {files} files from storage alone, {words}",
            partial(_rebuilt, life, is_sealed),
            partial(_without_database, life, is_sealed),
        )


def _without_database(life: Life, is_sealed: bool, scratch: Path) -> None:
    for name in ("home", "other"):
        linked(life.many_small(sealed=is_sealed), scratch / name, with_database=False)


def _rebuilt(life: Life, is_sealed: bool, scratch: Path) -> Measures:
    request = {"packages": life.sizes.rebuilt, "files": life.sizes.package_files, "sealed": int(is_sealed)}
    return ask_life(REBUILDING, "rebuild", home_settings(scratch / "home"), **request, **_other(scratch))


# L-rates


def _rates(shared: OnServers, _: Dataset | None) -> Iterator[Case]:
    life = Life(shared)
    applied, packages, files = life.sizes.applied, life.sizes.loose, life.sizes.loose_files
    yield Case(
        "ours apply",
        f"a plan carried out that deletes {applied:,} packages of {life.sizes.package_files} files",
        lambda scratch: ask_life(OURS, "apply", home_settings(scratch / "home"), due=applied),
        partial(_copy, lambda: life.planned_over(applied, due=True), copied),
    )
    yield Case(
        "ours reconcile",
        f"{packages * files:,} small objects and {packages} manifests compared with the catalog",
        lambda _: ask_life(OURS, "reconcile", home_settings(life.loose()), objects=packages * (files + 1)),
        lambda _: life.loose(),
    )
    yield Case(
        "ours heal",
        f"a package of {files:,} objects that are all gone, from a directory, in a store of {packages * files:,}",
        lambda scratch: ask_life(OURS, "heal", home_settings(life.loose()), folder=scratch / "files"),
        lambda _: life.loose(),
        most_repeats=1,
    )


LIFE_CYCLE_WORKLOADS = {
    workload.name: workload
    for workload in (
        ServerWorkload("L-collect", "dead blobs, collected on this disk", None, _collecting, large=True),
        ServerWorkload("L-collect-S3", "dead objects, collected in S3", None, _collecting_on_s3, large=True),
        ServerWorkload("L-plan", "retention plans over many files", None, _planning, large=True),
        ServerWorkload("L-scrub", "a whole store, read back", None, _scrubbing, large=True),
        ServerWorkload("L-foreground", "callers, with the scrub and without it", None, _foreground, large=True),
        ServerWorkload("L-rebuild", "a catalog, from storage alone", None, _rebuilding, large=True),
        ServerWorkload("L-rates", "deletion, comparison and healing", None, _rates, large=True),
    )
}


# what they share


def _copy(store: Callable[[], Path], how: Callable[[Path, Path], None], scratch: Path) -> None:
    how(store(), scratch / "home")


def _other(scratch: Path) -> dict[str, str]:
    return {f"other_{name}": value for name, value in home_settings(scratch / "other").items()}
