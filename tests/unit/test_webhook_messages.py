"""What a webhook is told of an event."""

from __future__ import annotations

import json
from types import MappingProxyType

import pytest

from artifactstore.catalog.event_log import EventRecord, encode_header
from artifactstore.documents.packages import event_document
from artifactstore.domain.canonical import encode
from artifactstore.errors import WebhookFailedError
from artifactstore.webhooks.messages import MAX_BODY_BYTES, body_of_format, event_message_id, standard_body

AT = 1_763_633_880_000_000


def event(payload: bytes) -> EventRecord:
    header = encode_header(7, AT, "v1.package.finalized", "x", "local:x", payload=payload)
    return EventRecord(7, AT, "v1.package.finalized", "x", "local:x", header, b"c" * 32, payload)


def test_the_body_is_type_time_and_the_event_as_it_is_listed() -> None:
    record = event(encode({"digest": b"\x00\xff", "count": 3, "text": "é"}))

    body = json.loads(standard_body(record))

    assert {
        "type": "v1.package.finalized",
        "timestamp": "2025-11-20T10:18:00.000000Z",
        "data": event_document(record, with_payload=True),
    } == body
    assert {"digest": "00ff", "count": 3, "text": "é"} == body["data"]["payload"]


def test_an_event_is_called_by_its_chain_value_and_its_number() -> None:
    record = event(b"")._replace(seq=42, chain=bytes.fromhex("00112233445566ff" * 4))

    assert "evt_00112233445566ff_42" == event_message_id(record)


def test_a_body_of_exactly_the_limit_has_its_payload() -> None:
    room = MAX_BODY_BYTES - len(standard_body(event(encode({"x": ""}))))
    fits, does_not = event(encode({"x": "y" * room})), event(encode({"x": "y" * (room + 1)}))

    assert MAX_BODY_BYTES == len(standard_body(fits))
    assert {"payload_left_out": True} == {
        name: value
        for name, value in json.loads(standard_body(does_not))["data"].items()
        if name.startswith("payload_l")
    }


@pytest.mark.parametrize("size_bytes", [MAX_BODY_BYTES // 2, 8 * MAX_BODY_BYTES])
def test_a_payload_that_is_too_large_is_left_out_and_that_is_said(size_bytes: int) -> None:
    record = event(encode({"digests": bytes(size_bytes)}))

    data = json.loads(standard_body(record))["data"]

    assert {**event_document(record, with_payload=False), "payload_left_out": True} == data


def test_a_body_that_a_format_makes_too_large_is_a_failure() -> None:
    with pytest.raises(WebhookFailedError, match=r"a\.b made a body of \d+ bytes"):
        body_of_format({"x": "y" * MAX_BODY_BYTES}, "a.b")


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        ([1, 2], "made a list, which is no object"),
        ("text", "made a str, which is no object"),
        ({"x": float("nan")}, "made what is no JSON: "),
        ({"x": object()}, "made what is no JSON: "),
    ],
)
def test_a_body_that_is_no_json_object_is_a_failure_of_its_format(made: object, problem: str) -> None:
    with pytest.raises(WebhookFailedError, match=rf"^the format a\.b {problem}"):
        body_of_format(made, "a.b")


def test_any_mapping_is_an_object() -> None:
    assert b'{"a":1}' == body_of_format(MappingProxyType({"a": 1}), "a.b")
