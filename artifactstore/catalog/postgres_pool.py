"""Connections to PostgreSQL, at most so many, kept for the next transaction.

A connection is opened when one is needed and none is idle, by the thread that needs it: what is wrong is told at once
to whoever asked. No thread runs beside.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from psycopg.pq import TransactionStatus

from artifactstore.errors import CatalogUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

    from artifactstore.catalog.database import Row

    Driver = Connection[Row]

WAIT_S = 30


class Pool:
    """At most ``size`` connections. Safe for several threads."""

    def __init__(self, connect: Callable[[], Driver], size: int) -> None:
        self._connect = connect
        self._size = size
        self._free = threading.BoundedSemaphore(size)
        self._idle: list[Driver] = []
        self._turn = threading.Lock()
        self._is_closed = False

    def take(self) -> tuple[Driver, bool]:
        """A connection, the one used last first, and whether it is new. ``CatalogUnavailableError`` if none is free."""
        if not self._free.acquire(timeout=WAIT_S):
            raise CatalogUnavailableError(
                f"all {self._size} connections to the database are in use",
                hint="Try again later; ARTIFACTSTORE_DATABASE_POOL_SIZE allows more.",
            )
        try:
            with self._turn:
                kept = self._idle.pop() if self._idle else None
            return (kept, False) if kept is not None else (self._connect(), True)
        except BaseException:
            self._free.release()
            raise

    def put_back(self, driver: Driver) -> None:
        """Keep it, unless it is closed or in the middle of something."""
        is_sound = not driver.closed and driver.info.transaction_status == TransactionStatus.IDLE
        with self._turn:
            is_kept = is_sound and not self._is_closed
            if is_kept:
                self._idle.append(driver)
        if not is_kept:
            driver.close()
        self._free.release()

    def close(self) -> None:
        """Close what is idle now, and the others when they are put back."""
        with self._turn:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for driver in idle:
            driver.close()
