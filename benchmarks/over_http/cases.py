"""What is measured over HTTP: each case starts a server of its own, lets it become warm, and times one client.

A case's name says who does what: ``command …`` (our command line as a whole process), ``client …`` (our client in a
warm process), ``service …`` (our server, asked by plain ``http.client``), ``floor …``, and the peers by their names.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING

from benchmarks.cases import CATALOGS, Case
from benchmarks.catalogs import PACKAGES_IN_GROUP
from benchmarks.commands import remote
from benchmarks.over_http.peers import (
    UNCOMPRESSED,
    boto3_put,
    mlflow_log,
    oras_push,
    rclone_copy,
    skopeo_copy,
    skopeo_pack_and_copy,
)
from benchmarks.over_http.servers import add_token, floor, serving
from benchmarks.over_http.trees import fresh_tree, make_image, small_tree
from benchmarks.processes import FailedError, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from benchmarks.cases import Stores
    from benchmarks.data import Dataset
    from benchmarks.over_http.servers import Server
    from benchmarks.processes import Finished, Measures

_CLIENTS, _LOAD = "benchmarks.over_http.clients", "benchmarks.over_http.load"
_AT_ONCE = 32
_PACKS_ROUTE = 'route="/packages/{package_id}/packs"'


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything."""

    rounds: int
    seconds: int
    many_packages: int
    requests: int


FULL = Sizes(rounds=40, seconds=20, many_packages=100_000, requests=300)
QUICK = Sizes(rounds=3, seconds=1, many_packages=200, requests=20)


@dataclass(slots=True)
class Served:
    """What the cases share: the stores made once, the sizes, and the catalogs of many packages."""

    stores: Stores
    seed: int
    quick: bool
    _package_ids: dict[Path, list[str]] = field(default_factory=dict)

    @property
    def sizes(self) -> Sizes:
        """Those of this run."""
        return QUICK if self.quick else FULL

    def empty(self, scratch: Path) -> None:
        """An empty home in ``scratch``, to be served."""
        shutil.copytree(self.stores.empty(), scratch / "home")
        add_token(scratch / "home")

    def holding(self, data: Dataset, scratch: Path) -> None:
        """A home in ``scratch`` that holds a workload: a copy of its database beside links to its objects."""
        self.stores.holding(data)
        home = self.stores.home_of(data)
        shutil.copytree(home, scratch / "home", ignore=shutil.ignore_patterns("objects"))
        shutil.copytree(home / "objects", scratch / "home" / "objects", copy_function=os.link)
        add_token(scratch / "home")

    def home_of(self, count: int) -> Path:
        """Where ``filled`` puts it."""
        return self.stores.work / "stores" / f"packages-{count}" / "home"

    def filled(self, count: int) -> tuple[Path, list[str]]:
        """A home whose catalog holds so many packages, to be served where it is; the ids of some."""
        home = self.home_of(count)
        if home not in self._package_ids:
            shutil.rmtree(home.parent, ignore_errors=True)
            home.parent.mkdir(parents=True)
            named = self.sizes.requests
            _, words = ask(CATALOGS, "fill_packages", home=home, count=count, seed=self.seed, named=named)
            add_token(home)
            self._package_ids[home] = words["package_ids"].split()
        return home, self._package_ids[home]


@dataclass(frozen=True, slots=True)
class HttpWorkload:
    """A part of the measurement: in words, the data it needs from disk, and its cases."""

    name: str
    what: str
    data: str | None
    cases: Callable[[Served, Dataset | None], Iterator[Case]]
    large: bool = False


# H-W1


def _small_runs(served: Served, data: Dataset | None) -> Iterator[Case]:
    assert data is not None
    rounds = served.sizes.rounds
    yield Case(
        "client push",
        f"artifactstore.client in a warm process: the median of {rounds} pushes, every file changed before each",
        partial(_pushed_by_client, data, rounds),
        served.empty,
        (data.folder,),
        ("boto3 put",),
    )
    yield Case(
        "boto3 put",
        f"boto3 in a warm process, eight threads, into rclone serve s3 (it syncs nothing): the median of {rounds} runs",
        lambda scratch: boto3_put(scratch, data.folder, rounds),
        warm=(data.folder,),
    )


def _pushed_by_client(data: Dataset, rounds: int, scratch: Path) -> Measures:
    with serving(scratch / "home") as server:
        ours = {"url": server.url, "token": server.token}
        return _asked("push_series", **ours, source=data.folder, folder=scratch / "run", rounds=rounds)


# H-W3


def _trees(served: Served, _: Dataset | None) -> Iterator[Case]:
    def prepare(scratch: Path) -> None:
        fresh_tree("W3", scratch / "tree", seed=served.seed, quick=served.quick)

    def prepare_ours(scratch: Path) -> None:
        prepare(scratch)
        served.empty(scratch)

    def prepare_image(scratch: Path) -> None:
        prepare(scratch)
        make_image(scratch / "tree", scratch / "image")

    yield Case(
        "command push",
        "artifactstore push to the server, a tree it has nothing of",
        partial(_pushed, again=False),
        prepare_ours,
        floors=("skopeo copy",),
    )
    yield Case(
        "command push again",
        "the same directory once more, by another process: no content is sent (asserted by the server's counters)",
        partial(_pushed, again=True),
        prepare_ours,
        floors=("command push",),
    )
    yield Case(
        "skopeo copy",
        "skopeo copy into docker-registry: an image whose one layer is a tar, made beforehand (it compresses)",
        skopeo_copy,
        prepare_image,
    )
    yield Case(
        "skopeo copy uncompressed",
        "the same told not to compress (--preserve-digests)",
        lambda scratch: skopeo_copy(scratch, UNCOMPRESSED),
        prepare_image,
    )
    yield Case(
        "skopeo tar and copy",
        "uncompressed from the files, which skopeo does not take: tar and image made while the clock runs",
        skopeo_pack_and_copy,
        prepare,
    )
    yield Case("oras push", "oras push of the directory into docker-registry (it compresses)", oras_push, prepare)
    yield Case(
        "rclone copy",
        "rclone copy, 8 at once, into rclone serve s3 (it syncs nothing)",
        rclone_copy,
        prepare,
        most_repeats=2,
    )
    yield Case("mlflow log", "mlflow artifacts log-artifacts to an MLflow server", mlflow_log, prepare, most_repeats=1)


def _pushed(scratch: Path, *, again: bool) -> Measures:
    with serving(scratch / "home") as server:
        small_tree(scratch / "small")
        _push(server, scratch / "small", "small")
        before = _counters(server)
        first = _push(server, scratch / "tree", "tree")
        if not again:
            return first.measures
        between = _counters(server)
        second = _push(server, scratch / "tree", "tree")
        _check_nothing_was_sent(scratch / "tree", before, between, _counters(server))
        return second.measures


def _push(server: Server, folder: Path, external_id: str) -> Finished:
    arguments = ("push", str(folder), "--producer", "p", "--external-id", external_id)
    return remote(*arguments, environment=server.environment)


@dataclass(frozen=True, slots=True)
class _Counters:
    """What a server has counted: bytes of request bodies, and archives of files."""

    received_bytes: float
    archives: float


def _counters(server: Server) -> _Counters:
    lines = _text(server, "/metrics").splitlines()
    received = (line for line in lines if line.startswith("artifactstore_received_bytes_total"))
    archives = (line for line in lines if line.startswith("artifactstore_requests_total") and _PACKS_ROUTE in line)
    return _Counters(*(sum(float(line.rpartition(" ")[2]) for line in found) for found in (received, archives)))


def _check_nothing_was_sent(tree: Path, before: _Counters, between: _Counters, after: _Counters) -> None:
    """Both pushes describe the tree; the content is what the second does without."""
    content_bytes = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())
    first_bytes, second_bytes = (
        between.received_bytes - before.received_bytes,
        after.received_bytes - between.received_bytes,
    )
    if between.archives <= before.archives or first_bytes < content_bytes:
        raise FailedError("the server's counters do not show that the first push sent anything")
    if after.archives != between.archives or second_bytes > first_bytes - content_bytes:
        raise FailedError(f"the second push sent {second_bytes:,.0f} bytes in {after.archives} archives")


# H-W4


def _large_file(served: Served, data: Dataset | None) -> Iterator[Case]:
    assert data is not None
    file = next(path for path in data.folder.rglob("*") if path.is_file())
    objects = served.stores.home_of(data) / "objects"
    yield Case(
        "floor put",
        "our HTTP implementation writing to a file, one fsync, nothing hashed",
        lambda scratch: _with_floor(scratch, "put_floor", file=file),
        warm=(data.folder,),
    )
    yield Case(
        "service put",
        "PUT /packages/{id}/files/{path}",
        partial(_put, file),
        served.empty,
        (data.folder,),
        ("floor put",),
    )
    yield Case(
        "floor get",
        "our HTTP implementation sending a file in pieces of 1 MiB, unchecked",
        lambda scratch: _with_floor(scratch, "get", path="/", token="", size_bytes=file.stat().st_size),
        lambda scratch: os.link(file, scratch / "file"),
        (data.folder,),
    )
    yield Case(
        "service get",
        "GET /packages/{id}/files/{path}, every byte checked as it passes",
        partial(_got, served, data, file),
        partial(served.holding, data),
        (objects,),
        ("floor get",),
    )


def _with_floor(scratch: Path, do: str, **request: str | int | Path) -> Measures:
    with floor(scratch) as server:
        return _asked(do, address=server.address, process_id=server.process_id, **request)


def _put(file: Path, scratch: Path) -> Measures:
    with serving(scratch / "home") as server:
        _become_warm(server, scratch)
        return _asked("put_service", **_server(server), process_id=server.process_id, file=file)


def _got(served: Served, data: Dataset, file: Path, scratch: Path) -> Measures:
    path = f"/packages/{served.stores.holding(data)}/files/{file.relative_to(data.folder).as_posix()}"
    with serving(scratch / "home") as server:
        _text(server, path, {"Range": "bytes=0-0"})
        size_bytes = file.stat().st_size
        return _asked("get", **_server(server), process_id=server.process_id, path=path, size_bytes=size_bytes)


# H-load


def _load(served: Served, data: Dataset | None) -> Iterator[Case]:
    assert data is not None
    for workers in (1, 2):
        yield Case(
            f"service push with {workers} worker{'s' if workers > 1 else ''}",
            f"{_AT_ONCE} clients at once for {served.sizes.seconds} s; the times are those of one push",
            partial(_pushed_at_once, served, data, workers),
            served.empty,
            (data.folder,),
        )


def _pushed_at_once(served: Served, data: Dataset, workers: int, scratch: Path) -> Measures:
    with serving(scratch / "home", workers=workers) as server:
        _become_warm(server, scratch)
        measures, words = ask(
            _LOAD, "push_at_once", **_server(server),
            source=data.folder, clients=_AT_ONCE, seconds=served.sizes.seconds,
        )  # fmt: skip
    if words["first_error"]:
        print(f"  the first error: {words['first_error']}", file=sys.stderr)
    return measures


# H-list


def _lists(served: Served, _: Dataset | None) -> Iterator[Case]:
    few, many = PACKAGES_IN_GROUP, served.sizes.many_packages
    for name, what, path, packages in (
        ("list", "GET /packages?limit=100, after any package", _page_after, PACKAGES_IN_GROUP),
        ("find", "the same by a member of the metadata that 100 packages share", _page_of_group, PACKAGES_IN_GROUP),
        ("show", "GET /packages/{id} of any package", _one_package, 0),
    ):
        yield Case(
            f"service {name}",
            f"{what}, with {many:,} stored: the median of {served.sizes.requests} on one connection, in turn with"
            f" those to a server that has {few}",
            partial(_listed, served, path, packages),
            lambda _: (served.filled(few), served.filled(many)),
            (served.home_of(few), served.home_of(many)),
        )


def _listed(served: Served, path: Callable[[int, int, str], str], packages: int, _: Path) -> Measures:
    counts = PACKAGES_IN_GROUP, served.sizes.many_packages
    few_paths, many_paths = (
        "\n".join(path(number, count, package_id) for number, package_id in enumerate(served.filled(count)[1]))
        for count in counts
    )
    with serving(served.home_of(counts[0])) as few, serving(served.home_of(counts[1])) as many:
        return _asked(
            "get_in_turn", few_address=few.address, few_token=few.token, few_paths=few_paths,
            many_address=many.address, many_token=many.token, many_paths=many_paths, packages=packages,
        )  # fmt: skip


def _page_after(_: int, count: int, package_id: str) -> str:
    """Where a page is all there is, from the beginning."""
    after = f"&after={package_id}" if count > PACKAGES_IN_GROUP else ""
    return f"/packages?limit={PACKAGES_IN_GROUP}{after}"


def _page_of_group(number: int, count: int, _: str) -> str:
    group = number % (count // PACKAGES_IN_GROUP)
    return f"/packages?limit={PACKAGES_IN_GROUP}&metadata_key=group&metadata_value=group-{group}"


def _one_package(_: int, __: int, package_id: str) -> str:
    return f"/packages/{package_id}"


HTTP_WORKLOADS = {
    workload.name: workload
    for workload in (
        HttpWorkload("H-W1", "W1's files over HTTP, from a warm process", "W1", _small_runs),
        HttpWorkload("H-W3", "10,000 files of 4 KiB over HTTP, as whole processes", None, _trees),
        HttpWorkload("H-W4", "one file of 2 GiB over HTTP", "W4", _large_file, large=True),
        HttpWorkload("H-load", "W1's files over HTTP, 32 clients at once", "W1", _load, large=True),
        HttpWorkload("H-list", "lists and descriptions over HTTP, with few and with many packages", None, _lists),
    )
}


# what they share


def _asked(do: str, **request: str | int | Path) -> Measures:
    return ask(_CLIENTS, do, **request)[0]


def _server(server: Server) -> dict[str, str]:
    return {"address": server.address, "token": server.token}


def _text(server: Server, path: str, headers: Mapping[str, str] | None = None) -> str:
    connection = HTTPConnection(server.address, timeout=60)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {server.token}", **(headers or {})})
        response = connection.getresponse()
        text = response.read().decode(errors="replace")
    except (OSError, HTTPException) as error:
        raise FailedError(f"{path}: {error}") from error
    finally:
        connection.close()
    if response.status not in {200, 206}:
        raise FailedError(f"{path}: {response.status}: {text[:200]}")
    return text


def _become_warm(server: Server, scratch: Path) -> None:
    small_tree(scratch / "small")
    _push(server, scratch / "small", "small")
