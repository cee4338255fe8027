"""What a webhook is configured to be: a table ``[webhooks.NAME]`` of a TOML file.

::

    [webhooks.hub]
    url = "https://hub.example.org/events"
    events = ["v1.package.finalized"]
    secrets_file = "hub.secrets"

No message repeats a URL or a secret: both may be what proves to the receiver that it is us.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import TYPE_CHECKING, NamedTuple, NoReturn
from urllib.parse import urlsplit

from artifactstore.domain.package import check_slug
from artifactstore.errors import ConfigurationError, InvalidRequestError
from artifactstore.webhooks.signing import KEY_BYTES, key_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from artifactstore.documents import Document
    from artifactstore.webhooks.addresses import AddressRange

STANDARD = "standard"
"""The format of bodies that receivers of Standard Webhooks expect."""
DEFAULT_TIMEOUT_S = 10.0
LONGEST_TIMEOUT_S = 60
HINT = "docs/guides/webhooks.md describes every key."

_KEYS = {
    "url", "events", "secrets", "secrets_file", "format", "options", "allow_networks", "timeout_s", "from_the_start",
}  # fmt: skip
_MAX_SECRETS_BYTES = 64 * 1024
_VISIBLE = re.compile(r"[!-~]+")
_HOST = re.compile(r"[a-z0-9_.:%-]+")
_PLUGIN_EVENT = re.compile(r"plugin\.[a-z0-9._-]*[a-z0-9_-]")
_PORTS = {"http": 80, "https": 443}


class Endpoint(NamedTuple):
    """Where a webhook is."""

    scheme: str
    host: str
    """A name, or an address without brackets."""
    port: int
    target: str
    """Path and query."""

    @property
    def is_encrypted(self) -> bool:
        """Whether it is reached by TLS."""
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """Host and port as the header ``Host`` has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """The URL without its query, which may hold what only the receiver is to know."""
        return f"{self.scheme}://{self.authority}{self.target.partition('?')[0]}"


@dataclass(frozen=True, slots=True)
class Webhook:
    """One webhook, checked."""

    name: str
    endpoint: Endpoint = field(repr=False)
    events: tuple[str, ...]
    """The types of events that it is told of."""
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    """What requests are signed with, by each."""
    format: str = STANDARD
    """``standard``, or ``<plug-in>.<format>``."""
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The format's."""
    allow_networks: tuple[AddressRange, ...] = ()
    """Where it may be, although not public."""
    timeout_s: float = DEFAULT_TIMEOUT_S
    """For an attempt, from the name's resolution to the end of the answer."""
    from_the_start: bool = False

    @property
    def subscription(self) -> str:
        """The name of its subscription."""
        return f"webhook.{self.name}"


def parse_webhooks(document: Mapping[str, object], folder: Path) -> dict[str, Webhook]:
    """The webhooks of a document by name; files that it names are sought in ``folder``, and read.

    Raises ``ConfigurationError`` naming table and key.
    """
    tables = document.get("webhooks", {})
    if not isinstance(tables, dict) or document.keys() - {"webhooks"}:
        raise ConfigurationError("there must be a table [webhooks.NAME] for each webhook and nothing else", hint=HINT)
    return {name: _Table(name, table).webhook(folder) for name, table in tables.items()}


def webhook_document(webhook: Webhook) -> Document:
    """A webhook as it may be shown: no secret, no query of its URL, no option."""
    return {
        "name": webhook.name,
        "subscription": webhook.subscription,
        "url": webhook.endpoint.shown,
        "events": list(webhook.events),
        "format": webhook.format,
        "signatures": len(webhook.keys),
        "allow_networks": [str(network) for network in webhook.allow_networks],
        "timeout_s": webhook.timeout_s,
        "from_the_start": webhook.from_the_start,
    }


def parse_endpoint(url: str) -> Endpoint | None:
    """Where a URL leads; None if it is not one of ours."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    is_ours = parts.scheme in _PORTS and _HOST.fullmatch(host) and port != 0 and "@" not in parts.netloc
    if not is_ours or "#" in url or not _VISIBLE.fullmatch(url):
        return None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Endpoint(parts.scheme, host, port or _PORTS[parts.scheme], target)


class _Table:
    """One table, read key by key."""

    def __init__(self, name: str, table: object) -> None:
        self._name = name
        try:
            check_slug(name, what="the name")
        except InvalidRequestError as error:
            raise ConfigurationError(f"[webhooks.{name[:80]}]: {error.message}", hint=HINT) from error
        if not isinstance(table, dict):
            raise ConfigurationError(f"[webhooks.{name}] must be a table", hint=HINT)
        self._table = table

    def webhook(self, folder: Path) -> Webhook:
        for key in self._table.keys() - _KEYS:
            self._refuse(key, "is not a key of a webhook")
        body_format = self._text("format") if "format" in self._table else STANDARD
        endpoint, networks, keys = self._endpoint(), self._networks(), self._signing_keys(folder)
        if not endpoint.is_encrypted and not networks:
            self._refuse("url", "must be https://, unless allow_networks says where an unencrypted one may lead")
        if body_format == STANDARD and not keys:
            self._refuse("secrets", "or secrets_file is needed: a receiver knows our requests by their signature")
        if body_format == STANDARD and "options" in self._table:
            self._refuse("options", f"are for other formats than {STANDARD}")
        return Webhook(
            self._name, endpoint, self._events(), keys, body_format, self._options(), networks, self._timeout_s(),
            self._from_the_start(),
        )  # fmt: skip

    def _endpoint(self) -> Endpoint:
        endpoint = parse_endpoint(self._text("url"))
        if endpoint is None:
            self._refuse("url", "must be http:// or https://, a host, perhaps a port and a path; no name or password")
        return endpoint

    def _events(self) -> tuple[str, ...]:
        from artifactstore.domain.events import EVENT_TYPES

        names = self._texts("events")
        for name in names:
            if name not in EVENT_TYPES and not _PLUGIN_EVENT.fullmatch(name):
                self._refuse("events", f"names {name[:80]!r}, which is no type of event")
        if not names:
            self._refuse("events", "must name at least one type of event")
        return tuple(dict.fromkeys(names))

    def _signing_keys(self, folder: Path) -> tuple[bytes, ...]:
        if "secrets" in self._table and "secrets_file" in self._table:
            self._refuse("secrets", "and secrets_file cannot both be given")
        if "secrets_file" in self._table:
            which, secrets = "secrets_file", self._lines_of_file(folder)
        else:
            which, secrets = "secrets", self._texts("secrets") if "secrets" in self._table else []
        keys = [key_of(secret) for secret in secrets]
        found = tuple(key for key in keys if key is not None)
        if len(found) < len(keys):
            number, least, most = keys.index(None) + 1, KEY_BYTES[0], KEY_BYTES[-1]
            self._refuse(which, f"has as number {number} what is not whsec_ and the base64 of {least} to {most} bytes")
        if which in self._table and not found:
            self._refuse(which, "has no secret")
        return found

    def _lines_of_file(self, folder: Path) -> list[str]:
        path = folder / self._text("secrets_file")
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_SECRETS_BYTES + 1)
        except OSError as error:
            self._refuse("secrets_file", f"cannot be read: {error.strerror}")
        if len(data) > _MAX_SECRETS_BYTES:
            self._refuse("secrets_file", f"has more than {_MAX_SECRETS_BYTES} bytes")
        lines = (line.strip() for line in data.decode(errors="replace").splitlines())
        return [line for line in lines if line]

    def _options(self) -> dict[str, str]:
        options = self._table.get("options", {})
        if not isinstance(options, dict) or not all(isinstance(value, str) for value in options.values()):
            self._refuse("options", "must be a table of texts")
        return dict(options)

    def _networks(self) -> tuple[AddressRange, ...]:
        texts = self._texts("allow_networks") if "allow_networks" in self._table else []
        try:
            return tuple(ip_network(text) for text in texts)
        except ValueError as error:
            self._refuse("allow_networks", f"must be networks such as 10.20.0.0/16 or 127.0.0.1/32: {error}")

    def _timeout_s(self) -> float:
        value = self._table.get("timeout_s", DEFAULT_TIMEOUT_S)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value <= LONGEST_TIMEOUT_S:
            self._refuse("timeout_s", f"must be a number from 1 to {LONGEST_TIMEOUT_S}")
        return float(value)

    def _from_the_start(self) -> bool:
        value = self._table.get("from_the_start", False)
        if not isinstance(value, bool):
            self._refuse("from_the_start", "must be true or false")
        return value

    def _text(self, key: str) -> str:
        value = self._table.get(key)
        if not isinstance(value, str) or not value:
            self._refuse(key, "must be a text" if key in self._table else "is missing")
        return value

    def _texts(self, key: str) -> list[str]:
        value = self._table.get(key)
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            self._refuse(key, "must be a list of texts" if key in self._table else "is missing")
        return list(value)

    def _refuse(self, key: str, problem: str) -> NoReturn:
        # not chained: what was tried may hold a secret
        raise ConfigurationError(f"[webhooks.{self._name}]: {key[:80]} {problem}", hint=HINT) from None
