"""Sizes, and the stores that the cases begin from: made once in a measurement, and copied for whoever changes one."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.processes import ask_another

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks.on_servers.shared import OnServers
    from benchmarks.processes import Measures

    Settings = Mapping[str, str]

MAKING, OURS, FLOORS, REBUILDING, FOREGROUND = (
    f"benchmarks.life_cycle.{name}" for name in ("making", "ours", "floors", "rebuilding", "foreground")
)
KIB, MIB = 1024, 1024 * 1024


class Sizes(NamedTuple):
    """How much of everything."""

    packs: int
    """Dead ones to collect, of ``pack_files`` each."""
    pack_files: int
    more_live: int
    """So many times as much that is live."""
    s3_packages: int
    """Each is two dead objects."""
    s3_repacked: int
    due: int
    few_due: int
    """Packages of ``package_files`` in the catalogs that are planned over."""
    package_files: int
    plans: int
    scrubbed_packs: int
    """Of 2,000 files of 4 KiB, or 200 of 40 KiB."""
    large: int
    large_bytes: int
    gets: int
    ingests: int
    rebuilt: int
    applied: int
    loose: int
    loose_files: int
    """Each of which is an object."""


FULL = Sizes(
    packs=100, pack_files=1_000, more_live=10, s3_packages=1_000, s3_repacked=10, due=10_000, few_due=100,
    package_files=100, plans=20, scrubbed_packs=50, large=16, large_bytes=64 * MIB, gets=2_000, ingests=500,
    rebuilt=1_000, applied=1_000, loose=100, loose_files=1_000,
)  # fmt: skip
QUICK = Sizes(
    packs=4, pack_files=30, more_live=10, s3_packages=5, s3_repacked=2, due=30, few_due=5, package_files=10, plans=2,
    scrubbed_packs=4, large=4, large_bytes=4 * MIB, gets=50, ingests=10, rebuilt=10, applied=10,
    loose=2, loose_files=50,
)  # fmt: skip


@dataclass(slots=True)
class Life:
    """What the cases share."""

    shared: OnServers

    @property
    def sizes(self) -> Sizes:
        """Those of this run."""
        return QUICK if self.shared.quick else FULL

    @property
    def scrub_settings(self) -> Settings:
        """None, so that the rate is the default; so slow in a quick run that little takes long enough."""
        return {"ARTIFACTSTORE_SCRUB_BYTES_PER_S": str(MIB)} if self.shared.quick else {}

    def made(self, do: str, **request: int) -> Path:
        """A home with such a store, which nobody changes."""
        named = "-".join(f"{name}-{value}" for name, value in request.items())
        home = self.shared.stores.work / "stores" / f"life-{do}-{named}-{self.shared.seed}"
        if not home.exists():
            making = home.with_name(f"{home.name}.making")
            shutil.rmtree(making, ignore_errors=True)
            shutil.copytree(self.shared.stores.empty(), making)
            ask_another(sys.executable, home_settings(making), MAKING, do, seed=self.shared.seed, **request)
            making.rename(home)
        return home

    def dead(self, times_live: int) -> Path:
        """Packs of which nothing is referred to, and so many times as much that is live."""
        sizes = self.sizes
        packs, files = sizes.packs, sizes.pack_files
        return self.made("dead", packages=packs, files=files, file_bytes=KIB, live=packs * times_live)

    def planned_over(self, packages: int, *, due: bool) -> Path:
        """A catalog of packages without bytes."""
        return self.made("recorded", packages=packages, files=self.sizes.package_files, due=int(due))

    def many_small(self, *, sealed: bool) -> Path:
        """Packages with their bytes."""
        files = self.sizes.package_files
        return self.made("stored", packages=self.sizes.rebuilt, files=files, file_bytes=KIB, sealed=int(sealed))

    def in_packs(self, files: int, file_kib: int) -> Path:
        """Packs of files of a size."""
        return self.made("stored", packages=self.sizes.scrubbed_packs, files=files, file_bytes=file_kib * KIB)

    def large(self) -> Path:
        """Files that are objects of their own."""
        return self.made("stored", packages=self.sizes.large, files=1, file_bytes=self.sizes.large_bytes)

    def loose(self) -> Path:
        """Very many small objects."""
        return self.made("loose", packages=self.sizes.loose, files=self.sizes.loose_files, file_bytes=64)


def ask_life(module: str, do: str, settings: Settings, **request: str | int | Path) -> Measures:
    """One operation of a child."""
    return ask_another(sys.executable, settings, module, do, **request)[0]


def home_settings(home: Path) -> dict[str, str]:
    """An embedded store."""
    return {"ARTIFACTSTORE_HOME": str(home), "TMPDIR": str(home.parent)}


def copied(home: Path, to: Path) -> None:
    """The whole home, to delete from."""
    shutil.copytree(home, to)


def linked(home: Path, to: Path, *, with_database: bool = True) -> None:
    """The home with its objects by other names of the same files: for what deletes none."""
    to.mkdir()
    shutil.copytree(home / "objects", to / "objects", copy_function=os.link)
    for path in home.iterdir() if with_database else ():
        if path.is_file():
            shutil.copy2(path, to / path.name)
