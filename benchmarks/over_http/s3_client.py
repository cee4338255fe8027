"""boto3 in a warm process: the files of a run put into a bucket with eight threads, again and again.

Run by whichever interpreter has boto3, so nothing of ours is imported but what needs the standard library only.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.over_http.rounds import timed_rounds
from benchmarks.processes import answer

if TYPE_CHECKING:
    from benchmarks.processes import Measures, Request

THREADS = 8


def put_series(request: Request) -> Measures:
    """Every file as one object below the round's own prefix; boto3's defaults, path-style addresses."""
    bucket, folder = str(request["bucket"]), Path(str(request["folder"]))
    client = client_of(request, threads=THREADS, checksums="when_required")

    def put(key: str, path: Path) -> None:
        with path.open("rb") as body:
            client.put_object(Bucket=bucket, Key=key, Body=body)

    with ThreadPoolExecutor(THREADS) as threads:

        def store(number: int, names: list[str]) -> None:
            puts = [threads.submit(put, f"run-{number}/{name}", folder / name) for name in names]
            for each in puts:
                each.result()

        return timed_rounds(Path(str(request["source"])), folder, rounds=int(request["rounds"]), store=store)


def client_of(request: Request, *, threads: int, checksums: str = "when_supported") -> Any:
    """boto3's own defaults (of checksums, too, unless said), path-style addresses, and nothing is tried twice."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=str(request["url"]),
        region_name="us-east-1",
        aws_access_key_id=str(request["access_key"]),
        aws_secret_access_key=str(request["secret_key"]),
        config=Config(
            s3={"addressing_style": "path"},
            max_pool_connections=threads,
            retries={"max_attempts": 1},
            request_checksum_calculation=checksums,
        ),
    )


if __name__ == "__main__":
    answer({"put_series": put_series})
