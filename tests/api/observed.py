"""What was observed, in as few words as a test wants to spend on it."""

from __future__ import annotations

import base64
from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tests.api.pushing import fresh_files, opened, send_zip, zipped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.service import Answer, Server

PAYLOAD = b'{"state": "passed"}'
JANE = {"identifier_kind": "email", "identifier_value": "jane@example.org", "role": "author", "trust": "claimed"}
AT = "2026-11-20T10:00:00+01:00"


def place() -> str:
    """A URL that no other test has observed."""
    return f"https://ci.example.org/builds/{uuid4().hex}"


def observing(path_id: str | None = None, **changes: Any) -> dict[str, Any]:
    """The body of an observation; ``plugin``, ``source`` and ``envelope`` add members to theirs."""
    body: dict[str, Any] = {
        "plugin": {"name": "ci-reporter", "version": "2.1"},
        "source": {"location_kind": "url", "path_id": path_id or place()},
        "envelope": {
            "transport": "webhook", "raw_payload": base64.b64encode(PAYLOAD).decode(), "received_at": AT,
        },
        "parties": [JANE],
    }  # fmt: skip
    for name in ("plugin", "source", "envelope"):
        body[name] |= changes.pop(name, {})
    return {**body, **changes}


def ingest(server: Server, body: Mapping[str, Any], *, token: str = "writer") -> Answer:
    return server.ask("POST", "/ingests", token=token, json_body=body)


def filled(server: Server, *, token: str = "writer", **package: Any) -> str:
    """The id of an open package that lacks nothing but its end."""
    files = fresh_files(2)
    package_id = opened(server, files, token=token, **package)
    assert 200 == send_zip(server, package_id, zipped(files), token=token).status
    return package_id


def finalize(server: Server, package_id: str, body: Mapping[str, Any] | None, *, token: str = "writer") -> Answer:
    return server.ask("POST", f"/packages/{package_id}/finalize", token=token, json_body=body)


def recorded(server: Server, body: Mapping[str, Any], *, token: str = "writer", **package: Any) -> Any:
    """A package that is recorded together with where it was observed; what finalizing was answered."""
    answer = finalize(server, filled(server, token=token, **package), body, token=token)
    assert 200 == answer.status, answer.body
    return answer.json


def events_of(server: Server, *subjects: str) -> list[str]:
    """The types of the events about these, in order."""
    with closing(server.registry()) as registry, registry.catalog.snapshot() as queries:
        found = [
            event
            for subject in subjects
            for event in queries.events(after=0, limit=1_000, subject=subject, with_payload=False)
        ]
    return [event.type for event in sorted(found, key=lambda event: event.seq)]
