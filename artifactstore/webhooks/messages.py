"""What a webhook is told of an event: the id, and the body of the standard format.

::

    {"type": "v1.package.finalized", "timestamp": "2026-11-20T10:18:00.000000Z", "data": {...}}

``data`` is the event as ``artifactstore events --payload`` prints it. A payload that would make the body larger than
1 MiB is left out, and ``payload_left_out`` says so; the event log has it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from artifactstore.documents.packages import event_document
from artifactstore.domain.instant import instant_text
from artifactstore.errors import WebhookFailedError

if TYPE_CHECKING:
    from artifactstore.catalog.event_log import EventRecord

MAX_BODY_BYTES = 1024 * 1024
TEST_TYPE = "webhook.test"
_ID_DIGITS = 16


def event_message_id(event: EventRecord) -> str:
    """What a receiver knows an event by: the same at every attempt, and another for every other event.

    The chain value tells apart events of one number: in other stores, and before and after a backup was restored.
    """
    return f"evt_{event.chain.hex()[:_ID_DIGITS]}_{event.seq}"


def standard_body(event: EventRecord) -> bytes:
    """The body of the standard format."""
    if len(event.payload) <= MAX_BODY_BYTES:
        body = _encode(_standard(event.type, event.at, event_document(event, with_payload=True)))
        if len(body) <= MAX_BODY_BYTES:
            return body
    bare = event_document(event, with_payload=False)
    return _encode(_standard(event.type, event.at, {**bare, "payload_left_out": True}))


def body_of_format(document: object, name: str) -> bytes:
    """The body that a plug-in's format made. Raises ``WebhookFailedError`` if it is no JSON object, or too large."""
    if not isinstance(document, Mapping):
        raise WebhookFailedError(f"the format {name} made a {type(document).__name__}, which is no object")
    try:
        body = _encode(dict(document))
    except (TypeError, ValueError, RecursionError) as error:
        raise WebhookFailedError(f"the format {name} made what is no JSON: {error}") from error
    if len(body) > MAX_BODY_BYTES:
        raise WebhookFailedError(f"the format {name} made a body of {len(body)} bytes; {MAX_BODY_BYTES} may be sent")
    return body


def body_of_test(webhook: str, at: int) -> bytes:
    """The body of a test: an event that did not happen."""
    return _encode(_standard(TEST_TYPE, at, {"webhook": webhook}))


def _standard(type_name: str, at: int, data: Mapping[str, object]) -> dict[str, object]:
    return {"type": type_name, "timestamp": instant_text(at), "data": data}


def _encode(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
