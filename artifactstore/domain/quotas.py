"""Quotas: how many logical bytes a producer's packages may come to."""

from __future__ import annotations

import re
from typing import NamedTuple

from artifactstore.domain.retention_plan import PLAN_PRODUCER
from artifactstore.errors import QuotaExceededError, UsageError

_UNITS = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZE = re.compile(r"([0-9]{1,15})\s*([A-Za-z]*)", re.ASCII)
_MOST = 2**60


class QuotaState(NamedTuple):
    """A quota, and what is used of it."""

    quota_bytes: int
    used_bytes: int

    @property
    def free_bytes(self) -> int:
        """What fits; 0 also where more is used than the quota says now."""
        return max(self.quota_bytes - self.used_bytes, 0)

    def require(self, producer: str, wanted_bytes: int) -> None:
        """Raises ``QuotaExceededError`` unless so much fits."""
        if wanted_bytes > self.free_bytes:
            raise QuotaExceededError(
                f"{wanted_bytes} bytes do not fit into the quota of {producer}: it is {self.quota_bytes} bytes,"
                f" of which {self.used_bytes} are used"
            )


def parse_quotas(text: str) -> dict[str, int]:
    """Entries ``producer=size``, separated by semicolons; a size is a whole number of bytes, KiB, MiB, GiB or TiB.

    Raises ``UsageError``.
    """
    entries = [entry.partition("=") for entry in text.split(";") if entry.strip()]
    quotas = {producer.strip(): _bytes(producer.strip(), size.strip()) for producer, _, size in entries}
    if len(quotas) < len(entries) or not all(sign and producer.strip() for producer, sign, _ in entries):
        raise UsageError("each producer must be named once", hint="Such as guide-board=10GiB;testing-os=500MiB")
    if PLAN_PRODUCER in quotas:
        raise UsageError(f"{PLAN_PRODUCER!r} is the store itself: without plans nothing could be deleted")
    return quotas


def _bytes(producer: str, text: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None or found[2] not in _UNITS or int(found[1]) * _UNITS[found[2]] > _MOST:
        raise UsageError(
            f"{producer[:80]} is given {text[:80]!r}, which is no size",
            hint="A whole number with B, KiB, MiB, GiB or TiB, such as 10GiB",
        )
    return int(found[1]) * _UNITS[found[2]]
