"""Capabilities: what a host's configuration lets its plug-ins do, besides reading and listening."""

from __future__ import annotations

import warnings
from enum import StrEnum

from artifactstore.errors import UsageError


class Capability(StrEnum):
    """One thing that a plug-in may be granted."""

    INGEST = "ingest"
    """Record sources, envelopes, parties and packages: ``context.ingest``."""
    EMIT = "emit"
    """Append events of the plug-in's own to the log: ``context.emit``."""


_OLDER_NAMES = frozenset({"source_write", "emit_envelopes"})
"""What ``ingest`` was called, the two together."""


def parse_capabilities(text: str) -> dict[str, frozenset[Capability]]:
    """Entries ``plugin=capability,capability``, separated by semicolons; nothing after the sign takes all away.

    Raises ``UsageError``. ``source_write,emit_envelopes`` is understood as ``ingest`` with a ``DeprecationWarning``.
    """
    entries = [entry.partition("=") for entry in text.split(";") if entry.strip()]
    granted = {name.strip(): _capabilities(name.strip(), words) for name, _, words in entries}
    if len(granted) < len(entries) or not all(sign and name.strip() for name, sign, _ in entries):
        raise UsageError("each plug-in must be named once", hint="Such as mailbox=ingest,emit;other=ingest")
    return granted


def _capabilities(plugin: str, text: str) -> frozenset[Capability]:
    words = {word.strip() for word in text.split(",") if word.strip()}
    if words >= _OLDER_NAMES:
        warnings.warn(
            f"source_write,emit_envelopes of the plug-in {plugin} is now called ingest",
            DeprecationWarning,
            stacklevel=2,
        )
        words = (words - _OLDER_NAMES) | {Capability.INGEST.value}
    if unknown := sorted(words - set(Capability)):
        raise UsageError(
            f"{plugin} is given {unknown[0][:80]!r}, which is no capability", hint=f"There are {', '.join(Capability)}."
        )
    return frozenset(Capability(word) for word in words)
