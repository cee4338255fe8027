"""boto3 putting files into a bucket, in a warm process, with its own defaults. Run by whichever interpreter has it."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.over_http.s3_client import client_of
from benchmarks.processes import answer, stopwatch

if TYPE_CHECKING:
    from benchmarks.processes import Measures, Request

THREADS = 16
_DEFAULT_CONNECTIONS = 10


def put_each(request: Request) -> Measures:
    """Every file below a folder as one object, 16 at a time."""
    bucket, source = str(request["bucket"]), Path(str(request["source"]))
    client = client_of(request, threads=THREADS)

    def put(number: int, path: Path) -> None:
        client.put_object(Bucket=bucket, Key=f"each/{number}-{path.name}", Body=path.read_bytes())

    with ThreadPoolExecutor(THREADS) as threads:
        warm = [threads.submit(client.put_object, Bucket=bucket, Key=f"warm/{n}", Body=b"warm") for n in range(THREADS)]
        for each in warm:
            each.result()
        with stopwatch() as measures:
            paths = (path for path in source.rglob("*") if path.is_file())
            for each in [threads.submit(put, number, path) for number, path in enumerate(paths)]:
                each.result()
    return measures


def put_one(request: Request) -> Measures:
    """One file as one object by one request."""
    bucket = str(request["bucket"])
    client = client_of(request, threads=_DEFAULT_CONNECTIONS)
    client.put_object(Bucket=bucket, Key="warm", Body=b"warm")
    with Path(str(request["file"])).open("rb") as body, stopwatch() as measures:
        client.put_object(Bucket=bucket, Key="one", Body=body)
    return measures


def upload_files(request: Request) -> Measures:
    """``upload_file`` of every file below a folder, one after the other; it sends parts of one beside each other."""
    bucket, source = str(request["bucket"]), Path(str(request["source"]))
    client = client_of(request, threads=_DEFAULT_CONNECTIONS)
    client.upload_fileobj(io.BytesIO(b"warm"), bucket, "warm")
    with stopwatch() as measures:
        for path in sorted(path for path in source.rglob("*") if path.is_file()):
            client.upload_file(str(path), bucket, f"uploaded/{path.relative_to(source).as_posix()}")
    return measures


if __name__ == "__main__":
    answer({"put_each": put_each, "put_one": put_one, "upload_files": upload_files})
