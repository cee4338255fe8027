"""A certificate for loopback that nobody trusts, made when it is needed: no key lies in the repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path


def make_certificate(folder: Path) -> Path:
    """A file with a key, its certificate for 127.0.0.1, and the authority's: all that a server and a client need."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    path = folder / "certificate.pem"
    parts = (issued.private_key_pem, *issued.cert_chain_pems, authority.cert_pem)
    path.write_bytes(b"".join(part.bytes() for part in parts))
    return path
