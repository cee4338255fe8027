"""A lease: the claim of a live ingest or duty, renewed by a heartbeat, that keeps collection away from its bytes."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from artifactstore.errors import ArtifactStoreError, ConcurrentUpdateError
from artifactstore.registry.placing import require_takes_writes

if TYPE_CHECKING:
    from types import TracebackType

    from artifactstore.catalog.catalog import Transaction
    from artifactstore.registry.registry import Registry

HEARTBEAT_S = 30.0


class Lease:
    """Opened before the first put, ended in the transaction that records what was put, or when its context is left."""

    def __init__(self, registry: Registry, purpose: str) -> None:
        self._registry = registry
        self._purpose = purpose
        self._id: str | None = None
        self._stopped = threading.Event()
        self._heart: threading.Thread | None = None

    def ensure_open(self) -> None:
        """Open it unless it is; an ingest that stores nothing never does.

        Raises ``ConcurrentUpdateError`` if the backend that new objects go to has begun to be emptied: whoever empties
        it waits for the leases of before.
        """
        if self._id is not None:
            return
        lease_id = self._registry.new_id()
        with self._registry.transaction() as tx:
            tx.open_lease(lease_id, self._purpose, self._registry.clock())
            require_takes_writes(tx, self._registry.default_backend)
        self._id = lease_id
        self._heart = threading.Thread(target=self._keep_alive, args=(lease_id,), daemon=True)
        self._heart.start()

    def end_in(self, tx: Transaction) -> None:
        """End it if ``tx`` commits.

        Raises ``ConcurrentUpdateError`` if it was taken for dead and ended: what was put may be gone.
        """
        if self._id is not None and not tx.end_lease(self._id):
            raise ConcurrentUpdateError(
                "the lease was ended by others, so what was stored under it cannot be relied on"
            )

    def _keep_alive(self, lease_id: str) -> None:
        while not self._stopped.wait(HEARTBEAT_S):
            with suppress(ArtifactStoreError), self._registry.transaction() as tx:  # the next beat may get through
                tx.renew_lease(lease_id, self._registry.clock())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        if self._heart is not None:
            self._heart.join()
        if self._id is not None and kind is not None:
            with suppress(ArtifactStoreError), self._registry.transaction() as tx:  # else it runs out by itself
                self.end_in(tx)
