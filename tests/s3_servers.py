"""Servers that speak S3, for tests: moto (in memory, in a thread), rclone (a process over files), a failing network.

moto honours conditional writes and verifies no checksum. rclone ignores conditional writes and verifies signatures,
payloads and Content-MD5. Both are fixtures, and ``server`` is first the one, then the other; a test module imports what
it needs, with ``aws_environment``.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config

from artifactstore.bootstrap import open_registry
from artifactstore.catalog import probes
from artifactstore.config import Settings
from artifactstore.storage.s3 import S3Store
from artifactstore.storage.s3.bucket import Bucket, open_client
from artifactstore.storage.s3.options import S3Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from artifactstore.registry.registry import Registry
    from artifactstore.storage.port import ObjectKey

ACCESS_KEY, SECRET_KEY = "AKIAEXAMPLEEXAMPLE", "a-secret-key-that-is-in-no-message"
BUCKET = "objects"
REGION = "us-east-1"
IN_PARTS = {"MULTIPART_THRESHOLD_BYTES": str(5 * 1024 * 1024), "MULTIPART_PART_BYTES": str(5 * 1024 * 1024)}
"""Parts as small as S3 allows them, so that a test sends several."""


@dataclass(frozen=True)
class S3Server:
    """Where a server is, and a way past the adapter."""

    url: str
    client: Any
    folder: Path | None = None
    """Where it keeps its files, if it does."""

    def options(self, **others: str) -> dict[str, str]:
        return {"ENDPOINT_URL": self.url, "REGION": REGION, **others}

    def settings(self, **others: str) -> dict[str, str]:
        """The same, as a process finds it in its environment."""
        return {f"ARTIFACTSTORE_S3_{name}": text for name, text in self.options(**others).items()}

    def new_store(self, **options: str) -> S3Store:
        """An empty store: a prefix that nobody has used."""
        return new_store(self.options(**options))

    def stored_bytes(self, store: S3Store, key: ObjectKey) -> bytes | None:
        try:
            return self.client.get_object(**store._bucket.at(key.path))["Body"].read()
        except self.client.exceptions.NoSuchKey:
            return None

    def replace_bytes(self, store: S3Store, key: ObjectKey, data: bytes) -> None:
        self.client.put_object(**store._bucket.at(key.path), Body=data)

    def unfinished_uploads(self, store: S3Store) -> list[str]:
        try:
            found = self.client.list_multipart_uploads(Bucket=BUCKET, Prefix=store._bucket.prefix)
        except self.client.exceptions.NoSuchUpload:  # so says rclone before the first one
            return []
        return [upload["Key"] for upload in found.get("Uploads", [])]

    def keys_below(self, store: S3Store, folder: str) -> list[str]:
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=store._bucket.prefix + folder)
        return [listed["Key"] for listed in found.get("Contents", [])]


def new_store(options: dict[str, str]) -> S3Store:
    """As ``S3Store.from_url`` opens it, but with one client for all tests that ask for the same: making one is slow."""
    parsed = S3Options.parse(options)
    return S3Store(Bucket(_client(parsed), BUCKET, f"{secrets.token_hex(6)}/", parsed))


def open_on(server: S3Server, home: Path, *, bucket: str = BUCKET, prefix: str = "", **options: str) -> Registry:
    """A catalog of its own in this home, and objects in a bucket."""
    place = {"ARTIFACTSTORE_HOME": str(home), "ARTIFACTSTORE_STORAGE_URL": f"s3://{bucket}/{prefix or home.name}"}
    settings = Settings.from_environment({**server.settings(**{**IN_PARTS, **options}), **place})
    return take_as_probed(open_registry(settings, actor="local:tester"))


def take_as_probed(registry: Registry) -> Registry:
    """Spare a test the probe before the first write, which others test."""
    report = json.dumps({"reasons": [], "limits": [], "findings": [], "left_behind": 0})
    with registry.transaction() as tx:
        probes.save_report(tx.connection, probes.ProbeRow(registry.store.identity, 1, "usable", report))
    return registry


@cache
def _client(options: S3Options) -> Any:
    return open_client(options, options.endpoint_url)


@pytest.fixture(scope="session")
def aws_environment() -> Iterator[None]:
    """Credentials for boto3's own chain, and nothing of this machine's; child processes have them too."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(scope="session")
def moto(aws_environment: None) -> Iterator[S3Server]:
    """moto in a thread of this process."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield ready_server(f"http://{host}:{port}")
    finally:
        server.stop()


@pytest.fixture(scope="session")
def rclone(aws_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """``rclone serve s3`` on a directory of its own, ended by its process id."""
    folder = tmp_path_factory.mktemp("rclone")
    (folder / "rclone.conf").touch()
    (folder / "buckets").mkdir()
    command = [_rclone(), "--config", folder / "rclone.conf", "serve", "s3", folder / "buckets"]
    command += ["--addr", f"127.0.0.1:{_free_port()}", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield ready_server(f"http://{command[-3]}", folder / "buckets")
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(params=["moto", "rclone"])
def server(request: pytest.FixtureRequest) -> S3Server:
    found: S3Server = request.getfixturevalue(request.param)
    return found


def ready_server(url: str, folder: Path | None = None) -> S3Server:
    """Wait until it answers, then make the bucket."""
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=1).close()
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    quiet = Config(request_checksum_calculation="when_required", response_checksum_validation="when_required")
    client = boto3.client("s3", endpoint_url=url, region_name=REGION, config=quiet)
    client.create_bucket(Bucket=BUCKET)
    return S3Server(url, client, folder)


def _rclone() -> str:
    found = shutil.which("rclone", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    assert found is not None, "rclone is missing: install the dependency group dev"
    return found


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# a network that fails


@dataclass
class Request:
    """One request as it passes the proxy."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Fault:
    """What is to happen to requests like this one, so many times."""

    method: str
    target: str
    """A regular expression that is searched for in the path and query."""
    times: int = 1
    answer: tuple[int, str] | None = None
    """A status and S3's error code, instead of passing the request on."""
    lose_answer: bool = False
    """Pass it on, and end the connection without a word."""
    cut_answer_after: int | None = None
    """End the connection after so many bytes of the answer's body."""
    flip_body_byte: int | None = None
    """Change this byte of the request's body."""
    echo_crc32: bool = False
    """Acknowledge with the CRC-32 that was sent, as Amazon does."""
    hide: str = ""
    """A header that is lost, of the request and of the answer."""
    keep_first: str = ""
    """Of a request to delete many: pass it on without the first key, and answer that this one, or one of another name,
    could not be deleted."""
    passed_on: Callable[[], object] | None = None
    """Called once the server has answered, before the answer is given back."""


@dataclass
class S3Proxy:
    """Passes requests on to a server and lets happen what a test has planned. Remembers every request."""

    server: S3Server
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reset(self) -> None:
        """Forget what was planned and asked."""
        self.requests.clear()
        self.faults.clear()

    def plan(self, method: str, target: str = "", **what: Any) -> None:
        self.faults.append(Fault(method, target, **what))

    def new_store(self, **options: str) -> S3Store:
        """An empty store that reaches the server through the proxy."""
        return new_store({**self.server.options(**options), "ENDPOINT_URL": self.url})

    def asked(self, method: str, target: str = "") -> list[Request]:
        return [each for each in self.requests if each.method == method and re.search(target, each.target)]

    def writes(self) -> list[str]:
        """The requests that make objects or end them."""
        return [f"{each.method} {each.target}" for each in self.requests if each.method in {"PUT", "POST", "DELETE"}]

    def _take_fault(self, request: Request) -> Fault | None:
        with self._lock:
            self.requests.append(request)
            for fault in self.faults:
                if fault.times and fault.method == request.method and re.search(fault.target, request.target):
                    fault.times -= 1
                    return fault
        return None


@contextmanager
def failing_network(server: S3Server) -> Iterator[S3Proxy]:
    """A proxy before a server, for as long as the context is open."""
    proxy = S3Proxy(server)

    class Handler(_Handler):
        owner = proxy

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    proxy.url = f"http://127.0.0.1:{listener.server_address[1]}"
    thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        listener.shutdown()
        thread.join(10)
        listener.server_close()


def _without_first_key(request: Request) -> str:
    """Take it out of a request to delete many, which then is as long as it says; the key."""
    found = re.search(rb"<Object><Key>(.*?)</Key></Object>", request.body)
    assert found is not None, request.body
    request.body = request.body.replace(found[0], b"")
    request.headers = {name: value for name, value in request.headers.items() if name.lower() != "content-length"}
    return found[1].decode()


def _refusing(key: str, answer: bytes) -> bytes:
    refusal = f"<Error><Key>{key}</Key><Code>InternalError</Code><Message>planned by a test</Message></Error>"
    if b"</DeleteResult>" in answer:
        return answer.replace(b"</DeleteResult>", refusal.encode() + b"</DeleteResult>")
    return b"<?xml version='1.0'?><DeleteResult>%s</DeleteResult>" % refusal.encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: S3Proxy

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, self.path, dict(self.headers.items()), body)
        fault = self.owner._take_fault(request) or Fault("", "")
        if fault.answer is not None:
            self._refuse(*fault.answer)
            return
        if fault.flip_body_byte is not None:
            changed = bytearray(body)
            changed[fault.flip_body_byte] ^= 0xFF
            request.body = bytes(changed)
        request.headers = {name: value for name, value in request.headers.items() if name != fault.hide}
        asked = self._ask_keeping(request, fault.keep_first) if fault.keep_first else self._ask(request)
        status, headers, content = asked
        if fault.passed_on is not None:
            fault.passed_on()
        if fault.lose_answer:
            self.close_connection = True
            return
        self.send_response_only(status)
        if fault.echo_crc32:
            self.send_header("x-amz-checksum-crc32", self.headers["x-amz-checksum-crc32"])
        for name, value in headers:
            if name.lower() not in {"connection", "transfer-encoding", fault.hide.lower()}:
                self.send_header(name, value)
        if "content-length" not in {name.lower() for name, _ in headers} and self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: fault.cut_answer_after])
        if fault.cut_answer_after is not None:
            self.close_connection = True

    def _ask_keeping(self, request: Request, named: str) -> tuple[int, list[tuple[str, str]], bytes]:
        kept = _without_first_key(request)
        status, headers, content = self._ask(request)
        headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
        return status, headers, _refusing(named.format(kept), content)

    def _ask(self, request: Request) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = HTTPConnection(urlsplit(self.owner.server.url).netloc, timeout=60)
        try:
            headers = {name: value for name, value in request.headers.items() if name.lower() != "expect"}
            connection.request(request.method, request.target, request.body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _refuse(self, status: int, code: str) -> None:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>planned by a test</Message></Error>".encode()
        self.send_response_only(status)
        self.send_header("Content-Length", "0" if self.command == "HEAD" else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815 - names of the base class

    def handle(self) -> None:
        with suppress(ConnectionError):
            super().handle()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""
