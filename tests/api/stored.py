"""What tests of reading and operating share: packages recorded without HTTP, unread answers, lines of the log."""

from __future__ import annotations

import json
import time
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from artifactstore.domain.media_type import media_type_of
from artifactstore.domain.package import DEFAULT_ROLE, BytesSource, FileDraft, PackageDraft
from artifactstore.domain.retention import RetentionClass
from artifactstore.registry.ingest import ingest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.registry.registry import Registry
    from tests.service import Server


def draft_of(
    files: Mapping[str, bytes],
    *,
    producer: str = "p",
    external_id: str | None = None,
    subject: str | None = None,
    schema: str | None = None,
    metadata: dict[str, JsonValue] | None = None,
    retention: RetentionClass = RetentionClass.RAW_EVIDENCE,
) -> PackageDraft:
    drafts = (FileDraft(path, BytesSource(data), DEFAULT_ROLE, media_type_of(path)) for path, data in files.items())
    return PackageDraft(
        producer, tuple(drafts), retention,
        external_id=external_id, subject=subject, schema=schema, metadata=metadata,
    )  # fmt: skip


def record(server: Server, files: Mapping[str, bytes], *, producer: str = "p") -> str:
    """The id of a package of these files."""
    with closing(server.registry()) as registry:
        return record_in(registry, draft_of(files, producer=producer))


def record_in(registry: Registry, draft: PackageDraft) -> str:
    return ingest(registry, draft).package_id


def begin_get(
    server: Server, path: str, *, token: str = "admin", headers: Mapping[str, str] | None = None
) -> tuple[HTTPConnection, HTTPResponse]:
    """A request whose answer is still to be read, and the connection to close."""
    connection = HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    shown = {"Authorization": f"Bearer {server.tokens.get(token, token)}", **(headers or {})}
    connection.request("GET", path, headers=shown)
    return connection, connection.getresponse()


def comes_true(look: Callable[[], bool]) -> bool:
    """Whether it does within a time that any machine needs less of."""
    deadline = time.monotonic() + 30
    while not (seen := look()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return seen


def log_lines(server: Server, request_id: str) -> list[dict[str, Any]]:
    """The lines about a request, once there are any."""
    assert comes_true(lambda: any(f'"{request_id}"' in line for line in list(server.log)))
    return [line for line in map(json.loads, list(server.log)) if line.get("request_id") == request_id]
