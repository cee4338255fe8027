"""Attempts to deliver events to webhooks, each noted in the delivery log; and the subscribers that make them.

An event is delivered when the webhook has answered 2xx. Anything else is an error, and whoever called tries again
later: the id stays, time and signatures are those of the attempt.
"""

from __future__ import annotations

import time
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.catalog import webhook_deliveries as rows
from artifactstore.domain.instant import MICROSECONDS_PER_DAY, instant_text
from artifactstore.errors import ConfigurationError, UsageError, WebhookFailedError, WebhookRefusedError
from artifactstore.registry.duties import told
from artifactstore.registry.subscriptions import Subscriber
from artifactstore.version import VERSION
from artifactstore.webhooks.addresses import SYSTEM_NETWORK
from artifactstore.webhooks.configuration import STANDARD
from artifactstore.webhooks.messages import body_of_format, body_of_test, event_message_id, standard_body
from artifactstore.webhooks.signing import signatures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from artifactstore.catalog.event_log import EventRecord
    from artifactstore.documents import Document
    from artifactstore.domain.instant import Instant
    from artifactstore.registry.registry import Registry
    from artifactstore.webhooks.addresses import Network
    from artifactstore.webhooks.configuration import Webhook
    from artifactstore.webhooks.sending import Answer

    Format = Callable[[EventRecord, Mapping[str, str]], Mapping[str, object] | None]
    Check = Callable[[Mapping[str, str]], None]

KEPT_FOR_DAYS = 30
"""How long the delivery log keeps an attempt."""
NO_EVENT = 0
"""What the delivery log has for the event of a test."""
_LONGEST_SHOWN = 40
_GONE = 410


class _Message(NamedTuple):
    """What is sent of an event, or of none."""

    seq: int
    id: str
    body: bytes


def webhook_subscribers(
    registry: Registry,
    webhooks: Mapping[str, Webhook],
    formats: Mapping[str, Format],
    *,
    checks: Mapping[str, Check] = MappingProxyType({}),
    network: Network = SYSTEM_NETWORK,
) -> list[Subscriber]:
    """A subscriber ``webhook.<name>`` for each webhook.

    ``formats`` are those of the plug-ins by full name, ``<plug-in>.<format>``; ``checks`` what they say of a webhook's
    options, by the same names. Raises ``ConfigurationError`` for a webhook whose format is none of them, and for
    options that its format does not take.
    """
    for webhook in webhooks.values():
        _check_format(webhook, formats, checks)
    return [_subscriber(registry, webhook, formats, network) for webhook in webhooks.values()]


def send_test(registry: Registry, webhook: Webhook, *, network: Network = SYSTEM_NETWORK) -> Document:
    """Send a signed event of the type ``webhook.test``, which is in no log of events; what came of it.

    Raises ``WebhookFailedError``, and ``UsageError`` for a webhook of another format: what that would make of an event
    that did not happen, its receiver would take for true.
    """
    if webhook.format != STANDARD:
        raise UsageError(
            f"webhook {webhook.name} has the format {webhook.format}, which has no test event",
            hint=f"`artifactstore subscription replay {webhook.subscription} --after SEQ` sends real ones again.",
        )
    message = _Message(NO_EVENT, f"test_{registry.new_id()}", body_of_test(webhook.name, registry.clock()))
    try:
        answer = _attempt(registry, webhook, message, network)
    except WebhookRefusedError:
        raise
    except WebhookFailedError as error:
        hint = f"A test is sent once. `artifactstore webhook deliveries {webhook.name}` shows the attempts."
        raise WebhookFailedError(error.message, hint=hint) from error
    return {"webhook": webhook.name, "id": message.id, "status": answer.status}


def recent_deliveries(registry: Registry, webhook: str, *, limit: int) -> list[Document]:
    """The last attempts to deliver something to a webhook, the newest first."""
    with registry.catalog.snapshot() as queries:
        found = rows.deliveries(queries.connection, webhook, limit=limit)
    return [
        {
            "seq": row.seq,
            "attempted_at": instant_text(row.attempted_at),
            "took_us": row.took_us,
            "status": row.status,
            "error": row.error,
        }
        for row in found
    ]


def _check_format(webhook: Webhook, formats: Mapping[str, Format], checks: Mapping[str, Check]) -> None:
    table = f"[webhooks.{webhook.name}]"
    if webhook.format not in {STANDARD, *formats}:
        known = ", ".join([STANDARD, *sorted(formats)])
        raise ConfigurationError(
            f"{table}: format {webhook.format[:80]!r} is provided by nothing", hint=f"Known: {known}."
        )
    try:
        if check := checks.get(webhook.format):
            check(webhook.options)
    except ConfigurationError as error:
        raise ConfigurationError(f"{table}: {error.message}", hint=error.hint) from error


def _subscriber(registry: Registry, webhook: Webhook, formats: Mapping[str, Format], network: Network) -> Subscriber:
    body_of = _body_maker(webhook, formats)

    def deliver(event: EventRecord) -> None:
        body = body_of(event)
        if body is not None:  # else there is nothing to tell of this one
            message = _Message(event.seq, event_message_id(event), body)
            _attempt(registry, webhook, message, network)

    return Subscriber(webhook.subscription, webhook.events, deliver, webhook.from_the_start)


def _body_maker(webhook: Webhook, formats: Mapping[str, Format]) -> Callable[[EventRecord], bytes | None]:
    if webhook.format == STANDARD:
        return standard_body
    make = formats[webhook.format]

    def body_of(event: EventRecord) -> bytes | None:
        document = make(event, webhook.options)
        return None if document is None else body_of_format(document, webhook.format)

    return body_of


def _attempt(registry: Registry, webhook: Webhook, message: _Message, network: Network) -> Answer:
    """Send a message once, and note it whatever comes of it. Raises ``WebhookFailedError`` unless it was taken."""
    from artifactstore.webhooks.sending import post

    at, began = registry.clock(), time.perf_counter_ns()
    answer: Answer | None = None
    try:
        answer = post(webhook, _headers(webhook, message, at), message.body, network)
        _require_success(webhook, answer)
    except Exception as error:
        _note(registry, webhook, message, at, began, answer, error)
        raise
    _note(registry, webhook, message, at, began, answer, None)
    return answer


def _headers(webhook: Webhook, message: _Message, at: Instant) -> dict[str, str]:
    at_s = at // 1_000_000
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"artifactstore/{VERSION}",
        "webhook-id": message.id,
        "webhook-timestamp": str(at_s),
    }
    if webhook.keys:
        headers["webhook-signature"] = signatures(webhook.keys, message.id, at_s, message.body)
    return headers


def _require_success(webhook: Webhook, answer: Answer) -> None:
    if 200 <= answer.status < 300:  # noqa: PLR2004 - HTTP's own ranges
        return
    told_so = f"{webhook.endpoint.authority} answered {answer.status}"
    if answer.status == _GONE:
        told_so += ": it wants to be told nothing more; take it out of the configuration"
    elif 300 <= answer.status < 400:  # noqa: PLR2004
        told_so += ": redirects are not followed"
    elif answer.retry_after.isprintable() and 0 < len(answer.retry_after) <= _LONGEST_SHOWN:
        told_so += f", Retry-After: {answer.retry_after}"
    raise WebhookFailedError(told_so)


def _note(
    registry: Registry,
    webhook: Webhook,
    message: _Message,
    at: Instant,
    began: int,
    answer: Answer | None,
    error: Exception | None,
) -> None:
    """Write the attempt into the delivery log, and forget a few that are old."""
    took_us = (time.perf_counter_ns() - began) // 1000
    shown = None if error is None else "{code}: {message}".format_map(told(error))
    row = rows.DeliveryRow(webhook.name, message.seq, at, took_us, None if answer is None else answer.status, shown)
    with registry.transaction() as tx:
        rows.note_delivery(tx.connection, row)
        rows.forget_deliveries(tx.connection, at - KEPT_FOR_DAYS * MICROSECONDS_PER_DAY)
