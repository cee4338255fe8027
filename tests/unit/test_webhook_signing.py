"""Signatures as the Standard Webhooks specification has them."""

from __future__ import annotations

import base64

import pytest

from artifactstore.webhooks.signing import key_of, signatures
from tests.webhook_receiver import OLD_SECRET, SECRET


def secret_of(size_bytes: int) -> str:
    return "whsec_" + base64.b64encode(bytes(size_bytes)).decode()


def test_the_published_vector_is_signed_as_published() -> None:
    """The one that the libraries of github.com/standard-webhooks/standard-webhooks are tested with."""
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

    assert key is not None
    signed = signatures([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" == signed


def test_several_keys_sign_side_by_side() -> None:
    keys = [key for key in map(key_of, (SECRET, OLD_SECRET)) if key is not None]

    both = signatures(keys, "x", 1, b"{}")

    assert [signatures([key], "x", 1, b"{}") for key in keys] == both.split(" ")


@pytest.mark.parametrize("size_bytes", [24, 32, 64])
def test_secrets_of_24_to_64_bytes_are_taken(size_bytes: int) -> None:
    assert bytes(size_bytes) == key_of(secret_of(size_bytes))


@pytest.mark.parametrize(
    "text",
    [
        secret_of(23),
        secret_of(65),
        "",
        "whsec_",
        SECRET.removeprefix("whsec_"),
        f"{SECRET}!",
        f"{SECRET} ",
        "whsk_eHh4",
    ],
)
def test_what_is_no_secret_has_no_key(text: str) -> None:
    assert None is key_of(text)
