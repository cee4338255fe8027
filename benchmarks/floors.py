"""The floors: the least anybody must do for the same work. Run as a child: one request in, its seconds out.

``ingest`` reads every file, makes both hashes in two threads, writes one sequential file and syncs it once. ``hash``
leaves the writing out. ``verify`` hashes what our store keeps, object by object; with ``piece_bytes`` it hashes every
piece of that size by itself, as whoever checks files within packs must. ``write`` creates files of the same names and
sizes, without a sync. ``loose`` is no floor but the usual way: one object per file, each synced, renamed into place.
"""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from benchmarks.processes import answer, stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.processes import Measures, Request

    Piece = tuple[bytes, bool]

_BUFFER_BYTES = 1024 * 1024
_BATCH_PIECES = 256
_QUEUED_BATCHES = 4


def ingest(request: Request) -> Measures:
    """Read, hash both ways, write one file, one fsync."""
    source, target = str(request["source"]), str(request["scratch"]) + "/sequential"
    with stopwatch() as measures:
        output = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        _hash_both(_pieces(source), output=output)
        os.fsync(output)
        os.close(output)
    return measures


def hash_only(request: Request) -> Measures:
    """Read and hash both ways."""
    with stopwatch() as measures:
        _hash_both(_pieces(str(request["source"])))
    return measures


def verify(request: Request) -> Measures:
    """Hash the stored bytes, by object or in pieces."""
    piece_bytes = int(request.get("piece_bytes") or 0)
    with stopwatch() as measures:
        pieces = _pieces(str(request["source"]))
        _hash_both(_cut(pieces, piece_bytes) if piece_bytes else pieces)
    return measures


def write(request: Request) -> Measures:
    """Create files of the same names and sizes below ``target``, with bytes that are in memory already."""
    source, target = Path(str(request["source"])), Path(str(request["target"]))
    files = [(path.relative_to(source), path.stat().st_size) for path in source.rglob("*") if path.is_file()]
    data = os.urandom(_BUFFER_BYTES)
    with stopwatch() as measures:
        for folder in sorted({target / path.parent for path, _ in files}):
            folder.mkdir(parents=True, exist_ok=True)
        for path, size_bytes in files:
            output = os.open(target / path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            _write_size(output, data, size_bytes)
            os.close(output)
    return measures


def loose(request: Request) -> Measures:
    """One object per file, each hashed, written, synced and renamed to its digest."""
    target = str(request["scratch"])
    with stopwatch() as measures:
        for path in _walk(str(request["source"])):
            _store_one(path, target)
    return measures


def _store_one(path: str, target: str) -> None:
    staged = target + "/staged"
    address, check = blake3(), hashlib.sha256()
    output = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    for data, _ in _read_file(path):
        address.update(data)
        check.update(data)
        os.write(output, data)
    os.fsync(output)
    os.close(output)
    name = address.hexdigest()
    folder = f"{target}/{name[:2]}"
    Path(folder).mkdir(exist_ok=True)
    Path(staged).rename(f"{folder}/{name}")


def _hash_both(pieces: Iterator[Piece], *, output: int | None = None) -> None:
    """Feed two threads, one for each hash, in batches; write what passes."""
    lanes: list[queue.Queue[list[Piece] | None]] = [queue.Queue(_QUEUED_BATCHES) for _ in range(2)]
    news = (blake3, hashlib.sha256)
    threads = [threading.Thread(target=_lane, args=(lane, new)) for lane, new in zip(lanes, news, strict=True)]
    for thread in threads:
        thread.start()
    for batch in _batches(pieces):
        for lane in lanes:
            lane.put(batch)
        if output is not None:
            _write_batch(output, [data for data, _ in batch])
    for lane in lanes:
        lane.put(None)
    for thread in threads:
        thread.join()


def _lane(batches: queue.Queue[list[Piece] | None], new: Callable[..., hashlib._Hash]) -> None:
    digests, current = [], None
    while (batch := batches.get()) is not None:
        for data, is_last in batch:
            if current is None:
                current = new(data)
            else:
                current.update(data)
            if is_last:
                digests.append(current.digest())
                current = None


def _batches(pieces: Iterator[Piece]) -> Iterator[list[Piece]]:
    batch, size_bytes = [], 0
    for piece in pieces:
        batch.append(piece)
        size_bytes += len(piece[0])
        if size_bytes >= _BUFFER_BYTES or len(batch) == _BATCH_PIECES:
            yield batch
            batch, size_bytes = [], 0
    yield batch


def _pieces(folder: str) -> Iterator[Piece]:
    for path in _walk(folder):
        yield from _read_file(path)


def _walk(folder: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path)
            else:
                yield entry.path


def _read_file(path: str) -> Iterator[Piece]:
    descriptor = os.open(path, os.O_RDONLY)
    left = os.fstat(descriptor).st_size
    while left > _BUFFER_BYTES:
        data = os.read(descriptor, _BUFFER_BYTES)
        left -= len(data)
        yield data, False
    yield os.read(descriptor, left), True
    os.close(descriptor)


def _cut(pieces: Iterator[Piece], piece_bytes: int) -> Iterator[Piece]:
    for data, _ in pieces:
        for at in range(0, len(data), piece_bytes):
            yield data[at : at + piece_bytes], True


def _write_batch(output: int, buffers: list[bytes]) -> None:
    written = os.writev(output, buffers) if buffers else 0
    if written < sum(map(len, buffers)):
        raise OSError("a short write: the disk is full")


def _write_size(output: int, data: bytes, size_bytes: int) -> None:
    view = memoryview(data)
    while size_bytes > 0:
        size_bytes -= os.write(output, view[:size_bytes])


if __name__ == "__main__":
    answer({"ingest": ingest, "hash": hash_only, "verify": verify, "write": write, "loose": loose})
