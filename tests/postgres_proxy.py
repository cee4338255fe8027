"""Between a store and PostgreSQL: passes bytes on until a test says that the connection is lost."""

from __future__ import annotations

import select
import socket
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

_SOCKET = ".s.PGSQL.5432"


class Fate(Protocol):
    """What becomes of a piece of what goes through."""

    def of_question(self, data: bytes) -> bool:
        """Whether it is lost on the way to the server, and the connection with it."""

    def of_answer(self, data: bytes) -> bool:
        """Whether it is lost on the way back, and the connection with it."""


def is_commit(data: bytes) -> bool:
    """Whether this asks for a commit. (To begin at READ COMMITTED does not.)"""
    return data.endswith(b"COMMIT\0")


class LostCommit:
    """The first COMMIT, or the answer to it."""

    def __init__(self, *, answer_only: bool) -> None:
        self._answer_only = answer_only
        self._armed = False
        self.hits = 0

    def of_question(self, data: bytes) -> bool:
        if not is_commit(data) or self.hits:
            return False
        self._armed = self._answer_only
        self.hits += not self._answer_only
        return not self._answer_only

    def of_answer(self, data: bytes) -> bool:
        if not self._armed or b"COMMIT" not in data:
            return False
        self._armed, self.hits = False, 1
        return True


class NowAndThen:
    """One piece in so many, in either direction; always the same ones for a seed."""

    def __init__(self, seed: int, one_in: int) -> None:
        self._random = Random(seed)
        self._one_in = one_in
        self._turn = threading.Lock()
        self.hits = 0

    def of_question(self, data: bytes) -> bool:
        with self._turn:
            is_hit = self._random.randrange(self._one_in) == 0
            self.hits += is_hit
        return is_hit

    of_answer = of_question


@contextmanager
def proxied(url: str, server_folder: Path, fate: Fate) -> Iterator[str]:
    """The same database through a proxy, whose users must be gone when the context is left."""
    with tempfile.TemporaryDirectory(prefix="pgx-") as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(Path(folder) / _SOCKET))
        listener.listen(64)
        relays: list[threading.Thread] = []
        accepting = threading.Thread(target=_accept, args=(listener, server_folder, fate, relays))
        accepting.start()
        try:
            yield url.replace(str(server_folder), folder)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for thread in (accepting, *relays):
                thread.join(10)


def _accept(listener: socket.socket, server_folder: Path, fate: Fate, relays: list[threading.Thread]) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(server_folder / _SOCKET))
            relays.append(threading.Thread(target=_relay, args=(client, server, fate)))
            relays[-1].start()


def _relay(client: socket.socket, server: socket.socket, fate: Fate) -> None:
    """Until either side ends, or what goes through is lost: then both do."""
    ways = {client: (server, fate.of_question), server: (client, fate.of_answer)}
    with client, server, suppress(OSError):
        while True:
            ready, _, _ = select.select(list(ways), [], [])
            for source in ready:
                target, is_lost = ways[source]
                data = source.recv(65536)
                if not data or is_lost(data):
                    return
                target.sendall(data)
