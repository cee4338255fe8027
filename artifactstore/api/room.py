"""A budget of memory for bodies that have to be held whole."""

from __future__ import annotations

import threading

from artifactstore.errors import ServiceBusyError


class Room:
    """How many bytes of whole bodies one process holds at once."""

    def __init__(self, max_bytes: int) -> None:
        self._free = max_bytes
        self._turn = threading.Lock()

    def take(self, count: int) -> None:
        """Raises ``ServiceBusyError`` if there is less."""
        with self._turn:
            if count > self._free:
                raise ServiceBusyError("too much is being sent to this server at once")
            self._free -= count

    def give_back(self, count: int) -> None:
        """So much is free again."""
        with self._turn:
            self._free += count
