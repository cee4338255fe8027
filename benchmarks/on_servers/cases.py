"""What is measured on S3 and PostgreSQL: each run has servers of its own, which are new, and takes one measurement.

A case's name says who does what: ``ours …`` (the library in a warm process), ``command …`` (our command line as a whole
process), ``boto3 …`` (boto3 in a warm process), ``service …`` (``artifactstore serve``, asked by the load generator).
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.cases import Case
from benchmarks.commands import remote, tree_bytes
from benchmarks.on_servers.boto3_peer import THREADS
from benchmarks.on_servers.processor import machine_cpu_s
from benchmarks.on_servers.relay import WRITING, relaying
from benchmarks.on_servers.shared import POSTGRESQL, SQLITE, OnServers, Together, ask_ours, s3_settings
from benchmarks.over_http.peers import boto3_interpreter
from benchmarks.over_http.servers import ACCESS_KEY, BUCKET, SECRET_KEY, private_home, s3
from benchmarks.over_http.trees import fresh_tree, small_tree
from benchmarks.processes import FailedError, UnavailableError, ask, ask_another

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from benchmarks.data import Dataset
    from benchmarks.on_servers.shared import Settings
    from benchmarks.over_http.servers import Server
    from benchmarks.processes import Measures


_OURS, _GROWING, _BOTO3 = (
    "benchmarks.on_servers.ours",
    "benchmarks.on_servers.growing",
    "benchmarks.on_servers.boto3_peer",
)
_LOAD = "benchmarks.over_http.load"
_MIB = 1024 * 1024
_PER_BYTES = 64 * _MIB
_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class ServerWorkload:
    """A part of the measurement: in words, the data it needs from disk, and its cases."""

    name: str
    what: str
    data: str | None
    cases: Callable[[OnServers, Dataset | None], Iterator[Case]]
    large: bool = False


# S-W3


def _many_files(shared: OnServers, data: Dataset | None) -> Iterator[Case]:
    assert data is not None
    yield Case(
        "ours ingest",
        "into an empty store on this disk",
        partial(_ingested_on, shared, data, SQLITE),
        shared.prepare,
        (data.folder,),
    )
    yield _ours_to_s3(shared, data, ("ours ingest", "boto3 put one"))
    yield _counted(shared, data)
    yield Case(
        "ours ingest of twice as much to S3, counted",
        "the same of twice as many files: a pack becomes full",
        lambda scratch: _counted_to_s3(scratch / "twice", scratch),
        partial(_prepare_twice, shared),
        most_repeats=1,
    )
    yield _command_to_s3(shared, data)
    yield Case(
        "boto3 put one",
        "put_object of one file that is as long as all of them, by one request",
        partial(_put_one, data),
        partial(_as_one_file, data),
    )
    yield Case(
        "boto3 put each",
        f"put_object of every file, {THREADS} at once",
        lambda scratch: _boto3("put_each", scratch, source=data.folder),
        warm=(data.folder,),
        most_repeats=1,
    )


def _ours_to_s3(shared: OnServers, data: Dataset, floors: tuple[str, ...]) -> Case:
    return Case(
        "ours ingest to S3",
        "the same into an empty store whose objects are in S3, from a warm process",
        partial(_ingested_to_s3, data),
        shared.prepare,
        (data.folder,),
        floors,
    )


def _command_to_s3(shared: OnServers, data: Dataset) -> Case:
    return Case(
        "command push to S3",
        "artifactstore push, into a store whose objects are in S3 and which has taken something small",
        partial(_pushed_to_s3, data),
        shared.prepare,
        (data.folder,),
    )


def _counted(shared: OnServers, data: Dataset) -> Case:
    return Case(
        "ours ingest to S3, counted",
        "artifactstore push through a relay that counts the requests (its time says nothing)",
        partial(_counted_to_s3, data.folder),
        shared.prepare,
        (data.folder,),
        most_repeats=1,
    )


def _ingested_to_s3(data: Dataset, scratch: Path) -> Measures:
    with s3(scratch) as server:
        measures = _ingested(data, scratch, s3_settings(server, scratch))
        _expect_bytes(server, data.total_bytes)
    return measures


def _pushed_to_s3(data: Dataset, scratch: Path) -> Measures:
    with s3(scratch) as server:
        settings = s3_settings(server, scratch)
        _push(scratch / "small", "small", settings)
        measures = _pushed(data, settings)
        _expect_bytes(server, data.total_bytes)
    return measures


def _counted_to_s3(folder: Path, scratch: Path) -> Measures:
    """By our command: what a process asks S3 when it begins is counted, what a store asks once in its life is not."""
    total_bytes = tree_bytes(folder)
    with s3(scratch) as server, relaying(server.address) as relay:
        settings = s3_settings(server, scratch, url=relay.url)
        _push(scratch / "small", "small", settings)
        relay.forget()
        measures = _push(folder, "pushed", settings)
        _expect_bytes(server, total_bytes)
    counts = {f"{method.lower()}_requests": float(relay.counts[method]) for method in (*WRITING, "HEAD", "GET")}
    begun = -(-total_bytes // _PER_BYTES)
    return {**measures, **counts, "writing_requests": relay.writes, "writing_requests_per_64_mib": relay.writes / begun}


def _prepare_twice(shared: OnServers, scratch: Path) -> None:
    shared.prepare(scratch)
    for name in ("one", "two"):
        fresh_tree("W3", scratch / "twice" / name, seed=shared.seed, quick=shared.quick)


def _as_one_file(data: Dataset, scratch: Path) -> None:
    with (scratch / "one").open("wb") as one:
        for path in data.folder.rglob("*"):
            if path.is_file():
                one.write(path.read_bytes())


def _put_one(data: Dataset, scratch: Path) -> Measures:
    if (scratch / "one").stat().st_size != data.total_bytes:
        raise FailedError("the one file is not as long as all of them")
    return _boto3("put_one", scratch, file=scratch / "one")


def _boto3(do: str, scratch: Path, **request: str | int | Path) -> Measures:
    python = boto3_interpreter()
    if python is None:
        raise UnavailableError("boto3 is not installed (pip install boto3, in an interpreter that is on the PATH)")
    with s3(scratch) as server:
        keys = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
        return ask_another(python, private_home(scratch), _BOTO3, do, url=server.url, bucket=BUCKET, **keys, **request)[
            0
        ]


def _expect_bytes(server: Server, size_bytes: int) -> None:
    if tree_bytes(server.folder) < size_bytes:
        raise FailedError("S3 has fewer bytes than the files")


# S-W5


def _large_files(shared: OnServers, data: Dataset | None) -> Iterator[Case]:
    assert data is not None
    yield _ours_to_s3(shared, data, ("boto3 upload_file",))
    yield Case(
        "boto3 upload_file",
        "upload_file of every file, one after the other, with boto3's own parts and threads",
        lambda scratch: _boto3("upload_files", scratch, source=data.folder),
        warm=(data.folder,),
    )
    yield _command_to_s3(shared, data)
    yield _counted(shared, data)


# P-W1, P-W3


def _small_run(shared: OnServers, data: Dataset | None) -> Iterator[Case]:
    assert data is not None
    rounds = shared.sizes.rounds
    for kind in (SQLITE, POSTGRESQL):
        yield _command_on(shared, data, kind)
        yield Case(
            f"ours ingest on {kind}",
            f"from a warm process: the median of {rounds} ingests, every file changed before each",
            partial(_ingested_again_and_again, shared, data, kind),
            shared.prepare,
            (data.folder,),
            () if kind == SQLITE else (f"ours ingest on {SQLITE}",),
        )


def _many_rows(shared: OnServers, data: Dataset | None) -> Iterator[Case]:
    assert data is not None
    for kind in (SQLITE, POSTGRESQL):
        yield _command_on(shared, data, kind)
        yield Case(
            f"ours ingest on {kind}",
            "into an empty store, from a warm process",
            partial(_ingested_on, shared, data, kind),
            shared.prepare,
            (data.folder,),
            () if kind == SQLITE else (f"ours ingest on {SQLITE}",),
        )


def _command_on(shared: OnServers, data: Dataset, kind: str) -> Case:
    return Case(
        f"command push on {kind}",
        f"artifactstore push, into an empty store whose catalog is in {kind}",
        partial(_pushed_on, shared, data, kind),
        shared.prepare,
        (data.folder,),
        () if kind == SQLITE else (f"command push on {SQLITE}",),
    )


def _ingested_on(shared: OnServers, data: Dataset, kind: str, scratch: Path) -> Measures:
    with shared.database(kind, scratch) as settings:
        return _ingested(data, scratch, settings)


def _ingested_again_and_again(shared: OnServers, data: Dataset, kind: str, scratch: Path) -> Measures:
    with shared.database(kind, scratch) as settings:
        places = {"source": data.folder, "folder": scratch / "run"}
        return ask_ours("ingest_series", settings, **places, rounds=shared.sizes.rounds)


def _pushed_on(shared: OnServers, data: Dataset, kind: str, scratch: Path) -> Measures:
    with shared.database(kind, scratch) as settings:
        return _pushed(data, settings)


# P-flat


def _growing(shared: OnServers, _: Dataset | None) -> Iterator[Case]:
    sizes = shared.sizes
    for kind in (SQLITE, POSTGRESQL):
        yield Case(
            f"ours ingest on {kind}",
            f"one package of 10 files whose bytes stay in memory, with {sizes.packages:,} stored: the median of"
            f" the last {sizes.timed:,}, by the batch, in turn with the first {sizes.timed:,} of another store",
            partial(_grown, shared, kind),
            shared.prepare,
            most_repeats=1,
        )


def _grown(shared: OnServers, kind: str, scratch: Path) -> Measures:
    sizes = shared.sizes
    with shared.two_databases(kind, scratch) as (settings, other):
        named = {f"other_{name}": value for name, value in other.items() if name.startswith("ARTIFACTSTORE_")}
        return ask_another(
            sys.executable, settings, _GROWING, "grow",
            count=sizes.packages, timed=sizes.timed, warm=sizes.warm, seed=shared.seed, **named,
        )[0]  # fmt: skip


# M-2


def _several_servers(shared: OnServers, data: Dataset | None) -> Iterator[Case]:
    assert data is not None
    for count, words in ((1, "1 server"), (2, "2 servers")):
        yield Case(
            f"service push with {words}",
            f"{_AT_ONCE} clients at once for {shared.sizes.seconds} s; the times are those of one push",
            partial(_pushed_at_once, shared, data, count),
            lambda scratch: shutil.copytree(shared.stores.empty(), scratch / "home"),
            (data.folder,),
        )


def _pushed_at_once(shared: OnServers, data: Dataset, count: int, scratch: Path) -> Measures:
    with shared.several(count, scratch) as together:
        for server in together.servers:
            small_tree(scratch / f"small-{server.process_id}")
            _push(scratch / f"small-{server.process_id}", f"small-{server.process_id}", server.environment)
        before = _Used.so_far(together)
        measures, words = ask(
            _LOAD, "push_at_once", address=" ".join(server.address for server in together.servers),
            token=together.servers[0].token, source=data.folder, clients=_AT_ONCE, seconds=shared.sizes.seconds,
        )  # fmt: skip
        cores = _Used.so_far(together).cores_since(before, measures)
    if words["first_error"]:
        print(f"  the first error: {words['first_error']}", file=sys.stderr)
    return {**measures, **cores, "most_pushes_per_s": _most_with_two(measures["pushes_per_s"], cores)}


def _most_with_two(pushes_per_s: float, cores: Measures) -> float:
    """What two servers could reach at this cost of a push: twice as much, or until no processor core is left."""
    used = cores["used_cores"]
    return pushes_per_s * min(2.0, max(1.0, (used + cores["idle_cores"]) / used))


@dataclass(frozen=True, slots=True)
class _Used:
    """Seconds of processor time so far, and when that was."""

    by_name: Mapping[str, float]
    children_s: float
    """Of our own children that have ended: the load generator."""
    machine_s: float
    at: float

    @classmethod
    def so_far(cls, together: Together) -> _Used:
        times = os.times()
        children_s = times.children_user + times.children_system
        return cls(together.cpu_s(), children_s, machine_cpu_s(), time.monotonic())

    def cores_since(self, before: _Used, load: Measures) -> Measures:
        """How many cores each kept busy while the load lasted. The generator's start is not the load's."""
        load_s = load["pushes"] / load["pushes_per_s"]
        spent = {name: self.by_name[name] - before.by_name[name] for name in self.by_name}
        known_s = sum(spent.values()) + self.children_s - before.children_s
        other = max(0.0, self.machine_s - before.machine_s - known_s) / (self.at - before.at)
        cores = {f"{name}_cores": cpu_s / load_s for name, cpu_s in spent.items()}
        used = sum(cores.values()) + load["generator_cores"]
        idle = max(0.0, (os.cpu_count() or 1) - used - other)
        return {**cores, "used_cores": used, "other_cores": other, "idle_cores": idle}


SERVER_WORKLOADS = {
    workload.name: workload
    for workload in (
        ServerWorkload("S-W3", "10,000 files of 4 KiB into S3", "W3", _many_files),
        ServerWorkload("S-W5", "20 files of 64 MiB into S3", "W5", _large_files, large=True),
        ServerWorkload("P-W1", "W1's files, with the catalog in SQLite and in PostgreSQL", "W1", _small_run),
        ServerWorkload("P-W3", "10,000 files of 4 KiB, with the catalog in SQLite and in PostgreSQL", "W3", _many_rows),
        ServerWorkload("P-flat", "packages of 10 files, with few and with many stored", None, _growing, large=True),
        ServerWorkload(
            "M-2",
            "W1's files over HTTP to one server and to two, on PostgreSQL and S3",
            "W1",
            _several_servers,
            large=True,
        ),
    )
}


# what they share


def _ingested(data: Dataset, scratch: Path, settings: Settings) -> Measures:
    places = {"source": data.folder, "small": scratch / "small"}
    return ask_ours("ingest", settings, **places, files=data.file_count)


def _pushed(data: Dataset, settings: Settings) -> Measures:
    return _push(data.folder, "pushed", settings)


def _push(folder: Path, external_id: str, settings: Settings) -> Measures:
    arguments = ("push", str(folder), "--producer", "benchmark", "--external-id", external_id)
    return remote(*arguments, environment=settings).measures
