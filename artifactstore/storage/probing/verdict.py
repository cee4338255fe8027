"""What a probe's findings mean for whoever stores here: usable, usable with limits, or refused.

One table. Refused is what would lose or alter data, or let something pass for missing; a limit is what a user should
know. Nothing is taken for granted: of what must hold, "not measured" is not good enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.storage.probing.probe import FAILED, NOT_MEASURED, Capability

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from artifactstore.storage.probing.probe import Finding


class Verdict(StrEnum):
    """Whether to store here."""

    USABLE = "usable"
    LIMITED = "usable with limits"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, and in words what it comes from."""

    verdict: Verdict
    reasons: tuple[str, ...]
    """Why it is refused; none otherwise."""
    limits: tuple[str, ...]


class _Meaning(NamedTuple):
    verdict: Verdict
    words: str = ""


_FINE = _Meaning(Verdict.USABLE)


def _limit(words: str) -> _Meaning:
    return _Meaning(Verdict.LIMITED, words)


def _refused(words: str) -> _Meaning:
    return _Meaning(Verdict.REFUSED, words)


_LATE = "what was acknowledged is seen only later, so a check right after a write may take it for missing"
_NO_CONDITION = "harmless because keys are digests: two writers at once write the same bytes"
_REGISTRY_ONLY = "retention is enforced by the registry only: whoever may delete in the backend can delete sooner"
_UNVERIFIED = "no checksum is verified by the server: bytes changed on the way are found only when they are read"
_NOT_OURS = "what other tools copy here is damaged; the adapter sends none"
_LOST = "what was acknowledged is not there"
_PARTS = "objects of 80 MiB and larger cannot be stored; set ARTIFACTSTORE_S3_MULTIPART_THRESHOLD_BYTES higher"
_PAID = "parts of uploads whose process was killed stay, and are paid for, until the bucket's lifecycle removes them"
_EITHER = {"verified": _FINE, "not verified": _FINE, NOT_MEASURED: _FINE}
C = Capability

MEANINGS: Mapping[Capability, Mapping[str, _Meaning]] = {
    C.ROUND_TRIP: {"exact": _FINE, "altered": _refused("bytes come back altered"), "lost": _refused(_LOST)},
    C.READ_AFTER_WRITE: {"at once": _FINE, "late": _refused(_LATE), "never": _refused(_LOST)},
    C.ADAPTER: {
        "works": _FINE,
        "altered": _refused("an object that was put, replaced or quarantined is not what it must be"),
    },
    C.TORN_WRITE: {
        "invisible": _FINE,
        "visible": _refused("an upload that breaks off in the middle leaves part of an object under its key"),
        NOT_MEASURED: _limit("it was not measured whether an upload that breaks off leaves part of an object"),
    },
    C.OVERWRITE: {
        "the last put wins": _FINE,
        "the last put wins, late": _limit("a repaired object is read as it was for a while"),
        "the first put stays": _limit("a damaged object cannot be written over: quarantine it, then store it again"),
        "lost": _refused("an object that is written again is lost"),
        NOT_MEASURED: _FINE,
    },
    C.TORN_OVERWRITE: {
        "keeps the old object": _FINE,
        "loses the old object": _limit("a repair that breaks off loses what was still sound in the damaged object"),
        NOT_MEASURED: _FINE,
    },
    C.RANGES: {
        "exact": _FINE,
        "ignored": _refused("a range that is asked for is answered with the whole object"),
        "wrong": _refused("a range is answered with other bytes, or one beyond the end is not refused"),
    },
    C.LISTING_ORDER: {
        "ascending": _FINE,
        "out of order": _refused("a listing is out of order, so what is there would pass for missing"),
    },
    C.LISTING_COMPLETE: {
        "complete": _FINE,
        "incomplete": _refused("a listing leaves objects out, which would pass for missing"),
    },
    C.LISTING_FRESH: {
        "at once": _FINE,
        "late": _limit("a listing shows new and deleted objects only after a while"),
        "never": _refused("a listing does not show what was put or deleted"),
    },
    C.DELETE: {
        "gone at once": _FINE,
        "gone late": _limit("a deleted object can be read for a while"),
        "not gone": _refused("a deleted object stays"),
        "once only": _refused("deleting what is not there is an error, so a repeated request fails"),
        "removes more": _refused("a delete removes more than the object that it names"),
    },
    C.DELETE_LEAVES: {
        "nothing": _FINE,
        "an older version": _limit(
            "deleting frees no space: the bytes stay as an older version until the bucket's lifecycle removes them"
        ),
        NOT_MEASURED: _FINE,
        FAILED: _FINE,
    },
    C.CONDITIONAL_CREATE: {
        "honoured": _FINE,
        "ignored": _limit(f"no conditional create: {_NO_CONDITION}"),
        "not atomic": _limit(f"conditional create lets several writers win: {_NO_CONDITION}"),
        "refused": _limit(f"no conditional create, such requests are refused: {_NO_CONDITION}"),
        "nobody wins": _limit("of several writers of one new object at once, none may win: they try again"),
        NOT_MEASURED: _limit("conditional create was not measured; keys are digests, so it is not relied on"),
    },
    C.CONDITIONAL_COMPLETE: {
        "honoured": _FINE,
        "ignored": _limit(f"no conditional create of uploads in parts: {_NO_CONDITION}"),
        "not atomic": _limit(f"conditional create of uploads in parts lets several writers win: {_NO_CONDITION}"),
        "refused": _limit(f"no conditional create of uploads in parts, such requests are refused: {_NO_CONDITION}"),
        "nobody wins": _limit("of several uploads in parts of one new object at once, none may win: they try again"),
        NOT_MEASURED: _FINE,
        FAILED: _limit("conditional create of uploads in parts fails: objects of 80 MiB and larger may not be stored"),
    },
    C.MULTIPART: {
        "works": _FINE,
        "refused": _limit(_PARTS),
        "altered": _refused("an object in parts comes back altered"),
        NOT_MEASURED: _FINE,
        FAILED: _limit(_PARTS),
    },
    C.MULTIPART_PART_SIZE: {"5 MiB at least": _FINE, "any": _FINE, NOT_MEASURED: _FINE, FAILED: _FINE},
    C.MULTIPART_UNFINISHED: {
        "listed and aborted": _FINE,
        "not listed": _limit(_PAID),
        "not aborted": _limit(_PAID),
        "visible": _refused("an upload in parts that is not complete is seen as an object"),
        NOT_MEASURED: _FINE,
        FAILED: _limit(_PAID),
    },
    C.CHECKSUM_SHA256: {**_EITHER, "kept all the same": _FINE, "refused": _FINE, FAILED: _FINE},
    C.CHECKSUM_CRC32: {
        **_EITHER,
        "kept all the same": _refused("an object that is refused for its CRC-32 is kept all the same"),
        "refused": _limit("requests with a CRC-32 are refused: set ARTIFACTSTORE_S3_CHECKSUMS=when_required"),
        FAILED: _limit("requests with a CRC-32 fail: set ARTIFACTSTORE_S3_CHECKSUMS=when_required"),
    },
    C.CONTENT_MD5: {
        **_EITHER,
        "kept all the same": _refused("an object that is refused for its Content-MD5 is kept all the same"),
        "refused": _refused("requests with Content-MD5 are refused, which the adapter sends"),
    },
    C.CHECKSUM_KEPT: {
        "given back": _FINE,
        "not given back": _FINE,
        "wrong": _limit("a checksum is given back other than it was sent"),
        NOT_MEASURED: _FINE,
        FAILED: _FINE,
    },
    C.CHECKSUM_TRAILER: {
        "decoded": _FINE,
        "refused": _FINE,
        "framing stored": _limit(f"bodies with trailing checksums are stored with their framing: {_NOT_OURS}"),
        "altered": _limit(f"bodies with trailing checksums are stored altered: {_NOT_OURS}"),
        NOT_MEASURED: _FINE,
        FAILED: _FINE,
    },
    C.PRESIGNED: {
        "works": _FINE,
        "none": _limit("no presigned URLs: every download passes through the server"),
        "refused": _limit("presigned URLs are refused: downloads by URL do not work"),
        NOT_MEASURED: _limit("presigned URLs were not measured"),
        FAILED: _limit("presigned URLs fail: downloads by URL do not work"),
    },
    C.PRESIGNED_EXPIRY: {
        "expires": _FINE,
        "does not expire": _limit("a presigned URL does not expire: whoever has one can read that object for ever"),
        NOT_MEASURED: _FINE,
        FAILED: _limit("it was not measured whether presigned URLs expire"),
    },
    C.PRESIGNED_BINDING: {
        "bound": _FINE,
        "not bound": _limit(
            "a presigned URL gives more than its object and method: signatures are not checked,"
            " so nobody but the server may reach this backend"
        ),
        NOT_MEASURED: _FINE,
        FAILED: _limit("it was not measured what a presigned URL gives access to"),
    },
    C.VERSIONING: {"off": _FINE, "on": _FINE, "suspended": _FINE, NOT_MEASURED: _FINE, FAILED: _FINE},
    C.OBJECT_LOCK: {
        "kept": _FINE,
        "can be shortened": _limit(f"Object Lock can be shortened; {_REGISTRY_ONLY}"),
        "absent": _limit(f"no Object Lock: {_REGISTRY_ONLY}"),
        NOT_MEASURED: _limit(f"Object Lock was not measured: {_REGISTRY_ONLY}"),
        FAILED: _limit(f"Object Lock was not measured: {_REGISTRY_ONLY}"),
    },
    C.CLOCK_SKEW: {
        "small": _FINE,
        "large": _limit(
            "the clocks of this host and of the backend differ: signatures may be refused,"
            " and presigned URLs end too early or too late"
        ),
        NOT_MEASURED: _FINE,
        FAILED: _FINE,
    },
    C.LATENCY: {"measured": _FINE, NOT_MEASURED: _FINE, FAILED: _FINE},
}
"""What every value of every capability means. What is missing here is refused: it must hold, and does not."""


def judge(findings: Iterable[Finding]) -> Judgement:
    """The verdict of a probe: the worst of what its findings mean."""
    found = list(findings)
    meanings = [_meaning_of(finding) for finding in found]
    values = {finding.capability: finding.value for finding in found}
    if values.get(C.CONTENT_MD5) == "not verified" and values.get(C.CHECKSUM_CRC32) != "verified":
        meanings.append(_limit(_UNVERIFIED))
    reasons = _words(meanings, Verdict.REFUSED)
    limits = _words(meanings, Verdict.LIMITED)
    verdict = Verdict.REFUSED if reasons else Verdict.LIMITED if limits else Verdict.USABLE
    return Judgement(verdict, reasons, limits)


def _words(meanings: Iterable[_Meaning], verdict: Verdict) -> tuple[str, ...]:
    """Each once, in order."""
    return tuple(dict.fromkeys(meaning.words for meaning in meanings if meaning.verdict is verdict))


def _meaning_of(finding: Finding) -> _Meaning:
    if known := MEANINGS[finding.capability].get(finding.value):
        return known
    how = "was not measured" if finding.value == NOT_MEASURED else finding.value
    return _refused(f"{finding.capability} must hold, and it {how}: {finding.measured}")
