"""Which addresses webhooks may be at."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from artifactstore.errors import WebhookRefusedError
from artifactstore.webhooks import Webhook
from artifactstore.webhooks.addresses import check_addresses, is_public, judged_address, system_addresses
from artifactstore.webhooks.configuration import parse_endpoint

PUBLIC = ("1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001:82a::200e")
NOT_PUBLIC = {
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "0.0.0.0": "this host",
    "0.1.2.3": "this network",
    "10.0.0.1": "private",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.168.1.1": "private",
    "169.254.169.254": "link-local: metadata of clouds",
    "100.64.0.1": "shared, behind a provider",
    "100.100.100.200": "metadata of a cloud",
    "192.0.0.8": "protocol assignments",
    "192.0.0.192": "metadata of a cloud",
    "192.0.2.1": "documentation",
    "192.88.99.1": "6to4 relay",
    "198.18.0.1": "benchmarking",
    "203.0.113.1": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.250": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "unspecified",
    "::1": "loopback",
    "::127.0.0.1": "IPv4-compatible, deprecated",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local with its interface",
    "fec0::1": "site-local, deprecated",
    "fc00::1": "unique local",
    "fd00:ec2::254": "metadata of a cloud",
    "ff02::1": "multicast",
    "2001:db8::1": "documentation",
    "3fff::1": "documentation",
    "100::1": "discard",
    "5f00::1": "segment routing",
    "64:ff9b:1::a00:1": "local translation to IPv4",
}
INNER = {
    "::ffff:127.0.0.1": "127.0.0.1",
    "::ffff:10.1.2.3": "10.1.2.3",
    "::ffff:1.1.1.1": "1.1.1.1",
    "2002:7f00:1::": "127.0.0.1",
    "2002:a9fe:a9fe::1": "169.254.169.254",
    "2002:101:101::": "1.1.1.1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe": "127.0.0.1",
    "2001:0:4136:e378:8000:63bf:fefe:fefe": "1.1.1.1",
    "64:ff9b::127.0.0.1": "127.0.0.1",
    "64:ff9b::a9fe:a9fe": "169.254.169.254",
    "64:ff9b::1.1.1.1": "1.1.1.1",
}
"""IPv4-mapped, 6to4, Teredo, NAT64: what they lead to."""


def webhook(url: str, *networks: str) -> Webhook:
    endpoint = parse_endpoint(url)
    assert endpoint is not None
    return Webhook("hub", endpoint, ("v1.package.finalized",), allow_networks=tuple(map(ip_network, networks)))


@pytest.mark.parametrize("text", PUBLIC)
def test_what_is_public_may_be_reached(text: str) -> None:
    check_addresses(webhook("https://hub.test/"), [text])


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_what_is_not_public_is_refused(text: str) -> None:
    with pytest.raises(WebhookRefusedError, match="neither public nor in allow_networks"):
        check_addresses(webhook("https://hub.test/"), [text])


@pytest.mark.parametrize(("text", "inner"), INNER.items())
def test_an_address_that_leads_to_another_is_judged_by_that(text: str, inner: str) -> None:
    assert ip_address(inner) == judged_address(text)
    assert (inner in PUBLIC) == is_public(judged_address(text))


@pytest.mark.parametrize(("text", "inner"), INNER.items())
def test_what_is_allowed_is_allowed_however_it_is_written(text: str, inner: str) -> None:
    check_addresses(webhook("https://hub.test/", f"{inner}/32"), [text])


def test_a_network_of_all_ipv6_addresses_allows_no_ipv4_address_within() -> None:
    with pytest.raises(WebhookRefusedError):
        check_addresses(webhook("https://hub.test/", "::/0"), ["::ffff:127.0.0.1"])


def test_every_address_must_be_allowed() -> None:
    with pytest.raises(WebhookRefusedError, match=r"hub\.test is at 10\.0\.0\.1, which is neither"):
        check_addresses(webhook("https://hub.test/"), ["1.1.1.1", "10.0.0.1"])


def test_without_encryption_only_what_is_allowed_may_be_reached() -> None:
    unencrypted = webhook("http://hub.test/", "10.0.0.0/8")

    check_addresses(unencrypted, ["10.1.2.3"])
    with pytest.raises(
        WebhookRefusedError, match=r"1\.1\.1\.1, which is not in allow_networks, as it must be for http"
    ):
        check_addresses(unencrypted, ["1.1.1.1"])


@pytest.mark.parametrize("host", ["127.1", "0x7f000001", "2130706433", "0177.0.0.1"])
def test_however_an_address_is_written_what_it_means_is_judged(host: str) -> None:
    found = system_addresses(host, 80)

    assert ["127.0.0.1"] == found
    with pytest.raises(WebhookRefusedError):
        check_addresses(webhook("https://hub.test/"), found)
