"""Ids that sort by time: UUID version 7 (RFC 9562 section 5.7), as text."""

from __future__ import annotations

import secrets
import time


def new_uuid7() -> str:
    """A new id: 48 bits of Unix milliseconds, then 74 random bits."""
    value = time.time_ns() // 1_000_000 << 80 | secrets.randbits(80)
    value = value & ~(0xF000 << 64) | 0x7000 << 64  # version 7
    value = value & ~(0xC000 << 48) | 0x8000 << 48  # the RFC's variant
    text = f"{value:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
