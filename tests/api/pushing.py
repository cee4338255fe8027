"""A producer's side of a push, in as few words as a test wants to spend on it."""

from __future__ import annotations

import io
import socket
import zipfile
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

from blake3 import blake3

from artifactstore.registry.packages import list_packages
from artifactstore.registry.verify import verify_all
from artifactstore.testing.builders import some_bytes
from tests.support import replay_is_exact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tests.service import Answer, Server

FILES = {"a.txt": b"alpha", "b/c.log": b"gamma" * 900, "b/empty": b"", "z/größe.json": b"{}"}
ANSWER_TIMEOUT_S = 30


def unique(prefix: str = "run") -> str:
    """An external id that no other test of the shared server has."""
    return f"{prefix}-{uuid4().hex}"


def fresh_files(count: int = 3, *, size_bytes: int = 500) -> dict[str, bytes]:
    """Files that no package has yet."""
    nonce = uuid4().int
    return {f"d{number % 2}/f{number:03}": some_bytes(size_bytes, nonce + number) for number in range(count)}


def blake3_of(data: bytes) -> str:
    return f"blake3:{blake3(data).hexdigest()}"


def sha256_of(data: bytes) -> str:
    return f"sha256:{sha256(data).hexdigest()}"


def declared(path: str, data: bytes, **others: Any) -> dict[str, Any]:
    """What ``POST /packages`` is told of a file; ``others`` override."""
    told = {"path": path, "size": len(data), "blake3": blake3_of(data), "sha256": sha256_of(data)}
    return {**told, **others}


def all_declared(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    return [declared(path, data) for path, data in files.items()]


def zipped(files: Mapping[str, bytes] | Iterable[tuple[str, bytes]], **options: Any) -> bytes:
    target = io.BytesIO()
    pairs = files.items() if hasattr(files, "items") else files
    with zipfile.ZipFile(target, "w", **options) as archive:
        for path, data in pairs:
            archive.writestr(path, data)
    return target.getvalue()


def open_(
    server: Server,
    files: Mapping[str, bytes] | None = None,
    *,
    token: str = "writer",
    headers: Mapping[str, str] | None = None,
    **package: Any,
) -> Answer:
    """``POST /packages``; ``files`` are declared if they are given."""
    body = {"producer": "p", **package}
    if files is not None:
        body["files"] = all_declared(files)
    return server.ask("POST", "/packages", token=token, headers=headers, json_body=body)


def opened(server: Server, files: Mapping[str, bytes] | None = None, *, token: str = "writer", **package: Any) -> str:
    """The id of a package that is open now."""
    answer = open_(server, files, token=token, **package)
    assert answer.status == 201, answer.body
    return answer.json["package_id"]


def missing(server: Server, package_id: str, *, token: str = "writer") -> Any:
    answer = server.ask("GET", f"/packages/{package_id}/missing", token=token)
    assert answer.status == 200, answer.body
    return answer.json


def send_zip(server: Server, package_id: str, archive: bytes, *, token: str = "writer") -> Answer:
    headers = {"Content-Type": "application/zip"}
    return server.ask("POST", f"/packages/{package_id}/packs", token=token, headers=headers, body=archive)


def put(
    server: Server,
    package_id: str,
    path: str,
    data: bytes,
    *,
    token: str = "writer",
    query: str = "",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    target = f"/packages/{package_id}/files/{quote(path)}{query}"
    return server.ask("PUT", target, token=token, headers=headers, body=data)


def finalize(server: Server, package_id: str, *, token: str = "writer") -> Answer:
    return server.ask("POST", f"/packages/{package_id}/finalize", token=token)


def push(server: Server, files: Mapping[str, bytes], *, token: str = "writer", **package: Any) -> Any:
    """Declare, send what is missing as one ZIP, finalize: the receipt."""
    answer = open_(server, files, token=token, **package)
    assert answer.status in {200, 201}, answer.body
    state = answer.json
    if state["receipt"] is not None:
        return state["receipt"]
    wanted = set(state["missing"])
    archive = zipped({path: data for path, data in files.items() if blake3_of(data) in wanted})
    sent = send_zip(server, state["package_id"], archive, token=token) if wanted else None
    assert sent is None or sent.status == 200, sent.body
    receipt = finalize(server, state["package_id"], token=token)
    assert receipt.status == 200, receipt.body
    return receipt.json


def problem(answer: Answer) -> tuple[int, str]:
    """Status and code of a problem document."""
    assert answer.headers["Content-Type"] == "application/problem+json", (answer.status, answer.body)
    assert answer.json["status"] == answer.status
    return answer.status, answer.json["code"]


def places(answer: Answer) -> list[str]:
    """Where the problems of a problem document are."""
    return [each["where"] for each in answer.json["problems"]]


# resumable uploads


def begin_upload(server: Server, package_id: str, path: str, size: int, **more: Any) -> Answer:
    body = {"path": path, "size": size, **more}
    return server.ask("POST", f"/packages/{package_id}/uploads", token="writer", json_body=body)


def upload_headers(offset: int, *, last: bool = False) -> dict[str, str]:
    return {
        "Content-Type": "application/partial-upload",
        "Upload-Offset": str(offset),
        "Upload-Complete": "?1" if last else "?0",
    }


def append(server: Server, upload: str, offset: int, data: bytes, *, last: bool = False) -> Answer:
    """``PATCH``; ``upload`` is the path of its URL."""
    return server.ask("PATCH", upload, token="writer", headers=upload_headers(offset, last=last), body=data)


def standing(server: Server, upload: str) -> int:
    """Where ``HEAD`` says that an upload is."""
    answer = server.ask("HEAD", upload, token="writer")
    assert answer.status == 204, answer.status
    return int(answer.headers["Upload-Offset"])


# below HTTP


@contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    """A connection of our own, to break off or to lie on."""
    parts = urlsplit(server.url)
    assert parts.hostname is not None
    with socket.create_connection((parts.hostname, parts.port or 80), timeout=ANSWER_TIMEOUT_S) as connection:
        yield connection


def head(server: Server, method: str, path: str, token: str = "writer", **headers: object) -> bytes:
    """A request's line and headers; ``Content_Length=5`` is ``Content-Length: 5``."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {urlsplit(server.url).netloc}"]
    lines += [f"Authorization: Bearer {server.tokens[token]}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def break_off(server: Server, request: bytes) -> None:
    """Send a part of a request and vanish."""
    with connected(server) as connection:
        connection.sendall(request)


def answer_on(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of the answer that comes on a connection; the body is measured by its Content-Length."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _some(connection)
    start, _, body = received.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in start.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while len(body) < int(lengths[0]):
        body += _some(connection)
    return int(start.split(b" ")[1]), body


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    assert data, "the connection was closed in the middle of an answer"
    return data


# what a store is like afterwards


def check_store(server: Server) -> dict[str, str]:
    """Everything recorded is whole and the log explains it; package ids by external id, each revision once."""
    registry = server.registry()
    try:
        assert [] == verify_all(registry).damage
        replay_is_exact(registry)
        packages = list_packages(registry, limit=10_000)
        assert {"finalized"} >= {package.status for package in packages}
        names = [(package.external_id or package.manifest_digest, package.revision) for package in packages]
        assert len(set(names)) == len(names), "a package was recorded twice"
        return {str(package.external_id): package.package_id for package in packages}
    finally:
        registry.close()


def fetched(server: Server, package_id: str, paths: Iterable[str]) -> dict[str, bytes]:
    answers = {path: server.ask("GET", f"/packages/{package_id}/files/{quote(path)}", token="reader") for path in paths}
    assert {200} == {answer.status for answer in answers.values()}
    return {path: answer.body for path, answer in answers.items()}
