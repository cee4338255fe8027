"""A probe: what is measured of a backend, as findings, one for each capability.

``probe`` measures and says what it saw; what that means for a user is said by ``verdict``. Every kind of backend is
measured through the port (``through_port``); one that can be asked more brings a ``Probing`` of its own. A probe writes
below a prefix that nobody else has, and removes what it wrote, whatever happens.
"""

from __future__ import annotations

import io
import secrets
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

from artifactstore.errors import ArtifactStoreError, StorageFullError
from artifactstore.storage.port import ObjectKey, ObjectKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from artifactstore.storage.port import ObjectStore

NOT_MEASURED = "not measured"
FAILED = "failed"
_PATIENCE_S = 2.0
_PAUSE_S = 0.05


class Capability(StrEnum):
    """What is measured, in the order in which a report has it. docs/reference/storage-probe.md explains each."""

    ROUND_TRIP = "round_trip"
    READ_AFTER_WRITE = "read_after_write"
    ADAPTER = "adapter"
    TORN_WRITE = "torn_write"
    OVERWRITE = "overwrite"
    TORN_OVERWRITE = "torn_overwrite"
    RANGES = "ranges"
    LISTING_ORDER = "listing_order"
    LISTING_COMPLETE = "listing_complete"
    LISTING_FRESH = "listing_fresh"
    DELETE = "delete"
    DELETE_LEAVES = "delete_leaves"
    CONDITIONAL_CREATE = "conditional_create"
    CONDITIONAL_COMPLETE = "conditional_complete"
    MULTIPART = "multipart"
    MULTIPART_PART_SIZE = "multipart_part_size"
    MULTIPART_UNFINISHED = "multipart_unfinished"
    CHECKSUM_SHA256 = "checksum_sha256"
    CHECKSUM_CRC32 = "checksum_crc32"
    CONTENT_MD5 = "content_md5"
    CHECKSUM_KEPT = "checksum_kept"
    CHECKSUM_TRAILER = "checksum_trailer"
    PRESIGNED = "presigned"
    PRESIGNED_EXPIRY = "presigned_expiry"
    PRESIGNED_BINDING = "presigned_binding"
    VERSIONING = "versioning"
    OBJECT_LOCK = "object_lock"
    CLOCK_SKEW = "clock_skew"
    LATENCY = "latency"


@dataclass(frozen=True, slots=True)
class Finding:
    """One capability: a value of ``verdict.MEANINGS``, and what was measured, or why nothing was."""

    capability: Capability
    value: str
    measured: str
    figures: Mapping[str, float] = field(default_factory=dict)


class Measurement(NamedTuple):
    """A function that finds out about these capabilities; it may leave some out that it cannot say anything of."""

    capabilities: tuple[Capability, ...]
    measure: Callable[[], Iterable[Finding]]


class Probing:
    """How one backend is measured. This one knows the port only, and writes among the parts of uploads."""

    why_not = "this kind of backend cannot be asked for it"
    """Why a capability that no measurement speaks of was not measured."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        """Where the measurements through the port write."""

    def enter(self) -> None:
        """Write one object and remove it. Raises if the backend cannot be reached, is full, or lets nobody write."""
        data = secrets.token_bytes(32)
        key = ObjectKey(ObjectKind.PART, blake3(data).digest())
        self.store.put(key, io.BytesIO(data), len(data))
        self.store.delete(key)

    def look(self) -> None:
        """Ask the backend for something that changes nothing. Raises if it cannot be reached, or lets nobody in."""
        next(iter(self.store.list(ObjectKind.PART)), None)

    def measurements(self) -> Sequence[Measurement]:
        """What only this kind of backend can be asked. What they find, the port is not asked again."""
        return ()

    def clear(self) -> int:
        """Remove what the measurements left, as far as the backend lets it; how much could not be removed."""
        return 0


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe found: every capability once, and how many objects the backend did not let it remove."""

    findings: tuple[Finding, ...]
    left_behind: int = 0

    @property
    def table(self) -> dict[str, str]:
        """The value of every capability."""
        return {finding.capability: finding.value for finding in self.findings}


def probe(store: ObjectStore) -> Probed:
    """Measure every capability of a backend. Raises ``StorageError`` if it is not reached, full, or lets nobody in."""
    from artifactstore.storage.probing.through_port import PortProbe

    probing = store.probing()
    through_port = PortProbe(probing.store)
    found: dict[Capability, Finding] = {}
    left_behind = 0
    try:
        probing.enter()
        for measurement in (*probing.measurements(), *through_port.measurements()):
            if any(capability not in found for capability in measurement.capabilities):
                for finding in _attempt(measurement, probing):
                    found.setdefault(finding.capability, finding)
    finally:
        try:
            through_port.clear()
        finally:
            left_behind = probing.clear()
    probing.look()  # a backend that went away meanwhile is not one that fails
    return Probed(
        tuple(found.get(each) or Finding(each, NOT_MEASURED, probing.why_not) for each in Capability), left_behind
    )


def settled(look: Callable[[], bool]) -> str:
    """Whether something is so: ``at once``, ``late`` (within two seconds), or ``never``."""
    if look():
        return "at once"
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        time.sleep(_PAUSE_S)
        if look():
            return "late"
    return "never"


def _attempt(measurement: Measurement, probing: Probing) -> Iterator[Finding]:
    """What is found; ``failed`` if the backend refuses. What may be tried again is, once, if it is still reached."""
    for may_try_again in (True, False):
        try:
            findings = list(measurement.measure())
        except StorageFullError:
            raise  # that is no property of a backend
        except ArtifactStoreError as error:
            if error.retryable and may_try_again:
                probing.look()
                continue
            said = f"{error.code}: {error.message}"
            findings = [Finding(each, FAILED, said) for each in measurement.capabilities]
        yield from findings
        return
