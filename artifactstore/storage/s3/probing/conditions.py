"""Whether a bucket can say "only if it is not there": of one put, of several at once, of an upload in parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.storage.probing.probe import Capability, Finding
from artifactstore.storage.probing.through_port import WRITERS, at_once
from artifactstore.storage.s3.probing.ground import refusal_of, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from artifactstore.storage.s3.probing.ground import Ground

_ABSENT = {"IfNoneMatch": "*"}
_COMPLETERS = 4
_UNKNOWN = frozenset({400, 501})


def conditional_create(ground: Ground) -> Iterator[Finding]:
    """Puts with ``If-None-Match: *``."""

    def put(name: str, data: bytes) -> Exception | None:
        return refusal_of(lambda: ground.put(name, data, **_ABSENT))

    refusals = at_once(WRITERS, lambda number: put("condition/raced", b"writer %d" % number))
    again = put("condition/raced", b"too late")
    found = ground.get("condition/raced")
    winners = [number for number, refusal in enumerate(refusals) if refusal is None]
    sound = found in {b"writer %d" % number for number in winners}
    yield _finding(Capability.CONDITIONAL_CREATE, "puts", refusals, again, sound=sound)


def conditional_complete(ground: Ground) -> Iterator[Finding]:
    """Uploads in parts of one object, each complete but for the last request, which says ``If-None-Match: *``."""
    name = "condition/in-parts"
    completions = [_almost_complete(ground, name, b"upload %d" % number) for number in range(_COMPLETERS + 1)]
    refusals = at_once(_COMPLETERS, lambda number: refusal_of(completions[number]))
    again = refusal_of(completions[-1])
    found = ground.get(name)
    winners = [number for number, refusal in enumerate(refusals) if refusal is None]
    sound = found in {b"upload %d" % number for number in winners}
    yield _finding(Capability.CONDITIONAL_COMPLETE, "completions of uploads", refusals, again, sound=sound)


def _almost_complete(ground: Ground, name: str, data: bytes) -> Callable[[], object]:
    upload = ground.begin_upload(name)
    parts = {"Parts": [ground.upload_part(upload, 1, data)]}
    return lambda: ground.client.complete_multipart_upload(**upload, **_ABSENT, MultipartUpload=parts)


def _finding(
    capability: Capability, what: str, refusals: list[Exception | None], again: Exception | None, *, sound: bool
) -> Finding:
    winners, writers = refusals.count(None), len(refusals)
    figures = {"winners": winners, "writers": writers}
    later = "acknowledged, too" if again is None else f"answered {words_of(again)}"
    told = f"{writers} {what} of one new object at once: {winners} acknowledged; one more afterwards: {later}"
    statuses = {int(words_of(refusal).split()[0]) for refusal in refusals if refusal is not None}
    if not winners:
        return Finding(capability, "refused" if statuses <= _UNKNOWN else "nobody wins", told, figures)
    if again is None:
        return Finding(capability, "ignored", told, figures)
    if winners > 1 or not sound:
        return Finding(capability, "not atomic", told, figures)
    return Finding(capability, "honoured", told, figures)
