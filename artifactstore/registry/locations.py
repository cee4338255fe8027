"""Stored bytes from the first location where they are right: of a blob, of a part of one, or of a manifest.

A blob may lie in several backends, and several times in one. Those of the default backend are tried first, the others
in a fixed order, a backend that gave no answer a moment ago last. Nothing is given that does not match its digest:

- a small blob, a manifest, and each 4 MiB chunk of a large blob are checked before their first byte is given;
- a large blob of one location is checked as it passes, and its last piece is held back until all of it is known to be
  right. With several locations it is checked by chunks, and a wrong one is taken from elsewhere.

If a location fails and another serves, that is noted (``fall_backs``). If the object is not there any more, the
catalog is asked once more: another process may have moved it. Last come condemned objects, which wait to be removed:
their bytes are as good as ever while they are there. If no location serves, a backend that gave no answer may
still have the bytes, and its error is raised (``StorageUnavailableError``, ``StorageDeniedError``,
``ConfigurationError``); else they are wrong (``BlobCorruptError``) or gone (``BlobMissingError``).
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Self

from blake3 import blake3

from artifactstore.catalog.blobs import condemned_locations, live_locations
from artifactstore.domain.digest import CHUNK_BYTES, DIGEST_BYTES, Digest
from artifactstore.domain.hashing import BUFFER_BYTES, AddressHasher
from artifactstore.errors import (
    ArtifactStoreError,
    BlobCorruptError,
    BlobMissingError,
    ConfigurationError,
    ManifestCorruptError,
    ObjectNotFoundError,
    RangeInvalidError,
    StorageError,
)
from artifactstore.registry.fall_backs import FallBack, Reason, reason_of
from artifactstore.storage.port import ObjectKey, ObjectKind

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from types import TracebackType

    from artifactstore.catalog.records import LocatedFile
    from artifactstore.registry.registry import Registry

Location = tuple[str, str, bytes, int]
"""Backend, kind of object, its digest, first byte."""
_Place = tuple[str, str, bytes]

_FAILED = (StorageError, RangeInvalidError, ConfigurationError)
_GONE = (ObjectNotFoundError, RangeInvalidError)
_NEAR_BYTES = 64 * 1024
"""What lies closer in one object is read as one range."""


def read_manifest_of(registry: Registry, package_id: str, digest: bytes) -> bytes:
    """The exact bytes of a package's manifest. Raises ``ManifestCorruptError`` if no backend has them."""
    damaged: set[_Place] = set()

    def places() -> list[Location]:
        with registry.catalog.snapshot() as queries:
            found = queries.objects_of_digest(ObjectKind.MANIFEST, digest)
        damaged.update((place.backend, place.kind, digest) for place in found if place.status != "live")
        return [(place.backend, place.kind, digest, 0) for place in found]

    def lost(_: bytes) -> ArtifactStoreError:
        return ManifestCorruptError(f"no backend has the manifest {Digest.blake3(digest)} of package {package_id}")

    def read(location: Location) -> bytes:
        return registry.backend(location[0]).read(_key(location))

    # condemned places are among those that are tried last
    return _first_right(registry, _Wanted(digest, places(), places, lambda: (), lost), read, damaged)


def read_small(registry: Registry, file: LocatedFile) -> bytes:
    """A file's bytes, in memory."""

    def read(location: Location) -> bytes:
        return registry.backend(location[0]).read(_key(location), location[3], file.size_bytes)

    return _first_right(registry, _wanted(registry, file), read)


class SmallFiles:
    """Reads small files one after the other, neighbours in one object from one open stream."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._ranges = _Ranges(registry)

    def read(self, file: LocatedFile) -> bytes:
        """A file's bytes, in memory."""

        def read(location: Location) -> bytes:
            return self._ranges.read(location[:3], location[3], file.size_bytes)

        return _first_right(self._registry, _wanted(self._registry, file), read, self._ranges.failed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ranges.close()


def stream_large(registry: Registry, file: LocatedFile) -> Iterator[bytes]:
    """A file's bytes in pieces, none of them empty; the file must not be. Nobody has all of a wrong one."""
    if len(file.locations) > 1:
        yield from stream_range(registry, file, 0, file.size_bytes)
        return
    held = b""
    with AddressHasher() as hasher, closing(_unchecked(registry, file)) as pieces:
        for data in pieces:
            hasher.update(data)
            if held:
                yield held
            held = data
        found = hasher.digest()
    if found != file.blake3:
        raise _lost(file, found)
    yield held


def stream_range(registry: Registry, file: LocatedFile, start: int, end: int) -> Iterator[bytes]:
    """The bytes ``[start, end)`` of a file of several chunks, in pieces, none of them empty."""
    with registry.catalog.snapshot() as queries:
        digests = queries.chunk_digests(file.blake3)
    ranges = _Ranges(registry)
    with closing(ranges):
        for index in range(start // CHUNK_BYTES, (end - 1) // CHUNK_BYTES + 1):
            expected = digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]
            chunk = _chunk(registry, file, index, expected, ranges, end)
            chunk_at = index * CHUNK_BYTES
            wanted = memoryview(chunk)[max(start - chunk_at, 0) : end - chunk_at]
            yield from (bytes(wanted[at : at + BUFFER_BYTES]) for at in range(0, len(wanted), BUFFER_BYTES))


def _chunk(registry: Registry, file: LocatedFile, index: int, expected: bytes, ranges: _Ranges, end: int) -> bytes:
    """One chunk, from a stream that goes on to the end of the last one that is wanted."""
    chunk_at = index * CHUNK_BYTES
    length = min(CHUNK_BYTES, file.size_bytes - chunk_at)
    until = min(-(-end // CHUNK_BYTES) * CHUNK_BYTES, file.size_bytes)

    def read(location: Location) -> bytes:
        start = location[3]
        return ranges.read(location[:3], start + chunk_at, length, until=start + until)

    return _first_right(registry, _wanted(registry, file, expected), read, ranges.failed)


def _unchecked(registry: Registry, file: LocatedFile) -> Generator[bytes]:
    """A file of at most one location, as it is stored there; the rest from elsewhere if it is not there any more."""
    position = 0
    failure: Exception | None = None
    try:
        for location in file.locations:
            store = registry.backend(location[0])
            with store.open(_key(location), location[3], file.size_bytes) as stream:
                while data := stream.read(BUFFER_BYTES):
                    position += len(data)
                    yield data
            return
    except _FAILED as error:
        failure = error
    recorded = (*_locations_now(registry, file), *_condemned(registry, file))
    elsewhere = tuple(each for each in recorded if each not in file.locations)
    if not elsewhere:
        if failure is None or isinstance(failure, _GONE):
            raise _lost(file, b"") from failure
        raise failure
    yield from stream_range(registry, file._replace(locations=elsewhere), position, file.size_bytes)


# the search


class _Wanted(NamedTuple):
    """Bytes by their digest, where they are recorded to be, how to look again, and what to raise if they are lost.

    ``last_resort`` says where they may be besides. ``lost`` is given the digest of what was found instead; empty if
    nothing was.
    """

    blake3: bytes
    locations: Sequence[Location]
    look_again: Callable[[], Sequence[Location]]
    last_resort: Callable[[], Sequence[Location]]
    lost: Callable[[bytes], ArtifactStoreError]


class _Failure(NamedTuple):
    location: Location
    reason: Reason
    error: Exception | None
    found_blake3: bytes = b""


def _wanted(registry: Registry, file: LocatedFile, expected: bytes | None = None) -> _Wanted:
    """A file's bytes, or those of a chunk of it."""
    return _Wanted(
        file.blake3 if expected is None else expected,
        file.locations,
        look_again=partial(_locations_now, registry, file),
        last_resort=partial(_condemned, registry, file),
        lost=partial(_lost, file),
    )


def _locations_now(registry: Registry, file: LocatedFile) -> list[Location]:
    with registry.catalog.snapshot() as queries:
        return live_locations(queries.connection, file.blake3)


def _condemned(registry: Registry, file: LocatedFile) -> list[Location]:
    with registry.catalog.snapshot() as queries:
        return condemned_locations(queries.connection, file.blake3)


def _lost(file: LocatedFile, found: bytes) -> ArtifactStoreError:
    expected = Digest.blake3(file.blake3)
    if found:
        return BlobCorruptError(f"{file.path!r}: stored bytes are {Digest.blake3(found)}, not {expected}")
    return BlobMissingError(f"{file.path!r}: no backend has blob {expected}")


def _first_right(
    registry: Registry, wanted: _Wanted, read: Callable[[Location], bytes], failed: set[_Place] | None = None
) -> bytes:
    """The bytes from the first location where they are right.

    ``failed`` holds the objects that have failed the caller before: they are tried last. What fails now is added.
    """
    failures: list[_Failure] = []
    failed = set() if failed is None else failed
    data = _try(registry, wanted, wanted.locations, read, failed, failures)
    if data is None and (not failures or any(failure.reason is Reason.MISSING for failure in failures)):
        tried = [failure.location for failure in failures]
        recorded = wanted.look_again()
        failures = [failure for failure in failures if failure.location in recorded]
        data = _try(registry, wanted, [each for each in recorded if each not in tried], read, failed, failures)
    if data is None:
        known = {*wanted.locations, *(failure.location for failure in failures)}
        besides = [each for each in wanted.last_resort() if each not in known]
        data = _try(registry, wanted, besides, read, failed, failures)
    if data is None:
        raise _verdict(wanted, failures)
    return data


def _try(
    registry: Registry,
    wanted: _Wanted,
    locations: Sequence[Location],
    read: Callable[[Location], bytes],
    failed: set[_Place],
    failures: list[_Failure],
) -> bytes | None:
    fall_backs = registry.fall_backs
    for location in _in_order(registry, locations, failed):
        try:
            data = read(location)
        except _FAILED as error:
            failures.append(_Failure(location, reason_of(error), error))
        else:
            if (found := blake3(data).digest()) == wanted.blake3:
                fall_backs.answered(location[0])
                for failure in failures:
                    backend = failure.location[0]
                    fall_backs.note(registry, FallBack(backend, _key(failure.location), failure.reason, location[0]))
                return data
            failures.append(_Failure(location, Reason.ALTERED, None, found))
        failed.add(location[:3])
        if not failures[-1].reason.is_damage:
            fall_backs.failed(location[0])
    return None


def _in_order(registry: Registry, locations: Sequence[Location], failed: set[_Place]) -> Sequence[Location]:
    """Those in the default backend first; last those that have failed this reader or in a backend that fails now."""
    if len(locations) < 2:  # noqa: PLR2004 - an order needs two
        return locations
    failing = {name: registry.fall_backs.is_failing(name) for name in {location[0] for location in locations}}
    default = registry.default_backend
    return sorted(
        locations,
        key=lambda location: (location[:3] in failed, failing[location[0]], location[0] != default, location[0]),
    )


def _verdict(wanted: _Wanted, failures: Sequence[_Failure]) -> Exception:
    """What to raise when nothing served: rather that a backend may have the bytes than that they are lost."""
    outages = [failure.error for failure in failures if failure.error and not failure.reason.is_damage]
    if outages:
        return next((error for error in outages if getattr(error, "retryable", False)), outages[0])
    lost = wanted.lost(next((failure.found_blake3 for failure in failures if failure.found_blake3), b""))
    lost.__cause__ = next((failure.error for failure in failures if failure.error), None)
    return lost


def _key(location: Location) -> ObjectKey:
    return ObjectKey(ObjectKind(location[1]), location[2])


class _Ranges:
    """Ranges that follow one another in one object, from one open stream."""

    def __init__(self, registry: Registry) -> None:
        self.failed: set[_Place] = set()
        """Objects that have failed the reader."""
        self._registry = registry
        self._place: _Place | None = None
        self._position = 0
        self._ends_at: int | None = None
        self._stream: BinaryIO | None = None
        self._open = ExitStack()

    def read(self, place: _Place, start: int, length: int, *, until: int | None = None) -> bytes:
        """The bytes ``[start, start + length)`` of an object. More will be asked for, up to ``until`` or to its end."""
        try:
            data = self._stream_at(place, start, length, until).read(length)
        except BaseException:
            self.close()
            raise
        self._position += len(data)
        if len(data) < length:
            self.close()
            raise RangeInvalidError(f"the object ends before byte {start + length}")
        return data

    def _stream_at(self, place: _Place, start: int, length: int, until: int | None) -> BinaryIO:
        gap = start - self._position
        goes_on = place == self._place and 0 <= gap <= _NEAR_BYTES and start != self._ends_at
        if self._stream is not None and goes_on:
            if gap:
                self._position += len(self._stream.read(gap))
            return self._stream
        self.close()
        store, key = self._registry.backend(place[0]), ObjectKey(ObjectKind(place[1]), place[2])
        try:
            self._stream = self._open.enter_context(store.open(key, start, None if until is None else until - start))
        except RangeInvalidError:  # it is cut off further on
            if until is None or until == start + length:
                raise
            until = start + length
            self._stream = self._open.enter_context(store.open(key, start, length))
        self._place, self._position, self._ends_at = place, start, until
        return self._stream

    def close(self) -> None:
        """Leave the open object, if any."""
        self._stream = None
        self._open.close()
