"""A turn: what only one process of all that use the store may have at a time, told by its lease and heartbeat.

The turn of a process that is gone is over after a minute without a heartbeat; at once if it ran on this host.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from artifactstore.catalog import backends
from artifactstore.errors import ArtifactStoreError, ConcurrentUpdateError, DutyRunningError

if TYPE_CHECKING:
    from types import TracebackType

    from artifactstore.registry.registry import Registry

_HEARTBEAT_S = 10.0
_OVER_AFTER_S = 60
_MICROSECONDS = 1_000_000


class Turn:
    """Taken when its context is entered: raises ``DutyRunningError`` while another process has it."""

    def __init__(self, registry: Registry, what: str) -> None:
        self._registry = registry
        self._what = what
        self._id = registry.new_id()
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, name=f"heart of {what}", daemon=True)

    def check(self) -> None:
        """Just before what must not be done twice. Raises ``ConcurrentUpdateError`` if another has taken the turn."""
        with self._registry.transaction() as tx:
            if not tx.renew_lease(self._id, self._registry.clock()):
                raise ConcurrentUpdateError(f"this {self._what} was taken for dead, and another may be under way")

    def __enter__(self) -> Self:
        now = self._registry.clock()
        with self._registry.transaction() as tx:
            tx.lock("turn", self._what)
            for lease_id, purpose, heartbeat_at in backends.leases_for(tx.connection, self._what):
                holder = purpose.removeprefix(f"{self._what} ")
                if now - heartbeat_at < _OVER_AFTER_S * _MICROSECONDS and not _is_gone(holder):
                    raise DutyRunningError(
                        f"another {self._what} is under way, on {holder.rpartition(' ')[0]}",
                        hint=f"Wait until it ends. If it was killed, it is over after {_OVER_AFTER_S} seconds.",
                    )
                tx.end_lease(lease_id)
            tx.open_lease(self._id, f"{self._what} {_this_process()}", now)
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._heart.join()
        with suppress(ArtifactStoreError), self._registry.transaction() as tx:  # else it runs out by itself
            tx.end_lease(self._id)

    def _beat(self) -> None:
        while not self._ended.wait(_HEARTBEAT_S):
            with suppress(ArtifactStoreError):  # the next beat may get through; whoever must be sure asks ``check``
                self.check()


def _this_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()} {_process_namespace()}"


def _process_namespace() -> str:
    """What tells the processes of one container from those of another that calls itself the same."""
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return "0"


def _is_gone(holder: str) -> bool:
    """Whether a turn's process ran here and does not run any more."""
    place, _, namespace = holder.rpartition(" ")
    host, _, number = place.rpartition(":")
    if (host, namespace) != (socket.gethostname(), _process_namespace()) or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
