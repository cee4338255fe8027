"""A small S3 server in memory that can be told to misbehave, in one way at a time.

Without a misbehaviour it does as S3 does what the adapter and the probe ask of it, but for signatures, which it does
not check: ranges, conditions, checksums, trailers, pages, uploads in parts, copies.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
import zlib
from base64 import b64encode
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.s3_servers import BUCKET, REGION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHUNK = re.compile(rb"([0-9a-f]+)[^\r]*\r\n")
_PART_NUMBER = re.compile(rb"<PartNumber>(\d+)</PartNumber>")


class Misbehaviour(StrEnum):
    ALTERS = "stores the bytes with a frame around them"
    FORGETS = "acknowledges and keeps nothing"
    SLOW_TO_SHOW = "shows what it has acknowledged only a while later"
    TORN = "keeps what came of an upload that broke off"
    IGNORES_RANGES = "answers a range with the whole object"
    SHIFTS_RANGES = "answers a range with bytes from one further on"
    LISTS_OUT_OF_ORDER = "lists the newest first"
    LISTS_HALF = "leaves the last object of every page but the last out"
    LISTS_OLD = "does not list what was put in the last seconds"
    LISTS_DELETED = "goes on to list what was deleted"
    LOSES_OVERWRITTEN = "loses an object that is written again"
    KEEPS_DELETED = "acknowledges a delete and does nothing"
    DELETES_BY_PREFIX = "deletes what begins with the name, too"
    DELETES_ONCE = "refuses to delete what is not there"
    IGNORES_CONDITIONS = "passes over If-None-Match"
    SEVERAL_WINNERS = "looks whether there is one, and a moment later writes"
    REFUSES_CONDITIONS = "knows no If-None-Match"
    IGNORES_CHECKSUMS = "passes over checksums"
    KEEPS_REFUSED = "refuses a wrong checksum and keeps the object"
    STORES_TRAILERS = "does not know bodies in chunks"
    NO_PARTS = "knows no uploads in parts"
    SHOWS_UNFINISHED = "shows the parts of an upload that is not complete"
    URLS_FOR_EVER = "takes presigned URLs after their time"
    WRONG_CLOCK = "is an hour behind"
    FAILS_LISTING = "lists one name and refuses to list more"


@dataclass
class BadS3:
    """One server."""

    how: Misbehaviour | None = None
    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    put_at: dict[str, float] = field(default_factory=dict)
    uploads: dict[str, tuple[str, dict[int, bytes]]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    requests: int = 0
    hooks: dict[int, Callable[[], object]] = field(default_factory=dict)
    """What is done before the request of this number is answered, once."""

    def do_at(self, number: int, action: Callable[[], object]) -> None:
        """Counted from now."""
        self.hooks[self.requests + number] = action

    def options(self) -> dict[str, str]:
        return {"ENDPOINT_URL": self.url, "REGION": REGION}

    def settings(self) -> dict[str, str]:
        """What makes the command line use it."""
        options = {f"ARTIFACTSTORE_S3_{name}": value for name, value in self.options().items()}
        return {"ARTIFACTSTORE_STORAGE_URL": f"s3://{BUCKET}/a", **options}


@contextmanager
def bad_s3(how: Misbehaviour | None = None) -> Iterator[BadS3]:
    """A server with one bucket for as long as the context is open."""
    server = BadS3(how)

    class Handler(_Handler):
        owner = server

    listener = _Listener(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{listener.server_address[1]}"
    thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        thread.join(10)
        listener.server_close()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Whoever hung up does not read the answer."""


class _RefusedError(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 64 * 1024  # headers and body in one packet
    owner: BadS3

    def _serve(self, answer: Callable[[], None]) -> None:
        parts = urlsplit(self.path)
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))
        _, bucket, *name = unquote(parts.path).split("/", 2)
        self.name = name[0] if name else ""
        self.owner.requests += 1
        self.owner.hooks.pop(self.owner.requests, lambda: None)()
        try:
            self.body = self._read_body()
            self._check(bucket)
            answer()
        except _RefusedError as refusal:
            self._answer(refusal.status, f"<Error><Code>{refusal.code}</Code></Error>".encode())

    def do_GET(self) -> None:
        self._serve(self._get)

    def do_HEAD(self) -> None:
        self._serve(self._get)

    def do_PUT(self) -> None:
        self._serve(self._put)

    def do_POST(self) -> None:
        self._serve(self._post)

    def do_DELETE(self) -> None:
        self._serve(self._delete)

    def handle_expect_100(self) -> bool:
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def log_message(self, *_: object) -> None:
        pass

    def date_time_string(self, timestamp: float | None = None) -> str:
        behind = 3600 if self.how is Misbehaviour.WRONG_CLOCK else 0
        return super().date_time_string((time.time() if timestamp is None else timestamp) - behind)

    @property
    def how(self) -> Misbehaviour | None:
        return self.owner.how

    # what comes in

    def _read_body(self) -> bytes:
        announced = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(announced)
        if len(body) < announced:
            self.close_connection = True
            if self.how is Misbehaviour.TORN:
                self._keep(self.name, body)
            raise _RefusedError(400, "IncompleteBody")
        if self.headers.get("X-Amz-Trailer") and self.how is not Misbehaviour.STORES_TRAILERS:
            body = _decoded(body)
        return body

    def _check(self, bucket: str) -> None:
        if bucket != BUCKET:
            raise _RefusedError(404, "NoSuchBucket")
        if "X-Amz-Expires" not in self.query or self.how is Misbehaviour.URLS_FOR_EVER:
            return
        signed = datetime.strptime(self.query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        if time.time() > signed + int(self.query["X-Amz-Expires"]):
            raise _RefusedError(403, "AccessDenied")

    def _check_sums(self) -> None:
        sums = {
            "Content-MD5": hashlib.md5(self.body).digest(),
            "x-amz-checksum-sha256": hashlib.sha256(self.body).digest(),
            "x-amz-checksum-crc32": zlib.crc32(self.body).to_bytes(4, "big"),
        }
        if self.how is not Misbehaviour.IGNORES_CHECKSUMS:
            for name, found in sums.items():
                if self.headers.get(name, b64encode(found).decode()) != b64encode(found).decode():
                    if self.how is Misbehaviour.KEEPS_REFUSED:
                        self._keep(self.name, self.body)
                    raise _RefusedError(400, "BadDigest")

    @contextmanager
    def _condition(self) -> Iterator[None]:
        """Whatever is done in this context is done only if there is no object, when the request says so."""
        if self.headers.get("If-None-Match") is None or self.how is Misbehaviour.IGNORES_CONDITIONS:
            yield
            return
        if self.how is Misbehaviour.REFUSES_CONDITIONS:
            raise _RefusedError(501, "NotImplemented")
        if self.how is Misbehaviour.SEVERAL_WINNERS:
            self._require_absent()
            time.sleep(0.1)
            yield
            return
        with self.owner.lock:
            self._require_absent()
            yield

    def _require_absent(self) -> None:
        if self.name in self.owner.objects:
            raise _RefusedError(412, "PreconditionFailed")

    def _keep(self, name: str, body: bytes) -> None:
        again = name in self.owner.objects
        if self.how is Misbehaviour.FORGETS:
            return
        if self.how is Misbehaviour.ALTERS and body:
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        self.owner.objects[name] = body
        self.owner.put_at[name] = time.monotonic()
        if again and self.how is Misbehaviour.LOSES_OVERWRITTEN:
            del self.owner.objects[name]

    # requests

    def _put(self) -> None:
        if "partNumber" in self.query:
            upload = self.owner.uploads.get(self.query["uploadId"])
            if upload is None:
                raise _RefusedError(404, "NoSuchUpload")
            self._check_sums()
            upload[1][int(self.query["partNumber"])] = self.body
            if self.how is Misbehaviour.SHOWS_UNFINISHED:
                self._keep(self.name, self.body)
        elif source := self.headers.get("x-amz-copy-source"):
            found = self._object(unquote(source).removeprefix("/").partition("/")[2])
            self._keep(self.name, found)
            self._answer(200, b"<CopyObjectResult><ETag>x</ETag></CopyObjectResult>")
            return
        else:
            self._check_sums()
            with self._condition():
                self._keep(self.name, self.body)
        self._answer(200, b"", {"ETag": f'"{hashlib.md5(self.body).hexdigest()}"'})

    def _post(self) -> None:
        if self.how is Misbehaviour.NO_PARTS:
            raise _RefusedError(501, "NotImplemented")
        if "uploads" in self.query:
            upload_id = f"upload-{self.owner.requests}-{threading.get_ident()}"
            self.owner.uploads[upload_id] = (self.name, {})
            self._answer(200, f"<Result><UploadId>{upload_id}</UploadId></Result>".encode())
            return
        upload = self.owner.uploads.get(self.query["uploadId"])
        if upload is None:
            raise _RefusedError(404, "NoSuchUpload")
        numbers = [int(number) for number in _PART_NUMBER.findall(self.body)]
        parts = [upload[1][number] for number in numbers]
        if any(len(part) < 5 * 1024 * 1024 for part in parts[:-1]):
            raise _RefusedError(400, "EntityTooSmall")
        with self._condition():
            self._keep(self.name, b"".join(parts))
        del self.owner.uploads[self.query["uploadId"]]
        self._answer(200, b"<Result><ETag>x</ETag></Result>")

    def _delete(self) -> None:
        if "uploadId" in self.query:
            self.owner.uploads.pop(self.query["uploadId"], None)
        elif self.how is Misbehaviour.DELETES_BY_PREFIX:
            for name in [name for name in self.owner.objects if name.startswith(self.name)]:
                del self.owner.objects[name]
        elif self.how is Misbehaviour.DELETES_ONCE and self.name not in self.owner.objects:
            raise _RefusedError(404, "NoSuchKey")
        elif self.how is not Misbehaviour.KEEPS_DELETED:
            self.owner.objects.pop(self.name, None)
        self._answer(204, b"")

    def _get(self) -> None:
        if self.name:
            self._get_object()
        elif "versioning" in self.query:
            self._answer(200, b"<VersioningConfiguration/>")
        elif "object-lock" in self.query:
            raise _RefusedError(404, "ObjectLockConfigurationNotFoundError")
        elif "versions" in self.query:
            raise _RefusedError(501, "NotImplemented")
        elif "uploads" in self.query:
            found = [(id_, name) for id_, (name, _) in self.owner.uploads.items()]
            rows = [f"<Upload><Key>{escape(name)}</Key><UploadId>{id_}</UploadId></Upload>" for id_, name in found]
            self._answer(200, f"<Result>{''.join(rows)}</Result>".encode())
        else:
            self._list()

    def _get_object(self) -> None:
        data = self._object(self.name)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        headers = {"ETag": f'"{hashlib.md5(data).hexdigest()}"'}
        if wanted is None or self.how is Misbehaviour.IGNORES_RANGES:
            self._answer(200, data, headers)
            return
        start = int(wanted[1])
        end = min(int(wanted[2]) + 1 if wanted[2] else len(data), len(data))
        if start >= len(data):
            raise _RefusedError(416, "InvalidRange")
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
        shift = 1 if self.how is Misbehaviour.SHIFTS_RANGES else 0
        self._answer(206, (data + b"?")[start + shift : end + shift], headers)

    def _list(self) -> None:
        prefix, most = self.query.get("prefix", ""), int(self.query.get("max-keys", "1000"))
        now = time.monotonic()
        there = self.owner.put_at if self.how is Misbehaviour.LISTS_DELETED else self.owner.objects
        names = sorted(name for name in there if name.startswith(prefix))
        if self.how is Misbehaviour.FAILS_LISTING and most > 1:
            raise _RefusedError(400, "InvalidArgument")
        if self.how is Misbehaviour.LISTS_OLD:
            names = [name for name in names if now - self.owner.put_at[name] > 60]
        if self.how is Misbehaviour.LISTS_OUT_OF_ORDER:
            names.reverse()
        start = int(self.query.get("continuation-token", "0"))
        page, is_truncated = names[start : start + most], len(names) > start + most
        if is_truncated and self.how is Misbehaviour.LISTS_HALF:
            page = page[:-1]
        sizes = [len(self.owner.objects.get(name, b"")) for name in page]
        rows = [
            f"<Contents><Key>{escape(n)}</Key><Size>{s}</Size></Contents>" for n, s in zip(page, sizes, strict=True)
        ]
        more = f"<NextContinuationToken>{start + most}</NextContinuationToken>" if is_truncated else ""
        said = f"<Result><IsTruncated>{str(is_truncated).lower()}</IsTruncated>{more}{''.join(rows)}</Result>"
        self._answer(200, said.encode())

    def _object(self, name: str) -> bytes:
        shown = self.owner.put_at.get(name, 0) + (0.1 if self.how is Misbehaviour.SLOW_TO_SHOW else 0)
        if name not in self.owner.objects or time.monotonic() < shown:
            raise _RefusedError(404, "NoSuchKey")
        return self.owner.objects[name]

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _decoded(body: bytes) -> bytes:
    """A body without the frames of its chunks and what stands behind them."""
    data = b""
    while (found := _CHUNK.match(body)) and (size := int(found[1], 16)):
        data += body[found.end() : found.end() + size]
        body = body[found.end() + size + 2 :]
    return data
