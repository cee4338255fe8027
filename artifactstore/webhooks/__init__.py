"""Webhooks: subscribers that tell servers what happened, by signed HTTP requests. See docs/guides/webhooks.md.

A webhook is configured: a table of a TOML file says where it is, which events it is told of, its secrets and the form
of the body. ``webhook_subscribers`` makes subscribers of them; who calls those, when, and how often after a failure, is
decided by ``registry.subscriptions``.

======================  ============================================================================================
``configuration``       what the file may say
``addresses``           where a request may go: the guard against server-side request forgery
``signing``             secrets and signatures, as the Standard Webhooks specification has them
``messages``            the id and the body of an event
``sending``             one request; alone here in importing urllib3, and imported when something is sent
``delivering``          one attempt and its row in the delivery log; the subscribers
======================  ============================================================================================
"""

from artifactstore.webhooks.addresses import Network
from artifactstore.webhooks.configuration import STANDARD, Webhook, parse_webhooks, webhook_document
from artifactstore.webhooks.delivering import recent_deliveries, send_test, webhook_subscribers

__all__ = [
    "STANDARD",
    "Network",
    "Webhook",
    "parse_webhooks",
    "recent_deliveries",
    "send_test",
    "webhook_document",
    "webhook_subscribers",
]
