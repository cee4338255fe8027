"""Reading an object back and telling what is wrong with it. Nothing is recorded here.

An object is read whole, as a stream. If a pack's own digest holds, its bytes are the bytes that were written, member
names (the blobs' BLAKE3) included, so each blob is checked by its name and its SHA-256. If it does not hold, the pack
is read once more and each blob is checked by both digests, to tell the damaged ones from the sound.
"""

from __future__ import annotations

import hashlib
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Self

from blake3 import blake3

from artifactstore.domain.hashing import BUFFER_BYTES, AddressHasher, Lane
from artifactstore.errors import (
    ObjectNotFoundError,
    RangeInvalidError,
    StorageDeniedError,
    StorageError,
    StorageUnavailableError,
)
from artifactstore.storage.port import ObjectKey, ObjectKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from artifactstore.catalog.records import ObjectRecord, PlacedBlob
    from artifactstore.domain.hashing import ObjectHasher
    from artifactstore.storage.port import ObjectStore

ALTERED = "stored bytes were altered"
WRONG_ROW = "the catalog's row disagrees with the object"
_NAME_BYTES = 64
_READ_BYTES = 256 * 1024
_LARGE_ON_AVERAGE_BYTES = 8 * 1024
"""Measured: a pack of blobs of 4 KiB is read more slowly with a second thread, one of 16 KiB faster."""


class BadBlob(NamedTuple):
    """A blob that is not what its row says, and what was found instead: raw digests, empty if there was nothing."""

    blob: PlacedBlob
    finding: str
    found_blake3: bytes = b""
    found_sha256: bytes = b""


@dataclass(frozen=True, slots=True)
class Findings:
    """What reading an object showed. ``finding`` is None if its bytes are sound; a bad blob then has a wrong row."""

    finding: str | None
    bad: list[BadBlob]
    found_blake3: bytes = b""
    size_bytes: int = 0
    """How much could be read."""


def read_back(
    store: ObjectStore, found: ObjectRecord, blobs: list[PlacedBlob], advance: Callable[[int], None]
) -> Findings:
    """Read one object; ``blobs`` are those to look at in it, by position. ``advance`` is told every byte read.

    Raises ``StorageUnavailableError`` and ``StorageDeniedError``: a backend that gives no answer has damaged nothing.
    """
    try:
        return (_read_pack if found.kind == ObjectKind.PACK else _read_single)(store, found, blobs, advance)
    except StorageError as error:
        finding = finding_of(store, error)
        return Findings(finding, [BadBlob(blob, finding) for blob in blobs])


def read_back_surely(
    store: ObjectStore,
    found: ObjectRecord,
    blobs: list[PlacedBlob],
    advance: Callable[[int], None],
    *,
    every_blob: Callable[[], list[PlacedBlob]] | None = None,
) -> Findings:
    """``read_back``, and what is found wrong is believed if a second read finds it: bytes can be altered on their way.

    The second looks at ``every_blob``, if it is given.
    """
    findings = read_back(store, found, blobs, advance)
    if findings.finding is None:
        return findings
    return read_back(store, found, every_blob() if every_blob else blobs, lambda _: advance(0))


def is_right(
    store: ObjectStore,
    key: ObjectKey,
    expected_blake3: bytes,
    *,
    start: int = 0,
    size_bytes: int | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> bool:
    """Whether these bytes of an object have this digest. An error that says nothing of them is raised.

    ``advance`` is told every byte read.
    """
    hasher = blake3()
    try:
        with store.open(key, start, size_bytes) as stream:
            while data := stream.read(BUFFER_BYTES):
                hasher.update(data)
                advance(len(data))
    except RangeInvalidError:
        return False
    except StorageError as error:
        if error.retryable or isinstance(error, StorageDeniedError):
            raise
        return False
    return hasher.digest() == expected_blake3


def finding_of(store: ObjectStore, error: StorageError) -> str:
    """What a failed read says of the object. An error that says nothing of it is raised again."""
    if error.retryable or isinstance(error, StorageDeniedError):
        raise error
    if not isinstance(error, ObjectNotFoundError):
        return f"cannot be read: {error.message}"
    if not any(True for kind in ObjectKind for _ in store.list(kind)):
        raise StorageUnavailableError(
            "the storage holds no object at all, so it is not judged object by object",
            hint="Is it mounted, and is its URL right?",
        ) from error
    return "the object is missing"


def key_of(found: ObjectRecord) -> ObjectKey:
    """An object's key."""
    return ObjectKey(ObjectKind(found.kind), found.blake3)


def _read_single(
    store: ObjectStore, found: ObjectRecord, blobs: list[PlacedBlob], advance: Callable[[int], None]
) -> Findings:
    """A large blob, or a manifest: one stream, both digests."""
    with store.open(key_of(found)) as stream:
        size_bytes, address, sha256 = _digests(stream, found.size_bytes, advance)
    finding = _object_finding(found, size_bytes, address)
    bad = [blob for blob in blobs if finding or blob.sha256 != sha256]
    named = [BadBlob(blob, finding or WRONG_ROW, address, sha256) for blob in bad]
    return Findings(finding, named, address, size_bytes)


def _digests(stream: BinaryIO, expected_bytes: int, advance: Callable[[int], None]) -> tuple[int, bytes, bytes]:
    """Size, BLAKE3 and SHA-256 of a stream. What is small is hashed here: to start threads for it takes longer."""
    size_bytes, sha256 = 0, hashlib.sha256()
    with _address_of(expected_bytes) as address:
        for data in _buffers(stream, advance):
            size_bytes += len(data)
            address.update(data)
            sha256.update(data)
        return size_bytes, address.digest(), sha256.digest()


def _address_of(expected_bytes: int) -> AbstractContextManager[ObjectHasher]:
    """The BLAKE3 of a stream; beside the caller's own work, if there is enough to do."""
    return AddressHasher() if expected_bytes > BUFFER_BYTES else nullcontext(blake3())


def _buffers(stream: BinaryIO, advance: Callable[[int], None]) -> Iterator[bytes]:
    while data := stream.read(BUFFER_BYTES):
        yield data
        advance(len(data))


def _read_pack(
    store: ObjectStore, found: ObjectRecord, blobs: list[PlacedBlob], advance: Callable[[int], None]
) -> Findings:
    whole, size_bytes = blake3(), 0

    def count(data: bytes) -> None:
        nonlocal size_bytes
        size_bytes += len(data)
        whole.update(data)
        advance(len(data))

    with store.open(key_of(found)) as stream, _Names(found.size_bytes, len(blobs)) as names:
        for member in _members(stream, blobs, count):
            names.check(member)
    suspects, address = names.suspects, whole.digest()
    finding = _object_finding(found, size_bytes, address)
    bad = _examine(store, found, blobs if finding else suspects, finding or WRONG_ROW) if finding or suspects else []
    return Findings(finding, bad, address, size_bytes)


class _Member(NamedTuple):
    """A blob with the bytes where its name and its content should be."""

    blob: PlacedBlob
    name: memoryview
    content: memoryview


class _Names:
    """Which members are not what they are named: told by a thread beside the reading, if that is worth it.

    Of a pack of small blobs most is work for Python, of which two threads do no more than one.
    """

    def __init__(self, size_bytes: int, count: int) -> None:
        self.suspects: list[PlacedBlob] = []
        """By position, when the context is left."""
        is_worth_it = size_bytes > max(BUFFER_BYTES, count * _LARGE_ON_AVERAGE_BYTES)
        self._lane = Lane(self._check_all) if is_worth_it else None
        self._together: list[_Member] = []
        self._together_bytes = 0

    def check(self, member: _Member) -> None:
        """Check it now, or with others that are handed over together."""
        if self._lane is None:
            self._check_all((member,))
            return
        self._together.append(member)
        self._together_bytes += len(member.content)
        if self._together_bytes >= _READ_BYTES:
            self._hand_over(self._lane)

    def _hand_over(self, lane: Lane[Sequence[_Member]]) -> None:
        lane.put(self._together)
        self._together, self._together_bytes = [], 0

    def _check_all(self, members: Sequence[_Member]) -> None:
        for blob, name, content in members:
            if hashlib.sha256(content).digest() != blob.sha256 or name != blob.blake3.hex().encode():
                self.suspects.append(blob)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lane is None:
            return
        try:
            if kind is None:
                self._hand_over(self._lane)
        finally:
            self._lane.close()


def _examine(store: ObjectStore, found: ObjectRecord, blobs: list[PlacedBlob], finding: str) -> list[BadBlob]:
    """Both digests of each blob; those that differ."""
    with store.open(key_of(found)) as stream:
        examined = [
            BadBlob(blob, finding, blake3(content).digest(), hashlib.sha256(content).digest())
            for blob, _, content in _members(stream, blobs, lambda _: None)
        ]
    return [
        each
        for each in examined
        if finding == WRONG_ROW or (each.found_blake3, each.found_sha256) != (each.blob.blake3, each.blob.sha256)
    ]


def _members(stream: BinaryIO, blobs: Iterable[PlacedBlob], each_read: Callable[[bytes], None]) -> Iterator[_Member]:
    """Each blob with the bytes where it should be; reads the stream once, to its end.

    Of a pack that is cut off, what is left.
    """
    window = _Window(stream, each_read)
    for blob in blobs:
        name_at = max(blob.start - _NAME_BYTES, 0)
        view = window.view(name_at, blob.start + blob.size_bytes)
        yield _Member(blob, view[: blob.start - name_at], view[blob.start - name_at :])
    window.read_to_end()


class _Window:
    """What is held of a stream while it is read: the buffers since the start of what was asked for last.

    A view of what lies in one buffer costs no copy, which is nearly all that packs are made of.
    """

    def __init__(self, stream: BinaryIO, each_read: Callable[[bytes], None]) -> None:
        self._stream = stream
        self._each_read = each_read
        self._held: deque[memoryview] = deque()
        self._at = self._read_to = 0

    def view(self, start: int, end: int) -> memoryview:
        """These bytes, or as many of them as there are. No ``start`` is before the one asked for last."""
        self._forget_before(start)
        while self._read_to < end and self._read():
            self._forget_before(start)
        if self._held and end <= self._at + len(self._held[0]):
            return self._held[0][start - self._at : end - self._at]
        at, parts = self._at, list[memoryview]()
        for held in self._held:
            parts.append(held[max(start - at, 0) : max(end - at, 0)])
            at += len(held)
        return memoryview(b"".join(parts))

    def read_to_end(self) -> None:
        """Read what is left, and hold none of it."""
        while self._read():
            self._forget_before(self._read_to)

    def _read(self) -> bool:
        data = self._stream.read(_READ_BYTES)
        if data:
            self._each_read(data)
            self._held.append(memoryview(data))
            self._read_to += len(data)
        return bool(data)

    def _forget_before(self, start: int) -> None:
        while self._held and self._at + len(self._held[0]) <= start:
            self._at += len(self._held.popleft())


def _object_finding(found: ObjectRecord, size_bytes: int, digest: bytes) -> str | None:
    if size_bytes != found.size_bytes:
        return f"{size_bytes} bytes are stored, not {found.size_bytes}"
    return ALTERED if digest != found.blake3 else None
