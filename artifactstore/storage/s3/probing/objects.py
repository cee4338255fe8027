"""What happens to bytes in a bucket: whether they come back, when they are seen, and what a broken upload leaves."""

from __future__ import annotations

import os
import random
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from artifactstore.storage.port import ObjectKey, ObjectKind
from artifactstore.storage.probing.probe import NOT_MEASURED, Capability, Finding, settled
from artifactstore.storage.probing.through_port import LISTED, SIZES
from artifactstore.storage.s3.errors import status_of
from artifactstore.storage.s3.probing.ground import OK, ask, break_off, refusal_of, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.storage.s3.probing.ground import Ground

_PAGE = 5
_BEYOND_THE_END = 416
_TORN_BYTES = 256 * 1024
_TORN_LOOKS = 6
_TIMES_OVERWRITTEN = 5


def round_trip(ground: Ground) -> Iterator[Finding]:
    """Put, and read as soon as it is acknowledged; byte for byte."""
    values, seen = [], "at once"
    for number, size in enumerate(SIZES):
        name, data = f"bytes/{number}", os.urandom(size)
        ground.put(name, data)
        seen = worse(seen, settled(lambda name=name: ground.get(name) is not None))  # type: ignore[misc]
        found = ground.get(name)
        values.append("lost" if found is None else "exact" if found == data else "altered")
    told = f"{len(SIZES)} objects of {', '.join(map(str, SIZES))} bytes, read as soon as they were acknowledged"
    value = next((each for each in ("lost", "altered") if each in values), "exact")
    yield Finding(Capability.ROUND_TRIP, value, told)
    yield Finding(Capability.READ_AFTER_WRITE, seen, told)


def overwrite(ground: Ground) -> Iterator[Finding]:
    """Other bytes under the same key, which the adapter never writes: whether the last put is what is there."""
    name, seen = "overwritten", "at once"
    for number in range(_TIMES_OVERWRITTEN):
        data = b"number %d" % number
        ground.put(name, data)
        seen = worse(seen, settled(lambda data=data: ground.get(name) == data))  # type: ignore[misc]
        if seen == "never":
            break
    stays = "lost" if ground.get(name) is None else "the first put stays"
    value = {"at once": "the last put wins", "late": "the last put wins, late", "never": stays}[seen]
    told = f"one object written {_TIMES_OVERWRITTEN} times with other bytes, and read each time"
    yield Finding(Capability.OVERWRITE, value, told)


def torn_writes(ground: Ground) -> Iterator[Finding]:
    """An upload that hangs up in the middle, of a new object and over one that is there."""
    old, data = os.urandom(1000), os.urandom(_TORN_BYTES)
    try:
        status = ask("PUT", _url_to_put(ground, "torn/old"), body=old)[0]
        whole = "" if status == OK else f"answered {status}"
    except OSError as error:
        whole = f"{type(error).__name__}: {error}"
    if whole or ground.get("torn/old") != old:
        why = f"a whole object could not be put by a presigned URL either ({whole or 'other bytes are there'})"
        for capability in (Capability.TORN_WRITE, Capability.TORN_OVERWRITE):
            yield Finding(capability, NOT_MEASURED, why)
        return
    for name in ("torn/new", "torn/old"):
        break_off(_url_to_put(ground, name), data)
    visible = any(_is_torn_visible(ground) for _ in _looks())
    told = f"a PUT of {_TORN_BYTES} bytes whose connection was closed after half of them"
    yield Finding(Capability.TORN_WRITE, "visible" if visible else "invisible", told)
    found = ground.get("torn/old")
    value = "keeps the old object" if found == old else "loses the old object"
    yield Finding(Capability.TORN_OVERWRITE, value, f"{told}, over an object of 1000 bytes")


def ranges(ground: Ground) -> Iterator[Finding]:
    """The ranges that reading needs, and how a range beyond the end is refused."""
    data = os.urandom(1000)
    ground.put("ranges/some", data)
    ground.put("ranges/empty", b"")
    expected = {
        "bytes=0-0": data[:1],
        "bytes=499-500": data[499:501],
        "bytes=999-999": data[999:],
        "bytes=500-": data[500:],
    }
    found = {wanted: _range(ground, "ranges/some", wanted) for wanted in expected}
    value = "exact"
    if found != expected or ground.get("ranges/empty") != b"":
        value = "ignored" if all(each == data for each in found.values()) else "wrong"
    refusal = refusal_of(lambda: _range(ground, "ranges/some", "bytes=1000-1000"))
    if value == "exact" and (refusal is None or status_of(refusal) != _BEYOND_THE_END):
        value = "wrong"
    said = words_of(refusal) or "200"
    told = f"first, middle and last byte, the second half, an empty object, and one byte beyond the end ({said})"
    yield Finding(Capability.RANGES, value, told)


def listing(ground: Ground) -> Iterator[Finding]:
    """Names like ours in no order, listed at once, by pages; and one of them deleted."""
    keys = [ObjectKey(ObjectKind.BLOB, blake3(os.urandom(32)).digest()).path for _ in range(LISTED)]
    for key in random.sample(keys, LISTED):
        ground.put(f"listing/{key}", b"listed")
    wanted = sorted(f"listing/{key}" for key in keys)
    fresh = settled(lambda: set(wanted) <= set(ground.listed("listing/")))
    paged = ground.listed("listing/", page=_PAGE)
    ground.delete(wanted[0])
    forgotten = settled(lambda: wanted[0] not in ground.listed("listing/"))
    told = f"{LISTED} new objects with names like ours, by {_PAGE} a page"
    ascends = all(one < other for one, other in pairwise(paged))
    yield Finding(Capability.LISTING_ORDER, "ascending" if ascends else "out of order", told)
    complete = set(paged) == set(wanted)
    yield Finding(Capability.LISTING_COMPLETE, "complete" if complete else "incomplete", told)
    told = f"{LISTED} objects listed as soon as they were acknowledged, and one of them deleted"
    yield Finding(Capability.LISTING_FRESH, worse(fresh, forgotten), told)


def delete(ground: Ground) -> Iterator[Finding]:
    """An object, one whose name begins with its name, and a neighbour: only the first goes, and may go twice."""
    others = ("deleted/it-not", "deleted/neighbour")
    for name in ("deleted/it", *others):
        ground.put(name, b"bytes")
    before = [ground.get(name) for name in others]
    ground.delete("deleted/it")
    gone = settled(lambda: ground.get("deleted/it") is None)
    again = refusal_of(lambda: ground.delete("deleted/it"))
    value = {"at once": "gone at once", "late": "gone late", "never": "not gone"}[gone]
    if again is not None and value == "gone at once":
        value = "once only"
    if [ground.get(name) for name in others] != before:
        value = "removes more"
    said = f"; the second delete was answered {words_of(again)}" if again else ""
    yield Finding(Capability.DELETE, value, f"one of three objects deleted twice, and all three read{said}")


def worse(one: str, other: str) -> str:
    """The worse of two answers of ``settled``."""
    return max(one, other, key=("at once", "late", "never").index)


def _range(ground: Ground, name: str, wanted: str) -> bytes:
    data: bytes = ground.client.get_object(**ground.at(name), Range=wanted)["Body"].read()
    return data


def _url_to_put(ground: Ground, name: str) -> str:
    url: Any = ground.client.generate_presigned_url("put_object", Params=ground.at(name), ExpiresIn=60)
    return str(url)


def _is_torn_visible(ground: Ground) -> bool:
    return ground.get("torn/new") is not None or "torn/new" in ground.listed("torn/")


def _looks() -> Iterator[None]:
    """A few moments: some servers name what they have only when they have noticed that nobody sends any more."""
    for _ in range(_TORN_LOOKS):
        yield
        time.sleep(0.05)
