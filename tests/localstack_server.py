"""LocalStack's S3 as a process of its own, from a virtual environment of its own: ``make test-servers`` makes it.

It verifies signatures and checksums, honours conditions and Object Lock, and lets presigned URLs end: a strict
simulator in memory. Nothing of it is imported here, and it is no dependency of the project.
"""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.s3_servers import S3Server, ready_server

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".local" / "localstack" / "bin" / "python"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
"""The only ones by which it checks presigned URLs."""
_START_TIMEOUT_S = 90
_SETTINGS = {
    "SERVICES": "s3",
    "STRICT_SERVICE_LOADING": "1",
    "EAGER_SERVICE_LOADING": "1",
    "S3_SKIP_SIGNATURE_VALIDATION": "0",
    "DISABLE_EVENTS": "1",
    "SKIP_SSL_CERT_DOWNLOAD": "1",
    "DNS_ADDRESS": "0",
}


@contextmanager
def running_localstack() -> Iterator[S3Server]:
    """A server with one bucket, ended by its process id. Fails, and is not skipped, where it is not installed."""
    python = Path(os.environ.get("LOCALSTACK_PYTHON") or PYTHON)
    if not python.exists():
        pytest.fail(f"These tests need LocalStack in {python.parents[1]}: run `make test-servers`.", pytrace=False)
    with tempfile.TemporaryDirectory(prefix="localstack-") as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        log_path = Path(folder) / "log"
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ARTIFACTSTORE_"))
        }
        environment = {**inherited, **_SETTINGS, "GATEWAY_LISTEN": f"127.0.0.1:{port}", "FILESYSTEM_ROOT": folder}
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [python, "-m", "localstack.runtime.main"],
                cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            _wait(f"http://127.0.0.1:{port}", process, log_path)
            yield ready_server(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(30)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            with urlopen(f"{url}/_localstack/health", timeout=5) as answer:
                assert answer.status == 200
                return
        except (URLError, OSError):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"LocalStack did not start:\n{log.read_text(errors='replace')}", pytrace=False)
            time.sleep(0.1)
