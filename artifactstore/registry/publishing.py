"""Publishing objects beside the reading: one is made durable while the next is read and hashed.

Waiting for the disk is most of what storing a large file costs, and it needs no processor. The order in which objects
become durable does not matter, because nothing is recorded before all of them are.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from artifactstore.catalog.collecting import end_removals, may_be_had_back
from artifactstore.domain.event import ObjectRef
from artifactstore.domain.object_events import ObjectReprieved
from artifactstore.errors import ConcurrentUpdateError
from artifactstore.failpoints import failpoint
from artifactstore.registry.removing import is_condemned

if TYPE_CHECKING:
    from collections.abc import Callable

    from artifactstore.catalog.records import ObjectRecord
    from artifactstore.registry.registry import Registry
    from artifactstore.storage.port import ObjectInfo, ObjectKey, PutOutcome, Stage

    Publish = Callable[[ObjectKey, int], PutOutcome]

_PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6)
_AT_ONCE = 2
"""Publications under way. Each holds an open file and no memory to speak of."""


def way_to_publish(registry: Registry, stage: Stage, key: ObjectKey) -> Publish:
    """By replacing, if the object of this key is known to be damaged: a commit would find it and change nothing.

    If collection has condemned it and has not begun to delete it, it is had back: its bytes are as good as ever. While
    it is being deleted it is waited for: a commit would find what is gone the next moment. Raises
    ``ConcurrentUpdateError`` if that takes more than a few seconds.
    """
    for pause_s in (*_PAUSES_S, None):
        with registry.catalog.snapshot() as queries:
            known = queries.objects_of_digest(key.kind, key.digest)
            here = [record for record in known if record.backend == registry.default_backend]
            if not any(record.status == "condemned" for record in here):
                has_losses = any(queries.object_has_losses(record.row_id) for record in here)
                return stage.replace if has_losses else stage.commit
        if any(_is_had_back(registry, record) for record in here):
            return stage.commit
        if pause_s is not None:
            time.sleep(pause_s)
    raise ConcurrentUpdateError(f"{key} is being removed, and can be stored again once it is gone")


def _is_had_back(registry: Registry, found: ObjectRecord) -> bool:
    """Keep a condemned object from being deleted; whether that is in time. It counts as absent until it is recorded."""
    key = (found.kind, found.blake3, found.backend)
    with registry.catalog.snapshot() as queries:
        if not may_be_had_back(queries.connection, *key):
            return False
    reference = ObjectRef(found.backend, found.kind, found.blake3, found.size_bytes)
    with registry.transaction() as tx:
        tx.lock_object(found.row_id)
        in_time = may_be_had_back(tx.connection, *key) and is_condemned(tx, found)
        if in_time:
            end_removals(tx.connection, [reference])
            tx.record(ObjectReprieved(object=reference))
    return in_time


def publish_and_close(stage: Stage, publish: Publish, info: ObjectInfo) -> PutOutcome:
    """Give a staged object its name, durably, and let go of the stage."""
    failpoint("store.before-publish")
    with stage:
        return publish(info.key, info.size_bytes)


class Publisher:
    """Runs publications on threads of their own; ``finish`` waits for all and raises the first failure."""

    def __init__(self) -> None:
        self._under_way: deque[_Publication] = deque()

    def submit(self, publish: Callable[[], PutOutcome], then: Callable[[PutOutcome], None]) -> None:
        """Start ``publish`` on a thread; ``then`` takes its outcome on the caller's, later."""
        while len(self._under_way) >= _AT_ONCE:
            self._take_oldest()
        self._under_way.append(_Publication(publish, then))

    def finish(self) -> None:
        """Wait for every publication. Raises what the first that failed raised."""
        while self._under_way:
            self._take_oldest()

    def abandon(self) -> None:
        """Wait for every publication, whatever comes of it."""
        while self._under_way:
            self._under_way.popleft().join()

    def _take_oldest(self) -> None:
        publication = self._under_way.popleft()
        publication.then(publication.outcome())


class _Publication(threading.Thread):
    def __init__(self, publish: Callable[[], PutOutcome], then: Callable[[PutOutcome], None]) -> None:
        super().__init__(daemon=True)
        self._publish = publish
        self.then = then
        self._outcome: PutOutcome | None = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._outcome = self._publish()
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            self._error = error

    def outcome(self) -> PutOutcome:
        self.join()
        if self._error is not None:
            raise self._error
        assert self._outcome is not None, "it ended without an error"
        return self._outcome
