"""What callers notice of a scrub: the slowest of a hundred of their calls, one after the other. Run as a child."""

from __future__ import annotations

import random
import statistics
import time
from contextlib import closing
from http.client import HTTPConnection
from typing import TYPE_CHECKING

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.domain.package import BytesSource, FileDraft, PackageDraft
from artifactstore.domain.retention import RetentionClass
from artifactstore.registry.ingest import ingest
from benchmarks.life_cycle.ours import is_scrubbing
from benchmarks.processes import FailedError, answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.processes import Measures, Request

_FILES, _FILE_BYTES = 5, 2_000
_WARM = 20
_PATIENCE_S = 30.0


def getting(request: Request) -> Measures:
    """GETs of small files over one connection that is kept."""
    host, _, port = str(request["address"]).partition(":")
    headers = {"Authorization": f"Bearer {request['token']}"}
    paths = _paths_of_newest()
    connection = HTTPConnection(host, int(port), timeout=60)

    def get(number: int) -> None:
        connection.request("GET", paths[number % len(paths)], headers=headers)
        with connection.getresponse() as answered:
            if answered.status != 200 or len(answered.read()) != int(request["file_bytes"]):
                raise FailedError(f"a GET was answered with {answered.status}")

    with closing(connection):
        return _timed(get, request)


def ingesting(request: Request) -> Measures:
    """Small packages, stored by the library."""
    numbers = random.Random(f"{request['seed']}/{request['scrub']}")
    with closing(open_registry(Settings.from_environment())) as registry:

        def store(number: int) -> None:
            files = tuple(
                FileDraft(f"file-{at}.txt", BytesSource(numbers.randbytes(_FILE_BYTES)), "content", "text/plain")
                for at in range(_FILES)
            )
            name = f"{request['scrub']}-{number}"
            ingest(registry, PackageDraft("foreground", files, RetentionClass.RAW_EVIDENCE, external_id=name))

        return _timed(store, request)


def _paths_of_newest() -> list[str]:
    """The files of the package that was stored last."""
    with closing(open_registry(Settings.from_environment())) as registry, registry.catalog.snapshot() as queries:
        package = queries.packages(after=0, limit=1_000)[-1]
        files = queries.located_files(package.row_id, after_index=-1, limit=100)
    return [f"/packages/{package.package_id}/files/{file.path}" for file in files]


def _timed(call: Callable[[int], None], request: Request) -> Measures:
    """Median and p99. With a scrub, it must be under way from the first call to the last, else there is no figure."""
    count, wanted = int(request["timed"]), bool(request["scrub"])
    for number in range(_WARM):
        call(count + number)
    with closing(open_registry(Settings.from_environment())) as registry:
        give_up_at = time.monotonic() + _PATIENCE_S
        while wanted and not is_scrubbing(registry) and time.monotonic() < give_up_at:
            time.sleep(0.1)
        times_s = list(_times_s(call, count))
        if is_scrubbing(registry) != wanted:
            raise FailedError("the scrub was not under way until the end" if wanted else "a scrub was under way")
    return {"wall_s": statistics.median(times_s), "p99_s": _p99(times_s), "slowest_s": max(times_s)}


def _times_s(call: Callable[[int], None], count: int) -> Iterator[float]:
    for number in range(count):
        began = time.perf_counter()
        call(number)
        yield time.perf_counter() - began


def _p99(times_s: Sequence[float]) -> float:
    return sorted(times_s)[min(len(times_s) - 1, len(times_s) * 99 // 100)]


if __name__ == "__main__":
    answer({"get": getting, "ingest": ingesting})
