"""What the cases on servers share: an empty store, sizes, settings, and the servers themselves."""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.on_servers.postgres import Clusters, clusters
from benchmarks.on_servers.processor import tree_cpu_s
from benchmarks.over_http.servers import ACCESS_KEY, BUCKET, SECRET_KEY, add_token, private_home, s3, serving
from benchmarks.over_http.trees import small_tree
from benchmarks.processes import ask_another

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.cases import Stores
    from benchmarks.over_http.servers import Server
    from benchmarks.processes import Measures

    Settings = Mapping[str, str]

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"
_OURS = "benchmarks.on_servers.ours"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything."""

    rounds: int
    seconds: int
    packages: int
    timed: int
    """Of the packages, so many are timed at the beginning and as many at the end."""
    warm: int


FULL = Sizes(rounds=40, seconds=20, packages=100_000, timed=1_000, warm=300)
QUICK = Sizes(rounds=3, seconds=1, packages=400, timed=100, warm=20)


@dataclass(slots=True)
class OnServers:
    """What the cases share: an empty store, the sizes, and PostgreSQL. ``ending`` ends what is started for all."""

    stores: Stores
    seed: int
    quick: bool
    ending: ExitStack
    _clusters: list[Clusters] = field(default_factory=list)

    @property
    def sizes(self) -> Sizes:
        """Those of this run."""
        return QUICK if self.quick else FULL

    def prepare(self, scratch: Path) -> None:
        """An empty home, and something small to become warm with."""
        shutil.copytree(self.stores.empty(), scratch / "home")
        small_tree(scratch / "small")

    @contextmanager
    def database(self, kind: str, scratch: Path) -> Iterator[Settings]:
        """The settings of an empty home in ``scratch`` whose catalog is in a database of a kind, made ready."""
        settings = _home_settings(scratch, "home")
        if kind == SQLITE:
            yield settings
            return
        with self._postgres().running() as server:
            yield {**settings, "ARTIFACTSTORE_DATABASE_URL": server.url}

    @contextmanager
    def two_databases(self, kind: str, scratch: Path) -> Iterator[tuple[Settings, Settings]]:
        """Two of them, each with its own home."""
        shutil.copytree(scratch / "home", scratch / "other")
        one, two = _home_settings(scratch, "home"), _home_settings(scratch, "other")
        if kind == SQLITE:
            yield one, two
            return
        with self._postgres().running() as server:
            another = server.another()
            yield {**one, "ARTIFACTSTORE_DATABASE_URL": server.url}, {**two, "ARTIFACTSTORE_DATABASE_URL": another}

    def _postgres(self) -> Clusters:
        if not self._clusters:
            self._clusters.append(self.ending.enter_context(clusters(self.stores.work, self._bring_to_head)))
        return self._clusters[0]

    def _bring_to_head(self, url: str) -> None:
        home = self.stores.work / "stores" / "none"
        ask_ours("prepare", {"ARTIFACTSTORE_HOME": str(home), "ARTIFACTSTORE_DATABASE_URL": url})

    @contextmanager
    def several(self, count: int, scratch: Path) -> Iterator[Together]:
        """So many servers on one database and one bucket, all new."""
        with ExitStack() as ending:
            postgres, bucket = ending.enter_context(self._postgres().running()), ending.enter_context(s3(scratch))
            settings = {**s3_settings(bucket, scratch), "ARTIFACTSTORE_DATABASE_URL": postgres.url}
            add_token(scratch / "home", settings)
            servers = [
                ending.enter_context(serving(scratch / "home", settings=settings, name=f"artifactstore-{number}"))
                for number in range(1, count + 1)
            ]
            ids = {"servers": [server.process_id for server in servers]}
            yield Together(servers, {**ids, "postgres": [postgres.process_id], "s3": [bucket.process_id]})


@dataclass(frozen=True, slots=True)
class Together:
    """Servers of one store, and the process ids of everything that works for them, by what it is."""

    servers: Sequence[Server]
    process_ids: Mapping[str, Sequence[int]]

    def cpu_s(self) -> dict[str, float]:
        """What each has used so far."""
        return {name: sum(map(tree_cpu_s, ids)) for name, ids in self.process_ids.items()}


def s3_settings(server: Server, scratch: Path, *, url: str | None = None) -> dict[str, str]:
    """The settings of an empty home in ``scratch`` whose objects are in S3; nothing of the user's is looked at."""
    return {
        **private_home(scratch),
        "ARTIFACTSTORE_HOME": str(scratch / "home"),
        "ARTIFACTSTORE_STORAGE_URL": f"s3://{BUCKET}/ours",
        "ARTIFACTSTORE_S3_ENDPOINT_URL": url or server.url,
        "ARTIFACTSTORE_S3_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_EC2_METADATA_DISABLED": "true",
        "TMPDIR": str(scratch),
    }


def ask_ours(do: str, settings: Settings, **request: str | int | Path) -> Measures:
    return ask_another(sys.executable, settings, _OURS, do, **request)[0]


def _home_settings(scratch: Path, home: str) -> dict[str, str]:
    return {"ARTIFACTSTORE_HOME": str(scratch / home), "TMPDIR": str(scratch)}
