"""Waiting for the event log to grow: one look at the database for all who wait in this process."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from artifactstore.errors import ArtifactStoreError
from artifactstore.registry.events import latest_seq

if TYPE_CHECKING:
    from artifactstore.registry.registry import Registry

_LOOK_S = 0.2


class EventFeed:
    """Looks at the log's end from time to time, while someone waits for it to move."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._newest = 0
        self._moved = asyncio.Event()
        self._waiting = 0
        self._looking: asyncio.Task[None] | None = None
        self.has_stopped = False

    async def wait_beyond(self, seq: int, *, timeout_s: float) -> bool:
        """Wait until the log goes beyond ``seq``; False after the time-out, or when the service stops."""
        self._waiting += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            async with asyncio.timeout(timeout_s):
                while self._newest <= seq and not self.has_stopped:
                    await self._moved.wait()
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return self._newest > seq

    def stop(self) -> None:
        """Wake everyone for good."""
        self.has_stopped = True
        self._moved.set()

    async def _look(self) -> None:
        while self._waiting and not self.has_stopped:
            with suppress(ArtifactStoreError):  # the next look may succeed
                newest = await asyncio.to_thread(latest_seq, self._registry)
                if newest > self._newest:
                    self._newest = newest
                    self._moved.set()
                    self._moved = asyncio.Event()
            await asyncio.sleep(_LOOK_S)
