"""Where a webhook's requests may go: the guard against server-side request forgery.

A name is resolved once for an attempt, every address that it has must be allowed, and the connection goes to one that
was checked: the name is not asked again, so it cannot lead elsewhere in between. Allowed is what is public, and what
the configuration allows besides. An IPv6 address that stands for an IPv4 address is judged by that one.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from artifactstore.errors import WebhookRefusedError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from artifactstore.webhooks.configuration import Webhook

Address = IPv4Address | IPv6Address
AddressRange = IPv4Network | IPv6Network

_NAT64 = IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NOT_PUBLIC_EITHER = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20")))
"""By IANA's registries; not every version of ``ipaddress`` knows."""


def system_addresses(host: str, port: int) -> list[str]:
    """The addresses of a host by the system's resolver, each once. Raises ``OSError`` if it has none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def system_trust() -> ssl.SSLContext:
    """TLS by the certificates that the system trusts."""
    import ssl

    return ssl.create_default_context()


@dataclass(frozen=True, slots=True)
class Network:
    """How names become addresses, and whom TLS trusts."""

    resolve: Callable[[str, int], Sequence[str]] = system_addresses
    trust: Callable[[], ssl.SSLContext] = system_trust


SYSTEM_NETWORK = Network()


def check_addresses(webhook: Webhook, addresses: Sequence[str]) -> None:
    """Raises ``WebhookRefusedError`` unless every one of them may be connected to."""
    for text in addresses:
        if problem := _problem(judged_address(text), webhook):
            raise WebhookRefusedError(f"{webhook.endpoint.host} is at {text}, which {problem}")


def judged_address(text: str) -> Address:
    """The address that decides: itself, or the IPv4 address that an IPv6 address leads to."""
    address = ip_address(text)
    if isinstance(address, IPv4Address):
        return address
    if inner := address.ipv4_mapped or address.sixtofour:
        return inner
    if teredo := address.teredo:
        return teredo[1]
    return IPv4Address(int(address) % 2**32) if address in _NAT64 else address


def is_public(address: Address) -> bool:
    """Whether it is a unicast address of the public internet."""
    if address.version == 6 and address not in _GLOBAL_UNICAST:  # noqa: PLR2004 - the version's number
        return False
    is_special = address.is_multicast or address.is_reserved or _lies_in(address, _NOT_PUBLIC_EITHER)
    return address.is_global and not is_special


def _problem(address: Address, webhook: Webhook) -> str:
    if _lies_in(address, webhook.allow_networks):
        return ""
    if not is_public(address):
        return "is neither public nor in allow_networks"
    return "" if webhook.endpoint.is_encrypted else "is not in allow_networks, as it must be for http://"


def _lies_in(address: Address, networks: Sequence[AddressRange]) -> bool:
    return any(address in network for network in networks)
