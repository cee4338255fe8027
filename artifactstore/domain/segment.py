"""A segment of the event log: events that follow one another, as one object that needs no database to be read.

Canonical CBOR: which log, where the chain stands before and after, and each event as its header and its payload. So a
segment can be checked by itself, and the next one is known by the chain value it begins with.
docs/reference/events.md fixes these bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from artifactstore.domain.canonical import decode, encode
from artifactstore.errors import EventLogCorruptError, ManifestInvalidError

VERSION = 1
_MEMBERS = {"version", "log_id", "first_seq", "chain_before", "chain_after", "events"}


@dataclass(frozen=True, slots=True)
class Segment:
    """Events from ``first_seq`` on, each as its header and its payload."""

    log_id: bytes
    first_seq: int
    chain_before: bytes
    chain_after: bytes
    events: tuple[tuple[bytes, bytes], ...]

    @property
    def last_seq(self) -> int:
        """The sequence number of the last event."""
        return self.first_seq + len(self.events) - 1

    def encode(self) -> bytes:
        """The canonical bytes; the same events give the same."""
        return encode(
            {
                "version": VERSION,
                "log_id": self.log_id,
                "first_seq": self.first_seq,
                "chain_before": self.chain_before,
                "chain_after": self.chain_after,
                "events": [list(event) for event in self.events],
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Segment:
        """The inverse. Raises ``EventLogCorruptError`` for anything else; the chain is checked by who follows it."""
        try:
            document = decode(data)
        except ManifestInvalidError as error:
            raise EventLogCorruptError(f"not a segment of an event log: {error.message}") from error
        if not isinstance(document, dict) or document.keys() != _MEMBERS or document["version"] != VERSION:
            raise EventLogCorruptError(f"not a segment of an event log that version {VERSION} can read")
        events = document["events"]
        if not _is_list_of_pairs(events) or not all(
            isinstance(document[name], kind)
            for name, kind in (("log_id", bytes), ("first_seq", int), ("chain_before", bytes), ("chain_after", bytes))
        ):
            raise EventLogCorruptError("a segment of an event log whose members are not what they must be")
        pairs = tuple((header, payload) for header, payload in events)
        return cls(document["log_id"], document["first_seq"], document["chain_before"], document["chain_after"], pairs)


def segment_digest(encoded: bytes) -> bytes:
    """The address of a segment's bytes."""
    return blake3(encoded).digest()


def _is_list_of_pairs(events: Any) -> bool:
    return (
        isinstance(events, list)
        and bool(events)
        and all(
            isinstance(each, list) and [type(part) for part in each] == [bytes, bytes]  # a header and a payload
            for each in events
        )
    )
