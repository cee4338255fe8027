"""What a plug-in says of a thousand messages and more: each a source, an envelope and two parties, none like another.

The context they are said to is that of a plug-in of this module, as if it had been installed and granted ``ingest``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.bootstrap import host_of
from artifactstore.plugins import EnvelopeInput, PartyInput, Plugin, Retrieval, SourceInput
from artifactstore.plugins.context import EmbeddedContext
from artifactstore.plugins.loaded import LoadedPlugin

if TYPE_CHECKING:
    import random

    from artifactstore.config import Settings
    from artifactstore.domain.provenance import IngestResult
    from artifactstore.registry.registry import Registry

NAME = "benchmark-mail"
GRANT = {"ARTIFACTSTORE_PLUGIN_CAPABILITIES": f"{NAME}=ingest"}
"""The setting that lets the plug-in record."""
PAYLOAD_BYTES = 512
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_LOADED = LoadedPlugin(Plugin(name=NAME, summary="Messages of a benchmark."), "artifactstore-benchmark", "1.0")


class Said(NamedTuple):
    """What one call says."""

    source: SourceInput
    envelope: EnvelopeInput
    parties: tuple[PartyInput, ...]

    def to(self, context: EmbeddedContext) -> IngestResult:
        """The call."""
        return context.ingest(source=self.source, envelope=self.envelope, parties=self.parties)


def context_of(registry: Registry, settings: Settings) -> EmbeddedContext:
    """The plug-in's context."""
    return EmbeddedContext(host_of(registry, settings), _LOADED)


def said(count: int, numbers: random.Random) -> list[Said]:
    """``count`` observations that have never been made before."""
    return [_one(numbers) for _ in range(count)]


def _one(numbers: random.Random) -> Said:
    message = numbers.randbytes(16).hex()
    return Said(
        SourceInput(
            "url",
            f"imaps://mail.example.org/INBOX/{message}",
            retrieval=Retrieval("message/rfc822", f"Message {message[:8]}"),
            metadata={"folder": "INBOX", "size": numbers.randrange(1_000, 100_000)},
        ),
        EnvelopeInput(
            "imap", numbers.randbytes(PAYLOAD_BYTES), _BEGAN + timedelta(microseconds=numbers.getrandbits(44))
        ),
        (
            PartyInput("email", f"sender-{numbers.randrange(1_000)}@example.org", "sender", "claimed"),
            PartyInput("email", f"recipient-{numbers.randrange(1_000)}@example.org", "recipient", "verified"),
        ),
    )
