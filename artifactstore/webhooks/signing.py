"""Secrets and signatures: the symmetric scheme of the Standard Webhooks specification, version 1.0.0.

::

secret     whsec_<base64 of 24 to 64 bytes>
signature  v1,<base64 of HMAC-SHA256(secret, "<id>.<seconds>.<body>")>
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX = "whsec_"
KEY_BYTES = range(24, 64 + 1)


def key_of(secret: str) -> bytes | None:
    """The key that a secret is the text of; None if it is no secret. Not an error, which would show what it was of."""
    if not secret.startswith(PREFIX):
        return None
    try:
        key = b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:
        return None
    return key if len(key) in KEY_BYTES else None


def signatures(keys: Iterable[bytes], message_id: str, at_s: int, body: bytes) -> str:
    """The header ``webhook-signature``: a signature by each key, separated by spaces."""
    signed = f"{message_id}.{at_s}.".encode() + body
    return " ".join(f"v1,{b64encode(hmac.digest(key, signed, 'sha256')).decode()}" for key in keys)
