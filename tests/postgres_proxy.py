"""Between a store and PostgreSQL: passes bytes on until a test says that the connection is lost."""

from __future__ import annotations

import select
import socket
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SOCKET = ".s.PGSQL.5432"


class Fate:
    """What becomes of a piece of what goes through; here, nothing happens."""

    is_over = False
    """Whether everything goes through from here on, and nobody is asked."""

    def begin(self) -> None:
        """From here on it is for good or ill; before, a store was being opened."""

    def end(self) -> None:
        """From here on nothing happens."""
        self.is_over = True

    def of_question(self, data: bytes) -> bool:
        """Whether it is lost on the way to the server, and the connection with it."""
        return False

    def of_answer(self, data: bytes) -> bool:
        """Whether it is lost on the way back, and the connection with it."""
        return False

    def passed_of_lost(self, data: bytes) -> bytes:
        """What still gets through of a piece that is lost."""
        return b""


def is_commit(data: bytes) -> bool:
    """Whether this asks for a commit. (To begin at READ COMMITTED does not.)"""
    return data.endswith(b"COMMIT\0")


class LostCommit(Fate):
    """One COMMIT, the first unless another is named, or the answer to it."""

    def __init__(self, *, answer_only: bool, number: int = 1) -> None:
        self._answer_only = answer_only
        self._number = number
        self._armed = False
        self.commits = 0
        self.hits = 0

    def of_question(self, data: bytes) -> bool:
        if not is_commit(data):
            return False
        self.commits += 1
        if self.commits != self._number:
            return False
        self._armed = self._answer_only
        self.hits += not self._answer_only
        return not self._answer_only

    def of_answer(self, data: bytes) -> bool:
        if not self._armed or b"COMMIT" not in data:
            return False
        self._armed, self.hits = False, 1
        return True


class CutAt(Fate):
    """One piece in one direction is lost on its way, whole or its second half; counted from ``begin``.

    A piece is what the proxy gets at once: two messages, if the second comes before it has seen the first.
    """

    def __init__(self, way: str, piece: int, *, half: bool) -> None:
        self._lost = (way, piece)
        self._half = half
        self.pieces = {"question": 0, "answer": 0}
        self.has_begun = False
        self.hits = 0

    def begin(self) -> None:
        self.has_begun = True

    def of_question(self, data: bytes) -> bool:
        return self._is_lost("question")

    def of_answer(self, data: bytes) -> bool:
        return self._is_lost("answer")

    def passed_of_lost(self, data: bytes) -> bytes:
        return data[: len(data) // 2] if self._half else b""

    def _is_lost(self, way: str) -> bool:
        self.pieces[way] += self.has_begun
        is_hit = (way, self.pieces[way]) == self._lost
        self.hits += is_hit
        return is_hit


class NowAndThen(Fate):
    """One piece in so many, in either direction; always the same ones for a seed. ``one_in`` may be set meanwhile."""

    def __init__(self, seed: int, one_in: int) -> None:
        self._random = Random(seed)
        self.one_in = one_in
        self._turn = threading.Lock()
        self.hits = 0

    def of_question(self, data: bytes) -> bool:
        with self._turn:
            is_hit = self._random.randrange(self.one_in) == 0
            self.hits += is_hit
        return is_hit

    def of_answer(self, data: bytes) -> bool:
        return self.of_question(data)


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
            try:
                server.connect(str(server_folder / _SOCKET))
            except OSError:  # it is being restarted
                client.close()
                server.close()
                continue
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
                if not data:
                    return
                if not fate.is_over and is_lost(data):
                    target.sendall(fate.passed_of_lost(data))
                    return
                target.sendall(data)
