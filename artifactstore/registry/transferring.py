"""Putting many objects into another backend, from wherever their bytes are right. Nothing is recorded here.

What the target has is known by its listing, which stands in the same order as what is wanted: one request for a
thousand objects, where asking for each would be a thousand. What is listed with its size is taken to be right, unless
it is to be read back; what is put is compared with its digest on its way. An object whose bytes are right nowhere is
named, and the rest goes on; a backend that gives no answer ends it.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from blake3 import blake3

from artifactstore.domain.backup import LeftOut, Needed
from artifactstore.domain.hashing import BUFFER_BYTES
from artifactstore.errors import (
    BlobCorruptError,
    DigestMismatchError,
    RangeInvalidError,
    StorageError,
    StorageUnavailableError,
)
from artifactstore.registry.progress import SILENT
from artifactstore.registry.publishing import publish_and_close
from artifactstore.registry.read_back import ALTERED, finding_of, is_right
from artifactstore.storage.port import ObjectInfo, ObjectKey, ObjectKind, PutOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from artifactstore.registry.progress import Progress
    from artifactstore.storage.port import ObjectStore

    Sources = Callable[[Needed], Iterable[ObjectStore]]

AT_ONCE = 8
"""Objects under way. Each holds one buffer, and with S3 a temporary file."""
_BATCH_OBJECTS = 256
_PAUSES_S = (0.2, 1.0, 5.0)


@dataclass(slots=True)
class TransferReport:
    """What was put, and what could not be."""

    objects: int = 0
    """Objects that the target has now and had not before, or had as damaged."""
    bytes_copied: int = 0
    already_there: int = 0
    replaced: int = 0
    """Objects that the target had with other bytes."""
    left_out: list[LeftOut] = field(default_factory=list)


class Transfer:
    """A transfer under way. ``sources`` says who may have an object; ``after_each`` is called after each."""

    def __init__(
        self,
        target: ObjectStore,
        sources: Sources,
        *,
        read_back: bool,
        after_each: Callable[[], object],
        progress: Progress = SILENT,
    ) -> None:
        self.report = TransferReport()
        self._target = target
        self._sources = sources
        self._read_back = read_back
        self._after_each = after_each
        self._progress = progress
        self._stopped = threading.Event()
        self._counting = threading.Lock()

    def put_all(self, kind: ObjectKind, wanted: Iterable[Needed]) -> None:
        """Put those of one kind, given in ascending order of digest."""
        with ThreadPoolExecutor(AT_ONCE) as threads:
            try:
                for batch in _batches(self._to_do(kind, wanted)):
                    for left_out in threads.map(self._treat_patiently, *zip(*batch, strict=True)):
                        if left_out is not None:
                            self.report.left_out.append(left_out)
            except BaseException:
                self._stopped.set()
                threads.shutdown(cancel_futures=True)
                raise

    def _to_do(self, kind: ObjectKind, wanted: Iterable[Needed]) -> Iterator[tuple[Needed, bool]]:
        """What is to be looked at, and whether the target lists anything of that name."""
        listed = self._target.list(kind)
        there = next(listed, None)
        for needed in wanted:
            while there is not None and there.key.digest < needed.blake3:
                there = next(listed, None)
            is_listed = there is not None and there.key.digest == needed.blake3
            has_its_size = is_listed and there is not None and there.size_bytes == needed.size_bytes
            if has_its_size and not self._read_back:
                self._already_there(needed)
            else:
                yield needed, is_listed

    def _already_there(self, needed: Needed) -> None:
        with self._counting:
            self.report.already_there += 1
        self._progress.advance(needed.size_bytes)

    # one object, on one of several threads

    def _treat_patiently(self, needed: Needed, is_listed: bool) -> LeftOut | None:
        """A backend that gives no answer once is asked again: one error must not end what takes days."""
        for pause_s in _PAUSES_S:
            try:
                return self._treat(needed, is_listed=is_listed)
            except StorageUnavailableError:
                if self._stopped.wait(pause_s):
                    raise
        return self._treat(needed, is_listed=is_listed)

    def _treat(self, needed: Needed, *, is_listed: bool) -> LeftOut | None:
        key = ObjectKey(ObjectKind(needed.kind), needed.blake3)
        if is_listed and is_right(self._target, key, needed.blake3, advance=self._go_on):
            self._already_there(needed)
            return None
        finding = self._store(needed, key, over=is_listed)
        self._after_each()
        return finding

    def _store(self, needed: Needed, key: ObjectKey, *, over: bool) -> LeftOut | None:
        """What is found wrong everywhere is believed if it is found twice: bytes can be altered on their way."""
        finding = self._try_each(needed, key, over=over) and self._try_each(needed, key, over=over)
        if finding is None:
            return None
        self._progress.advance(needed.size_bytes)
        return LeftOut(*needed, finding)

    def _try_each(self, needed: Needed, key: ObjectKey, *, over: bool) -> str | None:
        """None if it is stored; else what is wrong with it. Raised is rather that a source gave no answer."""
        finding, outage = "no backend is known to have it", None
        for source in self._sources(needed):
            try:
                self._send(source, needed, key, over=over)
            except _UnreadableError as error:
                try:
                    finding = _finding(source, error.__cause__)
                except StorageError as cause:
                    outage = outage or cause
            except DigestMismatchError:
                finding = ALTERED
            else:
                return None
        if outage is not None:
            raise outage
        return finding

    def _send(self, source: ObjectStore, needed: Needed, key: ObjectKey, *, over: bool) -> None:
        if self._put(source, needed, key, over=over) is PutOutcome.PRESENT and not over:
            if is_right(self._target, key, needed.blake3, advance=self._go_on):  # another run was faster
                self._already_there(needed)
                return
            self._put(source, needed, key, over=True)
            over = True
        if over and not is_right(self._target, key, needed.blake3, advance=self._go_on):
            raise BlobCorruptError(f"{key} was stored in {self._target.identity} and reads otherwise")
        with self._counting:
            self.report.objects += 1
            self.report.replaced += over
            self.report.bytes_copied += needed.size_bytes
        self._progress.advance(needed.size_bytes)

    def _put(self, source: ObjectStore, needed: Needed, key: ObjectKey, *, over: bool) -> PutOutcome:
        with self._target.stage(blake3()) as stage:
            for data in self._pieces(source, key):
                stage.write(data)
            publish = stage.replace if over else stage.commit
            return publish_and_close(stage, publish, ObjectInfo(key, needed.size_bytes))

    def _pieces(self, source: ObjectStore, key: ObjectKey) -> Iterator[bytes]:
        """Raises ``_UnreadableError``, so that the source's errors are told from the target's."""
        try:
            with source.open(key) as stream:
                while data := stream.read(BUFFER_BYTES):
                    self._go_on()
                    yield data
        except (StorageError, RangeInvalidError) as error:
            raise _UnreadableError from error

    def _go_on(self, _: int = 0) -> None:
        if self._stopped.is_set():
            raise StorageUnavailableError("the transfer was broken off")


class _UnreadableError(Exception):
    """The source's bytes cannot be read; the cause says why."""


def _finding(source: ObjectStore, cause: BaseException | None) -> str:
    """What it says of the object. An error that says nothing of it is raised again."""
    return finding_of(source, cause) if isinstance(cause, StorageError) else f"cannot be read: {cause}"


def _batches(items: Iterable[tuple[Needed, bool]]) -> Iterator[list[tuple[Needed, bool]]]:
    batch: list[tuple[Needed, bool]] = []
    for item in items:
        batch.append(item)
        if len(batch) == _BATCH_OBJECTS:
            yield batch
            batch = []
    if batch:
        yield batch
